/* Sessions with the real worker, on `tiny`: this program is its own worker. */
#include "base/gap.h"
#include "base/unknown.h"
#include "tests/profiler/session_helpers.h"
#include "worker/watch.h"
#include "worker/worker.h"
#include <signal.h>
#include <stdio.h>
#include <time.h>

static void a_real_run_adds_up(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    const struct cell cell = tiny_cell();
    session_add(session, &cell);
    assert_true(session_until(session, 60, session_idle, NULL));
    const struct run *run = session_run(session, 0);
    if (run->status != STATUS_OK && run->status != STATUS_UNRELIABLE) /* what a loaded machine makes of it */
        fail_msg("%s: %s", status_name(run->status), run->reason);
    struct aggregate_counts counts;
    aggregate_counts(run_lead(run)->aggregate, &counts);
    assert_int_equal(counts.invalid + counts.lost + counts.unattributed + run_lead(run)->dropped, 0);
    assert_true(counts.records > 0);

    size_t entry_count;
    const struct entry *entries = aggregate_entries(run_lead(run)->aggregate, &entry_count);
    static struct record recent[1 << 16];
    const size_t recent_count = aggregate_recent(run_lead(run)->aggregate, recent, 1 << 16);
    for (int pass = PASS_FWD; pass <= PASS_FWD_BWD; pass++) {
        struct step_cover cover;
        aggregate_cover(run_lead(run)->aggregate, pass, &cover);
        assert_int_equal(cover.steps, 3);
        uint64_t wall = 0, kernels = 0, idle = 0, timed = 0, warm = 0;
        for (size_t i = 0; i < run_lead(run)->samples.count; i++) {
            const struct sample *sample = &run_lead(run)->samples.items[i];
            if (sample->pass != pass)
                continue;
            timed += sample->kind == STEP_TIMED;
            warm += sample->kind == STEP_WARMUP;
            if (sample->kind != STEP_PROFILED)
                continue;
            wall += sample->wall_ns;
            /* the gaps between this step's kernels, and before the first and after the last */
            uint64_t at = sample->start;
            for (size_t r = 0; r < recent_count; r++)
                if (recent[r].step == sample->step_id) {
                    assert_true(recent[r].start >= at);
                    idle += recent[r].start - at;
                    at = recent[r].end;
                }
            idle += sample->start + sample->wall_ns - at;
        }
        assert_int_equal(timed, 3);
        assert_int_equal(warm, 1);
        /* every node of the pass's phases ran once a step, and the layers together make up the sum */
        uint64_t calls = 0, nodes = 0;
        for (size_t e = 0; e < entry_count; e++)
            if (entries[e].pass == pass && entries[e].kind == RECORD_KERNEL) {
                kernels += entries[e].time.total;
                calls += entries[e].time.n;
                assert_int_equal(entries[e].time.n, 3);
                assert_int_equal(entries[e].warmup.n, 1);
            }
        const struct places *places = &run_lead(run)->places;
        assert_true(places->whole);
        for (size_t p = 0; p < places->list.count; p++)
            nodes += pass_phases((enum pass)pass) >> places->list.items[p].phase & 1;
        assert_int_equal(calls, 3 * nodes);
        assert_int_equal(kernels, cover.sum_ns);
        assert_int_equal(cover.busy_ns, cover.sum_ns); /* one stream */
        const double total = (double)(cover.busy_ns + idle);
        assert_true(total > 0.99 * (double)wall && total < 1.01 * (double)wall);
    }
    assert_true(run_lead(run)->resident_peak > run_lead(run)->resident_base);
    assert_true(run->prepare_ns != UNKNOWN_U64);
    session_free(session);
}

static void a_device_that_is_not_here(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = tiny_cell();
    snprintf(cell.device, sizeof cell.device, "cpu:7");
    session_add(session, &cell);
    assert_true(session_until(session, 30, session_idle, NULL));
    assert_int_equal(session_run(session, 0)->status, STATUS_UNSUPPORTED);
    assert_non_null(strstr(session_run(session, 0)->reason, "cpu:7"));
    session_free(session);
}

static void a_model_that_does_not_fit(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = tiny_cell();
    struct error error = {0};
    assert_true(model_preset_find("cs336-2026/10B", &cell.model, &error));
    cell.batch_size = 64;
    cell.context_length = 4096;
    session_add(session, &cell);
    assert_true(session_until(session, 30, session_idle, NULL));
    const struct run *run = session_run(session, 0);
    if (run->status != STATUS_OOM)
        fail_msg("%s: %s", status_name(run->status), run->reason);
    assert_non_null(strstr(run->reason, "needs"));
    assert_non_null(strstr(run->reason, "free"));
    session_free(session);
}

static bool has_steps(const struct session *session)
{
    return run_lead(session_run(session, 0))->samples.count > 8;
}

static void runs_for_ever_until_stopped(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = tiny_cell();
    cell.steps = STEPS_FOREVER;
    const uint32_t id = session_add(session, &cell);
    assert_true(session_until(session, 60, has_steps, NULL));
    unsigned passes = 0; /* they take turns */
    for (size_t i = 0; i < run_lead(session_run(session, 0))->samples.count; i++)
        if (run_lead(session_run(session, 0))->samples.items[i].kind == STEP_TIMED)
            passes |= PASS_BIT(run_lead(session_run(session, 0))->samples.items[i].pass);
    assert_int_equal(passes, cell.passes);
    session_stop(session, id);
    assert_true(session_until(session, 10, session_idle, NULL));
    assert_int_equal(session_run(session, 0)->status, STATUS_INTERRUPTED);
    session_free(session);
}

static bool has_gap(const struct session *session)
{
    return session_run(session, 0)->suspended.times > 0;
}

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* The session goes on looking meanwhile. */
static bool never(const struct session *session)
{
    (void)session;
    return false;
}

/* Time in which the worker was stopped is in no step and no launch, and is told. */
static void stopped_time_is_no_work(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = tiny_cell();
    cell.steps = STEPS_FOREVER;
    const uint32_t id = session_add(session, &cell);
    assert_true(session_until(session, 60, has_steps, NULL));
    const struct run *run = session_run(session, 0);
    kill(run_lead(run)->process, SIGSTOP);
    session_until(session, 3, never, NULL);
    kill(run_lead(run)->process, SIGCONT);
    assert_true(session_until(session, 30, has_gap, NULL));
    session_until(session, 1, never, NULL);
    session_stop(session, id);
    assert_true(session_until(session, 30, session_idle, NULL));
    assert_in_range(run->suspended.times, 1, 3); /* once by us; a busy machine may take the processors away by itself */
    assert_true(run->suspended.steps <= 2 * run->suspended.times);
    assert_true(run->suspended.ns >= 2900000000u);
    for (size_t i = 0; i < run_lead(run)->samples.count; i++)
        assert_true(run_lead(run)->samples.items[i].wall_ns < 2900000000u);
    size_t entries;
    const struct entry *entry = aggregate_entries(run_lead(run)->aggregate, &entries);
    for (size_t i = 0; i < entries; i++)
        assert_true(entry[i].time.n == 0 || entry[i].time.max < 2900000000u);
    bool noted = false;
    for (size_t i = 0; i < run->notes.count; i++)
        noted |= strcmp(run->notes.items[i].key, "suspended") == 0 && strstr(run->notes.items[i].text, "left out");
    assert_true(noted);
    session_free(session);
}

/* A timeout moves by the time in which the worker was stopped. */
static void stopped_time_is_no_timeout(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = tiny_cell();
    cell.steps = STEPS_FOREVER;
    cell.timeout_s = 2;
    session_add(session, &cell);
    session_step(session);
    const struct run *run = session_run(session, 0);
    assert_true(run_lead(run)->process > 0);
    kill(run_lead(run)->process, SIGSTOP);
    session_until(session, 3, never, NULL);
    assert_int_equal(run->status, STATUS_RUNNING);
    kill(run_lead(run)->process, SIGCONT);
    assert_true(session_until(session, 30, session_idle, NULL));
    assert_int_equal(run->status, STATUS_TIMEOUT);
    assert_true(run->ended - run->started >= 4800000000u);
    session_free(session);
}

/* A front that was kept from looking takes what its worker did meanwhile before it judges. */
static void a_front_that_slept_is_no_timeout(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = tiny_cell();
    cell.timeout_s = 2;
    session_add(session, &cell);
    session_step(session);
    wait_ms(3000);
    session_step(session); /* whatever it finds, the timeout is not over for it */
    session_until(session, 1, session_idle, NULL);
    if (session_run(session, 0)->status != STATUS_RUNNING && session_run(session, 0)->status != STATUS_OK)
        fail_msg("%s: %s", status_name(session_run(session, 0)->status), session_run(session, 0)->reason);
    session_free(session);
}

/* What is a gap, and what a machine that is busy. */
static void gaps(void **state)
{
    (void)state;
    const uint64_t ms = 1000000;
    assert_true(gap_is(3000 * ms, 10 * ms, 0, false));       /* frozen */
    assert_true(gap_is(60 * ms, 10 * ms, 0, true));          /* stopped for a moment */
    assert_true(gap_is(50 * ms, 10 * ms, 8000 * ms, false)); /* the machine slept */
    assert_false(gap_is(50 * ms, 90 * ms, 0, false));
    assert_false(gap_is(300 * ms, 0, 0, false));        /* throttled by a quota */
    assert_false(gap_is(900 * ms, 700 * ms, 0, false)); /* the look came late, the work went on */
    /* A thread that looks each 50 ms knows more. */
    assert_true(gap_is_late(350 * ms, 50 * ms, 10 * ms));
    assert_false(gap_is_late(900 * ms, 50 * ms, 800 * ms)); /* it waited for a processor, or for its quota */
    assert_false(gap_is_late(120 * ms, 50 * ms, 0));
}

/* What a look of a thread that came 300 ms after the last makes of `schedule`, what the kernel says of the thread's waiting. */
static uint64_t look_by(const char *schedule)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_true(fputs(schedule, file) > 0 && fflush(file) == 0);
    struct gap_clocks clocks;
    uint64_t start, end;
    gap_begin(&clocks);
    clocks.interval = 50000000;
    clocks.schedule = owned_take(fileno(file));
    clocks.looked -= 300000000;
    const uint64_t ns = gap_look(&clocks, false, &start, &end);
    fclose(file);
    return ns;
}

/* A kernel that has the file and does not count says 0 of everything: that is no thread that never waited. */
static void a_kernel_that_does_not_count(void **state)
{
    (void)state;
    assert_true(look_by("12345678 0 9\n") >= 300000000);
    assert_true(look_by("12345678 290000000 9\n") == 0);
    assert_true(look_by("0 0 0\n") == 0);
    assert_true(look_by("no numbers\n") == 0);
}

int main(int argc, char **argv)
{
    char folder[] = STEPTOP_BINARY; /* the devices lie beside it */
    *strrchr(folder, '/') = 0;
    setenv("STEPTOP_PLUGIN_FOLDER", folder, 0);
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return worker_main(3, 4);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_real_run_adds_up),
        cmocka_unit_test(a_device_that_is_not_here),
        cmocka_unit_test(a_model_that_does_not_fit),
        cmocka_unit_test(runs_for_ever_until_stopped),
        cmocka_unit_test(stopped_time_is_no_work),
        cmocka_unit_test(stopped_time_is_no_timeout),
        cmocka_unit_test(a_front_that_slept_is_no_timeout),
        cmocka_unit_test(gaps),
        cmocka_unit_test(a_kernel_that_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
