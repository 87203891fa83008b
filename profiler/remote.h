/* A process that nobody here started, and one sentence of Python that it is to run: it is held for the length of a few function calls,
 * told, and let go of with every register as it was. x86-64 Linux alone. */
#pragma once
#include "base/error.h"
#include <sys/types.h>

/* Has the interpreter in process `pid` run `script` (UTF-8, statements) in its main thread when it next comes to a safe point of its
 * own: Py_AddPendingCall with PyRun_SimpleString, the way a signal's handler takes. Nothing of ours runs at a point of our choosing but
 * these two words of Python's, which allocate nothing. Returns when the interpreter has been told, not when it has run it; within some
 * milliseconds, at most 3 s.
 * One page of memory with the script stays in the process. False, with one sentence that says what to do, where that cannot be: no such
 * process, no permission, no Python, stopped, or watched by a debugger; the process is as it was then. */
bool remote_run_python(pid_t pid, const char *script, struct error *error);
