/* What the profiler says of a real card, held against what can be known otherwise. Needs a GPU; skipped without. */
#include "base/clock.h"
#include "gpu_chains.h"
#include "gpu_run.h"
#include "kernels/cuda/cupti_counters.h"
#include "kernels/cuda/nvml.h"
#include "tests/kernels/made.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call))                                                                                                   \
            fail_msg("%s: %s", #call, error.text);                                                                     \
    } while (0)

/* The run of the test in hand: closed after it, also when it failed, or the next would find CUPTI taken. */
static struct gpu_run the_run;

static int run_close(void **state)
{
    (void)state;
    gpu_close(&the_run);
    return 0;
}

/* launches = records + dropped + invalid since `before`, nothing unexplained on our own models. */
static void check_accounts_since(struct gpu_run *run, const struct cupti_counts *before, const char *what)
{
    struct cupti_counts counts;
    cupti_source_counts(gpu_source(run), &counts);
    counts.launches -= before->launches, counts.records -= before->records, counts.dropped -= before->dropped;
    counts.invalid -= before->invalid, counts.missing -= before->missing, counts.surplus -= before->surplus;
    counts.unattributed -= before->unattributed;
    printf("  %-24s launches %llu = records %llu + dropped %llu + invalid %llu (no time %llu, backwards %llu); "
           "missing %llu, surplus %llu, outside %llu, unattributed %llu\n",
           what, (unsigned long long)counts.launches, (unsigned long long)counts.records,
           (unsigned long long)counts.dropped, (unsigned long long)counts.invalid,
           (unsigned long long)counts.invalid_no_time, (unsigned long long)counts.invalid_backwards,
           (unsigned long long)counts.missing, (unsigned long long)counts.surplus, (unsigned long long)counts.outside,
           (unsigned long long)counts.unattributed);
    assert_true(counts.launches > 0);
    assert_int_equal(counts.launches, counts.records + counts.dropped + counts.invalid);
    assert_int_equal(counts.dropped, 0);
    assert_int_equal(counts.missing, 0);
    assert_int_equal(counts.surplus, 0);
    assert_int_equal(counts.unattributed, 0);
    assert_int_equal(counts.invalid, 0);
}

static void check_accounts(struct gpu_run *run, const char *what)
{
    check_accounts_since(run, &(struct cupti_counts){0}, what);
}

/* Kernels, copies and memsets of each node in one step. */
static uint32_t *node_counts(const struct gpu_run *run, uint64_t step)
{
    uint32_t *counts = calloc((size_t)run->plan->node_count, sizeof *counts);
    for (size_t i = 0; i < run->heard.events.count; i++)
        if (run->heard.steps.items[i] == step && run->heard.events.items[i].node >= 0)
            counts[run->heard.events.items[i].node]++;
    return counts;
}

static void test_every_launch_of_the_model_has_its_node(void **state)
{
    (void)state;
    for (int compile = 0; compile < 2; compile++) {
        struct gpu_run *const run = &the_run;
        struct error error = {0};
        CHECK(gpu_open_model(run, "S", PRECISION_BF16, compile, GPU_PROFILED, &error));
        if (!gpu_source(run))
            fail_msg("no activity source: %s", run->heard.notes);
        static const unsigned passes[] = {PHASES_FWD, PHASES_FWD_BWD, PHASES_TRAIN_STEP};
        struct step_times times;
        for (uint64_t step = 0; step < 6; step++) {
            CHECK(gpu_step(run, passes[step % 3], step, true, &times, &error));
            CHECK(gpu_step(run, passes[step % 3], 100 + step, false, &times, &error));
        }
        CHECK(gpu_flush(run, &error));
        check_accounts(run, compile ? "S bf16 compiled" : "S bf16 eager");
        uint32_t *first = node_counts(run, 2), *second = node_counts(run, 5);
        for (int32_t node = 0; node < run->plan->node_count; node++) {
            if (!first[node])
                fail_msg("node %d (%s of %s) has no record", node, op_info(run->plan->nodes[node].op)->name,
                         run->plan->scopes[run->plan->nodes[node].scope].path);
            assert_int_equal(first[node], second[node]);
        }
        for (size_t i = 0; i < run->heard.steps.count; i++)
            assert_true(run->heard.steps.items[i] < 6); /* nothing of the timed steps */
        free(first);
        free(second);
        gpu_close(run);
    }
}

/* The same plan, with a graph and launch by launch: the same kernels in the same nodes. */
static void test_graph_and_stream_attribute_alike(void **state)
{
    (void)state;
    struct error error = {0};
    uint32_t *counts[2] = {NULL, NULL};
    int32_t nodes = 0;
    for (int compile = 0; compile < 2; compile++) {
        struct gpu_run *const run = &the_run;
        struct step_times times;
        struct plan_request request = {
            .batch = 4, .context = 256, .precision = PRECISION_FP32, .fusions = FUSE_ALL, .phases = PHASES_TRAIN_STEP};
        struct plan_result result;
        CHECK(model_preset_find("tiny", &request.model, &error));
        struct plan *plan = plan_build(&request, &result, &error);
        CHECK(plan != NULL);
        CHECK(gpu_open(run, plan, compile, GPU_PROFILED, &error));
        CHECK(gpu_step(run, PHASES_TRAIN_STEP, 1, true, &times, &error));
        CHECK(gpu_flush(run, &error));
        counts[compile] = node_counts(run, 1);
        nodes = plan->node_count;
        gpu_close(run);
        plan_free(plan);
    }
    for (int32_t node = 0; node < nodes; node++) /* a GEMM's algorithm may add a reduction of its own */
        assert_true((counts[0][node] > 0) == (counts[1][node] > 0));
    free(counts[0]);
    free(counts[1]);
}

static int by_start(const void *a, const void *b)
{
    const struct kernel_event *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Union of the kernels' intervals and the gaps between them fill the step; and the span of the records is the span that
 * CUDA's own events measured around the same work. */
static void test_busy_and_idle_are_the_wall(void **state)
{
    (void)state;
    for (int compile = 0; compile < 2; compile++) {
        struct gpu_run *const run = &the_run;
        struct error error = {0};
        struct step_times times = {0};
        CHECK(gpu_open_model(run, "S", PRECISION_FP32, compile, GPU_PROFILED, &error));
        CHECK(gpu_step(run, PHASES_FWD_BWD, 0, false, &times, &error));
        printf("  S fp32 %s, not profiled: wall %.3f ms, CUDA events %.3f\n", compile ? "compiled" : "eager",
               (double)(times.end - times.start) / 1e6,
               (double)(times.phase_ns[0] + times.phase_ns[1] + times.phase_ns[2]) / 1e6);
        for (uint64_t step = 1; step <= 3; step++) {
            gpu_forget(run);
            CHECK(gpu_step(run, PHASES_FWD_BWD, step, true, &times, &error));
            CHECK(gpu_flush(run, &error));
            VEC(struct kernel_event) device = {0};
            for (size_t i = 0; i < run->heard.events.count; i++)
                if (run->heard.events.items[i].kind <= EVENT_MEMSET)
                    vec_push(&device, run->heard.events.items[i]);
            qsort(device.items, device.count, sizeof device.items[0], by_start);
            uint64_t busy = 0, idle = 0, reached = times.start;
            for (size_t i = 0; i < device.count; i++) {
                const struct kernel_event *event = &device.items[i];
                assert_true(event->start >= times.start && event->end <= times.end);
                if (event->start > reached)
                    idle += event->start - reached;
                if (event->end > reached) {
                    busy += event->end - (event->start > reached ? event->start : reached);
                    reached = event->end;
                }
            }
            idle += times.end - reached;
            double wall = (double)(times.end - times.start), events = 0;
            double span = (double)(reached - device.items[0].start);
            for (int phase = 0; phase < PHASE_COUNT; phase++)
                if (PHASES_FWD_BWD & PHASE_BIT(phase))
                    events += (double)times.phase_ns[phase];
            printf("  S fp32 %s: wall %.3f ms, busy %.3f, idle %.3f; span of records %.3f, of CUDA events %.3f\n",
                   compile ? "compiled" : "eager", wall / 1e6, (double)busy / 1e6, (double)idle / 1e6, span / 1e6,
                   events / 1e6);
            assert_true(fabs((double)busy + (double)idle - wall) <= 0.01 * wall);
            /* The first event is stamped when the device comes to it, which may be a launch call before the first kernel. */
            double front = (double)(device.items[0].start - times.start);
            assert_true(span - events <= 0.01 * wall);
            assert_true(events - span <= 0.01 * wall + (compile ? 0 : front));
            vec_release(&device);
        }
        gpu_close(run);
    }
}

/* One long product alone between two CUDA events. It must be long: the first event is stamped when it is issued, the kernel
 * follows when the host has found its algorithm and launched it, some 80 µs later. */
static void test_long_kernels_agree_with_cuda_events(void **state)
{
    (void)state;
    static struct made made;
    struct made_sizes sizes = {
        .batch = 16, .context = 1024, .heads = 1, .head_dim = 64, .d_in = 16384, .d_out = 8192, .vocab = 1};
    for (int precision = 0; precision <= PRECISION_TF32; precision++) {
        struct gpu_run *const run = &the_run;
        struct error error = {0};
        struct step_times times;
        made_op(&made, OP_LINEAR, &sizes, false);
        made.plan.precision = (enum precision)precision;
        CHECK(gpu_open(run, &made.plan, false, GPU_PROFILED, &error));
        CHECK(gpu_step(run, PHASES_FWD, 0, false, &times, &error));
        double worst = 0;
        for (uint64_t step = 1; step <= 5; step++) {
            gpu_forget(run);
            CHECK(gpu_step(run, PHASES_FWD, step, true, &times, &error));
            CHECK(gpu_flush(run, &error));
            double kernels = 0;
            for (size_t i = 0; i < run->heard.events.count; i++)
                if (run->heard.events.items[i].kind <= EVENT_MEMSET)
                    kernels += (double)(run->heard.events.items[i].end - run->heard.events.items[i].start);
            double ratio = kernels / (double)times.phase_ns[PHASE_FWD];
            worst = fabs(ratio - 1) > fabs(worst) ? ratio - 1 : worst;
        }
        printf("  16384x8192x16384 %s: events %.3f ms, CUPTI off by %+.2f %% at worst\n",
               precision_name((enum precision)precision), (double)times.phase_ns[PHASE_FWD] / 1e6, worst * 100);
        assert_true(fabs(worst) <= 0.02);
        gpu_close(run);
    }
}

/* Counted operations of a product against 2MNK, counted bytes of an addition against what it must move. */
static void test_counters_against_arithmetic(void **state)
{
    (void)state;
    static struct made made;
    struct made_sizes product = {
        .batch = 4, .context = 1024, .heads = 1, .head_dim = 64, .d_in = 4096, .d_out = 4096, .vocab = 1};
    struct made_sizes addition = {
        .batch = 16, .context = 1024, .heads = 1, .head_dim = 64, .d_in = 16384, .d_out = 16384, .vocab = 1};
    static const struct {
        enum op op;
        enum precision precision;
    } cases[] = {{OP_LINEAR, PRECISION_FP32}, {OP_LINEAR, PRECISION_TF32}, {OP_ADD, PRECISION_FP32}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gpu_run *const run = &the_run;
        struct error error = {0};
        struct step_times times;
        struct counter_values values;
        bool is_product = cases[i].op == OP_LINEAR;
        made_op(&made, cases[i].op, is_product ? &product : &addition, false);
        made.plan.precision = cases[i].precision;
        CHECK(gpu_open(run, &made.plan, false, GPU_COUNTED, &error));
        if (!gpu_counters(run)) {
            printf("  no counters: %s", run->heard.notes);
            gpu_close(run);
            skip();
        }
        CHECK(gpu_step(run, PHASES_FWD, 1, true, &times, &error));
        CHECK(gpu_flush(run, &error));
        if (!cupti_counters_values(gpu_counters(run), 0, &values))
            fail_msg("no values: %s", run->heard.notes);
        printf("  %s %s: %.4g ns, %.6g DRAM bytes, %.6g fp32 FLOP, %.6g tensor FLOP, occupancy %.3f\n",
               op_info(cases[i].op)->name, precision_name(cases[i].precision), values.gpu_ns, values.dram_bytes,
               values.fp32_flops, values.tensor_flops, values.occupancy);
        if (is_product) {
            double flops = 2.0 * 4096 * 4096 * 4096;
            double counted = cases[i].precision == PRECISION_TF32 ? values.tensor_flops : values.fp32_flops;
            assert_true(fabs(counted / flops - 1) <= 0.01);
            assert_true(cases[i].precision == PRECISION_TF32 || values.tensor_flops == 0); /* true fp32 */
        } else {
            double bytes = 3.0 * 4 * 16384 * 16384;
            assert_true(fabs(values.dram_bytes / bytes - 1) <= 0.03);
        }
        size_t delivered = 0;
        for (size_t e = 0; e < run->heard.events.count; e++)
            delivered += run->heard.events.items[e].kind == EVENT_COUNTERS;
        assert_int_equal(delivered, 1);
        gpu_close(run);
    }
}

static long resident_kib(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* How fast the card runs graphs of empty kernels, by their shape, untraced and traced; the fastest traced shape serves. */
struct soak_shape {
    int streams, chains;
};
#define SOAK_GRAPH_KERNELS 1024
#define SOAK_RATE 500e3

static double soak_rate(struct gpu_chains *chains, bool profiled, double seconds)
{
    struct error error = {0};
    uint64_t kernels = 0, began = clock_now();
    CHECK(gpu_chains_step(chains, 2, 0, profiled, &error));
    for (began = clock_now(); (double)(clock_now() - began) < seconds * 1e9;
         kernels += 4u * chains->kernels * (uint64_t)chains->streams)
        CHECK(gpu_chains_step(chains, 4, 0, profiled, &error));
    return (double)kernels / ((double)(clock_now() - began) / 1e9);
}

static struct soak_shape soak_survey(struct gpu_run *run)
{
    static const struct soak_shape shapes[] = {{1, 1}, {1, 4}, {1, 16}, {1, 64}, {1, 256}, {4, 4}, {8, 1}, {8, 16}};
    struct soak_shape best = shapes[0];
    double best_rate = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct gpu_chains chains;
        struct error error = {0};
        CHECK(gpu_chains_open(&chains, run, shapes[i].streams, shapes[i].chains, SOAK_GRAPH_KERNELS / shapes[i].chains,
                              &error));
        double untraced = soak_rate(&chains, false, 0.3), traced = soak_rate(&chains, true, 0.3);
        printf("  soak: %d streams, %3d chains: %.0f k kernels/s untraced, %.0f k/s traced\n", shapes[i].streams,
               shapes[i].chains, untraced / 1e3, traced / 1e3);
        if (traced > best_rate) {
            best_rate = traced;
            best = shapes[i];
        }
        cupti_source_quiet(gpu_source(run));
        gpu_chains_close(&chains);
    }
    return best;
}

struct soak_mark {
    double seconds;
    long resident_kib;
    uint64_t buffers, records, device_free;
};

static struct soak_mark soak_mark(struct gpu_run *run, double seconds)
{
    struct cupti_counts counts;
    size_t device_free = 0, total = 0;
    cupti_source_counts(gpu_source(run), &counts);
    run->device->libraries.cuMemGetInfo(&device_free, &total);
    return (struct soak_mark){seconds, resident_kib(), counts.buffers, counts.records, device_free};
}

/* Small kernels in graphs at 500 k a second or a little more, for STEPTOP_SOAK_SECONDS (default 5; 60 are the 30 M records
 * after which CUPTI once lost times): every record valid and of a node, none lost, memory flat from the first tenth on. */
static void test_soak_of_graph_records(void **state)
{
    (void)state;
    const char *wanted = getenv("STEPTOP_SOAK_SECONDS");
    double seconds = wanted ? atof(wanted) : 5, lead = 0;
    struct gpu_run *const run = &the_run;
    static struct gpu_chains chains;
    struct error error = {0};
    CHECK(gpu_open_model(run, "tiny", PRECISION_FP32, false, GPU_PROFILED, &error));
    if (!gpu_source(run))
        fail_msg("no activity source: %s", run->heard.notes);
    run->heard.keep = false;
    struct soak_shape shape = soak_survey(run);
    struct cupti_counts before, counts;
    cupti_source_counts(gpu_source(run), &before);
    CHECK(gpu_chains_open(&chains, run, shape.streams, shape.chains, SOAK_GRAPH_KERNELS / shape.chains, &error));
    gpu_forget(run);

    /* Steps of some 8 thousand kernels; ahead of 1.03 times the rate it waits, so that 500 k/s is not missed by a sleep. */
    int times = 8 / shape.streams;
    uint64_t a_step = (uint64_t)times * (uint64_t)shape.streams * chains.kernels, kernels = 0, step = 0, took_ns;
    struct soak_mark marks[3] = {{0}};
    int marked = 0;
    static const double mark_at[] = {0.1, 0.5};
    uint64_t began = clock_now();
    while ((took_ns = clock_now() - began) < (uint64_t)(seconds * 1e9)) {
        if (marked < 2 && (double)took_ns > mark_at[marked] * seconds * 1e9) {
            marks[marked] = soak_mark(run, (double)took_ns / 1e9);
            marked++;
        }
        lead = (double)kernels / (SOAK_RATE * 1.03) - (double)took_ns / 1e9;
        if (lead > 0)
            nanosleep(&(struct timespec){.tv_nsec = (long)(lead * 1e9)}, NULL);
        CHECK(gpu_chains_step(&chains, times, step++, true, &error));
        kernels += a_step;
    }
    double took = (double)(clock_now() - began) / 1e9;
    CHECK(gpu_flush(run, &error));
    marks[2] = soak_mark(run, took);
    cupti_source_counts(gpu_source(run), &counts);
    double rate = (double)(counts.records - before.records) / took;
    printf(
        "  soak: %d streams, %d chains, %.1f s: %llu kernels launched, %llu records, %.0f k/s; kernel end to probe p50 "
        "%.0f ms p99 %.0f ms, longest flush %.1f ms\n",
        shape.streams, shape.chains, took, (unsigned long long)kernels,
        (unsigned long long)(counts.records - before.records), rate / 1e3, gpu_delay_ms(run, 0.5),
        gpu_delay_ms(run, 0.99), (double)counts.longest_flush_ns / 1e6);
    for (int i = 0; i < 3; i++)
        printf("  soak: after %5.1f s resident %ld KiB, %llu buffers of 512 KiB, %llu MiB free on the card\n",
               marks[i].seconds, marks[i].resident_kib, (unsigned long long)marks[i].buffers,
               (unsigned long long)(marks[i].device_free >> 20));
    printf("  soak: in the survey at full speed %llu dropped, %llu invalid\n", (unsigned long long)before.dropped,
           (unsigned long long)before.invalid);
    check_accounts_since(run, &before, "soak");
    assert_int_equal(counts.records - before.records, kernels);
    assert_int_equal(run->heard.backwards, 0);
    /* Flat: the pool holds what came within a few periods (at 515 k/s 50 ms are 11 buffers) and does not grow with time. */
    assert_in_range(counts.buffers, 1, 96);
    assert_true(marks[2].buffers <= marks[0].buffers + 16);
    assert_true(marks[2].resident_kib - marks[0].resident_kib < 16 * 1024);
    assert_true(marks[2].resident_kib - marks[1].resident_kib < 8 * 1024);
    assert_true(gpu_delay_ms(run, 0.99) <= 150); /* the screen has 250 ms in all */
    gpu_chains_close(&chains);
    if (rate < SOAK_RATE)
        fail_msg("%.0f k records a second: below 500 k", rate / 1e3);
    gpu_close(run);
}

static void test_telemetry(void **state)
{
    (void)state;
    struct gpu_run *const run = &the_run;
    struct error error = {0};
    struct device_telemetry telemetry;
    CHECK(gpu_open_model(run, "tiny", PRECISION_FP32, false, GPU_PLAIN, &error));
    assert_non_null(gpu_device_class()->telemetry);
    CHECK(gpu_device_class()->telemetry(run->device, &telemetry));
    printf("  SM %.0f MHz, memory %.0f MHz, %.1f of %.1f W, %.0f C, throttle \"%s\", %d other processes\n",
           telemetry.sm_clock_mhz, telemetry.memory_clock_mhz, telemetry.power_w, telemetry.power_limit_w,
           telemetry.temperature_c, telemetry.throttle, (int)telemetry.other_processes);
    assert_true(telemetry.sm_clock_mhz > 100 && telemetry.sm_clock_mhz < 10000);
    assert_true(telemetry.power_w > 1 && telemetry.power_w < 3000);
    assert_true(telemetry.temperature_c > 0 && telemetry.temperature_c < 120);
    gpu_close(run);
}

int main(void)
{
    char why[2048];
    if (!gpu_present(why, sizeof why)) {
        printf("skipped: %s\n", why);
        return 77;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_launch_of_the_model_has_its_node, run_close),
        cmocka_unit_test_teardown(test_graph_and_stream_attribute_alike, run_close),
        cmocka_unit_test_teardown(test_busy_and_idle_are_the_wall, run_close),
        cmocka_unit_test_teardown(test_long_kernels_agree_with_cuda_events, run_close),
        cmocka_unit_test_teardown(test_counters_against_arithmetic, run_close),
        cmocka_unit_test_teardown(test_telemetry, run_close),
        cmocka_unit_test_teardown(test_soak_of_graph_records, run_close),
    };
    return cmocka_run_group_tests_name("cupti_gpu", tests, NULL, NULL);
}
