/* The terminal: entered once, left on every way out, and never waited for. curses writes its bytes into memory; they go to
 * the terminal as fast as it takes them, and while it takes none (a stopped tmux, a slow line) frames are skipped. */
#pragma once
#include "base/error.h"
#include "base/strbuf.h"
#include "tui/canvas.h"
#include <stdint.h>

struct terminal;

struct terminal_options {
    int theme;  /* index in theme_names */
    bool ascii; /* wished; a locale without UTF-8 forces it */
    bool mouse;
    bool no_color;
};

enum terminal_key {
    KEY_CODE_UP = 0x110000, /* beyond Unicode */
    KEY_CODE_DOWN,
    KEY_CODE_LEFT,
    KEY_CODE_RIGHT,
    KEY_CODE_HOME,
    KEY_CODE_END,
    KEY_CODE_PAGE_UP,
    KEY_CODE_PAGE_DOWN,
    KEY_CODE_BACKTAB,
    KEY_CODE_BACKSPACE,
    KEY_CODE_DELETE,
    KEY_CODE_F1, /* F1 … F12 */
    KEY_CODE_F12 = KEY_CODE_F1 + 11,
    KEY_CODE_MOUSE,
    KEY_CODE_ESCAPE = 27,
    KEY_CODE_ENTER = 13,
    KEY_CODE_TAB = 9,
};

/* Added to the code of a character that was pasted and not typed: it is text for a field, and no command. */
#define KEY_PASTED (1 << 30)

enum mouse_action { MOUSE_PRESS, MOUSE_WHEEL_UP, MOUSE_WHEEL_DOWN };
struct mouse {
    enum mouse_action action;
    int y, x;
};

/* Does the system know what TERM names, and can the screen be drawn there? */
bool terminal_type_works(void);
/* May a file hold what is drawn on its way to the terminal? Else the error names the limit. */
bool terminal_fits(struct error *error);

/* Takes over standard input and output; installs the signal handlers. NULL with the reason when they are no terminal or
 * its type is unknown. One at a time. */
struct terminal *terminal_open(const struct terminal_options *options, struct error *error);
void terminal_close(struct terminal *terminal); /* restores everything, signal handlers included */

/* What there is and what is in force; without a terminal (NULL: a canvas alone) nothing. */
bool terminal_is_ascii(const struct terminal *terminal);
void terminal_size(const struct terminal *terminal, int *height, int *width);
bool terminal_has_colours(const struct terminal *terminal); /* false: NO_COLOR, or it has none; themes are one then */
int terminal_theme(const struct terminal *terminal);
void terminal_set_theme(struct terminal *terminal, int theme);
bool terminal_mouse(const struct terminal *terminal);
void terminal_set_mouse(struct terminal *terminal, bool on);

/* Descriptors for the loop: keys, signals; and whether bytes wait for the terminal to take them. */
int terminal_input(const struct terminal *terminal);
int terminal_output(const struct terminal *terminal);
int terminal_signals(const struct terminal *terminal);
bool terminal_is_behind(const struct terminal *terminal);

/* Next key, or 0 when none waits. Unicode code points, enum terminal_key, control keys as 1 … 31. *mouse is filled for
 * KEY_CODE_MOUSE. Characters of a paste have KEY_PASTED; its control characters and sequences are left out. */
int terminal_key(struct terminal *terminal, struct mouse *mouse);
/* The next signal that came, or 0. */
int terminal_signal(struct terminal *terminal);

/* Sends what differs from the canvas before; nothing while the terminal is behind. Returns the bytes it made. */
size_t terminal_show(struct terminal *terminal, const struct canvas *canvas);
/* Hands waiting bytes over; false when the terminal is gone. */
bool terminal_flush(struct terminal *terminal);
bool terminal_resize(struct terminal *terminal);                 /* asks for the size; true when it changed */
void terminal_redraw(struct terminal *terminal);                 /* the next frame is drawn whole */
void terminal_copy(struct terminal *terminal, const char *text); /* to the clipboard, OSC 52 */
void terminal_suspend(struct terminal *terminal); /* ^Z: gives the terminal back, stops the job, comes back with fg */
void terminal_resume(struct terminal *terminal);  /* after SIGCONT: the modes again, and everything drawn anew */
