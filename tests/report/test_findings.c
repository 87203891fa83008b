/* The verdict: each rule on a document that is bound in exactly that way, and on its cured twin; with values. */
#include "report/derive.h"
#include "report/diff.h"
#include "report/emit.h"
#include "report/findings.h"
#include "tests/report/synthetic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STEP 10000000.0 /* ns */

/* A document of one cell: `steps` steps of 10 ms that differ by up to 0.2 %, on the CPU, and no kernel yet. */
static struct report_cell *document(struct report *report, size_t steps)
{
    report_init(report);
    report->host.cores = 2;
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

static void attached(struct report_cell *cell)
{
    snprintf(cell->requested.command, sizeof cell->requested.command, "python train.py");
}

/* `share` of the step in `calls` launches of a kernel. */
static struct report_kernel *kernel(struct report_cell *cell, const char *name, enum kernel_class class,
                                    enum phase phase, double share, uint64_t calls)
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

static void phase(struct report_cell *cell, enum phase which, double share)
{
    struct report_phase *times = &cell->passes[PASS_TRAIN_STEP].phases[which];
    times->samples_ns = arena_array(&cell->arena, uint64_t, 1);
    times->samples_ns[0] = (uint64_t)(share * STEP);
    times->sample_count = 1;
}

static void note(struct report_cell *cell, const char *key, const char *text)
{
    cell->notes = arena_array(&cell->arena, struct report_note, 1);
    cell->notes[0] = (struct report_note){key, text};
    cell->note_count = 1;
}

static const struct finding *find(const struct findings *findings, const char *rule)
{
    for (size_t i = 0; i < findings->count; i++)
        if (strcmp(findings->items[i].rule, rule) == 0)
            return &findings->items[i];
    return NULL;
}

/* The rule is the first finding and promises `gain` (below 0: cannot tell). */
static void is_first(struct report *report, const char *rule, double gain)
{
    struct arena arena = {0};
    struct findings findings;
    cell_derive(report->cells.items[0]);
    findings_make(&findings, report, report->cells.items[0], &arena);
    assert_true(findings.count > 0);
    assert_string_equal(findings.items[0].rule, rule);
    assert_true(findings.items[0].evidence_count > 0);
    assert_true(findings.items[0].sentence[0] && findings.items[0].remedy[0] && findings.items[0].disproof[0]);
    assert_int_equal(strncmp(findings.verdict, findings.items[0].sentence, strlen(findings.items[0].sentence)), 0);
    if (gain < 0)
        assert_false(is_known(findings.items[0].gain));
    else
        assert_true(fabs(findings.items[0].gain - gain) < 0.005);
    arena_release(&arena);
    report_free(report);
}

static void is_healthy(struct report *report)
{
    struct arena arena = {0};
    struct findings findings;
    cell_derive(report->cells.items[0]);
    findings_make(&findings, report, report->cells.items[0], &arena);
    assert_int_equal(findings.count, 0);
    assert_true(findings.verdict[0] != 0);
    arena_release(&arena);
    report_free(report);
}

static void card(struct report_cell *cell)
{
    snprintf(cell->requested.device, sizeof cell->requested.device, "cuda:0");
}

static char *emitted(const struct report *report, enum report_format format) /* malloc'ed */
{
    struct strbuf out = {0};
    report_emit(report, format, &out);
    return out.text;
}

struct ill {
    const char *rule;
    double gain;
    void (*make)(struct report *report, bool cured);
};

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
static void reason(struct report_cell *cell, enum idle_reason why, double share)
{
    struct report_idle *idle = &cell->passes[PASS_TRAIN_STEP].idle;
    *idle = (struct report_idle){
        .steps = 20, .total_ns = share * STEP, .sync_layer = "layers.0.attn", .sync_layer_ns = share * STEP};
    idle->ns[why] = share * STEP;
}

static void make_loader(struct report *report, bool cured)
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
    kernel(cell, "memcpy host to device", CLASS_COPY, PHASE_NONE, cured ? 0.01 : 0.3, 2);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, cured ? 0.96 : 0.67, 20);
}

static void make_threads(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    note(cell, "threads", cured ? "2: all processors that this process may use" : "1");
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
}

static void make_stall(struct report *report, bool cured)
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

static void make_drift(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 30);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    for (size_t i = 10; i < 30; i++) { /* it grows; the twin jumps once, as when a neighbour begins */
        const double grown = i < 20 ? 1.12 : 1.25;
        cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[i] = (uint64_t)(STEP * (!cured   ? grown
                                                                                             : i < 20 ? 1
                                                                                                      : 1.25)) +
                                                                          i * 7 % 5 * 5000;
    }
}

static void make_spread(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 100);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    for (size_t i = 3; !cured && i < 100; i += 10)
        cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns[i] = (uint64_t)(STEP * 2);
}

static void make_layout(struct report *report, bool cured)
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

static void make_attention(struct report *report, bool cured)
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

/* Others take 40 % where the run has 55: without them it could have had at most 95. The twin's leave room. */
static void make_neighbours(struct report *report, bool cured)
{
    struct report_cell *cell = document(report, 20);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
    cell->use = (struct machine_use){0, 0.4, cured ? 0.3 : 0.05, UNKNOWN_DOUBLE};
}

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
static void twin(struct report *report, bool cured, bool compile)
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
    if (compile)
        other->requested.compile = true;
    else
        other->requested.dtype = PRECISION_BF16;
    struct report_phase *total = &other->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT];
    for (size_t i = 0; !cured && i < total->sample_count; i++)
        total->samples_ns[i] /= 2;
    report_free(&beside);
    cell_derive(other);
}

static void make_eager(struct report *report, bool cured)
{
    twin(report, cured, true);
}

static void make_dtype(struct report *report, bool cured)
{
    twin(report, cured, false);
}

static const struct ill ills[] = {
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
    {"drift", 0.20, make_drift},
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
    {"neighbours", 0.42, make_neighbours},
    {"quota", 0.35, make_quota},
};

static void test_each_rule_and_its_cure(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ills / sizeof *ills; i++) {
        struct report report;
        print_message("%s\n", ills[i].rule);
        ills[i].make(&report, false);
        is_first(&report, ills[i].rule, ills[i].gain);
        ills[i].make(&report, true);
        is_healthy(&report);
    }
    /* Each rule is one of them; `shape` needs a card and is looked at below. */
    for (size_t r = 0; r < rule_count(); r++) {
        bool shown = strcmp(rule_info(r).name, "shape") == 0;
        for (size_t i = 0; i < sizeof ills / sizeof *ills; i++)
            shown |= strcmp(rule_info(r).name, ills[i].rule) == 0;
        assert_true(shown);
        assert_true(rule_info(r).condition[0] && rule_info(r).remedy[0]);
    }
}

static void test_shape(void **state)
{
    (void)state;
    for (int cured = 0; cured < 2; cured++) {
        struct report report;
        struct report_cell *cell = document(&report, 20);
        card(cell);
        cell->requested.model.vocab_size = cured ? 50304 : 50257;
        kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.96, 20);
        cured ? is_healthy(&report) : is_first(&report, "shape", -1);
    }
}

/* Why a data loader is waited for, in words. */
static void test_causes_of_a_loader(void **state)
{
    (void)state;
    const struct {
        struct program_facts program;
        const char *says, *remedy;
    } cases[] = {
        {{.steps = 20, .wait_ns = 100, .wait_cpu_ns = 90},
         "Input-bound: the host waits 40 % of the step for its data loader, which has no workers and computes on the "
         "thread that trains.",
         "num_workers"},
        {{.steps = 20, .wait_ns = 100, .wait_cpu_ns = 10},
         "mostly waits itself: a disk, a network, a lock.",
         "num_workers"},
        {{.steps = 20, .wait_ns = 100, .loader_workers = 2, .workers_ns = 1000, .workers_cpu_ns = 1900},
         "whose 2 workers compute all the time.",
         "More loader workers"},
        {{.steps = 20,
          .wait_ns = 100,
          .loader_workers = 1,
          .workers_ns = 1000,
          .workers_cpu_ns = 100,
          .workers_disk_ns = 800},
         "whose 1 worker mostly waits: for a disk.",
         "A faster disk"},
        {{.steps = 20, .wait_ns = 100, .loader_workers = 4, .workers_ns = 1000, .workers_cpu_ns = 100},
         "whose 4 workers mostly wait: not for a processor, nor for a disk that the kernel counts.",
         "What its workers wait for"},
        {{.steps = 0}, "for its data loader.", "More loader workers"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct report report;
        struct findings findings;
        make_loader(&report, false);
        report.cells.items[0]->program = cases[i].program;
        cell_derive(report.cells.items[0]);
        findings_make(&findings, &report, report.cells.items[0], &arena);
        assert_string_equal(findings.items[0].rule, "input");
        assert_non_null(strstr(findings.items[0].sentence, cases[i].says));
        assert_int_equal(strncmp(findings.items[0].remedy, cases[i].remedy, strlen(cases[i].remedy)), 0);
        arena_release(&arena);
        report_free(&report);
    }
}

/* From pageable memory or from pinned: the sentence says which. A stall in which nothing was compiled is no recompilation. */
static void test_other_causes(void **state)
{
    (void)state;
    for (int pageable = 0; pageable < 2; pageable++) {
        struct arena arena = {0};
        struct report report;
        struct findings findings;
        struct report_cell *cell = document(&report, 20);
        card(cell);
        kernel(cell, pageable ? "memcpy host to device, pageable" : "memcpy host to device", CLASS_COPY, PHASE_NONE,
               0.3, 2);
        kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.66, 20);
        cell_derive(cell);
        findings_make(&findings, &report, cell, &arena);
        assert_string_equal(findings.items[0].rule, "copies");
        assert_int_equal(strstr(findings.items[0].sentence, "pageable") != NULL, pageable);
        assert_true(findings.items[0].evidence[1].value == (pageable ? 100 : 0));
        arena_release(&arena);
        report_free(&report);

        make_stall(&report, false);
        cell = report.cells.items[0];
        cell->program.steps = pageable ? 40 : 0;
        cell_derive(cell);
        findings_make(&findings, &report, cell, &arena);
        assert_string_equal(findings.items[0].rule, "stall");
        assert_int_equal(strstr(findings.items[0].sentence, "Nothing was compiled in them") != NULL, pageable);
        arena_release(&arena);
        report_free(&report);
    }
}

/* What follows from a cause is in its gain: launches without a queue after each synchronisation; the host's own copy of pageable
 * memory; phases that run slower after a wait. */
static void test_what_follows_from_a_cause(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct report report;
    struct findings findings;
    struct report_cell *cell = document(&report, 20);
    card(cell);
    kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.6, 20);
    reason(cell, IDLE_SYNC, 0.15);
    cell->passes[PASS_TRAIN_STEP].idle.ns[IDLE_LAUNCH] = 0.25 * STEP;
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_string_equal(findings.items[0].rule, "sync"); /* not launch, with its 25 % */
    assert_true(fabs(findings.items[0].gain - 0.40) < 0.001);
    report_free(&report);

    for (int pageable = 0; pageable < 2; pageable++) {
        cell = document(&report, 20);
        card(cell);
        kernel(cell, pageable ? "memcpy host to device, pageable" : "memcpy host to device", CLASS_COPY, PHASE_NONE,
               0.2, 2);
        kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, 0.71, 20);
        reason(cell, IDLE_LAUNCH, 0.08);
        cell_derive(cell);
        findings_make(&findings, &report, cell, &arena);
        assert_string_equal(findings.items[0].rule, "copies");
        assert_true(fabs(findings.items[0].gain - (pageable ? 0.28 : 0.20)) < 0.001);
        report_free(&report);
    }
    arena_release(&arena);
}

/* Steps that spread while others take the processors: that is said, and no spread beside it. */
static void test_spread_has_a_cause(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct report report;
    struct findings findings;
    make_spread(&report, false);
    report.cells.items[0]->use = (struct machine_use){0, 0.4, 0.05, UNKNOWN_DOUBLE};
    cell_derive(report.cells.items[0]);
    findings_make(&findings, &report, report.cells.items[0], &arena);
    assert_int_equal(findings.count, 1);
    assert_string_equal(findings.items[0].rule, "neighbours");
    assert_string_equal(
        findings.items[0].sentence,
        "Other programs use 40 % of the processors' time and leave 5 % idle, so that the run waits for them.");
    arena_release(&arena);
    report_free(&report);
}

/* Steps that differ more than the remedy would give: no rule fires. With few steps it is said that they are few. */
static void test_noise_and_few_steps(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct findings findings;
    struct report report;
    struct report_cell *cell = document(&report, 10);
    attached(cell);
    kernel(cell, "aten::copy_", CLASS_COPY, PHASE_FWD, 0.1, 20);
    kernel(cell, "aten::mm", CLASS_MATMUL, PHASE_FWD, 0.87, 20);
    uint64_t *samples = cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].samples_ns;
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_non_null(find(&findings, "layout"));
    for (size_t i = 0; i < 10; i++)
        samples[i] = (uint64_t)(STEP * (i % 2 ? 1.3 : 0.7));
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_null(find(&findings, "layout"));
    report_free(&report);

    cell = document(&report, 3);
    attached(cell);
    kernel(cell, "aten::copy_", CLASS_COPY, PHASE_FWD, 0.5, 20);
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_int_equal(findings.count, 0);
    assert_string_equal(findings.verdict,
                        "Cannot tell what bounds the step: 3 steps were timed, and 5 are the least for that.");
    report_free(&report);

    report_init(&report);
    cell = report_add_cell(&report);
    cell_default(&cell->requested);
    cell->status = STATUS_RUNNING;
    cell->telemetry.other_processes = UNKNOWN_U32;
    findings_make(&findings, &report, cell, &arena);
    assert_string_equal(findings.verdict, "Cannot tell yet what bounds the step: no step was timed.");
    report_free(&report);
    arena_release(&arena);
}

static void test_gain_in_words(void **state)
{
    (void)state;
    char text[64];
    gain_text(0.61, text, sizeof text);
    assert_string_equal(text, "at most 61 % of the step (2.6 ×)");
    gain_text(UNKNOWN_DOUBLE, text, sizeof text);
    assert_string_equal(text, "cannot tell how much");
    gain_text(1, text, sizeof text);
    assert_string_equal(text, "at most 100 % of the step");
}

/* Written, read and written again: the same, in YAML; and each format has the sentence on top. */
static void test_files(void **state)
{
    (void)state;
    struct report report, again;
    struct error error = {0};
    synthetic_report(&report, "tiny", false, 10, 1);
    report.cells.items[0]->machine.steal = 0.12;
    char *text = emitted(&report, FORMAT_YAML);
    assert_non_null(strstr(text, "    verdict: "));
    assert_non_null(strstr(text, "    findings:\n      - rule: "));
    assert_true(report_parse(text, strlen(text), "r.yaml", &again, &error));
    char *second = emitted(&again, FORMAT_YAML);
    assert_string_equal(text, second);
    free(text);
    free(second);
    text = emitted(&again, FORMAT_MARKDOWN);
    assert_int_equal(strncmp(text, "# steptop report\n\n**", 20), 0);
    assert_non_null(strstr(text, "## Findings"));
    free(text);
    text = emitted(&again, FORMAT_JSON);
    assert_non_null(strstr(text, "\"findings\": ["));
    free(text);
    struct strbuf plain = {0};
    findings_text(&again, &plain);
    assert_non_null(strstr(plain.text, "\n1. "));
    assert_non_null(strstr(plain.text, "wrong if: "));
    strbuf_release(&plain);
    report_free(&report);
    report_free(&again);
}

/* A cause that is merely possible does not lead before one that is likely, however much it would give. */
static void test_possible_is_behind(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct findings findings;
    struct report report;
    make_spread(&report, false);
    struct report_cell *cell = report.cells.items[0];
    attached(cell);
    kernel(cell, "aten::copy_", CLASS_COPY, PHASE_FWD, 0.085, 20);
    cell_derive(cell);
    findings_make(&findings, &report, cell, &arena);
    assert_int_equal(findings.count, 2);
    assert_string_equal(findings.items[0].rule, "layout");
    assert_string_equal(findings.items[1].rule, "spread");
    assert_true(findings.items[1].gain > findings.items[0].gain);
    report_free(&report);
    arena_release(&arena);
}

/* diff says which findings came and which went. */
static void test_diff(void **state)
{
    (void)state;
    struct report before, after;
    struct strbuf text = {0};
    make_attention(&before, false);
    make_layout(&after, false);
    cell_derive(before.cells.items[0]);
    cell_derive(after.cells.items[0]);
    const struct diff_cell cell = {.a = before.cells.items[0], .b = after.cells.items[0]};
    diff_findings(&cell, false, &text);
    assert_non_null(
        strstr(text.text, "  finding gone: attention, at most 50 % of the step (2.0 ×): Attention is not one kernel"));
    assert_non_null(strstr(text.text, "  finding new: layout, at most 30 % of the step (1.43 ×): Copies of layout"));
    strbuf_release(&text);
    report_free(&before);
    report_free(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_rule_and_its_cure),
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_causes_of_a_loader),
        cmocka_unit_test(test_what_follows_from_a_cause),
        cmocka_unit_test(test_spread_has_a_cause),
        cmocka_unit_test(test_other_causes),
        cmocka_unit_test(test_noise_and_few_steps),
        cmocka_unit_test(test_gain_in_words),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_diff),
        cmocka_unit_test(test_possible_is_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
