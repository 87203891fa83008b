/* Views of a run that goes on: its ranks, and that nothing of it moves while the screen is frozen. */
#include "base/unknown.h"
#include "document.h"
#include "profiler/session_internal.h"
#include "tui/plot.h"
#include "view_screen.h"
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct report_rank both_ranks[2] = {{.rank = 0,
                                            .steps = 3,
                                            .step_ns = 42e6,
                                            .communication_ns = 20e6,
                                            .exposed_ns = 5e6,
                                            .wait_ns = 3e6,
                                            .transfer_ns = 17e6,
                                            .product_slow = 1.5},
                                           {.rank = 1,
                                            .steps = 3,
                                            .step_ns = 41e6,
                                            .communication_ns = 16e6,
                                            .exposed_ns = 4e6,
                                            .wait_ns = 1e6,
                                            .transfer_ns = 15e6,
                                            .product_slow = UNKNOWN_DOUBLE}};

/* A screen with a run of these passes (0: the usual ones), which a test then makes go on as a worker's messages would. */
static struct app *live_open(unsigned passes, struct run **run)
{
    struct app *app = view_open(report_init);
    struct session *session = view_session(app);
    struct cell cell;
    cell_default(&cell);
    if (passes)
        cell.passes = passes;
    *run = (struct run *)session_find(session, session_add(session, &cell));
    return app;
}

static void live_show(struct app *app, struct run *run)
{
    run->status = STATUS_RUNNING;
    run->version++;
    report_update(app->report, app->session);
}

static void live_close(struct app *app, struct run *run)
{
    run->command = NULL;
    run->status = STATUS_PENDING;
    view_close(app);
}

/* Each rank of a run has a line under Runs; tokens are those of all; a collective has its bus bandwidth in Kernels. */
static void test_ranks(void **state)
{
    struct app *app = view_open(document_make);
    struct report_cell *cell = app->report->cells.items[0];
    (void)state;
    view_expect_not(app, "communication");
    view_expect_not(app, "ranks");
    view_type(app, "2");
    view_expect_not(app, "bus B/s");
    view_type(app, "1");
    cell->requested.ranks = 2;
    cell->ranks = both_ranks;
    cell->rank_count = 2;
    cell->requested.parallel = PARALLEL_BUCKET;
    cell->requested.bucket_mb = 25;
    view_expect(app, "communication");
    view_expect(app, "2 × bucket 25 MB"); /* in its row; in the title, where that has room */
    view_expect_order(app,
                      "rank 0        42.00 ms       20.00 ms       5.000 ms       3.000 ms       17.00 ms           "
                      "75.0          1.500",
                      "rank 1        41.00 ms       16.00 ms       4.000 ms       1.000 ms       15.00 ms           "
                      "75.0            n/a");

    for (size_t k = 0; k < cell->kernel_count; k++)
        if (strcmp(cell->kernels[k].name, "silu") == 0) {
            cell->kernels[k].kernel_class = CLASS_COLLECTIVE;
            cell->kernels[k].op = "all_reduce";
        }
    view_type(app, "2");
    view_expect(app, "bus B/s");
    view_expect_not(app, "link%"); /* of a card without links, or of the CPU */
    cell->telemetry.link_bytes_per_s = 478e9;
    view_expect(app, "link%");
    view_close(app);
}

/* What a rank holds when training begins and around the optimizer's step, by category, beside the baseline's. */
static void test_three_points(void **state)
{
    struct app *app = view_open(document_make);
    struct report_cell *cell = app->report->cells.items[0];
    struct report_memory *memory = &cell->memory;
    (void)state;
    view_type(app, "6mm");
    view_expect(app, "largest tensors");
    view_type(app, "m");
    view_expect_not(app, "three points"); /* there is no optimizer */
    memory->by_kind[TENSOR_OPTIMIZER] = 80u << 20;
    for (int node = 0; node < memory->curve_count; node++)
        memory->curve[node * TENSOR_KIND_COUNT + TENSOR_OPTIMIZER] = 80u << 20;
    memory->curve_phase[memory->curve_count - 1] = PHASE_OPT;
    memory->curve[(memory->curve_count - 1) * TENSOR_KIND_COUNT + TENSOR_SCRATCH] = 0;
    view_type(app, "6mmm");
    view_expect(app, "three points of training, planned");
    view_expect(app, "after init  before optimizer   after optimizer");
    view_expect(app, "gradient                       0 B          40.0 MiB          40.0 MiB");
    view_expect(app, "live                       120 MiB           164 MiB           160 MiB");
    cell->requested.ranks = 2;
    cell->requested.parallel = PARALLEL_ZERO1;
    view_expect(app, "of one rank, which holds its shard alone");
    view_close(app);
}

/* A frozen screen shows what it showed, while the bins of the running cell go on filling underneath. */
static void test_frozen_groups(void **state)
{
    struct app *app = view_open(document_make);
    struct report_cell *cell = app->report->cells.items[0];
    struct entry *live = calloc(cell->entry_count, sizeof *live);
    (void)state;
    assert_non_null(live);
    cell->status = STATUS_RUNNING;
    for (size_t i = 0; i < cell->entry_count; i++) {
        cell->entries[i].live = &live[i];
        cell->entries[i].max_ns = 10000000;
        histogram_add(&live[i].histogram, 3000000);
    }
    view_type(app, "2bbb"); /* by layer: of parts of kernels, which only the live entries know */
    char *moving = view_text(app, 40, 160);
    assert_non_null(strstr(moving, "3.0")); /* a median near 3 ms */
    live_freeze(&app->live, app->report);
    char *frozen = view_text(app, 40, 160);
    for (size_t i = 0; i < cell->entry_count; i++)
        histogram_add_times(&live[i].histogram, 9000000, 5);
    char *later = view_text(app, 40, 160);
    assert_string_equal(frozen, later);
    view_type(app, "bbbbb"); /* made anew, from what stands still */
    free(later);
    later = view_text(app, 40, 160);
    assert_string_equal(frozen, later);
    live_thaw(&app->live);
    view_expect(app, " 9.");
    for (size_t i = 0; i < cell->entry_count; i++) {
        histogram_release(&live[i].histogram);
        cell->entries[i].live = NULL;
    }
    free(live);
    free(moving);
    free(frozen);
    free(later);
    view_close(app);
}

/* Records of two kernels, of which those from `first` on take ten times as long and are of another pass. */
static void rank_goes_on(const struct rank *rank, uint32_t first, uint32_t count, uint64_t later)
{
    struct aggregate *aggregate = rank->aggregate;
    assert_true(aggregate_name(aggregate, 0, "gemm_tile") && aggregate_name(aggregate, 1, "row_softmax"));
    for (uint32_t i = first; i < first + count; i++) {
        const uint64_t start = 5000000000u + (uint64_t)i * 30000000u + later;
        const struct record record = {.start = start,
                                      .end = start + (first ? 20000000 : 2000000) + i % 3 * 100000,
                                      .step = 1 + i / 10,
                                      .sequence = i,
                                      .name = i % 2,
                                      .place = -1,
                                      .kind = RECORD_KERNEL,
                                      .pass = first ? PASS_FWD_BWD : PASS_FWD};
        aggregate_add(aggregate, &record, 1);
    }
}

static void run_goes_on(struct session *session, struct run *run, uint32_t first, uint32_t count, const char *doing)
{
    rank_goes_on(run_lead(run), first, count, 0);
    snprintf(run->activity, sizeof run->activity, "%s", doing);
    log_add(&session->log, run->id, false, doing, strlen(doing));
    run->status = STATUS_RUNNING;
    run->version++;
}

/* All lines but the one that counts what waits. */
static char *without_badge(struct app *app)
{
    app->message_until = 0; /* settings cannot be kept here, and that is said for some seconds */
    char *text = view_text(app, 40, 160), *badge = strstr(text, " PAUSED ");
    assert_non_null(badge);
    char *end = strchr(badge, '\n');
    assert_non_null(end);
    memmove(badge, end, strlen(end) + 1);
    return text;
}

/* Every other step is profiled: the word is for titles that have room, and no setting is cut for it at every other frame. */
static void test_title_keeps_the_settings(void **state)
{
    struct app *app = view_open(report_init);
    struct session *session = view_session(app);
    struct cell cell;
    (void)state;
    cell_default(&cell);
    struct run *run = (struct run *)session_find(session, session_add(session, &cell));
    run_goes_on(session, run, 0, 40, "train_step 113/1000000 profiled");
    report_update(app->report, session);
    for (int width = 80; width <= 130; width += 50) {
        char *text = view_text(app, 24, width), *end = strchr(text, '\n');
        assert_non_null(end);
        *end = 0;
        assert_non_null(strstr(text, "  fp32  eager  "));
        assert_non_null(strstr(text, "  train_step 113/1000000"));
        assert_int_equal(strstr(text, " profiled") != NULL, width == 130);
        free(text);
    }
    view_close(app);
}

/* Each rank has rows of its own on the same clock; the one chosen is the one whose launches are listed. */
static void test_rank_lanes(void **state)
{
    struct app *app = view_open(report_init);
    struct session *session = view_session(app);
    struct cell cell;
    (void)state;
    cell_default(&cell);
    cell.ranks = 2;
    struct run *run = (struct run *)session_find(session, session_add(session, &cell));
    const struct rank *second = &live_rank_at((struct live_run *)run, 1)->rank;
    rank_goes_on(second, 0, 40, 1000000);
    run_goes_on(session, run, 0, 40, "both at it");
    report_update(app->report, session);
    view_type(app, "5");
    view_expect_order(app, "▶0.1", " 1.1");
    view_expect(app, ", rank 0,");
    view_type(app, "<Down>");
    view_expect_order(app, " 0.1", "▶1.1");
    view_expect(app, ", rank 1,");
    view_expect_not(app, " DROPPED");
    run_rank(run, 1)->dropped = 5; /* whichever rank lost them */
    run->version++;
    report_update(app->report, session);
    view_expect(app, " DROPPED 5 ");
    view_type(app, "Z"); /* what stands still is that of both */
    char *still = without_badge(app);
    rank_goes_on(second, 40, 40, 1000000);
    char *after = without_badge(app);
    assert_string_equal(after, still);
    free(still);
    free(after);
    view_type(app, "Z<Up><Up>");
    view_expect(app, ", rank 0,");
    live_close(app, run);
}

/* An operator of an attached program is told of when it ends, after those that it called: the list stands by their beginnings, and as few
 * lanes as what ran at once needs hold them. */
static void test_order_of_beginnings(void **state)
{
    static const struct {
        uint64_t from, to; /* ms */
        uint32_t name;
    } ops[] = {{10, 12, 1}, {0, 10, 0}, {20, 23, 1}, {15, 20, 0}};
    (void)state;
    for (uint16_t streams = 1; streams <= 6; streams += 5) {
        struct run *run;
        struct app *app = live_open(0, &run);
        struct aggregate *aggregate = run_lead(run)->aggregate;
        assert_true(aggregate_name(aggregate, 0, "aten::addmm") && aggregate_name(aggregate, 1, "aten::copy_"));
        for (uint32_t i = 0; i < 48; i++) {
            const uint64_t base = 5000000000u + i / 4 * 30000000u;
            const struct record record = {.start = base + ops[i % 4].from * 1000000,
                                          .end = base + ops[i % 4].to * 1000000,
                                          .step = 1 + i / 24,
                                          .name = ops[i % 4].name,
                                          .sequence = i,
                                          .stream = (uint16_t)(i % streams),
                                          .place = -1,
                                          .kind = RECORD_KERNEL,
                                          .pass = PASS_FWD};
            aggregate_add(aggregate, &record, 1);
        }
        live_show(app, run);
        view_type(app, "5");
        view_expect_order(app, "10.00 ms none  aten::addmm", "2.000 ms none  aten::copy_");
        view_expect_order(app, "2.000 ms none  aten::copy_", "5.000 ms none  aten::addmm");
        if (streams > 1) {
            view_expect(app, "streams packed");
            view_expect(app, "▶  1");
            view_expect_not(app, "\n   2 "); /* nothing ran at once */
        }
        live_close(app, run);
    }
}

/* Between two profiled steps others ran of which there are no records: that is no idle time, neither at the cursor nor of the picture;
 * where steps follow each other it is. The cursor begins on the step's first launch. */
static void test_steps_between(void **state)
{
    (void)state;
    for (uint32_t apart = 1; apart <= 3; apart++) {
        struct run *run;
        struct app *app = live_open(0, &run);
        struct aggregate *aggregate = run_lead(run)->aggregate;
        assert_true(aggregate_name(aggregate, 0, "gemm_tile"));
        for (uint32_t i = 0; i < 40; i++) { /* four steps of ten launches on end, a second apart */
            const uint64_t start = 5000000000u + (uint64_t)i * 20000000u + i / 10 * 1000000000u;
            const struct record record = {.start = start,
                                          .end = start + 20000000,
                                          .step = 1 + i / 10 * apart,
                                          .sequence = i,
                                          .place = -1,
                                          .kind = RECORD_KERNEL,
                                          .pass = PASS_FWD};
            aggregate_add(aggregate, &record, 1);
        }
        live_show(app, run);
        view_type(app, "5");
        view_expect(app, "s: gemm_tile  20.00 ms");
        view_expect(app, apart == 1 ? "idle 4.000 ms" : "idle 0 ns");
        view_type(app, "<Left>");
        view_expect(app, apart == 1   ? "s: idle for 1.000 s"
                         : apart == 2 ? "s: not recorded: 1 step ran here unprofiled"
                                      : "s: not recorded: 2 steps ran here unprofiled");
        live_close(app, run);
    }
}

/* A command's steps are its times whether recorded or not, and the shortest and longest are of the same steps as the median. */
static void test_steps_that_count(void **state)
{
    (void)state;
    struct run *run;
    struct app *app = live_open(PASS_BIT(PASS_TRAIN_STEP), &run);
    struct rank *rank = run_lead(run);
    run->command = "train.py";
    assert_true(aggregate_name(rank->aggregate, 0, "aten::mm"));
    for (uint32_t i = 0; i < 21; i++) {
        struct sample sample = {.pass = PASS_TRAIN_STEP,
                                .kind = i == 0   ? STEP_WARMUP
                                        : i == 1 ? STEP_TIMED
                                                 : STEP_PROFILED,
                                .step = i,
                                .start = 1000000000u + (uint64_t)i * 1000000000u,
                                .wall_ns = i == 0   ? 900000000u
                                           : i == 1 ? 32000000u
                                                    : 400000000u + i};
        for (int phase = 0; phase < PHASE_COUNT; phase++)
            sample.phase_ns[phase] = UNKNOWN_U64;
        vec_push(&rank->samples, sample);
        const struct record record = {.start = sample.start,
                                      .end = sample.start + sample.wall_ns,
                                      .step = 1 + i,
                                      .sequence = i,
                                      .place = -1,
                                      .kind = RECORD_KERNEL,
                                      .pass = PASS_TRAIN_STEP};
        aggregate_add(rank->aggregate, &record, 1);
    }
    live_show(app, run);
    view_type(app, "1");
    view_expect(app, "20 timed, median 400.0 ms, 32.00 ms to 400.0 ms");
    live_close(app, run);
}

/* In pauses of recording nobody tells the backward pass from the loss: these are of recorded steps, what is known in both of pauses. */
static void test_phases_of_pauses(void **state)
{
    (void)state;
    struct run *run;
    struct app *app = live_open(PASS_BIT(PASS_TRAIN_STEP), &run);
    struct rank *rank = run_lead(run);
    run->command = "train.py";
    for (uint32_t i = 0; i < 40; i++) {
        const bool paused = i / 4 % 2;
        struct sample sample = {.pass = PASS_TRAIN_STEP,
                                .kind = paused ? STEP_TIMED : STEP_PROFILED,
                                .step = i,
                                .start = 1000000000u + (uint64_t)i * 1000000000u,
                                .wall_ns = paused ? 10000000u : 12000000u};
        sample.phase_ns[PHASE_FWD] = paused ? 3000000u : 4000000u;
        sample.phase_ns[PHASE_LOSS] = paused ? UNKNOWN_U64 : 100000u;
        sample.phase_ns[PHASE_BWD] = paused ? UNKNOWN_U64 : 5000000u;
        sample.phase_ns[PHASE_OPT] = paused ? 2000000u : 2500000u;
        vec_push(&rank->samples, sample);
    }
    live_show(app, run);
    const struct report_phase *phases = app->report->cells.items[0]->passes[PASS_TRAIN_STEP].phases;
    static const double medians[] = {
        [PHASE_FWD] = 3e6, [PHASE_LOSS] = 1e5, [PHASE_BWD] = 5e6, [PHASE_OPT] = 2e6, [PHASE_COUNT] = 1e7};
    for (int phase = 0; phase <= PHASE_COUNT; phase++) {
        assert_int_equal(phases[phase].sample_count, 20);
        assert_true(fabs(phases[phase].summary.median - medians[phase]) < 1);
    }
    live_close(app, run);
}

/* Until a step counts the histogram is the warm-up's, which it says, and no key adds that once more. */
static void test_histogram_of_warmup(void **state)
{
    (void)state;
    struct run *run;
    struct app *app = live_open(PASS_BIT(PASS_FWD), &run);
    struct aggregate *aggregate = run_lead(run)->aggregate;
    assert_true(aggregate_name(aggregate, 0, "gemm_tile"));
    for (uint32_t i = 0; i < 9; i++) {
        const uint64_t start = 5000000000u + (uint64_t)i * 30000000u;
        const struct record record = {.start = start,
                                      .end = start + 20000000,
                                      .sequence = i,
                                      .place = -1,
                                      .kind = RECORD_KERNEL,
                                      .pass = PASS_FWD,
                                      .flags = RECORD_WARMUP};
        aggregate_add(aggregate, &record, 1);
    }
    live_show(app, run);
    for (int key = 0; key < 2; key++) {
        view_type(app, key ? "u" : "4");
        view_expect(app, "all launches, warm-up alone");
        view_expect(app, "9 launches, 100");
        view_expect_not(app, "18 launches");
    }
    live_close(app, run);
}

/* A command that turns out to infer had its first calls booked as training's warm-up: what counts is shown, and no figures of a warm-up that
 * nothing will follow. */
static void test_counted_pass(void **state)
{
    (void)state;
    struct app *app = view_open(report_init);
    struct session *session = view_session(app);
    struct cell cell;
    cell_of_command(&cell, "infer.py");
    struct run *run = (struct run *)session_find(session, session_add(session, &cell));
    struct rank *rank = run_lead(run);
    run->command = "infer.py";
    assert_true(aggregate_name(rank->aggregate, 0, "aten::addmm"));
    for (uint32_t i = 0; i < 20; i++) {
        const bool warmup = i < 8;
        struct sample sample = {.pass = warmup ? PASS_TRAIN_STEP : PASS_FWD,
                                .kind = warmup ? STEP_WARMUP : STEP_PROFILED,
                                .step = i,
                                .step_id = i,
                                .start = 1000000000u + (uint64_t)i * 1000000000u,
                                .wall_ns = warmup ? 900000000u : 400000000u};
        for (int phase = 0; phase < PHASE_COUNT; phase++)
            sample.phase_ns[phase] = UNKNOWN_U64;
        if (!warmup || i == 7)
            vec_push(&rank->samples, sample);
        const struct record record = {.start = sample.start,
                                      .end = sample.start + sample.wall_ns,
                                      .step = i,
                                      .sequence = i,
                                      .place = -1,
                                      .kind = RECORD_KERNEL,
                                      .pass = sample.pass,
                                      .flags = warmup ? RECORD_WARMUP : 0};
        aggregate_add(rank->aggregate, &record, 1);
    }
    live_show(app, run);
    view_type(app, "1");
    view_expect_not(app, "warm-up figures");
    view_expect(app, "12 timed, median 400.0 ms");
    live_close(app, run);
}

/* Z stops the whole screen: each view shows the same while the run goes on below it, and what only a key makes is of the moment
 * of the freeze, too. */
static void test_freeze(void **state)
{
    static const struct {
        const char *there, *back;
    } ways[] = {{"2", ""}, {"2w", "w"}, {"2bbb", "bb"}, {"4", ""}, {"4vv", "v"}, {"5", ""}, {"7", ""}, {"8", ""}};
    enum { WAYS = sizeof ways / sizeof *ways };
    struct app *app = view_open(report_init); /* no run yet */
    struct session *session = view_session(app);
    struct cell cell;
    char *still[WAYS];
    (void)state;
    cell_default(&cell);
    struct run *run = (struct run *)session_find(session, session_add(session, &cell));
    run_goes_on(session, run, 0, 40, "the forward pass alone");
    view_type(app, "Z");
    view_expect(app, " PAUSED +0 ");
    for (int i = 0; i < WAYS; i++) {
        view_type(app, ways[i].there);
        still[i] = without_badge(app);
        view_type(app, ways[i].back);
    }
    run_goes_on(session, run, 40, 40, "and then backward");
    view_expect(app, " PAUSED +40 ");
    for (int i = 0; i < WAYS; i++) {
        view_type(app, ways[i].there);
        char *after = without_badge(app);
        assert_string_equal(after, still[i]);
        free(after);
        free(still[i]);
        view_type(app, ways[i].back);
    }
    view_type(app, "Z");
    report_update(app->report, session);
    view_expect(app, "and then backward");
    view_expect(app, " LIVE ");
    view_type(app, "2");
    view_expect(app, "fwd_bwd");
    live_close(app, run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_three_points),
        cmocka_unit_test(test_title_keeps_the_settings),
        cmocka_unit_test(test_rank_lanes),
        cmocka_unit_test(test_frozen_groups),
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_steps_between),
        cmocka_unit_test(test_order_of_beginnings),
        cmocka_unit_test(test_steps_that_count),
        cmocka_unit_test(test_phases_of_pauses),
        cmocka_unit_test(test_counted_pass),
        cmocka_unit_test(test_histogram_of_warmup),
    };
    setlocale(LC_ALL, "C.UTF-8");
    setenv("XDG_CONFIG_HOME", "/dev/null/none", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
