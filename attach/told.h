/* Where RecordFunction cannot be called, what PyTorch itself says by ranges (ITT on the CPU, NVTX on a card) once the hook has switched
 * that on: its operators and the nodes of the backward pass. All ranges of a thread come here then, those of the program's own as well. */
#pragma once
#include <stdbool.h>

/* From here on ranges are PyTorch's word; `ops`: its operators become records, as on the CPU. */
void told_begin(bool ops);
/* Takes a range's beginning. False: nothing is told so, it is a range like any other. */
bool told_push(const char *text);
/* The end of the latest that was taken on this thread. False: there is none. */
bool told_pop(void);
