/* A screen to test on: tui_run in a child on a pseudo-terminal, and libvterm that reads what it draws. */
#pragma once
#include "tui/tui.h"
#include <sys/types.h>

struct screen;

struct screen_options {
    int height, width;
    const char *term;     /* NULL: xterm-256color */
    const char *locale;   /* NULL: C.UTF-8 */
    const char *no_color; /* value of NO_COLOR, or NULL */
    const char *theme;
    bool ascii, mouse;
    const char *state_folder;          /* XDG_STATE_HOME; NULL: none where anything can be kept */
    const char *config_folder;         /* XDG_CONFIG_HOME; NULL: an empty one */
    struct session *(*session)(void);  /* makes the child's session; NULL: none */
    const char *const *program;        /* a program with its arguments to run instead of tui_run; NULL-terminated */
    struct tui_statistics *statistics; /* shared memory that the child writes; NULL */
};

/* Starts the child with the document that `make` makes. Fails the test when it cannot. */
struct screen *screen_open(const struct screen_options *options, void (*make)(struct report *));
/* Types: text as it is; <Enter> <Esc> <Tab> <BackTab> <Space> <Up> <Down> <Left> <Right> <PgUp> <PgDn> <Home> <End> <Del>
 * <F1>…<F12> <^X> are keys. <SlowEsc> is an escape that only time tells from the beginning of a sequence: wait for what it does
 * before the next key. */
void screen_type(struct screen *screen, const char *keys);
void screen_resize(struct screen *screen, int height, int width);
/* The text of the screen, malloc'ed: a line a row without trailing blanks; with attributes a second block of letters. */
char *screen_text(struct screen *screen, bool attributes);
/* The screen as a picture, SVG: its colours on a dark ground, blocks as shapes, each stretch of text at the width of its columns, so that
 * any monospaced font will do. malloc'ed. */
char *screen_svg(struct screen *screen, const char *title);
/* Reads output until nothing came for `quiet_ms`. False when the child closed the terminal. */
bool screen_settle(struct screen *screen, int quiet_ms);
/* Takes in what comes within the time. */
void screen_read(struct screen *screen, int wait_ms);
bool screen_has(struct screen *screen, const char *text);
/* Waits (10 s) until the screen holds the text. */
bool screen_wait_for(struct screen *screen, const char *text);
/* Waits (10 s) until the screen is the golden file tests/tui/golden/NAME; with UPDATE_GOLDEN set, writes it instead. */
void screen_expect(struct screen *screen, const char *name, bool attributes);
pid_t screen_child(const struct screen *screen);
/* Waits (10 s) until the screen does not hold the text any more. */
bool screen_wait_gone(struct screen *screen, const char *text);
int screen_terminal(const struct screen *screen); /* the master's descriptor */
bool screen_is_alternate(const struct screen *screen);
bool screen_cursor_visible(const struct screen *screen);
/* All bytes that the child wrote so far. */
const char *screen_bytes(const struct screen *screen, size_t *length);
/* Waits for the child's end (10 s, then it is killed and the test fails); its wait status. */
int screen_wait(struct screen *screen);
/* True when the terminal's modes are what they were before the child started. */
bool screen_modes_restored(const struct screen *screen);
/* Takes the terminal away, as a closed window does. */
void screen_hang_up(struct screen *screen);
void screen_close(struct screen *screen);

/* Each fails the test, with the screen's text. The text comes, or goes, within 10 s. */
void screen_must_show(struct screen *screen, const char *text);
void screen_must_lose(struct screen *screen, const char *text);
/* The child ends with this code and leaves the terminal as it was; closes the screen. */
void screen_must_end(struct screen *screen, int code);
