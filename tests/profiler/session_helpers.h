/* A session driven by a plain loop, for tests. */
#pragma once
#include "base/clock.h"
#include "profiler/session.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#ifdef __SANITIZE_THREAD__
/* Workers' kernels run on threads of libgomp, whose barriers nobody told ThreadSanitizer of; what else a worker does is watched. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:steptop-cpu.so\ncalled_from_lib:libgomp.so\n";
}
#endif

/* Steps until `done` says so, or `seconds` are over; true when done. The longest call of session_step is kept. */
__attribute__((unused)) static bool session_until(struct session *session, double seconds,
                                                  bool (*done)(const struct session *), uint64_t *longest)
{
    const uint64_t end = clock_now() + (uint64_t)(seconds * 1e9);
    while (!done(session)) {
        if (clock_now() > end)
            return false;
        struct pollfd fds[600]; /* of an attached command with many processes */
        int timeout;
        const int count = session_poll(session, fds, sizeof fds / sizeof *fds, &timeout);
        poll(fds, (nfds_t)count, timeout < 0 || timeout > 50 ? 50 : timeout);
        const uint64_t start = clock_now();
        session_step(session);
        const uint64_t took = clock_now() - start;
        if (longest && took > *longest)
            *longest = took;
    }
    return true;
}

__attribute__((unused)) static struct session *session_of(const char *program, const char *record_file)
{
    struct error error = {0};
    const struct session_options options = {.program = program, .record_file = record_file, .ring_records = 1u << 14};
    struct session *session = session_create(&options, &error);
    if (!session)
        fail_msg("%s", error.text);
    return session;
}

__attribute__((unused)) static struct cell tiny_cell(void)
{
    struct cell cell;
    struct error error = {0};
    cell_default(&cell);
    if (!model_preset_find("tiny", &cell.model, &error))
        fail_msg("%s", error.text);
    cell.batch_size = 2;
    cell.context_length = 32;
    cell.warmup = 1;
    cell.steps = 3;
    cell.threads = 1;
    return cell;
}

/* A small training step of as many ranks. */
__attribute__((unused)) static struct cell small_cell_of_ranks(int ranks, enum parallel parallel)
{
    struct cell cell = tiny_cell();
    cell.model.num_layers = 2;
    cell.model.d_model = 64;
    cell.model.d_ff = 128;
    cell.model.num_heads = 2;
    cell.model.vocab_size = 100;
    cell.batch_size = 1;
    cell.context_length = 16;
    cell.ranks = ranks;
    cell.threads = ranks;
    cell.parallel = parallel;
    cell.passes = PASS_BIT(PASS_TRAIN_STEP);
    return cell;
}
