/* What devices share of AdamW: plans have few sets of values, and a step has one rate for each. */
#pragma once
#include "kernels/plan.h"

/* The place of these values among the `*count` that are known, of which there is room for `most`; added where they are not there yet. −1: no
 * room. The weight decay and ε are no part of a rate. */
int adamw_slot(struct adamw *known, int *count, int most, const struct adamw *wanted);
/* lr·√(1−β2ᵗ)/(1−β1ᵗ) of step t, counted from 1 (Kingma and Ba 2015, section 2, with ε outside the correction). */
double adamw_rate(const struct adamw *adamw, int64_t t);
