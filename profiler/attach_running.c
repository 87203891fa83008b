/* Into a process that runs already: what it is to run so that it connects, and what is looked at before it is touched. */
#include "base/clock.h"
#include "base/strbuf.h"
#include "profiler/attach_internal.h"
#include "profiler/remote.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A path as an expression of Python that has no quote in it, whatever the path has. */
static void put_path(struct strbuf *script, const char *path)
{
    strbuf_puts(script, "__import__('os').fsdecode(b'");
    for (; *path; path++)
        strbuf_printf(script, "\\x%02x", (unsigned char)*path);
    strbuf_puts(script, "')");
}

/* In a namespace of its own: nothing is left in the program's. */
static void script_make(struct strbuf *script, const struct attach *attach)
{
    strbuf_puts(script, "try:\n exec(compile(open(");
    struct strbuf late = {0};
    strbuf_printf(&late, "%s/steptop_late.py", attach->options.python_folder);
    put_path(script, late.text ? late.text : "");
    strbuf_puts(script, ").read(), 'steptop_late.py', 'exec'), {'__name__': '_steptop_late', 'FOLDER': ");
    put_path(script, attach->options.python_folder);
    strbuf_puts(script, ", 'LIBRARY': ");
    put_path(script, attach->options.library);
    strbuf_puts(script, ", 'SOCKET': ");
    put_path(script, attach->path);
    strbuf_puts(script, "})\nexcept Exception:\n pass\n");
    strbuf_release(&late);
}

/* Is what has this path here the same there? */
static bool sees(pid_t pid, const char *path)
{
    char there[4300];
    struct stat ours, theirs;
    snprintf(there, sizeof there, "/proc/%d/root%s", (int)pid, path);
    return stat(path, &ours) == 0 && stat(there, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
           ours.st_dev == theirs.st_dev;
}

bool attach_running_begin(struct attach *attach, struct error *error)
{
    const pid_t pid = attach->options.pid;
    struct stat status;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    if (stat(path, &status) != 0)
        return error_set(error, ERROR_INPUT, "there is no process %d", (int)pid);
    /* Its folder is its user's; where that may not be looked into, remote_run_python knows why. */
    snprintf(path, sizeof path, "/proc/%d/root/", (int)pid);
    if (access(path, R_OK) == 0 && (!sees(pid, attach->options.library) || !sees(pid, attach->path)))
        return error_set(error, ERROR_UNSUPPORTED,
                         "process %d sees other files than this one (a container): run steptop inside of it", (int)pid);
    if (geteuid() == 0 && status.st_uid != 0 &&
        (chown(attach->folder, status.st_uid, status.st_gid) != 0 ||
         chown(attach->path, status.st_uid, status.st_gid) != 0))
        return error_set(error, ERROR_SYSTEM, "cannot let process %d's user in: %s", (int)pid, strerror(errno));
    struct strbuf script = {0};
    script_make(&script, attach);
    const bool told = script.text ? remote_run_python(pid, script.text, error)
                                  : error_set(error, ERROR_MEMORY, "no memory for a script");
    strbuf_release(&script);
    return told;
}

bool attach_running_reason(const struct attach *attach, char *reason, size_t size)
{
    char path[sizeof attach->folder + 8], text[512];
    snprintf(path, sizeof path, "%s/reason", attach->folder);
    FILE *file = attach->folder[0] ? fopen(path, "re") : NULL;
    if (!file)
        return false;
    const size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    unlink(path);
    text_copy(reason, size, text, length);
    return length > 0;
}

static bool has_ended(const struct attach *attach)
{
    struct pollfd poller = {.fd = attach->ended, .events = POLLIN};
    return attach->ended < 0 || (poll(&poller, 1, 0) == 1 && poller.revents);
}

bool attach_running_look(struct session *session)
{
    struct attach *attach = session->attach;
    struct link *first = session->links.items[0];
    const bool refused =
        session->links.count == 1 && attach_running_reason(attach, attach->reason, sizeof attach->reason);
    if (first->exited || !(refused || attach->detached || has_ended(attach)))
        return false;
    first->exited = true;
    attach->linger_until = clock_now() + ATTACH_LINGER_NS;
    return true;
}

/* Once, and never by force: what has run for days may have its last model to write. */
void attach_running_stop(struct session *session, enum status status, const char *reason)
{
    struct ending *ending = &session->ending;
    if (ending->forced == STATUS_PENDING) {
        ending->forced = status;
        text_copy(ending->forced_reason, sizeof ending->forced_reason, reason, strlen(reason));
    }
    if (session->attach->ended >= 0)
        syscall(SYS_pidfd_send_signal, session->attach->ended, SIGTERM, NULL, 0);
}

char *attach_running_command(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    while (length && !text[length - 1])
        length--;
    for (size_t i = 0; i < length; i++)
        text[i] = text[i] ? text[i] : ' ';
    text[length] = 0;
    char *command = NULL;
    if (!length && asprintf(&command, "process %d", (int)pid) < 0)
        return NULL;
    command = command ? command : strdup(text);
    if (command)
        text_clean(command, strlen(command));
    return command;
}
