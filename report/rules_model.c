/* What only a model of our own says, whose FLOPs and bytes are modelled and whose ceilings were measured; and the same cell done otherwise
 * in the same report. */
#include "report/compare.h"
#include "report/rules.h"
#include <string.h>

/* All but `compile` asked for alike. */
static bool is_compiled(const struct report_cell *own, const struct report_cell *other)
{
    struct cell alike = other->requested;
    alike.compile = own->requested.compile;
    return other->requested.compile && cell_equal(&alike, &own->requested);
}

static bool is_lower(const struct report_cell *own, const struct report_cell *other)
{
    struct cell alike = other->requested;
    alike.dtype = own->requested.dtype;
    return other->requested.dtype > own->requested.dtype && cell_equal(&alike, &own->requested);
}

static bool beside(const struct facts *facts, struct finding *finding, cell_twin *is_twin, const char *what)
{
    struct ratio ratio;
    const struct report_cell *other = facts->attached ? NULL : twin_find(facts, is_twin);
    if (!other || !twin_faster(facts, other, &ratio))
        return false;
    evidence_add(facts, finding, what, ratio.median, "of this step", EVIDENCE_MEASURED);
    evidence_interval(finding, ratio.low, ratio.high);
    finding->gain = 1 - ratio.low;
    finding->sentence =
        sentence(facts, "%s, this cell takes %.2f of the time (run %u).", what, ratio.median, other->run_id);
    finding->confidence = CONFIDENCE_MEASURED;
    finding->view = SHOWN_IN_RUNS;
    return true;
}

static bool eager(const struct facts *facts, struct finding *finding)
{
    return !facts->cell->requested.compile && beside(facts, finding, is_compiled, "Compiled");
}

static bool dtype(const struct facts *facts, struct finding *finding)
{
    return beside(facts, finding, is_lower, "In a smaller type");
}

static bool is_larger(const struct report_cell *own, const struct report_cell *other)
{
    struct cell alike = other->requested;
    alike.batch_size = own->requested.batch_size;
    return other->requested.batch_size > own->requested.batch_size && cell_equal(&alike, &own->requested);
}

/* The same cell with larger batches, by time for a sequence; else, on a card, by the tiles that a product of the model's width has. */
static bool batch(const struct facts *facts, struct finding *finding)
{
    const struct cell *cell = &facts->cell->requested;
    const struct report_cell *other, *best = NULL;
    struct ratio least = {.median = 1, .low = 1, .high = 1};
    size_t index = 0;
    while (!facts->attached && (other = twin_next(facts, is_larger, &index))) {
        const double each = (double)cell->batch_size / (double)other->requested.batch_size;
        struct ratio ratio = compare_phases(facts->total, &other->passes[facts->pass].phases[PHASE_COUNT]);
        ratio.median *= each, ratio.low *= each, ratio.high *= each;
        if (ratio.high < 1 && ratio.median < 1 - RULE_LEAST_GAIN && ratio.median < least.median) {
            least = ratio;
            best = other;
        }
    }
    finding->view = SHOWN_IN_RUNS;
    if (best) {
        evidence_add(facts, finding, "time for a sequence in larger batches", least.median, "of this one's",
                     EVIDENCE_MEASURED);
        evidence_interval(finding, least.low, least.high);
        finding->gain = 1 - least.low;
        finding->sentence = sentence(facts, "In batches of %lld a sequence takes %.2f of the time (run %u).",
                                     (long long)best->requested.batch_size, least.median, best->run_id);
        finding->confidence = CONFIDENCE_MEASURED;
        return true;
    }
    const double rows = (double)cell->batch_size * (double)cell->context_length;
    const double tiles = ceil(rows / TILE) * ceil((double)cell->model.d_model / TILE);
    const uint32_t units = facts->cell->device.units;
    const double share = share_of(facts, class_ns(facts, CLASS_MATMUL));
    if (facts->attached || !facts->on_card || !units || units == UNKNOWN_U32 || tiles >= units ||
        !(share >= PRODUCT_LEAST))
        return false;
    evidence_add(facts, finding, "tiles of a product of the model's width", tiles, "", EVIDENCE_MODELLED);
    evidence_add(facts, finding, "multiprocessors", units, "", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "products", share * 100, "% of the step", EVIDENCE_MEASURED);
    finding->sentence = sentence(facts,
                                 "The batch is small for the card: %.0f rows give a product of the model's width %.0f "
                                 "tiles for %u multiprocessors.",
                                 rows, tiles, units);
    finding->confidence = CONFIDENCE_POSSIBLE;
    return true;
}

static bool is_chain(const struct report_kernel *kernel)
{
    return kernel->kernel_class == CLASS_ELEMENTWISE || kernel->kernel_class == CLASS_NORM ||
           kernel->kernel_class == CLASS_COPY || kernel->kernel_class == CLASS_SOFTMAX;
}

/* Chains of kernels that read what the one before wrote. */
static bool fusion(const struct facts *facts, struct finding *finding)
{
    double layer, bytes = 0;
    const double share = share_of(facts, filtered_ns(facts, is_chain));
    if (facts->attached || facts->cell->effective_compile || !(share >= FUSION_LEAST))
        return false;
    for (size_t k = 0; k < facts->cell->kernel_count; k++)
        if (facts->cell->kernels[k].pass == facts->pass && is_chain(&facts->cell->kernels[k]) &&
            is_known(facts->cell->kernels[k].bytes))
            bytes += facts->cell->kernels[k].bytes / facts->steps;
    finding->layer = largest_layer(facts, is_chain, &layer);
    finding->kernel = largest_kernel(facts, is_chain)->name;
    evidence_add(facts, finding, "elementwise, norm, softmax and copies", share * 100, "% of the step",
                 EVIDENCE_MEASURED);
    if (bytes > 0)
        evidence_add(facts, finding, "bytes that they move", bytes * 1e-6, "MB a step", EVIDENCE_MODELLED);
    finding->sentence =
        sentence(facts, "Memory-bound chains: kernels that compute little take %.0f %% of the step, most by %s%s%s.",
                 share * 100, finding->kernel, *finding->layer ? " in " : "", layer_words(facts, finding->layer));
    finding->gain = share;
    finding->view = SHOWN_IN_KERNELS;
    return true;
}

/* Of the processors that the roof was measured with, the share that the threads of this cell have: they have no more of the roof. */
static double threads_share(const struct facts *facts)
{
    const double threads = facts->cell->requested.threads, cores = processors_of_host(facts);
    return !facts->on_card && threads > 0 && threads < cores ? threads / cores : 1;
}

static bool is_far(const struct facts *facts, const struct report_kernel *kernel, double *roof)
{
    const struct report_ceilings *best = &facts->cell->ceilings;
    if (kernel->pass != facts->pass || kernel->kernel_class != CLASS_MATMUL || !is_known(kernel->flops) ||
        !is_known(kernel->bytes) || !kernel->total_ns || !(best->flops_per_s > 0) || !(best->bytes_per_s > 0))
        return false;
    const double attainable =
        fmin(best->flops_per_s * threads_share(facts), kernel->flops / kernel->bytes * best->bytes_per_s);
    *roof = fmin(1, kernel->flops / (double)kernel->total_ns * 1e9 / attainable);
    return *roof < PRODUCT_ROOF;
}

static bool products(const struct facts *facts, struct finding *finding)
{
    double time = 0, lost = 0, most = 0, roof, worst = UNKNOWN_DOUBLE;
    for (size_t k = 0; k < facts->cell->kernel_count && facts->steps > 0; k++) {
        const struct report_kernel *kernel = &facts->cell->kernels[k];
        if (!is_far(facts, kernel, &roof))
            continue;
        const double own = (double)kernel->total_ns / facts->steps;
        time += own;
        lost += own * (1 - roof);
        if (own * (1 - roof) > most) {
            most = own * (1 - roof);
            worst = roof;
            finding->kernel = kernel->name;
        }
    }
    const double share = share_of(facts, time);
    /* The roof was measured with processors and caches that others have now. */
    if (facts->crowded || (facts->shared && !facts->on_card) || !(share >= PRODUCT_LEAST))
        return false;
    const double rows = (double)facts->cell->requested.batch_size * (double)facts->cell->requested.context_length;
    evidence_add(facts, finding, "products below half of the roof", share * 100, "% of the step", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "roof reached by the largest", worst * 100, "%", EVIDENCE_MODELLED);
    evidence_add(facts, finding, "rows of a product", rows, "", EVIDENCE_MODELLED);
    finding->gain = share_of(facts, lost);
    finding->sentence =
        sentence(facts, "Products far from the roof take %.0f %% of the step; %s reaches %.0f %% of it.", share * 100,
                 finding->kernel, worst * 100);
    if (rows < SMALL_ROWS)
        finding->remedy = "A larger batch: a product has too few rows for its weights";
    finding->view = SHOWN_IN_KERNELS;
    return true;
}

static bool shape(const struct facts *facts, struct finding *finding)
{
    const struct model_config *model = &facts->cell->requested.model;
    const bool vocabulary = model->vocab_size % 8 != 0;
    const bool head = model->num_heads > 0 && (model->d_model / model->num_heads) % 8 != 0;
    const double share = share_of(facts, class_ns(facts, head ? CLASS_ATTENTION : CLASS_MATMUL));
    if (facts->attached || !facts->on_card || (!vocabulary && !head) || !(share >= PRODUCT_LEAST))
        return false;
    evidence_add(facts, finding, head ? "attention" : "products", share * 100, "% of the step", EVIDENCE_MEASURED);
    finding->sentence =
        sentence(facts, "No tile divides %s of %lld, so that products of it leave part of each tile empty.",
                 vocabulary ? "a vocabulary" : "a head size",
                 (long long)(vocabulary ? model->vocab_size : model->d_model / model->num_heads));
    finding->confidence = CONFIDENCE_POSSIBLE;
    finding->view = SHOWN_IN_KERNELS;
    return true;
}

const struct rule rules_model[] = {
    {"eager", "the same cell, compiled, is in the report and faster beyond noise", "Compile mode",
     "both runs in turns differ less", false, eager},
    {"dtype", "the same cell in tf32 or bf16 is in the report and faster beyond noise", "The smaller type",
     "both runs in turns differ less, or the loss does not fall as it did", false, dtype},
    {"batch",
     "the same cell with a larger batch is in the report and takes less for a sequence beyond noise; or on a card, "
     "products of the model's width have fewer tiles of 128 × 128 than there are multiprocessors",
     "A larger batch", "a larger batch takes as long for a sequence, or the loss falls more slowly for as many of them",
     false, batch},
    {"fusion", "of a model in eager mode, kernels that compute little take 10 % of the step",
     "Compile mode, which joins them", "the compiled step takes as long", false, fusion},
    {"products", "products below half of the measured roof take 10 % of the step", "Shapes that fill the machine",
     "the same product alone is no faster", false, products},
    {"shape", "on a card, vocabulary or head size is no multiple of 8", "Pad it to a multiple of 64",
     "the padded model takes as long", false, shape},
};
RULE_TABLE(rules_model);
