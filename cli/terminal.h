/* All that is printed goes through here; tests/cli/sinks.sh sees to it. Text that is not ours (names of files, profiles, kernels,
 * devices, errors that quote them) goes through text_terminal (base/text.h) on the way. */
#pragma once
#include "base/error.h"
#include "base/strbuf.h"
#include <stdbool.h>
#include <stddef.h>

void say(const char *format, ...) __attribute__((format(printf, 1, 2))); /* to stderr, with a line end */
void say_over(const char *text); /* to stderr, in the place of the line that the cursor is in */
bool print_all(const char *text, size_t length,
               struct error *error); /* to stdout; a reader that went away is no error */
