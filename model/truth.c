/* Truths to verify devices against: read from a folder, or computed by the reference device. */
#include "base/random.h"
#include "kernels/reference/reference.h"
#include "model/safetensors.h"
#include "model/verify.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct truth_tensor *tensor_new(struct truth *truth, bool weight, const char *name, int64_t count)
{
    const struct truth_tensor tensor = {.name = arena_strdup(&truth->arena, name),
                                        .values = arena_array(&truth->arena, double, count),
                                        .count = count,
                                        .bf16_error = NAN};
    if (weight) {
        vec_push(&truth->weights, tensor);
        return &truth->weights.items[truth->weights.count - 1];
    }
    vec_push(&truth->expected, tensor);
    return &truth->expected.items[truth->expected.count - 1];
}

void truth_free(struct truth *truth)
{
    vec_release(&truth->weights);
    vec_release(&truth->expected);
    arena_release(&truth->arena);
    *truth = (struct truth){0};
}

static bool note_number(const struct safetensors *file, const char *key, double least, double most, double *value,
                        struct error *error)
{
    const char *text = safetensors_note(file, key);
    if (!text)
        return error_set(error, ERROR_INPUT, "__metadata__ lacks '%s'", key);
    char *end;
    *value = strtod(text, &end);
    if (end == text || *end || !(*value >= least && *value <= most))
        return error_set(error, ERROR_INPUT, "__metadata__ '%s' is no number from %g to %g", key, least, most);
    return true;
}

static bool note_count(const struct safetensors *file, const char *key, double most, double *value, struct error *error)
{
    return note_number(file, key, 1, most, value, error) &&
           (*value == floor(*value) || error_set(error, ERROR_INPUT, "__metadata__ '%s' is no whole number", key));
}

static bool matrix_shape(const struct safetensors *file, const char *name, int64_t *rows, int64_t *columns,
                         struct error *error)
{
    const struct safetensors_tensor *tensor = safetensors_find(file, name);
    if (!tensor)
        return error_set(error, ERROR_INPUT, "tensor '%s' is missing", name);
    if (tensor->rank != 2)
        return error_set(error, ERROR_INPUT, "tensor '%s' has %d axes; a matrix is due", name, tensor->rank);
    *rows = tensor->shape[0];
    *columns = tensor->shape[1];
    return true;
}

/* The model's sizes from the shapes of its weights; what shapes do not tell is in the metadata. */
static bool read_sizes(const struct safetensors *weights, struct truth *truth, struct error *error)
{
    struct model_config *model = &truth->request.model;
    struct adamw *adamw = &truth->request.adamw;
    double heads = 0, steps = 0, rate = 0, beta1 = 0, beta2 = 0, epsilon = 0, decay = 0;
    int64_t columns = 0;
    *model = (struct model_config){.name = "reference", .kind = MODEL_LM};
    if (!matrix_shape(weights, "token_embeddings.weight", &model->vocab_size, &model->d_model, error) ||
        !matrix_shape(weights, "layers.0.ffn.w1.weight", &model->d_ff, &columns, error) ||
        !note_count(weights, "num_heads", INT32_MAX, &heads, error) ||
        !note_count(weights, "steps", 1000, &steps, error) ||
        !note_number(weights, "learning_rate", 1e-12, 1e3, &rate, error) ||
        !note_number(weights, "beta1", 0, 1, &beta1, error) || !note_number(weights, "beta2", 0, 1, &beta2, error) ||
        !note_number(weights, "epsilon", 0, 1, &epsilon, error) ||
        !note_number(weights, "weight_decay", 0, 1e3, &decay, error))
        return false;
    char name[64];
    do {
        model->num_layers++;
        snprintf(name, sizeof name, "layers.%lld.ffn.w1.weight", (long long)model->num_layers);
    } while (safetensors_find(weights, name));
    model->num_heads = (int64_t)heads;
    truth->steps = (int)steps;
    *adamw = (struct adamw){(float)rate, (float)beta1, (float)beta2, (float)epsilon, (float)decay};
    return true;
}

/* Takes one tensor of a file over; its elements must be as many as the plan's `like` has, and in its shape where the file's has as many
 * axes: logits may have batch and context apart, a loss none. */
static bool take(struct truth *truth, bool weight, const struct safetensors *file, const char *name,
                 const struct tensor *like, struct error *error)
{
    const struct safetensors_tensor *tensor = safetensors_find(file, name);
    const int64_t count = tensor_elements(like);
    if (!tensor)
        return error_set(error, ERROR_INPUT, "tensor '%s' is missing", name);
    for (int axis = 0; axis < like->rank && tensor->rank == like->rank; axis++)
        if (tensor->shape[axis] != like->shape[axis])
            return error_set(error, ERROR_INPUT, "axis %d of tensor '%s' is %lld long; %lld are due", axis, name,
                             (long long)tensor->shape[axis], (long long)like->shape[axis]);
    if (tensor->elements != count)
        return error_set(error, ERROR_INPUT, "tensor '%s' has %lld elements; %lld are due", name,
                         (long long)tensor->elements, (long long)count);
    if (tensor->dtype == SAFETENSORS_I32 || tensor->dtype == SAFETENSORS_I64)
        return error_set(error, ERROR_INPUT, "tensor '%s' holds integers", name);
    struct truth_tensor *taken = tensor_new(truth, weight, name, count);
    safetensors_values(tensor, taken->values);
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(taken->values[i]))
            return error_set(error, ERROR_INPUT, "tensor '%s' holds a value that is not finite at element %lld", name,
                             (long long)i);
    char full[160];
    snprintf(full, sizeof full, "bf16_error.%s", name);
    const struct safetensors_tensor *half = safetensors_find(file, full);
    if (half && half->elements == 1)
        safetensors_values(half, &taken->bf16_error);
    return true;
}

static bool take_tokens(struct truth *truth, const struct safetensors *file, const char *name, int32_t **tokens,
                        struct error *error)
{
    int64_t *const batch = &truth->request.batch, *const context = &truth->request.context;
    int64_t rows = 0, columns = 0;
    if (!matrix_shape(file, name, &rows, &columns, error))
        return false;
    if (*batch == 0) {
        *batch = rows;
        *context = columns;
    }
    if (rows != *batch || columns != *context)
        return error_set(error, ERROR_INPUT, "'%s' is not of the shape of the tokens", name);
    const struct safetensors_tensor *tensor = safetensors_find(file, name);
    double *values = arena_array(&truth->arena, double, tensor->elements + 1);
    safetensors_values(tensor, values);
    *tokens = arena_array(&truth->arena, int32_t, tensor->elements + 1);
    for (int64_t i = 0; i < tensor->elements; i++) {
        if (!(values[i] >= 0 && values[i] < (double)truth->request.model.vocab_size) || values[i] != floor(values[i]))
            return error_set(error, ERROR_INPUT, "'%s' holds %g at element %lld; tokens go from 0 to %lld", name,
                             values[i], (long long)i, (long long)truth->request.model.vocab_size - 1);
        (*tokens)[i] = (int32_t)values[i];
    }
    return true;
}

/* All that the plan wants, and nothing that it does not know. */
static bool take_all(struct truth *truth, const struct safetensors *weights, const struct safetensors *expected,
                     struct error *error)
{
    struct plan *plan = plan_build(&truth->request, NULL, error);
    if (!plan)
        return false;
    bool ok = take(truth, false, expected, "loss", &plan->tensors[plan->loss], error) &&
              take(truth, false, expected, "logits", &plan->tensors[plan->logits], error);
    size_t parameters = 0;
    for (int32_t i = 0; i < plan->tensor_count && ok; i++) {
        const struct tensor *tensor = &plan->tensors[i];
        if (tensor->kind != TENSOR_PARAMETER || tensor->parameter != i)
            continue;
        parameters++;
        char name[160];
        ok = take(truth, true, weights, tensor->name, tensor, error);
        snprintf(name, sizeof name, "grad.%s", tensor->name);
        ok = ok && take(truth, false, expected, name, tensor, error);
        snprintf(name, sizeof name, "after.%s", tensor->name);
        ok = ok && take(truth, false, expected, name, tensor, error);
    }
    if (ok && weights->tensor_count != parameters)
        ok = error_set(error, ERROR_INPUT, "weights.safetensors has %zu tensors; this model has %zu parameters",
                       weights->tensor_count, parameters);
    plan_free(plan);
    return ok;
}

bool truth_read(const char *folder, struct truth *truth, struct error *error)
{
    static const char *const names[3] = {"weights", "inputs", "expected"};
    struct safetensors files[3] = {0};
    bool ok = true;
    *truth = (struct truth){0};
    for (int i = 0; i < 3 && ok; i++) {
        char *path = arena_printf(&truth->arena, "%s/%s.safetensors", folder, names[i]);
        ok = safetensors_read(path, &files[i], error);
    }
    truth->request.phases = PHASES_TRAIN_STEP;
    if (ok)
        ok = (read_sizes(&files[0], truth, error) && take_tokens(truth, &files[1], "tokens", &truth->tokens, error) &&
              take_tokens(truth, &files[1], "targets", &truth->targets, error) &&
              take_all(truth, &files[0], &files[2], error)) ||
             error_prefix(error, "reference %s", folder);
    for (int i = 0; i < 3; i++)
        safetensors_free(&files[i]);
    if (!ok)
        truth_free(truth);
    return ok;
}

/* Copies a tensor of the reference's run into the truth under "<prefix><name>". */
static void keep(struct truth *truth, struct program *program, int32_t tensor, const char *prefix, const char *name,
                 int64_t count)
{
    char full[160];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    struct truth_tensor *kept = tensor_new(truth, false, full, count);
    memcpy(kept->values, reference_values(program, tensor), (size_t)count * sizeof *kept->values);
}

static bool fill_weights(struct truth *truth, const struct plan *plan, struct program *program, uint64_t seed,
                         struct error *error)
{
    const struct device_class *class = &reference_device_class;
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *tensor = &plan->tensors[i];
        const bool parameter = tensor->kind == TENSOR_PARAMETER && tensor->parameter == i;
        if (!parameter && tensor->kind != TENSOR_CONSTANT)
            continue;
        const int64_t count = tensor_elements(tensor);
        float *values = arena_array(&truth->arena, float, count);
        if (!model_initial_value(plan, i, seed, values, error))
            return false;
        for (int64_t k = 0; k < count && parameter && tensor->rank == 1;
             k++) /* a norm that forgets its weight is found */
            values[k] += (float)(0.1 * random_normal_cut3(seed, (uint64_t)i, (uint64_t)k));
        if (!class->write(program, i, values, error))
            return false;
        if (!parameter)
            continue;
        struct truth_tensor *weight = tensor_new(truth, true, tensor->name, count);
        for (int64_t k = 0; k < count; k++)
            weight->values[k] = (double)values[k];
    }
    const int64_t rows = plan->batch * plan->context;
    truth->tokens = arena_array(&truth->arena, int32_t, rows);
    truth->targets = arena_array(&truth->arena, int32_t, rows);
    model_random_tokens(plan, plan->tokens, seed, truth->tokens);
    model_random_tokens(plan, plan->targets, seed, truth->targets);
    return class->write(program, plan->tokens, truth->tokens, error) &&
           class->write(program, plan->targets, truth->targets, error);
}

static bool compute(struct truth *truth, const struct plan *plan, struct program *program, struct error *error)
{
    const struct device_class *class = &reference_device_class;
    struct step_times times;
    if (!class->run(program, PHASES_FWD, 0, NULL, &times, error))
        return false;
    keep(truth, program, plan->logits, "", "logits", tensor_elements(&plan->tensors[plan->logits]));
    if (!class->run(program, PHASES_FWD_BWD, 0, NULL, &times, error))
        return false;
    keep(truth, program, plan->loss, "", "loss", 1);
    for (int32_t i = 0; i < plan->tensor_count; i++)
        if (plan->tensors[i].kind == TENSOR_GRADIENT && plan->tensors[i].parameter != TENSOR_NONE)
            keep(truth, program, i, "", plan->tensors[i].name, tensor_elements(&plan->tensors[i]));
    for (int step = 0; step < truth->steps; step++)
        if (!class->run(program, PHASES_TRAIN_STEP, 0, NULL, &times, error))
            return false;
    for (int32_t i = 0; i < plan->tensor_count; i++)
        if (plan->tensors[i].kind == TENSOR_PARAMETER && plan->tensors[i].parameter == i)
            keep(truth, program, i, "after.", plan->tensors[i].name, tensor_elements(&plan->tensors[i]));
    return true;
}

bool truth_compute(const struct plan_request *request, int steps, uint64_t seed, struct truth *truth,
                   struct error *error)
{
    const struct device_class *class = &reference_device_class;
    *truth = (struct truth){.request = *request, .steps = steps};
    truth->request.phases = PHASES_TRAIN_STEP;
    truth->request.precision = PRECISION_FP32;
    truth->request.fusions = 0;
    truth->request.checkpoint = CHECKPOINT_NONE;
    truth->request.inference = false;
    const struct prepare_options options = {0};
    struct prepare_report report = {0};
    struct program *program = NULL;
    struct device *device = NULL;
    bool ok = false;
    struct plan *plan = plan_build(&truth->request, NULL, error);
    if (!plan || !model_threads_start(error) || !(device = class->open(0, error)) ||
        !(program = class->prepare(device, plan, &options, &report, error)))
        goto done;
    ok = fill_weights(truth, plan, program, seed, error) && compute(truth, plan, program, error);
done:
    if (program)
        class->release(program);
    if (device)
        class->close(device);
    plan_free(plan);
    if (!ok)
        truth_free(truth);
    return ok;
}
