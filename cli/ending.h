/* How what a session ran ends, on a screen or without one. */
#pragma once
#include "cli/outputs.h"
#include "profiler/session.h"

/* 128 + the signal that ended it (0: none did); 3 when a recording that was played was not whole; 4 when no cell could run because its
 * device is not there; 1 when some cell failed. A run that somebody stopped has not. */
int session_exit_code(const struct session *session, int signal);

/* Brings the report up to date and writes the files asked for. False: one could not be written; the others are. */
bool files_renew(const struct outputs *outputs, struct report *report, const struct session *session,
                 struct error *error);
