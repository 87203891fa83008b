/* Fused attention on the card by each way to run it, as compile mode times them: causal, forward and backward, RoPE included.
 *
 * usage: bench_attention [--precision fp32|tf32|bf16] [--heads N] [DxTxB …]; without shapes those of docs/bench-h200.md
 * Prints a line a shape and direction: microseconds and TFLOP/s of 4·B·H·T²·D/2 forward, 2.5 times that backward. */
#include "base/unknown.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_device.h"
#include "tests/kernels/made.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void choice_print(const struct cuda_attention_choice *choice)
{
    const struct cuda_attention_shape *shape = &choice->shape;
    double flops = 2.0 * (double)shape->batch * (double)shape->heads * (double)shape->context * (double)shape->context *
                   (double)shape->head_dim * (shape->backward ? 2.5 : 1.0);
    printf("D %lld T %lld B %lld H %lld %s:", (long long)shape->head_dim, (long long)shape->context,
           (long long)shape->batch, (long long)shape->heads, shape->backward ? "backward" : "forward ");
    for (int c = 0; c < cuda_attention_candidate_count; ++c) {
        const char *name = cuda_attention_candidates[c]->name;
        const char *mark = c == choice->candidate ? " *" : "";
        if (is_known(choice->us[c]))
            printf("  %s%s %.1f us %.0f TFLOP/s", name, mark, choice->us[c], flops / choice->us[c] * 1e-6);
        else if (choice->serves[c])
            printf("  %s%s not timed", name, mark);
        else if (choice->why[c][0])
            printf("  %s: %s", name, choice->why[c]);
    }
    printf("\n");
    fflush(stdout);
}

static bool shape_bench(struct device *device, enum precision precision, int64_t heads, const char *text,
                        struct error *error)
{
    static struct made made;
    long long head_dim, context, batch;
    if (sscanf(text, "%lldx%lldx%lld", &head_dim, &context, &batch) != 3)
        return error_set(error, ERROR_INPUT, "%s is no DxTxB", text);
    struct made_sizes sizes = {.batch = batch,
                               .context = context,
                               .heads = heads,
                               .head_dim = head_dim,
                               .d_in = heads * head_dim,
                               .d_out = heads * head_dim,
                               .vocab = 8};
    made_op(&made, OP_ATTENTION_BACKWARD, &sizes, false);
    made.plan.precision = precision;
    for (int32_t i = 0; precision == PRECISION_BF16 && i < made.plan.tensor_count; ++i) {
        struct tensor *tensor = &made.tensors[i];
        if (strcmp(tensor->name, "qkv") == 0 || strcmp(tensor->name, "o") == 0 || strcmp(tensor->name, "do") == 0 ||
            strcmp(tensor->name, "dqkv") == 0) {
            tensor->dtype = DTYPE_BF16;
            tensor->bytes /= 2;
        }
    }
    struct prepare_options options = {.compile = true};
    struct program *program = steptop_device_class.prepare(device, &made.plan, &options, NULL, error);
    if (!program)
        return false;
    for (int32_t i = 0; i < program->attentions.count; ++i)
        choice_print(&program->attentions.items[i]);
    steptop_device_class.release(program);
    return true;
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"64x512x8",   "64x2048x4",  "64x4096x4",   "64x16384x1", "128x512x8",
                                        "128x2048x4", "128x4096x4", "128x16384x1", "80x4096x4",  "64x256x4"};
    enum precision precision = PRECISION_BF16;
    int64_t heads = 16;
    int first = 1;
    for (; first + 1 < argc && argv[first][0] == '-'; first += 2)
        if (strcmp(argv[first], "--heads") == 0)
            heads = atoll(argv[first + 1]);
        else if (strcmp(argv[first], "--precision") != 0 || !precision_parse(argv[first + 1], &precision)) {
            fprintf(stderr, "bench_attention: unknown option or bad value: %s %s\n", argv[first], argv[first + 1]);
            return 2;
        }
    struct error error = {0};
    struct device *device = steptop_device_class.open(0, &error);
    const char *const *shapes = argc > first ? (const char *const *)argv + first : usual;
    int count = argc > first ? argc - first : (int)(sizeof usual / sizeof *usual), failed = !device;
    for (int i = 0; i < count && device; ++i)
        if (!shape_bench(device, precision, heads, shapes[i], &error)) {
            fprintf(stderr, "bench_attention: %s: %s\n", shapes[i], error.text);
            error = (struct error){0};
            failed = 1;
        }
    if (!device)
        fprintf(stderr, "bench_attention: %s\n", error.text);
    else
        steptop_device_class.close(device);
    return failed;
}
