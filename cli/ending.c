#include "cli/ending.h"

static bool failed(enum status status)
{
    return status != STATUS_OK && status != STATUS_UNRELIABLE && status != STATUS_INTERRUPTED;
}

/* The worker names the device as soon as it has found it, and calls it unsupported when there is none. What kept the worker
 * from looking (no descriptors, no process, a crash) says nothing of the device. */
static bool lacks_device(const struct run *run)
{
    return !run->replayed && run->status == STATUS_UNSUPPORTED && !run_lead(run)->device.name[0];
}

int session_exit_code(const struct session *session, int signal)
{
    const size_t count = session_run_count(session);
    size_t bad = 0, no_device = 0;
    if (signal)
        return 128 + signal;
    const struct error *cut = session_recording_cut(session);
    if (cut)
        return cut->kind == ERROR_INPUT ? EXIT_INPUT : EXIT_FAILED;
    for (size_t i = 0; i < count; i++) {
        const struct run *run = session_run(session, i);
        bad += failed(run->status);
        no_device += lacks_device(run);
    }
    return !bad ? EXIT_OK : no_device == count ? EXIT_DEVICE : EXIT_FAILED;
}

bool files_renew(const struct outputs *outputs, struct report *report, const struct session *session,
                 struct error *error)
{
    report_update(report, session);
    return outputs_write(outputs, report, error);
}
