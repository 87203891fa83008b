/* Sessions against workers of every kind: this program is its own worker. The cell's model name says how it behaves;
 * "tiny" is the real one. */
#include "base/unknown.h"
#include "profiler/log.h"
#include "profiler/protocol.h"
#include "profiler/ring.h"
#include "tests/profiler/session_helpers.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the worker's side ---- */

static void send_raw(const void *bytes, size_t length)
{
    while (length) {
        const ssize_t sent = send(3, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            _exit(9);
        bytes = (const char *)bytes + sent;
        length -= (size_t)sent;
    }
}

static void say(uint32_t type, const void *payload, size_t length)
{
    const struct message_header header = {type, (uint32_t)length};
    send_raw(&header, sizeof header);
    send_raw(payload, length);
}

static void say_end(uint32_t status, const char *reason)
{
    char bytes[256] = {0};
    memcpy(bytes, &status, sizeof status);
    memcpy(bytes + 4, reason, strlen(reason));
    say(MESSAGE_END, bytes, 4 + strlen(reason) + 1);
}

static struct cell received_cell(void)
{
    struct {
        struct message_header header;
        struct message_cell message;
    } cell;
    for (size_t got = 0; got < sizeof cell;) {
        const ssize_t part = recv(3, (char *)&cell + got, sizeof cell - got, 0);
        if (part <= 0)
            _exit(9);
        got += (size_t)part;
    }
    return cell.message.cell;
}

static uint64_t plan_digest_of(const struct cell *cell)
{
    struct plan_request request;
    struct plan_result result;
    struct error error = {0};
    struct cell real = *cell;
    struct model_config tiny;
    model_preset_find("tiny", &tiny, &error);
    memcpy(real.model.name, cell->model.name, sizeof real.model.name);
    cell_plan_request(&real, 0, &request);
    struct plan *plan = plan_build(&request, &result, &error);
    const uint64_t digest = plan ? plan->digest : 0;
    plan_free(plan);
    return digest;
}

static struct record some_record(uint32_t i)
{
    return (struct record){.start = 1000 + i * 10ull,
                           .end = 1005 + i * 10ull,
                           .launch = 1000 + i * 10ull,
                           .node = -1,
                           .scope = -1,
                           .name = 0,
                           .step = 1,
                           .pass = PASS_FWD};
}

static void push_many(struct ring *ring, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct record record = some_record(i);
        ring_push(ring, &record);
    }
}

static void crash_with(int number)
{
    signal(number, SIG_DFL); /* a sanitizer's own handler would tell another story */
    kill(getpid(), number);
    pause();
}

static void say_name(uint32_t id, const char *name)
{
    char bytes[600];
    memcpy(bytes, &id, sizeof id);
    memcpy(bytes + 4, name, strlen(name) + 1);
    say(MESSAGE_NAME, bytes, 4 + strlen(name) + 1);
}

static void behave_well(struct ring *ring, const struct cell *cell)
{
    struct device_info info = {.name = "fake:0", .model = "A \x1b[31mfake", .units = 3};
    memset(info.driver, 'd', sizeof info.driver); /* without an end */
    say(MESSAGE_DEVICE, &info, sizeof info);
    const struct message_plan plan = {.digest = plan_digest_of(cell)};
    say(MESSAGE_PLAN, &plan, sizeof plan);
    say_name(0, "kernel\tone\x1b[2J");
    say(MESSAGE_NOTE, "counter tier\0none", 18);
    say(MESSAGE_NOTE, "counter tier\0clock only", 24);
    say(MESSAGE_ACTIVITY, "fwd 1/1", 7);
    const struct sample sample = {.pass = PASS_FWD, .kind = STEP_TIMED, .start = 1, .wall_ns = 77};
    say(MESSAGE_SAMPLE, &sample, sizeof sample);
    say(MESSAGE_MEMORY, &(struct message_memory){10, 20}, sizeof(struct message_memory));
    say(MESSAGE_CEILINGS, &(struct message_ceilings){1e9, NAN}, sizeof(struct message_ceilings));
    push_many(ring, 1000);
    printf("to the output\n");
    fflush(stdout);
    fprintf(stderr, "to the errors, without an end");
    fflush(stderr);
    say_end(STATUS_OK, "");
}

static int fake_worker(const char *way, const struct cell *cell)
{
    struct error error = {0};
    struct ring *ring = ring_attach(4, &error);
    if (!ring)
        return 8;
    if (strcmp(way, "well") == 0) {
        behave_well(ring, cell);
    } else if (strcmp(way, "garbage") == 0) {
        char bytes[5000];
        memset(bytes, 0xa5, sizeof bytes);
        send_raw(bytes, sizeof bytes);
        pause();
    } else if (strcmp(way, "long") == 0) {
        say(MESSAGE_NOTE, NULL, 0);
        pause();
    } else if (strcmp(way, "sample") == 0) {
        const struct sample sample = {.pass = 200, .kind = STEP_TIMED};
        say(MESSAGE_SAMPLE, &sample, sizeof sample);
        pause();
    } else if (strcmp(way, "pass") == 0) {
        const struct sample sample = {.pass = PASS_TRAIN_STEP, .kind = STEP_TIMED};
        say(MESSAGE_SAMPLE, &sample, sizeof sample);
        pause();
    } else if (strcmp(way, "digest") == 0) {
        say(MESSAGE_PLAN, &(struct message_plan){.digest = 1}, sizeof(struct message_plan));
        pause();
    } else if (strcmp(way, "fusions") == 0) {
        say(MESSAGE_PLAN, &(struct message_plan){.digest = 1, .fusions = ~0u}, sizeof(struct message_plan));
        pause();
    } else if (strcmp(way, "status") == 0) {
        say_end(99, "");
        pause();
    } else if (strcmp(way, "running") == 0) {
        say_end(STATUS_RUNNING, "");
        pause();
    } else if (strcmp(way, "rename") == 0) {
        say_name(1, "one");
        say_name(1, "two");
        pause();
    } else if (strcmp(way, "record") == 0) {
        const struct record record = some_record(0);
        say(MESSAGE_RECORDS, &record, sizeof record); /* a recording's frame, not a worker's */
        pause();
    } else if (strcmp(way, "half") == 0) {
        const struct message_header header = {MESSAGE_SAMPLE, sizeof(struct sample)};
        send_raw(&header, sizeof header);
        return 0;
    } else if (strcmp(way, "oom") == 0) {
        say_end(STATUS_OOM, "needs 9 | has 3");
        return 1;
    } else if (strcmp(way, "exit") == 0) {
        fprintf(stderr, "first\nno such luck\n");
        return 3;
    } else if (strcmp(way, "segv") == 0) {
        push_many(ring, 10);
        crash_with(SIGSEGV);
    } else if (strcmp(way, "kill") == 0) {
        crash_with(SIGKILL);
    } else if (strcmp(way, "term") == 0) {
        crash_with(SIGTERM);
    } else if (strcmp(way, "abort") == 0) {
        fprintf(stderr, "steptop: out of memory: 7 items of 8 bytes\n");
        crash_with(SIGABRT);
    } else if (strcmp(way, "deaf") == 0) {
        say(MESSAGE_ACTIVITY, "deaf", 4);
        push_many(ring, 5);
        for (;;)
            pause();
    } else if (strcmp(way, "flood") == 0) {
        push_many(ring, 1 << 20);
        say_end(STATUS_OK, "");
    } else if (strcmp(way, "lie") == 0) {
        unsigned char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 4, 0);
        for (int i = 0; i < 2000; i++) {
            memset(shared, i * 37, 4096);
            usleep(20);
        }
        say_end(STATUS_OK, "");
    } else if (strcmp(way, "print") == 0) {
        for (int i = 0; i < 30000; i++)
            printf("line %d\n", i);
        for (int i = 0; i < 200000; i++)
            putchar('x');
        printf("\nthe \x1b[1mlast\r\n");
        fflush(stdout);
        say_end(STATUS_OK, "");
    } else if (strcmp(way, "child") == 0) {
        if (fork() == 0) {
            close(3);
            for (;;)
                pause(); /* holds the pipes */
        }
        say_end(STATUS_OK, "");
    } else if (strcmp(way, "samples") == 0) {
        for (uint32_t i = 0; i < 50000; i++) {
            const struct sample sample = {.pass = PASS_FWD, .kind = STEP_TIMED, .step = i, .wall_ns = 1000 + i};
            say(MESSAGE_SAMPLE, &sample, sizeof sample);
        }
        say_end(STATUS_OK, "");
    } else if (strcmp(way, "unreliable") == 0) {
        for (uint32_t i = 0; i < 9; i++) {
            struct sample sample = {.pass = PASS_FWD, .kind = STEP_TIMED, .step = i, .wall_ns = 1000};
            sample.phase_ns[PHASE_BWD] = i % 3 == 0 ? 1000 : i % 3 == 1 ? 100000 : 50;
            say(MESSAGE_SAMPLE, &sample, sizeof sample);
        }
        say_end(STATUS_OK, "");
    } else {
        return 7;
    }
    ring_close(ring);
    return 0;
}

/* ---- the tests ---- */

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
    assert_string_equal(run->device.name, "fake:0");
    assert_string_equal(run->device.model, "A ?[31mfake"); /* no escape gets through */
    assert_int_equal(strlen(run->device.driver), sizeof run->device.driver - 1);
    assert_non_null(run->plan);
    assert_int_equal(run->notes.count, 1);
    assert_string_equal(run->notes.items[0].text, "clock only");
    assert_string_equal(aggregate_name_text(run->aggregate, 0), "kernel one?[2J");
    assert_int_equal(run->samples.count, 1);
    assert_int_equal(run->samples.items[0].wall_ns, 77);
    assert_int_equal(run->resident_peak, 20);
    assert_true(run->ceiling_flops_per_s == 1e9);
    assert_false(is_known(run->ceiling_bytes_per_s));
    struct aggregate_counts counts;
    aggregate_counts(run->aggregate, &counts);
    assert_int_equal(counts.records, 1000);
    assert_int_equal(counts.lost + counts.invalid, 0);
    assert_int_equal(session_log_count(session), 2);
    bool out = false, err = false;
    for (size_t i = 0; i < 2; i++) {
        const struct log_line *line = session_log(session, i);
        out |= !line->is_error && strcmp(line->text, "to the output") == 0;
        err |= line->is_error && strcmp(line->text, "to the errors, without an end") == 0;
    }
    assert_true(out && err);
    assert_int_equal(run->worker, 0);
    assert_true(run->ended > run->started);
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
        {"digest", STATUS_ERROR, "not the one"},
        {"fusions", STATUS_ERROR, ""},
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
        {"abort", STATUS_OOM, "out of memory: 7 items"},
        {"unreliable", STATUS_UNRELIABLE, "bwd of fwd"},
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
    aggregate_counts(session_run(session, 0)->aggregate, &counts);
    return strcmp(session_run(session, 0)->activity, "deaf") == 0 && counts.records == 5;
}

static void stops_a_deaf_worker(void **state)
{
    (void)state;
    struct session *session = session_of("/proc/self/exe", NULL);
    const struct cell deaf = cell_of("deaf"), well = cell_of("well");
    const uint32_t first = session_add(session, &deaf), second = session_add(session, &well);
    assert_true(session_until(session, 10, is_deaf, NULL));
    const pid_t worker = session_find(session, first)->worker;
    assert_true(worker > 0);
    const uint64_t start = clock_now();
    session_stop(session, first);
    session_stop(session, second); /* still queued */
    assert_true(session_until(session, 10, session_idle, NULL));
    assert_true(clock_now() - start < 3000000000u);
    const struct run *run = session_find(session, first);
    assert_int_equal(run->status, STATUS_INTERRUPTED);
    struct aggregate_counts counts;
    aggregate_counts(run->aggregate, &counts);
    assert_int_equal(counts.records, 5); /* what was there is kept */
    assert_int_equal(session_find(session, second)->status, STATUS_INTERRUPTED);
    assert_int_equal(kill(worker, 0), -1);
    assert_int_equal(errno, ESRCH);
    session_free(session);
}

/* With skip_larger, a run that was out of memory takes with it what is queued on its device and plans no less. */
static void larger_runs_are_skipped(void **state)
{
    (void)state;
    for (int wanted = 0; wanted < 2; wanted++) {
        struct error error = {0};
        const struct session_options options = {.program = "/proc/self/exe", .skip_larger = wanted};
        struct session *session = session_create(&options, &error);
        assert_non_null(session);
        const struct cell oom = cell_of("oom"), well = cell_of("well");
        struct cell elsewhere = well;
        snprintf(elsewhere.device, sizeof elsewhere.device, "cpu:1");
        session_plan(session, session_add(session, &oom), 100 << 20);
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
    const pid_t worker = session_find(session, id)->worker;
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
    aggregate_counts(run->aggregate, &counts);
    assert_int_equal(counts.records + run->dropped, 1 << 20);
    assert_true(counts.lost <= run->dropped);
    assert_int_equal(counts.invalid, 0);
    assert_true(run->dropped > 0);
    session_free(session);
}

static void a_lying_ring(void **state)
{
    (void)state;
    struct session *session;
    const struct run *run = run_of(&session, "lie", NULL);
    assert_int_equal(run->status, STATUS_OK);
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
    assert_string_equal(session_log(session, count - 1)->text, "the ?[1mlast");
    assert_int_equal(strlen(session_log(session, count - 2)->text), LOG_LINE_MAX);
    assert_string_equal(session_log(session, count - 3)->text, "line 29999");
    assert_string_equal(session_log(session, 0)->text, "line 20002");
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
    assert_in_range(run->samples.count, 4096, 8192);
    assert_int_equal(run->samples.items[run->samples.count - 1].step, 49999);
    for (size_t i = 1; i < run->samples.count; i++)
        assert_int_equal(run->samples.items[i].step, run->samples.items[i - 1].step + 1);
    session_free(session);
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
        aggregate_counts(session_run(sessions[i], 0)->aggregate, &counts);
        assert_int_equal(counts.records, 1000);
        session_free(sessions[i]);
    }
}

/* ---- the real worker, on `tiny` ---- */

static void a_real_run_adds_up(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* the worker's libgomp is not instrumented: its barriers would be taken for races */
#endif
    struct session *session = session_of("/proc/self/exe", NULL);
    const struct cell cell = tiny_cell();
    session_add(session, &cell);
    assert_true(session_until(session, 60, session_idle, NULL));
    const struct run *run = session_run(session, 0);
    if (run->status != STATUS_OK)
        fail_msg("%s: %s", status_name(run->status), run->reason);
    struct aggregate_counts counts;
    aggregate_counts(run->aggregate, &counts);
    assert_int_equal(counts.invalid + counts.lost + counts.unattributed + run->dropped, 0);
    assert_true(counts.records > 0);

    size_t entry_count;
    const struct entry *entries = aggregate_entries(run->aggregate, &entry_count);
    static struct record recent[1 << 16];
    const size_t recent_count = aggregate_recent(run->aggregate, recent, 1 << 16);
    for (int pass = PASS_FWD; pass <= PASS_FWD_BWD; pass++) {
        struct step_cover cover;
        aggregate_cover(run->aggregate, pass, &cover);
        assert_int_equal(cover.steps, 3);
        uint64_t wall = 0, kernels = 0, idle = 0, timed = 0, warm = 0;
        for (size_t i = 0; i < run->samples.count; i++) {
            const struct sample *sample = &run->samples.items[i];
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
        for (int phase = 0; phase < PHASE_COUNT; phase++)
            if (pass_phases((enum pass)pass) & PHASE_BIT(phase))
                nodes += (uint64_t)(run->plan->phase_first[phase + 1] - run->plan->phase_first[phase]);
        assert_int_equal(calls, 3 * nodes);
        assert_int_equal(kernels, cover.sum_ns);
        assert_int_equal(cover.busy_ns, cover.sum_ns); /* one stream */
        const double total = (double)(cover.busy_ns + idle);
        assert_true(total > 0.99 * (double)wall && total < 1.01 * (double)wall);
    }
    assert_true(run->resident_peak > run->resident_base);
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
    return session_run(session, 0)->samples.count > 8;
}

static void runs_for_ever_until_stopped(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* the worker's libgomp is not instrumented: its barriers would be taken for races */
#endif
    struct session *session = session_of("/proc/self/exe", NULL);
    struct cell cell = tiny_cell();
    cell.steps = STEPS_FOREVER;
    const uint32_t id = session_add(session, &cell);
    assert_true(session_until(session, 60, has_steps, NULL));
    unsigned passes = 0; /* they take turns */
    for (size_t i = 0; i < session_run(session, 0)->samples.count; i++)
        if (session_run(session, 0)->samples.items[i].kind == STEP_TIMED)
            passes |= PASS_BIT(session_run(session, 0)->samples.items[i].pass);
    assert_int_equal(passes, cell.passes);
    session_stop(session, id);
    assert_true(session_until(session, 10, session_idle, NULL));
    assert_int_equal(session_run(session, 0)->status, STATUS_INTERRUPTED);
    session_free(session);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "worker") == 0) {
        unsigned char peeked[sizeof(struct message_header) + sizeof(struct message_cell)];
        struct message_cell message;
        if (recv(3, peeked, sizeof peeked, MSG_PEEK | MSG_WAITALL) != (ssize_t)sizeof peeked)
            return 9;
        memcpy(&message, peeked + sizeof(struct message_header), sizeof message);
        struct model_config preset;
        struct error error = {0};
        if (model_preset_find(message.cell.model.name, &preset, &error))
            return worker_main(3, 4);
        const struct cell cell = received_cell();
        const int code = fake_worker(cell.model.name, &cell);
        fflush(NULL);
        _exit(code); /* some ways leave in the middle, which is not a leak to report */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_worker),
        cmocka_unit_test(bad_workers),
        cmocka_unit_test(a_program_that_is_not_there),
        cmocka_unit_test(stops_a_deaf_worker),
        cmocka_unit_test(larger_runs_are_skipped),
        cmocka_unit_test(times_out),
        cmocka_unit_test(free_ends_the_worker),
        cmocka_unit_test(removes_runs),
        cmocka_unit_test(loss_is_counted),
        cmocka_unit_test(a_lying_ring),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(a_grandchild_does_not_hold_the_run),
        cmocka_unit_test(samples_are_bounded),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(two_sessions_at_once),
        cmocka_unit_test(a_real_run_adds_up),
        cmocka_unit_test(a_device_that_is_not_here),
        cmocka_unit_test(a_model_that_does_not_fit),
        cmocka_unit_test(runs_for_ever_until_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
