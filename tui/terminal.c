#define NCURSES_WIDECHAR 1
#include "tui/terminal.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/system.h"
#include "tui/input.h"
#include "tui/signals.h"
#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE_MS 25                /* how long after an ESC the rest of a sequence may come */
#define PASTES_MARKED "\033[?2004h" /* as every terminal of today knows them, whatever its description says */
#define PASTES_UNMARKED "\033[?2004l"
#define ROWS_MOST 500
#define COLUMNS_MOST 1000
#define FRAME_BYTES                                                                                                    \
    (4u << 20) /* the most that curses writes at a time: a hundred thousand characters, each with its attributes */

struct terminal {
    SCREEN *screen;
    FILE *memory; /* a memory file that curses writes to */
    struct input keys;
    int input, output;
    struct signals *signals;
    struct strbuf pending; /* bytes on their way to the terminal, from pending_at on */
    size_t pending_at;
    struct canvas shown;
    bool shown_valid;
    bool ascii, mouse, no_color, gone;
    int theme;
    attr_t attributes[STYLE_COUNT];
    short pairs[STYLE_COUNT];
    struct termios saved;
    int saved_flags;
};

/* Moves what curses wrote to the pending bytes. A memory file never blocks and never fills. */
static size_t collect(struct terminal *terminal)
{
    const int fd = fileno(terminal->memory);
    char block[16384];
    const off_t length = lseek(fd, 0, SEEK_CUR);
    for (off_t at = 0; at < length;) {
        const size_t wanted = (size_t)(length - at) < sizeof block ? (size_t)(length - at) : sizeof block;
        const ssize_t got = pread(fd, block, wanted, at);
        if (got <= 0)
            break;
        strbuf_add(&terminal->pending, block, (size_t)got);
        at += got;
    }
    lseek(fd, 0, SEEK_SET);
    return length > 0 ? (size_t)length : 0;
}

bool terminal_flush(struct terminal *terminal)
{
    while (terminal->pending_at < terminal->pending.length && !terminal->gone) {
        const ssize_t put = write(terminal->output, terminal->pending.text + terminal->pending_at,
                                  terminal->pending.length - terminal->pending_at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN)
            return true;
        if (put <= 0)
            terminal->gone = true;
        else
            terminal->pending_at += (size_t)put;
    }
    strbuf_clear(&terminal->pending);
    terminal->pending_at = 0;
    return !terminal->gone;
}

/* On the way out a terminal that reads gets everything; one that does not is waited for half a second at most. */
static void flush_last(struct terminal *terminal)
{
    for (int i = 0; i < 10; i++) {
        terminal_flush(terminal);
        if (!terminal_is_behind(terminal))
            return;
        struct pollfd poll_output = {terminal->output, POLLOUT, 0};
        poll(&poll_output, 1, 50);
    }
    strbuf_clear(&terminal->pending);
    terminal->pending_at = 0;
}

bool terminal_has_colours(const struct terminal *terminal)
{
    return terminal && has_colors() && !terminal->no_color;
}

int terminal_theme(const struct terminal *terminal)
{
    return terminal_has_colours(terminal) ? terminal->theme : theme_find("mono");
}

bool terminal_mouse(const struct terminal *terminal)
{
    return terminal && terminal->mouse;
}

static void load_theme(struct terminal *terminal)
{
    const bool colours = terminal_has_colours(terminal);
    struct theme_style known[STYLE_COUNT];
    int pairs = 0;
    for (int i = 0; i < STYLE_COUNT; i++) {
        struct theme_style style = theme_style(terminal_theme(terminal), (enum style)i);
        terminal->attributes[i] = (style.attributes & ATTRIBUTE_BOLD ? A_BOLD : 0) |
                                  (style.attributes & ATTRIBUTE_DIM ? A_DIM : 0) |
                                  (style.attributes & ATTRIBUTE_REVERSE ? A_REVERSE : 0) |
                                  (style.attributes & ATTRIBUTE_UNDERLINE ? A_UNDERLINE : 0);
        terminal->pairs[i] = 0;
        if (!colours || (style.foreground < 0 && style.background < 0))
            continue;
        if (style.foreground >= COLORS)
            style.foreground = (short)(style.foreground % 8);
        if (style.background >= COLORS)
            style.background = (short)(style.background % 8);
        int pair = 0;
        while (pair < pairs &&
               (known[pair].foreground != style.foreground || known[pair].background != style.background))
            pair++;
        if (pair == pairs) {
            if (pairs + 1 >= COLOR_PAIRS)
                continue;
            init_pair((short)(pair + 1), style.foreground, style.background);
            known[pairs++] = style;
        }
        terminal->pairs[i] = (short)(pair + 1);
    }
}

/* curses writes to memory, so the modes are set here and not by cbreak() and raw(). Signals from keys are off: ^C, ^Z and
 * ^\ arrive as keys, and the workers in our process group never see them. */
static bool enter_modes(struct terminal *terminal)
{
    struct termios modes = terminal->saved;
    modes.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR | IXON | ISTRIP | BRKINT);
    modes.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
    modes.c_oflag &= ~(tcflag_t)ONLCR;
    modes.c_cc[VMIN] = 1;
    modes.c_cc[VTIME] = 0;
    return tcsetattr(terminal->input, TCSANOW, &modes) == 0;
}

/* A description of the terminal file may be shared with the shell, so the flag is put back on the way out. */
static void set_nonblocking(struct terminal *terminal, bool on)
{
    fcntl(terminal->output, F_SETFL, on ? terminal->saved_flags | O_NONBLOCK : terminal->saved_flags);
}

static void ask_size(const struct terminal *terminal, struct winsize *size)
{
    if (ioctl(terminal->output, TIOCGWINSZ, size) != 0 || size->ws_row == 0 || size->ws_col == 0) {
        size->ws_row = 24;
        size->ws_col = 80;
    }
    /* Beyond any screen: what claims more gets so much of it, and no memory for the rest. */
    size->ws_row = size->ws_row > ROWS_MOST ? ROWS_MOST : size->ws_row;
    size->ws_col = size->ws_col > COLUMNS_MOST ? COLUMNS_MOST : size->ws_col;
}

static void take_size(struct terminal *terminal)
{
    struct winsize size = {0};
    ask_size(terminal, &size);
    const int high = size.ws_row, wide = size.ws_col;
    if (!is_term_resized(high, wide))
        return;
    resizeterm(high, wide);
    /* The scrolling margins that curses set at the start are those of the old size. */
    if (change_scroll_region)
        strbuf_puts(&terminal->pending, tiparm(change_scroll_region, 0, high - 1));
    terminal_redraw(terminal);
}

/* curses cannot ask a memory file for its size; it takes it from the environment, which is put back at once. */
static SCREEN *new_screen(struct terminal *terminal, const char *name)
{
    static const char *const variables[] = {"LINES", "COLUMNS"};
    char *before[2], value[16];
    struct winsize size;
    ask_size(terminal, &size);
    for (int i = 0; i < 2; i++) {
        const char *old = getenv(variables[i]);
        before[i] = old ? strdup(old) : NULL;
        snprintf(value, sizeof value, "%d", i == 0 ? size.ws_row : size.ws_col);
        setenv(variables[i], value, 1);
    }
    SCREEN *screen = newterm(name, terminal->memory, stdin);
    for (int i = 0; i < 2; i++) {
        if (before[i])
            setenv(variables[i], before[i], 1);
        else
            unsetenv(variables[i]);
        free(before[i]);
    }
    return screen;
}

/* The description of TERM, in curses' cur_term; false when there is none or the cursor cannot be put anywhere. */
static bool load_description(int output)
{
    const char *name = getenv("TERM");
    int failure = 0;
    if (!name || !*name || setupterm(name, output, &failure) != OK)
        return false;
    if (cursor_address)
        return true;
    del_curterm(cur_term);
    return false;
}

bool terminal_type_works(void)
{
    if (!load_description(STDOUT_FILENO))
        return false;
    del_curterm(cur_term);
    return true;
}

/* The keys that the terminal's description names. */
static void describe_keys(struct input *input)
{
    static const struct {
        const char *name;
        int code;
    } keys[] = {
        {"kcuu1", KEY_CODE_UP},      {"kcud1", KEY_CODE_DOWN},    {"kcub1", KEY_CODE_LEFT},
        {"kcuf1", KEY_CODE_RIGHT},   {"khome", KEY_CODE_HOME},    {"kend", KEY_CODE_END},
        {"kpp", KEY_CODE_PAGE_UP},   {"knp", KEY_CODE_PAGE_DOWN}, {"kcbt", KEY_CODE_BACKTAB},
        {"kbs", KEY_CODE_BACKSPACE}, {"kdch1", KEY_CODE_DELETE},  {"kent", KEY_CODE_ENTER},
        {"ka1", KEY_CODE_HOME},      {"ka3", KEY_CODE_PAGE_UP},   {"kc1", KEY_CODE_END},
        {"kc3", KEY_CODE_PAGE_DOWN}, {"kf1", KEY_CODE_F1},        {"kf2", KEY_CODE_F1 + 1},
        {"kf3", KEY_CODE_F1 + 2},    {"kf4", KEY_CODE_F1 + 3},    {"kf5", KEY_CODE_F1 + 4},
        {"kf6", KEY_CODE_F1 + 5},    {"kf7", KEY_CODE_F1 + 6},    {"kf8", KEY_CODE_F1 + 7},
        {"kf9", KEY_CODE_F1 + 8},    {"kf10", KEY_CODE_F1 + 9},   {"kf11", KEY_CODE_F1 + 10},
        {"kf12", KEY_CODE_F1 + 11},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *bytes = tigetstr((char *)(uintptr_t)keys[i].name);
        if (bytes != (char *)-1)
            input_describe(input, bytes, keys[i].code);
    }
}

bool terminal_fits(struct error *error)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= FRAME_BYTES)
        return true;
    return error_set(
        error, ERROR_USAGE,
        "files are limited to %llu bytes here (ulimit -f), and the screen is drawn into one in memory, of up to %u MiB",
        (unsigned long long)limit.rlim_cur, FRAME_BYTES >> 20);
}

struct terminal *terminal_open(const struct terminal_options *options, struct error *error)
{
    struct terminal *terminal = calloc(1, sizeof *terminal);
    const char *name = getenv("TERM");
    if (!terminal)
        memory_exhausted(1, "screen");
    terminal->input = STDIN_FILENO;
    terminal->output = STDOUT_FILENO;
    terminal->mouse = options->mouse;
    terminal->no_color = options->no_color;
    terminal->theme = options->theme;
    if (!isatty(terminal->input) || !isatty(terminal->output)) {
        error_set(error, ERROR_USAGE,
                  "the screen needs a terminal on standard input and output; use --batch without one");
        goto fail;
    }
    if (!load_description(terminal->output)) {
        error_set(error, ERROR_USAGE,
                  "the terminal type TERM=%s cannot position the cursor or is not known here; most terminals work with "
                  "TERM=xterm-256color",
                  name ? name : "");
        goto fail;
    }
    describe_keys(&terminal->keys);
    del_curterm(cur_term);
    setlocale(LC_CTYPE, "");
    const bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    terminal->ascii = options->ascii || !utf8;
    const int fd = terminal_fits(error) ? memory_file("steptop-screen", error) : -1;
    if (fd < 0)
        goto fail;
    terminal->memory = fdopen(fd, "w");
    if (!terminal->memory || tcgetattr(terminal->input, &terminal->saved) != 0) {
        error_set(error, ERROR_SYSTEM, "cannot prepare the terminal: %s", strerror(errno));
        if (!terminal->memory)
            close(fd);
        goto fail;
    }
    terminal->saved_flags = fcntl(terminal->output, F_GETFL);
    /* Before newterm: curses puts its own handlers only where none is. */
    terminal->signals = signals_install(terminal->output, &terminal->saved, terminal->saved_flags, error);
    if (!terminal->signals)
        goto fail;
    terminal->screen = new_screen(terminal, name);
    if (!terminal->screen) {
        error_set(error, ERROR_SYSTEM, "curses cannot drive a terminal of type %s", name);
        goto fail;
    }
    if (!enter_modes(terminal)) {
        error_set(error, ERROR_SYSTEM, "cannot set the terminal's modes: %s", strerror(errno));
        goto fail;
    }
    signals_arm(terminal->signals, exit_ca_mode, cursor_normal, exit_attribute_mode, keypad_local);
    set_nonblocking(terminal, true);
    take_size(terminal);
    if (has_colors()) {
        start_color();
        use_default_colors();
    }
    load_theme(terminal);
    typeahead(-1);
    curs_set(0);
    keypad(stdscr, TRUE); /* sends what the description wants for its keys; they are read here and not by curses */
    terminal_set_mouse(terminal, options->mouse);
    strbuf_puts(&terminal->pending, PASTES_MARKED);
    terminal_flush(terminal);
    return terminal;
fail:
    terminal_close(terminal);
    return NULL;
}

static void leave_screen(struct terminal *terminal)
{
    if (terminal->mouse)
        mousemask(0, NULL);
    curs_set(1);
    endwin();
    collect(terminal);
    /* Some terminals bring the cursor's visibility back with the screen that was there before us. */
    if (cursor_normal)
        strbuf_puts(&terminal->pending, cursor_normal);
    strbuf_puts(&terminal->pending, PASTES_UNMARKED);
    flush_last(terminal);
    set_nonblocking(terminal, false);
    tcsetattr(terminal->input, TCSANOW, &terminal->saved);
}

void terminal_close(struct terminal *terminal)
{
    if (!terminal)
        return;
    if (terminal->screen) {
        leave_screen(terminal);
        delscreen(terminal->screen);
    }
    if (terminal->memory)
        fclose(terminal->memory);
    signals_restore(terminal->signals);
    strbuf_release(&terminal->pending);
    canvas_release(&terminal->shown);
    free(terminal);
}

bool terminal_is_ascii(const struct terminal *terminal)
{
    return terminal && terminal->ascii;
}

void terminal_size(const struct terminal *terminal, int *height, int *width)
{
    (void)terminal;
    *height = LINES;
    *width = COLS;
}

void terminal_set_theme(struct terminal *terminal, int theme)
{
    terminal->theme = theme;
    load_theme(terminal);
    terminal_redraw(terminal);
}

void terminal_set_mouse(struct terminal *terminal, bool on)
{
    terminal->mouse = on;
    mousemask(on ? BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED : 0, NULL);
}

int terminal_input(const struct terminal *terminal)
{
    return terminal->input;
}

int terminal_output(const struct terminal *terminal)
{
    return terminal->output;
}

int terminal_signals(const struct terminal *terminal)
{
    return signals_descriptor(terminal->signals);
}

int terminal_signal(struct terminal *terminal)
{
    return signals_next(terminal->signals);
}

bool terminal_is_behind(const struct terminal *terminal)
{
    return terminal->pending_at < terminal->pending.length && !terminal->gone;
}

/* Takes in what waits, or comes within the time; false when nothing did. The descriptor may block. */
static bool take_input(struct terminal *terminal, int wait_ms)
{
    struct pollfd ready = {terminal->input, POLLIN, 0};
    char block[INPUT_BYTES];
    if (poll(&ready, 1, wait_ms) <= 0 || !(ready.revents & POLLIN))
        return false;
    const ssize_t got = read(terminal->input, block, sizeof block);
    if (got <= 0)
        return false;
    input_add(&terminal->keys, block, (size_t)got, clock_now());
    return true;
}

int terminal_key(struct terminal *terminal, struct mouse *mouse)
{
    for (;;) {
        const int key = input_key(&terminal->keys, mouse);
        if (key && (key != KEY_CODE_MOUSE || terminal->mouse))
            return key;
        if (key)
            continue;
        const bool undecided = input_is_undecided(&terminal->keys);
        if (!take_input(terminal, undecided ? ESCAPE_MS : 0))
            return undecided ? input_decide(&terminal->keys) : 0;
    }
}

/* Gives curses the glyphs of a row that changed, and no others. */
static void show_row(struct terminal *terminal, const struct canvas *canvas, int y)
{
    const struct glyph *row = &canvas->cells[(size_t)y * (size_t)canvas->width];
    struct glyph *old = &terminal->shown.cells[(size_t)y * (size_t)canvas->width];
    const size_t bytes = (size_t)canvas->width * sizeof *row;
    if (terminal->shown_valid && memcmp(row, old, bytes) == 0)
        return;
    int first = 0, last = canvas->width - 1;
    if (terminal->shown_valid) {
        while (memcmp(&row[first], &old[first], sizeof *row) == 0)
            first++;
        while (memcmp(&row[last], &old[last], sizeof *row) == 0)
            last--;
    }
    while (first > 0 && row[first].width == 0)
        first--;
    for (int x = first; x <= last; x++) {
        if (row[x].width == 0 || (terminal->shown_valid && x > first && memcmp(&row[x], &old[x], sizeof *row) == 0))
            continue;
        const wchar_t text[3] = {(wchar_t)row[x].base, (wchar_t)row[x].mark, 0};
        cchar_t cell;
        if (setcchar(&cell, text, terminal->attributes[row[x].style], terminal->pairs[row[x].style], NULL) == OK)
            mvadd_wch(y, x, &cell);
    }
    memcpy(old, row, bytes);
}

size_t terminal_show(struct terminal *terminal, const struct canvas *canvas)
{
    if (terminal_is_behind(terminal))
        return 0;
    if (terminal->shown.height != canvas->height || terminal->shown.width != canvas->width) {
        canvas_resize(&terminal->shown, canvas->height, canvas->width);
        terminal->shown_valid = false;
    }
    for (int y = 0; y < canvas->height; y++)
        show_row(terminal, canvas, y);
    terminal->shown_valid = true;
    wnoutrefresh(stdscr);
    doupdate();
    const size_t made = collect(terminal);
    terminal_flush(terminal);
    return made;
}

bool terminal_resize(struct terminal *terminal)
{
    const int height = LINES, width = COLS;
    take_size(terminal);
    return height != LINES || width != COLS;
}

void terminal_redraw(struct terminal *terminal)
{
    terminal->shown_valid = false;
    clearok(curscr, TRUE);
}

void terminal_copy(struct terminal *terminal, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t length = strlen(text);
    strbuf_puts(&terminal->pending, "\033]52;c;");
    for (size_t i = 0; i < length; i += 3) {
        const unsigned bits = (unsigned)(unsigned char)text[i] << 16 |
                              (i + 1 < length ? (unsigned)(unsigned char)text[i + 1] << 8 : 0) |
                              (i + 2 < length ? (unsigned)(unsigned char)text[i + 2] : 0);
        strbuf_putc(&terminal->pending, digits[bits >> 18]);
        strbuf_putc(&terminal->pending, digits[bits >> 12 & 63]);
        strbuf_putc(&terminal->pending, i + 1 < length ? digits[bits >> 6 & 63] : '=');
        strbuf_putc(&terminal->pending, i + 2 < length ? digits[bits & 63] : '=');
    }
    strbuf_puts(&terminal->pending, "\a");
    terminal_flush(terminal);
}

void terminal_suspend(struct terminal *terminal)
{
    leave_screen(terminal);
    signals_suspend(terminal->signals);
    terminal_resume(terminal);
}

void terminal_resume(struct terminal *terminal)
{
    enter_modes(terminal);
    set_nonblocking(terminal, true);
    take_size(terminal);
    strbuf_puts(&terminal->pending, PASTES_MARKED);
    terminal_redraw(terminal);
    if (terminal->mouse)
        terminal_set_mouse(terminal, true);
    /* After endwin the next doupdate enters the screen again; the cursor goes only then. */
    doupdate();
    curs_set(0);
}
