/* Where the cost of profiling an eager step lies. */
#pragma once
#include "gpu_run.h"

/* How a source differs from the one steptop opens. */
struct source_variant {
    size_t buffer_size; /* bytes of a host buffer; 0: as it is */
    bool pinned;        /* CUPTI's own buffers in the host's memory, not the card's */
    bool shared;        /* one host buffer for all threads, not one a thread */
    uint32_t period_ms; /* of the flush thread; 0: as it is */
};
/* "plain" or a list of "buffer=KIB", "period=MS", "pinned", "shared" with commas between. */
bool source_variant_parse(const char *text, struct source_variant *variant);
/* gpu_open_model, eager, with a source of that kind. */
bool source_variant_open(struct gpu_run *run, const char *model, enum precision precision,
                         const struct source_variant *variant, struct error *error);

/* Steps with one part of the profiling on at a time, in turns; a table of medians on standard output. */
bool parts_print(const char *model, enum precision precision, const struct source_variant *variant, int rounds,
                 struct error *error);
