/* What keeps a program from running, and what does not. */
#include "tests/attach/attach_helpers.h"
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* The least that any thread of a process has waited for a processor, ns, as the system says; 0: it does not. */
static uint64_t least_waited(pid_t process)
{
    char path[320], line[96] = "";
    uint64_t least = UINT64_MAX;
    snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        unsigned long long ran = 0, waited = 0;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)process, entry->d_name);
        FILE *file = fopen(path, "re");
        const bool told =
            file && fgets(line, sizeof line, file) && sscanf(line, "%llu %llu", &ran, &waited) == 2 && ran;
        if (file)
            fclose(file);
        least = !told ? 0 : waited < least ? waited : least;
    }
    if (folder)
        closedir(folder);
    return least == UINT64_MAX ? 0 : least;
}

/* Each thread of a process runs only when nobody else would. */
static bool let_others_go_first(pid_t process)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    DIR *folder = opendir(path);
    bool set = folder != NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            set &= sched_setscheduler((pid_t)atoi(entry->d_name), SCHED_IDLE, &(struct sched_param){0}) == 0;
    if (folder)
        closedir(folder);
    return set;
}

/* A program that waits for the processor which others have goes on, if slowly: it was neither stopped nor frozen nor asleep. */
static void a_starved_program_was_not_stopped(void **state)
{
    (void)state;
    cpu_set_t all, one;
    int last = 0;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    while (!CPU_ISSET(last, &all))
        last++;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    sched_setaffinity(0, sizeof one, &one); /* the program's, too */
    const char *const command[] = {ATTACH_PROGRAM, "asleep", "100", NULL};
    struct session *session = attach(NULL, command);
    run_for(session, 20, 60000000000u);
    const struct run *found = session_run(session, 0);
    const pid_t process = run_lead(found)->process;
    sched_setaffinity(0, sizeof all, &all);
    const uint64_t before = least_waited(process);
    const pid_t other = fork(); /* who always wants its processor */
    if (other == 0) {
        alarm(90);
        sched_setaffinity(0, sizeof one, &one);
        setpriority(PRIO_PROCESS, 0, -20); /* where that is ours to set: so long does nobody wait otherwise */
        for (;;)
            ;
    }
    const bool starves = let_others_go_first(process);
    /* Until each of its threads has waited three seconds. */
    const uint64_t until = clock_now() + 60000000000u;
    while (starves && before && least_waited(process) < before + 3000000000u && clock_now() < until)
        run_for(session, SIZE_MAX, 50000000u);
    const bool waited = least_waited(process) >= before + 3000000000u;
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    run_to_end(session);
    assert_int_equal(found->status, STATUS_OK);
    const struct suspension suspended = found->suspended;
    session_free(session);
    if (!before || !waited) /* or a kernel that does not count */
        skip();
    assert_int_equal(suspended.times, 0);
    assert_int_equal(suspended.steps, 0);
}

/* Time in which the program was stopped is in no step and no range, and is told. */
static void stopped_time_is_no_step(void **state)
{
    (void)state;
    const char *const command[] = {ATTACH_PROGRAM, "ranges", "3000", NULL};
    struct session *session = attach(NULL, command);
    run_for(session, 50, 60000000000u);
    const struct run *found = session_run(session, 0);
    const struct rank *rank = run_lead(found);
    assert_int_equal(kill(rank->process, SIGSTOP), 0);
    run_for(session, SIZE_MAX, 2000000000u);
    assert_int_equal(kill(rank->process, SIGCONT), 0);
    run_to_end(session);
    assert_int_equal(found->status, STATUS_OK);
    assert_true(found->suspended.times >= 1 && found->suspended.ns >= 1900000000u);
    assert_true(found->suspended.steps >= 1);
    for (size_t i = 0; i < rank->samples.count; i++)
        assert_true(rank->samples.items[i].wall_ns < 1900000000u);
    size_t count;
    const struct entry *entries = aggregate_entries(rank->aggregate, &count);
    for (size_t i = 0; i < count; i++)
        assert_true(entries[i].time.n == 0 || entries[i].time.max < 1900000000u);
    session_free(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_starved_program_was_not_stopped),
        cmocka_unit_test(stopped_time_is_no_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
