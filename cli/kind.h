/* What a file is by its first bytes, and so which subcommand opens it. */
#pragma once
#include "base/error.h"

enum file_kind { KIND_UNKNOWN, KIND_PROFILE, KIND_REPORT, KIND_RECORDING, KIND_COUNT };

/* False, with the subcommand that opens it, for a file that is seen to be of another of these kinds. True for all others: the reader
 * that is to open it says what is wrong with it. Standard input is not looked into. */
bool file_is(const char *path, enum file_kind wanted, struct error *error);
