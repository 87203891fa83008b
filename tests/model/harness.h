/* A plan on a device, ready to run: what the tests of model/ share. Failures end the test with a message. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/device.h"
#include "model/model.h"

struct harness {
    struct plan *plan;
    struct plan_result result;
    const struct device_class *class;
    struct device *device;
    struct program *program;
};

/* C=16, F=24, L=2, H=2, V=11, B=2, T=8, fp32, a whole training step, eager: small enough for differences of everything. */
struct plan_request harness_small_request(void);

void harness_open(struct harness *harness, const struct plan_request *request, const char *device);
void harness_close(struct harness *harness);

/* Initial values for all parameters and constants, random tokens and targets. */
void harness_fill(struct harness *harness, uint64_t seed);
void harness_run(struct harness *harness, unsigned phases);
double harness_loss(struct harness *harness);

/* All of a tensor in double, malloc'ed: the exact values on the reference, converted ones on other devices. */
double *harness_read(struct harness *harness, int32_t tensor);
/* √(Σ(a−b)²) / √(Σb²) */
double relative_l2(const double *a, const double *b, int64_t count);
