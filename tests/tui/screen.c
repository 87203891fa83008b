#include "base/clock.h"
#include "base/strbuf.h"
#include "screen_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <vterm.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PATIENCE_MS 10000

static int on_property(VTermProp property, VTermValue *value, void *user)
{
    struct screen *screen = user;
    if (property == VTERM_PROP_ALTSCREEN)
        screen->alternate = value->boolean;
    else if (property == VTERM_PROP_CURSORVISIBLE)
        screen->cursor = value->boolean;
    return 1;
}

static const VTermScreenCallbacks callbacks = {.settermprop = on_property};

static void set_environment(const struct screen_options *options, const char *folder)
{
    setenv("TERM", options->term ? options->term : "xterm-256color", 1);
    setenv("LC_ALL", options->locale ? options->locale : "C.UTF-8", 1);
    setenv("XDG_CONFIG_HOME", options->config_folder ? options->config_folder : folder, 1);
    setenv("XDG_STATE_HOME", options->state_folder ? options->state_folder : "/dev/null/none", 1);
    unsetenv("LINES");
    unsetenv("COLUMNS");
    if (options->no_color)
        setenv("NO_COLOR", options->no_color, 1);
    else
        unsetenv("NO_COLOR");
}

static void child_main(const struct screen_options *options, void (*make)(struct report *), const char *folder)
{
    struct report report = {0};
    struct error error = {0};
    int signal_number = 0;
    set_environment(options, folder);
    if (options->program) {
        execv(options->program[0], (char *const *)(uintptr_t)options->program);
        _exit(127);
    }
    if (make)
        make(&report);
    else
        report_init(&report);
    const struct tui_options tui = {.session = options->session ? options->session() : NULL,
                                    .report = &report,
                                    .ascii = options->ascii,
                                    .mouse = options->mouse,
                                    .theme = options->theme,
                                    .statistics = options->statistics};
    if (!tui_run(&tui, &signal_number, &error)) {
        fprintf(stderr, "%s\n", error.text);
        _exit(2);
    }
    report_free(&report);
    if (tui.session)
        session_free(tui.session);
    exit(signal_number ? 128 + signal_number : 0);
}

/* The session's leader, as a shell is: without one that job control could come from, nothing can be suspended. It ends as
 * the program ends. */
static void leader_main(struct screen *screen, const struct screen_options *options, void (*make)(struct report *),
                        int tell)
{
    int status = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(screen->master);
    setsid();
    ioctl(screen->slave, TIOCSCTTY, 0);
    for (int number = 1; number < 32; number++)
        if (number != SIGCHLD)
            signal(number, SIG_IGN);
    const pid_t child = fork();
    if (child == 0) {
        for (int number = 1; number < 32; number++)
            signal(number, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        signal(SIGTTOU, SIG_IGN);
        tcsetpgrp(screen->slave, getpid());
        signal(SIGTTOU, SIG_DFL);
        const pid_t self = getpid();
        if (write(tell, &self, sizeof self) != sizeof self)
            _exit(3);
        dup2(screen->slave, 0);
        dup2(screen->slave, 1);
        close(screen->slave);
        child_main(options, make, screen->folder);
    }
    close(screen->slave);
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    _exit(WEXITSTATUS(status));
}

struct screen *screen_open(const struct screen_options *options, void (*make)(struct report *))
{
    struct screen *screen = calloc(1, sizeof *screen);
    const struct winsize size = {.ws_row = (unsigned short)options->height, .ws_col = (unsigned short)options->width};
    assert_non_null(screen);
    strcpy(screen->folder, "/tmp/steptop-screen-XXXXXX");
    assert_non_null(mkdtemp(screen->folder));
    assert_int_equal(openpty(&screen->master, &screen->slave, NULL, NULL, &size), 0);
    tcgetattr(screen->slave, &screen->before);
    fcntl(screen->master, F_SETFD, FD_CLOEXEC);
    fcntl(screen->slave, F_SETFD, FD_CLOEXEC);
    fflush(NULL);
    int tell[2];
    assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
    screen->leader = fork();
    assert_true(screen->leader >= 0);
    if (screen->leader == 0)
        leader_main(screen, options, make, tell[1]);
    close(tell[1]);
    assert_int_equal(read(tell[0], &screen->child, sizeof screen->child), sizeof screen->child);
    close(tell[0]);
    fcntl(screen->master, F_SETFL, O_NONBLOCK);
    screen->vterm = vterm_new(options->height, options->width);
    vterm_set_utf8(screen->vterm, 1);
    screen->screen = vterm_obtain_screen(screen->vterm);
    vterm_screen_set_callbacks(screen->screen, &callbacks, screen);
    vterm_screen_enable_altscreen(screen->screen, 1);
    vterm_screen_reset(screen->screen, 1);
    screen->cursor = true;
    return screen;
}

/* Takes in what came; false when nothing did within the time. */
static bool pump(struct screen *screen, int wait_ms)
{
    struct pollfd ready = {screen->master, POLLIN, 0};
    char block[8192];
    if (poll(&ready, 1, wait_ms) <= 0)
        return false;
    const ssize_t got = read(screen->master, block, sizeof block);
    if (got <= 0)
        return false;
    strbuf_add(&screen->bytes, block, (size_t)got);
    vterm_input_write(screen->vterm, block, (size_t)got);
    /* Answers of the terminal (there should be no questions) are dropped. */
    char answer[256];
    vterm_output_read(screen->vterm, answer, sizeof answer);
    return true;
}

bool screen_settle(struct screen *screen, int quiet_ms)
{
    while (pump(screen, quiet_ms)) {
    }
    return true;
}

/* An escape, and a terminal's report that nobody asked for. The second escape says that the first stood alone, whatever the
 * machine does meanwhile: by time alone it would run into the key after it on a machine that stood still for a moment. */
#define LONE_ESCAPE "\033\033[0n"

static const struct {
    const char *name, *bytes;
} keys[] = {
    {"Enter", "\r"},     {"Esc", LONE_ESCAPE}, {"Tab", "\t"},       {"BackTab", "\033[Z"}, {"Space", " "},
    {"Up", "\033OA"},    {"Down", "\033OB"},   {"Right", "\033OC"}, {"Left", "\033OD"},    {"Home", "\033OH"},
    {"End", "\033OF"},   {"PgUp", "\033[5~"},  {"PgDn", "\033[6~"}, {"Del", "\033[3~"},    {"Back", "\x7f"},
    {"F1", "\033OP"},    {"F2", "\033OQ"},     {"F3", "\033OR"},    {"F4", "\033OS"},      {"F5", "\033[15~"},
    {"SlowEsc", "\033"}, {"F6", "\033[17~"},   {"F7", "\033[18~"},  {"F8", "\033[19~"},    {"F9", "\033[20~"},
    {"F10", "\033[21~"},
};

static void send(struct screen *screen, const char *bytes, size_t length)
{
    while (length) {
        const ssize_t put = write(screen->master, bytes, length);
        if (put > 0) {
            bytes += put;
            length -= (size_t)put;
        } else if (errno == EAGAIN) {
            pump(screen, 10);
        } else {
            return;
        }
    }
}

/* Until the program has taken all that was typed. */
static void wait_until_read(struct screen *screen)
{
    const uint64_t deadline = clock_now() + PATIENCE_MS * 1000000ull;
    int waiting = 1;
    while (clock_now() < deadline && ioctl(screen->slave, FIONREAD, &waiting) == 0 && waiting > 0)
        pump(screen, 2);
}

void screen_type(struct screen *screen, const char *text)
{
    /* Until it is on the alternate screen the terminal is not in its modes, and keys would be echoed. */
    const uint64_t deadline = clock_now() + PATIENCE_MS * 1000000ull;
    while (!screen->alternate && clock_now() < deadline)
        pump(screen, 20);
    while (*text) {
        const char *end = *text == '<' ? strchr(text, '>') : NULL;
        if (!end) {
            send(screen, text++, 1);
            continue;
        }
        const size_t length = (size_t)(end - text - 1);
        if (length == 2 && text[1] == '^') {
            const char control = (char)(text[2] & 31);
            send(screen, &control, 1);
        }
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (strlen(keys[i].name) == length && strncmp(keys[i].name, text + 1, length) == 0)
                send(screen, keys[i].bytes, strlen(keys[i].bytes));
        text = end + 1;
    }
}

void screen_resize(struct screen *screen, int height, int width)
{
    const struct winsize size = {.ws_row = (unsigned short)height, .ws_col = (unsigned short)width};
    vterm_set_size(screen->vterm, height, width);
    ioctl(screen->master, TIOCSWINSZ, &size); /* sends SIGWINCH */
}

/* A letter for what a cell looks like: attributes, then colours as indices. */
static char attribute_letter(const VTermScreenCell *cell)
{
    const bool background = !VTERM_COLOR_IS_DEFAULT_BG(&cell->bg), foreground = !VTERM_COLOR_IS_DEFAULT_FG(&cell->fg);
    if (cell->attrs.reverse)
        return cell->attrs.bold ? 'R' : 'r';
    if (background && VTERM_COLOR_IS_INDEXED(&cell->bg))
        return (char)((cell->attrs.bold ? 'A' : 'a') + cell->bg.indexed.idx % 16);
    if (foreground && VTERM_COLOR_IS_INDEXED(&cell->fg))
        return cell->attrs.bold ? '*' : (char)('0' + cell->fg.indexed.idx % 10);
    return cell->attrs.bold ? (cell->attrs.underline ? 'U' : 'B') : cell->attrs.underline ? 'u' : '.';
}

char *screen_text(struct screen *screen, bool attributes)
{
    struct strbuf out = {0};
    int height, width;
    vterm_get_size(screen->vterm, &height, &width);
    strbuf_puts(&out, "");
    for (int block = 0; block <= attributes; block++)
        for (int y = 0; y < height; y++) {
            const size_t start = out.length;
            size_t end = start;
            for (int x = 0; x < width; x++) {
                VTermScreenCell cell;
                vterm_screen_get_cell(screen->screen, (VTermPos){y, x}, &cell);
                if (cell.chars[0] == (uint32_t)-1)
                    continue; /* right half of a wide one */
                if (block) {
                    strbuf_putc(&out, attribute_letter(&cell));
                    end = attribute_letter(&cell) == '.' ? end : out.length;
                    continue;
                }
                screen_add_code(&out, cell.chars[0] ? cell.chars[0] : ' ');
                for (int i = 1; cell.chars[0] && i < VTERM_MAX_CHARS_PER_CELL && cell.chars[i]; i++)
                    screen_add_code(&out, cell.chars[i]);
                end = cell.chars[0] > ' ' ? out.length : end;
            }
            out.length = end;
            strbuf_putc(&out, '\n');
        }
    return out.text;
}

void screen_read(struct screen *screen, int wait_ms)
{
    pump(screen, wait_ms);
}

bool screen_has(struct screen *screen, const char *text)
{
    char *now = screen_text(screen, false);
    const bool found = strstr(now, text) != NULL;
    free(now);
    return found;
}

bool screen_wait_for(struct screen *screen, const char *text)
{
    const uint64_t deadline = clock_now() + PATIENCE_MS * 1000000ull;
    for (;;) {
        if (screen_has(screen, text))
            return true;
        if (clock_now() > deadline)
            return false;
        pump(screen, 100);
    }
}

bool screen_wait_gone(struct screen *screen, const char *text)
{
    const uint64_t deadline = clock_now() + PATIENCE_MS * 1000000ull;
    while (screen_has(screen, text)) {
        if (clock_now() > deadline)
            return false;
        pump(screen, 100);
    }
    return true;
}

static char *golden_path(const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/tui/golden/%s.txt", TEST_SOURCE_DIR, name) < 0)
        abort();
    return path;
}

static void update_golden(struct screen *screen, const char *path, bool attributes)
{
    wait_until_read(screen);
    screen_settle(screen, 300);
    char *now = screen_text(screen, attributes);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(now, file);
    fclose(file);
    free(now);
}

void screen_expect(struct screen *screen, const char *name, bool attributes)
{
    char *path = golden_path(name);
    if (getenv("UPDATE_GOLDEN")) {
        update_golden(screen, path, attributes);
        free(path);
        return;
    }
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("no golden screen %s (make it with UPDATE_GOLDEN=1 and read it)", path);
    struct strbuf wanted = {0};
    char block[4096];
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;)
        strbuf_add(&wanted, block, got);
    fclose(file);
    const uint64_t deadline = clock_now() + PATIENCE_MS * 1000000ull;
    char *now = screen_text(screen, attributes);
    /* The screen must come to this and stay: a picture on the way to another one is no match. */
    for (bool same = false; clock_now() < deadline;) {
        const bool before = same;
        same = strcmp(now, wanted.text) == 0;
        if (before && same)
            break;
        if (same)
            wait_until_read(screen);
        screen_settle(screen, same ? 20 : 0);
        if (!same)
            pump(screen, 100);
        free(now);
        now = screen_text(screen, attributes);
    }
    if (strcmp(now, wanted.text) != 0) {
        fprintf(stderr, "--- wanted (%s)\n%s--- is\n%s---\n", path, wanted.text, now);
        fail_msg("the screen is not %s", path);
    }
    free(now);
    free(path);
    strbuf_release(&wanted);
}

pid_t screen_child(const struct screen *screen)
{
    return screen->child;
}

int screen_terminal(const struct screen *screen)
{
    return screen->master;
}

bool screen_is_alternate(const struct screen *screen)
{
    return screen->alternate;
}

bool screen_cursor_visible(const struct screen *screen)
{
    return screen->cursor;
}

const char *screen_bytes(const struct screen *screen, size_t *length)
{
    *length = screen->bytes.length;
    return screen->bytes.text;
}

int screen_wait(struct screen *screen)
{
    const uint64_t deadline = clock_now() + PATIENCE_MS * 1000000ull;
    while (!screen->ended && clock_now() < deadline) {
        pump(screen, 10);
        screen->ended = waitpid(screen->leader, &screen->status, WNOHANG) == screen->leader;
    }
    if (!screen->ended) {
        kill(screen->child, SIGKILL);
        waitpid(screen->leader, &screen->status, 0);
        screen->ended = true;
        fail_msg("the program did not end");
    }
    screen_settle(screen, 20);
    return screen->status;
}

bool screen_modes_restored(const struct screen *screen)
{
    struct termios now;
    tcgetattr(screen->slave, &now);
    return now.c_iflag == screen->before.c_iflag && now.c_oflag == screen->before.c_oflag &&
           now.c_lflag == screen->before.c_lflag && now.c_cflag == screen->before.c_cflag;
}

void screen_hang_up(struct screen *screen)
{
    close(screen->master);
    screen->master = -1; /* poll leaves it out */
}

void screen_close(struct screen *screen)
{
    if (!screen->ended) {
        kill(screen->child, SIGKILL);
        waitpid(screen->leader, &screen->status, 0);
    }
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", screen->folder);
    if (system(command) != 0)
        fprintf(stderr, "%s is left behind\n", screen->folder);
    if (screen->master >= 0)
        close(screen->master);
    close(screen->slave);
    vterm_free(screen->vterm);
    strbuf_release(&screen->bytes);
    free(screen);
}

void screen_must_show(struct screen *screen, const char *text)
{
    if (!screen_wait_for(screen, text))
        fail_msg("'%s' does not come to the screen:\n%s", text, screen_text(screen, false));
}

void screen_must_lose(struct screen *screen, const char *text)
{
    if (!screen_wait_gone(screen, text))
        fail_msg("'%s' stays on the screen:\n%s", text, screen_text(screen, false));
}

void screen_must_end(struct screen *screen, int code)
{
    const int status = screen_wait(screen);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        fail_msg("ended with status %x, not with code %d:\n%s", status, code, screen_text(screen, false));
    assert_false(screen_is_alternate(screen));
    assert_true(screen_cursor_visible(screen));
    assert_true(screen_modes_restored(screen));
    screen_close(screen);
}
