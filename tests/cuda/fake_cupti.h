/* A CUPTI without a GPU: the same calls, callbacks and buffers, and records that the test dictates. It holds a lock of its
 * own while it calls back, as the real one does, so a source that holds a lock across a call hangs here too. */
#pragma once
#include "kernels/cuda/cupti_api.h"
#include <stdbool.h>
#include <stdint.h>

enum fake_fault {
    FAKE_GOOD,
    FAKE_NO_TIME,   /* start = end = 0 */
    FAKE_BACKWARDS, /* end before start */
    FAKE_EARLY,     /* start before the launch */
    FAKE_LOST,      /* no record and no count: what must never pass unseen */
    FAKE_REFUSED    /* the launch itself fails */
};

void fake_reset(void); /* before each source; not between */
const struct cupti_api *fake_api(void);

/* What the next calls do. */
void fake_subscribe_result(CUptiResult result, const char *holder);
void fake_enable_fails_after(int calls); /* -1: never */
void fake_numbers_by_runtime(void);      /* also where its calls are not watched */
void fake_fatal(const char *message);    /* the state callback, as from a CUPTI that gives up */
void fake_finalize(void);                /* another tool's cuptiFinalize: all is off, and nothing works any more */

/* A stream launch of a kernel; `nested`: through the runtime, which calls the driver within. */
void fake_launch(const char *name, enum fake_fault fault, bool nested);
void fake_copy(uint64_t bytes);
void fake_empty_memset(void); /* of no bytes: no record comes */
void fake_synchronize(uint64_t nanoseconds);
void fake_overhead(void);

/* Graphs of kernels: nodes are created while the source's node is current, then cloned by instantiation. */
struct fake_graph {
    uint64_t nodes[4096], clones[4096];
    const char *names[4096];
    int count;
};
void fake_capture_kernel(struct fake_graph *graph, const char *name);
void fake_instantiate(struct fake_graph *graph, bool created_last);
void fake_graph_launch(const struct fake_graph *graph);

struct fake_state {
    int enabled_kinds, enabled_launch_callbacks;
    uint64_t api_callbacks, dropped, buffers_out;
    bool waits_traced; /* records of synchronisations are wanted */
    int subscribed, clock_registrations;
    int callbacks_after_unsubscribe;
};
struct fake_state fake_state(void);

/* All of that by one pointer, for a program that loads it (tests/attach/fake_libcupti.c exports `fake_device`). */
struct fake_device {
    void (*launch)(const char *name, enum fake_fault fault, bool nested);
    void (*synchronize)(uint64_t nanoseconds);
    void (*fatal)(const char *message);
    void (*finalize)(void);
    struct fake_state (*state)(void);
    void (*capture)(struct fake_graph *graph, const char *name);
    void (*instantiate)(struct fake_graph *graph, bool created_last);
    void (*graph_launch)(const struct fake_graph *graph);
};
