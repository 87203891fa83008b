/* What the steps say one beside the other: the first, those that stand still, those that spread, those that become slower. */
#include "report/rules.h"
#include <stdlib.h>
#include <string.h>

static bool warmup(const struct facts *facts, struct finding *finding)
{
    const struct report_phase *total = facts->total;
    const double median = total->summary.median;
    double longest = 0;
    if (!facts->warm)
        return false;
    for (size_t i = 0; i < facts->warm; i++)
        longest = fmax(longest, (double)total->samples_ns[i]);
    evidence_add(facts, finding, facts->warm > 1 ? "longest of the first counted steps" : "first counted step",
                 longest * 1e-6, "ms", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "median", median * 1e-6, "ms", EVIDENCE_MEASURED);
    evidence_interval(finding, total->summary.median_low * 1e-6, total->summary.median_high * 1e-6);
    finding->gain = facts->warming;
    finding->sentence =
        facts->warm > 1
            ? sentence(facts,
                       "The first %zu counted steps take up to %.3g times the median: they are still warm-up, and in "
                       "the mean.",
                       facts->warm, longest / median)
            : sentence(facts,
                       "The first counted step takes %.3g times the median: it is still warm-up, and in the mean.",
                       longest / median);
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

/* Time above the median of steps that take several medians. */
static bool stall(const struct facts *facts, struct finding *finding)
{
    const struct report_phase *total = facts->total;
    const struct program_facts *program = &facts->cell->program;
    if (!facts->stalls || 2 * facts->stalls > total->sample_count ||
        (facts->stalls == 1 && facts->longest < STALL_ALONE * total->summary.median))
        return false;
    if (program->compiled_steps >= facts->stalls) /* `recompile` says those */
        return false;
    const bool none_compiled = program->steps && !program->compiled_steps;
    evidence_add(facts, finding, "steps that stand still", (double)facts->stalls, "", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "the longest of them", facts->longest * 1e-6, "ms", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "median", total->summary.median * 1e-6, "ms", EVIDENCE_MEASURED);
    evidence_interval(finding, total->summary.median_low * 1e-6, total->summary.median_high * 1e-6);
    const bool seconds = facts->longest >= 1e9;
    finding->gain = facts->stalled;
    finding->sentence =
        sentence(facts,
                 "%zu of %zu steps stand still for up to %.3g %s, %.0f times the median: %.0f %% of "
                 "all time. Cannot tell whether %sgarbage collection, a checkpoint, an evaluation%s "
                 "or the disk did it, because a step's causes are not recorded.%s",
                 facts->stalls, total->sample_count, facts->longest * (seconds ? 1e-9 : 1e-6), seconds ? "s" : "ms",
                 facts->longest / total->summary.median, finding->gain * 100, none_compiled ? "" : "recompilation, ",
                 facts->crowded ? ", another program" : "", none_compiled ? " Nothing was compiled in them." : "");
    if (facts->crowded)
        finding->confidence = CONFIDENCE_POSSIBLE;
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

/* Steps in which torch.compile made a graph anew, after warm-up: of them, what is above the median. */
static bool recompile(const struct facts *facts, struct finding *finding)
{
    const struct report_phase *total = facts->total;
    const struct program_facts *program = &facts->cell->program;
    if (!program->steps || !program->compiled_steps)
        return false;
    const double excess = (double)program->compiled_ns - (double)program->compiled_steps * total->summary.median;
    evidence_add(facts, finding, "steps in which a graph was compiled", (double)program->compiled_steps, "",
                 EVIDENCE_MEASURED);
    evidence_add(facts, finding, "of", (double)program->steps, "steps", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "mean of those steps",
                 (double)program->compiled_ns * 1e-6 / (double)program->compiled_steps, "ms", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "median step", total->summary.median * 1e-6, "ms", EVIDENCE_MEASURED);
    evidence_interval(finding, total->summary.median_low * 1e-6, total->summary.median_high * 1e-6);
    evidence_add(facts, finding, "graph breaks", (double)program->graph_breaks, "", EVIDENCE_MEASURED);
    finding->gain = fmax(0, excess / (double)program->wall_ns);
    finding->sentence =
        sentence(facts,
                 "Recompilation: in %llu of %llu steps after warm-up a graph was compiled anew, which takes %.0f %% of "
                 "all time.",
                 (unsigned long long)program->compiled_steps, (unsigned long long)program->steps, finding->gain * 100);
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

static bool steps_spread(const struct facts *facts, double *tail)
{
    const struct summary *summary = &facts->total->summary;
    *tail = is_known(summary->p99) ? summary->p99 : summary->p95;
    size_t longer = 0;
    for (size_t i = 0; i < facts->total->sample_count; i++)
        longer += (double)facts->total->samples_ns[i] >= SPREAD_P99 * summary->median;
    return summary->n >= 20 && *tail / summary->median >= SPREAD_P99 && longer >= SPREAD_STEPS &&
           summary->p95 < STALL_TIMES * summary->median;
}

/* Where other programs ran beside it, `neighbours`, `steal` or `quota` says so instead. */
static bool spread(const struct facts *facts, struct finding *finding)
{
    const struct summary *summary = &facts->total->summary;
    double tail;
    if (facts->shared || !steps_spread(facts, &tail))
        return false;
    const char *which = is_known(summary->p99) ? "p99" : "p95";
    evidence_add(facts, finding, which, tail * 1e-6, "ms", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "median", summary->median * 1e-6, "ms", EVIDENCE_MEASURED);
    evidence_interval(finding, summary->median_low * 1e-6, summary->median_high * 1e-6);
    evidence_add(facts, finding, "mean", summary->mean * 1e-6, "ms", EVIDENCE_MEASURED);
    /* Steps that differ to both sides alike give nothing: the mean is the median. */
    finding->gain = fmax(0, 1 - summary->median / summary->mean);
    finding->sentence = sentence(facts,
                                 "Steps spread: %s is %.2g times the median. Without the long ones the mean would be "
                                 "%.0f %% less.",
                                 which, tail / summary->median, finding->gain * 100);
    finding->confidence = CONFIDENCE_POSSIBLE;
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

static int ascending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x > y ? 1 : x < y ? -1 : 0;
}

static double median_of(const struct facts *facts, const uint64_t *samples, size_t count)
{
    uint64_t *copy = arena_array(facts->arena, uint64_t, count + 1);
    memcpy(copy, samples, count * sizeof *copy);
    qsort(copy, count, sizeof *copy, ascending);
    return ((double)copy[(count - 1) / 2] + (double)copy[count / 2]) / 2;
}

/* The kernel of the last recorded step that took most beyond its mean over all steps. */
static const char *slower_kernel(const struct facts *facts)
{
    const struct report_cell *cell = facts->cell;
    double *last = arena_array(facts->arena, double, cell->kernel_count + 1), most = 0;
    const char *name = "";
    for (size_t i = 0; i < cell->launch_count; i++)
        if (cell->timeline[i].pass == facts->pass)
            last[cell->timeline[i].kernel] += (double)cell->timeline[i].duration_ns;
    for (size_t k = 0; k < cell->kernel_count && facts->steps > 0; k++) {
        const double more = last[k] - (double)cell->kernels[k].total_ns / facts->steps;
        if (cell->kernels[k].pass == facts->pass && more > most) {
            most = more;
            name = cell->kernels[k].name;
        }
    }
    return name;
}

/* Median distance of samples from the median of their own third: what steps differ by apart from any drift. */
static double noise_within(const struct facts *facts, const uint64_t *samples, size_t count, const double medians[3])
{
    uint64_t *distances = arena_array(facts->arena, uint64_t, count + 1);
    const size_t third = count / 3;
    for (size_t i = 0; i < count; i++) {
        const double own = medians[i < third ? 0 : i < count - third ? 1 : 2];
        distances[i] = (uint64_t)fabs((double)samples[i] - own);
    }
    return median_of(facts, distances, count);
}

/* Medians of the thirds of the steps, and what steps of a third differ by. */
struct thirds {
    double first, last, noise;
};

static bool steps_drift(const struct facts *facts, struct thirds *thirds)
{
    const struct report_phase *total = facts->total;
    const size_t third = total->sample_count / 3;
    if (total->sample_count < DRIFT_STEPS)
        return false;
    const double first = median_of(facts, total->samples_ns, third);
    const double middle = median_of(facts, total->samples_ns + third, total->sample_count - 2 * third);
    const double last = median_of(facts, total->samples_ns + total->sample_count - third, third);
    const double noise =
        noise_within(facts, total->samples_ns, total->sample_count, (const double[]){first, middle, last});
    *thirds = (struct thirds){first, last, noise};
    /* Each fifth takes longer than the one before: what grows does so all along, and a jump does not. */
    const size_t fifth = total->sample_count / 5;
    double before = median_of(facts, total->samples_ns, fifth);
    for (size_t f = 1; f < 5; f++) {
        const double own = median_of(facts, total->samples_ns + f * fifth, fifth);
        if (!(own - before >= DRIFT_STEADY * (last - first)))
            return false;
        before = own;
    }
    /* What grows does so in the middle, too; a neighbour that begins makes a jump. */
    return last / first - 1 >= DRIFT_LEAST && last - first >= DRIFT_MADS * noise &&
           middle - first >= DRIFT_BETWEEN * (last - first) && last - middle >= DRIFT_BETWEEN * (last - first);
}

const char *uneven_steps(const struct facts *facts)
{
    struct thirds thirds;
    double tail;
    if (facts->pass < 0)
        return NULL;
    return steps_drift(facts, &thirds) ? "become slower" : steps_spread(facts, &tail) ? "spread" : NULL;
}

static bool drift(const struct facts *facts, struct finding *finding)
{
    struct thirds thirds;
    if (facts->shared || !steps_drift(facts, &thirds))
        return false;
    const double first = thirds.first, last = thirds.last, noise = thirds.noise;
    finding->kernel = slower_kernel(facts);
    evidence_add(facts, finding, "first third", first * 1e-6, "ms", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "last third", last * 1e-6, "ms", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "what steps of a third differ by", noise * 1e-6, "ms", EVIDENCE_MEASURED);
    /* What grows has grown within the first third as well: back to where it began, at most to its shortest step. */
    double begin = first;
    for (size_t i = 0; i < facts->total->sample_count / 3; i++)
        begin = fmin(begin, (double)facts->total->samples_ns[i]);
    finding->gain = 1 - fmax(begin, first - (last - first) / 4) / last;
    if (memory_grows(facts)) /* `creep` names what likely does it */
        finding->confidence = CONFIDENCE_POSSIBLE;
    finding->sentence = sentence(
        facts, "The run becomes slower: the last third of its steps takes %.0f %% longer than the first%s%s%s.",
        (last / first - 1) * 100, *finding->kernel ? ". In the last step " : "", finding->kernel,
        *finding->kernel ? " is furthest above its mean" : "");
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

const struct rule rules_steps[] = {
    {"stall", "steps take 5 medians and more, the first one left out; one alone from 20 medians on",
     "Find what those steps have in common in the timeline",
     "the long steps are those of a checkpoint or of an evaluation that is wanted", false, stall},
    {"recompile", "of an attached program, torch.compile makes graphs anew after warm-up",
     "Shapes that stay (pad, drop the last batch), mark_dynamic, or more warm-up; TORCH_LOGS=recompiles names the "
     "guard",
     "the steps are as long with the same shapes all along", false, recompile},
    {"warmup", "the first counted step is an outlier, alone or with steps of 1.5 medians and more behind it",
     "More warm-up steps", "the first step is long after more of them, too", false, warmup},
    {"drift",
     "of 25 steps and more the last third is slower than the first by 4 MADs and 6 %, the middle lies between, and "
     "each fifth "
     "is "
     "slower than the one before",
     "Look for what grows: lists, graphs that are kept, memory, heat", "a longer run becomes fast again", false, drift},
    {"spread",
     "of 20 steps and more 3 take 1.3 times the median, as does p99 (p95 below 100), and the mean lies 3 % above it",
     "Pin threads, give the machine to this run alone, or make what steps do alike",
     "steps of the same work spread as far on an idle machine", false, spread},
};
RULE_TABLE(rules_steps);
