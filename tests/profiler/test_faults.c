/* The real program and its real worker, killed, stopped and starved: a status, a reason, what was measured until then, and
 * nothing left behind. */
#include "base/system.h"
#include "tests/profiler/session_helpers.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* To the worker of a run that goes on. A run that has ended has worker 0, and kill(0, …) would be for the test's own group. */
static void signal_worker(const struct run *run, int number)
{
    if (run_lead(run)->process <= 0)
        fail_msg("there is no worker: %s: %s", status_name(run->status), run->reason);
    assert_int_equal(kill(run_lead(run)->process, number), 0);
}

static struct cell endless_cell(void)
{
    struct cell cell = tiny_cell();
    cell.steps = STEPS_FOREVER;
    return cell;
}

static bool has_profiled(const struct session *session)
{
    const struct run *run = session_run(session, session_run_count(session) - 1);
    for (size_t i = 0; i < run_lead(run)->samples.count; i++)
        if (run_lead(run)->samples.items[i].kind == STEP_PROFILED)
            return true;
    return session_idle(session);
}

/* Sends `number` to the worker of a running cell in the middle of its steps. */
static void kill_with(int number, enum status status, const char *reason)
{
    struct session *session = session_of(STEPTOP_BINARY, NULL);
    const struct cell cell = endless_cell();
    const uint32_t id = session_add(session, &cell);
    assert_true(session_until(session, 60, has_profiled, NULL));
    const pid_t worker = run_lead(session_find(session, id))->process;
    assert_true(worker > 0);
    assert_int_equal(kill(worker, number), 0);
    uint64_t longest = 0;
    assert_true(session_until(session, 20, session_idle, &longest));
    const struct run *run = session_find(session, id);
    if (run->status != status || !strstr(run->reason, reason))
        fail_msg("%s: %s", status_name(run->status), run->reason);
    struct aggregate_counts counts;
    aggregate_counts(run_lead(run)->aggregate, &counts);
    assert_true(counts.records > 0 && counts.invalid == 0);
    assert_int_equal(kill(worker, 0), -1);
    /* and the session goes on */
    struct cell next = tiny_cell();
    next.passes = PASS_BIT(PASS_FWD);
    next.steps = 1;
    session_add(session, &next);
    assert_true(session_until(session, 60, session_idle, NULL));
    assert_int_equal(session_run(session, 1)->status, STATUS_OK);
    session_free(session);
}

static void killed(void **state)
{
    (void)state;
    kill_with(SIGKILL, STATUS_KILLED, "SIGKILL");
}

static void crashed(void **state)
{
    (void)state;
    kill_with(SIGABRT, STATUS_ERROR, "SIGABRT"); /* a sanitizer would make an exit of SIGSEGV */
}

static bool is_running(const struct session *session)
{
    return run_lead(session_run(session, 0))->process > 0;
}

static volatile double waited;
static uint64_t wait_from;
static bool waited_long_enough(const struct session *session)
{
    return session_idle(session) || (double)(clock_now() - wait_from) / 1e9 > waited;
}

/* Killed at any moment: while it opens, plans, measures ceilings, prepares, initialises, steps. */
static void killed_at_any_moment(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        struct session *session = session_of(STEPTOP_BINARY, NULL);
        const struct cell cell = endless_cell();
        session_add(session, &cell);
        assert_true(session_until(session, 10, is_running, NULL));
        waited = 0.03 * i;
        wait_from = clock_now();
        session_until(session, 10, waited_long_enough, NULL);
        const pid_t worker = run_lead(session_run(session, 0))->process;
        assert_true(worker > 0);
        kill(worker, SIGKILL);
        assert_true(session_until(session, 20, session_idle, NULL));
        assert_int_equal(session_run(session, 0)->status, STATUS_KILLED);
        session_free(session);
    }
}

static const char *phase_wanted;
static bool phase_reached(const struct session *session)
{
    return session_idle(session) || strstr(session_run(session, 0)->activity, phase_wanted);
}

/* Killed as soon as it says that it is in a phase. The first two are over within a millisecond, so that the kill may come in the
 * one after; the name is then the latest heard. */
static void killed_in_every_phase(void **state)
{
    (void)state;
    static const char *const phases[] = {"starting",
                                         "measuring the device's ceilings",
                                         "preparing",
                                         "initialising the weights",
                                         "fwd_bwd warm-up",
                                         "fwd_bwd 1/100000",
                                         "fwd_bwd 1/100000 profiled"};
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        struct session *session = session_of(STEPTOP_BINARY, NULL);
        struct cell cell = tiny_cell();
        cell.batch_size = 8; /* long enough that the front sees each of its phases */
        cell.context_length = 128;
        cell.steps = 100000; /* and that it does not end before the signal comes */
        cell.passes = PASS_BIT(PASS_FWD_BWD);
        session_add(session, &cell);
        phase_wanted = phases[i];
        assert_true(session_until(session, 60, phase_reached, NULL));
        const struct run *run = session_run(session, 0);
        if (run->status != STATUS_RUNNING)
            fail_msg("%s was never seen; %s: %s", phases[i], status_name(run->status), run->reason);
        signal_worker(run, SIGKILL);
        assert_true(session_until(session, 20, session_idle, NULL));
        assert_int_equal(run->status, STATUS_KILLED);
        assert_int_equal(run_lead(run)->process, 0);
        session_free(session);
    }
}

/* A stopped worker holds nobody up: calls stay short, the screen says what is going on, and it goes on afterwards. */
static void stopped_for_a_while(void **state)
{
    (void)state;
    struct session *session = session_of(STEPTOP_BINARY, NULL);
    const struct cell cell = endless_cell();
    session_add(session, &cell);
    assert_true(session_until(session, 60, has_profiled, NULL));
    const struct run *run = session_run(session, 0);
    signal_worker(run, SIGSTOP);
    const char *seconds = getenv("STEPTOP_TEST_STOP_SECONDS");
    waited = seconds ? atof(seconds) : 1.5;
    wait_from = clock_now();
    uint64_t longest = 0;
    session_until(session, 60, waited_long_enough, &longest);
    assert_non_null(strstr(run->activity, "stopped by a signal"));
    assert_int_equal(run->status, STATUS_RUNNING);
    const size_t before = run_lead(run)->samples.count;
    signal_worker(run, SIGCONT);
    waited = 20;
    wait_from = clock_now();
    while (run_lead(run)->samples.count <= before + 2 && !waited_long_enough(session)) {
        session_step(session);
        usleep(10000);
    }
    assert_true(run_lead(run)->samples.count > before + 2);
    assert_null(strstr(run->activity, "stopped by a signal"));
    /* a stopped worker can be ended too */
    signal_worker(run, SIGSTOP);
    session_stop(session, run->id);
    assert_true(session_until(session, 20, session_idle, NULL));
    assert_int_equal(run->status, STATUS_INTERRUPTED);
    session_free(session);
}

static size_t shared_memory_objects(void)
{
    size_t count = 0;
    DIR *folder = opendir("/dev/shm");
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        count += strncmp(entry->d_name, "steptop", 7) == 0;
    if (folder)
        closedir(folder);
    return count;
}

/* The front is killed: its worker is gone within a second, and with it the ring; also one that cannot notice by itself. */
static void kill_the_front(bool stopped)
{
    int report[2];
    assert_int_equal(pipe(report), 0);
    const pid_t front = fork();
    if (front == 0) {
        struct session *session = session_of(STEPTOP_BINARY, NULL);
        const struct cell cell = endless_cell();
        session_add(session, &cell);
        session_until(session, 60, has_profiled, NULL);
        const pid_t worker = run_lead(session_run(session, 0))->process;
        if (write(report[1], &worker, sizeof worker) != sizeof worker)
            _exit(1);
        session_until(session, 600, session_idle, NULL);
        _exit(0);
    }
    pid_t worker = 0;
    assert_int_equal(read(report[0], &worker, sizeof worker), sizeof worker);
    assert_true(worker > 0);
    assert_int_equal(kill(worker, stopped ? SIGSTOP : 0), 0);
    kill(front, SIGKILL);
    int status;
    assert_int_equal(waitpid(front, &status, 0), front);
    bool gone = false;
    for (int i = 0; i < 100 && !gone; i++) {
        char path[64], line[256] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", (int)worker);
        FILE *file = fopen(path, "re");
        if (file) {
            if (!fgets(line, sizeof line, file))
                line[0] = 0;
            fclose(file);
        }
        const char *after = strrchr(line, ')'); /* a zombie waits for its new parent alone; its memory is gone */
        gone = !after || after[2] == 'Z' || after[2] == 'X';
        usleep(10000);
    }
    assert_true(gone);
    assert_int_equal(shared_memory_objects(), 0);
    close(report[0]);
    close(report[1]);
}

static void the_front_is_killed(void **state)
{
    (void)state;
    kill_the_front(false);
#ifdef SYSTEM_LINUX /* elsewhere a stopped process notices when it is continued */
    kill_the_front(true);
#endif
}

/* Less address space than the plan needs: oom with numbers, and the session lives. */
static void too_little_address_space(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* its shadow alone is larger than any limit */
#endif
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    struct session *session = session_of(STEPTOP_BINARY, NULL);
    struct cell cell = tiny_cell();
    cell.batch_size = 64;
    cell.context_length = 256;
    session_add(session, &cell);
    limit = (struct rlimit){(rlim_t)900 << 20, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    const bool ended = session_until(session, 60, session_idle, NULL);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_true(ended);
    const struct run *run = session_run(session, 0);
    if (run->status != STATUS_OOM)
        fail_msg("%s: %s", status_name(run->status), run->reason);
    assert_true(strlen(run->reason) > 10);
    session_free(session);
}

static void two_sessions_run_at_once(void **state)
{
    (void)state;
    struct session *sessions[2];
    for (int i = 0; i < 2; i++) {
        sessions[i] = session_of(STEPTOP_BINARY, NULL);
        struct cell cell = tiny_cell();
        cell.passes = PASS_BIT(PASS_FWD);
        session_add(sessions[i], &cell);
    }
    const uint64_t end = clock_now() + 60000000000u;
    while (clock_now() < end && !(session_idle(sessions[0]) && session_idle(sessions[1]))) {
        session_step(sessions[0]);
        session_step(sessions[1]);
        usleep(5000);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(session_run(sessions[i], 0)->status, STATUS_OK);
        session_free(sessions[i]);
    }
}

static size_t descriptors(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

static size_t resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long size = 0, resident = 0;
    if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
        fail();
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* Run after run in one session, each removed when it is done: neither memory nor descriptors grow. */
static void many_runs_in_a_row(void **state)
{
    (void)state;
    const char *wanted = getenv("STEPTOP_TEST_RUNS");
    const int runs = wanted ? atoi(wanted) : 15, settled = runs / 3;
    struct session *session = session_of(STEPTOP_BINARY, NULL);
    struct cell cell = tiny_cell();
    cell.passes = PASS_BIT(PASS_FWD);
    cell.warmup = 0;
    cell.steps = 1;
    cell.context_length = 8;
    size_t files = 0, memory = 0;
    for (int i = 0; i < runs; i++) {
        const uint32_t id = session_add(session, &cell);
        assert_true(session_until(session, 60, session_idle, NULL));
        assert_int_equal(session_find(session, id)->status, STATUS_OK);
        session_remove(session, id);
        if (i == settled) {
            files = descriptors();
            memory = resident_kib();
        }
    }
    assert_int_equal(descriptors(), files);
    print_message("%d runs: resident %zu KiB, after run %d %zu KiB\n", runs, resident_kib(), settled, memory);
    assert_true(resident_kib() < memory + 4096);
    session_free(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed),
        cmocka_unit_test(crashed),
        cmocka_unit_test(killed_at_any_moment),
        cmocka_unit_test(killed_in_every_phase),
        cmocka_unit_test(stopped_for_a_while),
        cmocka_unit_test(the_front_is_killed),
        cmocka_unit_test(too_little_address_space),
        cmocka_unit_test(two_sessions_run_at_once),
        cmocka_unit_test(many_runs_in_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
