/* PyTorch's RecordFunction by the symbols that libtorch_cpu exports: ops and backward nodes on every thread, beside the program's own
 * profiler. The interface is private to PyTorch, so what this relies on is checked in the very process before it is used. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Finds the symbols. False where one is missing; `why` says which. */
bool torch_find(char *why, unsigned size);
int64_t torch_sequence(void);     /* the number that the next node made on this thread gets; −1 where not known */
bool torch_wants_gradients(void); /* are nodes made on this thread? True where nobody can tell */

/* Learning where a RecordFunction keeps its sequence number. While on, ops vote: `sequence` is what their number must be. The caller
 * runs a few ops that make nodes between, then asks how it ended. */
void torch_learn(bool on, int64_t sequence);
/* The offset in bytes; negative where votes did not agree on one. */
int torch_learned(int rounds);

/* Callbacks on: of ops and nodes, or of nodes alone; with either, of what PyTorch waits for: its data loader, its collectives. */
bool torch_watch(bool ops);
void torch_pause(bool paused); /* takes back what torch_watch did for ops and nodes, for a time */
void torch_unwatch(void);
