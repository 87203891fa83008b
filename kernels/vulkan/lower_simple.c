/* Lowering of everything that is neither a matrix product nor attention: one or two dispatches a node. */
#include "kernels/adamw.h"
#include "kernels/vulkan/vulkan_internal.h"

void lower_elementwise(struct lowering *lowering, const struct node *node)
{
    static const struct {
        const char *name;
        int which, inputs; /* V0 of elementwise.comp */
        bool gated;        /* an operand of twice the width */
    } kernels[OP_COUNT] = {
        [OP_CAST] = {"cast", 0, 1, false},
        [OP_ADD] = {"add", 1, 2, false},
        [OP_MUL] = {"mul", 2, 2, false},
        [OP_SILU] = {"silu", 3, 1, false},
        [OP_SILU_BACKWARD] = {"silu_backward", 4, 2, false},
        [OP_SWIGLU] = {"swiglu", 5, 1, true},
        [OP_SWIGLU_BACKWARD] = {"swiglu_backward", 6, 2, true},
    };
    struct operand operands[4] = {lower_input(lowering, 0)};
    if (kernels[node->op].inputs == 2)
        operands[1] = lower_input(lowering, 1);
    operands[2] = lower_output(lowering, 0);
    operands[3] = lower_output(lowering, 1);
    bool gated = kernels[node->op].gated;
    int64_t count = gated ? node->dims.rows * node->dims.d_out : operands[2].elements;
    int vector = lower_fours(gated ? node->dims.d_out : count, operands, 4) ? 4 : 1;
    struct vulkan_launch *launch = lower_launch(lowering, "elementwise.comp", kernels[node->op].name, 256);
    lower_variant(launch, 0, kernels[node->op].which);
    lower_variant(launch, 1, vector);
    for (int i = 0; i < 4; ++i)
        lower_operand(launch, i, operands[i]);
    lower_size(lowering, launch, 0, count);
    lower_size(lowering, launch, 1, gated ? node->dims.d_out : 0);
    if (gated)
        lower_size(lowering, launch, 2, 2 * count); /* h has so many */
    lower_groups(lowering, launch, lower_blocks(count, 256 * vector));
}

/* Invocations of a workgroup that takes one row of `items` accesses: at most 256, a like number each. */
static int row_threads(int64_t items)
{
    int64_t rounds = (items + 255) / 256, threads = (items + rounds - 1) / rounds;
    return (int)((threads + 31) / 32 * 32);
}

#define NORM_PARTS 256 /* shares that a weight's gradient is summed in */

void lower_norm(struct lowering *lowering, const struct node *node)
{
    bool backward = node->op == OP_RMSNORM_BACKWARD, residual = node->op == OP_ADD_RMSNORM;
    int64_t rows = node->dims.rows, columns = node->dims.d_in;
    struct operand all[8] = {{0}};
    int after = residual ? 1 : 0;
    if (backward) {
        for (int i = 0; i < 5; ++i) /* dy, x, w, rstd, dres */
            all[i] = lower_input(lowering, i);
        all[5] = lower_output(lowering, 0);
        all[6] = lower_output(lowering, 2);
    } else {
        all[0] = lower_input(lowering, 0);
        if (residual)
            all[1] = lower_input(lowering, 1);
        all[2] = lower_input(lowering, 1 + after);
        if (residual)
            all[3] = lower_output(lowering, 0);
        all[4] = lower_output(lowering, after);
        all[5] = lower_output(lowering, 1 + after);
    }
    struct operand wide[8];
    for (int i = 0; i < 8; ++i)
        wide[i] =
            (i == 3 && backward) || (i == 5 && !backward) ? (struct operand){0} : all[i]; /* rstd is read singly */
    int vector = lower_fours(columns, wide, 8) ? 4 : 1, threads = row_threads((columns + vector - 1) / vector);
    int64_t parts = rows < NORM_PARTS ? rows : NORM_PARTS;
    if (backward)
        all[7] = lower_scratch(lowering, parts * columns, columns);
    struct vulkan_launch *launch = lower_launch(lowering, "norm.comp",
                                                backward   ? "rmsnorm_backward"
                                                : residual ? "add_rmsnorm"
                                                           : "rmsnorm",
                                                (unsigned)threads);
    lower_variant(launch, 0, backward ? 2 : residual ? 1 : 0);
    lower_variant(launch, 1, vector);
    lower_variant(launch, 2, columns);
    for (int i = 0; i < 8; ++i)
        lower_operand(launch, i, all[i]);
    lower_size(lowering, launch, 0, rows);
    lower_size(lowering, launch, 1, rows * columns); /* must be countable */
    lower_float(launch, 8, node->epsilon);
    if (!backward) {
        lower_groups(lowering, launch, (uint64_t)rows);
        return;
    }
    launch->grid[0] = (uint32_t)parts;
    launch = lower_launch(lowering, "norm.comp", "rmsnorm_weight_sum", 64);
    lower_variant(launch, 0, 3);
    lower_variant(launch, 2, columns);
    lower_operand(launch, 0, all[7]);
    lower_operand(launch, 1, lower_output(lowering, 1));
    lower_size(lowering, launch, 0, parts);
    lower_groups(lowering, launch, lower_blocks(columns, 64));
}

void lower_embedding(struct lowering *lowering, const struct node *node)
{
    bool backward = node->op == OP_EMBEDDING_BACKWARD;
    struct operand tokens = lower_input(lowering, 0);
    struct operand x = backward ? lower_input(lowering, 1) : lower_output(lowering, 0);
    struct operand table = backward ? lower_output(lowering, 0) : lower_input(lowering, 1);
    int64_t rows = node->dims.rows, columns = node->dims.d_in, vocab = node->dims.vocab;
    const struct operand all[] = {x, table};
    int vector = lower_fours(columns, all, 2) ? 4 : 1;
    struct vulkan_launch *launch =
        lower_launch(lowering, "embedding.comp", backward ? "embedding_backward" : "embedding", 256);
    lower_variant(launch, 0, backward);
    lower_variant(launch, 1, vector);
    lower_operand(launch, 0, tokens);
    lower_operand(launch, 1, x);
    lower_operand(launch, 2, table);
    lower_size(lowering, launch, 0, rows);
    lower_size(lowering, launch, 1, columns);
    lower_size(lowering, launch, 2, vocab);
    lower_size(lowering, launch, 3, vocab * columns); /* must be countable, as are */
    lower_size(lowering, launch, 4, rows * columns);
    lower_groups(lowering, launch, backward ? (uint64_t)vocab : lower_blocks(rows * columns, 256 * vector));
}

void lower_loss(struct lowering *lowering, const struct node *node)
{
    bool backward = node->op == OP_CROSS_ENTROPY_BACKWARD, fused = node->op == OP_CROSS_ENTROPY_FUSED;
    struct operand logits = lower_input(lowering, 0), targets = lower_input(lowering, 1), gradient = {0};
    if (fused)
        gradient = lower_output(lowering, 1);
    else if (backward)
        gradient = lower_output(lowering, 0);
    int64_t rows = node->dims.rows, vocab = node->dims.vocab;
    const struct operand all[] = {logits, gradient};
    int vector = lower_fours(vocab, all, 2) ? 4 : 1;
    if (fused && gradient.dtype != logits.dtype) {
        lower_fail(lowering, "the gradient takes the logits' place but not their type");
        return;
    }
    struct operand losses = backward ? (struct operand){0} : lower_scratch(lowering, rows, rows);
    struct vulkan_launch *launch = lower_launch(lowering, "loss.comp",
                                                fused      ? "cross_entropy_fused"
                                                : backward ? "cross_entropy_backward"
                                                           : "cross_entropy",
                                                (unsigned)row_threads((vocab + vector - 1) / vector));
    lower_variant(launch, 0, fused ? 2 : backward ? 1 : 0);
    lower_variant(launch, 1, vector);
    lower_operand(launch, 0, logits);
    lower_operand(launch, 1, targets);
    lower_operand(launch, 2,
                  backward ? lower_input(lowering, 2)
                  : fused  ? (struct operand){0}
                           : lower_output(lowering, 1));
    lower_operand(launch, 3, losses);
    lower_operand(launch, 4, gradient);
    lower_size(lowering, launch, 0, rows);
    lower_size(lowering, launch, 1, vocab);
    lower_size(lowering, launch, 2, rows * vocab);
    lower_float(launch, 8, (float)(1.0 / (double)rows));
    lower_groups(lowering, launch, (uint64_t)rows);
    if (backward)
        return;
    launch = lower_launch(lowering, "loss.comp", "mean_loss", 256);
    lower_variant(launch, 0, 3);
    lower_operand(launch, 0, lower_output(lowering, 0));
    lower_operand(launch, 3, losses);
    lower_size(lowering, launch, 0, rows);
}

/* The slot of the step's rate for these values; the host renews all slots before the optimizer phase. */
static int optimizer_slot(struct lowering *lowering, const struct adamw *wanted)
{
    struct program *program = lowering->program;
    const int slot = adamw_slot(program->optimizers, &program->optimizer_count, VULKAN_MAX_OPTIMIZERS, wanted);
    if (slot < 0)
        lower_fail(lowering, "more than %d different sets of AdamW values in one plan", VULKAN_MAX_OPTIMIZERS);
    return slot < 0 ? 0 : slot;
}

void lower_optimizer(struct lowering *lowering, const struct node *node)
{
    struct operand operands[5];
    for (int i = 0; i < 4; ++i)
        operands[i] = lower_input(lowering, i);
    operands[4] = lower_output(lowering, 3);
    int64_t total = operands[0].elements, copied = operands[4].address ? operands[4].elements : 0;
    int vector = lower_fours(total | copied, operands, 5) ? 4 : 1;
    int slot = optimizer_slot(lowering, &node->adamw);
    const int64_t piece = INT64_C(1) << 29; /* of a region beyond what one launch counts */
    for (int64_t first = 0; first < total; first += piece) {
        int64_t count = total - first < piece ? total - first : piece;
        int64_t copies = copied > first ? (copied - first < count ? copied - first : count) : 0;
        struct vulkan_launch *launch = lower_launch(lowering, "adamw.comp", "adamw", 256);
        lower_variant(launch, 1, vector);
        for (int i = 0; i < 5; ++i)
            lower_operand(launch, i,
                          operands[i].address && (i < 4 || copies) ? operand_columns(operands[i], first)
                                                                   : (struct operand){0});
        lower_operand(launch, 5, (struct operand){.address = VULKAN_IN_RATES | 0});
        launch->push.d[0] = (uint32_t)count;
        launch->push.d[1] = (uint32_t)slot;
        launch->push.d[2] = (uint32_t)copies;
        lower_float(launch, 8, node->adamw.learning_rate * node->adamw.weight_decay);
        lower_float(launch, 9, node->adamw.beta1);
        lower_float(launch, 10, node->adamw.beta2);
        lower_float(launch, 11, node->adamw.epsilon);
        lower_groups(lowering, launch, lower_blocks(count, 256 * vector));
    }
}
