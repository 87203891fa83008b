/* Runs a made plan on two devices and says how far their results are apart. For tests by cmocka: what fails, fails the test. */
#pragma once
#include "tests/kernels/made.h"

struct agree_results {
    void *bytes[MADE_TENSORS]; /* of tensors that nodes write, in their own type */
};

/* Prepares, writes the made values, runs so many whole steps and reads every tensor that a node writes. */
void agree_run(const struct device_class *class, struct device *device, const struct made *made, bool compile,
               int steps, struct agree_results *results);
void agree_free(struct agree_results *results);

/* The largest relative L2 error of the last node's outputs. */
double agree_worst(const struct made *made, const struct agree_results *got, const struct agree_results *expected);

/* Above the diagonal the op's output is unspecified. */
bool agree_is_triangular(enum op op);

/* Turns the tensors that a bf16 plan holds in bf16 to that type. */
void agree_make_bf16(struct made *made, enum op op);
