/* Sessions against workers of every kind: this program is its own worker. The cell's model name says how it behaves. */
#include "base/unknown.h"
#include "profiler/log.h"
#include "tests/profiler/fake_worker.h"
#include "tests/profiler/session_helpers.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct cell cell_of(const char *way)
{
    struct cell cell = tiny_cell();
    cell.passes = PASS_BIT(PASS_FWD);
    snprintf(cell.model.name, sizeof cell.model.name, "%s", way);
    return cell;
}

/* Runs one fake worker to its end. */
static const struct run *run_of(struct session **session, const char *way, uint64_t *longest)
{
    *session = session_of("/proc/self/exe", NULL);
    const struct cell cell = cell_of(way);
    const uint32_t id = session_add(*session, &cell);
    assert_true(session_until(*session, 30, session_idle, longest));
    return session_find(*session, id);
}

static void a_good_worker(void **state)
{
    (void)state;
    struct session *session;
    const struct run *run = run_of(&session, "well", NULL);
    assert_string_equal(run->reason, "");
    assert_int_equal(run->status, STATUS_OK);
    assert_string_equal(run_lead(run)->device.name, "fake:0");
    assert_string_equal(run_lead(run)->device.model, "A ?[31mfake"); /* no escape gets through */
    assert_int_equal(strlen(run_lead(run)->device.driver), sizeof run_lead(run)->device.driver - 1);
    assert_true(run->plan.known);
    const struct places *places = &run_lead(run)->places;
    assert_int_equal(places->scopes.count, 3);
    assert_string_equal(places->scopes.items[2].path, "layers.0.attn");
    assert_int_equal(places->scopes.items[2].depth, 2);
    assert_int_equal(places->list.count, 2);
    assert_string_equal(places_at(places, 0)->op, "aten::mm");
    assert_string_equal(places_at(places, 0)->label, "twice?[1m"); /* no escape gets through */
    assert_true(places_at(places, 0)->flops == 100 && isnan(places_at(places, 0)->bytes));
    assert_int_equal(places_at(places, 0)->phase, PHASE_BWD);
    assert_int_equal(places_at(places, 1)->phase, PHASE_NONE);
    assert_int_equal(places_at(places, 2)->kernel_class, CLASS_OTHER); /* there is no such place */
    assert_true(places->whole);
    assert_int_equal(run->notes.count, 1);
    assert_string_equal(run->notes.items[0].text, "clock only");
    assert_string_equal(aggregate_name_text(run_lead(run)->aggregate, 0), "kernel one?[2J");
    assert_int_equal(run_lead(run)->samples.count, 1);
    assert_int_equal(run_lead(run)->samples.items[0].wall_ns, 77);
    assert_int_equal(run_lead(run)->resident_peak, 20);
    assert_true(run->ceiling_flops_per_s == 1e9);
    assert_false(is_known(run->ceiling_bytes_per_s));
    struct aggregate_counts counts;
    aggregate_counts(run_lead(run)->aggregate, &counts);
    assert_int_equal(counts.records, 1000);
    assert_int_equal(counts.lost + counts.invalid, 0);
    bool out = false, err = false;
    size_t printed = 0;
    for (size_t i = 0; i < session_log_count(session); i++) {
        const struct log_line *line = session_log(session, i);
        printed += !line->is_event;
        out |= !line->is_error && strcmp(line->text, "to the output") == 0;
        err |= line->is_error && strcmp(line->text, "to the errors, without an end") == 0;
    }
    assert_true(out && err);
    assert_int_equal(printed, 2);
    const struct log_line *last = session_log(session, session_log_count(session) - 1);
    assert_true(last->is_event && !last->is_error && strncmp(last->text, "ok after ", 9) == 0);
    assert_int_equal(run_lead(run)->process, 0);
    assert_true(run->ended > run->started);
    session_free(session);
}

/* What a run was at goes to the log with its time, once each, however often it said how far it was; steps are one thing. */
static void stages_are_events(void **state)
{
    (void)state;
    struct session *session;
    const struct run *run = run_of(&session, "stages", NULL);
    assert_int_equal(run->status, STATUS_OK);
    static const char *const events[] = {
        "opening cuda:0: ", "preparing: 2 products: ", "preparing: building kernels: ", "steps: ", "ok after "};
    assert_int_equal(session_log_count(session), sizeof events / sizeof *events);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        assert_true(session_log(session, i)->is_event);
        if (strncmp(session_log(session, i)->text, events[i], strlen(events[i])) != 0)
            fail_msg("'%s' is not '%s…'", session_log(session, i)->text, events[i]);
    }
    session_free(session);
}

static void bad_workers(void **state)
{
    (void)state;
    static const struct {
        const char *way;
        enum status status;
        const char *reason; /* a part of it */
    } table[] = {
        {"garbage", STATUS_ERROR, "no message"},
        {"long", STATUS_ERROR, "no message (type 5"},
        {"sample", STATUS_ERROR, "not asked for"},
        {"pass", STATUS_ERROR, "not asked for"},
        {"parent", STATUS_ERROR, "scope 1 has parent 1"},
        {"place", STATUS_ERROR, "place 0 has scope 0"},
        {"phase", STATUS_ERROR, "place 0 has scope -1, phase 6"},
        {"class", STATUS_ERROR, "which cannot be"},
        {"late", STATUS_ERROR, "place 0 came after the last one"},
        {"twice", STATUS_ERROR, "named its plan twice"},
        {"status", STATUS_ERROR, "status 99"},
        {"running", STATUS_ERROR, "status 1"},
        {"rename", STATUS_ERROR, "'two'"},
        {"record", STATUS_ERROR, "not a worker's"},
        {"half", STATUS_ERROR, "exit code 0 and no word why"},
        {"oom", STATUS_OOM, "needs 9 / has 3"},
        {"exit", STATUS_ERROR, "exit code 3: no such luck"},
        {"segv", STATUS_ERROR, "crashed with SIGSEGV"},
        {"kill", STATUS_KILLED, "SIGKILL"},
        {"term", STATUS_KILLED, "killed by SIGTERM"},
        {"abort", STATUS_OOM, "no memory to go on with: steptop: out of memory: 7 items"},
#if !defined(__SANITIZE_ADDRESS__) &&                                                                                  \
    !defined(__SANITIZE_THREAD__) /* which have no memory either, and end in their own way */
        {"library", STATUS_OOM, "no memory to go on with: no luck"},
        {"thrown", STATUS_OOM, "no memory to go on with: no luck"},
#endif
        {"words", STATUS_ERROR, "crashed with SIGABRT: the chapter is called"},
        {"unreliable", STATUS_UNRELIABLE, "forward (3.368e-05 s) is smaller than its own deviation"},
        {"nobody", STATUS_ERROR, "exit code 7"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct session *session;
        uint64_t longest = 0;
        const struct run *run = run_of(&session, table[i].way, &longest);
        if (run->status != table[i].status || !strstr(run->reason, table[i].reason))
            fail_msg("%s: %s: %s", table[i].way, status_name(run->status), run->reason);
        assert_null(strchr(run->reason, '\n'));
        session_free(session);
    }
}

static void a_program_that_is_not_there(void **state)
{
    (void)state;
    struct session *session = session_of("/no/such/steptop", NULL);
    const struct cell cell = cell_of("well");
    session_add(session, &cell);
    assert_true(session_until(session, 10, session_idle, NULL));
    assert_int_equal(session_run(session, 0)->status, STATUS_ERROR);
    assert_non_null(strstr(session_run(session, 0)->reason, "cannot be executed"));
    session_free(session);
}

static bool is_deaf(const struct session *session)
{
    struct aggregate_counts counts;
    aggregate_counts(run_lead(session_run(session, 0))->aggregate, &counts);
    return strcmp(session_run(session, 0)->activity, "deaf") == 0 && counts.records == 5;
}

static void stops_a_deaf_worker(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    const struct cell deaf = cell_of("deaf"), well = cell_of("well");
    const uint32_t first = session_add(session, &deaf), second = session_add(session, &well);
    assert_true(session_until(session, 10, is_deaf, NULL));
    const pid_t worker = run_lead(session_find(session, first))->process;
    assert_true(worker > 0);
    const uint64_t start = clock_now();
    session_stop(session, first);
    session_stop(session, second); /* still queued */
    assert_true(session_until(session, 10, session_idle, NULL));
    assert_true(clock_now() - start < 3000000000u);
    const struct run *run = session_find(session, first);
    assert_int_equal(run->status, STATUS_INTERRUPTED);
    struct aggregate_counts counts;
    aggregate_counts(run_lead(run)->aggregate, &counts);
    assert_int_equal(counts.records, 5); /* what was there is kept */
    assert_int_equal(session_find(session, second)->status, STATUS_INTERRUPTED);
    assert_int_equal(kill(worker, 0), -1);
    assert_int_equal(errno, ESRCH);
    session_free(session);
}

/* With skip_larger, a run that was out of memory takes with it what is queued on its device and plans no less. */
static bool use_is_known(const struct session *session)
{
    const struct run *run = session_run(session, 0);
    return run->status != STATUS_RUNNING ? run->status != STATUS_PENDING : is_known(run->use.idle);
}

/* A verdict on the screen asks who else is on the machine, as the report's does: not known only when the run has ended. */
static void who_uses_the_processors_is_known_meanwhile(void **state)
{
    (void)state;
    struct machine_look look;
    machine_look(&look);
    if (!is_known_u64(look.total) || !is_known_u64(look.living))
        skip();
    struct session *session = session_of("/proc/self/exe", NULL);
    const struct cell cell = cell_of("deaf");
    const uint32_t id = session_add(session, &cell);
    assert_true(session_until(session, 60, use_is_known, NULL));
    const struct run *run = session_find(session, id);
    assert_int_equal(run->status, STATUS_RUNNING);
    assert_true(is_known(run->use.idle) && is_known(run->use.others));
    session_free(session);
}

static void larger_runs_are_skipped(void **state)
{
    (void)state;
    for (int wanted = 0; wanted < 2; wanted++) {
        struct error error = {0};
        const struct session_options options = {.program = "/proc/self/exe"};
        struct session *session = session_create(&options, &error);
        assert_non_null(session);
        const struct cell oom = cell_of("oom"), well = cell_of("well");
        struct cell elsewhere = well;
        snprintf(elsewhere.device, sizeof elsewhere.device, "cpu:1");
        const uint32_t first = session_add(session, &oom); /* without skip_larger nobody plans it */
        if (wanted)
            session_plan(session, first, 100 << 20);
        session_plan(session, session_add(session, &well), 200 << 20);
        session_plan(session, session_add(session, &well), 100 << 20);
        session_plan(session, session_add(session, &well), 99 << 20);
        session_plan(session, session_add(session, &elsewhere), 300 << 20);
        session_add(session, &well); /* nobody said what it takes */
        assert_true(session_until(session, 20, session_idle, NULL));
        const enum status expected[] = {STATUS_OOM, STATUS_SKIPPED, STATUS_SKIPPED, STATUS_OK, STATUS_OK, STATUS_OK};
        for (size_t i = 0; i < 6; i++)
            assert_int_equal(session_run(session, i)->status,
                             expected[i] == STATUS_SKIPPED && !wanted ? STATUS_OK : expected[i]);
        if (wanted)
            assert_string_equal(session_run(session, 1)->reason,
                                "plans 200 MiB, not less than the 100 MiB of cell 1, which did not fit");
        session_free(session);
    }
}

static void times_out(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = cell_of("deaf");
    cell.timeout_s = 1;
    session_add(session, &cell);
    assert_true(session_until(session, 10, session_idle, NULL));
    assert_int_equal(session_run(session, 0)->status, STATUS_TIMEOUT);
    assert_string_equal(session_run(session, 0)->reason, "not done after its 1 s");
    session_free(session);
}

static void free_ends_the_worker(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    const struct cell cell = cell_of("deaf");
    const uint32_t id = session_add(session, &cell);
    assert_true(session_until(session, 10, is_deaf, NULL));
    const pid_t worker = run_lead(session_find(session, id))->process;
    session_free(session);
    assert_int_equal(kill(worker, 0), -1);
}

static bool is_gone(const struct session *session)
{
    return session_run_count(session) == 0;
}

static void removes_runs(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    const struct cell cell = cell_of("deaf");
    const uint32_t first = session_add(session, &cell), second = session_add(session, &cell);
    assert_true(session_until(session, 10, is_deaf, NULL));
    session_remove(session, second);
    assert_null(session_find(session, second));
    session_remove(session, first);
    assert_true(session_until(session, 10, is_gone, NULL));
    assert_true(session_idle(session));
    session_free(session);
}

static void loss_is_counted(void **state)
{
    (void)state;
    struct session *session;
    uint64_t longest = 0;
    const struct run *run = run_of(&session, "flood", &longest);
    assert_int_equal(run->status, STATUS_OK);
    struct aggregate_counts counts;
    aggregate_counts(run_lead(run)->aggregate, &counts);
    assert_int_equal(counts.records + run_lead(run)->dropped, 1 << 20);
    assert_true(counts.lost <= run_lead(run)->dropped);
    assert_int_equal(counts.invalid, 0);
    assert_true(run_lead(run)->dropped > 0);
    session_free(session);
}

static void a_lying_ring(void **state)
{
    (void)state;
    struct session *session;
    const struct run *run = run_of(&session, "lie", NULL);
    assert_int_equal(run->status, STATUS_OK);
    struct aggregate_counts counts;
    aggregate_counts(run_lead(run)->aggregate, &counts);
    assert_int_equal(counts.records, 5);
    assert_int_equal(counts.invalid, 0);
    assert_int_equal(run_lead(run)->dropped, 0);
    session_free(session);
}

static void output_is_bounded(void **state)
{
    (void)state;
    struct session *session;
    const struct run *run = run_of(&session, "print", NULL);
    assert_int_equal(run->status, STATUS_OK);
    const size_t count = session_log_count(session);
    assert_int_equal(count, LOG_LINES);
    assert_true(session_log(session, count - 1)->is_event);
    assert_string_equal(session_log(session, count - 2)->text, "the ?[1mlast");
    assert_int_equal(strlen(session_log(session, count - 3)->text), LOG_LINE_MAX);
    assert_string_equal(session_log(session, count - 4)->text, "line 29999");
    assert_string_equal(session_log(session, 0)->text, "line 20003");
    assert_null(session_log(session, count));
    session_free(session);
}

static void a_grandchild_does_not_hold_the_run(void **state)
{
    (void)state;
    struct session *session;
    const uint64_t start = clock_now();
    const struct run *run = run_of(&session, "child", NULL);
    assert_int_equal(run->status, STATUS_OK);
    assert_true(clock_now() - start < 4000000000u);
    session_free(session);
}

static void samples_are_bounded(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = cell_of("samples");
    cell.steps = STEPS_FOREVER;
    session_add(session, &cell);
    assert_true(session_until(session, 30, session_idle, NULL));
    const struct run *run = session_run(session, 0);
    assert_in_range(run_lead(run)->samples.count, 4096, 8192);
    assert_int_equal(run_lead(run)->samples.items[run_lead(run)->samples.count - 1].step, 49999);
    for (size_t i = 1; i < run_lead(run)->samples.count; i++)
        assert_int_equal(run_lead(run)->samples.items[i].step, run_lead(run)->samples.items[i - 1].step + 1);
    session_free(session);
}

/* Of a run that is killed within a step, only whole steps count: one without its time ("cut"), and one whose last records
 * were lost with the worker ("lost"). */
static void a_cut_step_does_not_count(void **state)
{
    (void)state;
    static const char *const ways[] = {"cut", "lost"};
    for (size_t i = 0; i < 2; i++) {
        struct session *session;
        const struct run *run = run_of(&session, ways[i], NULL);
        assert_int_equal(run->status, STATUS_KILLED);
        struct step_cover cover;
        aggregate_cover(run_lead(run)->aggregate, PASS_FWD, &cover);
        assert_int_equal(cover.steps, 2);
        assert_int_equal(cover.busy_ns, 20 * 5);
        assert_int_equal(run_lead(run)->profiled_wall[PASS_FWD].n, 2 + i);
        assert_int_equal(run_lead(run)->profiled_wall[PASS_FWD].total, 100 * (2 + i));
        size_t count;
        const struct entry *entries = aggregate_entries(run_lead(run)->aggregate, &count);
        assert_int_equal(count, 1);
        assert_int_equal(entries[0].time.n, 20);
        session_free(session);
    }
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    const size_t before = open_descriptors();
    static const char *const ways[] = {"well", "garbage", "segv", "exit"};
    for (int i = 0; i < 12; i++) {
        struct session *session;
        run_of(&session, ways[i % 4], NULL);
        session_free(session);
    }
    assert_int_equal(open_descriptors(), before);
}

static void two_sessions_at_once(void **state)
{
    (void)state;
    struct session *sessions[2];
    const struct cell cell = cell_of("well");
    for (int i = 0; i < 2; i++) {
        sessions[i] = session_of("/proc/self/exe", NULL);
        session_add(sessions[i], &cell);
    }
    for (int turn = 0; turn < 2000 && !(session_idle(sessions[0]) && session_idle(sessions[1])); turn++) {
        session_step(sessions[turn % 2]);
        usleep(2000);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(session_run(sessions[i], 0)->status, STATUS_OK);
        struct aggregate_counts counts;
        aggregate_counts(run_lead(session_run(sessions[i], 0))->aggregate, &counts);
        assert_int_equal(counts.records, 1000);
        session_free(sessions[i]);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        _exit(fake_worker());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_worker),
        cmocka_unit_test(stages_are_events),
        cmocka_unit_test(bad_workers),
        cmocka_unit_test(a_program_that_is_not_there),
        cmocka_unit_test(stops_a_deaf_worker),
        cmocka_unit_test(who_uses_the_processors_is_known_meanwhile),
        cmocka_unit_test(larger_runs_are_skipped),
        cmocka_unit_test(times_out),
        cmocka_unit_test(free_ends_the_worker),
        cmocka_unit_test(removes_runs),
        cmocka_unit_test(loss_is_counted),
        cmocka_unit_test(a_lying_ring),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(a_grandchild_does_not_hold_the_run),
        cmocka_unit_test(samples_are_bounded),
        cmocka_unit_test(a_cut_step_does_not_count),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(two_sessions_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
