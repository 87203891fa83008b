/* What a worker's exit code says when it could not say anything else. */
#pragma once

/* From now on a process that a library ends, because it got no memory, ends with EXIT_NO_MEMORY (base/limits.h): libgomp and OpenBLAS
 * exit, the C++ library and the C library abort, each with words of its own and codes that mean nothing. */
void last_word_prepare(void);
