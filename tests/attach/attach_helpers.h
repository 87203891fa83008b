/* A session that a program is attached to, for tests. */
#pragma once
#include "profiler/attach.h"
#include "tests/profiler/session_helpers.h"
#include <unistd.h>

__attribute__((unused)) static struct session *attach(const struct attach_options *wanted, const char *const *command)
{
    struct error error = {0};
    struct attach_options options = wanted ? *wanted : (struct attach_options){0};
    options.command = command;
    options.library = STEPTOP_ATTACH_LIBRARY;
    options.python_folder = STEPTOP_ATTACH_PYTHON;
    struct session *session = session_create(&(struct session_options){.program = STEPTOP_BINARY}, &error);
    assert_non_null(session);
    if (!session_attach(session, &options, &error))
        fail_msg("%s", error.text);
    return session;
}

__attribute__((unused)) static void run_to_end(struct session *session)
{
    assert_true(session_until(session, 60, session_idle, NULL));
}

/* Goes on until the first process has so many samples, or for so long. */
__attribute__((unused)) static void run_for(struct session *session, size_t samples, uint64_t ns)
{
    const uint64_t until = clock_now() + ns;
    while (clock_now() < until &&
           (!session_run_count(session) || run_lead(session_run(session, 0))->samples.count < samples))
        if (!session_step(session))
            usleep(1000);
}
