/* What kernels of a kind take, by their classes: holds for our own models and for attached programs. */
#include "report/rules.h"
#include <string.h>

static bool is_layout(const struct report_kernel *kernel)
{
    return kernel->kernel_class == CLASS_COPY && kernel->phase != PHASE_OPT && kernel->phase != PHASE_NONE &&
           !strstr(kernel->name, "host") && !strstr(kernel->name, "fill") && !strstr(kernel->name, "zero");
}

static bool layout(const struct facts *facts, struct finding *finding)
{
    double layer;
    const double share = share_of(facts, filtered_ns(facts, is_layout));
    if (!(share >= LAYOUT_LEAST))
        return false;
    finding->layer = largest_layer(facts, is_layout, &layer);
    finding->kernel = largest_kernel(facts, is_layout)->name;
    evidence_add(facts, finding, "copies, casts and transpositions", share * 100, "% of the step", EVIDENCE_MEASURED);
    finding->sentence = sentence(facts, "Copies of layout or type take %.0f %% of the step, most by %s%s%s.",
                                 share * 100, finding->kernel, *finding->layer ? " in " : "", finding->layer);
    finding->gain = share;
    finding->view = SHOWN_IN_KERNELS;
    return true;
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
    const struct report_kernel *most = largest_kernel(facts, is_optimizer);
    if (!(share >= OPTIMIZER_LEAST) || facts->calls[PHASE_OPT] < OPTIMIZER_CALLS || (most && is_joined(most)))
        return false;
    finding->kernel = most ? most->name : "";
    evidence_add(facts, finding, "optimizer", share * 100, "% of the step", EVIDENCE_MEASURED);
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

static bool is_loss(const struct report_kernel *kernel)
{
    return kernel->kernel_class == CLASS_LOSS ||
           (kernel->phase == PHASE_LOSS && kernel->kernel_class != CLASS_MATMUL) ||
           strstr(kernel->name, "log_softmax") || strstr(kernel->name, "LogSoftmax");
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

static bool is_exact(const struct report_kernel *kernel)
{
    return kernel->kernel_class == CLASS_MATMUL &&
           (strstr(kernel->name, "sgemm") || strstr(kernel->name, "simt") || strstr(kernel->name, "ffma"));
}

/* fp32 on a card that has tensor cores (compute capability 8.0 and above), by name of the kernel. */
static bool precision(const struct facts *facts, struct finding *finding)
{
    const double share = share_of(facts, filtered_ns(facts, is_exact));
    if (!facts->on_card || !(share >= PRODUCT_LEAST))
        return false;
    double layer;
    finding->layer = largest_layer(facts, is_exact, &layer);
    finding->kernel = largest_kernel(facts, is_exact)->name;
    evidence_add(facts, finding, "products off the tensor cores", share * 100, "% of the step", EVIDENCE_MEASURED);
    finding->sentence =
        sentence(facts, "Products in fp32 take %.0f %% of the step without tensor cores, most by %s%s%s.", share * 100,
                 finding->kernel, *finding->layer ? " in " : "", finding->layer);
    finding->gain = share;
    finding->view = SHOWN_IN_KERNELS;
    return true;
}

static bool is_of_loss(const struct report_kernel *kernel)
{
    return kernel->phase == PHASE_LOSS || strstr(kernel->name, "log_softmax") || strstr(kernel->name, "LogSoftmax");
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

static bool attention(const struct facts *facts, struct finding *finding)
{
    const double softmax = share_of(facts, filtered_ns(facts, is_softmax));
    if (!(softmax >= SOFTMAX_LEAST))
        return false;
    double layer;
    const double share = share_of(facts, filtered_ns(facts, is_attention));
    finding->layer = largest_layer(facts, is_attention, &layer);
    finding->kernel = largest_kernel(facts, is_attention)->name;
    evidence_add(facts, finding, "softmax as a kernel of its own", softmax * 100, "% of the step", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "all of attention", share * 100, "% of the step", EVIDENCE_MEASURED);
    finding->sentence = sentence(
        facts,
        "Attention is not one kernel: softmax, scores and values take %.0f %% of the step, softmax alone %.0f %%%s%s.",
        share * 100, softmax * 100, *finding->layer ? ", most in " : "", finding->layer);
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
    {"loss", "loss and the softmax over the vocabulary take 15 % of the step",
     "A fused or chunked cross-entropy, or logits of fewer positions",
     "the loss takes as long over a vocabulary of a tenth", false, loss},
    {"precision", "on a card, products by fp32 kernels take 10 % of the step",
     "tf32 (set_float32_matmul_precision) or bf16 (autocast)", "the step takes as long with tf32", false, precision},
    {"attention", "softmax kernels outside the loss take 8 % of the step",
     "scaled_dot_product_attention or another fused kernel", "the fused kernel is not faster at this context length",
     false, attention},
};
RULE_TABLE(rules_kernels);
