/* What was said to the front: scopes, places and names, each once. Ids count in the order of saying. */
#pragma once
#include "kernels/plan.h"
#include <stdbool.h>
#include <stdint.h>

/* A context is where a thread is: a scope and a phase in one number. */
#define CONTEXT(scope, phase) ((int32_t)(((scope) + 1) << 3 | (int32_t)(phase)))
#define CONTEXT_SCOPE(context) (((context) >> 3) - 1)
#define CONTEXT_PHASE(context) ((enum phase)((context)&7))

#define BOOK_SCOPES 16384
#define BOOK_NAMES 16384
#define BOOK_PLACES 131072
#define BOOK_NONE (-1)

/* The scope called `name` below `parent` (BOOK_NONE: none), said on its first asking. BOOK_NONE when there are too many; what is
 * deeper than the front takes is `parent` itself. */
int32_t book_scope(int32_t parent, const char *name, uint64_t parameter_bytes);
bool book_is_root(int32_t scope); /* it has no parent */
bool book_is_compiled(
    uint32_t name); /* a call of what torch.compile made: what it does between the ops that it calls are its kernels */
/* The id of an op's or kernel's name; the same text gives the same id. Those for which there is no more room
 * share the last one, which says so; 0 without memory or a front. */
uint32_t book_name(const char *name);
enum kernel_class book_class(uint32_t name); /* guessed from the name by classes.h */
/* The place of something called `name` in a context. */
int32_t book_place(int32_t context, uint32_t name);
/* The same for all of a class in a context: no op is named. CLASS_OTHER: the context as a whole. */
int32_t book_place_of_class(int32_t context, enum kernel_class kernel_class);
/* What a scope by itself keeps for its backward pass: said as a place in which nothing runs. Once a scope. */
void book_kept(int32_t scope, uint64_t bytes);
/* What one step does of an op in a context, by its shapes. Summed over calls until book_work_tell, which says it of the places where such
 * ops have run: those of the op itself (`by_op`), or of its class. */
void book_work(int32_t context, uint32_t name, double flops, double bytes);
/* How much memory is in use in a context, bytes; the most counts. Told of by book_peaks_tell, by scope, forward and backward. */
void book_peak(int32_t context, uint64_t bytes);
void book_peaks_tell(void);
/* The sums of all that was told of; how much of it found no place in *lost. */
double book_work_tell(bool by_op, double *lost);
