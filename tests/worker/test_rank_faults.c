/* Runs of several ranks on the CPU by the real worker (this program is its own): they end well; a rank that is killed, at many
 * moments, ends the run with a status that names it; one that hangs does, too; and no process is left. */
#include "base/clock.h"
#include "base/unknown.h"
#include "report/build.h"
#include "tests/profiler/session_helpers.h"
#include "worker/worker.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define MOMENTS 50
#define APART_NS 12000000u

/* On cards, by hand: STEPTOP_TEST_DEVICE=cuda:0 names them, STEPTOP_TEST_MOMENTS and STEPTOP_TEST_APART_MS how many moments, how far apart. */
static int moments(void)
{
    const char *wanted = getenv("STEPTOP_TEST_MOMENTS");
    return wanted ? atoi(wanted) : MOMENTS;
}

static uint64_t apart_ns(void)
{
    const char *wanted = getenv("STEPTOP_TEST_APART_MS");
    return wanted ? (uint64_t)atoi(wanted) * 1000000 : APART_NS;
}

static struct cell ranks_cell(enum parallel parallel)
{
    struct cell cell = small_cell_of_ranks(2, parallel);
    if (getenv("STEPTOP_TEST_DEVICE"))
        snprintf(cell.device, sizeof cell.device, "%s", getenv("STEPTOP_TEST_DEVICE"));
    cell.compile = true;
    cell.passes |= PASS_BIT(PASS_FWD_BWD);
    return cell;
}

static bool any_alive(const pid_t *pids, int count)
{
    for (int i = 0; i < count; i++)
        if (pids[i] && kill(pids[i], 0) == 0)
            return true;
    return false;
}

/* A rank does one collective at a time, so what it waited and what it moved are together the time in which one ran. */
static void assert_wait_and_transfer_are_all(const struct run *run)
{
    struct report_cell report = {.requested = run->cell};
    cell_build_ranks(&report, run);
    assert_int_equal(report.rank_count, 2);
    for (size_t r = 0; r < 2; r++) {
        const struct report_rank *rank = &report.ranks[r];
        const double sum = rank->wait_ns + rank->transfer_ns;
        assert_true(rank->steps > 0);
        assert_true(run->cell.parallel == PARALLEL_NONE ? rank->communication_ns == 0 : rank->communication_ns > 0);
        if (!(sum >= rank->communication_ns - 1 && sum <= rank->communication_ns + 1))
            fail_msg("%s, rank %zu: wait %.0f + transfer %.0f is not communication, %.0f ns",
                     parallel_name(run->cell.parallel), r, rank->wait_ns, rank->transfer_ns, rank->communication_ns);
    }
    arena_release(&report.arena);
}

static void every_way_ends_well(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    for (int parallel = 0; parallel < PARALLEL_COUNT; parallel++) {
        const struct cell cell = ranks_cell((enum parallel)parallel);
        session_add(session, &cell);
    }
    assert_true(session_until(session, 100, session_idle, NULL));
    for (size_t i = 0; i < session_run_count(session); i++) {
        const struct run *run = session_run(session, i);
        if (run->status != STATUS_OK && run->status != STATUS_UNRELIABLE)
            fail_msg("%s: %s: %s", parallel_name(run->cell.parallel), status_name(run->status), run->reason);
        assert_int_equal(run->ranks.count, 2);
        for (size_t r = 0; r < 2; r++) {
            struct aggregate_counts counts;
            aggregate_counts(run_rank(run, r)->aggregate, &counts);
            assert_true(counts.records > 0);
            assert_int_equal(counts.invalid + counts.lost + counts.unattributed + run_rank(run, r)->dropped, 0);
        }
        /* In step: each rank began the same steps. */
        assert_int_equal(run_rank(run, 0)->samples.count, run_rank(run, 1)->samples.count);
        assert_wait_and_transfer_are_all(run);
    }
    session_free(session);
}

/* Runs for some µs, does `signal` to rank 1, and waits for the end. */
static void struck(uint64_t after_ns, int signal, const struct cell *cell, enum status *status, char *reason)
{
    struct session *session = session_of("/proc/self/exe", NULL);
    session_add(session, cell);
    pid_t pids[2] = {0};
    const uint64_t start = clock_now();
    bool done = false;
    while (!session_idle(session)) {
        struct pollfd fds[32];
        int timeout;
        const int count = session_poll(session, fds, 32, &timeout);
        poll(fds, (nfds_t)count, timeout < 0 || timeout > 5 ? 5 : timeout);
        session_step(session);
        const struct run *run = session_run(session, 0);
        for (size_t r = 0; r < 2; r++)
            if (run_rank(run, r) && run_rank(run, r)->process)
                pids[r] = run_rank(run, r)->process;
        if (!done && pids[1] && clock_now() - start > after_ns && run->status == STATUS_RUNNING) {
            kill(pids[1], signal);
            done = true;
        }
        assert_true(clock_now() - start < 60000000000u);
    }
    *status = session_run(session, 0)->status;
    snprintf(reason, 256, "%s", session_run(session, 0)->reason);
    session_free(session);
    assert_false(any_alive(pids, 2));
}

static void a_killed_rank_is_named(void **state)
{
    (void)state;
    struct cell cell = ranks_cell(PARALLEL_OVERLAP);
    cell.steps = STEPS_FOREVER;
    cell.passes = PASS_BIT(PASS_TRAIN_STEP);
    for (int moment = 0; moment < moments(); moment++) {
        enum status status;
        char reason[256];
        cell.parallel = (enum parallel)(1 + moment % (PARALLEL_COUNT - 1));
        struck((uint64_t)moment * apart_ns(), SIGKILL, &cell, &status, reason);
        if (status != STATUS_KILLED || strncmp(reason, "rank 1: ", 8) != 0)
            fail_msg("moment %d: %s: %s", moment, status_name(status), reason);
    }
}

/* In a worker: the thread that takes the signal does nothing any more. (One that is stopped by SIGSTOP does not hang: somebody
 * holds it, and the run's time with it.) */
static void hang(int signal)
{
    (void)signal;
    for (;;)
        pause();
}

/* Its run's time ends: both go. */
static void a_hung_rank_does_not_keep_the_others(void **state)
{
    (void)state;
    struct cell cell = ranks_cell(PARALLEL_NAIVE);
    cell.steps = STEPS_FOREVER;
    cell.timeout_s = 3;
    enum status status;
    char reason[256];
    struck(1000000000u, SIGUSR1, &cell, &status, reason);
    assert_int_equal(status, STATUS_TIMEOUT);
}

static bool rank_has_steps(const struct session *session)
{
    return run_lead(session_run(session, 0))->samples.count > 20;
}

static bool has_left_out(const struct session *session)
{
    return session_run(session, 0)->suspended.steps > 0;
}

static bool never(const struct session *session)
{
    (void)session;
    return false;
}

/* All ranks leave out the step in which one was stopped: the others waited in it. They do it again together, and end well. */
static void a_stopped_rank_is_in_nobodys_step(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = ranks_cell(PARALLEL_NAIVE);
    cell.steps = 400;
    cell.batch_size *= 16; /* most of the time is in steps */
    cell.passes = PASS_BIT(PASS_TRAIN_STEP);
    session_add(session, &cell);
    const struct run *run = session_run(session, 0);
    assert_true(session_until(session, 60, rank_has_steps, NULL));
    /* What this process sees is the end of a step, and between two steps a stop is in none: a little later, a different time each. */
    for (int stops = 0; stops < 8 && !run->suspended.steps && run_rank(run, 1)->process; stops++) {
        poll(NULL, 0, 2 + 3 * stops);
        kill(run_rank(run, 1)->process, SIGSTOP);
        session_until(session, 2, never, NULL);
        kill(run_rank(run, 1)->process, SIGCONT);
        session_until(session, 1, has_left_out, NULL);
    }
    assert_true(session_until(session, 100, session_idle, NULL));
    if (run->status != STATUS_OK && run->status != STATUS_UNRELIABLE)
        fail_msg("%s: %s", status_name(run->status), run->reason);
    assert_true(run->suspended.times >= 1 && run->suspended.steps >= 1);
    for (size_t r = 0; r < 2; r++) {
        const struct rank *rank = run_rank(run, r);
        for (size_t i = 0; i < rank->samples.count; i++)
            assert_true(rank->samples.items[i].wall_ns < 1900000000u);
        size_t entries;
        const struct entry *entry = aggregate_entries(rank->aggregate, &entries);
        for (size_t i = 0; i < entries; i++)
            assert_true(entry[i].time.n == 0 || entry[i].time.max < 1900000000u);
    }
    session_free(session);
}

/* One that goes on when the others have ended has all the time it needs. */
static void a_slow_rank_outlives_the_others(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = ranks_cell(PARALLEL_NONE);
    session_add(session, &cell);
    session_step(session);
    const struct run *run = session_run(session, 0);
    assert_true(run_rank(run, 1)->process > 0);
    kill(run_rank(run, 1)->process, SIGSTOP);
    session_until(session, 7, session_idle, NULL);
    assert_int_equal(run->status, STATUS_RUNNING);
    kill(run_rank(run, 1)->process, SIGCONT);
    assert_true(session_until(session, 100, session_idle, NULL));
    if (run->status != STATUS_OK && run->status != STATUS_UNRELIABLE)
        fail_msg("%s: %s", status_name(run->status), run->reason);
    session_free(session);
}

/* A cell on devices that are not there. */
static void a_card_too_few_is_a_sentence(void **state)
{
    (void)state;
    struct cell cell = ranks_cell(PARALLEL_NAIVE);
    enum status status;
    char reason[256];
    snprintf(cell.device, sizeof cell.device, "cuda:700");
    struck(UINT64_MAX, 0, &cell, &status, reason);
    assert_int_equal(status, STATUS_UNSUPPORTED);
    assert_non_null(strstr(reason, "rank "));
}

int main(int argc, char **argv)
{
    char folder[] = STEPTOP_BINARY; /* the devices lie beside it */
    *strrchr(folder, '/') = 0;
    setenv("STEPTOP_PLUGIN_FOLDER", folder, 0);
    if (argc > 1 && strcmp(argv[1], "worker") == 0) {
        signal(SIGUSR1, hang);
        return worker_main(3, 4);
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_ends_well),
        cmocka_unit_test(a_killed_rank_is_named),
        cmocka_unit_test(a_hung_rank_does_not_keep_the_others),
        cmocka_unit_test(a_stopped_rank_is_in_nobodys_step),
        cmocka_unit_test(a_slow_rank_outlives_the_others),
        cmocka_unit_test(a_card_too_few_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
