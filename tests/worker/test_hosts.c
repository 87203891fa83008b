/* Ranks of several hosts, as processes of this one that join over its loopback: the real front, joiners, stand-ins and workers (this
 * program is all of them). Runs end well and say the same as on one host; who is no rank of theirs stays outside; whoever dies, or
 * does not come, is named; nobody is left behind. */
#include "base/net.h"
#include "base/processors.h"
#include "base/unknown.h"
#include "profiler/hosts.h"
#include "profiler/joiner.h"
#include "profiler/process.h"
#include "profiler/ring.h"
#include "profiler/stand_in.h"
#include "report/build.h"
#include "tests/profiler/session_helpers.h"
#include "worker/worker.h"
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORLD_MAX 3

struct team {
    struct session *session;
    struct launcher launcher;
    pid_t joiners[WORLD_MAX];
    int says[WORLD_MAX]; /* what each said at its end: "", or its error */
};

static struct launcher launcher_of(int world)
{
    struct launcher launcher = {
        .name = "test", .world = world, .local_world = world, .host = "127.0.0.1", .token = "a token"};
    struct error error = {0};
    struct net_address address;
    const int fd = net_listen("127.0.0.1", 0, &error); /* a port that is free */
    assert_true(fd >= 0 && net_own(fd, &address));
    launcher.port = address.port;
    close(fd);
    return launcher;
}

static void joiner_start(struct team *team, int rank, const char *token)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    team->joiners[rank] = fork();
    assert_true(team->joiners[rank] >= 0);
    if (team->joiners[rank] == 0) {
        struct launcher launcher = team->launcher;
        launcher.rank = launcher.local = rank;
        snprintf(launcher.token, sizeof launcher.token, "%s", token);
        const struct joiner_options options = {
            .launcher = &launcher, .program = "/proc/self/exe", .ring_records = 1u << 14, .wait_ns = 10000000000u};
        struct error error = {0};
        int number = 0;
        const bool ok = joiner_run(&options, &number, &error);
        if (!ok && write(ends[1], error.text, strlen(error.text)) < 0)
            _exit(2);
        _exit(ok ? 0 : 1);
    }
    close(ends[1]);
    team->says[rank] = ends[0];
}

/* Its exit code, and what it said. */
static int joiner_end(struct team *team, int rank, char *said, size_t size)
{
    int status = -1;
    const ssize_t got = read(team->says[rank], said, size - 1);
    said[got > 0 ? got : 0] = 0;
    close(team->says[rank]);
    assert_int_equal(waitpid(team->joiners[rank], &status, 0), team->joiners[rank]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void team_open(struct team *team, int world, uint64_t join_ns)
{
    struct error error = {0};
    *team = (struct team){.launcher = launcher_of(world)};
    const struct session_options options = {
        .program = "/proc/self/exe", .ring_records = 1u << 14, .launcher = &team->launcher, .join_ns = join_ns};
    team->session = session_create(&options, &error);
    if (!team->session)
        fail_msg("%s", error.text);
}

/* All joiners say goodbye. */
static void team_close(struct team *team)
{
    session_free(team->session);
    for (int rank = 1; rank < team->launcher.world; rank++) {
        char said[512];
        const int code = joiner_end(team, rank, said, sizeof said);
        if (code)
            fail_msg("joiner %d: %d: %s", rank, code, said);
    }
}

static void assert_good(const struct run *run)
{
    if (run->status != STATUS_OK && run->status != STATUS_UNRELIABLE)
        fail_msg("%s: %s: %s", parallel_name(run->cell.parallel), status_name(run->status), run->reason);
    struct report_cell report = {.requested = run->cell};
    cell_build_ranks(&report, run);
    assert_int_equal(report.rank_count, run->cell.ranks);
    for (int32_t r = 0; r < run->cell.ranks; r++) {
        const struct report_rank *rank = &report.ranks[r];
        struct aggregate_counts counts;
        aggregate_counts(run_rank(run, (size_t)r)->aggregate, &counts);
        assert_true(counts.records > 0);
        assert_int_equal(counts.invalid + counts.lost + counts.unattributed + run_rank(run, (size_t)r)->dropped, 0);
        assert_int_equal(run_rank(run, (size_t)r)->samples.count, run_lead(run)->samples.count);
        const double sum = rank->wait_ns + rank->transfer_ns;
        assert_true(rank->steps > 0 && rank->communication_ns > 0);
        char key[32];
        snprintf(key, sizeof key, "clock of rank %d", r);
        bool noted = false;
        double within =
            1; /* ns. Where two collectives are turned by two answers, they may overlap by what both are wrong by */
        for (size_t n = 0; n < run->notes.count; n++) {
            if (strcmp(run->notes.items[n].key, key) != 0)
                continue;
            const char *wrong = strstr(run->notes.items[n].text, "wrong by ");
            assert_non_null(wrong);
            within += 2 * 1000 * strtod(wrong + strlen("wrong by "), NULL);
            noted = true;
        }
        assert_int_equal(noted, r > 0);
        if (!(fabs(sum - rank->communication_ns) <= within))
            fail_msg("wait %.0f + transfer %.0f is not %.0f ns", rank->wait_ns, rank->transfer_ns,
                     rank->communication_ns);
    }
    arena_release(&report.arena);
}

/* Several runs, one connection: each rank keeps its place. */
static void every_run_ends_well(void **state)
{
    (void)state;
    struct team team;
    team_open(&team, 3, 0);
    for (int rank = 1; rank < 3; rank++)
        joiner_start(&team, rank, team.launcher.token);
    const enum parallel ways[] = {PARALLEL_NAIVE, PARALLEL_BUCKET, PARALLEL_FSDP};
    for (int i = 0; i < 3; i++) {
        const struct cell cell = small_cell_of_ranks(3, ways[i]);
        session_add(team.session, &cell);
    }
    const struct cell alone = small_cell_of_ranks(2, PARALLEL_NAIVE); /* as many as there are not */
    session_add(team.session, &alone);
    assert_true(session_until(team.session, 100, session_idle, NULL));
    for (size_t i = 0; i < 3; i++)
        assert_good(session_run(team.session, i));
    assert_int_equal(session_run(team.session, 3)->status, STATUS_UNSUPPORTED);
    assert_string_equal(session_run(team.session, 3)->reason, "2 ranks are asked for, and the launcher started 3");
    team_close(&team);
}

static bool has_steps(const struct session *session)
{
    return run_lead(session_run(session, 0))->samples.count > 3;
}

/* The one child of a process. */
static pid_t child_of(pid_t parent)
{
    char path[64];
    int child = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent, parent);
    FILE *file = fopen(path, "re");
    const bool got = file && fscanf(file, "%d", &child) == 1;
    if (file)
        fclose(file);
    return got ? child : 0;
}

static void gone_soon(pid_t process)
{
    for (int i = 0; i < 500 && kill(process, 0) == 0; i++)
        poll(NULL, 0, 10);
    assert_int_not_equal(kill(process, 0), 0);
}

/* Begins a run for ever of two ranks, and strikes `who` in it; how the run ended. */
enum struck { THE_WORKER, THE_JOINER, THE_FRONT };
static void strike(struct team *team, enum struck who, pid_t *worker)
{
    team_open(team, 2, 3000000000u);
    joiner_start(team, 1, team->launcher.token);
    struct cell cell = small_cell_of_ranks(2, PARALLEL_NAIVE);
    cell.steps = STEPS_FOREVER;
    session_add(team->session, &cell);
    assert_true(session_until(team->session, 60, has_steps, NULL));
    *worker = child_of(team->joiners[1]);
    assert_true(*worker > 0);
    if (who == THE_WORKER)
        kill(*worker, SIGKILL);
    if (who == THE_JOINER)
        kill(team->joiners[1], SIGKILL);
    if (who != THE_FRONT)
        assert_true(session_until(team->session, 60, session_idle, NULL));
}

static void a_killed_worker_is_named(void **state)
{
    (void)state;
    struct team team;
    pid_t worker;
    char name[64] = "", wanted[160];
    strike(&team, THE_WORKER, &worker);
    gethostname(name, sizeof name - 1);
    snprintf(wanted, sizeof wanted, "rank 1 on %s: the worker was killed by SIGKILL", name);
    assert_string_equal(session_run(team.session, 0)->reason, wanted);
    assert_int_equal(session_run(team.session, 0)->status, STATUS_KILLED);
    /* The next run finds it in its place again. */
    const struct cell cell = small_cell_of_ranks(2, PARALLEL_NAIVE);
    session_add(team.session, &cell);
    assert_true(session_until(team.session, 60, session_idle, NULL));
    assert_good(session_run(team.session, 1));
    team_close(&team);
    gone_soon(worker);
}

static void a_dead_joiner_is_named(void **state)
{
    (void)state;
    struct team team;
    pid_t worker;
    char said[512];
    strike(&team, THE_JOINER, &worker);
    assert_non_null(strstr(session_run(team.session, 0)->reason, "rank 1 on "));
    assert_non_null(strstr(session_run(team.session, 0)->reason, "the connection was lost: the steptop there is gone"));
    assert_int_equal(session_run(team.session, 0)->status, STATUS_ERROR);
    gone_soon(worker);
    /* Nobody comes in its place: what is queued ends, and says for whom it waited. */
    const struct cell cell = small_cell_of_ranks(2, PARALLEL_NAIVE);
    session_add(team.session, &cell);
    session_add(team.session, &cell);
    assert_true(session_until(team.session, 60, session_idle, NULL));
    for (size_t i = 1; i < 3; i++) {
        assert_int_equal(session_run(team.session, i)->status, STATUS_ERROR);
        assert_non_null(strstr(session_run(team.session, i)->reason, "rank 1 did not join at 127.0.0.1 port "));
    }
    session_free(team.session);
    assert_int_equal(joiner_end(&team, 1, said, sizeof said), -SIGKILL);
}

/* Whether it says goodbye or not, no worker outlives it. */
static void a_front_that_goes_takes_all_with_it(void **state)
{
    (void)state;
    struct team team;
    pid_t worker;
    char said[512];
    strike(&team, THE_FRONT, &worker);
    session_free(team.session);
    gone_soon(worker);
    assert_int_equal(joiner_end(&team, 1, said, sizeof said), 1);
    assert_non_null(strstr(said, "rank 0's steptop ended in a run"));
}

/* A stop is a word to all, and the goodbye follows. */
static void all_stop_together(void **state)
{
    (void)state;
    struct team team;
    team_open(&team, 2, 0);
    joiner_start(&team, 1, team.launcher.token);
    struct cell cell = small_cell_of_ranks(2, PARALLEL_OVERLAP);
    cell.steps = STEPS_FOREVER;
    session_add(team.session, &cell);
    assert_true(session_until(team.session, 60, has_steps, NULL));
    session_stop_all(team.session);
    assert_true(session_until(team.session, 60, session_idle, NULL));
    assert_int_equal(session_run(team.session, 0)->status, STATUS_INTERRUPTED);
    team_close(&team);
}

static bool first_is_running(const struct session *session)
{
    return session_run(session, 0)->status != STATUS_PENDING;
}

/* Garbage, half a greeting, silence, the wrong token, another world and another build come first. */
static void strangers_are_sent_away(void **state)
{
    (void)state;
    struct team team, liar;
    struct error error = {0};
    char said[512];
    int fds[40];
    team_open(&team, 2, 0);
    const struct cell cell = small_cell_of_ranks(2, PARALLEL_NAIVE);
    session_add(team.session, &cell);
    unsigned seed = 1;
    for (int i = 0; i < 40; i++) {
        unsigned char bytes[600];
        fds[i] = net_connect("127.0.0.1", team.launcher.port, clock_now() + 1000000000u, &error);
        assert_true(fds[i] >= 0);
        for (size_t b = 0; b < sizeof bytes; b++)
            bytes[b] = (unsigned char)((seed = seed * 1103515245u + 12345u) >> 16);
        const struct message_header header = {i % 4 == 1 ? MESSAGE_JOIN : MESSAGE_CELL, sizeof(struct message_join)};
        if (i % 4 == 1 || i % 4 == 2) /* a frame as it should be, of nonsense, or of a kind that comes later */
            memcpy(bytes, &header, sizeof header);
        const size_t length = i % 4 == 3 ? (size_t)i : i % 4 == 1 ? sizeof header + header.length : sizeof bytes;
        net_send(fds[i], bytes, length, clock_now() + 1000000000u);
        session_step(team.session);
        if (i % 5 == 0) {
            close(fds[i]);
            fds[i] = -1;
        }
    }
    liar = team;
    joiner_start(&liar, 1, "another token");
    session_until(team.session, 1, first_is_running, NULL);
    assert_int_equal(session_run(team.session, 0)->status, STATUS_PENDING);
    joiner_start(&team, 1, team.launcher.token);
    assert_true(session_until(team.session, 100, session_idle, NULL));
    assert_good(session_run(team.session, 0));
    assert_int_equal(joiner_end(&liar, 1, said, sizeof said), 1);
    assert_non_null(strstr(said, "rank 0 sent this rank away: it does not know this run's token"));
    liar.launcher.world = 3; /* while the right one is there */
    joiner_start(&liar, 2, team.launcher.token);
    session_until(team.session, 1, has_steps, NULL);
    for (int i = 0; i < 50; i++) {
        session_step(team.session);
        poll(NULL, 0, 10);
    }
    assert_int_equal(joiner_end(&liar, 2, said, sizeof said), 1);
    assert_non_null(strstr(said, "it is rank 2 of 3, and this run has ranks 0 to 1"));
    for (int i = 0; i < 40; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    team_close(&team);
}

/* One that proves what it should and is another program's file. */
static void another_build_is_sent_away(void **state)
{
    (void)state;
    struct team team;
    struct error error = {0};
    struct inbox *inbox = calloc(1, sizeof *inbox);
    struct message_header header;
    const void *payload = NULL;
    team_open(&team, 2, 0);
    const int fd = net_connect("127.0.0.1", team.launcher.port, clock_now() + 1000000000u, &error);
    assert_true(inbox && fd >= 0);
    session_step(team.session);
    assert_true(net_wait(fd, POLLIN, clock_now() + 1000000000u));
    assert_int_equal(inbox_next(inbox, fd, &header, &payload), INBOX_MESSAGE);
    assert_int_equal(header.type, MESSAGE_CHALLENGE);
    struct message_challenge challenge;
    struct message_join join;
    memcpy(&challenge, payload, sizeof challenge);
    memset(&join, 0, sizeof join);
    join.magic = HOSTS_MAGIC;
    join.version = PROTOCOL_VERSION;
    join.rank = 1;
    join.world = 2;
    join.build = hosts_build() ^ 1;
    hosts_prove_join(team.launcher.token, &challenge, &join, join.proof);
    assert_true(message_send(fd, MESSAGE_JOIN, &join, sizeof join, NULL, 0, &error));
    for (int i = 0; i < 20; i++) {
        session_step(team.session);
        poll(NULL, 0, 5);
    }
    assert_int_equal(inbox_next(inbox, fd, &header, &payload), INBOX_MESSAGE);
    assert_int_equal(header.type, MESSAGE_REFUSED);
    assert_true(header.length > 10 && memcmp(payload, "it is another build of steptop", 30) == 0);
    close(fd);
    free(inbox);
    session_free(team.session);
}

#define AHEAD_NS 1000000000000u /* of the other host's clock */

/* A stand-in alone: its other host is this test, whose clock is a quarter of an hour ahead. Times come out on this one's, as close as it
 * says; order, losses, lines and the end come out as they went in. */
static void times_are_turned(void **state)
{
    (void)state;
    int control[2], connection[2], output[2];
    struct error error = {0};
    struct ring *ring = ring_create(64, &error);
    assert_non_null(ring);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, control), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, connection), 0);
    assert_int_equal(pipe(output), 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(output[1], STDERR_FILENO);
        close(control[0]);
        close(connection[0]);
        _exit(stand_in_main(control[1], ring_fd(ring), connection[1]));
    }
    close(control[1]);
    close(connection[1]);
    close(output[1]);
    struct message_cell cell;
    memset(&cell, 0, sizeof cell);
    cell.rank = 7;
    assert_true(message_send(control[0], MESSAGE_CELL, &cell, sizeof cell, NULL, 0, &error));
    struct inbox *inbox = calloc(1, sizeof *inbox), *words = calloc(1, sizeof *words);
    assert_true(inbox && words);
    struct message_header header;
    const void *payload;
    for (int pings = 0; pings < 5;) {
        assert_true(net_wait(connection[0], POLLIN, clock_now() + 5000000000u));
        const enum inbox_state got = inbox_next(inbox, connection[0], &header, &payload);
        if (got == INBOX_EMPTY)
            continue;
        assert_int_equal(got, INBOX_MESSAGE);
        if (header.type != MESSAGE_PING)
            continue;
        const struct message_pong pong = {
            .sent = ((const struct message_ping *)payload)->sent, .clock = clock_now() + AHEAD_NS, .dropped = 2};
        assert_true(message_send(connection[0], MESSAGE_PONG, &pong, sizeof pong, NULL, 0, &error));
        pings++;
    }
    const uint64_t now = clock_now();
    struct record records[3] = {{.start = now + AHEAD_NS,
                                 .end = now + AHEAD_NS + 500,
                                 .launch = UNKNOWN_U64,
                                 .sequence = 11,
                                 .kind = RECORD_KERNEL},
                                {.counters = {1, 2, 3, 4}, .sequence = 13, .kind = RECORD_COUNTERS},
                                {.start = 1, .sequence = 14, .kind = RECORD_KERNEL}};
    struct sample sample = {.start = now + AHEAD_NS, .wall_ns = 9};
    const struct message_end end = {.status = STATUS_OK};
    const struct message_exit gone = {.status = 3 << 8, .dropped = 5};
    const char line[] = "\1a line\n";
    assert_true(message_send(connection[0], MESSAGE_RECORDS, records, sizeof records, NULL, 0, &error) &&
                message_send(connection[0], MESSAGE_SAMPLE, &sample, sizeof sample, NULL, 0, &error) &&
                message_send(connection[0], MESSAGE_LOG, line, sizeof line - 1, NULL, 0, &error) &&
                message_send(connection[0], MESSAGE_END, &end, sizeof end, NULL, 0, &error) &&
                message_send(connection[0], MESSAGE_EXIT, &gone, sizeof gone, NULL, 0, &error));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    double bound_us = 0;
    const uint32_t order[] = {MESSAGE_SAMPLE, MESSAGE_NOTE, MESSAGE_END, MESSAGE_EXIT};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(inbox_next(words, control[0], &header, &payload), INBOX_MESSAGE);
        assert_int_equal(header.type, order[i]);
        if (i == 0)
            memcpy(&sample, payload, sizeof sample);
        const char *text = i == 1 ? strchr(payload, 0) + 1 : NULL;
        if (text) {
            char copy[256] = "";
            assert_string_equal(payload, "clock of rank 7");
            memcpy(copy, text, header.length - (size_t)(text - (const char *)payload));
            assert_non_null(strstr(copy, "wrong by "));
            bound_us = atof(strstr(copy, "wrong by ") + 9);
        }
        if (i == 3)
            assert_int_equal(((const struct message_exit *)payload)->status, 3 << 8);
    }
    assert_int_equal(inbox_next(words, control[0], &header, &payload), INBOX_CLOSED);
    struct record taken[4];
    assert_int_equal(ring_drain(ring, taken, 4), 3);
    const double off = (double)(int64_t)(taken[0].start - now);
    if (!(bound_us > 0 && fabs(off) <= bound_us * 1e3 + 100))
        fail_msg("off by %.0f ns, and it says %.1f us at most", off, bound_us);
    assert_int_equal(sample.start, taken[0].start);
    assert_int_equal(taken[0].end - taken[0].start, 500);
    assert_true(taken[0].launch == UNKNOWN_U64 && taken[0].sequence == 11 && taken[1].sequence == 13);
    assert_int_equal(taken[1].counters[0], 1);
    struct ring_counts counts;
    ring_counts(ring, &counts);
    assert_int_equal(counts.dropped, 5);
    char said[32] = "";
    assert_int_equal(read(output[0], said, sizeof said - 1), 7);
    assert_string_equal(said, "a line\n");
    close(output[0]);
    close(control[0]);
    close(connection[0]);
    free(inbox);
    free(words);
    ring_close(ring);
}

/* Whatever way questions and answers take, what is said of the other clock holds: a clock that is ahead and 80 ppm faster. */
static void what_is_said_of_a_clock_holds(void **state)
{
    (void)state;
    struct clock_apart clocks = {.count = 0};
    int64_t ahead;
    uint64_t error;
    assert_false(clock_ahead(&clocks, 5, &ahead, &error));
    uint64_t now = 1000000000u;
    unsigned seed = 3;
    for (int i = 0; i < 1000; i++) {
        const uint64_t there = 1000 + (seed = seed * 1103515245u + 12345u) % 3000000, back = 1000 + seed / 7 % 200000;
        const uint64_t at = now + there;
        const uint64_t theirs = at + 7777777 + at / 12500;
        clock_answered(&clocks, now, theirs, at + back);
        now = at + back + 200000000u;
        assert_true(clock_ahead(&clocks, now, &ahead, &error));
        const int64_t truth = (int64_t)(7777777 + now / 12500);
        if (llabs(truth - ahead) > (int64_t)error + 1)
            fail_msg("%d: %lld ns ahead, said to be %lld ± %llu", i, (long long)truth, (long long)ahead,
                     (unsigned long long)error);
    }
    assert_true(error < 200000);
    clock_answered(&clocks, 10, 20, 5); /* an answer before its question */
    assert_int_equal(clocks.count, 1000);
}

static void clear_environment(void)
{
    static const char *const names[] = {"RANK",
                                        "WORLD_SIZE",
                                        "MASTER_ADDR",
                                        "MASTER_PORT",
                                        "LOCAL_RANK",
                                        "LOCAL_WORLD_SIZE",
                                        "TORCHELASTIC_RUN_ID",
                                        "OMPI_COMM_WORLD_RANK",
                                        "OMPI_COMM_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_LOCAL_RANK",
                                        "OMPI_COMM_WORLD_LOCAL_SIZE",
                                        "SLURM_PROCID",
                                        "SLURM_STEP_NUM_TASKS",
                                        "SLURM_STEP_ID",
                                        "SLURM_LOCALID",
                                        "SLURM_STEP_TASKS_PER_NODE",
                                        "SLURM_STEP_NODELIST",
                                        "SLURM_JOB_ID",
                                        "PMI_RANK",
                                        "PMI_SIZE",
                                        "STEPTOP_TOKEN"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

static void set(const char *words)
{
    char copy[512], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        *value = 0;
        setenv(word, value + 1, 1);
    }
}

static void launchers_are_understood(void **state)
{
    (void)state;
    static const struct {
        const char *environment, *where;
        int rank, world, local, local_world;
        const char *host;
        uint16_t port;
        const char *wrong; /* in the error */
    } cases[] = {
        {"RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=10.1.2.3 MASTER_PORT=29500", "launcher", 3, 4,
         1, 2, "10.1.2.3", 29501, NULL},
        {"RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=10.1.2.3", "node7:4000", 3, 4, 1, 2, "node7",
         4000, NULL},
        {"RANK=0 WORLD_SIZE=4 MASTER_ADDR=::1 MASTER_PORT=65535", "[fd00::1]:99", 0, 4, 0, 1, "fd00::1", 99, NULL},
        {"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=2",
         "launcher", 1, 2, 1, 2, "127.0.0.1", 29701, NULL},
        {"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=0 OMPI_COMM_WORLD_LOCAL_SIZE=1",
         "launcher", 0, 0, 0, 0, NULL, 0, "mpirun does not say where rank 0 is: --join HOST:PORT"},
        {"SLURM_PROCID=5 SLURM_STEP_NUM_TASKS=8 SLURM_STEP_ID=0 SLURM_LOCALID=1 SLURM_STEP_TASKS_PER_NODE=2(x4) "
         "SLURM_STEP_NODELIST=gpu[03-06]",
         "launcher", 5, 8, 1, 2, "gpu03", 29701, NULL},
        {"SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=8", "launcher", 0, 0, 0, 0, NULL, 0, "none of their variables is set"},
        {"PMI_RANK=1 PMI_SIZE=2", "h", 1, 2, 0, 1, "h", 29701, NULL},
        /* MPICH's mpirun within Slurm: the step is its own, of one task a host. */
        {"PMI_RANK=3 PMI_SIZE=4 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=2 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 "
         "SLURM_STEP_ID=0 "
         "SLURM_LOCALID=0 SLURM_STEP_TASKS_PER_NODE=1(x2) SLURM_STEP_NODELIST=n[1-2]",
         "launcher", 3, 4, 1, 2, "n1", 29701, NULL},
        {"MV2_COMM_WORLD_RANK=1 MV2_COMM_WORLD_SIZE=2 MV2_COMM_WORLD_LOCAL_RANK=1 MV2_COMM_WORLD_LOCAL_SIZE=2",
         "launcher", 1, 2, 1, 2, "127.0.0.1", 29701, NULL},
        {"RANK=4 WORLD_SIZE=4 MASTER_ADDR=h", "launcher", 0, 0, 0, 0, NULL, 0,
         "RANK=4 of the launcher is no number from 0 to 3"},
        {"RANK=x WORLD_SIZE=4 MASTER_ADDR=h", "launcher", 0, 0, 0, 0, NULL, 0, "RANK=x"},
        {"RANK=0 WORLD_SIZE=900 MASTER_ADDR=h", "launcher", 0, 0, 0, 0, NULL, 0, "WORLD_SIZE=900"},
        {"RANK=0 WORLD_SIZE=2 MASTER_ADDR=h MASTER_PORT=0", "launcher", 0, 0, 0, 0, NULL, 0, "MASTER_PORT=0"},
        {"PMI_RANK=1 PMI_SIZE=2", "h:70000", 0, 0, 0, 0, NULL, 0, "no port from 1 to 65535"},
        {"PMI_RANK=1 PMI_SIZE=2", ":5", 0, 0, 0, 0, NULL, 0, "is no address"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct launcher launcher;
        struct error error = {0};
        clear_environment();
        set(cases[i].environment);
        const bool ok = launcher_read(cases[i].where, &launcher, &error);
        if (cases[i].wrong) {
            assert_false(ok);
            assert_int_equal(error.kind, ERROR_USAGE);
            if (!strstr(error.text, cases[i].wrong))
                fail_msg("case %zu: %s", i, error.text);
            continue;
        }
        if (!ok)
            fail_msg("case %zu: %s", i, error.text);
        assert_int_equal(launcher.rank, cases[i].rank);
        assert_int_equal(launcher.world, cases[i].world);
        assert_int_equal(launcher.local, cases[i].local);
        assert_int_equal(launcher.local_world, cases[i].local_world);
        assert_string_equal(launcher.host, cases[i].host);
        assert_int_equal(launcher.port, cases[i].port);
        assert_true(launcher.token[0] && !launcher.secret);
        setenv("STEPTOP_TOKEN", "t0ken", 1);
        assert_true(launcher_read(cases[i].where, &launcher, &error) && launcher.secret);
        assert_string_equal(launcher.token, "t0ken");
    }
    clear_environment();
    char host[16];
    assert_true(launcher_first_host("a,b", host, sizeof host));
    assert_string_equal(host, "a");
    assert_true(launcher_first_host("n[1,5-9],m", host, sizeof host));
    assert_string_equal(host, "n1");
    assert_false(launcher_first_host("rack[1-2]-n[1-4]", host, sizeof host));
    assert_false(launcher_first_host("n[", host, sizeof host) || launcher_first_host("", host, sizeof host) ||
                 launcher_first_host("a-name-that-is-longer-than-that", host, sizeof host));
}

/* Ranks of one machine share its processors, unless their launcher gave each some of its own. */
static void processors_are_shared_by_who_has_them(void **state)
{
    (void)state;
    static const struct message_where all[] = {{"a", {0xff}},    {"a", {0xff}},    {"b", {0xff}}, {"b", {0, 0x0f}},
                                               {"b", {0, 0xf0}}, {"b", {0, 0xf0}}, {"", {0xff}},  {"", {0xff}}};
    static const int sharing[] = {2, 2, 1, 1, 2, 2, 0, 0}, shares[] = {0, 1, 0, 0, 0, 1, 0, 0};
    int share;
    for (int rank = 0; rank < 8; rank++) {
        assert_int_equal(where_sharing(all, 8, rank, &share), sharing[rank]);
        assert_int_equal(share, shares[rank]);
    }
    struct message_where here;
    where_here(&here);
    assert_true(strlen(here.machine) == 36 && where_sharing(&here, 1, 0, &share) == 1);
    struct cell cell = {.threads = 0, .ranks = 4};
    hosts_cell_here(&cell, 4, 1); /* four on a host, each on its own */
    assert_true(cell.ranks == 1 && cell.threads == 0 && process_threads(&cell) == processors_allowed().allowed);
    cell = (struct cell){.threads = 8, .ranks = 4};
    hosts_cell_here(&cell, 4, 1);
    assert_int_equal(process_threads(&cell), 2);
    cell = (struct cell){.threads = 8, .ranks = 8};
    hosts_cell_here(&cell, 4, 4);
    assert_int_equal(process_threads(&cell), 2);
    cell = (struct cell){.threads = 1, .ranks = 8};
    hosts_cell_here(&cell, 4, 1);
    assert_int_equal(process_threads(&cell), 1);
}

int main(int argc, char **argv)
{
    char folder[] = STEPTOP_BINARY; /* the devices lie beside it */
    *strrchr(folder, '/') = 0;
    setenv("STEPTOP_PLUGIN_FOLDER", folder, 0);
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return argc > 4 ? stand_in_main(3, 4, 5) : worker_main(3, 4);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launchers_are_understood),
        cmocka_unit_test(processors_are_shared_by_who_has_them),
        cmocka_unit_test(what_is_said_of_a_clock_holds),
        cmocka_unit_test(times_are_turned),
        cmocka_unit_test(every_run_ends_well),
        cmocka_unit_test(a_killed_worker_is_named),
        cmocka_unit_test(a_dead_joiner_is_named),
        cmocka_unit_test(a_front_that_goes_takes_all_with_it),
        cmocka_unit_test(all_stop_together),
        cmocka_unit_test(strangers_are_sent_away),
        cmocka_unit_test(another_build_is_sent_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
