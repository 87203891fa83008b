/* Where each thread of the program is: in which module, phase, autograd node and op. What tells (the Python hook, RecordFunction, ITT,
 * NVTX) calls in; what records (CUPTI's callbacks, ops on the CPU) asks. Everything here is a few stores on the caller's own data. */
#pragma once
#include "attach/book.h"
#include <stdbool.h>
#include <stdint.h>

struct where; /* one thread's */

/* This thread's; NULL where there is no memory for it. Made on its first asking. */
struct where *where_self(void);
int32_t where_context(void); /* of the calling thread, for a launch; CONTEXT(−1, PHASE_NONE) where nothing is known */

/* A module's forward: `scope` as the front knows it, `sequence` the autograd number at its border (−1: not known). Inside a backward
 * node it is recomputation. */
void where_enter(struct where *where, int32_t scope, int64_t sequence);
/* Leaves the innermost call of that module, and with it the calls inside of it whose ends nobody told: what a signal's handler raised between
 * two instructions of the hook. One that is in no call of it leaves nothing. */
void where_leave(struct where *where, int32_t scope, int64_t sequence);
/* Was `scope` called as an outermost module on this thread, or is it in a call of it now? Where it is called inside of another one, that may
 * have ended untold. */
bool where_may_be_left_over(const struct where *where, int32_t scope);
bool where_may_step(
    const struct where *where); /* outside of modules, but in an optimizer's step: may it have ended untold? */
/* No more than so many calls of modules, and steps of optimizers, are under way on this thread. */
void where_unwind(struct where *where, int modules, int phases);
bool where_in_module(const struct where *where);
bool where_in_node(const struct where *where); /* of the backward pass */

/* A node of the backward pass: what was made between a module's borders belongs to it. A node without a number, or one that nobody
 * claims, stays where the thread was. */
void where_node_begin(struct where *where, int64_t sequence);
void where_node_end(struct where *where);
/* How to ask whether the calling thread is in a backward pass: then what comes after it is not of it, but of the update. */
void where_backward_by(bool (*in_backward)(void));

/* The optimizer's step. */
void where_phase_begin(struct where *where, enum phase phase);
void where_phase_end(struct where *where);
bool where_in_phase(void); /* is the calling thread between those two? */

/* An op that runs on this thread. Those that called no other become a record when ops are recorded; most of the others do not, so a name
 * that has to be looked for is asked for at the end: name(of), or NULL where the beginning had it. */
void where_op_begin(struct where *where, uint32_t name);
void where_op_end(struct where *where, uint32_t (*name)(const void *), const void *of);
/* The host has waited since `start` (enum record_wait), or something that it will wait for was under way. */
void where_wait(struct where *where, uint64_t start, uint32_t name, unsigned wait);
bool where_runs_modules(const struct where *where); /* has this thread called one? */

/* Ops are recorded (a program on the CPU), or pass by (their kernels on the card are records); `layers`: instead of ops, each piece of
 * time in one context. */
void where_record(bool ops, bool layers);
bool where_records_ops(void);
/* Nobody tells of the backward pass: what comes after the outermost module may be that as well as the loss, and has no phase. */
void where_nodes_unknown(bool unknown);

/* Ranges of the program's own (NVTX, ITT) where nobody says modules: a tree of scopes by their names. One that is
 * `hidden` is counted, so that its end is not another's, and nothing else. */
void where_range_push(const char *name, bool hidden);
bool where_has_modules(void);    /* one was called */
bool where_has_collisions(void); /* two threads made backward nodes of one number at a time: these have no layer */
/* Nothing else is known of this program: each range that called no other is a record itself. */
void where_ranges_only(void);
bool where_range_pop(void); /* false: there was none */

/* What was told of on all threads since the beginning: what recording costs follows from it. */
struct where_counts {
    uint64_t modules, nodes, ops;
};
void where_counts(struct where_counts *counts);
