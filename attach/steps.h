/* Which step it is. Steps end where the optimizer has stepped; in a program without one, where the outermost module is called again,
 * with gradients if it ever was; without modules, where the outermost range of a name returns; where all that happens is one CUDA graph, again and again, at its
 * launches; else each second of the clock is one, labelled so. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum step_rule { STEPS_UNKNOWN, STEPS_CLOCK, STEPS_RANGE, STEPS_MODULE, STEPS_OPTIMIZER, STEPS_GRAPH };

void steps_begin(void);                      /* the first: now; once, whoever of several finds the link open */
void steps_expect_modules(void);             /* the program has PyTorch */
bool steps_await_modules(void);              /* it has, and has had little time to call one */
void steps_optimizer(const void *optimizer); /* it has stepped; of several the first one seen ends steps */
/* An outermost module is about to be called, with gradients or without; with them where nobody can tell. */
void steps_root_module(int32_t scope, bool gradients);
/* Whether it trains is to be asked now: of calls of modules alone nobody knows it. Once each time. */
bool steps_asks(void);
/* No optimizer was ever made, and so what changes parameters is the program itself: from here on steps are of training where a backward pass
 * has been in one, or a parameter has `changed`. */
void steps_by_hand(bool changed);
void steps_range(const char *name);  /* an outermost range begins */
void steps_graph(const void *graph); /* a CUDA graph is about to be launched; calls nobody */
void steps_clock(void);              /* now and then, from any thread: for programs that say nothing */

uint32_t steps_now(void); /* id for records; one load */
bool steps_is_warmup(void);
bool steps_was_warmup(uint32_t step); /* of one that may be over */
bool steps_recorded(void);            /* false in one step of fifty, or in pauses (attach/pace.h) */
/* Recording costs something: from here on there are pauses, and `record` is told when they begin and end, on the program's threads. */
void steps_pace(void (*record)(bool on));
/* The same where the program computes itself: recording may take `share` of its time, and what it costs at least is counted. */
void steps_pace_host(void (*record)(bool on), double share);
/* Something is to be read in the first step from one optimizer step to the next that disturbs it: it stays warm-up. */
void steps_second_is_warmup(void);
uint8_t steps_pass(void); /* enum pass */
/* Host time of a phase of the step under way, where the host runs it. */
void steps_phase_time(int phase, uint64_t ns);
enum step_rule steps_rule(void);
