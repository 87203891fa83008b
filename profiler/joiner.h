/* The other hosts' side of profiler/hosts.h: a steptop that a launcher started as one of the ranks after the first. */
#pragma once
#include "base/error.h"
#include "profiler/launcher.h"

struct joiner_options {
    const struct launcher *launcher;
    const char *program, *cache_folder; /* to start workers; may be NULL: no cache */
    uint32_t ring_records;              /* 0: the default */
    uint64_t wait_ns;                   /* until rank 0 is there */
};

/* Joins rank 0 and runs what comes of it, one cell after another, until it says goodbye: true. False: it is not there or went
 * without a goodbye, sent this one away, or a signal that ends processes came (ERROR_INTERRUPTED; *signal is its number). No worker
 * is left behind. */
bool joiner_run(const struct joiner_options *options, int *signal, struct error *error);
