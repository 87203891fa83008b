#include "tests/kernels/made.h"
#include "base/random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int32_t add_tensor(struct made *made, const char *name, enum fill fill, int rank, const int64_t *shape)
{
    const int32_t index = made->plan.tensor_count++;
    struct tensor *tensor = &made->tensors[index];
    *tensor = (struct tensor){
        .name = name,
        .dtype = fill == FILL_TOKENS ? DTYPE_I32 : DTYPE_F32,
        .kind = fill == FILL_TOKENS ? TENSOR_INPUT
                : fill == FILL_NONE ? TENSOR_OUTPUT
                                    : TENSOR_PARAMETER,
        .rank = rank,
        .offset = made->plan.memory.total,
        .view_of = TENSOR_NONE,
        .parameter = TENSOR_NONE,
        .first_node = -1,
    };
    uint64_t bytes = 4;
    for (int i = 0; i < rank; i++) {
        tensor->shape[i] = shape[i];
        bytes *= (uint64_t)shape[i];
    }
    tensor->bytes = bytes;
    made->fill[index] = fill;
    made->plan.memory.total += (bytes + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    return index;
}
#define TENSOR(name, fill, ...)                                                                                        \
    add_tensor(made, name, fill, (int)(sizeof(int64_t[]){__VA_ARGS__} / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

/* The middle third of a tensor three times as wide. */
static int32_t add_slice(struct made *made, const char *name, enum fill fill, int64_t rows, int64_t columns)
{
    const int32_t wide = TENSOR("wide", FILL_NONE, rows, 3 * columns);
    const int32_t index = TENSOR(name, fill, rows, columns);
    struct tensor *slice = &made->tensors[index];
    slice->view_of = wide;
    slice->view_offset = (uint64_t)columns * 4;
    slice->offset = made->tensors[wide].offset + slice->view_offset;
    slice->row_stride = 3 * columns;
    return index;
}
#define MATRIX(name, fill, rows, columns)                                                                              \
    (sliced ? add_slice(made, name, fill, rows, columns) : TENSOR(name, fill, rows, columns))

static struct node *add_node(struct made *made, enum op op, const struct made_sizes *sizes)
{
    struct node *node = &made->nodes[made->plan.node_count++];
    *node = (struct node){
        .op = op,
        .dims = {.batch = sizes->batch,
                 .context = sizes->context,
                 .heads = sizes->heads,
                 .head_dim = sizes->head_dim,
                 .rows = sizes->batch * sizes->context,
                 .d_in = sizes->d_in,
                 .d_out = sizes->d_out,
                 .vocab = sizes->vocab},
        .epsilon = 1e-5f,
        .scale = 1.0f / sqrtf((float)sizes->head_dim),
        .adamw = {1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f},
    };
    for (int i = 0; i < NODE_MAX_INPUTS; i++)
        node->input[i] = TENSOR_NONE;
    for (int i = 0; i < NODE_MAX_OUTPUTS; i++)
        node->output[i] = TENSOR_NONE;
    return node;
}

static void connect(struct node *node, const int32_t *in, int ins, const int32_t *out, int outs)
{
    memcpy(node->input, in, (size_t)ins * sizeof *in);
    memcpy(node->output, out, (size_t)outs * sizeof *out);
}
#define IN(...) (int32_t[]){__VA_ARGS__}, (int)(sizeof(int32_t[]){__VA_ARGS__} / sizeof(int32_t))
#define OUT(...) (int32_t[]){__VA_ARGS__}, (int)(sizeof(int32_t[]){__VA_ARGS__} / sizeof(int32_t))
#define NODE(op, in, out) connect(add_node(made, op, sizes), in, out)

void made_op(struct made *made, enum op op, const struct made_sizes *sizes, bool sliced)
{
    memset(made, 0, sizeof *made);
    const int64_t B = sizes->batch, T = sizes->context, H = sizes->heads, D = sizes->head_dim, C = H * D, N = B * T,
                  I = sizes->d_in, O = sizes->d_out, V = sizes->vocab;
    switch (op) {
    case OP_EMBEDDING: {
        const int32_t tokens = TENSOR("tokens", FILL_TOKENS, N), table = TENSOR("table", FILL_NORMAL, V, I);
        NODE(op, IN(tokens, table), OUT(TENSOR("x", FILL_NONE, N, I)));
        break;
    }
    case OP_EMBEDDING_BACKWARD: {
        const int32_t tokens = TENSOR("tokens", FILL_TOKENS, N), dx = TENSOR("dx", FILL_NORMAL, N, I);
        NODE(op, IN(tokens, dx), OUT(TENSOR("dtable", FILL_NONE, V, I)));
        break;
    }
    case OP_RMSNORM:
    case OP_RMSNORM_BACKWARD: {
        const int32_t x = TENSOR("x", FILL_NORMAL, N, I), w = TENSOR("w", FILL_NORMAL, I);
        const int32_t y = TENSOR("y", FILL_NONE, N, I), rstd = TENSOR("rstd", FILL_NONE, N);
        NODE(OP_RMSNORM, IN(x, w), OUT(y, rstd));
        if (op == OP_RMSNORM)
            break;
        const int32_t dy = TENSOR("dy", FILL_NORMAL, N, I);
        const int32_t dres = sliced ? TENSOR("dres", FILL_NORMAL, N, I) : TENSOR_NONE;
        NODE(op, IN(dy, x, w, rstd, dres), OUT(TENSOR("dx", FILL_NONE, N, I), TENSOR("dw", FILL_NONE, I)));
        break;
    }
    case OP_ADD_RMSNORM: {
        const int32_t x = TENSOR("x", FILL_NORMAL, N, I), r = TENSOR("r", FILL_NORMAL, N, I),
                      w = TENSOR("w", FILL_NORMAL, I);
        const int32_t z = TENSOR("z", FILL_NONE, N, I), y = TENSOR("y", FILL_NONE, N, I);
        NODE(op, IN(x, r, w), OUT(z, y, TENSOR("rstd", FILL_NONE, N)));
        break;
    }
    case OP_LINEAR: {
        const int32_t x = MATRIX("x", FILL_NORMAL, N, I), w = TENSOR("w", FILL_NORMAL, O, I);
        NODE(op, IN(x, w), OUT(MATRIX("y", FILL_NONE, N, O)));
        break;
    }
    case OP_LINEAR_BACKWARD_INPUT: {
        const int32_t dy = MATRIX("dy", FILL_NORMAL, N, O), w = TENSOR("w", FILL_NORMAL, O, I);
        NODE(op, IN(dy, w), OUT(MATRIX("dx", FILL_NONE, N, I)));
        break;
    }
    case OP_LINEAR_BACKWARD_WEIGHT: {
        const int32_t dy = MATRIX("dy", FILL_NORMAL, N, O), x = MATRIX("x", FILL_NORMAL, N, I);
        NODE(op, IN(dy, x), OUT(TENSOR("dw", FILL_NONE, O, I)));
        break;
    }
    case OP_ROPE:
    case OP_ROPE_BACKWARD: {
        const int32_t x = MATRIX("x", FILL_NORMAL, N, C), table = TENSOR("table", FILL_TURNS, T, D / 2, 2);
        NODE(op, IN(x, table), OUT(MATRIX("y", FILL_NONE, N, C)));
        break;
    }
    case OP_ATTN_SCORES:
    case OP_ATTN_VALUES_BACKWARD_P: {
        const int32_t q = MATRIX("q", FILL_NORMAL, N, C), k = MATRIX("k", FILL_NORMAL, N, C);
        NODE(op, IN(q, k), OUT(TENSOR("s", FILL_NONE, B, H, T, T)));
        break;
    }
    case OP_CAUSAL_SOFTMAX:
    case OP_CAUSAL_SOFTMAX_BACKWARD:
    case OP_ATTN_VALUES:
    case OP_ATTN_VALUES_BACKWARD_V:
    case OP_ATTN_SCORES_BACKWARD_Q:
    case OP_ATTN_SCORES_BACKWARD_K: {
        const int32_t s = TENSOR("s", FILL_NORMAL, B, H, T, T), p = TENSOR("p", FILL_NONE, B, H, T, T);
        NODE(OP_CAUSAL_SOFTMAX, IN(s), OUT(p));
        if (op == OP_CAUSAL_SOFTMAX)
            break;
        if (op == OP_CAUSAL_SOFTMAX_BACKWARD) {
            const int32_t dp = TENSOR("dp", FILL_NORMAL, B, H, T, T);
            NODE(op, IN(dp, p), OUT(TENSOR("ds", FILL_NONE, B, H, T, T)));
            break;
        }
        const int32_t v = MATRIX("v", FILL_NORMAL, N, C);
        NODE(op, IN(p, v), OUT(MATRIX("o", FILL_NONE, N, C)));
        break;
    }
    case OP_ADD:
    case OP_MUL:
    case OP_SILU:
    case OP_SILU_BACKWARD:
    case OP_CAST: {
        const bool two = op != OP_SILU && op != OP_CAST;
        sliced = sliced && op != OP_CAST;
        const int32_t a = MATRIX("a", FILL_NORMAL, N, I), b = two ? MATRIX("b", FILL_NORMAL, N, I) : TENSOR_NONE;
        NODE(op, IN(a, b), OUT(MATRIX("c", FILL_NONE, N, I)));
        made->nodes[0].dims.elements = N * I;
        break;
    }
    case OP_CROSS_ENTROPY:
    case OP_CROSS_ENTROPY_BACKWARD: {
        const int32_t logits = TENSOR("logits", FILL_NORMAL, N, V), targets = TENSOR("targets", FILL_TOKENS, N);
        const int32_t lse = TENSOR("lse", FILL_NONE, N);
        NODE(OP_CROSS_ENTROPY, IN(logits, targets), OUT(TENSOR("loss", FILL_NONE, 1), lse));
        if (op == OP_CROSS_ENTROPY_BACKWARD)
            NODE(op, IN(logits, targets, lse), OUT(TENSOR("dlogits", FILL_NONE, N, V)));
        break;
    }
    case OP_CROSS_ENTROPY_FUSED: {
        const int32_t logits = TENSOR("logits", FILL_NORMAL, N, V), targets = TENSOR("targets", FILL_TOKENS, N);
        const int32_t loss = TENSOR("loss", FILL_NONE, 1), dlogits = TENSOR("dlogits", FILL_NONE, N, V);
        made->tensors[dlogits].view_of = logits;
        made->tensors[dlogits].offset = made->tensors[logits].offset;
        NODE(op, IN(logits, targets), OUT(loss, dlogits));
        break;
    }
    case OP_ADAMW:
    case OP_ADAMW_ALL: {
        const int32_t p = TENSOR("p", FILL_NORMAL, N, I), g = TENSOR("g", FILL_NORMAL, N, I);
        const int32_t m = TENSOR("m", FILL_NORMAL, N, I), v = TENSOR("v", FILL_POSITIVE, N, I);
        NODE(op, IN(p, g, m, v), OUT(p, m, v));
        made->nodes[0].dims.elements = N * I;
        break;
    }
    case OP_ATTENTION:
    case OP_ATTENTION_BACKWARD: {
        const int32_t qkv = TENSOR("qkv", FILL_NORMAL, N, 3 * C);
        const int32_t table = sliced ? TENSOR_NONE : TENSOR("table", FILL_TURNS, T, D / 2, 2);
        const int32_t o = TENSOR("o", FILL_NONE, N, C), lse = TENSOR("lse", FILL_NONE, B, H, T);
        NODE(OP_ATTENTION, IN(qkv, table), OUT(o, lse));
        if (op == OP_ATTENTION)
            break;
        const int32_t d_o = TENSOR("do", FILL_NORMAL, N, C);
        NODE(op, IN(d_o, qkv, o, lse, table),
             OUT(TENSOR("dqkv", FILL_NONE, N, 3 * C), TENSOR("delta", FILL_NONE, B, H, T)));
        break;
    }
    case OP_SWIGLU: {
        const int32_t h = TENSOR("h", FILL_NORMAL, N, 2 * O);
        NODE(op, IN(h), OUT(TENSOR("y", FILL_NONE, N, O)));
        break;
    }
    case OP_SWIGLU_BACKWARD: {
        const int32_t dy = TENSOR("dy", FILL_NORMAL, N, O), h = TENSOR("h", FILL_NORMAL, N, 2 * O);
        const int32_t dh = TENSOR("dh", FILL_NONE, N, 2 * O);
        const int32_t y = sliced ? TENSOR_NONE : TENSOR("y", FILL_NONE, N, O);
        NODE(op, IN(dy, h), OUT(dh, y));
        break;
    }
    case OP_ALL_REDUCE: /* take more than one rank: test_ranks */
    case OP_REDUCE_SCATTER:
    case OP_ALL_GATHER:
    case OP_BROADCAST:
    case OP_COUNT:
        break;
    }
    made->plan.tensors = made->tensors;
    made->plan.nodes = made->nodes;
    made->scope = (struct scope){.path = "model", .name = "model", .parent = -1, .layer = -1};
    made->plan.scopes = &made->scope;
    made->plan.scope_count = 1;
    for (int phase = 1; phase <= PHASE_COUNT; phase++)
        made->plan.phase_first[phase] = made->plan.node_count;
    for (int32_t i = 0; i < made->plan.tensor_count; i++)
        made->tensors[i].last_node = made->plan.node_count;
    made->plan.vocab = V;
    made->plan.batch = B;
    made->plan.context = T;
}

void *made_values(const struct made *made, int32_t tensor, uint64_t seed)
{
    const struct tensor *t = &made->tensors[tensor];
    const int64_t count = (int64_t)(t->bytes / 4);
    float *values = malloc((size_t)count * sizeof *values + 4);
    int32_t *tokens = (int32_t *)values;
    for (int64_t i = 0; values && i < count; i++) {
        const double normal = random_normal_cut3(seed, (uint64_t)tensor, (uint64_t)i);
        const int64_t half = t->shape[1], position = half ? i / 2 / half : 0, j = half ? i / 2 % half : 0;
        const double angle = (double)position * pow(10000, -(double)j / (double)(half ? half : 1));
        switch (made->fill[tensor]) {
        case FILL_NORMAL:
            values[i] = (float)normal;
            break;
        case FILL_POSITIVE:
            values[i] = (float)(normal * normal);
            break;
        case FILL_TOKENS:
            tokens[i] = (int32_t)(random_bits(seed, (uint64_t)tensor, (uint64_t)i) % (uint64_t)made->plan.vocab);
            break;
        case FILL_TURNS:
            values[i] = (float)(i % 2 ? sin(angle) : cos(angle));
            break;
        case FILL_NONE:
            values[i] = 0;
            break;
        }
    }
    return values;
}

int32_t made_last(const struct made *made)
{
    return made->plan.node_count - 1;
}
