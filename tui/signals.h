/* Signals become bytes in a pipe that the loop polls; those of a crash restore the terminal first and then kill the process as they
 * would have. */
#pragma once
#include "base/error.h"
#include <termios.h>

struct signals;

/* Installs all handlers. `saved` and `flags` are what a crash puts back on the terminal `fd`. One at a time. */
struct signals *signals_install(int fd, const struct termios *saved, int flags, struct error *error);
/* From now on a crash also sends these terminfo strings (NULL: none). */
void signals_arm(struct signals *signals, const char *leave_screen, const char *show_cursor, const char *attributes,
                 const char *keypad);
void signals_restore(struct signals *signals); /* the handlers that were there before; NULL is fine */

int signals_descriptor(const struct signals *signals);
int signals_next(struct signals *signals);     /* 0: none came */
void signals_suspend(struct signals *signals); /* stops the process group as ^Z does; returns when continued */
