/* The figures that rules share, of one cell. */
#include "report/compare.h"
#include "report/derive.h"
#include "report/markdown.h"
#include "report/modules.h"
#include "report/rules.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double class_ns(const struct facts *facts, enum kernel_class kernel_class)
{
    double sum = 0;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
        sum += facts->by[kernel_class][phase];
    return sum;
}

double phase_ns(const struct facts *facts, enum phase phase)
{
    double sum = 0;
    for (int class = 0; class < CLASS_COUNT; class ++)
        sum += facts->by[class][phase];
    return sum;
}

/* Kernels on several streams may take longer together than the step did. */
double share_of(const struct facts *facts, double ns)
{
    return facts->step > 0 && is_known(ns) ? fmin(1, fmax(0, ns / facts->step)) : UNKNOWN_DOUBLE;
}

static double rounded(double value)
{
    char text[32];
    if (!is_known(value))
        return value;
    snprintf(text, sizeof text, "%.3e", value);
    return strtod(text, NULL);
}

void evidence_add(const struct facts *facts, struct finding *finding, const char *name, double value, const char *unit,
                  enum evidence_label label)
{
    if (!is_known(value) || finding->evidence_count == EVIDENCE_MOST)
        return;
    if (!finding->evidence)
        finding->evidence = arena_array(facts->arena, struct evidence, EVIDENCE_MOST);
    finding->evidence[finding->evidence_count++] =
        (struct evidence){name, unit, rounded(value), UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, (uint8_t)label};
}

void evidence_interval(struct finding *finding, double low, double high)
{
    if (!finding->evidence_count)
        return;
    struct evidence *last = &finding->evidence[finding->evidence_count - 1];
    last->low = rounded(low);
    last->high = rounded(high);
}

const char *sentence(const struct facts *facts, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return arena_strdup(facts->arena, text);
}

const char *note_text(const struct report_cell *cell, const char *key)
{
    for (size_t n = 0; n < cell->note_count; n++)
        if (strcmp(cell->notes[n].key, key) == 0)
            return cell->notes[n].text;
    return NULL;
}

double steal_of(const struct report_cell *cell)
{
    return is_known(cell->machine.steal) ? cell->machine.steal : cell->use.steal;
}

double processors_of_host(const struct facts *facts)
{
    const uint32_t cores = facts->report ? facts->report->host.cores : UNKNOWN_U32;
    return cores && cores != UNKNOWN_U32 ? cores : facts->cores;
}

const char *largest_layer(const struct facts *facts, kernel_filter *wanted, double *share)
{
    const struct report_cell *cell = facts->cell;
    struct modules modules = {0};
    const char *path = "";
    double all = 0, most = 0;
    *share = UNKNOWN_DOUBLE;
    if (cell->layer_count < 2)
        return path;
    modules_tree(&modules, cell);
    double *times = arena_array(facts->arena, double, modules.layer_count + 1);
    for (size_t e = 0; e < cell->entry_count; e++) {
        const struct report_entry *entry = &cell->entries[e];
        if (entry->pass != facts->pass || (wanted && !wanted(&cell->kernels[entry->kernel])))
            continue;
        all += (double)entry->total_ns;
        if (entry->scope >= 0)
            times[modules.of_layer[entry->scope]] += (double)entry->total_ns;
    }
    size_t found = 0;
    for (size_t m = 0; m < modules.layer_count; m++)
        if (times[m] > most) {
            most = times[m];
            found = m;
        }
    if (most > 0) {
        if (strcmp(modules.layers[found].path, "*")) /* the parts of a program that has nothing else: no news */
            path = arena_strdup(facts->arena, modules.layers[found].path);
        *share = most / all;
    }
    modules_release(&modules);
    return path;
}

const char *layer_words(const struct facts *facts, const char *path)
{
    if (strncmp(path, "*.", 2) != 0)
        return path;
    const bool number = path[2] >= '0' && path[2] <= '9'; /* of a Sequential within */
    return sentence(facts, "%s%s of each block", number ? "part " : "", path + 2);
}

const struct report_kernel *largest_kernel(const struct facts *facts, kernel_filter *wanted)
{
    const struct report_kernel *most = NULL;
    for (size_t k = 0; k < facts->cell->kernel_count; k++) {
        const struct report_kernel *kernel = &facts->cell->kernels[k];
        if (kernel->pass == facts->pass && (!wanted || wanted(kernel)) && (!most || kernel->total_ns > most->total_ns))
            most = kernel;
    }
    return most;
}

double filtered_ns(const struct facts *facts, kernel_filter *wanted)
{
    double sum = 0;
    for (size_t k = 0; k < facts->cell->kernel_count; k++)
        if (facts->cell->kernels[k].pass == facts->pass && wanted(&facts->cell->kernels[k]))
            sum += (double)facts->cell->kernels[k].total_ns;
    return facts->steps > 0 ? sum / facts->steps : UNKNOWN_DOUBLE;
}

const struct report_cell *twin_next(const struct facts *facts, cell_twin *is_twin, size_t *index)
{
    while (facts->report && *index < facts->report->cells.count) {
        const struct report_cell *other = facts->report->cells.items[(*index)++];
        if (other != facts->cell && other->requested.repetition == facts->cell->requested.repetition &&
            other->passes[facts->pass].present &&
            other->passes[facts->pass].phases[PHASE_COUNT].summary.n >= RULE_LEAST_STEPS && is_twin(facts->cell, other))
            return other;
    }
    return NULL;
}

const struct report_cell *twin_find(const struct facts *facts, cell_twin *is_twin)
{
    size_t index = 0;
    return twin_next(facts, is_twin, &index);
}

bool twin_faster(const struct facts *facts, const struct report_cell *other, struct ratio *ratio)
{
    *ratio = compare_phases(facts->total, &other->passes[facts->pass].phases[PHASE_COUNT]);
    return is_known(ratio->high) && ratio->high < 1 && ratio->median < 1 - RULE_LEAST_GAIN;
}

/* Steps in a row from the first on: more than half of them would be no warm-up, for then the median is one of them. */
static size_t warm_steps(const struct report_phase *total)
{
    const double median = total->summary.median;
    size_t warm = 0;
    if (!total->summary.first_is_outlier || !total->sample_count || (double)total->samples_ns[0] <= median)
        return 0;
    for (warm = 1; 2 * warm < total->sample_count && (double)total->samples_ns[warm] >= WARM_TIMES * median;)
        warm++;
    return warm;
}

/* The first counted steps are warm-up's matter. */
static void add_stalls(struct facts *facts)
{
    const struct report_phase *total = facts->total;
    const double median = total->summary.median;
    const bool first = has_first_steps(facts->cell, total);
    double sum = 0, excess = 0, warm = 0;
    facts->warm = first ? warm_steps(total) : 0;
    for (size_t i = 0; i < total->sample_count; i++) {
        const double own = (double)total->samples_ns[i];
        sum += own;
        warm += i < facts->warm ? own - median : 0;
        if ((!i && first) || i < facts->warm || !(own >= STALL_TIMES * median))
            continue;
        excess += own - median;
        facts->longest = fmax(facts->longest, own);
        facts->stalls++;
    }
    facts->stalled = sum > 0 ? excess / sum : 0;
    facts->warming = sum > 0 ? warm / sum : 0;
}

static void add_others(struct facts *facts)
{
    const struct machine_use *use = &facts->cell->use;
    facts->crowded = !facts->on_card && ((use->others >= OTHERS_LEAST && use->idle <= IDLE_CROWDED) ||
                                         steal_of(facts->cell) >= STEAL_LEAST || use->throttled >= QUOTA_LEAST);
    facts->shared = facts->crowded || use->others >= OTHERS_LEAST;
}

static int longest_pass(const struct report_cell *cell)
{
    const int profiled = cell_longest_pass(cell);
    if (profiled >= 0)
        return profiled;
    for (int pass = PASS_COUNT - 1; pass >= 0; pass--)
        if (cell->passes[pass].present && cell->passes[pass].phases[PHASE_COUNT].summary.n)
            return pass;
    return -1;
}

static void add_kernels(struct facts *facts)
{
    const struct report_cell *cell = facts->cell;
    double flops = 0, time = 0;
    for (size_t k = 0; k < cell->kernel_count && facts->steps > 0; k++) {
        const struct report_kernel *kernel = &cell->kernels[k];
        if (kernel->pass != facts->pass)
            continue;
        facts->by[kernel->kernel_class][kernel->phase] += (double)kernel->total_ns / facts->steps;
        facts->calls[kernel->phase] += (double)kernel->calls / facts->steps;
        if (kernel->kernel_class == CLASS_MATMUL && is_known(kernel->flops)) {
            flops += kernel->flops;
            time += (double)kernel->total_ns;
        }
    }
    if (time > 0 && cell->ceilings.flops_per_s > 0)
        facts->matmul_roof = flops / time * 1e9 / cell->ceilings.flops_per_s;
}

bool facts_make(struct facts *facts, const struct report *report, const struct report_cell *cell, struct arena *arena)
{
    *facts = (struct facts){.report = report, .cell = cell, .arena = arena, .pass = longest_pass(cell)};
    facts->step = facts->noise = facts->busy = facts->idle = facts->matmul_roof = facts->cores = UNKNOWN_DOUBLE;
    facts->left = 1;
    facts->attached = cell->requested.command[0] != 0;
    facts->on_card = cell->requested.device[0] && !device_is_host(cell->requested.device);
    if (cell->device.units && cell->device.units != UNKNOWN_U32 && !facts->on_card)
        facts->cores = cell->device.units;
    add_others(facts);
    if (facts->pass < 0)
        return false;
    const struct report_pass *pass = &cell->passes[facts->pass];
    facts->total = &pass->phases[PHASE_COUNT];
    const struct summary *summary = &facts->total->summary;
    facts->noise = (summary->median_high - summary->median_low) / 2 / summary->median;
    add_stalls(facts);
    if (pass->warmup_rows || !pass->profiled_steps)
        return true;
    facts->steps = pass_steps(pass);
    facts->step = pass->wall_ns;
    facts->busy = pass->busy_ns;
    facts->idle = fmax(0, pass->wall_ns - pass->busy_ns);
    if (facts->on_card && facts->busy > 0 && summary->mean > 0)
        facts->left = fmax(0, 1 - facts->busy / summary->mean);
    add_kernels(facts);
    return true;
}
