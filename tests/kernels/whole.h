/* Whole models on a device, at odd shapes: built, filled, run, read, and held against the double reference. For tests by cmocka: what
 * fails, fails the test. */
#pragma once
#include "kernels/device.h"
#include "model/model.h"

struct whole_shape {
    struct model_config model;
    int64_t batch, context;
};
#define WHOLE_SHAPES 4
extern const struct whole_shape whole_shapes[WHOLE_SHAPES];

/* A training step's plan; `overlap` is the device's. The caller frees it. */
struct plan *whole_plan(const struct whole_shape *shape, enum precision precision, unsigned fusions,
                        struct overlap overlap);
/* Prepared, with initial values and tokens that depend on the plan's names alone. */
struct program *whole_ready(const struct device_class *class, struct device *device, const struct plan *plan,
                            const struct prepare_options *options);
/* One training step. */
void whole_run(const struct device_class *class, struct program *program);
/* A tensor's bytes; malloc'ed. */
void *whole_read(const struct device_class *class, struct program *program, const struct plan *plan, int32_t tensor);
/* All that outlives a step is the same in both, bit by bit. */
void whole_same(const struct device_class *class, const struct plan *plan, struct program *a, struct program *b,
                const char *what);
/* A step of each shape in each precision that has a tolerance and that the device supports, eager and fused, against the reference:
 * gradients and loss within the tolerance, no parameter off by a tenth. */
void whole_steps_agree(const struct device_class *class, struct device *device, const struct whole_shape *shapes,
                       int count, const double tolerances[PRECISION_COUNT]);
