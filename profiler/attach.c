#include "base/clock.h"
#include "base/launcher.h"
#include "base/strbuf.h"
#include "base/unknown.h"
#include "profiler/attach_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALONE_NS 5000000000u /* a Python that imports PyTorch takes a second or two before it connects */
#define HELLO_BYTES (sizeof(struct message_header) + sizeof(struct message_hello) + 1024)

/* ---- the run ---- */

void attach_free(struct attach *attach)
{
    if (!attach)
        return;
    for (size_t i = 0; i < attach->pending.count; i++)
        close(attach->pending.items[i]);
    vec_release(&attach->pending);
    if (attach->listener >= 0)
        close(attach->listener);
    if (attach->ended >= 0)
        close(attach->ended);
    if (attach->path[0])
        unlink(attach->path);
    if (attach->folder[0])
        rmdir(attach->folder);
    for (char **word = attach->command; word && *word; word++)
        free(*word);
    free(attach->command);
    free(attach);
}

static bool command_copy(struct attach *attach, const char *const *words)
{
    size_t count = 0;
    while (words[count])
        count++;
    attach->command = calloc(count + 1, sizeof *attach->command);
    for (size_t i = 0; attach->command && i < count; i++)
        if (!(attach->command[i] = strdup(words[i])))
            return false;
    return attach->command != NULL;
}

/* As a person would type it: words with anything but plain characters in single quotes. */
static char *command_text(const char *const *words)
{
    struct strbuf text = {0};
    for (size_t i = 0; words[i]; i++) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,+@%^";
        if (i)
            strbuf_puts(&text, " ");
        if (words[i][0] && words[i][strspn(words[i], plain)] == 0) {
            strbuf_puts(&text, words[i]);
            continue;
        }
        strbuf_puts(&text, "'");
        for (const char *c = words[i]; *c; c++)
            *c == '\'' ? strbuf_puts(&text, "'\\''") : strbuf_putc(&text, *c);
        strbuf_puts(&text, "'");
    }
    char *copy = text.text ? strdup(text.text) : NULL;
    strbuf_release(&text);
    if (copy)
        text_clean(copy, strlen(copy));
    return copy;
}

uint32_t session_attach(struct session *session, const struct attach_options *options, struct error *error)
{
    if (session->attach) {
        error_set(error, ERROR_USAGE, "a session attaches to one command");
        return 0;
    }
    struct attach *attach = calloc(1, sizeof *attach);
    struct live_run *live = NULL;
    char *text = NULL;
    if (attach)
        attach->listener = attach->ended = -1;
    if (!attach || (options->command && !command_copy(attach, options->command))) {
        error_set(error, ERROR_MEMORY, "no memory for a command");
        goto failed;
    }
    attach->options = *options;
    attach->options.command = (const char *const *)attach->command;
    attach->exit_code = -1;
    text = options->command ? command_text(options->command) : attach_running_command(options->pid);
    if (!text) {
        error_set(error, ERROR_MEMORY, "no memory for a command");
        goto failed;
    }
    struct cell cell;
    cell_of_command(&cell, text);
    cell.warmup = 1 + options->skip;
    cell.steps = options->steps ? options->steps : STEPS_FOREVER;
    live = session_append(session, &cell, error);
    if (!live)
        goto failed;
    live->run.command = text;
    attach->live = live;
    session->attach = attach;
    return live->run.id;
failed:
    free(text);
    attach_free(attach);
    return 0;
}

static bool listen_at(struct attach *attach, struct error *error)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!base || *base != '/' || access(base, W_OK) || strlen(base) > 60)
        base = "/tmp";
    snprintf(attach->folder, sizeof attach->folder, "%s/steptop-XXXXXX", base);
    if (!mkdtemp(attach->folder)) { /* for its owner alone */
        error_set(error, ERROR_SYSTEM, "cannot make a folder for the socket in %s: %s", base, strerror(errno));
        attach->folder[0] = 0;
        return false;
    }
    snprintf(attach->path, sizeof attach->path, "%s/socket", attach->folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", attach->path);
    attach->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (attach->listener < 0 || bind(attach->listener, (struct sockaddr *)&address, sizeof address) ||
        listen(attach->listener, 128))
        return error_set(error, ERROR_SYSTEM, "cannot listen on %s: %s", attach->path, strerror(errno));
    return true;
}

/* The command's own link: its output and its end. Processes that connect get links of their own, the first of them the same rank. */
bool attach_begin(struct session *session, struct live_run *live, struct error *error)
{
    struct attach *attach = session->attach;
    struct link *link = calloc(1, sizeof *link);
    if (!link)
        return error_set(error, ERROR_MEMORY, "no memory for a command");
    link->rank = live_rank_at(live, 0);
    link->process = (struct process){.control = -1, .output = -1, .errors = -1};
    vec_push(&session->links, link);
    if (!listen_at(attach, error))
        return false;
    const pid_t guest = attach->options.pid;
    if (guest) { /* before it is touched, so that its number is still its own */
        attach->ended = (int)syscall(SYS_pidfd_open, guest, 0);
        if (attach->ended < 0 && errno != ESRCH)
            return error_set(error, ERROR_SYSTEM, "cannot watch process %d: %s", (int)guest, strerror(errno));
    }
    if (guest ? !attach_running_begin(attach, error) : !attach_process_start(&link->process, attach, error))
        return false;
    if (!guest)
        attach->ended = (int)syscall(SYS_pidfd_open, link->process.pid, 0); /* closed by exec by itself */
    live_activity(live, guest ? "told the process; waiting for its Python" : "waiting for the program's first step");
    attach->alone_until = clock_now() + ALONE_NS;
    return true;
}

/* Whom one waits for is no secret: a command that replaces PYTHONPATH, say, would be waited for to its end. Who connects says "running". */
static void tell_alone(struct attach *attach, struct live_run *live, bool alone)
{
    if (!alone)
        attach->alone_until = 0;
    if (!attach->alone_until || clock_now() < attach->alone_until)
        return;
    attach->alone_until = 0;
    live_activity(live,
                  attach->options.pid
                      ? "its Python has not answered yet: its main thread is in a call that lasts"
                      : "nobody connects: no PyTorch, CUDA or ranges yet; or PYTHONPATH is not ours (env, -E, -I)");
}

/* ---- processes that connect ---- */

static void take_connections(struct attach *attach)
{
    for (int fd; (fd = accept4(attach->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;)
        if (attach->pending.count < ATTACH_RANKS_MAX)
            vec_push(&attach->pending, fd);
        else
            close(fd);
}

/* With the ring go the reading ends of the command's output, where it comes to us: should we end before it does, it would die of its next
 * line (attach/link.c). */
static bool answer(const struct attach *attach, const struct process *command, int fd, int ring)
{
    int fds[3] = {ring, command->output, command->errors};
    const size_t count = fds[1] >= 0 && fds[2] >= 0 ? 3 : 1;
    struct {
        struct message_header header;
        struct message_attach attach;
    } text = {{MESSAGE_ATTACH, sizeof(struct message_attach)},
              {.skip = attach->options.skip, .layers_only = attach->options.layers_only}};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof fds)];
    } control = {0};
    struct iovec part = {&text, sizeof text};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * sizeof *fds)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head =
        (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof *fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(head), fds, count * sizeof *fds);
    return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)sizeof text;
}

/* The rank of a process that has said who it is: the launcher's number on this machine where that is still free, else the next. Those
 * before it that have not connected yet are there from then on. The first rank was there before anybody had. */
static struct live_rank *rank_for(struct session *session, struct live_run *live, int32_t local, struct error *error)
{
    uint32_t wanted = local >= 0 && local < ATTACH_RANKS_MAX ? (uint32_t)local : 0;
    bool taken = false;
    for (size_t i = 1; i < session->links.count; i++)
        taken |= session->links.items[i]->rank->rank.index == wanted;
    if (taken)
        wanted = (uint32_t)live->run.ranks.count;
    while (wanted < ATTACH_RANKS_MAX && live->run.ranks.count <= wanted)
        if (!live_rank_add(live, error))
            return NULL;
    if (wanted >= ATTACH_RANKS_MAX)
        error_set(error, ERROR_UNSUPPORTED, "more than %d processes connect: the others are not shown",
                  ATTACH_RANKS_MAX);
    return wanted < ATTACH_RANKS_MAX ? live_rank_at(live, wanted) : NULL;
}

/* Of a launcher that starts this front once a rank the numbers are the front's own: its processes count from 0. */
static int32_t own_number(const struct message_hello *hello)
{
    struct launcher_rank own;
    return launcher_rank(&own) || own.local >= 0 ? -1 : hello->local;
}

/* Reads the hello of a connection. True: it is settled, one way or the other. */
static bool settle(struct session *session, struct live_run *live, int fd)
{
    struct attach *attach = session->attach;
    char bytes[HELLO_BYTES + 1];
    const ssize_t seen = recv(fd, bytes, HELLO_BYTES, MSG_PEEK | MSG_DONTWAIT);
    if (seen < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    struct message_header header = {0};
    struct message_hello hello;
    struct error error = {0};
    if (seen >= (ssize_t)sizeof header)
        memcpy(&header, bytes, sizeof header);
    if (seen >= (ssize_t)sizeof header && header.type == MESSAGE_HELLO &&
        message_length_valid(header.type, header.length) && seen < (ssize_t)(sizeof header + header.length))
        return false;
    if (seen < (ssize_t)(sizeof header + sizeof hello) || header.type != MESSAGE_HELLO ||
        !message_length_valid(header.type, header.length) ||
        recv(fd, bytes, sizeof header + header.length, 0) != (ssize_t)(sizeof header + header.length))
        goto refused;
    memcpy(&hello, bytes + sizeof header, sizeof hello);
    if (hello.version != PROTOCOL_VERSION || hello.record_bytes != sizeof(struct record)) {
        error_set(&error, ERROR_INPUT, "process %u has the library of another version of steptop", hello.process);
        goto refused;
    }
    struct live_rank *rank = rank_for(session, live, own_number(&hello), &error);
    struct link *link = rank ? rank_link_add(session, rank, &error) : NULL;
    if (!link)
        goto refused;
    link->process.control = fd;
    rank->rank.process = (pid_t)hello.process;
    char name[160], text[1100];
    snprintf(name, sizeof name, "rank %u process", rank->rank.index);
    text_copy(text, sizeof text, bytes + sizeof header + sizeof hello, header.length - sizeof hello);
    char note[1200];
    if (hello.rank >= 0)
        snprintf(note, sizeof note, "%u, RANK %d of %d: %s", hello.process, hello.rank, hello.world, text);
    else
        snprintf(note, sizeof note, "%u: %s", hello.process, text);
    live_note(live, name, note);
    if (!answer(attach, &session->links.items[0]->process, fd, ring_fd(link->ring))) {
        link->exited = link->done = true;
        close(fd);
        link->process.control = -1;
    }
    live_activity(live, "running");
    return true;
refused:
    if (error.text[0] && !(error.kind == ERROR_UNSUPPORTED && attach->told_most)) /* of processes too many once */
        log_add(&session->log, live->run.id, true, error.text, strlen(error.text));
    attach->told_most |= error.kind == ERROR_UNSUPPORTED;
    close(fd);
    return true;
}

/* ---- what they say ---- */

static void hang_up(struct link *link)
{
    if (link->process.control >= 0)
        close(link->process.control);
    link->process.control = -1;
}

/* A process that says what cannot be loses its link; the program goes on. */
static bool take_messages(struct session *session, struct link *link, struct live_run *live)
{
    for (int i = 0; i < MESSAGES_A_STEP && link->process.control >= 0; i++) {
        struct message_header header;
        const void *payload;
        struct error error = {0};
        switch (inbox_next(&link->inbox, link->process.control, &header, &payload)) {
        case INBOX_EMPTY:
            return i > 0;
        case INBOX_CLOSED:
            hang_up(link);
            return true;
        case INBOX_BROKEN:
            error_set(&error, ERROR_INPUT, "process %d sent what is no message (type %u, %u bytes): its link is cut",
                      (int)link->rank->rank.process, header.type, header.length);
            break;
        case INBOX_MESSAGE:
            while (header.type == MESSAGE_SUSPENDED && rank_take_records(session, link, live))
                ; /* a step is taken back while it is the newest */
            if (header.type != MESSAGE_END && header.type != MESSAGE_PLAN &&
                live_message(live, link->rank, header.type, payload, header.length, &error)) {
                session_record(session, live->run.id, link->rank->rank.index, header.type, payload, header.length, NULL,
                               0);
                if (header.type == MESSAGE_DEVICE && link->rank->rank.index == 0)
                    memcpy(live->run.cell.device, link->rank->rank.device.name, sizeof live->run.cell.device);
                continue;
            }
            if (!error.text[0])
                error_set(&error, ERROR_INPUT, "process %d sent a %s message, which is a worker's: its link is cut",
                          (int)link->rank->rank.process, message_name(header.type));
            break;
        }
        log_add(&session->log, live->run.id, true, error.text, strlen(error.text));
        hang_up(link);
        return true;
    }
    return true;
}

static bool link_step(struct session *session, struct link *link, struct live_run *live)
{
    if (link->done)
        return false;
    bool changed = take_messages(session, link, live);
    changed |= rank_take_records(session, link, live);
    if (link->process.control < 0 && !changed) {
        link->exited = link->done = true;
        changed = true;
    }
    return changed;
}

/* ---- the window, and the end ---- */

void session_detach(struct session *session)
{
    struct attach *attach = session->attach;
    if (!attach || attach->detached)
        return;
    attach->detached = true;
    for (size_t i = 1; i < session->links.count; i++) {
        struct link *link = session->links.items[i];
        if (link->process.control >= 0)
            message_send(link->process.control, MESSAGE_STOP, NULL, 0, NULL, 0, NULL);
    }
    if (session->active == attach->live)
        live_activity(attach->live, "left alone; the program goes on");
}

bool session_detached(const struct session *session)
{
    return session->attach && session->attach->detached;
}

bool session_is_guest(const struct session *session)
{
    return session->attach && session->attach->options.pid;
}

int session_command_exit(const struct session *session)
{
    return session->attach ? session->attach->exit_code : -1;
}

static void window(struct session *session, struct live_run *live)
{
    struct attach *attach = session->attach;
    const struct rank *lead = run_lead(&live->run);
    uint64_t measured = 0;
    for (int pass = 0; pass < PASS_COUNT; pass++)
        measured += lead->profiled_wall[pass].n;
    /* Where modules alone are known, steps are all there is. */
    if (!attach->first_record && (lead->samples.count || (lead->aggregate && aggregate_latest(lead->aggregate))))
        attach->first_record = clock_now();
    if (attach->options.steps && measured >= attach->options.steps)
        session_detach(session);
    if (attach->options.for_ns && attach->first_record && clock_now() - attach->first_record >= attach->options.for_ns)
        session_detach(session);
}

/* Asks the program to end as a terminal's ^C or a shell's kill would; with SIGKILL when it does not. */
void attach_stop(struct session *session, enum status status, const char *reason, bool at_once)
{
    struct ending *ending = &session->ending;
    const pid_t pid = session->links.count ? session->links.items[0]->process.pid : 0;
    if (session->attach->options.pid) {
        at_once ? session_detach(session) : attach_running_stop(session, status, reason);
        return;
    }
    if (ending->forced == STATUS_PENDING) {
        ending->forced = status;
        text_copy(ending->forced_reason, sizeof ending->forced_reason, reason, strlen(reason));
    }
    if (!pid)
        return;
    const pid_t target = session->attach->options.through ? pid : -pid;
    kill(target, at_once || ending->kill_at ? SIGKILL : SIGTERM);
    if (!ending->kill_at)
        ending->kill_at = clock_now() + EXIT_GRACE_NS;
}

static void finish(struct session *session, struct live_run *live)
{
    const struct ending *ending = &session->ending;
    const int status = session->links.items[0]->exit_status;
    struct attach *attach = session->attach;
    char reason[sizeof live->run.reason] = "";
    enum status how = STATUS_OK;
    attach->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (attach->options.pid && session->links.count == 1) {
        how = attach->reason[0] || !attach->detached ? STATUS_UNSUPPORTED : STATUS_INTERRUPTED;
        attach->exit_code = -1;
        live->run.unstarted = ERROR_UNSUPPORTED;
        snprintf(reason, sizeof reason, "process %d: %s", (int)attach->options.pid,
                 attach->reason[0]  ? attach->reason
                 : attach->detached ? "left before its Python had answered"
                                    : "it ended before its Python had answered");
    } else if (ending->forced != STATUS_PENDING) {
        how = ending->forced;
        snprintf(reason, sizeof reason, "%s", ending->forced_reason);
    } else if (WIFSIGNALED(status)) {
        how = STATUS_KILLED;
        char text[SIGNAL_TEXT];
        snprintf(reason, sizeof reason, "the program was ended by %s", signal_text(WTERMSIG(status), text));
    } else if (WEXITSTATUS(status)) {
        how = STATUS_ERROR;
        snprintf(reason, sizeof reason, "the program ended with exit code %d", WEXITSTATUS(status));
    } else if (session->links.count == 1) {
        how = STATUS_UNSUPPORTED;
        snprintf(reason, sizeof reason,
                 "nothing to show: the program called no PyTorch module, no CUDA and no NVTX or ITT range");
    }
    for (size_t i = 0; i < session->links.count; i++)
        session->links.items[i]->process.pid = 0; /* its own children are the program's business */
    ranks_release(session);
    if (attach->listener >= 0)
        close(attach->listener);
    attach->listener = -1;
    session_finish(session, live, how, reason);
}

bool attach_step(struct session *session)
{
    struct attach *attach = session->attach;
    struct live_run *live = session->active;
    struct link *command = session->links.items[0];
    bool changed = false;
    take_connections(attach);
    size_t kept = 0;
    for (size_t i = 0; i < attach->pending.count; i++) {
        if (!settle(session, live, attach->pending.items[i]))
            attach->pending.items[kept++] = attach->pending.items[i];
        else
            changed = true;
    }
    attach->pending.count = kept;
    tell_alone(attach, live, session->links.count == 1);
    bool over = true;
    for (size_t i = 1; i < session->links.count; i++) {
        changed |= link_step(session, session->links.items[i], live);
        over &= session->links.items[i]->done;
    }
    changed |= rank_take_output(session, command, false);
    changed |= rank_take_output(session, command, true);
    window(session, live);
    if (attach->options.pid)
        changed |= attach_running_look(session);
    if (command->exited) {
        /* What it left has been taken when a step finds nothing new; grandchildren may go on with its output and their links. */
        if (changed && clock_now() < attach->linger_until)
            return true;
        if (!over && clock_now() < attach->linger_until)
            return false;
        rank_end_output(session, command);
        finish(session, live);
        return true;
    }
    if (attach->options.pid)
        return changed;
    int status = 0;
    const pid_t ended = command->process.pid ? waitpid(command->process.pid, &status, WNOHANG) : 0;
    if (ended == command->process.pid || (ended < 0 && errno == ECHILD)) {
        command->exited = true;
        command->exit_status = ended < 0 ? 0 : status;
        if (attach->ended >= 0)
            close(attach->ended);
        attach->ended = -1;
        attach->linger_until = clock_now() + ATTACH_LINGER_NS;
        return true;
    }
    if (session->ending.kill_at && clock_now() >= session->ending.kill_at) {
        session->ending.kill_at = clock_now() + EXIT_GRACE_NS;
        kill(attach->options.through ? command->process.pid : -command->process.pid, SIGKILL);
    }
    return changed;
}

int attach_poll(const struct session *session, struct pollfd *fds, int max, int *timeout_ms)
{
    const struct attach *attach = session->attach;
    int count = 0;
    const int descriptors[] = {attach->listener, attach->ended};
    for (int i = 0; i < 2; i++)
        if (descriptors[i] >= 0 && count < max)
            fds[count++] = (struct pollfd){.fd = descriptors[i], .events = POLLIN};
    for (size_t i = 0; i < attach->pending.count && count < max; i++)
        fds[count++] = (struct pollfd){.fd = attach->pending.items[i], .events = POLLIN};
    bool over = session->links.count > 0 && session->links.items[0]->exited;
    for (size_t i = 1; i < session->links.count; i++)
        over = over && session->links.items[i]->done;
    if (over)
        *timeout_ms = 0; /* the run is over, and the next step says so */
    return count;
}
