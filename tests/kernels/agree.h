/* Runs a made plan on two devices and says how far their results are apart. For tests by cmocka: what fails, fails the test. */
#pragma once
#include "tests/kernels/made.h"

struct agree_results {
    void *bytes[MADE_TENSORS]; /* of tensors that nodes write, in their own type */
};

/* Prepares with `options`, writes the made values, runs so many whole steps and reads every tensor that a node writes; false, and nothing
 * in `results`, where the device says that it does not support it. */
bool agree_try_with(const struct device_class *class, struct device *device, const struct made *made,
                    const struct prepare_options *options, int steps, struct agree_results *results);
/* Prepares, writes the made values, runs so many whole steps and reads every tensor that a node writes. */
void agree_run(const struct device_class *class, struct device *device, const struct made *made, bool compile,
               int steps, struct agree_results *results);
/* The same, but false where the device says that it does not support it. */
bool agree_try(const struct device_class *class, struct device *device, const struct made *made, bool compile,
               int steps, struct agree_results *results);
void agree_free(struct agree_results *results);

/* The relative L2 error of `count` floats; the absolute one where nothing is expected. */
double agree_floats(const float *got, const float *expected, int64_t count);
/* Of one tensor, without what is unspecified. */
double agree_relative_l2(const struct made *made, int32_t index, const void *got, const void *expected);

/* The largest relative L2 error of the last node's outputs. */
double agree_worst(const struct made *made, const struct agree_results *got, const struct agree_results *expected);

/* Above the diagonal the op's output is unspecified. */
bool agree_is_triangular(enum op op);

/* Turns the tensors that a bf16 plan holds in bf16 to that type. */
void agree_make_bf16(struct made *made, enum op op);

/* A device, the shapes that its ops are tried at, and which it is tried with. */
struct agree_device {
    const struct device_class *class;
    struct device *device;
    const struct made_sizes *shapes;
    int shape_count;
    bool once; /* a shape packed and compiled, the next sliced and eager, and not each in both ways */
    bool (*wanted)(struct device *device, enum op op,
                   enum precision precision); /* NULL: every op; never a collective */
};
/* Every op against the double reference, packed and compiled as well as sliced and eager. */
void agree_ops(const struct agree_device *with, enum precision precision, double tolerance);
/* Every op twice at one shape: the same bits. */
void agree_repeats(const struct agree_device *with, int shape, enum precision precision);
/* What must be seen at the first shape: a wrong epsilon, a wrong scale, a missing decay, a step too few. */
void agree_sees_a_wrong_constant(const struct agree_device *with);
