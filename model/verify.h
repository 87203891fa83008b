/* Does a device compute the right thing? Its loss, logits, gradients and parameters after some AdamW steps against a truth,
 * which is either a folder made by PyTorch or the double-precision reference device. */
#pragma once
#include "base/vec.h"
#include "kernels/device.h"
#include "model/model.h"

/* A named tensor of the truth. */
struct truth_tensor {
    const char *name; /* "loss", "logits", "grad.…", "after.…"; a parameter's name for weights */
    double *values;
    int64_t count;
    double bf16_error; /* PyTorch's own under bf16 autocast; NaN where not known */
};

struct truth {
    struct arena arena;
    struct plan_request request; /* model, batch, context and AdamW's values; phases of a training step */
    int steps;                   /* of AdamW */
    VEC(struct truth_tensor) weights;
    VEC(struct truth_tensor) expected;
    int32_t *tokens, *targets; /* batch · context */
};

/* Reads weights.safetensors, inputs.safetensors and expected.safetensors of `folder`, as tests/peers/make_reference.py
 * writes them. Missing, surplus or misshapen tensors are ERROR_INPUT. */
bool truth_read(const char *folder, struct truth *truth, struct error *error);

/* Random weights (norms away from 1) and tokens for the request's shape, and what the reference device makes of them. */
bool truth_compute(const struct plan_request *request, int steps, uint64_t seed, struct truth *truth,
                   struct error *error);
void truth_free(struct truth *truth);

struct verify_row {
    const char *name;        /* of the truth */
    double error, tolerance; /* relative L2; the row fails unless error <= tolerance, so NaN fails */
};

struct verify_outcome {
    VEC(struct verify_row) rows;
    unsigned fired; /* fusion passes of the plan that ran */
    bool repeats;   /* two runs gave the same bits */
    int failed;     /* rows beyond tolerance, and one more when the bits differ */
};

/* Runs the truth's model on an open device. The tolerances are those of the precision: fp32 1e-5, tf32 2e-3, bf16 1e-2 or
 * twice PyTorch's own error. False only when the device cannot run it. */
bool verify_device(const struct device_class *class, struct device *device, const struct truth *truth,
                   enum precision precision, bool compile, int threads, struct verify_outcome *outcome,
                   struct error *error);
void verify_outcome_free(struct verify_outcome *outcome);

/* √Σ(a−b)² / √Σb²; where b is (nearly) zero, over `floor` instead. */
double relative_error(const double *a, const double *b, int64_t count, double floor);
