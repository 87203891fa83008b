/* What kernels of a kind take, by their classes: holds for our own models and for attached programs. */
#include "report/rules.h"
#include <string.h>

/* Here and below, words are looked for in the names of kernels that others wrote (PyTorch's operators, cuBLAS, cuDNN): of an attached
 * program they are all that is known of what a kernel does beside its class, of our own models class and phase say as much. */
static bool is_layout(const struct report_kernel *kernel)
{
    const bool within = kernel->copy == COPY_NONE || kernel->copy == COPY_ON_DEVICE;
    return within && kernel->kernel_class == CLASS_COPY && kernel->phase != PHASE_OPT && kernel->phase != PHASE_NONE &&
           !strcasestr(kernel->name, "fill") && !strcasestr(kernel->name, "zero");
}

/* Kernels of one kind that take so much of the step: `said` and `after` stand around how much, and the layer and kernel that take most. */
static bool kernels_take(const struct facts *facts, struct finding *finding, kernel_filter *is, double least,
                         const char *evidence, const char *said, const char *after)
{
    double layer;
    const double share = share_of(facts, filtered_ns(facts, is));
    if (!(share >= least))
        return false;
    finding->layer = largest_layer(facts, is, &layer);
    finding->kernel = largest_kernel(facts, is)->name;
    evidence_add(facts, finding, evidence, share * 100, "% of the step", EVIDENCE_MEASURED);
    finding->sentence = sentence(facts, "%s take %.0f %% of the step%s, most by %s%s%s.", said, share * 100, after,
                                 finding->kernel, *finding->layer ? " in " : "", layer_words(facts, finding->layer));
    finding->gain = share;
    finding->view = SHOWN_IN_KERNELS;
    return true;
}

static bool layout(const struct facts *facts, struct finding *finding)
{
    return kernels_take(facts, finding, is_layout, LAYOUT_LEAST, "copies, casts and transpositions",
                        "Copies of layout or type", "");
}

static bool is_optimizer(const struct report_kernel *kernel)
{
    return kernel->phase == PHASE_OPT;
}

static bool is_joined(const struct report_kernel *kernel)
{
    return kernel->phase == PHASE_OPT && (strcasestr(kernel->name, "fused") || strcasestr(kernel->name, "foreach") ||
                                          strcasestr(kernel->name, "multi_tensor"));
}

static bool optimizer(const struct facts *facts, struct finding *finding)
{
    const struct report_phase *phase = &facts->cell->passes[facts->pass].phases[PHASE_OPT];
    double share = share_of(facts, filtered_ns(facts, is_optimizer));
    if (phase->summary.n && facts->total->summary.median > 0) /* with the time between its operators */
        share = fmax(share, phase->summary.median / facts->total->summary.median);
    /* On a card, of the time without a queue the part that its launches have in all: a kernel takes the host as long whatever it does. */
    const struct report_idle *idle = &facts->cell->passes[facts->pass].idle;
    double launches = 0;
    for (int p = 0; p < PLACE_PHASE_COUNT; p++)
        launches += facts->calls[p];
    const double host =
        facts->on_card && idle->steps && launches > 0
            ? fmin(facts->left, share_of(facts, idle->ns[IDLE_LAUNCH])) * facts->calls[PHASE_OPT] / launches
            : 0;
    const struct report_kernel *most = largest_kernel(facts, is_optimizer);
    share = fmin(1, share + host);
    if (!(share >= OPTIMIZER_LEAST) || facts->calls[PHASE_OPT] < OPTIMIZER_CALLS || (most && is_joined(most)))
        return false;
    finding->kernel = most ? most->name : "";
    evidence_add(facts, finding, "optimizer", share * 100, "% of the step", EVIDENCE_MEASURED);
    if (host > 0)
        evidence_add(facts, finding, "of that, idle for its launches", host * 100, "% of the step", EVIDENCE_MODELLED);
    evidence_add(facts, finding, "its kernels", facts->calls[PHASE_OPT], "a step", EVIDENCE_MEASURED);
    finding->sentence =
        sentence(facts, "The optimizer takes %.0f %% of the step in %.0f kernels: it goes parameter by parameter.",
                 share * 100, facts->calls[PHASE_OPT]);
    if (facts->cell->requested.command[0] == 0)
        finding->remedy = "Compile mode, whose optimizer is one kernel";
    finding->gain = share;
    finding->view = SHOWN_IN_KERNELS;
    return true;
}

/* aten::_log_softmax, and of a card cunn_SoftMaxForward<…, LogSoftMaxForwardEpilogue>. */
static bool is_log_softmax(const struct report_kernel *kernel)
{
    return strcasestr(kernel->name, "log_softmax") || strcasestr(kernel->name, "logsoftmax");
}

static bool is_loss(const struct report_kernel *kernel)
{
    return kernel->kernel_class == CLASS_LOSS ||
           (kernel->phase == PHASE_LOSS && kernel->kernel_class != CLASS_MATMUL) || is_log_softmax(kernel);
}

static bool loss(const struct facts *facts, struct finding *finding)
{
    const double share = share_of(facts, filtered_ns(facts, is_loss));
    if (!(share >= LOSS_LEAST))
        return false;
    finding->kernel = largest_kernel(facts, is_loss)->name;
    evidence_add(facts, finding, "loss and its softmax", share * 100, "% of the step", EVIDENCE_MEASURED);
    if (!facts->attached)
        evidence_add(facts, finding, "logits in fp32",
                     4e-6 * (double)facts->cell->requested.batch_size * (double)facts->cell->requested.context_length *
                         (double)facts->cell->requested.model.vocab_size,
                     "MB", EVIDENCE_MODELLED);
    finding->sentence = sentence(facts, "The loss over the vocabulary takes %.0f %% of the step, most by %s.",
                                 share * 100, finding->kernel);
    finding->gain = share;
    finding->view = SHOWN_IN_KERNELS;
    return true;
}

static bool is_lookup(const struct report_kernel *kernel)
{
    return kernel->kernel_class == CLASS_EMBEDDING && kernel->phase != PHASE_OPT;
}

/* What runs in modules that look rows up, the optimizer apart, a step: a dense gradient is filled with zeros by kernels of other names.
 * *parameters: their share of the parameters' bytes, 0 where not known. Of a root that holds others nothing is said. */
static double beside_lookups(const struct facts *facts, double *parameters)
{
    const struct report_cell *cell = facts->cell;
    double *all = arena_array(facts->arena, double, cell->layer_count + 1), sum = 0, own = 0, whole = 0;
    bool *looks_up = arena_array(facts->arena, bool, cell->layer_count + 1);
    double *below = arena_array(facts->arena, double, cell->layer_count + 1); /* parameters of the modules in it */
    bool *holds = arena_array(facts->arena, bool, cell->layer_count + 1);
    for (size_t e = 0; e < cell->entry_count; e++) {
        const struct report_entry *entry = &cell->entries[e];
        if (entry->pass != facts->pass || entry->scope < 0 || entry->phase == PHASE_OPT)
            continue;
        all[entry->scope] += (double)entry->total_ns;
        looks_up[entry->scope] |= is_lookup(&cell->kernels[entry->kernel]);
    }
    for (size_t l = 0; l < cell->layer_count; l++) {
        const struct report_layer *layer = &cell->layers[l];
        if (layer->parent < 0)
            continue;
        holds[layer->parent] = true;
        below[layer->parent] += is_known_u64(layer->parameter_bytes) ? (double)layer->parameter_bytes : 0;
    }
    for (size_t l = 0; l < cell->layer_count; l++) {
        const struct report_layer *layer = &cell->layers[l];
        const double bytes = is_known_u64(layer->parameter_bytes) ? (double)layer->parameter_bytes : 0;
        whole += layer->parent < 0 ? bytes : 0;
        if (!looks_up[l] || (layer->parent < 0 && holds[l]))
            continue;
        sum += all[l];
        own += fmax(0, bytes - below[l]);
    }
    *parameters = whole > 0 ? fmin(1, own / whole) : 0;
    return facts->steps > 0 ? sum / facts->steps : UNKNOWN_DOUBLE;
}

static bool embedding(const struct facts *facts, struct finding *finding)
{
    double layer, parameters;
    const double beside = beside_lookups(facts, &parameters);
    const double own = share_of(facts, fmax(filtered_ns(facts, is_lookup), beside));
    const struct report_phase *phase = &facts->cell->passes[facts->pass].phases[PHASE_OPT];
    double update = share_of(facts, phase_ns(facts, PHASE_OPT));
    if (phase->summary.n && facts->total->summary.median > 0)
        update = fmax(update, phase->summary.median / facts->total->summary.median);
    const double share = fmin(1, own + parameters * update);
    if (!(own >= EMBEDDING_OWN) || !(share >= EMBEDDING_LEAST))
        return false;
    const struct report_kernel *most = largest_kernel(facts, is_lookup);
    finding->layer = largest_layer(facts, is_lookup, &layer);
    finding->kernel = most ? most->name : "";
    evidence_add(facts, finding, "modules that look rows up", own * 100, "% of the step", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "their share of the parameters", parameters * 100, "%", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "the optimizer, by that share", parameters * update * 100, "% of the step",
                 EVIDENCE_MODELLED);
    finding->gain = share;
    /* A gradient of every row goes through a processor's caches, and is given back to the system and taken from it anew in each step. */
    if (!facts->on_card)
        finding->gain = fmin(1, share + share_of(facts, facts->idle) +
                                    EMBEDDING_COLD * fmax(0, share_of(facts, facts->busy) - share));
    finding->sentence = sentence(
        facts,
        "The embedding takes %.0f %% of the step: %.0f %% in its own kernels, whose gradient has every row of the "
        "table, and %.0f %% of the optimizer by its size%s.",
        share * 100, own * 100, parameters * update * 100,
        facts->on_card
            ? ""
            : sentence(facts, "; at most %.0f %% with what others lose to it in caches", finding->gain * 100));
    if (!facts->attached)
        finding->remedy = "A smaller vocabulary, or a head that shares the table";
    finding->view = SHOWN_IN_LAYERS;
    return true;
}

static bool is_exact(const struct report_kernel *kernel)
{
    return kernel->kernel_class == CLASS_MATMUL &&
           (strstr(kernel->name, "sgemm") || strstr(kernel->name, "simt") || strstr(kernel->name, "ffma"));
}

/* fp32 on a card that has tensor cores (compute capability 8.0 and above), by name of the kernel. */
static bool precision(const struct facts *facts, struct finding *finding)
{
    return facts->on_card && kernels_take(facts, finding, is_exact, PRODUCT_LEAST, "products off the tensor cores",
                                          "Products in fp32", " without tensor cores");
}

static bool is_of_loss(const struct report_kernel *kernel)
{
    return kernel->phase == PHASE_LOSS || is_log_softmax(kernel);
}

static bool is_softmax(const struct report_kernel *kernel)
{
    return !is_of_loss(kernel) && kernel->kernel_class == CLASS_SOFTMAX;
}

static bool is_attention(const struct report_kernel *kernel)
{
    const bool batched =
        kernel->kernel_class == CLASS_MATMUL && (strstr(kernel->name, "bmm") || strstr(kernel->op, "bmm"));
    return is_softmax(kernel) || (!is_of_loss(kernel) && (kernel->kernel_class == CLASS_ATTENTION || batched ||
                                                          strstr(kernel->name, "masked_fill")));
}

/* All that runs beside a softmax in its own module: scores, scale, mask, values, whatever their kernels are called. A module that has
 * nothing but the softmax stands in one that has the rest. Of one that holds the whole model nothing is said. Ns of a step. */
static double beside_softmax(const struct facts *facts)
{
    const struct report_cell *cell = facts->cell;
    double *all = arena_array(facts->arena, double, cell->layer_count + 1), sum = 0;
    double *softmax = arena_array(facts->arena, double, cell->layer_count + 1);
    for (int alone = 0; alone < 2; alone++)
        for (size_t e = 0; e < cell->entry_count; e++) {
            const struct report_entry *entry = &cell->entries[e];
            const struct report_kernel *kernel = &cell->kernels[entry->kernel];
            if (entry->pass != facts->pass || entry->scope < 0 || is_of_loss(kernel))
                continue;
            int32_t scope = entry->scope;
            if (alone && softmax[scope] > 0.9 * all[scope] && cell->layers[scope].parent >= 0)
                softmax[cell->layers[scope].parent] += kernel->kernel_class == CLASS_SOFTMAX;
            if (alone)
                continue;
            all[scope] += (double)entry->total_ns;
            softmax[scope] += kernel->kernel_class == CLASS_SOFTMAX ? (double)entry->total_ns : 0;
        }
    for (size_t l = 0; l < cell->layer_count; l++)
        sum += softmax[l] > 0 && cell->layers[l].parent >= 0 ? all[l] : 0;
    return facts->steps > 0 ? sum / facts->steps : UNKNOWN_DOUBLE;
}

static bool attention(const struct facts *facts, struct finding *finding)
{
    const double softmax = share_of(facts, filtered_ns(facts, is_softmax));
    if (!(softmax >= SOFTMAX_LEAST))
        return false;
    double layer;
    const double share = share_of(facts, fmax(filtered_ns(facts, is_attention), beside_softmax(facts)));
    finding->layer = largest_layer(facts, is_attention, &layer);
    finding->kernel = largest_kernel(facts, is_attention)->name;
    evidence_add(facts, finding, "softmax as a kernel of its own", softmax * 100, "% of the step", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "all of attention", share * 100, "% of the step", EVIDENCE_MEASURED);
    finding->sentence = sentence(
        facts,
        "Attention is not one kernel: softmax, scores and values take %.0f %% of the step, softmax alone %.0f %%%s%s.",
        share * 100, softmax * 100, *finding->layer ? ", most in " : "", layer_words(facts, finding->layer));
    if (!facts->attached)
        finding->remedy = "Compile mode, whose attention is one kernel";
    finding->gain = share;
    finding->view = *finding->layer ? SHOWN_IN_LAYERS : SHOWN_IN_KERNELS;
    return true;
}

const struct rule rules_kernels[] = {
    {"layout", "copies, casts and transpositions take 8 % of the step",
     "Keep tensors in the layout and type in which they are used",
     "the copies stay when each tensor is made in its final layout", false, layout},
    {"optimizer", "the optimizer takes 8 % of the step in 20 kernels and more that are not joined",
     "An optimizer with fused=True, or foreach", "the optimizer takes as long with one kernel for all parameters",
     false, optimizer},
    {"loss", "loss and the softmax over the vocabulary take 15 % of the step", "A fused or chunked cross-entropy",
     "the loss takes as long over a vocabulary of a tenth", false, loss},
    {"embedding",
     "modules that look rows up take 5 % of the step, and 15 % with their share of the optimizer by parameters",
     "Gradients of the rows alone that were used (sparse=True, with SGD or SparseAdam), or a smaller vocabulary",
     "the step takes as long with a table of a tenth", false, embedding},
    {"precision", "on a card, products by fp32 kernels take 10 % of the step",
     "tf32 (set_float32_matmul_precision) or bf16 (autocast)", "the step takes as long with tf32", false, precision},
    {"attention", "softmax kernels outside the loss take 8 % of the step",
     "scaled_dot_product_attention or another fused kernel", "the fused kernel is not faster at this context length",
     false, attention},
};
RULE_TABLE(rules_kernels);
