/* How much of a step its kernels cover: the union of their intervals over all streams, kept up to date with each record. */
#pragma once
#include "profiler/aggregate.h"
#include "profiles/profile.h"

struct cover_step;
struct cover {
    struct step_cover passes[PASS_COUNT];
    struct cover_step *steps; /* the latest few steps that records may still come for; made on the first record */
    struct cover_step *last;  /* that a record came for */
    uint32_t newest;          /* highest step id seen */
    unsigned next;            /* the step to give way */
};

/* Adds those of the valid records that are work and not of a warm-up step. Steps may interleave by a few; records of a step may come
 * in any order, as they do from several streams. */
void cover_add(struct cover *cover, const struct record *records, size_t count);
/* Takes a step of the latest few out of the totals; false: it is not one of them. */
bool cover_remove(struct cover *cover, int pass, uint32_t step);
void cover_release(struct cover *cover); /* keeps the totals */
