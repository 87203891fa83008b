/* CUDA's way into a program, against a driver that injects and a CUPTI without a GPU: kernels of two threads and of a graph find their
 * ranges, recording pauses so that it stays within its share, and a CUPTI that is taken or gives up costs the kernels alone. */
#include "base/clock.h"
#include "base/unknown.h"
#include "profiler/attach.h"
#include "report/report.h"
#include "tests/profiler/session_helpers.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct session *run_for(const char *cupti, const char *steps, const char *mode, uint32_t measured)
{
    struct error error = {0};
    const char *const command[] = {ATTACH_CUDA, steps, mode, NULL};
    const struct attach_options options = {.command = command,
                                           .library = STEPTOP_ATTACH_LIBRARY,
                                           .python_folder = STEPTOP_ATTACH_PYTHON,
                                           .steps = measured};
    setenv("FAKE_CUPTI", cupti, 1);
    struct session *session = session_create(&(struct session_options){.program = STEPTOP_BINARY}, &error);
    assert_non_null(session);
    if (!session_attach(session, &options, &error))
        fail_msg("%s", error.text);
    assert_true(session_until(session, 60, session_idle, NULL));
    assert_int_equal(session_command_exit(session), 0);
    return session;
}

static struct session *run(const char *cupti, const char *steps, const char *mode)
{
    return run_for(cupti, steps, mode, 0);
}

static uint64_t records_of(const struct rank *rank, const char *path, const char *name)
{
    size_t count;
    uint64_t records = 0;
    const struct entry *entries = aggregate_entries(rank->aggregate, &count);
    for (size_t i = 0; i < count; i++) {
        const struct place *place = places_at(&rank->places, entries[i].place);
        const char *where = place->scope >= 0 ? rank->places.scopes.items[place->scope].path : "";
        if ((!path || strcmp(where, path) == 0) &&
            strcmp(aggregate_name_text(rank->aggregate, entries[i].name), name) == 0)
            records += entries[i].time.n + entries[i].warmup.n;
    }
    return records;
}

static const char *note_of(const struct run *run, const char *key)
{
    for (size_t i = 0; i < run->notes.count; i++)
        if (strcmp(run->notes.items[i].key, key) == 0)
            return run->notes.items[i].text;
    return "";
}

/* A machine whose other work makes steps wander makes the figures unreliable, and the run no worse; one that stands still for long makes
 * steps suspended, whose kernels are there. */
static bool is_whole(const struct run *run)
{
    return run->status == STATUS_OK || run->status == STATUS_UNRELIABLE;
}

/* Where the machine keeps a program from its second step for a second, that second of the clock is a step of its own (steps_clock), with
 * what was launched in it or nothing. */
#define CLOCK_STEPS 1
#define FIRST_STEPS 8 /* launches of one graph that are of one step, before they are the steps */

struct kinds {
    unsigned counts[STEP_KIND_COUNT];
    double wall_ns[STEP_KIND_COUNT];
};

static struct kinds kinds_of(const struct rank *rank)
{
    struct kinds kinds = {0};
    for (size_t i = 0; i < rank->samples.count; i++) {
        kinds.counts[rank->samples.items[i].kind]++;
        kinds.wall_ns[rank->samples.items[i].kind] += (double)rank->samples.items[i].wall_ns;
    }
    return kinds;
}

static void kernels_find_their_ranges(void **state)
{
    const char *cupti = *state;
    struct session *session = run(cupti, "400", NULL);
    const struct run *found = session_run(session, 0);
    const struct rank *rank = run_lead(found);
    const struct kinds kinds = kinds_of(rank);
    assert_non_null(strstr(note_of(found, "kernels"), "CUPTI"));
    /* Whole steps, each with all that it launched: what ended after the program's last word counts as well. */
    const unsigned recorded = kinds.counts[STEP_WARMUP] + kinds.counts[STEP_PROFILED];
    const uint64_t launched = records_of(rank, "encoder", "gemm_kernel");
    assert_true(launched % 10 == 0 && launched / 10 + CLOCK_STEPS >= recorded &&
                launched / 10 <= recorded + 1 + found->suspended.steps);
    assert_int_equal(records_of(rank, NULL, "gemm_kernel"), launched);
    assert_int_equal(records_of(rank, "captured", "node_kernel"), launched / 10 * 3);
    assert_int_equal(records_of(rank, NULL, "node_kernel"), launched / 10 * 3);
    /* The other thread's are its own. */
    assert_true(records_of(rank, "loader", "copy_kernel") > 0);
    assert_int_equal(records_of(rank, NULL, "copy_kernel"), records_of(rank, "loader", "copy_kernel"));
    assert_int_equal(rank->dropped, 0);
    /* Half as long again while it records: bursts of four, and some forty steps between. On a machine whose other work hides the
     * difference that is so until it is measured, and then all but a few are recorded. */
    assert_true(kinds.counts[STEP_TIMED] >= 40);
    assert_true(kinds.counts[STEP_PROFILED] >= 8);
    assert_true(strstr(note_of(found, "recorded"), "4 steps, then ") ||
                strstr(note_of(found, "recorded"), "all steps but 4"));
    session_free(session);
}

static void a_cupti_that_is_taken_costs_the_kernels_alone(void **state)
{
    (void)state;
    setenv("FAKE_CUPTI_BUSY", "1", 1);
    struct session *session = run(CUPTI_13, "30", NULL);
    unsetenv("FAKE_CUPTI_BUSY");
    const struct run *found = session_run(session, 0);
    assert_non_null(strstr(note_of(found, "kernels"), "error 39"));
    assert_int_equal(records_of(run_lead(found), NULL, "gemm_kernel"), 0);
    assert_true(kinds_of(run_lead(found)).counts[STEP_PROFILED] > 10);
    session_free(session);
}

static void a_cupti_that_gives_up_is_left_alone(void **state)
{
    (void)state;
    struct session *session = run(CUPTI_13, "200", "fatal");
    const struct run *found = session_run(session, 0);
    assert_non_null(strstr(note_of(found, "profiler"), "gave up"));
    assert_true(records_of(run_lead(found), "encoder", "gemm_kernel") > 0);
    session_free(session);
}

/* The program's own profiler takes CUPTI down while we watch: kernels end, steps go on, and so does the program. */
static void a_cupti_that_is_finalized_costs_the_kernels_alone(void **state)
{
    (void)state;
    struct session *session = run(CUPTI_13, "200", "finalize");
    const struct run *found = session_run(session, 0);
    const struct kinds kinds = kinds_of(run_lead(found));
    assert_true(is_whole(found));
    assert_int_equal(session_command_exit(session), 0);
    assert_true(records_of(run_lead(found), "encoder", "gemm_kernel") > 0);
    assert_true(kinds.counts[STEP_PROFILED] + kinds.counts[STEP_TIMED] + found->suspended.steps >= 150);
    assert_non_null(strstr(note_of(found, "profiler"), "CUPTI")); /* and it is said */
    session_free(session);
}

/* What was traced for the measured steps is not traced for the hours after them. */
static void a_program_that_is_left_alone_is_not_traced(void **state)
{
    (void)state;
    struct session *session = run_for(CUPTI_13, "100", "left", 2);
    assert_true(kinds_of(run_lead(session_run(session, 0))).counts[STEP_PROFILED] < 60);
    session_free(session);
}

/* What a step does by the shapes of its ops is that of the kernels of their class in their layer, by their time. */
static void work_that_becomes_known_is_that_of_the_layers_kernels(void **state)
{
    (void)state;
    struct session *session = run(CUPTI_13, "120", "work");
    struct report report;
    report_init(&report);
    report_update(&report, session);
    for (size_t i = 0; i < session_log_count(session); i++)
        assert_null(strstr(session_log(session, i)->text, "lost"));
    const struct report_cell *cell = report.cells.items[0];
    const struct report_pass *pass = &cell->passes[PASS_TRAIN_STEP];
    assert_true(fabs(cell->flops[PASS_TRAIN_STEP] - 4e6) <= 1);
    assert_true(pass->profiled_steps > 4);
    double flops = 0, bytes = 0;
    for (size_t i = 0; i < cell->kernel_count; i++) {
        const struct report_kernel *kernel = &cell->kernels[i];
        const bool product = strcmp(kernel->name, "gemm_kernel") == 0 && is_known(kernel->flops);
        flops += product ? kernel->flops : 0;
        bytes += product ? kernel->bytes : 0;
        if (!product)
            assert_true(!is_known(kernel->flops)); /* of none, and not of nothing */
    }
    assert_true(fabs(flops - 4e6 * (double)pass->profiled_steps) <= 1e3);
    assert_true(fabs(bytes - 3e5 * (double)pass->profiled_steps) <= 1e3);
    report_free(&report);
    session_free(session);
}

static void launches_of_one_graph_are_steps(void **state)
{
    (void)state;
    struct session *session = run(CUPTI_13, "400", "graph");
    const struct run *found = session_run(session, 0);
    const struct rank *rank = run_lead(found);
    const struct kinds kinds = kinds_of(rank);
    assert_string_equal(note_of(found, "steps"), "from one launch of a CUDA graph to the next");
    /* Recording pauses here as well, and steps are told by the launches meanwhile. */
    const unsigned steps = kinds.counts[STEP_WARMUP] + kinds.counts[STEP_PROFILED] + kinds.counts[STEP_TIMED];
    assert_true(steps + found->suspended.steps >= 400 - FIRST_STEPS &&
                steps + found->suspended.steps <= 400 - FIRST_STEPS + CLOCK_STEPS);
    assert_true(kinds.counts[STEP_WARMUP] >= 1 && kinds.counts[STEP_TIMED] >= 80 && kinds.counts[STEP_PROFILED] >= 12);
    assert_string_equal(note_of(found, "recorded"), "4 steps, then 28 that are not");
    /* All of a recorded step, nothing of the others; eight launches more are of the first step, whose rule was not known yet. */
    const uint64_t nodes = records_of(rank, "captured", "node_kernel");
    assert_int_equal(nodes, records_of(rank, NULL, "node_kernel"));
    assert_int_equal(nodes % 3, 0);
    const uint64_t whole = FIRST_STEPS + kinds.counts[STEP_WARMUP] + kinds.counts[STEP_PROFILED];
    assert_true(nodes / 3 + 1 + CLOCK_STEPS >= whole &&
                nodes / 3 <= whole + found->suspended.steps); /* the last may not have ended */
    assert_int_equal(rank->dropped, 0);
    session_free(session);
}

/* A CUPTI whose records bear the numbers of the runtime's calls, which are not watched at first. */
static void activities_numbered_by_the_runtime_are_found(void **state)
{
    (void)state;
    setenv("FAKE_CUPTI_RUNTIME", "1", 1);
    struct session *session = run(CUPTI_13, "400", "nested");
    unsetenv("FAKE_CUPTI_RUNTIME");
    const struct run *found = session_run(session, 0);
    assert_non_null(strstr(note_of(found, "launches"), "the runtime's calls are watched"));
    const uint64_t all = records_of(run_lead(found), NULL, "gemm_kernel");
    assert_true(records_of(run_lead(found), "encoder", "gemm_kernel") * 2 > all);
    session_free(session);
}

/* Told by the calls themselves: asked for records of synchronisations, CUPTI never lets go of what that costs. */
static void waiting_for_the_device_is_seen(void **state)
{
    (void)state;
    struct session *session = run(CUPTI_13, "60", "waits");
    const struct run *found = session_run(session, 0);
    const struct rank *rank = run_lead(found);
    const struct kinds kinds = kinds_of(rank);
    const uint64_t waits = records_of(rank, "encoder", "stream synchronize");
    const unsigned recorded = kinds.counts[STEP_WARMUP] + kinds.counts[STEP_PROFILED];
    assert_true(waits + CLOCK_STEPS >= recorded && waits <= recorded + 1 + found->suspended.steps);
    assert_int_equal(records_of(rank, NULL, "stream synchronize"), waits);
    size_t count;
    const struct entry *entries = aggregate_entries(rank->aggregate, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(aggregate_name_text(rank->aggregate, entries[i].name), "stream synchronize") == 0) {
            assert_int_equal(entries[i].kind, RECORD_SYNC);
            assert_true(entries[i].time.n == 0 || entries[i].time.min >= 300000);
        }
    session_free(session);
}

/* As torch.distributed.run does before it starts its ranks: the first of them would otherwise be one without steps. */
static void who_only_looks_for_cards_is_no_rank(void **state)
{
    (void)state;
    struct session *session = run(CUPTI_13, "20", "launcher");
    const struct run *found = session_run(session, 0);
    assert_int_equal(found->ranks.count, 1);
    assert_true(found->ranks.items[0]->profiled_wall[PASS_TRAIN_STEP].n > 0);
    session_free(session);
}

/* CUPTI that comes in the middle of a program, with a graph that was captured before. */
static void a_cupti_that_comes_late_sees_what_is_left(void **state)
{
    (void)state;
    struct session *session = run(CUPTI_13, "400", "late");
    const struct run *found = session_run(session, 0);
    const struct rank *rank = run_lead(found);
    assert_true(is_whole(found));
    assert_non_null(strstr(note_of(found, "kernels"), "CUPTI"));
    const uint64_t launched = records_of(rank, NULL, "gemm_kernel");
    assert_true(launched >= 10 && launched <= 10 * 300); /* of 400 steps the last three quarters */
    assert_int_equal(records_of(rank, "", "gemm_kernel"),
                     launched); /* modules would name them; ranges are not to be had */
    assert_true(records_of(rank, "", "node_kernel") > 0);
    assert_int_equal(rank->dropped, 0);
    session_free(session);
}

int main(void)
{
    static char thirteen[] = CUPTI_13, twelve[] = CUPTI_12;
    const struct CMUnitTest tests[] = {
        {"kernels find their ranges", kernels_find_their_ranges, NULL, NULL, thirteen},
        {"kernels find their ranges by CUPTI 12", kernels_find_their_ranges, NULL, NULL, twelve},
        cmocka_unit_test(a_cupti_that_is_taken_costs_the_kernels_alone),
        cmocka_unit_test(a_cupti_that_gives_up_is_left_alone),
        cmocka_unit_test(a_cupti_that_is_finalized_costs_the_kernels_alone),
        cmocka_unit_test(a_program_that_is_left_alone_is_not_traced),
        cmocka_unit_test(work_that_becomes_known_is_that_of_the_layers_kernels),
        cmocka_unit_test(launches_of_one_graph_are_steps),
        cmocka_unit_test(activities_numbered_by_the_runtime_are_found),
        cmocka_unit_test(waiting_for_the_device_is_seen),
        cmocka_unit_test(a_cupti_that_comes_late_sees_what_is_left),
        cmocka_unit_test(who_only_looks_for_cards_is_no_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
