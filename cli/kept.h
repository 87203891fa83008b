/* The reports of what was run on the screen, kept under $XDG_STATE_HOME/steptop/reports: the last ten. */
#pragma once
#include "report/report.h"

#define KEPT_REPORTS 10

/* Keeps a report in which something was measured, and says where in two lines on standard output; lets go of what is older than the
 * last ten. A failure is one line on standard error, and no more: what was asked for has been done. */
void kept_save(const struct report *report);

/* The file that an argument stands for: "last" is the newest kept report, "last~1" the one before it; anything else, and a file of
 * that name, is itself. False when there is none kept. */
bool kept_path(const char *argument, char *path, size_t size, struct error *error);
