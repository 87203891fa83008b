/* A cell that was brought up to date again and again is the cell that is made at once: nothing that is kept from one update
 * to the next goes stale. */
#include "base/unknown.h"
#include "emitted.h"
#include "profiler/live.h"
#include "report/build.h"
#include "report/estimate.h"
#include "report/queue.h"
#include "synthetic.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct watched {
    struct report kept; /* its one cell is updated */
    int updates, compared;
};

static void expect_same(const struct watched *watched, const struct run *run)
{
    struct report fresh = {0};
    report_init(&fresh);
    fresh.created = watched->kept.created;
    fresh.host = watched->kept.host;
    cell_build(report_add_cell(&fresh), run);
    const struct report_cell *a = watched->kept.cells.items[0], *b = fresh.cells.items[0];
    assert_int_equal(a->kernel_count, b->kernel_count);
    assert_int_equal(a->entry_count, b->entry_count);
    for (size_t k = 0; k < a->kernel_count; k++) {
        assert_int_equal(a->kernels[k].recent_count, b->kernels[k].recent_count);
        assert_memory_equal(a->kernels[k].recent, b->kernels[k].recent, a->kernels[k].recent_count * sizeof(uint32_t));
        assert_int_equal(a->kernels[k].warmup_histogram.word_count, b->kernels[k].warmup_histogram.word_count);
    }
    for (size_t e = 0; e < a->entry_count; e++)
        assert_ptr_equal(a->entries[e].live, b->entries[e].live);
    char *kept_text = emit(&watched->kept), *fresh_text = emit(&fresh);
    assert_string_equal(kept_text, fresh_text);
    free(kept_text);
    free(fresh_text);
    report_free(&fresh);
}

static void watch(struct run *run, void *context)
{
    struct watched *watched = context;
    run->status = STATUS_RUNNING;
    run->version++;
    cell_build(watched->kept.cells.items[0], run);
    if (watched->updates++ % 5 == 0) {
        expect_same(watched, run);
        watched->compared++;
    }
}

static void test_updates(void **state)
{
    (void)state;
    for (int compile = 0; compile < 2; compile++) {
        struct watched watched = {.updates = 0};
        report_init(&watched.kept);
        report_add_cell(&watched.kept);
        struct run *run = synthetic_watched("tiny", compile != 0, 3, 1, 11, watch, &watched);
        assert_non_null(run);
        assert_int_equal(run->status, STATUS_OK);
        run->version++;
        cell_build(watched.kept.cells.items[0], run);
        expect_same(&watched, run);
        assert_true(watched.compared > 10);
        assert_true(watched.kept.cells.items[0]->kernel_count > 10);
        assert_true(watched.kept.cells.items[0]->launch_count > 100); /* the timeline finds its kernels */
        report_free(&watched.kept);
        synthetic_free(run);
    }
}

/* An update without news leaves the rows alone; one launch changes its kernel's row and, where it overtakes, the order. */
static void test_order(void **state)
{
    (void)state;
    struct run *run = synthetic_run("tiny", false, 2, 1);
    struct report report = {0};
    report_init(&report);
    struct report_cell *cell = report_add_cell(&report);
    cell_build(cell, run);
    for (size_t k = 1; k < cell->kernel_count; k++) {
        const struct report_kernel *before = &cell->kernels[k - 1], *kernel = &cell->kernels[k];
        assert_true(before->pass < kernel->pass ||
                    (before->pass == kernel->pass && before->total_ns >= kernel->total_ns));
    }
    /* The last kernel of the first pass takes a second. */
    size_t last = 0;
    while (last + 1 < cell->kernel_count && cell->kernels[last + 1].pass == cell->kernels[0].pass)
        last++;
    char name[256];
    snprintf(name, sizeof name, "%s", cell->kernels[last].name);
    const uint64_t calls = cell->kernels[last].calls;
    size_t count;
    const struct entry *entries = aggregate_entries(run_lead(run)->aggregate, &count);
    const struct entry *entry = NULL;
    for (size_t e = 0; e < count; e++)
        if (entries[e].pass == cell->kernels[last].pass &&
            places_at(&run_lead(run)->places, entries[e].place)->phase == cell->kernels[last].phase &&
            strcmp(aggregate_name_text(run_lead(run)->aggregate, entries[e].name), name) == 0)
            entry = &entries[e];
    assert_non_null(entry);
    struct aggregate_counts counts;
    aggregate_counts(run_lead(run)->aggregate, &counts);
    const uint64_t start = aggregate_latest(run_lead(run)->aggregate) + 1;
    const struct record record = {.start = start,
                                  .end = start + 1000000000u,
                                  .launch = start,
                                  .place = entry->place,
                                  .name = entry->name,
                                  .step = 1000,
                                  .sequence = (uint32_t)counts.records,
                                  .kind = RECORD_KERNEL,
                                  .pass = entry->pass};
    aggregate_add(run_lead(run)->aggregate, &record, 1);
    run->version++;
    cell_build(cell, run);
    assert_string_equal(cell->kernels[0].name, name);
    assert_int_equal(cell->kernels[0].calls, calls + 1);
    assert_int_equal(cell->kernels[0].max_ns, 1000000000u);
    /* A copy says which way it went, and between which memories; one that says what cannot be is not counted. */
    struct record copy = record;
    copy.place = PLACE_UNKNOWN;
    copy.start = copy.launch = record.end;
    copy.end = copy.start + 2000000000u;
    copy.sequence++;
    copy.kind = RECORD_COPY;
    copy.copy = COPY_TO_HOST;
    copy.flags = RECORD_PAGEABLE;
    aggregate_add(run_lead(run)->aggregate, &copy, 1);
    copy.sequence++;
    copy.copy = COPY_DIRECTIONS;
    aggregate_add(run_lead(run)->aggregate, &copy, 1);
    run->version++;
    cell_build(cell, run);
    assert_int_equal(cell->kernels[0].total_ns, 2000000000u);
    assert_int_equal(cell->kernels[0].calls, 1);
    assert_int_equal(cell->kernels[0].copy, COPY_TO_HOST);
    assert_true(cell->kernels[0].pageable);
    assert_int_equal(cell->kernels[1].copy, COPY_NONE);
    assert_int_equal(cell->invalid, 1);
    report_free(&report);
    synthetic_free(run);
}

/* A run without end lets go of its oldest samples while its kernels' sums go on: wall and busy are of the same steps. */
static void test_wall_of_all_steps(void **state)
{
    (void)state;
    struct run *run = synthetic_run("tiny", false, 6, 1);
    struct report report = {0};
    report_init(&report);
    struct report_cell *cell = report_add_cell(&report);
    cell_build(cell, run);
    const double wall = cell->passes[PASS_FWD].wall_ns, idle = cell->passes[PASS_FWD].idle_ns;
    assert_true(idle > 0);
    size_t kept = 0;
    for (size_t i = 0; i < run_lead(run)->samples.count; i++)
        if (run_lead(run)->samples.items[i].step >= 3)
            run_lead(run)->samples.items[kept++] = run_lead(run)->samples.items[i];
    run_lead(run)->samples.count = kept;
    run->version++;
    cell_build(cell, run);
    assert_int_equal(cell->passes[PASS_FWD].phases[PHASE_COUNT].profiled_count, 3);
    assert_true(cell->passes[PASS_FWD].wall_ns == wall && cell->passes[PASS_FWD].idle_ns == idle);
    report_free(&report);
    synthetic_free(run);
}

/* What a step takes, and idles, is that of whole steps: one that is under way makes neither less of the one nor more of the other. */
static void watch_a_step_under_way(struct run *run, void *context)
{
    int *looked = context;
    struct report report = {0};
    report_init(&report);
    struct report_cell *cell = report_add_cell(&report);
    run->status = STATUS_RUNNING;
    cell_build(cell, run);
    for (int p = 0; p < PASS_COUNT; p++) {
        const struct report_pass *pass = &cell->passes[p];
        double sum = 0;
        if (pass->profiled_steps < 2 || pass->warmup_rows)
            continue;
        for (size_t k = 0; k < cell->kernel_count; k++)
            sum += cell->kernels[k].pass == p ? (double)cell->kernels[k].total_ns : 0;
        *looked += pass->missing > 0;
        if (fabs(sum / pass_steps(pass) / pass->kernel_ns - 1) > 0.01 || pass->idle_ns > 0.2 * pass->wall_ns)
            fail_msg("pass %d, %.2f of %d steps: %.0f of %.0f ns, idle %.0f of %.0f", p, pass_steps(pass),
                     (int)pass->profiled_steps, sum / pass_steps(pass), pass->kernel_ns, pass->idle_ns, pass->wall_ns);
    }
    report_free(&report);
}

static void a_step_under_way_is_no_idle_time(void **state)
{
    int looked = 0;
    (void)state;
    struct run *run = synthetic_watched("tiny", false, 3, 1, 11, watch_a_step_under_way, &looked);
    assert_non_null(run);
    assert_true(looked > 10);
    synthetic_free(run);
}

/* Of one pass: the kernels' FLOPs and bytes are the plan's, times the steps. What is launched beside a kernel carries none, and its
 * rate is not known, and not 0. */
static void pass_is_booked_once(const struct report_cell *cell, const struct places *places, enum pass pass,
                                uint32_t steps)
{
    double flops = 0, bytes = 0, planned_flops = 0, planned_bytes = 0;
    bool reduced = false;
    for (size_t k = 0; k < cell->kernel_count; k++) {
        const struct report_kernel *kernel = &cell->kernels[k];
        if (kernel->pass != pass)
            continue;
        if (strcmp(kernel->name, "reduce") == 0) {
            assert_true(isnan(kernel->flops) && isnan(kernel->bytes));
            reduced = true;
        } else {
            flops += kernel->flops;
            bytes += kernel->bytes;
        }
    }
    assert_true(reduced && cell->passes[pass].present);
    for (size_t n = 0; n < places->list.count; n++)
        if (pass_phases(pass) >> places->list.items[n].phase & 1) {
            planned_flops += places->list.items[n].flops * steps;
            planned_bytes += places->list.items[n].bytes * steps;
        }
    assert_true(planned_flops > 0 && planned_bytes > 0);
    assert_true(fabs(flops - planned_flops) <= 1e-9 * planned_flops);
    assert_true(fabs(bytes - planned_bytes) <= 1e-9 * planned_bytes);
    assert_true(fabs(cell->flops[pass] * steps - planned_flops) <= 1e-9 * planned_flops);
}

/* Whatever a node launches, its work is booked once: every preset, dtype and pass, eager and compiled, with what a card's products
 * launch beside themselves. */
static void work_is_booked_once(void **state)
{
    (void)state;
    int count;
    const struct model_preset *presets = model_presets(&count);
    for (int way = 0; way < count * PRECISION_COUNT * 2; way++) {
        struct cell cell;
        cell_default(&cell);
        cell.model = presets[way / (PRECISION_COUNT * 2)].config;
        cell.dtype = (enum precision)(way / 2 % PRECISION_COUNT);
        cell.compile = way % 2;
        cell.steps = 1;
        cell.passes =
            cell.model.kind == MODEL_ATTENTION ? PASS_BIT(PASS_FWD) | PASS_BIT(PASS_FWD_BWD) : PASS_BIT(PASS_COUNT) - 1;
        struct run *run = synthetic_cell(&cell, 1, 1, NULL, NULL);
        assert_non_null(run);
        synthetic_helpers(run);
        struct report report;
        report_init(&report);
        struct report_cell *built = report_add_cell(&report);
        cell_build(built, run);
        for (int pass = 0; pass < PASS_COUNT; pass++)
            if (cell.passes & PASS_BIT(pass))
                pass_is_booked_once(built, &run_lead(run)->places, (enum pass)pass, cell.steps);
        report_free(&report);
        synthetic_free(run);
    }
}

/* A place of an attached program, what it launches in a step and the FLOPs of a step: forward a product by one kernel and attention by
 * three, backward a product by one. */
static const struct shared_place {
    uint8_t phase, kernel_class, launches;
    double flops;
} shared_places[] = {
    {PHASE_FWD, CLASS_MATMUL, 1, 1000}, {PHASE_FWD, CLASS_ATTENTION, 3, 3000}, {PHASE_BWD, CLASS_MATMUL, 1, 7000}};
#define SHARED_PLACES (int)(sizeof shared_places / sizeof *shared_places)

static struct live_run *shared_open(void)
{
    struct cell cell;
    struct error error = {0};
    cell_of_command(&cell, "train.py");
    struct live_run *live = live_create(1, &cell, 1 << 12, &error);
    assert_non_null(live);
    live->run.command = strdup("train.py");
    live->run.status = STATUS_RUNNING;
    struct rank *rank = run_lead(&live->run);
    assert_true(places_add_scope(&rank->places, -1, "Model", UNKNOWN_U64, &error));
    for (int p = 0; p < SHARED_PLACES; p++) {
        char name[16];
        const struct place place = {.phase = shared_places[p].phase,
                                    .kernel_class = shared_places[p].kernel_class,
                                    .op = "aten::op",
                                    .label = "",
                                    .flops = UNKNOWN_DOUBLE,
                                    .bytes = UNKNOWN_DOUBLE,
                                    .saved_bytes = UNKNOWN_U64};
        assert_true(places_add(&rank->places, &place, &error));
        assert_true(places_work(&rank->places, p, shared_places[p].flops, 10, &error));
        for (int number = 0; number < 2; number++) { /* the first launch is of a kernel of its own */
            snprintf(name, sizeof name, "kernel %d.%d", p, number);
            assert_true(aggregate_name(rank->aggregate, (uint32_t)(2 * p + number), name));
        }
    }
    return live;
}

static double shared_flops(const struct report_cell *cell, int place)
{
    double sum = 0;
    char start[32];
    snprintf(start, sizeof start, "kernel %d.", place);
    for (size_t k = 0; k < cell->kernel_count; k++)
        if (strncmp(cell->kernels[k].name, start, strlen(start)) == 0)
            sum += cell->kernels[k].flops;
    return sum;
}

/* Adds a launch of a place; the report that is kept is what it would be made anew. */
static void shared_launch(struct watched *watched, struct live_run *live, int place, bool first, uint32_t step,
                          uint64_t *clock)
{
    struct rank *rank = run_lead(&live->run);
    struct aggregate_counts counts;
    aggregate_counts(rank->aggregate, &counts);
    const struct record record = {.start = *clock,
                                  .end = *clock + 1000,
                                  .launch = *clock,
                                  .place = place,
                                  .name = (uint32_t)(2 * place + !first),
                                  .step = step,
                                  .sequence = (uint32_t)counts.records,
                                  .kind = RECORD_KERNEL,
                                  .pass = PASS_TRAIN_STEP};
    aggregate_add(rank->aggregate, &record, 1);
    *clock += 1000;
    live->run.version++;
    cell_build(watched->kept.cells.items[0], &live->run);
    expect_same(watched, &live->run);
}

/* While a step of an attached program is under way, the work that has been done is counted, and none that has not: the backward pass that
 * is still to come was not done, and the part that is over was. */
static void work_of_a_step_under_way_is_what_was_done(void **state)
{
    (void)state;
    enum { STEPS = 8, FIRST = 4 }; /* before them three launches a step are not told from two */
    struct live_run *live = shared_open();
    struct rank *rank = run_lead(&live->run);
    struct watched watched = {.updates = 0};
    uint32_t done[SHARED_PLACES] = {0};
    uint64_t clock = 1000000;
    int looked = 0;
    report_init(&watched.kept);
    const struct report_cell *cell = report_add_cell(&watched.kept);
    for (uint32_t step = 0; step < STEPS; step++) {
        struct sample sample = {
            .pass = PASS_TRAIN_STEP, .kind = STEP_PROFILED, .step = step, .step_id = step, .start = clock};
        for (int phase = 0; phase < PHASE_COUNT; phase++)
            sample.phase_ns[phase] = UNKNOWN_U64;
        for (int p = 0; p < SHARED_PLACES; p++)
            for (int launch = 0; launch < shared_places[p].launches; launch++) {
                shared_launch(&watched, live, p, launch == 0, step, &clock);
                done[p]++;
                if (!(cell->passes[PASS_TRAIN_STEP].missing > 0) || step < FIRST)
                    continue;
                looked++;
                for (int q = 0; q < SHARED_PLACES; q++) {
                    const double want = shared_places[q].flops * done[q] / shared_places[q].launches;
                    if (fabs(shared_flops(cell, q) - want) > 1e-6 * want)
                        fail_msg("step %u, place %d: %.0f FLOPs of %.0f", step, q, shared_flops(cell, q), want);
                }
            }
        sample.wall_ns = clock - sample.start + 100;
        clock += 200;
        vec_push(&rank->samples, sample);
        running_add(&rank->profiled_wall[PASS_TRAIN_STEP], sample.wall_ns);
    }
    assert_true(looked >= 4 * (STEPS - FIRST));
    live->run.status = STATUS_OK;
    live->run.version++;
    cell_build(watched.kept.cells.items[0], &live->run);
    expect_same(&watched, &live->run);
    for (int p = 0; p < SHARED_PLACES; p++)
        assert_true(fabs(shared_flops(cell, p) - STEPS * shared_places[p].flops) < 1e-6);
    report_free(&watched.kept);
    live_free(live);
}

/* From wherever a profile is queued, its on_oom goes with it. */
static void a_queued_profile_is_planned(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "schema: steptop/profile/1\nmatrix: {device: [cpu], model: [tiny], batch_size: [1, 2], context_length: [16]}\n"
        "measure: {on_oom: skip_larger}\n",
        "schema: steptop/profile/1\nmatrix: {device: [cpu], model: [tiny], batch_size: [1, 2], context_length: "
        "[16]}\n"};
    for (int i = 0; i < 2; i++) {
        struct error error = {0};
        struct profile profile = {0};
        size_t queued;
        if (!profile_parse(texts[i], strlen(texts[i]), "test.yaml", &profile, &error))
            fail_msg("%s", error.text);
        const struct session_options options = {.program = "/proc/self/exe"};
        struct session *session = session_create(&options, &error);
        assert_non_null(session);
        assert_true(profile_queue(&profile, session, NULL, &queued, &error));
        assert_int_equal(queued, 2);
        const uint64_t one = session_run(session, 0)->planned_bytes, two = session_run(session, 1)->planned_bytes;
        if (i == 0)
            assert_true(one > 1000000 && two > one && two != UNKNOWN_U64);
        else
            assert_true(one == UNKNOWN_U64 && two == UNKNOWN_U64);
        session_free(session);
        profile_free(&profile);
    }
}

/* Many cells of few plans: each is told what it would be told alone, and a plan is built once. */
static void estimates_are_those_of_each_cell(void **state)
{
    (void)state;
    static const char text[] =
        "schema: steptop/profile/1\nmatrix: {device: [cpu, 'cuda:0'], model: [tiny, attention], batch_size: [1, 2], "
        "context_length: [16, 32], dtype: [fp32, bf16], compile: [false, true], seed: [1, 2, 3], warmup: [0, 7]}\n"
        "measure: {repetitions: 5}\n";
    struct error error = {0};
    struct profile profile = {0};
    struct estimates estimates = {0};
    if (!profile_parse(text, strlen(text), "test.yaml", &profile, &error))
        fail_msg("%s", error.text);
    assert_true(profile.cells.count >= 1000);
    for (size_t i = 0; i < profile.cells.count; i++) {
        struct estimate alone = {0}, among = {0};
        assert_true(estimates_cell(&estimates, &profile.cells.items[i], &among, &error));
        if (i % 7 && i > 100) /* building each is what takes long */
            continue;
        assert_true(estimate_cell(&profile.cells.items[i], &alone, &error));
        assert_true(alone.work > 0 && alone.work == among.work && alone.memory == among.memory);
        for (int pass = 0; pass < PASS_COUNT; pass++)
            assert_true((alone.flops[pass] == among.flops[pass] && alone.full_flops[pass] == among.full_flops[pass]) ||
                        (isnan(alone.flops[pass]) && isnan(among.flops[pass])));
    }
    assert_int_equal(estimates.known.count, 32);
    estimates_release(&estimates);
    profile_free(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_queued_profile_is_planned),
                                       cmocka_unit_test(estimates_are_those_of_each_cell),
                                       cmocka_unit_test(work_is_booked_once),
                                       cmocka_unit_test(work_of_a_step_under_way_is_what_was_done),
                                       cmocka_unit_test(test_updates),
                                       cmocka_unit_test(test_order),
                                       cmocka_unit_test(a_step_under_way_is_no_idle_time),
                                       cmocka_unit_test(test_wall_of_all_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
