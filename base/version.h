/* What this program was built from. The values are written at each build by cmake/Version.cmake. */
#pragma once
#include <stdbool.h>

const char *version_number(void); /* "0.1.0" */
const char *version_commit(void); /* 12 hex digits, or "unknown" where the sources came without git */
bool version_dirty(void);         /* tracked files differed from the commit */
