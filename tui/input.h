/* Bytes from a terminal made into keys. Sequences (ECMA-48: CSI to its final byte, SS3 and one character, DCS, OSC and other
 * strings to their end) are told apart by their form, so that one which nobody knows is one thing that does nothing, and
 * never keys letter by letter; they may come in pieces. */
#pragma once
#include "tui/terminal.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wchar.h>

#define INPUT_BYTES 256
#define INPUT_SEQUENCE 32
#define INPUT_KEYS 40

/* What is being read. */
enum input_state {
    INPUT_PLAIN,
    INPUT_ESCAPE,       /* an ESC: the key, or the begin of a sequence */
    INPUT_CSI,          /* ESC [ and parameters */
    INPUT_CONSOLE,      /* ESC [ [: one character more, function keys of a Linux console */
    INPUT_SS3,          /* ESC O: one character more */
    INPUT_MOUSE,        /* ESC [ M: three bytes more */
    INPUT_STRING,       /* DCS, OSC, SOS, PM, APC: to ST or BEL */
    INPUT_STRING_ESCAPE /* an ESC in such a string: its end, when a \ follows */
};

struct input_key {
    char bytes[INPUT_SEQUENCE];
    int code;
};

struct input {
    unsigned char bytes[INPUT_BYTES]; /* read and not yet looked at, from `at` on */
    size_t at, count;
    enum input_state state;
    char sequence[INPUT_SEQUENCE]; /* what was read of it, with the ESC; one that is longer is none of ours */
    size_t length;
    uint64_t last; /* when the last byte came */
    bool
        pasting; /* between the marks of a paste (CSI 200 ~ and CSI 201 ~): its characters are text (KEY_PASTED), the rest nothing */
    unsigned char before; /* the byte before, in a string */
    mbstate_t character;
    struct input_key keys[INPUT_KEYS]; /* of the terminal's description */
    size_t key_count;
};

/* Adds what the terminal's description calls a key; NULL and what does not fit are left out. */
void input_describe(struct input *input, const char *bytes, int code);

/* Takes bytes that came at a time (ns); as many as there is room for, which is INPUT_BYTES after input_key gave 0. The rest
 * of a sequence that does not come in time (half a second; two for a string) does not come any more. */
size_t input_add(struct input *input, const void *bytes, size_t count, uint64_t now);

/* Next key as terminal_key says, or 0 when the bytes are used up. */
int input_key(struct input *input, struct mouse *mouse);

/* An ESC came last: it is the key when nothing follows, which the caller waits for. */
bool input_is_undecided(const struct input *input);
int input_decide(struct input *input); /* nothing followed */
