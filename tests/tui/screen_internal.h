/* What the parts of the test's screen share. */
#pragma once
#include "base/strbuf.h"
#include "screen.h"
#include <termios.h>
#include <vterm.h>

struct screen {
    int master, slave;
    pid_t leader, child;
    VTerm *vterm;
    VTermScreen *screen;
    struct strbuf bytes;
    bool alternate, cursor, ended;
    int status;
    struct termios before;
    char folder[64];
};

void screen_add_code(struct strbuf *out, uint32_t code); /* as UTF-8 */
