/* Lowering of everything that is neither a matrix product nor attention: one or two kernels a node. */
#include "kernels/adamw.h"
#include "kernels/cuda/cuda_internal.h"

static uint64_t blocks(int64_t items, int64_t a_block)
{
    return (uint64_t)((items + a_block - 1) / a_block);
}

void lower_elementwise(struct lowering *lowering, const struct node *node)
{
    static const struct {
        const char *kernel;
        int inputs;
        bool gated; /* an operand of twice the width: F must be known */
    } kernels[OP_COUNT] = {
        [OP_CAST] = {"cast", 1, false},
        [OP_ADD] = {"add", 2, false},
        [OP_MUL] = {"mul", 2, false},
        [OP_SILU] = {"silu", 1, false},
        [OP_SILU_BACKWARD] = {"silu_backward", 2, false},
        [OP_SWIGLU] = {"swiglu", 1, true},
        [OP_SWIGLU_BACKWARD] = {"swiglu_backward", 2, true},
    };
    struct operand operands[4] = {lower_input(lowering, 0)};
    if (kernels[node->op].inputs == 2)
        operands[1] = lower_input(lowering, 1);
    operands[2] = lower_output(lowering, 0);
    operands[3] = lower_output(lowering, 1); /* of swiglu_backward alone, and there only if asked for */
    bool gated = kernels[node->op].gated;
    int64_t count = gated ? node->dims.rows * node->dims.d_out : operands[2].elements;
    int vector = lower_vector(gated ? node->dims.d_out : count, operands, 4);
    struct defines defines = {0};
    define_text(&defines, "T0", dtype_text(operands[0].dtype));
    define_text(&defines, "T1", dtype_text(operands[1].dtype));
    define_text(&defines, "T2", dtype_text(operands[2].dtype));
    define_number(&defines, "VECTOR", vector);
    if (gated)
        define_number(&defines, "F", node->dims.d_out);
    if (lowering->program->compile)
        define_number(&defines, "ELEMENTS", count);
    struct cuda_launch *launch = lower_kernel(lowering, lower_module(lowering, "elementwise.cu", &defines),
                                              kernels[node->op].kernel, blocks(count, 256 * vector), 1, 256);
    for (int i = 0; i < 3; ++i)
        if (i != 1 || kernels[node->op].inputs == 2)
            lower_pointer(launch, operands[i].address);
    if (node->op == OP_SWIGLU_BACKWARD)
        lower_pointer(launch, operands[3].address);
    lower_int64(launch, count);
}

/* Threads of a block that takes one row of `items` accesses: whole warps, at most 512, a like number each. */
static int row_threads(int64_t items)
{
    int64_t rounds = (items + 511) / 512;
    int64_t threads = (items + rounds - 1) / rounds;
    return (int)((threads + 31) / 32 * 32);
}

void lower_norm(struct lowering *lowering, const struct node *node)
{
    bool backward = node->op == OP_RMSNORM_BACKWARD, residual = node->op == OP_ADD_RMSNORM;
    int64_t rows = node->dims.rows, columns = node->dims.d_in;
    struct operand x, r = {.dtype = DTYPE_F32}, w, y, z = {.dtype = DTYPE_F32}, rstd, dw = {0}, rounded = {0};
    if (backward) {
        y = lower_input(lowering, 0);
        x = lower_input(lowering, 1);
        w = lower_input(lowering, 2);
        rstd = lower_input(lowering, 3);
        r = lower_input(lowering, 4);
        z = lower_output(lowering, 0);
        dw = lower_output(lowering, 1);
        rounded = lower_output(lowering, 2);
    } else {
        int after = residual ? 1 : 0;
        x = lower_input(lowering, 0);
        if (residual) {
            r = lower_input(lowering, 1);
            z = lower_output(lowering, 0);
        }
        w = lower_input(lowering, 1 + after);
        y = lower_output(lowering, after);
        rstd = lower_output(lowering, 1 + after);
    }
    const struct operand all[] = {x, r, w, y, z, rounded};
    int vector = lower_vector(columns, all, 6), threads = row_threads(columns / vector);
    int group = 1; /* warps a row in backward: 4 accesses a thread at most, where 8 warps are enough for that */
    while (group < 8 && columns > (int64_t)4 * 32 * vector * group)
        group *= 2;
    struct defines defines = {0};
    define_number(&defines, "C", columns);
    define_number(&defines, "VECTOR", vector);
    define_number(&defines, "THREADS", threads);
    define_number(&defines, "GROUP", group);
    define_text(&defines, "TX", dtype_text(x.dtype));
    define_text(&defines, "TR", dtype_text(r.dtype));
    define_text(&defines, "TY", dtype_text(y.dtype));
    define_text(&defines, "TZ", dtype_text(z.dtype));
    int32_t module = lower_module(lowering, "norm.cu", &defines);
    if (!backward) {
        struct cuda_launch *launch =
            lower_kernel(lowering, module, residual ? "add_rmsnorm" : "rmsnorm", (uint64_t)rows, 1, (unsigned)threads);
        lower_pointer(launch, x.address);
        if (residual)
            lower_pointer(launch, r.address);
        lower_pointer(launch, w.address);
        if (residual)
            lower_pointer(launch, z.address);
        lower_pointer(launch, y.address);
        lower_pointer(launch, rstd.address);
        lower_float(launch, node->epsilon);
        return;
    }
    int64_t together = 8 / group; /* rows a block has in work */
    int64_t parts = (int64_t)blocks(rows, together), most = 2 * (int64_t)lowering->program->device->units;
    if (parts > most)
        parts = most;
    int64_t shared = together > 1 ? together * columns * 4 : 0;
    if (shared > lowering->program->device->shared_limit) {
        lower_fail(lowering, "a row of %lld columns does not fit in shared memory", (long long)columns);
        return;
    }
    /* Compiled, the sum over the parts may run beside what follows, so its operand is nobody else's. */
    const struct tensor *gradient = &lowering->plan->tensors[node->output[1]];
    bool aside = lowering->program->compile && tensor_kind_persists(gradient->kind);
    struct operand partial = aside ? lower_own_scratch(lowering, DTYPE_F32, parts * columns, columns)
                                   : lower_scratch(lowering, DTYPE_F32, parts * columns, columns);
    struct cuda_launch *launch = lower_kernel(
        lowering, module, r.address ? "rmsnorm_backward_residual" : "rmsnorm_backward", (uint64_t)parts, 1, 256);
    launch->shared = (unsigned)shared;
    lower_pointer(launch, y.address);
    lower_pointer(launch, x.address);
    lower_pointer(launch, w.address);
    lower_pointer(launch, rstd.address);
    if (r.address)
        lower_pointer(launch, r.address);
    lower_pointer(launch, z.address);
    lower_pointer(launch, rounded.address);
    lower_pointer(launch, partial.address);
    lower_int(launch, (int32_t)rows);
    launch = lower_kernel(lowering, module, "rmsnorm_weight_sum", blocks(columns, 32), 1, 256);
    launch->aside = aside;
    lower_pointer(launch, partial.address);
    lower_pointer(launch, dw.address);
    lower_int(launch, (int32_t)parts);
}

void lower_embedding(struct lowering *lowering, const struct node *node)
{
    bool backward = node->op == OP_EMBEDDING_BACKWARD;
    struct operand tokens = lower_input(lowering, 0);
    struct operand x = backward ? lower_input(lowering, 1) : lower_output(lowering, 0);
    struct operand table = backward ? lower_output(lowering, 0) : lower_input(lowering, 1);
    int64_t rows = node->dims.rows, columns = node->dims.d_in;
    const struct operand all[] = {x, table};
    int vector = lower_vector(columns, all, 2);
    struct defines defines = {0};
    define_number(&defines, "C", columns);
    define_number(&defines, "VECTOR", vector);
    define_text(&defines, "TX", dtype_text(x.dtype));
    int32_t module = lower_module(lowering, "embedding.cu", &defines);
    struct cuda_launch *launch;
    if (backward) {
        launch = lower_kernel(lowering, module, "embedding_backward", (uint64_t)node->dims.vocab, 1, 256);
        lower_pointer(launch, tokens.address);
        lower_pointer(launch, x.address);
        lower_pointer(launch, table.address);
        lower_int(launch, (int32_t)rows);
        return;
    }
    launch = lower_kernel(lowering, module, "embedding", blocks(rows * columns, 256 * vector), 1, 256);
    lower_pointer(launch, tokens.address);
    lower_pointer(launch, table.address);
    lower_pointer(launch, x.address);
    lower_int64(launch, rows * columns);
    lower_int(launch, (int32_t)node->dims.vocab);
}

void lower_loss(struct lowering *lowering, const struct node *node)
{
    bool backward = node->op == OP_CROSS_ENTROPY_BACKWARD, fused = node->op == OP_CROSS_ENTROPY_FUSED;
    struct operand logits = lower_input(lowering, 0), targets = lower_input(lowering, 1),
                   gradient = {.dtype = DTYPE_F32};
    if (fused)
        gradient = lower_output(lowering, 1);
    else if (backward)
        gradient = lower_output(lowering, 0);
    int64_t rows = node->dims.rows, vocab = node->dims.vocab;
    const struct operand all[] = {logits, gradient};
    int64_t stride_l = logits.row_stride, stride_g = gradient.address ? gradient.row_stride : stride_l;
    int vector = lower_vector(stride_l | stride_g, all, 2), threads = row_threads(vocab / vector);
    if (fused && CUDA_OFFSET(gradient.address) == CUDA_OFFSET(logits.address) && gradient.dtype != logits.dtype) {
        lower_fail(lowering, "the gradient takes the logits' place but not their type");
        return;
    }
    struct defines defines = {0};
    define_number(&defines, "V", vocab);
    define_number(&defines, "STRIDE_L", stride_l);
    define_number(&defines, "STRIDE_G", stride_g);
    define_number(&defines, "VECTOR", vector);
    define_number(&defines, "THREADS", threads);
    define_text(&defines, "TL", dtype_text(logits.dtype));
    define_text(&defines, "TG", dtype_text(gradient.dtype));
    int32_t module = lower_module(lowering, "loss.cu", &defines);
    const char *name = fused ? "cross_entropy_fused" : backward ? "cross_entropy_backward" : "cross_entropy";
    struct operand row_loss = backward ? (struct operand){0} : lower_scratch(lowering, DTYPE_F32, rows, rows);
    struct cuda_launch *launch = lower_kernel(lowering, module, name, (uint64_t)rows, 1, (unsigned)threads);
    lower_pointer(launch, logits.address);
    lower_pointer(launch, targets.address);
    if (backward) {
        lower_pointer(launch, lower_input(lowering, 2).address);
        lower_pointer(launch, gradient.address);
        lower_float(launch, (float)(1.0 / (double)rows));
        return;
    }
    if (!fused)
        lower_pointer(launch, lower_output(lowering, 1).address);
    lower_pointer(launch, row_loss.address);
    if (fused) {
        lower_pointer(launch, gradient.address);
        lower_float(launch, (float)(1.0 / (double)rows));
    }
    launch = lower_kernel(lowering, module, "mean_loss", 1, 1, 1024);
    lower_pointer(launch, row_loss.address);
    lower_pointer(launch, lower_output(lowering, 0).address);
    lower_int(launch, (int32_t)rows);
}

/* The slot of the step's rate for these values; the host renews all slots before the optimizer phase. */
static int optimizer_slot(struct lowering *lowering, const struct adamw *wanted)
{
    struct program *program = lowering->program;
    const int slot = adamw_slot(program->optimizers, &program->optimizer_count, CUDA_MAX_OPTIMIZERS, wanted);
    if (slot < 0)
        lower_fail(lowering, "more than %d different sets of AdamW values in one plan", CUDA_MAX_OPTIMIZERS);
    return slot < 0 ? 0 : slot;
}

/* One launch for all parameters becomes this many at most, so that those whose gradients are whole need not wait for the others. */
#define OPTIMIZER_PIECES 32
#define OPTIMIZER_LEAST (1 << 20) /* elements that are worth a launch */
#define OPTIMIZER_GRAIN 1024

void lower_optimizer(struct lowering *lowering, const struct node *node)
{
    struct operand operands[5];
    for (int i = 0; i < 4; ++i)
        operands[i] = lower_input(lowering, i);
    operands[4] = lower_output(lowering, 3);
    int64_t count = operands[0].elements, copied = operands[4].address ? operands[4].elements : 0;
    int vector = lower_vector(count | copied, operands, 5);
    int slot = optimizer_slot(lowering, &node->adamw);
    struct defines defines = {0};
    define_number(&defines, "VECTOR", vector);
    int32_t module = lower_module(lowering, "adamw.cu", &defines);
    /* Pieces may go before the whole; a shard is small, and what it waits for is one bucket. */
    bool shard = lowering->program->plan->ranks > 1 && node->op == OP_ADAMW;
    int64_t pieces = lowering->program->compile && !shard ? count / OPTIMIZER_LEAST : 1;
    pieces = pieces < 1 ? 1 : pieces > OPTIMIZER_PIECES ? OPTIMIZER_PIECES : pieces;
    int64_t each = (count / pieces + OPTIMIZER_GRAIN - 1) / OPTIMIZER_GRAIN * OPTIMIZER_GRAIN;
    for (int64_t first = 0; first < count; first += each) {
        int64_t here = count - first < each ? count - first : each;
        int64_t copies = copied - first < 0 ? 0 : copied - first < here ? copied - first : here;
        struct cuda_launch *launch = lower_kernel(lowering, module, "adamw", blocks(here, 256 * vector), 1, 256);
        for (int i = 0; i < 4; ++i)
            lower_pointer(launch, operand_columns(operands[i], first).address);
        lower_pointer(launch, copies ? operand_columns(operands[4], first).address : 0);
        lower_pointer(launch, CUDA_IN_WORKSPACE | (uint64_t)slot * sizeof(float)); /* program.optimizer_factors */
        lower_float(launch, node->adamw.learning_rate * node->adamw.weight_decay);
        lower_float(launch, node->adamw.beta1);
        lower_float(launch, node->adamw.beta2);
        lower_float(launch, node->adamw.epsilon);
        lower_int64(launch, here);
        lower_int64(launch, copies);
        launch->piece = lowering->program->compile;
        for (int i = 0; i < 3; ++i) { /* p, g and the copy: m and v are nobody else's */
            const struct operand *operand = &operands[i < 2 ? i : 4];
            int64_t elements = i < 2 ? here : copies;
            launch->extent[i][0] = elements ? CUDA_OFFSET(operand_columns(*operand, first).address) : 0;
            launch->extent[i][1] = (uint64_t)elements * dtype_size(operand->dtype);
        }
    }
}
