#include "harness.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/reference/reference.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct plan_request harness_small_request(void)
{
    return (struct plan_request){
        .model = {.name = "small",
                  .kind = MODEL_LM,
                  .d_model = 16,
                  .d_ff = 24,
                  .num_layers = 2,
                  .num_heads = 2,
                  .vocab_size = 11},
        .batch = 2,
        .context = 8,
        .phases = PHASES_TRAIN_STEP,
    };
}

void harness_open(struct harness *harness, const struct plan_request *request, const char *device)
{
    struct error error = {0};
    *harness = (struct harness){0};
    harness->plan = plan_build(request, &harness->result, &error);
    if (!harness->plan || !plan_check(harness->plan, &error))
        fail_msg("plan: %s", error.text);
    int index = 0;
    harness->class = strcmp(device, "reference") == 0 ? &reference_device_class
                     : strcmp(device, "cpu") == 0     ? &cpu_device_class
                                                      : device_find(device, &index, &error);
    if (!harness->class || !(harness->device = harness->class->open(index, &error)))
        fail_msg("device %s: %s", device, error.text);
    const struct prepare_options options = {.compile = request->fusions != 0};
    struct prepare_report report = {0};
    harness->program = harness->class->prepare(harness->device, harness->plan, &options, &report, &error);
    if (!harness->program)
        fail_msg("prepare on %s: %s", device, error.text);
}

void harness_close(struct harness *harness)
{
    harness->class->release(harness->program);
    harness->class->close(harness->device);
    plan_free(harness->plan);
    *harness = (struct harness){0};
}

static void write_tensor(struct harness *harness, int32_t tensor, const void *bytes)
{
    struct error error = {0};
    if (!harness->class->write(harness->program, tensor, bytes, &error))
        fail_msg("write %s: %s", harness->plan->tensors[tensor].name, error.text);
}

void harness_fill(struct harness *harness, uint64_t seed)
{
    const struct plan *plan = harness->plan;
    struct error error = {0};
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *tensor = &plan->tensors[i];
        const bool state = tensor->kind == TENSOR_PARAMETER && tensor->parameter == i;
        if (!state && tensor->kind != TENSOR_CONSTANT && tensor->kind != TENSOR_INPUT)
            continue;
        void *values = malloc(tensor->bytes);
        assert_non_null(values);
        if (tensor->kind == TENSOR_INPUT)
            model_random_tokens(plan, i, seed, values);
        else if (!model_initial_value(plan, i, seed, values, &error))
            fail_msg("%s", error.text);
        write_tensor(harness, i, values);
        free(values);
    }
}

void harness_run(struct harness *harness, unsigned phases)
{
    struct error error = {0};
    struct step_times times;
    if (!harness->class->run(harness->program, phases, 0, NULL, &times, &error))
        fail_msg("run: %s", error.text);
}

double *harness_read(struct harness *harness, int32_t tensor)
{
    const struct tensor *wanted = &harness->plan->tensors[tensor];
    const int64_t count = tensor_elements(wanted);
    double *values = malloc((size_t)count * sizeof *values);
    assert_non_null(values);
    if (harness->class == &reference_device_class) {
        memcpy(values, reference_values(harness->program, tensor), (size_t)count * sizeof *values);
        return values;
    }
    struct error error = {0};
    char *bytes = malloc(wanted->bytes);
    assert_non_null(bytes);
    if (!harness->class->read(harness->program, tensor, bytes, &error))
        fail_msg("read %s: %s", wanted->name, error.text);
    for (int64_t i = 0; i < count; i++) {
        float value;
        if (wanted->dtype == DTYPE_BF16) {
            uint16_t half;
            memcpy(&half, bytes + 2 * i, sizeof half);
            const uint32_t bits = (uint32_t)half << 16;
            memcpy(&value, &bits, sizeof value);
        } else {
            memcpy(&value, bytes + 4 * i, sizeof value);
        }
        values[i] = (double)value;
    }
    free(bytes);
    return values;
}

double harness_loss(struct harness *harness)
{
    double *loss = harness_read(harness, harness->plan->loss), value = *loss;
    free(loss);
    return value;
}

double relative_l2(const double *a, const double *b, int64_t count)
{
    double difference = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(difference) / (size > 0 ? sqrt(size) : 1);
}
