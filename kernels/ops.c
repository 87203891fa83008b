/* The table of ops: name, kernel class, the shape of each operand, modelled FLOPs and least bytes.
 *
 * FLOPs are the work that the mathematics needs: a multiply-add is two, an exp, a division and a square root one each;
 * attention counts the T(T+1)/2 pairs on and below the diagonal whether or not a kernel skips the rest, so that an eager
 * and a fused plan of one model can be compared. Least bytes are each operand moved once. */
#include "kernels/ops.h"
#include <string.h>

/* A shape is a comma list of letters, each a size from node.dims:
 * N rows, I d_in, O d_out, V vocab, B batch, H heads, T context, C heads·head_dim, Q 3C, d head_dim/2, G 2·d_out, 1, 2;
 * "*" is any shape of `elements` elements, "+" one of `elements` for each rank, "~" any shape at all. An optional operand starts with "?". */
struct op_entry {
    struct op_info info;
    const char *in[NODE_MAX_INPUTS];
    const char *out[NODE_MAX_OUTPUTS];
};

static double count_rows_in(const struct node *node)
{
    return (double)node->dims.rows * (double)node->dims.d_in;
}
static double count_rows_out(const struct node *node)
{
    return (double)node->dims.rows * (double)node->dims.d_out;
}
static double count_logits(const struct node *node)
{
    return (double)node->dims.rows * (double)node->dims.vocab;
}
static double count_elements(const struct node *node)
{
    return (double)node->dims.elements;
}

/* Elements of one packed attention operand, N·C. */
static double count_heads(const struct node *node)
{
    const struct node_dims *dims = &node->dims;
    return (double)dims->batch * (double)dims->context * (double)dims->heads * (double)dims->head_dim;
}

/* Scores that the causal mask leaves, over batch and heads: B·H·T(T+1)/2. */
static double count_scores(const struct node *node)
{
    const struct node_dims *dims = &node->dims;
    return (double)dims->batch * (double)dims->heads * (double)dims->context * (double)(dims->context + 1) / 2;
}

static double flops_none(const struct plan *plan, const struct node *node)
{
    (void)plan, (void)node;
    return 0;
}

static double flops_linear(const struct plan *plan, const struct node *node)
{
    (void)plan;
    return 2 * count_rows_in(node) * (double)node->dims.d_out;
}

static double flops_attn_product(const struct plan *plan, const struct node *node)
{
    (void)plan;
    return 2 * count_scores(node) * (double)node->dims.head_dim;
}

/* Two products and q and k turned: three FLOPs an element each. */
static double flops_attention(const struct plan *plan, const struct node *node)
{
    return 2 * flops_attn_product(plan, node) + (node->input[1] == TENSOR_NONE ? 0 : 6 * count_heads(node));
}

/* Five products (the scores are made again), q and k turned, dq and dk turned back. */
static double flops_attention_backward(const struct plan *plan, const struct node *node)
{
    return 5 * flops_attn_product(plan, node) + (node->input[4] == TENSOR_NONE ? 0 : 12 * count_heads(node));
}

static double flops_rmsnorm_backward(const struct plan *plan, const struct node *node)
{
    (void)plan;
    return (node->input[4] == TENSOR_NONE ? 9 : 10) * count_rows_in(node);
}

#define FLOPS_PER(name, count, factor)                                                                                 \
    static double name(const struct plan *plan, const struct node *node)                                               \
    {                                                                                                                  \
        (void)plan;                                                                                                    \
        return (factor)*count(node);                                                                                   \
    }
FLOPS_PER(flops_embedding_backward, count_rows_in, 1)
FLOPS_PER(flops_rmsnorm, count_rows_in, 4)
FLOPS_PER(flops_add_rmsnorm, count_rows_in, 5)
FLOPS_PER(flops_rope, count_heads, 3)
FLOPS_PER(flops_softmax, count_scores, 5)
FLOPS_PER(flops_softmax_backward, count_scores, 4)
FLOPS_PER(flops_add, count_elements, 1)
FLOPS_PER(flops_silu, count_elements, 6)
FLOPS_PER(flops_silu_backward, count_elements, 9)
FLOPS_PER(flops_swiglu, count_rows_out, 7)
FLOPS_PER(flops_swiglu_backward, count_rows_out, 13)
FLOPS_PER(flops_cross_entropy, count_logits, 4)
FLOPS_PER(flops_cross_entropy_backward, count_logits, 3)
FLOPS_PER(flops_cross_entropy_fused, count_logits, 5)
FLOPS_PER(flops_adamw, count_elements, 12)
#undef FLOPS_PER

static double operand_bytes(const struct plan *plan, int32_t tensor)
{
    return tensor == TENSOR_NONE ? 0 : (double)plan->tensors[tensor].bytes;
}

/* Every operand once: read if an input, written if an output; one updated in place counts as both. */
static double bytes_operands(const struct plan *plan, const struct node *node)
{
    double bytes = 0;
    for (int i = 0; i < NODE_MAX_INPUTS; i++)
        bytes += operand_bytes(plan, node->input[i]);
    for (int i = 0; i < NODE_MAX_OUTPUTS; i++)
        bytes += operand_bytes(plan, node->output[i]);
    return bytes;
}

/* Only the rows that the tokens name are read: the table is left out, N·C of its elements put in. */
static double bytes_embedding(const struct plan *plan, const struct node *node)
{
    const struct tensor *table = &plan->tensors[node->input[1]];
    return operand_bytes(plan, node->input[0]) + operand_bytes(plan, node->output[0]) +
           count_rows_in(node) * (double)dtype_size(table->dtype);
}

#define OP(name_, class_, flops_, bytes_) .info = {name_, class_, flops_, bytes_}
#define IN(...) .in = {__VA_ARGS__}
#define OUT(...) .out = {__VA_ARGS__}

/* clang-format off */
static const struct op_entry op_table[OP_COUNT] = {
    [OP_EMBEDDING] = {OP("embedding", CLASS_EMBEDDING, flops_none, bytes_embedding),
        IN("N", "V,I"), OUT("N,I")},
    [OP_EMBEDDING_BACKWARD] = {OP("embedding_backward", CLASS_EMBEDDING, flops_embedding_backward, bytes_operands),
        IN("N", "N,I"), OUT("V,I")},
    [OP_RMSNORM] = {OP("rmsnorm", CLASS_NORM, flops_rmsnorm, bytes_operands),
        IN("N,I", "I"), OUT("N,I", "N")},
    [OP_RMSNORM_BACKWARD] = {OP("rmsnorm_backward", CLASS_NORM, flops_rmsnorm_backward, bytes_operands),
        IN("N,I", "N,I", "I", "N", "?N,I"), OUT("N,I", "I", "?N,I")},
    [OP_LINEAR] = {OP("linear", CLASS_MATMUL, flops_linear, bytes_operands),
        IN("N,I", "O,I"), OUT("N,O")},
    [OP_LINEAR_BACKWARD_INPUT] = {OP("linear_backward_input", CLASS_MATMUL, flops_linear, bytes_operands),
        IN("N,O", "O,I"), OUT("N,I")},
    [OP_LINEAR_BACKWARD_WEIGHT] = {OP("linear_backward_weight", CLASS_MATMUL, flops_linear, bytes_operands),
        IN("N,O", "N,I"), OUT("O,I")},
    [OP_ROPE] = {OP("rope", CLASS_ELEMENTWISE, flops_rope, bytes_operands),
        IN("N,C", "T,d,2"), OUT("N,C")},
    [OP_ROPE_BACKWARD] = {OP("rope_backward", CLASS_ELEMENTWISE, flops_rope, bytes_operands),
        IN("N,C", "T,d,2"), OUT("N,C")},
    [OP_ATTN_SCORES] = {OP("attn_scores", CLASS_ATTENTION, flops_attn_product, bytes_operands),
        IN("N,C", "N,C"), OUT("B,H,T,T")},
    [OP_ATTN_SCORES_BACKWARD_Q] = {OP("attn_scores_backward_q", CLASS_ATTENTION, flops_attn_product, bytes_operands),
        IN("B,H,T,T", "N,C"), OUT("N,C")},
    [OP_ATTN_SCORES_BACKWARD_K] = {OP("attn_scores_backward_k", CLASS_ATTENTION, flops_attn_product, bytes_operands),
        IN("B,H,T,T", "N,C"), OUT("N,C")},
    [OP_CAUSAL_SOFTMAX] = {OP("causal_softmax", CLASS_SOFTMAX, flops_softmax, bytes_operands),
        IN("B,H,T,T"), OUT("B,H,T,T")},
    [OP_CAUSAL_SOFTMAX_BACKWARD] = {OP("causal_softmax_backward", CLASS_SOFTMAX, flops_softmax_backward, bytes_operands),
        IN("B,H,T,T", "B,H,T,T"), OUT("B,H,T,T")},
    [OP_ATTN_VALUES] = {OP("attn_values", CLASS_ATTENTION, flops_attn_product, bytes_operands),
        IN("B,H,T,T", "N,C"), OUT("N,C")},
    [OP_ATTN_VALUES_BACKWARD_P] = {OP("attn_values_backward_p", CLASS_ATTENTION, flops_attn_product, bytes_operands),
        IN("N,C", "N,C"), OUT("B,H,T,T")},
    [OP_ATTN_VALUES_BACKWARD_V] = {OP("attn_values_backward_v", CLASS_ATTENTION, flops_attn_product, bytes_operands),
        IN("B,H,T,T", "N,C"), OUT("N,C")},
    [OP_ADD] = {OP("add", CLASS_ELEMENTWISE, flops_add, bytes_operands),
        IN("*", "*"), OUT("*")},
    [OP_SILU] = {OP("silu", CLASS_ELEMENTWISE, flops_silu, bytes_operands),
        IN("*"), OUT("*")},
    [OP_SILU_BACKWARD] = {OP("silu_backward", CLASS_ELEMENTWISE, flops_silu_backward, bytes_operands),
        IN("*", "*"), OUT("*")},
    [OP_MUL] = {OP("mul", CLASS_ELEMENTWISE, flops_add, bytes_operands),
        IN("*", "*"), OUT("*")},
    [OP_CROSS_ENTROPY] = {OP("cross_entropy", CLASS_LOSS, flops_cross_entropy, bytes_operands),
        IN("N,V", "N"), OUT("1", "N")},
    [OP_CROSS_ENTROPY_BACKWARD] = {OP("cross_entropy_backward", CLASS_LOSS, flops_cross_entropy_backward, bytes_operands),
        IN("N,V", "N", "N"), OUT("N,V")},
    [OP_CAST] = {OP("cast", CLASS_COPY, flops_none, bytes_operands),
        IN("*"), OUT("*")},
    [OP_ADAMW] = {OP("adamw", CLASS_OPTIMIZER, flops_adamw, bytes_operands),
        IN("*", "*", "*", "*"), OUT("*", "*", "*", "?*")},
    [OP_ADD_RMSNORM] = {OP("add_rmsnorm", CLASS_NORM, flops_add_rmsnorm, bytes_operands),
        IN("N,I", "N,I", "I"), OUT("N,I", "N,I", "N")},
    [OP_ATTENTION] = {OP("attention", CLASS_ATTENTION, flops_attention, bytes_operands),
        IN("N,Q", "?T,d,2"), OUT("N,C", "B,H,T")},
    [OP_ATTENTION_BACKWARD] = {OP("attention_backward", CLASS_ATTENTION, flops_attention_backward, bytes_operands),
        IN("N,C", "N,Q", "N,C", "B,H,T", "?T,d,2"), OUT("N,Q", "B,H,T")},
    [OP_SWIGLU] = {OP("swiglu", CLASS_ELEMENTWISE, flops_swiglu, bytes_operands),
        IN("N,G"), OUT("N,O")},
    [OP_SWIGLU_BACKWARD] = {OP("swiglu_backward", CLASS_ELEMENTWISE, flops_swiglu_backward, bytes_operands),
        IN("N,O", "N,G"), OUT("N,G", "?N,O")},
    [OP_CROSS_ENTROPY_FUSED] = {OP("cross_entropy_fused", CLASS_LOSS, flops_cross_entropy_fused, bytes_operands),
        IN("N,V", "N"), OUT("1", "N,V")},
    [OP_ADAMW_ALL] = {OP("adamw_all", CLASS_OPTIMIZER, flops_adamw, bytes_operands),
        IN("*", "*", "*", "*"), OUT("*", "*", "*", "?~")},
    [OP_ALL_REDUCE] = {OP("all_reduce", CLASS_COLLECTIVE, flops_none, bytes_operands),
        IN("*"), OUT("*")},
    [OP_REDUCE_SCATTER] = {OP("reduce_scatter", CLASS_COLLECTIVE, flops_none, bytes_operands),
        IN("+"), OUT("*")},
    [OP_ALL_GATHER] = {OP("all_gather", CLASS_COLLECTIVE, flops_none, bytes_operands),
        IN("*"), OUT("+")},
    [OP_BROADCAST] = {OP("broadcast", CLASS_COLLECTIVE, flops_none, bytes_operands),
        IN("*"), OUT("*")},
};
/* clang-format on */

const struct op_info *op_info(enum op op)
{
    return op < OP_COUNT ? &op_table[op].info : NULL;
}

static int64_t letter_size(const struct node_dims *dims, char letter)
{
    switch (letter) {
    case 'N':
        return dims->rows;
    case 'I':
        return dims->d_in;
    case 'O':
        return dims->d_out;
    case 'G':
        return 2 * dims->d_out;
    case 'V':
        return dims->vocab;
    case 'B':
        return dims->batch;
    case 'H':
        return dims->heads;
    case 'T':
        return dims->context;
    case 'C':
        return dims->heads * dims->head_dim;
    case 'Q':
        return 3 * dims->heads * dims->head_dim;
    case 'd':
        return dims->head_dim / 2;
    case '1':
        return 1;
    case '2':
        return 2;
    default:
        return -1;
    }
}

/* The last axis must agree and the number of elements; leading axes may be written apart, as (B, T) for N. */
static bool shape_agrees(const char *pattern, const struct node_dims *dims, const struct tensor *tensor)
{
    if (*pattern == '~')
        return true;
    if (*pattern == '*')
        return dims->elements > 0 && tensor_elements(tensor) == dims->elements;
    if (*pattern == '+')
        return dims->elements > 0 && dims->ranks > 0 && tensor_elements(tensor) == dims->elements * dims->ranks;
    int64_t elements = 1, last = 1;
    bool several = false;
    for (const char *at = pattern; *at; at++) {
        if (*at == ',') {
            several = true;
            continue;
        }
        last = letter_size(dims, *at);
        if (last <= 0)
            return false;
        elements *= last;
    }
    return tensor_elements(tensor) == elements && (!several || tensor->shape[tensor->rank - 1] == last);
}

static bool operand_check(const struct plan *plan, const struct node *node, const char *side, int index,
                          const char *pattern, int32_t tensor, struct error *error)
{
    const char *name = op_table[node->op].info.name;
    if (!pattern) {
        return tensor == TENSOR_NONE ||
               error_set(error, ERROR_INTERNAL, "%s has %s %d, which the op does not take", name, side, index);
    }
    const bool optional = *pattern == '?';
    if (tensor == TENSOR_NONE)
        return optional || error_set(error, ERROR_INTERNAL, "%s lacks %s %d", name, side, index);
    if (tensor < 0 || tensor >= plan->tensor_count)
        return error_set(error, ERROR_INTERNAL, "%s %s %d is tensor %d of %d", name, side, index, tensor,
                         plan->tensor_count);
    if (!shape_agrees(pattern + optional, &node->dims, &plan->tensors[tensor]))
        return error_set(error, ERROR_INTERNAL, "%s %s %d, %s: %lld elements do not make the shape (%s) of its sizes",
                         name, side, index, plan->tensors[tensor].name,
                         (long long)tensor_elements(&plan->tensors[tensor]), pattern + optional);
    return true;
}

bool op_check_shapes(const struct plan *plan, const struct node *node, struct error *error)
{
    const struct op_entry *entry = &op_table[node->op];
    for (int i = 0; i < NODE_MAX_INPUTS; i++)
        if (!operand_check(plan, node, "input", i, entry->in[i], node->input[i], error))
            return false;
    for (int i = 0; i < NODE_MAX_OUTPUTS; i++)
        if (!operand_check(plan, node, "output", i, entry->out[i], node->output[i], error))
            return false;
    return true;
}

static const char *const class_names[CLASS_COUNT] = {
    [CLASS_MATMUL] = "matmul",
    [CLASS_ATTENTION] = "attention",
    [CLASS_SOFTMAX] = "softmax",
    [CLASS_NORM] = "norm",
    [CLASS_ELEMENTWISE] = "elementwise",
    [CLASS_EMBEDDING] = "embedding",
    [CLASS_LOSS] = "loss",
    [CLASS_OPTIMIZER] = "optimizer",
    [CLASS_COPY] = "copy",
    [CLASS_COLLECTIVE] = "collective",
    [CLASS_OTHER] = "other",
};
static const char *const phase_names[PLACE_PHASE_COUNT] = {"fwd", "loss", "bwd", "opt", "recompute", "none"};
static const char *const kind_names[TENSOR_KIND_COUNT] = {
    [TENSOR_INPUT] = "input",         [TENSOR_CONSTANT] = "constant",
    [TENSOR_PARAMETER] = "parameter", [TENSOR_PARAMETER_COPY] = "parameter_copy",
    [TENSOR_GRADIENT] = "gradient",   [TENSOR_OPTIMIZER] = "optimizer",
    [TENSOR_SAVED] = "saved",         [TENSOR_SCRATCH] = "scratch",
    [TENSOR_OUTPUT] = "output",
};
static const char *const precision_names[PRECISION_COUNT] = {"fp32", "tf32", "bf16"};
static const uint8_t dtype_sizes[DTYPE_COUNT] = {[DTYPE_F32] = 4, [DTYPE_BF16] = 2, [DTYPE_F64] = 8, [DTYPE_I32] = 4};

#define NAME_OF(table, count, index) ((unsigned)(index) < (unsigned)(count) ? (table)[index] : "?")

const char *kernel_class_name(enum kernel_class kernel_class)
{
    return NAME_OF(class_names, CLASS_COUNT, kernel_class);
}
const char *phase_name(enum phase phase)
{
    return NAME_OF(phase_names, PLACE_PHASE_COUNT, phase);
}
const char *tensor_kind_name(enum tensor_kind kind)
{
    return NAME_OF(kind_names, TENSOR_KIND_COUNT, kind);
}
const char *precision_name(enum precision precision)
{
    return NAME_OF(precision_names, PRECISION_COUNT, precision);
}

bool precision_parse(const char *text, enum precision *precision)
{
    for (int i = 0; i < PRECISION_COUNT; i++) {
        if (strcmp(text, precision_names[i]) == 0) {
            *precision = (enum precision)i;
            return true;
        }
    }
    return false;
}

uint64_t dtype_size(enum dtype dtype)
{
    return dtype < DTYPE_COUNT ? dtype_sizes[dtype] : 0;
}

int64_t tensor_elements(const struct tensor *tensor)
{
    int64_t elements = 1;
    for (int i = 0; i < tensor->rank; i++)
        elements *= tensor->shape[i];
    return elements;
}

struct linear_product linear_product_of(const struct node *node)
{
    const int64_t rows = node->dims.rows, in = node->dims.d_in, out = node->dims.d_out;
    switch (node->op) {
    case OP_LINEAR: /* y (N, O) = x (N, I) · w (O, I)ᵀ */
        return (struct linear_product){rows, out, in, false, true};
    case OP_LINEAR_BACKWARD_INPUT: /* dx (N, I) = dy (N, O) · w (O, I) */
        return (struct linear_product){rows, in, out, false, false};
    default: /* dw (O, I) = dy (N, O)ᵀ · x (N, I) */
        return (struct linear_product){out, in, rows, true, false};
    }
}
