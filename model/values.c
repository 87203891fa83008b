/* Initial weights, the RoPE table and random tokens; each value depends on the seed, the tensor's name and its index
 * alone, so that any plan of the same model starts from the same numbers. */
#include "base/hash.h"
#include "base/processes.h"
#include "base/random.h"
#include "model/model.h"
#include <math.h>
#include <omp.h>
#include <string.h>

/* Fewer values than this are made faster than threads are woken. */
enum { WORTH_THREADS = 1 << 14 };

static void fill_normal(float *values, int64_t rows, int64_t columns, int64_t stride, double sigma, uint64_t seed,
                        const char *name)
{
    const uint64_t stream = hash_text(HASH_START, name);
#pragma omp parallel for schedule(static) if (rows * columns > WORTH_THREADS)
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            values[i * stride + j] = (float)(sigma * random_normal_cut3(seed, stream, (uint64_t)(i * columns + j)));
}

/* (T, D/2, 2): cos and sin of t·θ^(−2j/D), θ = 10000. */
static void fill_rope_table(const struct tensor *tensor, float *values)
{
    const int64_t context = tensor->shape[0], pairs = tensor->shape[1];
#pragma omp parallel for schedule(static) if (context * pairs > WORTH_THREADS)
    for (int64_t t = 0; t < context; t++) {
        for (int64_t j = 0; j < pairs; j++) {
            const double angle = (double)t * pow(10000.0, -(double)j / (double)pairs);
            values[(t * pairs + j) * 2] = (float)cos(angle);
            values[(t * pairs + j) * 2 + 1] = (float)sin(angle);
        }
    }
}

bool model_threads_start(struct error *error)
{
    return threads_start(omp_get_max_threads(), error);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static double weight_sigma(const char *name, int64_t rows, int64_t columns)
{
    const bool linear = ends_with(name, ".weight") && strcmp(name, "token_embeddings.weight") != 0;
    return linear ? sqrt(2.0 / (double)(rows + columns)) : 1;
}

bool model_initial_part(const struct plan_part *part, uint64_t seed, float *values, struct error *error)
{
    if (part->rank == 1) { /* a norm's weight */
        for (int64_t i = 0; i < part->count; i++)
            values[i] = 1;
        return true;
    }
    if (part->rank != 2)
        return error_set(error, ERROR_INTERNAL, "a part of %s, which is no matrix", part->name);
    const double sigma = weight_sigma(part->name, part->shape[0], part->shape[1]);
    const uint64_t stream = hash_text(HASH_START, part->name);
#pragma omp parallel for schedule(static) if (part->count > WORTH_THREADS)
    for (int64_t i = 0; i < part->count; i++)
        values[i] = (float)(sigma * random_normal_cut3(seed, stream, (uint64_t)(part->first + i)));
    return true;
}

bool model_initial_value(const struct plan *plan, int32_t tensor, uint64_t seed, float *values, struct error *error)
{
    const struct tensor *wanted = &plan->tensors[tensor];
    if (tensor == plan->rope_table) {
        fill_rope_table(wanted, values);
        return true;
    }
    const bool state = wanted->kind == TENSOR_PARAMETER && wanted->parameter == tensor;
    if (!state && wanted->kind != TENSOR_CONSTANT)
        return error_set(error, ERROR_INTERNAL, "tensor %s is neither a parameter nor a constant", wanted->name);
    if (strcmp(wanted->name, "qkv") == 0) { /* attention alone, fused: q, k, v beside one another */
        static const char *const names[3] = {"q", "k", "v"};
        const int64_t rows = wanted->shape[0], width = wanted->shape[1];
        for (int i = 0; i < 3; i++)
            fill_normal(values + i * (width / 3), rows, width / 3, width, 1, seed, names[i]);
        return true;
    }
    if (wanted->rank == 1) { /* a norm's weight */
        for (int64_t i = 0; i < tensor_elements(wanted); i++)
            values[i] = 1;
        return true;
    }
    const double sigma = weight_sigma(wanted->name, wanted->shape[0], wanted->shape[1]);
    fill_normal(values, wanted->shape[0], wanted->shape[1], wanted->shape[1], sigma, seed, wanted->name);
    return true;
}

void model_random_tokens(const struct plan *plan, int32_t tensor, uint64_t seed, int32_t *values)
{
    const int64_t count = tensor_elements(&plan->tensors[tensor]);
    const uint64_t stream = hash_text(HASH_START, plan->tensors[tensor].name);
    for (int64_t i = 0; i < count; i++)
        values[i] = (int32_t)(random_bits(seed, stream, (uint64_t)i) % (uint64_t)plan->vocab);
}
