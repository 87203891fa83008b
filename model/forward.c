/* The forward pass and the loss as the reference model's modules dispatch them, one node an op; parameters and regions. */
#include "base/unknown.h"
#include "model/builder.h"
#include <math.h>
#include <stdio.h>

static int32_t parameter_add(struct builder *builder, int32_t scope, bool is_linear, enum weight_group group, int rank,
                             const int64_t *shape)
{
    char name[160];
    snprintf(name, sizeof name, "%s.weight", builder->scopes.items[scope].path);
    const int32_t tensor = tensor_add(builder, name, DTYPE_F32, TENSOR_PARAMETER, scope, rank, shape);
    builder->tensors.items[tensor].parameter = tensor;
    const struct parameter parameter = {
        .tensor = tensor,
        .gradient = TENSOR_NONE,
        .moment1 = TENSOR_NONE,
        .moment2 = TENSOR_NONE,
        .copy = TENSOR_NONE,
        .group = group,
        .is_linear = is_linear,
        .fused = -1,
    };
    vec_push(&builder->parameters, parameter);
    return tensor;
}

/* Gives each parameter its place in the regions. GEMM weights come first, so that the bf16 copies are a prefix; members
 * of a group follow one another without a gap, q k v and w1 w3, whatever the state dict's order. Returns the elements. */
static uint64_t parameters_place(struct builder *builder)
{
    const uint64_t alignment = place_alignment(builder);
    uint64_t place = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < builder->parameters.count; i++) {
            struct parameter *parameter = &builder->parameters.items[i];
            if (parameter->is_linear == (pass == 1) || parameter->place != UNKNOWN_U64)
                continue;
            place = (place + alignment - 1) / alignment * alignment;
            parameter->place = place;
            place += (uint64_t)tensor_elements(&builder->tensors.items[parameter->tensor]);
            const int32_t scope = builder->tensors.items[parameter->tensor].scope;
            const int32_t module = builder->scopes.items[scope].parent;
            for (size_t j = i + 1; j < builder->parameters.count && parameter->group != GROUP_NONE; j++) {
                struct parameter *other = &builder->parameters.items[j];
                const struct tensor *tensor = &builder->tensors.items[other->tensor];
                if (other->group != parameter->group || builder->scopes.items[tensor->scope].parent != module)
                    continue;
                other->place = place;
                place += (uint64_t)tensor_elements(tensor);
            }
        }
    }
    return place;
}

/* The part of a region that belongs to `tensor`, a parameter or a fused weight at `place`. */
static int32_t region_view(struct builder *builder, const char *prefix, int32_t tensor, int32_t region, uint64_t place)
{
    const struct tensor weight = builder->tensors.items[tensor];
    const uint64_t offset = place * dtype_size(builder->tensors.items[region].dtype);
    char name[200];
    snprintf(name, sizeof name, "%s%s", prefix, weight.name);
    const int32_t view = view_add(builder, name, region, offset, weight.rank, weight.shape);
    builder->tensors.items[view].scope = weight.scope;
    return view;
}

void region_add(struct builder *builder, const char *name, const char *prefix, enum tensor_kind kind, enum dtype dtype)
{
    const bool only_linear = kind == TENSOR_PARAMETER_COPY;
    uint64_t elements = 0;
    for (size_t i = 0; i < builder->parameters.count; i++) {
        const struct parameter *parameter = &builder->parameters.items[i];
        const uint64_t end = parameter->place + (uint64_t)tensor_elements(&builder->tensors.items[parameter->tensor]);
        if (end > elements && (parameter->is_linear || !only_linear))
            elements = end;
    }
    if (!elements)
        return;
    if (is_sharded(builder)) /* to the place where one more would begin */
        elements = (elements + place_alignment(builder) - 1) / place_alignment(builder) * place_alignment(builder);
    const int32_t region = tensor_add(builder, name, dtype, kind, 0, SHAPE((int64_t)elements));
    for (size_t i = 0; i < builder->parameters.count; i++) {
        struct parameter *parameter = &builder->parameters.items[i];
        if (only_linear && !parameter->is_linear)
            continue;
        if (kind == TENSOR_PARAMETER) {
            builder->tensors.items[parameter->tensor].view_of = region;
            builder->tensors.items[parameter->tensor].view_offset = parameter->place * dtype_size(dtype);
            continue;
        }
        const int32_t member = region_view(builder, prefix, parameter->tensor, region, parameter->place);
        builder->tensors.items[member].parameter = parameter->tensor;
        if (kind == TENSOR_GRADIENT)
            parameter->gradient = member;
        else if (kind == TENSOR_PARAMETER_COPY)
            parameter->copy = member;
        else if (parameter->moment1 == TENSOR_NONE)
            parameter->moment1 = member;
        else
            parameter->moment2 = member;
    }
    for (size_t i = 0; i < builder->groups.count; i++) {
        struct weight_fusion *group = &builder->groups.items[i];
        const uint64_t place = builder->parameters.items[group->first].place;
        if (kind == TENSOR_GRADIENT)
            group->gradient = region_view(builder, prefix, group->tensor, region, place);
        else if (kind == TENSOR_PARAMETER_COPY)
            group->copy = region_view(builder, prefix, group->tensor, region, place);
    }
}

/* y (N, O) = x wᵀ, w a parameter of the scope. */
static int32_t linear(struct builder *builder, int32_t scope, int32_t x, int32_t w, const char *output)
{
    const struct tensor *in = &builder->tensors.items[x], *weight = &builder->tensors.items[w];
    struct node node = node_make(OP_LINEAR, scope);
    node.dims.rows = in->shape[0];
    node.dims.d_in = weight->shape[1];
    node.dims.d_out = weight->shape[0];
    node.input[0] = x;
    node.input[1] = w;
    node.output[0] = activation_add(builder, scope, output, SHAPE(node.dims.rows, node.dims.d_out));
    node_push(builder, &node);
    return node.output[0];
}

static int32_t rmsnorm(struct builder *builder, int32_t scope, int32_t x, int32_t w)
{
    const struct tensor *in = &builder->tensors.items[x];
    struct node node = node_make(OP_RMSNORM, scope);
    node.dims.rows = in->shape[0];
    node.dims.d_in = in->shape[1];
    node.epsilon = 1e-5f;
    node.input[0] = x;
    node.input[1] = w;
    node.output[0] = activation_add(builder, scope, "y", SHAPE(node.dims.rows, node.dims.d_in));
    node.output[1] = activation_add(builder, scope, "rstd", SHAPE(node.dims.rows));
    node_push(builder, &node);
    return node.output[0];
}

static int32_t elementwise(struct builder *builder, enum op op, int32_t scope, int32_t a, int32_t b)
{
    struct node node = node_elementwise(builder, op, scope, a);
    const struct tensor in = builder->tensors.items[a];
    node.input[0] = a;
    node.input[1] = b;
    node.output[0] = activation_add(builder, scope, "y", in.rank, in.shape);
    node_push(builder, &node);
    return node.output[0];
}

/* A node of attention, RoPE or softmax: the sizes all of them carry. */
static struct node attention_node(const struct builder *builder, enum op op, int32_t scope)
{
    const struct plan_request *request = builder->request;
    struct node node = node_make(op, scope);
    node.dims.batch = request->batch;
    node.dims.context = request->context;
    node.dims.heads = request->model.num_heads;
    node.dims.head_dim = request->model.d_model / request->model.num_heads;
    node.dims.rows = request->batch * request->context;
    node.scale = (float)(1 / sqrt((double)node.dims.head_dim));
    return node;
}

static int32_t rope(struct builder *builder, int32_t scope, int32_t x, const char *output)
{
    struct node node = attention_node(builder, OP_ROPE, scope);
    node.input[0] = x;
    node.input[1] = builder->plan->rope_table;
    node.output[0] = activation_add(builder, scope, output, SHAPE(node.dims.rows, builder->request->model.d_model));
    node_push(builder, &node);
    return node.output[0];
}

/* softmax(causal(q kᵀ · scale)) v, the scores and the probabilities as tensors of their own. */
static int32_t attention_values(struct builder *builder, int32_t scope, int32_t q, int32_t k, int32_t v)
{
    const int32_t scores_scope = scope_child(builder, scope, "scores", -1);
    const int32_t softmax_scope = scope_child(builder, scope, "softmax", -1);
    const int32_t values_scope = scope_child(builder, scope, "values", -1);
    struct node scores = attention_node(builder, OP_ATTN_SCORES, scores_scope);
    const struct node_dims dims = scores.dims;
    scores.input[0] = q;
    scores.input[1] = k;
    scores.output[0] =
        activation_add(builder, scores_scope, "s", SHAPE(dims.batch, dims.heads, dims.context, dims.context));
    node_push(builder, &scores);
    struct node softmax = attention_node(builder, OP_CAUSAL_SOFTMAX, softmax_scope);
    softmax.input[0] = scores.output[0];
    softmax.output[0] =
        activation_add(builder, softmax_scope, "p", SHAPE(dims.batch, dims.heads, dims.context, dims.context));
    node_push(builder, &softmax);
    struct node values = attention_node(builder, OP_ATTN_VALUES, values_scope);
    values.input[0] = softmax.output[0];
    values.input[1] = v;
    values.output[0] = activation_add(builder, values_scope, "o", SHAPE(dims.rows, dims.heads * dims.head_dim));
    node_push(builder, &values);
    return values.output[0];
}

/* Tensors of one block's parameters, and its scopes. */
struct block {
    int32_t scope, attn, q_scope, k_scope, v_scope, output_scope, ffn, w1_scope, w2_scope, w3_scope, ln1_scope,
        ln2_scope;
    int32_t q, k, v, output, w1, w2, w3, ln1, ln2;
};

static struct block block_parameters(struct builder *builder, int32_t layer)
{
    const int64_t c = builder->request->model.d_model, f = builder->request->model.d_ff;
    char name[32];
    snprintf(name, sizeof name, "layers.%d", layer);
    struct block block = {.scope = scope_child(builder, 0, name, layer)};
    block.ln1_scope = scope_child(builder, block.scope, "ln1", -1);
    block.attn = scope_child(builder, block.scope, "attn", -1);
    block.q_scope = scope_child(builder, block.attn, "q_proj", -1);
    block.k_scope = scope_child(builder, block.attn, "k_proj", -1);
    block.v_scope = scope_child(builder, block.attn, "v_proj", -1);
    if (builder->request->model.kind == MODEL_LM)
        scope_child(builder, block.attn, "rope", -1);
    scope_child(builder, block.attn, "scores", -1);
    scope_child(builder, block.attn, "softmax", -1);
    scope_child(builder, block.attn, "values", -1);
    block.output_scope = scope_child(builder, block.attn, "output_proj", -1);
    scope_child(builder, block.scope, "attn_add", -1);
    block.ln2_scope = scope_child(builder, block.scope, "ln2", -1);
    block.ffn = scope_child(builder, block.scope, "ffn", -1);
    block.w1_scope = scope_child(builder, block.ffn, "w1", -1);
    scope_child(builder, block.ffn, "silu", -1);
    block.w3_scope = scope_child(builder, block.ffn, "w3", -1);
    scope_child(builder, block.ffn, "mul", -1);
    block.w2_scope = scope_child(builder, block.ffn, "w2", -1);
    scope_child(builder, block.scope, "ffn_add", -1);
    /* In the order of the reference state dict, which is that of the constructors. */
    block.q = parameter_add(builder, block.q_scope, true, GROUP_QKV, SHAPE(c, c));
    block.k = parameter_add(builder, block.k_scope, true, GROUP_QKV, SHAPE(c, c));
    block.v = parameter_add(builder, block.v_scope, true, GROUP_QKV, SHAPE(c, c));
    block.output = parameter_add(builder, block.output_scope, true, GROUP_NONE, SHAPE(c, c));
    block.w1 = parameter_add(builder, block.w1_scope, true, GROUP_GATE_UP, SHAPE(f, c));
    block.w2 = parameter_add(builder, block.w2_scope, true, GROUP_NONE, SHAPE(c, f));
    block.w3 = parameter_add(builder, block.w3_scope, true, GROUP_GATE_UP, SHAPE(f, c));
    block.ln1 = parameter_add(builder, block.ln1_scope, false, GROUP_NONE, SHAPE(c));
    block.ln2 = parameter_add(builder, block.ln2_scope, false, GROUP_NONE, SHAPE(c));
    return block;
}

static int32_t block_forward(struct builder *builder, const struct block *block, int32_t x)
{
    const int32_t rope_scope = scope_child(builder, block->attn, "rope", -1);
    const int32_t h = rmsnorm(builder, block->ln1_scope, x, block->ln1);
    const int32_t q = linear(builder, block->q_scope, h, block->q, "y");
    const int32_t k = linear(builder, block->k_scope, h, block->k, "y");
    const int32_t v = linear(builder, block->v_scope, h, block->v, "y");
    const int32_t q_turned = rope(builder, rope_scope, q, "q");
    const int32_t k_turned = rope(builder, rope_scope, k, "k");
    const int32_t values = attention_values(builder, block->attn, q_turned, k_turned, v);
    const int32_t attended = linear(builder, block->output_scope, values, block->output, "y");
    const int32_t middle =
        elementwise(builder, OP_ADD, scope_child(builder, block->scope, "attn_add", -1), x, attended);

    const int32_t h2 = rmsnorm(builder, block->ln2_scope, middle, block->ln2);
    const int32_t gate = linear(builder, block->w1_scope, h2, block->w1, "y");
    const int32_t gated =
        elementwise(builder, OP_SILU, scope_child(builder, block->ffn, "silu", -1), gate, TENSOR_NONE);
    const int32_t up = linear(builder, block->w3_scope, h2, block->w3, "y");
    const int32_t product = elementwise(builder, OP_MUL, scope_child(builder, block->ffn, "mul", -1), gated, up);
    const int32_t down = linear(builder, block->w2_scope, product, block->w2, "y");
    return elementwise(builder, OP_ADD, scope_child(builder, block->scope, "ffn_add", -1), middle, down);
}

static int32_t embedding(struct builder *builder, int32_t scope, int32_t table)
{
    const struct model_config *model = &builder->request->model;
    struct node node = node_make(OP_EMBEDDING, scope);
    node.dims.rows = builder->request->batch * builder->request->context;
    node.dims.d_in = model->d_model;
    node.dims.vocab = model->vocab_size;
    node.input[0] = builder->plan->tokens;
    node.input[1] = table;
    node.output[0] = activation_add(builder, scope, "y", SHAPE(node.dims.rows, node.dims.d_in));
    node_push(builder, &node);
    return node.output[0];
}

static void cross_entropy(struct builder *builder, int32_t logits)
{
    const int32_t scope = scope_child(builder, 0, "loss", -1);
    struct node node = node_make(OP_CROSS_ENTROPY, scope);
    node.phase = PHASE_LOSS;
    node.dims.rows = builder->tensors.items[logits].shape[0];
    node.dims.vocab = builder->tensors.items[logits].shape[1];
    node.input[0] = logits;
    node.input[1] = builder->plan->targets;
    node.output[0] = builder->plan->loss = tensor_add(builder, "loss", DTYPE_F32, TENSOR_OUTPUT, scope, SHAPE(1));
    node.output[1] = activation_add(builder, scope, "lse", SHAPE(node.dims.rows));
    node_push(builder, &node);
}

static void language_model(struct builder *builder)
{
    const struct plan_request *request = builder->request;
    struct plan *plan = builder->plan;
    const int64_t c = request->model.d_model, vocab = request->model.vocab_size;
    const int64_t pairs = c / request->model.num_heads / 2;
    const int32_t embed_scope = scope_child(builder, 0, "token_embeddings", -1);
    const int32_t table = parameter_add(builder, embed_scope, false, GROUP_NONE, SHAPE(vocab, c));
    VEC(struct block) blocks = {0};
    for (int32_t layer = 0; layer < request->model.num_layers; layer++) {
        const struct block block = block_parameters(builder, layer);
        vec_push(&blocks, block);
    }
    const int32_t norm_scope = scope_child(builder, 0, "ln_final", -1);
    const int32_t norm = parameter_add(builder, norm_scope, false, GROUP_NONE, SHAPE(c));
    const int32_t head_scope = scope_child(builder, 0, "lm_head", -1);
    const int32_t head = parameter_add(builder, head_scope, true, GROUP_NONE, SHAPE(vocab, c));

    plan->tokens = tensor_add(builder, "tokens", DTYPE_I32, TENSOR_INPUT, 0, SHAPE(request->batch, request->context));
    plan->targets = tensor_add(builder, "targets", DTYPE_I32, TENSOR_INPUT, 0, SHAPE(request->batch, request->context));
    plan->rope_table =
        tensor_add(builder, "rope_table", DTYPE_F32, TENSOR_CONSTANT, 0, SHAPE(request->context, pairs, 2));

    int32_t x = embedding(builder, embed_scope, table);
    for (size_t i = 0; i < blocks.count; i++)
        x = block_forward(builder, &blocks.items[i], x);
    vec_release(&blocks);
    const int32_t h = rmsnorm(builder, norm_scope, x, norm);
    plan->logits = linear(builder, head_scope, h, head, "y");
    if (!wants_phase(builder, PHASE_BWD)) /* else their gradient goes over them, and then they are dead */
        builder->tensors.items[plan->logits].kind = TENSOR_OUTPUT;
    builder->tensors.items[plan->logits].name = "logits";
    cross_entropy(builder, plan->logits);
}

/* Attention alone: q, k, v are the parameters (N(0,1)), backward starts from a constant gradient of the output. With fused
 * attention the three are one (N, 3C) parameter "qkv", as the projections would leave them. */
static void attention_model(struct builder *builder)
{
    const struct plan_request *request = builder->request;
    const int64_t c = request->model.d_model, rows = request->batch * request->context;
    static const char *const names[3] = {"q", "k", "v"};
    const int32_t scope = scope_child(builder, 0, "attn", -1);
    int32_t operand[3];
    if (wants_fusion(builder, FUSE_ATTENTION)) {
        const int32_t qkv = parameter_add(builder, scope, false, GROUP_NONE, SHAPE(rows, 3 * c));
        builder->tensors.items[qkv].name = "qkv";
        for (int i = 0; i < 3; i++) {
            operand[i] = tensor_add(builder, names[i], DTYPE_F32, TENSOR_PARAMETER, scope, SHAPE(rows, c));
            tensor_make_slice(builder, operand[i], qkv, i * c);
        }
    } else {
        for (int i = 0; i < 3; i++) {
            operand[i] = parameter_add(builder, scope, false, GROUP_NONE, SHAPE(rows, c));
            builder->tensors.items[operand[i]].name = names[i];
        }
    }
    const int32_t output = attention_values(builder, scope, operand[0], operand[1], operand[2]);
    builder->tensors.items[output].kind = TENSOR_OUTPUT;
    builder->output_gradient = tensor_add(builder, "grad.output", DTYPE_F32, TENSOR_CONSTANT, scope, SHAPE(rows, c));
}

bool forward_build(struct builder *builder, struct error *error)
{
    scope_child(builder, -1, "model", -1);
    if (builder->request->model.kind == MODEL_ATTENTION) {
        if (wants_phase(builder, PHASE_OPT))
            return error_set(error, ERROR_UNSUPPORTED,
                             "the attention-only model has no optimizer; choose the passes fwd and fwd_bwd");
        attention_model(builder);
    } else {
        language_model(builder);
    }
    for (size_t i = 0; i < builder->parameters.count; i++)
        builder->parameters.items[i].place = UNKNOWN_U64;
    parameters_place(builder);
    region_add(builder, "parameters", "", TENSOR_PARAMETER, DTYPE_F32);
    return true;
}
