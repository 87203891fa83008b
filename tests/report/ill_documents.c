#include "tests/report/ill_documents.h"
#include "base/unknown.h"
#include "report/derive.h"
#include <stdio.h>
#include <string.h>

/* A document of one cell: `steps` steps of 10 ms that differ by up to 0.2 %, on the CPU, and no kernel yet. */
struct report_cell *document(struct report *report, size_t steps)
{
    report_init(report);
    report->host.cores = report->host.physical_cores = 2;
    struct report_cell *cell = report_add_cell(report);
    cell_default(&cell->requested);
    snprintf(cell->requested.device, sizeof cell->requested.device, "cpu");
    cell->requested.passes = 1u << PASS_TRAIN_STEP;
    cell->status = STATUS_OK;
    cell->device.units = 2;
    cell->telemetry.other_processes = UNKNOWN_U32;
    cell->telemetry.sm_clock_mhz = cell->telemetry.power_w = UNKNOWN_DOUBLE;
    cell->ceilings = (struct report_ceilings){1e11, 1e10};
    cell->memory.planned_total = 1u << 20;
    cell->memory.device_free = 1u << 30;
    cell->memory.workspace = 0;
    cell->kernels = arena_array(&cell->arena, struct report_kernel, 16);
    struct report_pass *pass = &cell->passes[PASS_TRAIN_STEP];
    *pass = (struct report_pass){.present = true, .pass = PASS_TRAIN_STEP, .profiled_steps = steps, .wall_ns = STEP};
    struct report_phase *total = &pass->phases[PHASE_COUNT];
    total->samples_ns = arena_array(&cell->arena, uint64_t, steps + 1);
    total->sample_count = steps;
    for (size_t i = 0; i < steps; i++)
        total->samples_ns[i] = (uint64_t)STEP + i * 7 % 5 * 5000;
    return cell;
}

void attached(struct report_cell *cell)
{
    snprintf(cell->requested.command, sizeof cell->requested.command, "python train.py");
}

/* `share` of the step in `calls` launches of a kernel. */
struct report_kernel *kernel(struct report_cell *cell, const char *name, enum kernel_class class, enum phase phase,
                             double share, uint64_t calls)
{
    struct report_pass *pass = &cell->passes[PASS_TRAIN_STEP];
    struct report_kernel *added = &cell->kernels[cell->kernel_count++];
    *added = (struct report_kernel){.name = name,
                                    .op = "",
                                    .kernel_class = class,
                                    .phase = (uint8_t)phase,
                                    .pass = PASS_TRAIN_STEP,
                                    .calls = calls * pass->profiled_steps,
                                    .total_ns = (uint64_t)(share * STEP) * pass->profiled_steps,
                                    .flops = UNKNOWN_DOUBLE,
                                    .bytes = UNKNOWN_DOUBLE};
    pass->busy_ns += share * STEP;
    pass->idle_ns = pass->wall_ns - pass->busy_ns;
    return added;
}

struct report_kernel *copy_of(struct report_cell *cell, enum copy_direction way, bool pageable, double share,
                              uint64_t calls)
{
    struct report_kernel *added = kernel(cell, "a copy", CLASS_COPY, PHASE_NONE, share, calls);
    added->copy = (uint8_t)way;
    added->pageable = pageable;
    return added;
}

static void phase(struct report_cell *cell, enum phase which, double share)
{
    struct report_phase *times = &cell->passes[PASS_TRAIN_STEP].phases[which];
    times->samples_ns = arena_array(&cell->arena, uint64_t, 1);
    times->samples_ns[0] = (uint64_t)(share * STEP);
    times->sample_count = 1;
}

void card(struct report_cell *cell)
{
    snprintf(cell->requested.device, sizeof cell->requested.device, "cuda:0");
}

static void make_input(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    attached(cell);
    phase(cell, PHASE_FWD, cured ? 0.50 : 0.2);
    phase(cell, PHASE_BWD, cured ? 0.48 : 0.2);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, cured ? 0.49 : 0.2, 20);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_BWD, cured ? 0.47 : 0.2, 20);
}

/* The same with reasons of idle time. */
void reason(struct report_cell *cell, enum idle_reason why, double share)
{
    struct report_idle *idle = &cell->passes[PASS_TRAIN_STEP].idle;
    *idle = (struct report_idle){
        .steps = 20, .total_ns = share * STEP, .sync_layer = "layers.0.attn", .sync_layer_ns = share * STEP};
    idle->ns[why] = share * STEP;
}

void make_loader(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    card(cell);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, cured ? 0.96 : 0.58, 20);
    reason(cell, IDLE_DATA, cured ? 0.02 : 0.4);
}

static void make_sync(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    card(cell);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, cured ? 0.96 : 0.68, 20);
    reason(cell, IDLE_SYNC, cured ? 0.02 : 0.3);
}

static void make_outside(struct report *report, bool cured)
{
    make_input(report, cured);
    reason(report->cells.items[0], IDLE_LAUNCH, cured ? 0.02 : 0.6);
}

static void make_launch(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    attached(cell);
    phase(cell, PHASE_FWD, 0.99);
    kernel(cell, "aten::add", CLASS_ELEMENTWISE, PHASE_FWD, cured ? 0.95 : 0.4, 800);
}

static void make_launch_card(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    card(cell);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, cured ? 0.95 : 0.39, 800);
}

static void make_copies(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    card(cell);
    copy_of(cell, COPY_TO_DEVICE, false, cured ? 0.01 : 0.3, 2);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, cured ? 0.96 : 0.67, 20);
}

static void make_threads(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    cell->requested.threads = cured ? 0 : 1;
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
}

/* One of two threads; the twin has both. */
static void make_threads_attached(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    attached(cell);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->program = (struct program_facts){.steps = 20, .threads = cured ? 2 : 1, .processors = 2};
}

static void make_affinity(struct report *report, bool cured)
{
    make_threads_attached(report, true);
    report->cells.items[0]->program.processors = cured ? 2 : 1;
    report->cells.items[0]->program.threads = cured ? 2 : 1;
}

/* Gradients of 8 batches, 10 GB of 80 in use; the twin uses 60. */
static void make_accumulation(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    attached(cell);
    card(cell);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->device.memory_bytes = 80000000000u;
    cell->program =
        (struct program_facts){.steps = 20, .batches = 8, .reserved_bytes = cured ? 60000000000u : 10000000000u};
}

void make_stall(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 40);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    if (!cured) /* 10 ms of excess each in 400 ms and that */
        cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[7] = (uint64_t)(STEP * 21);
}

/* Two steps of 40 that compile, each 10 medians more. */
static void make_recompile(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 40);
    attached(cell);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->program = (struct program_facts){.steps = 40, .wall_ns = (uint64_t)(STEP * 40)};
    if (cured)
        return;
    cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[7] = (uint64_t)(STEP * 11);
    cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[17] = (uint64_t)(STEP * 11);
    cell->program.wall_ns = (uint64_t)(STEP * 60);
    cell->program.compiled_steps = 2;
    cell->program.compiled_ns = (uint64_t)(STEP * 22);
}

/* 100 MiB, then 300, then 500 over 30 steps: 20 MiB a step. */
static void make_creep(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 30);
    attached(cell);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->program = (struct program_facts){.steps = 30, .wall_ns = (uint64_t)(STEP * 30)};
    for (int third = 0; third < 3; third++) {
        cell->program.resident[third] = (uint64_t)(100 + (cured ? 0 : 200 * third)) << 20;
        cell->program.device_bytes[third] = UNKNOWN_U64;
    }
}

static void make_allocator(struct report *report, bool cured)
{
    make_creep(report, true);
    card(report->cells.items[0]);
    report->cells.items[0]->program.allocator_retries = cured ? 0 : 3;
}

static void make_warmup(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 10);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    if (!cured)
        cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[0] = (uint64_t)(STEP * 11);
}

void make_drift(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 30);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    for (size_t i = 0; i < 30; i++) { /* it grows; the twin jumps once, as when a neighbour begins */
        const double grown = 1 + 0.0125 * ((double)i - 4.5), jumped = i < 20 ? 1 : 1.25;
        cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[i] =
            (uint64_t)(STEP * (cured ? jumped : grown)) + i * 7 % 5 * 5000;
    }
}

void make_spread(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 100);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    for (size_t i = 3; !cured && i < 100; i += 10)
        cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[i] = (uint64_t)(STEP * 2);
}

void make_layout(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    attached(cell);
    kernel(cell, "aten::copy_", CLASS_COPY, PHASE_FWD, cured ? 0.01 : 0.3, 20);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, cured ? 0.96 : 0.67, 20);
}

static void make_optimizer(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    attached(cell);
    if (cured)
        kernel(cell, "aten::add_", CLASS_ELEMENTWISE, PHASE_OPT, 0.01, 60);
    kernel(cell, cured ? "aten::_fused_adamw_" : "aten::mul_", CLASS_OPTIMIZER, PHASE_OPT, cured ? 0.1 : 0.4,
           cured ? 1 : 300);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, cured ? 0.87 : 0.57, 20);
}

static void make_loss(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    attached(cell);
    kernel(cell, "aten::_log_softmax", CLASS_SOFTMAX, PHASE_LOSS, cured ? 0.02 : 0.3, 1);
    kernel(cell, "aten::_log_softmax_backward_data", CLASS_SOFTMAX, PHASE_BWD, cured ? 0.02 : 0.2, 1);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, cured ? 0.93 : 0.47, 20);
}

static void make_precision(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    card(cell);
    kernel(cell, cured ? "cutlass_tensorop_s1688gemm" : "ampere_sgemm_128x64_nn", CLASS_MATMUL, PHASE_FWD, 0.92, 20);
}

void make_attention(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    attached(cell);
    kernel(cell, cured ? "aten::mm" : "aten::_softmax", cured ? CLASS_MATMUL : CLASS_SOFTMAX, PHASE_FWD, 0.2, 4);
    kernel(cell, cured ? "aten::mm" : "aten::bmm", CLASS_MATMUL, PHASE_FWD, 0.3, 8);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_BWD, 0.46, 20);
}

static void make_fusion(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "silu", CLASS_ELEMENTWISE, PHASE_FWD, cured ? 0.02 : 0.3, 8);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, cured ? 0.95 : 0.67, 20);
}

/* 1 ms of products at 20 % and at 90 % of the roof of 100 GFLOP/s. */
static void make_products(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    struct report_kernel *gemm = kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.95, 20);
    gemm->flops = (double)gemm->total_ns * 1e-9 * 1e11 * (cured ? 0.9 : 0.2);
    gemm->bytes = gemm->flops / 1000;
}

static void make_recompute(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, cured ? PHASE_FWD : PHASE_RECOMPUTE, 0.25, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_BWD, 0.7, 20);
}

static void make_memory(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->memory.planned_total = cured ? 500u << 20 : 1000u << 20;
}

static void ranks(struct report_cell *cell, double exposed, double late)
{
    cell->ranks = arena_array(&cell->arena, struct report_rank, 2);
    cell->rank_count = 2;
    for (uint32_t r = 0; r < 2; r++)
        cell->ranks[r] = (struct report_rank){.rank = r,
                                              .steps = 20,
                                              .compute_ns = (1 - exposed) * STEP * (r ? 1 : 1 - late),
                                              .exposed_ns = exposed * STEP,
                                              .communication_ns = exposed * STEP,
                                              .wait_ns = 0,
                                              .product_slow = 1,
                                              .transfer_ns = exposed * STEP};
}

static void make_communication(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    ranks(cell, cured ? 0.01 : 0.35, 0);
}

static void make_straggler(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    ranks(cell, 0, cured ? 0.01 : 0.4);
}

static void make_bucket(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    ranks(cell, 0, 0);
    cell->collective_count = cured ? 2 : 20;
    cell->collectives = arena_array(&cell->arena, struct report_collective, 20);
    for (size_t c = 0; c < cell->collective_count; c++)
        cell->collectives[c] = (struct report_collective){.op = "all_reduce",
                                                          .scope = "",
                                                          .bytes = cured ? 50000000 : 4000,
                                                          .calls = 20,
                                                          .transfer_ns = 0.2 * STEP / (double)cell->collective_count};
}

/* One all-reduce of 8 MB, alone for 30 % of the step, of which backward can hide 24; the twin's are eight. */
static void make_large_bucket(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_BWD, 0.7, 20);
    ranks(cell, cured ? 0.03 : 0.3, 0);
    cell->ranks[0].backward_ns = cell->ranks[1].backward_ns = 0.24 * STEP;
    cell->collective_count = cured ? 8 : 1;
    cell->collectives = arena_array(&cell->arena, struct report_collective, 8);
    for (size_t c = 0; c < cell->collective_count; c++)
        cell->collectives[c] = (struct report_collective){
            .op = "all_reduce", .scope = "", .bytes = 8000000 / cell->collective_count, .calls = 20};
}

/* 20 MB of parameters in two calls of a step; the twin's go in twenty. */
static void make_large_bucket_of_a_command(struct report *report, bool cured)
{
    static const struct report_layer_phase none;
    struct report_cell *cell = document(report, 20);
    attached(cell);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_BWD, cured ? 0.95 : 0.71, 20);
    kernel(cell, "c10d::allreduce_", CLASS_COLLECTIVE, PHASE_BWD, cured ? 0.01 : 0.25, cured ? 20 : 2);
    ranks(cell, cured ? 0.02 : 0.25, 0);
    cell->ranks[0].wait_ns = cell->ranks[1].wait_ns = UNKNOWN_DOUBLE;
    cell->ranks[0].backward_ns = cell->ranks[1].backward_ns = UNKNOWN_DOUBLE;
    cell->layers = arena_array(&cell->arena, struct report_layer, 1);
    cell->layers[0] = (struct report_layer){.path = "DistributedDataParallel",
                                            .name = "DistributedDataParallel",
                                            .parent = -1,
                                            .parameter_bytes = 20000000,
                                            .saved_bytes = UNKNOWN_U64};
    for (int pass = 0; pass < PASS_COUNT; pass++)
        for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
            cell->layers[0].phase[pass][phase] = &none;
    cell->layer_count = 1;
    reason(cell, IDLE_RANK, 0.03);
}

/* A table with 8 of 10 MB of the parameters: 20 % in its own module, of which half fills its gradient, and of 30 % of an optimizer. The
 * twin has another module in its place. */
static void make_embedding(struct report *report, bool cured)
{
    static const struct report_layer_phase none;
    struct report_cell *cell = document(report, 20);
    attached(cell);
    card(cell);
    cell->layers = arena_array(&cell->arena, struct report_layer, 3);
    for (int l = 0; l < 3; l++) {
        cell->layers[l] = (struct report_layer){.path = l == 0   ? "model"
                                                        : l == 1 ? "tokens"
                                                                 : "out",
                                                .name = l == 0   ? "model"
                                                        : l == 1 ? "tokens"
                                                                 : "out",
                                                .parent = l ? 0 : -1,
                                                .depth = l > 0,
                                                .parameter_bytes = l == 0   ? 10000000
                                                                   : l == 1 ? 8000000
                                                                            : 2000000,
                                                .saved_bytes = UNKNOWN_U64};
        for (int pass = 0; pass < PASS_COUNT; pass++)
            for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
                cell->layers[l].phase[pass][phase] = &none;
    }
    cell->layer_count = 3;
    kernel(cell, cured ? "gelu" : "embedding_backward_feature_kernel", cured ? CLASS_ELEMENTWISE : CLASS_EMBEDDING,
           PHASE_BWD, 0.1, 1);
    kernel(cell, "vectorized_elementwise_kernel", CLASS_ELEMENTWISE, PHASE_BWD, 0.1, 1);
    kernel(cell, "multi_tensor_apply_kernel", CLASS_OPTIMIZER, PHASE_OPT, 0.3, 2);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.46, 20);
    cell->entries = arena_array(&cell->arena, struct report_entry, 4);
    for (uint32_t k = 0; k < 4; k++)
        cell->entries[cell->entry_count++] = (struct report_entry){.kernel = k,
                                                                   .scope = k < 2    ? 1
                                                                            : k == 2 ? -1
                                                                                     : 2,
                                                                   .phase = cell->kernels[k].phase,
                                                                   .pass = PASS_TRAIN_STEP,
                                                                   .total_ns = cell->kernels[k].total_ns};
}

/* Tensors of 75 GB where 80 are free or held; the twin's of 40. */
static void make_memory_attached(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    attached(cell);
    card(cell);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->program = (struct program_facts){
        .steps = 20, .peak_bytes = cured ? 40000000000u : 75000000000u, .room_bytes = 80000000000u};
}

/* Of a command: rank 0 waits 25 % for rank 1, which sends for 20 %; the twin sends for 1 %. */
static void make_communication_of_a_command(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    attached(cell);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    ranks(cell, cured ? 0.01 : 0.2, 0);
    for (size_t r = 0; r < cell->rank_count; r++)
        cell->ranks[r].communication_ns = cell->ranks[r].wait_ns = cell->ranks[r].transfer_ns = UNKNOWN_DOUBLE;
    cell->ranks[0].exposed_ns += 0.05 * STEP;
}

/* Communication of 20 % of the step beside products that take half as long again: a third of it could go. */
static void make_slowed(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    ranks(cell, 0, 0);
    for (size_t r = 0; r < cell->rank_count; r++) {
        cell->ranks[r].communication_ns = 0.2 * STEP;
        cell->ranks[r].product_slow = cured ? 1.02 : 1.5;
    }
}

static void make_throttle(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    card(cell);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->device.clock_mhz = 2000;
    cell->telemetry.sm_clock_mhz = cured ? 1980 : 1500;
    cell->telemetry.power_w = cured ? 400 : 699;
    cell->telemetry.power_limit_w = 700;
}

static void make_others(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->telemetry.other_processes = cured ? 0 : 2;
}

/* Others take 40 % where the run has 55: without them it could have had at most 95, and have lost 8 % of its own work to them in caches.
 * The twin's leave room. */
static void make_neighbours(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->use = (struct machine_use){0, 0.4, cured ? 0.3 : 0.05, UNKNOWN_DOUBLE};
}

/* Stopped for 35 % of the time, and at work for 50. */
static void make_quota(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->use = (struct machine_use){0, 0, 0.5, cured ? 0.01 : 0.35};
}

static void make_steal(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->machine.steal = cured ? 0.001 : 0.12;
}

/* A second cell of the same sweep, half as long, that differs in what the rule looks at. */
enum differs { IN_COMPILE, IN_DTYPE, IN_BATCH };
static void twin(struct report *report, bool cured, enum differs differs)
{
    struct report_cell *cell = document(report, 20), *other;
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    struct report beside;
    struct report_cell *made = document(&beside, 20);
    other = report_add_cell(report);
    struct report_cell empty = *other;
    *other = *made;
    *made = empty;
    other->run_id = 2;
    switch (differs) {
    case IN_COMPILE:
        other->requested.compile = true;
        break;
    case IN_DTYPE:
        other->requested.dtype = PRECISION_BF16;
        break;
    case IN_BATCH: /* twice as many in the same time, or (the twin) in twice the time */
        other->requested.batch_size *= 2;
        cured = !cured;
    }
    struct report_phase *total = &other->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT];
    for (size_t i = 0; !cured && i < total->sample_count; i++)
        total->samples_ns[i] = differs == IN_BATCH ? total->samples_ns[i] * 2 : total->samples_ns[i] / 2;
    report_free(&beside);
    cell_derive(other);
}

static void make_eager(struct report *report, bool cured)
{
    twin(report, cured, IN_COMPILE);
}

static void make_dtype(struct report *report, bool cured)
{
    twin(report, cured, IN_DTYPE);
}

static void make_batch(struct report *report, bool cured)
{
    twin(report, cured, IN_BATCH);
}

const struct ill ills[] = {
    {"input", 0.60, make_input},
    {"input", 0.40, make_loader},
    {"outside", 0.60, make_outside},
    {"sync", 0.30, make_sync},
    {"launch", 0.59, make_launch},
    {"launch", 0.61, make_launch_card},
    {"copies", 0.30, make_copies},
    {"threads", 0.48, make_threads},
    {"stall", 0.333, make_stall},
    {"warmup", 0.50, make_warmup},
    {"drift", 0.245, make_drift},
    {"spread", 0.0908, make_spread},
    {"layout", 0.30, make_layout},
    {"optimizer", 0.40, make_optimizer},
    {"loss", 0.50, make_loss},
    {"precision", 0.92, make_precision},
    {"attention", 0.50, make_attention},
    {"fusion", 0.30, make_fusion},
    {"products", 0.76, make_products},
    {"recompute", 0.25, make_recompute},
    {"memory", -1, make_memory},
    {"communication", 0.35, make_communication},
    {"communication", 0.20, make_communication_of_a_command},
    {"straggler", 0.40, make_straggler},
    {"bucket", 0.20, make_bucket},
    {"throttle", 0.24, make_throttle},
    {"others", -1, make_others},
    {"steal", 0.12, make_steal},
    {"eager", 0.50, make_eager},
    {"dtype", 0.50, make_dtype},
    {"recompile", 0.333, make_recompile},
    {"creep", -1, make_creep},
    {"allocator", -1, make_allocator},
    {"neighbours", 0.47, make_neighbours},
    {"quota", 0.4118, make_quota},
    {"threads", 0.48, make_threads_attached},
    {"affinity", 0.48, make_affinity},
    {"accumulation", 0.875, make_accumulation},
    {"embedding", 0.44, make_embedding},
    {"memory", -1, make_memory_attached},
    {"large-bucket", 0.24, make_large_bucket},
    {"large-bucket", 0.225, make_large_bucket_of_a_command},
    {"slowed", 0.0667, make_slowed},
    {"batch", 0.50, make_batch},
};
const size_t ill_count = sizeof ills / sizeof *ills;
