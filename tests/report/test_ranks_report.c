/* What a report says of several ranks, from records whose times are known: waiting and transfer of a collective, what of it is
 * exposed, and what is left out because not all ranks have it. */
#include "profiler/live.h"
#include "report/build.h"
#include "report/emit.h"
#include "report/markdown.h"
#include "report/svg.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void add_places(struct live_rank *rank)
{
    struct error error = {0};
    const struct place product = {
        .scope = 0, .phase = PHASE_BWD, .kernel_class = CLASS_MATMUL, .op = "linear", .label = ""};
    const struct place reduce = {.scope = 0,
                                 .phase = PHASE_BWD,
                                 .kernel_class = CLASS_COLLECTIVE,
                                 .op = "all_reduce",
                                 .label = "",
                                 .bytes = 2e6};
    if (!places_add_scope(&rank->rank.places, -1, "model", UNKNOWN_U64, &error) ||
        !places_add(&rank->rank.places, &product, &error) || !places_add(&rank->rank.places, &reduce, &error))
        fail_msg("%s", error.text);
}

static void add(struct live_run *live, int rank, uint32_t step, int32_t place, uint64_t start, uint64_t end,
                uint32_t *sequence)
{
    struct record record = {.start = 1000 + start,
                            .end = 1000 + end,
                            .launch = 1000 + start,
                            .place = place,
                            .step = step,
                            .sequence = (*sequence)++,
                            .stream = (uint16_t)place,
                            .kind = RECORD_KERNEL,
                            .pass = PASS_TRAIN_STEP};
    live_records(live, live_rank_at(live, (size_t)rank), &record, 1);
}

static struct live_run *two_ranks(void)
{
    struct error error = {0};
    struct cell cell;
    cell_default(&cell);
    cell.ranks = 2;
    cell.parallel = PARALLEL_NAIVE;
    cell.passes = PASS_BIT(PASS_TRAIN_STEP);
    struct live_run *live = live_create(1, &cell, 1 << 10, &error);
    assert_non_null(live);
    for (int rank = 0; rank < 2; rank++) {
        add_places(live_rank_at(live, (size_t)rank));
        aggregate_name(live_rank_at(live, (size_t)rank)->rank.aggregate, 0, "kernel");
    }
    return live;
}

static void waiting_and_transfer_are_told_apart(void **state)
{
    (void)state;
    struct live_run *live = two_ranks();
    uint32_t sequence[2] = {0};
    /* Rank 0 comes to the collective at 100, rank 1 at 150; rank 0 computes on beside it until 160. Rank 1 lacks step 8. */
    for (uint32_t step = 7; step <= 8; step++) {
        const uint64_t at = (step - 7) * 1000;
        add(live, 0, step, 0, at, at + 100, &sequence[0]);
        add(live, 0, step, 1, at + 100, at + 200, &sequence[0]);
        add(live, 0, step, 0, at + 110, at + 160, &sequence[0]);
        add(live, 1, step, 0, at, at + 150, &sequence[1]);
        add(live, 1, step, 0, at + 150, at + 151, &sequence[1]);
        if (step == 7)
            add(live, 1, step, 1, at + 150, at + 200, &sequence[1]);
    }
    struct report_cell report = {0};
    cell_build_ranks(&report, &live->run);
    assert_int_equal(report.rank_count, 2);
    const struct report_rank *first = &report.ranks[0], *second = &report.ranks[1];
    assert_int_equal(first->steps, 1);
    assert_true(first->communication_ns == 100 && first->wait_ns == 50 && first->transfer_ns == 50);
    assert_true(first->compute_ns == 150 && first->exposed_ns == 50);
    assert_true(second->communication_ns == 50 && second->wait_ns == 0 && second->transfer_ns == 50);
    assert_true(second->compute_ns == 151 && second->exposed_ns == 49);
    assert_true(first->backward_ns == 150 && second->backward_ns == 151);
    /* Of rank 0 the product beside the collective takes 50 ns, the same alone 100; rank 1 has none wholly beside it. */
    assert_true(first->product_slow == 0.5);
    assert_false(is_known(second->product_slow));
    assert_int_equal(report.collective_count, 1);
    assert_int_equal(report.collectives[0].bytes, 1000000); /* read and written in place: 2 MB of traffic */
    assert_int_equal(report.collectives[0].calls, 2);
    assert_true(report.collectives[0].wait_ns == 25 && report.collectives[0].transfer_ns == 50);
    arena_release(&report.arena);
    live_free(live);
}

/* Bytes of the whole: what is read and written of a reduce-scatter of two ranks is half as much again; what was not said is not known. */
static void bytes_of_the_whole(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        struct live_run *live = two_ranks();
        uint32_t sequence[2] = {0};
        for (int rank = 0; rank < 2; rank++) {
            struct place *place = &live_rank_at(live, (size_t)rank)->rank.places.list.items[1];
            place->op = "reduce_scatter";
            place->bytes = known ? 1.5e6 : UNKNOWN_DOUBLE;
            add(live, rank, 7, 0, 0, 100, &sequence[rank]);
            add(live, rank, 7, 1, 100, 200, &sequence[rank]);
        }
        live->run.ended = 1;
        struct report_cell report = {0};
        cell_build_ranks(&report, &live->run);
        assert_int_equal(report.collective_count, 1);
        assert_true(report.collectives[0].bytes == (known ? 1000000 : UNKNOWN_U64));
        arena_release(&report.arena);
        live_free(live);
    }
}

/* While a run goes on, the newest steps stand for it, but for one that a rank has not ended; then all of them do. */
static void a_run_that_goes_on_has_its_newest_steps(void **state)
{
    (void)state;
    struct live_run *live = two_ranks();
    uint32_t sequence[2] = {0};
    for (int rank = 0; rank < 2; rank++) {
        for (uint32_t step = 0; step < 20; step++) {
            const uint64_t at = step * UINT64_C(1000), moves = step < 10 ? 500 : 20;
            add(live, rank, step, 0, at, at + 100, &sequence[rank]);
            if (rank == 0 || step < 19)
                add(live, rank, step, 1, at + 100, at + 100 + moves, &sequence[rank]);
        }
    }
    struct report_cell report = {0};
    cell_build_ranks(&report, &live->run);
    assert_int_equal(report.rank_count, 2);
    assert_true(report.ranks[0].steps >= 3 && report.ranks[0].steps <= 5);
    assert_true(report.ranks[0].transfer_ns == 20 && report.ranks[1].transfer_ns == 20);
    live->run.ended = 1;
    cell_build_ranks(&report, &live->run);
    assert_int_equal(report.ranks[0].steps, 19);
    assert_true(report.ranks[0].transfer_ns > 200);
    arena_release(&report.arena);
    live_free(live);
}

/* A collective alone: a call's time is a step's over the series, and the two bandwidths are nccl-tests'. */
static void a_collective_is_a_row(void **state)
{
    (void)state;
    struct report report;
    struct strbuf text = {0};
    report_init(&report);
    struct report_cell *cell = report_add_cell(&report);
    cell_default(&cell->requested);
    cell->requested.ranks = 4;
    cell->requested.collective = COLLECTIVE_ALL_REDUCE;
    cell->requested.bucket_mb = 100;
    cell_canonical(&cell->requested);
    struct report_rank ranks[4];
    for (int r = 0; r < 4; r++)
        ranks[r] = (struct report_rank){.rank = (uint32_t)r, .step_ns = 4 * (1e6 + 1e5 * r)}; /* 400 MB: 4 in a row */
    cell->ranks = ranks;
    cell->rank_count = 4;
    cell->passes[PASS_FWD].phases[PHASE_COUNT].summary = (struct summary){.n = 10, .mean = 4e6, .sd = 4e5};
    assert_true(report_has_collectives(&report));
    collectives_table(&report, &text);
    const char *const row[] = {"all_reduce", " 1.1500 |", " 0.1000 |", " 1.0000 |", " 1.3000 |", " 86.95", " 130.43"};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (!strstr(text.text, row[i]))
            fail_msg("no %s in\n%s", row[i], text.text);
    assert_false(requested_is_known(cell, "d_model"));
    assert_true(requested_is_known(cell, "bucket_mb"));
    strbuf_release(&text);
    report_free(&report);
}

static struct report_cell *bucket_cell(struct report *report, struct report_rank *ranks, double transfer,
                                       double backward)
{
    static struct report_collective collectives[2] = {{.op = "all_reduce", .scope = "a", .bytes = 1000, .calls = 2},
                                                      {.op = "all_reduce", .scope = "b", .bytes = 1000, .calls = 2}};
    struct report_cell *cell = report_add_cell(report);
    cell_default(&cell->requested);
    cell->requested.ranks = 2;
    cell->requested.parallel = PARALLEL_BUCKET;
    cell->requested.passes = PASS_BIT(PASS_TRAIN_STEP);
    for (int r = 0; r < 2; r++)
        ranks[r] = (struct report_rank){.rank = (uint32_t)r,
                                        .steps = 1,
                                        .step_ns = 20e6 + r * 1e6,
                                        .communication_ns = transfer + 1e6,
                                        .wait_ns = 1e6,
                                        .transfer_ns = transfer,
                                        .exposed_ns = 2e6,
                                        .compute_ns = 18e6,
                                        .backward_ns = backward,
                                        .product_slow = 1.25};
    collectives[1].transfer_ns = 1.5e6;
    cell->ranks = ranks;
    cell->rank_count = 2;
    cell->collectives = collectives;
    cell->collective_count = 2;
    cell->passes[PASS_TRAIN_STEP].present = true;
    cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT].summary = (struct summary){.n = 10, .mean = 20e6};
    return cell;
}

/* Whether communication can hide, and whether it does; the figures of all ranks in a spreadsheet. */
static void what_cannot_hide_is_said(void **state)
{
    (void)state;
    static const struct {
        double transfer, backward;
        const char *said;
    } cases[] = {
        {12e6, 10e6,
         ": communication cannot hide: it moves bytes for 12.000 ms and backward computes for 10.000 ms. "
         "Gradients in bf16"},
        {9e6, 10e6,
         ": communication hides behind backward (10.000 ms): of its 10.000 ms (1.000 of them wait for a "
         "rank) 2.000 are exposed; the last one moves bytes for 1.500 ms."},
        {3e6, 10e6, ": communication could hide and does not behind backward (10.000 ms)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct report report;
        struct report_rank ranks[2];
        struct strbuf text = {0}, csv = {0};
        report_init(&report);
        struct report_cell *cell = bucket_cell(&report, ranks, cases[i].transfer, cases[i].backward);
        cell->requested.batch_size = 2;
        cell->requested.context_length = 100;
        /* 1000 bytes in 1.5 ms are 0.00067 GB/s. */
        cell->telemetry.link_bytes_per_s = i ? 1333333 : UNKNOWN_DOUBLE;
        markdown_ranks(&report, &text);
        assert_non_null(strstr(text.text, " link % |"));
        if (!strstr(text.text, i ? " 50.0 |" : " n/a |"))
            fail_msg("no share of the link in\n%s", text.text);
        if (!strstr(text.text, cases[i].said))
            fail_msg("no \"%s\" in\n%s", cases[i].said, text.text);
        emit_csv(&report, &csv);
        /* 400 tokens in 20 ms; the slowest rank; communication, exposed, wait, transfer, products. */
        assert_non_null(strstr(csv.text,
                               ",tokens_per_s,slowest_rank_ns,communication_ns,exposed_ns,wait_ns,transfer_ns,"
                               "product_slow,"));
        assert_non_null(strstr(csv.text, ",20000,21000000,"));
        assert_non_null(strstr(csv.text, ",2000000,1000000,"));
        assert_non_null(strstr(csv.text, ",1.25,"));
        strbuf_release(&text);
        strbuf_release(&csv);
        report_free(&report);
    }
}

/* A picture of what a rank computed and what it communicated; none where there is one rank. */
static void the_two_lanes_are_drawn(void **state)
{
    (void)state;
    struct report report;
    struct report_rank ranks[2];
    struct strbuf picture = {0};
    report_init(&report);
    struct report_cell *cell = bucket_cell(&report, ranks, 3e6, 10e6);
    struct report_kernel kernels[2] = {{.name = "gemm", .kernel_class = CLASS_MATMUL},
                                       {.name = "reduce", .kernel_class = CLASS_COLLECTIVE}};
    struct report_launch launches[3] = {
        {.start_ns = 0, .duration_ns = 5000000, .kernel = 0, .phase = PHASE_FWD, .pass = PASS_TRAIN_STEP},
        {.start_ns = 5000000, .duration_ns = 9000000, .kernel = 0, .phase = PHASE_BWD, .pass = PASS_TRAIN_STEP},
        {.start_ns = 6000000, .duration_ns = 10000000, .kernel = 1, .phase = PHASE_BWD, .pass = PASS_TRAIN_STEP}};
    cell->kernels = kernels;
    cell->kernel_count = 2;
    cell->timeline = launches;
    cell->launch_count = 3;
    assert_true(overview_draw(OVERVIEW_RANKS, &report, &picture));
    assert_non_null(strstr(picture.text, "2 ranks, bucket 25 MB"));
    assert_non_null(strstr(picture.text, "communication, from 6.000 ms"));
    assert_non_null(strstr(picture.text, "bwd, from 5.000 ms"));
    cell->requested.ranks = 1;
    picture.length = 0;
    assert_false(overview_draw(OVERVIEW_RANKS, &report, &picture));
    strbuf_release(&picture);
    report_free(&report);
}

/* The name of the first root is no part of a path; that of a module beside it is, or two models would have the same ones. */
static void paths_of_several_roots(void **state)
{
    static const struct {
        int32_t parent;
        const char *name, *path;
    } scopes[] = {{-1, "Normalize", "Normalize"},
                  {-1, "Dis", "Dis"},
                  {1, "a", "Dis.a"},
                  {2, "b", "Dis.a.b"},
                  {0, "x", "x"},
                  {4, "y", "x.y"}};
    struct places places = {0};
    struct error error = {0};
    (void)state;
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        assert_true(places_add_scope(&places, scopes[i].parent, scopes[i].name, 0, &error));
        assert_string_equal(places.scopes.items[i].path, scopes[i].path);
    }
    places_release(&places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_of_several_roots),   cmocka_unit_test(waiting_and_transfer_are_told_apart),
        cmocka_unit_test(bytes_of_the_whole),       cmocka_unit_test(a_run_that_goes_on_has_its_newest_steps),
        cmocka_unit_test(what_cannot_hide_is_said), cmocka_unit_test(the_two_lanes_are_drawn),
        cmocka_unit_test(a_collective_is_a_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
