/* Attaching to programs that are not ours: what comes of their ranges, and that whatever goes wrong on either side costs the program
 * nothing: not its exit code, not its output, not its time. */
#include "base/clock.h"
#include "base/unknown.h"
#include "tests/attach/attach_helpers.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct session *run(const char *mode, const char *count)
{
    const char *const command[] = {ATTACH_PROGRAM, mode, count, NULL};
    struct session *session = attach(NULL, command);
    run_to_end(session);
    return session;
}

static bool has_line(const struct session *session, const char *text, bool is_error)
{
    for (size_t i = 0; i < session_log_count(session); i++)
        if (session_log(session, i)->is_error == is_error && strcmp(session_log(session, i)->text, text) == 0)
            return true;
    return false;
}

static uint64_t records_of(const struct rank *rank, const char *path, const char *name)
{
    size_t count;
    uint64_t records = 0;
    const struct entry *entries = aggregate_entries(rank->aggregate, &count);
    for (size_t i = 0; i < count; i++) {
        const struct place *place = places_at(&rank->places, entries[i].place);
        if (place->scope >= 0 && strcmp(rank->places.scopes.items[place->scope].path, path) == 0 &&
            strcmp(aggregate_name_text(rank->aggregate, entries[i].name), name) == 0)
            records += entries[i].time.n + entries[i].warmup.n;
    }
    return records;
}

/* The longest that has this name, ns. */
static uint64_t longest_of(const struct rank *rank, const char *name)
{
    size_t count;
    uint64_t longest = 0;
    const struct entry *entries = aggregate_entries(rank->aggregate, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(aggregate_name_text(rank->aggregate, entries[i].name), name) == 0 && entries[i].time.max > longest)
            longest = entries[i].time.max;
    return longest;
}

static void ranges_become_layers_and_steps(void **state)
{
    (void)state;
    struct session *session = run("ranges", "60");
    const struct run *found = session_run(session, 0);
    const struct rank *rank = run_lead(found);
    assert_int_equal(found->status, STATUS_OK);
    assert_int_equal(session_command_exit(session), 0);
    assert_true(has_line(session, "program: done", false));
    assert_true(has_line(session, "program: a word on stderr", true));
    /* One step in fifty is not recorded, the last did not end and is left out; only ranges without others inside are records. */
    assert_int_equal(records_of(rank, "encoder", "encoder"), 58);
    assert_int_equal(records_of(rank, "decoder.attention", "attention"), 58);
    assert_int_equal(records_of(rank, "decoder", "decoder"), 0);
    /* Wide names, and such as were registered before. */
    assert_int_equal(records_of(rank, "l\u00e4sst schreiben.write", "write"), 58);
    unsigned kinds[STEP_KIND_COUNT] = {0};
    for (size_t i = 0; i < rank->samples.count; i++) {
        kinds[rank->samples.items[i].kind]++;
        assert_true(rank->samples.items[i].wall_ns >= 500000);
    }
    assert_int_equal(kinds[STEP_WARMUP], 1);
    assert_int_equal(kinds[STEP_TIMED], 1);
    assert_int_equal(kinds[STEP_PROFILED], 57); /* the last did not end */
    assert_int_equal(rank->dropped, 0);
    session_free(session);
}

/* A host that sleeps 5 ms between its steps of half a millisecond: what is idle is so because nothing was launched. */
static void a_host_that_sleeps_is_why_nothing_runs(void **state)
{
    (void)state;
    struct session *session = run("asleep", "40");
    const struct rank *rank = run_lead(session_run(session, 0));
    struct idle_total idle;
    aggregate_idle(rank->aggregate, PASS_TRAIN_STEP, &idle);
    assert_int_equal(idle.steps, 38); /* without the first and the last */
    assert_true(idle.ns[IDLE_LAUNCH] >= idle.steps * 5000000);
    uint64_t nothing = 0;
    for (int reason = 0; reason < IDLE_REASONS; reason++)
        nothing += idle.ns[reason];
    assert_true(nothing + idle.steps * 500000 <= idle.wall_ns);
    assert_true(idle.ns[IDLE_LAUNCH] * 10 >= nothing * 9);
    session_free(session);
}

/* A launcher that starts `steptop attach -- …` once a rank: each front has one process, which is its first. */
static void a_front_of_one_rank_shows_it(void **state)
{
    (void)state;
    setenv("RANK", "5", 1);
    setenv("LOCAL_RANK", "1", 1);
    struct session *session = run("ranges", "20");
    unsetenv("RANK");
    unsetenv("LOCAL_RANK");
    assert_int_equal(session_run(session, 0)->ranks.count, 1);
    assert_true(run_lead(session_run(session, 0))->samples.count >= 18);
    session_free(session);
}

static bool worker_was_seen(const struct session *session)
{
    const struct run *found = session_run(session, 0);
    const struct program_facts *program = found->ranks.count ? &run_lead(found)->program : NULL;
    return session_idle(session) || (program && program->steps && program->workers_disk_ns > 0);
}

/* Most kernels count no time in which a process waits for a disk: it is asleep in a way that is seen. */
static void a_worker_that_waits_for_a_disk_is_seen(void **state)
{
    (void)state;
    if (access("/proc/thread-self/children", F_OK) != 0) /* a kernel that does not list them */
        skip();
    const char *const command[] = {ATTACH_PROGRAM, "worker", "1000000", NULL};
    struct session *session = attach(NULL, command);
    assert_true(session_until(session, 60, worker_was_seen, NULL));
    const struct rank *rank = run_lead(session_run(session, 0));
    assert_int_equal(rank->program.loader_workers, 1);
    assert_true((double)rank->program.workers_disk_ns > 0.9 * (double)rank->program.workers_ns);
    assert_true((double)rank->program.workers_cpu_ns < 0.1 * (double)rank->program.workers_ns);
    assert_int_equal(kill(rank->process, SIGKILL), 0);
    run_to_end(session);
    session_free(session);
}

static void itt_tasks_are_ranges(void **state)
{
    (void)state;
    struct session *session = run("itt", "10");
    assert_int_equal(session_run(session, 0)->status, STATUS_OK);
    assert_int_equal(records_of(run_lead(session_run(session, 0)), "convolution", "convolution"),
                     9); /* without the last */
    session_free(session);
}

/* PyTorch's own words, once it is asked for them: ops are records, those of backward nodes backward ones, and none of them is a layer. */
static void what_pytorch_tells_by_ranges_is_ops_and_nodes(void **state)
{
    (void)state;
    struct session *session = run("told", "10");
    const struct rank *rank = run_lead(session_run(session, 0));
    uint64_t forward = 0, backward = 0;
    size_t count;
    const struct entry *entries = aggregate_entries(rank->aggregate, &count);
    for (size_t i = 0; i < count; i++) {
        const char *name = aggregate_name_text(rank->aggregate, entries[i].name);
        const uint64_t records = entries[i].time.n + entries[i].warmup.n;
        if (strcmp(name, "aten::linear") == 0) /* hands on, unless it was held up just then */
            continue;
        assert_true(strcmp(name, "aten::addmm") == 0 || strcmp(name, "aten::mm") == 0);
        const bool is_backward = strcmp(name, "aten::mm") == 0;
        if (is_backward) /* without modules nothing says that a pass is over: what comes after the first node may count as backward */
            assert_int_equal(places_at(&rank->places, entries[i].place)->phase, PHASE_BWD);
        *(is_backward ? &backward : &forward) += records;
    }
    assert_in_range(forward, 1, 10);
    assert_in_range(backward, 1, 10);
    assert_true(forward + backward + rank->dropped >= 20); /* a front that is late loses the first, and counts them */
    assert_int_equal(rank->places.scopes.count, 0);
    session_free(session);
}

/* What torch.compile fused runs between the operators that it calls: each stretch of it is a record, not the longest alone. */
static void what_was_compiled_is_seen_between_its_operators(void **state)
{
    (void)state;
    struct session *session = run("compiled", "10");
    const struct rank *rank = run_lead(session_run(session, 0));
    uint64_t fused = 0, products = 0;
    size_t count;
    const struct entry *entries = aggregate_entries(rank->aggregate, &count);
    for (size_t i = 0; i < count; i++) {
        const char *name = aggregate_name_text(rank->aggregate, entries[i].name);
        *(strcmp(name, "CompiledFunction") == 0 ? &fused : &products) += entries[i].time.n + entries[i].warmup.n;
    }
    assert_in_range(products, 2, 20);
    assert_true(rank->dropped || (products == 20 && fused == 30));
    assert_true(fused > products);
    session_free(session);
}

static void exit_codes_are_the_programs(void **state)
{
    (void)state;
    struct session *session = run("exit", "41");
    assert_int_equal(session_command_exit(session), 41);
    assert_int_equal(session_run(session, 0)->status, STATUS_ERROR);
    assert_string_equal(session_run(session, 0)->reason, "the program ended with exit code 41");
    session_free(session);
    session = run("kill", "30");
    assert_int_equal(session_command_exit(session), 128 + 9);
    assert_int_equal(session_run(session, 0)->status, STATUS_KILLED);
    /* What it had told before it was killed is there. */
    assert_true(records_of(run_lead(session_run(session, 0)), "encoder", "encoder") > 0);
    session_free(session);
    session = run("nothing", "0");
    assert_int_equal(session_command_exit(session), 0);
    assert_int_equal(session_run(session, 0)->status, STATUS_UNSUPPORTED);
    session_free(session);
    const char *const missing[] = {"/no/such/program", NULL};
    session = attach(NULL, missing);
    run_to_end(session);
    assert_int_equal(session_run(session, 0)->status, STATUS_ERROR);
    assert_string_equal(session_run(session, 0)->reason, "cannot start '/no/such/program': No such file or directory");
    assert_int_equal(session_command_exit(session), -1);
    session_free(session);
}

/* By what there is to wait for alone, and never by the clock: who waits for a command pays for each look that comes late. */
static void the_end_wakes_who_waits(void **state)
{
    (void)state;
    const char *const command[] = {"/bin/sleep", "0.05", NULL};
    struct session *session = attach(NULL, command);
    while (!session_idle(session)) {
        struct pollfd fds[600];
        int timeout;
        const int count = session_poll(session, fds, 600, &timeout);
        assert_true(poll(fds, (nfds_t)count, timeout ? 20000 : 0) > 0 || timeout == 0);
        session_step(session);
    }
    assert_int_equal(session_run(session, 0)->status, STATUS_UNSUPPORTED);
    session_free(session);
}

/* What it prints is in the Log as it is printed; a choice of the user's stays. */
static void python_keeps_no_line_back(void **state)
{
    (void)state;
    const char *const command[] = {"/bin/sh", "-c", "echo unbuffered: $PYTHONUNBUFFERED", NULL};
    struct session *session = attach(NULL, command);
    run_to_end(session);
    assert_true(has_line(session, "unbuffered: 1", false));
    session_free(session);
    setenv("PYTHONUNBUFFERED", "own", 1);
    session = attach(NULL, command);
    run_to_end(session);
    assert_true(has_line(session, "unbuffered: own", false));
    session_free(session);
    unsetenv("PYTHONUNBUFFERED");
}

static void a_forked_child_is_quiet(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* a child of a process with threads may start none of its own under ThreadSanitizer: it waits for ever */
#endif
    struct session *session = run("fork", "20");
    const struct run *found = session_run(session, 0);
    assert_int_equal(session_command_exit(session), 0);
    assert_int_equal(found->ranks.count, 1);
    assert_int_equal(records_of(run_lead(found), "encoder", "encoder"),
                     21); /* 22 without the last; the child's 20 are not among them */
    /* It ended in both, 20 ms apart; the child's end would stand where the parent's belongs. */
    assert_int_equal(records_of(run_lead(found), "outer", "outer"), 1);
    assert_true(longest_of(run_lead(found), "outer") >= 20000000);
    session_free(session);
#ifndef __SANITIZE_ADDRESS__ /* the lock of its allocator may be held for ever in a child that starts a thread, with us or without */
    session = run("forks", "100");
    assert_int_equal(session_command_exit(session), 0);
    session_free(session);
#endif
}

/* A program may close what it does not know, ours with it, and open files of its own, which then have our numbers. */
static void what_the_program_closes_is_ours_no_more(void **state)
{
    (void)state;
    struct session *session = run("closes", "20");
    assert_int_equal(session_command_exit(session), 0);
    assert_int_equal(session_run(session, 0)->status, STATUS_OK);
    assert_true(records_of(run_lead(session_run(session, 0)), "encoder", "encoder") >= 18);
    session_free(session);
}

static void what_is_executed_is_a_process_of_its_own(void **state)
{
    (void)state;
    struct session *session = run("exec", "8");
    const struct run *found = session_run(session, 0);
    assert_int_equal(session_command_exit(session), 0);
    uint64_t records = 0;
    for (size_t i = 0; i < found->ranks.count; i++)
        records += records_of(found->ranks.items[i], "encoder", "encoder");
    assert_int_equal(records, 1 + 7); /* without the last of those that were more than a warm-up */
    session_free(session);
}

static void many_processes_are_ranks(void **state)
{
    (void)state;
    struct session *session = run("many", "64");
    const struct run *found = session_run(session, 0);
    assert_int_equal(session_command_exit(session), 0);
    assert_int_equal(found->ranks.count, 64);
    /* One that is over before its ring has come, on a machine with 64 others, has lost what it did, and none has more than that. */
    uint64_t records = 0;
    for (size_t i = 0; i < found->ranks.count; i++) {
        assert_true(records_of(found->ranks.items[i], "encoder", "encoder") <= 4);
        records += records_of(found->ranks.items[i], "encoder", "encoder");
    }
    assert_true(records > 0);
    session_free(session);
}

/* In whatever order they come. */
static void ranks_are_called_as_their_launcher_does(void **state)
{
    (void)state;
    static const char *const launchers[][3] = {
        {"RANK", "LOCAL_RANK", "WORLD_SIZE"},
        {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"},
        {"SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS"},
    };
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const char *const *name = launchers[i];
        char script[2048];
        snprintf(script, sizeof script,
                 "export SLURM_STEP_ID=0; %s=5 %s=1 %s=8 %s ranges 40 & sleep 0.5; %s=4 %s=0 %s=8 %s ranges 10; wait",
                 name[0], name[1], name[2], ATTACH_PROGRAM, name[0], name[1], name[2], ATTACH_PROGRAM);
        const char *const command[] = {"/bin/sh", "-c", script, NULL};
        struct session *session = attach(NULL, command);
        run_to_end(session);
        const struct run *found = session_run(session, 0);
        assert_int_equal(found->ranks.count, 2);
        assert_true(records_of(found->ranks.items[0], "encoder", "encoder") <= 10);
        assert_true(records_of(found->ranks.items[1], "encoder", "encoder") > 10);
        session_free(session);
    }
}

static void a_flood_is_counted_and_not_waited_for(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    struct session *session = run("flood", "5000"); /* each is some hundred times as slow */
#else
    struct session *session = run("flood", "100000");
#endif
    const struct rank *rank = run_lead(session_run(session, 0));
    struct aggregate_counts counts;
    assert_int_equal(session_command_exit(session), 0);
    aggregate_counts(rank->aggregate, &counts);
    assert_true(counts.records > 1000);
    assert_int_equal(counts.invalid, 0);
    assert_true(counts.records + rank->dropped <=
                800000); /* each is a step, too; those that were not recorded are neither */
    session_free(session);
}

/* The front is held up: nobody waits for it longer than a moment, and what was recorded meanwhile is there when it comes. */
static void a_late_front_misses_nothing(void **state)
{
    (void)state;
    const char *const command[] = {ATTACH_PROGRAM, "ranges", "1500", NULL};
    struct session *session = attach(NULL, command);
    for (int i = 0; i < 3; i++) /* starts it, and is away before it has begun */
        session_step(session);
    usleep(600000);
    run_to_end(session);
    const struct rank *rank = run_lead(session_run(session, 0));
    assert_int_equal(session_command_exit(session), 0);
    assert_int_equal(rank->dropped, 0);
    assert_int_equal(records_of(rank, "encoder", "encoder"), 1470);
    session_free(session);
}

/* To who does not greet first the front does not listen: nobody finds the link open before it has greeted. */
static void the_greeting_comes_first(void **state)
{
    (void)state;
    struct session *session = run("greeting", "20");
    assert_int_equal(session_command_exit(session), 0);
    const struct rank *rank = run_lead(session_run(session, 0));
    assert_true(records_of(rank, "encoder", "encoder") > 0);
    session_free(session);
}

static void lies_cost_the_liar_its_link_alone(void **state)
{
    (void)state;
    struct session *session = run("lies", "40");
    assert_int_equal(session_command_exit(session), 0);
    assert_true(has_line(session, "program: done", false));
    session_free(session);
}

static void a_workers_words_are_no_programs(void **state)
{
    (void)state;
    struct session *session = run("plan", "1");
    assert_int_equal(session_command_exit(session), 0);
    bool said = false;
    for (size_t i = 0; i < session_log_count(session); i++)
        said |=
            strstr(session_log(session, i)->text, "sent a plan message, which is a worker's: its link is cut") != NULL;
    assert_true(said);
    session_free(session);
}

static void a_window_leaves_the_program_alone(void **state)
{
    (void)state;
    const char *const command[] = {ATTACH_PROGRAM, "ranges", "1500", NULL};
    struct session *session = attach(&(struct attach_options){.steps = 5}, command);
    run_to_end(session);
    assert_true(session_detached(session));
    assert_int_equal(session_command_exit(session), 0);
    assert_true(has_line(session, "program: done", false));
    const struct rank *rank = run_lead(session_run(session, 0));
    assert_true(rank->samples.count >= 6 && rank->samples.count < 1000);
    session_free(session);
}

static void a_time_leaves_the_program_alone(void **state)
{
    (void)state;
    const char *const command[] = {ATTACH_PROGRAM, "ranges", "1500", NULL};
    struct session *session = attach(&(struct attach_options){.for_ns = 200000000, .skip = 3}, command);
    const uint64_t start = clock_now();
    uint64_t left_at = 0;
    while (!session_idle(session) && clock_now() < start + 60000000000u) {
        session_step(session);
        left_at = left_at || !session_detached(session) ? left_at : clock_now();
        usleep(1000);
    }
    assert_int_equal(session_command_exit(session), 0);
    assert_true(has_line(session, "program: done", false));
    assert_true(left_at >= start + 200000000u);
    const struct rank *rank = run_lead(session_run(session, 0));
    unsigned warmup = 0;
    uint64_t last = 0;
    for (size_t i = 0; i < rank->samples.count; i++) {
        warmup += rank->samples.items[i].kind == STEP_WARMUP;
        last = rank->samples.items[i].start;
    }
    /* How many steps there are in that time is the machine's matter. */
    assert_int_equal(warmup, rank->samples.count < 1 + 3 ? rank->samples.count : 1 + 3);
    /* A program of a second and more: what it did after it was left alone is not here. */
    assert_true(rank->samples.count < 1400);
    assert_true(last < left_at);
    session_free(session);
}

/* What was attached to plays again: the same layers, steps and records. */
static void a_recording_plays_again(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-test-XXXXXX", file[64];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/recording", folder);
    struct error error = {0};
    const char *const command[] = {ATTACH_PROGRAM, "ranges", "60", NULL};
    struct session *session =
        session_create(&(struct session_options){.program = STEPTOP_BINARY, .record_file = file}, &error);
    assert_non_null(session);
    const struct attach_options options = {
        .command = command, .library = STEPTOP_ATTACH_LIBRARY, .python_folder = STEPTOP_ATTACH_PYTHON};
    assert_int_not_equal(session_attach(session, &options, &error), 0);
    run_to_end(session);
    struct session *again = session_create(&(struct session_options){.program = STEPTOP_BINARY}, &error);
    assert_non_null(again);
    if (!session_replay(again, file, 0, &error))
        fail_msg("%s", error.text);
    run_to_end(again);
    for (size_t i = 0; i < session_log_count(again); i++)
        assert_null(strstr(session_log(again, i)->text, "recording"));
    assert_int_equal(session_run_count(again), 1);
    const struct run *a = session_run(session, 0), *b = session_run(again, 0);
    assert_int_equal(a->status, b->status);
    assert_true(b->replayed);
    assert_string_equal(a->command, b->command);
    assert_int_equal(run_lead(a)->samples.count, run_lead(b)->samples.count);
    assert_memory_equal(run_lead(a)->samples.items, run_lead(b)->samples.items,
                        run_lead(a)->samples.count * sizeof *run_lead(a)->samples.items);
    assert_int_equal(run_lead(a)->places.scopes.count, run_lead(b)->places.scopes.count);
    assert_int_equal(records_of(run_lead(b), "encoder", "encoder"), 58);
    assert_int_equal(records_of(run_lead(b), "decoder.attention", "attention"), 58);
    struct idle_total before, after;
    aggregate_idle(run_lead(a)->aggregate, PASS_TRAIN_STEP, &before);
    aggregate_idle(run_lead(b)->aggregate, PASS_TRAIN_STEP, &after);
    assert_int_equal(before.steps, after.steps);
    assert_int_equal(before.ns[IDLE_LAUNCH], after.ns[IDLE_LAUNCH]);
    session_free(again);
    session_free(session);
    unlink(file);
    rmdir(folder);
}

/* The front goes while the program runs: its descriptors are closed, and nobody drains the ring any more, nor reads what the program says,
 * which is more than a pipe holds. */
static void the_front_may_die(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-test-XXXXXX", script[400], file[64];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/code", folder);
    snprintf(script, sizeof script, "'%s' chatty 800; echo $? > %s", ATTACH_PROGRAM, file);
    const char *const command[] = {"/bin/sh", "-c", script, NULL};
    struct session *session = attach(NULL, command);
    const uint64_t end = clock_now() + 30000000000u;
    while (run_lead(session_run(session, 0))->samples.count < 10 && clock_now() < end) {
        session_step(session);
        usleep(2000);
    }
    session_free(session);
    char code[16] = "";
    while (!code[0] && clock_now() < end) {
        FILE *written = fopen(file, "re");
        if (written && !fgets(code, sizeof code, written))
            code[0] = 0;
        if (written)
            fclose(written);
        usleep(20000);
    }
    assert_string_equal(code, "0\n");
    unlink(file);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_become_layers_and_steps),
        cmocka_unit_test(a_host_that_sleeps_is_why_nothing_runs),
        cmocka_unit_test(a_front_of_one_rank_shows_it),
        cmocka_unit_test(a_worker_that_waits_for_a_disk_is_seen),
        cmocka_unit_test(itt_tasks_are_ranges),
        cmocka_unit_test(what_was_compiled_is_seen_between_its_operators),
        cmocka_unit_test(what_pytorch_tells_by_ranges_is_ops_and_nodes),
        cmocka_unit_test(exit_codes_are_the_programs),
        cmocka_unit_test(the_end_wakes_who_waits),
        cmocka_unit_test(python_keeps_no_line_back),
        cmocka_unit_test(a_forked_child_is_quiet),
        cmocka_unit_test(what_the_program_closes_is_ours_no_more),
        cmocka_unit_test(what_is_executed_is_a_process_of_its_own),
        cmocka_unit_test(many_processes_are_ranks),
        cmocka_unit_test(ranks_are_called_as_their_launcher_does),
        cmocka_unit_test(a_flood_is_counted_and_not_waited_for),
        cmocka_unit_test(a_late_front_misses_nothing),
        cmocka_unit_test(the_greeting_comes_first),
        cmocka_unit_test(lies_cost_the_liar_its_link_alone),
        cmocka_unit_test(a_workers_words_are_no_programs),
        cmocka_unit_test(a_window_leaves_the_program_alone),
        cmocka_unit_test(a_time_leaves_the_program_alone),
        cmocka_unit_test(a_recording_plays_again),
        cmocka_unit_test(the_front_may_die),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
