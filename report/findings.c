/* The mechanism: asks each rule, drops what is within the noise, orders what is left, and says it in one sentence. */
#include "report/findings.h"
#include "report/markdown.h"
#include "report/rules.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const struct rule *rules;
    const size_t *count;
} tables[] = {
    {rules_host, &rules_host_count},     {rules_steps, &rules_steps_count},   {rules_kernels, &rules_kernels_count},
    {rules_model, &rules_model_count},   {rules_memory, &rules_memory_count}, {rules_ranks, &rules_ranks_count},
    {rules_device, &rules_device_count},
};
#define TABLES (sizeof tables / sizeof *tables)

const char *evidence_label_name(enum evidence_label label)
{
    static const char *const names[EVIDENCE_LABEL_COUNT] = {"measured", "modelled", "sampled"};
    return names[label];
}

const char *confidence_name(enum confidence confidence)
{
    static const char *const names[CONFIDENCE_COUNT] = {"possible", "likely", "measured"};
    return names[confidence];
}

const char *evidence_view_name(enum evidence_view view)
{
    static const char *const names[SHOWN_IN_COUNT] = {"kernels", "layers", "timeline", "memory", "runs"};
    return names[view];
}

static const struct rule *rule_at(size_t index)
{
    for (size_t t = 0; t < TABLES; t++) {
        if (index < *tables[t].count)
            return &tables[t].rules[index];
        index -= *tables[t].count;
    }
    return NULL;
}

size_t rule_count(void)
{
    size_t count = 0;
    for (size_t t = 0; t < TABLES; t++)
        count += *tables[t].count;
    return count;
}

struct rule_info rule_info(size_t index)
{
    const struct rule *rule = rule_at(index);
    return rule ? (struct rule_info){rule->name, rule->condition, rule->remedy} : (struct rule_info){0};
}

bool rule_known(const char *name, size_t length)
{
    const struct rule *rule;
    for (size_t i = 0; (rule = rule_at(i)); i++)
        if (strlen(rule->name) == length && strncmp(rule->name, name, length) == 0)
            return true;
    return false;
}

void gain_text(double gain, char *text, size_t size)
{
    if (!is_known(gain))
        snprintf(text, size, "cannot tell how much");
    else if (gain >= 0.99)
        snprintf(text, size, "at most %.0f %% of the step", floor(gain * 100));
    else
        snprintf(text, size, "at most %.0f %% of the step (%.*f ×)", gain * 100, gain < 0.5 ? 2 : 1, 1 / (1 - gain));
}

/* What is merely possible stands behind what is likely; among the same the largest gain first, and last what cannot tell its gain, in the
 * order of the tables. */
static int by_gain(const void *a, const void *b)
{
    const struct finding *x = a, *y = b;
    const int possible = (x->confidence == CONFIDENCE_POSSIBLE) - (y->confidence == CONFIDENCE_POSSIBLE);
    const double left = is_known(x->gain) ? x->gain : -1, right = is_known(y->gain) ? y->gain : -1;
    if (possible)
        return possible;
    if (left < right || left > right)
        return left > right ? -1 : 1;
    return x->order - y->order;
}

static bool enough_steps(const struct facts *facts)
{
    return facts->pass >= 0 && facts->total->summary.n >= RULE_LEAST_STEPS;
}

/* A gain counts when it is worth a sentence and beyond the interval of the step. */
static bool beyond_noise(const struct facts *facts, const struct finding *finding)
{
    if (!is_known(finding->gain))
        return true;
    const double noise = is_known(facts->noise) ? facts->noise * RULE_BEYOND_NOISE : 0;
    return finding->gain >= RULE_LEAST_GAIN && finding->gain > noise;
}

static bool ask(const struct rule *rule, const struct facts *facts, struct finding *finding)
{
    *finding = (struct finding){.rule = rule->name,
                                .sentence = "",
                                .remedy = rule->remedy,
                                .layer = "",
                                .kernel = "",
                                .disproof = rule->disproof,
                                .gain = UNKNOWN_DOUBLE,
                                .confidence = CONFIDENCE_LIKELY};
    if (facts->pass < 0 && !rule->few_steps)
        return false;
    if (!rule->few_steps && !enough_steps(facts))
        return false;
    return rule->fires(facts, finding) && (rule->few_steps || beyond_noise(facts, finding));
}

struct part {
    const char *name;
    double share;
};

static int by_share(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    return x->share > y->share ? -1 : x->share < y->share;
}

/* "matmul 61 %, attention 18 %" */
static const char *what_is_left(const struct facts *facts)
{
    struct part parts[CLASS_COUNT + 1];
    for (int class = 0; class < CLASS_COUNT; class ++)
        parts[class] = (struct part){kernel_class_name((enum kernel_class) class),
                                     share_of(facts, class_ns(facts, (enum kernel_class) class))};
    parts[CLASS_COUNT] = (struct part){"idle", share_of(facts, facts->idle)};
    qsort(parts, CLASS_COUNT + 1, sizeof *parts, by_share);
    return sentence(facts, "%s %.0f %%, %s %.0f %%", parts[0].name, parts[0].share * 100, parts[1].name,
                    parts[1].share * 100);
}

static const char *healthy(const struct facts *facts)
{
    if (!facts->steps)
        return "Nothing that bounds the step was found in its times alone: no step was profiled.";
    const char *left = what_is_left(facts);
    if (is_known(facts->matmul_roof) && class_ns(facts, CLASS_MATMUL) > 0.5 * facts->step)
        return sentence(facts,
                        "Compute-bound: products at %.0f %% of the measured %s roof. What is left: %s of the step.",
                        fmin(100, facts->matmul_roof * 100), precision_name(facts->cell->effective_dtype), left);
    return sentence(facts, "Nothing found that would give more than %.0f %%. The step is %s.", RULE_LEAST_GAIN * 100,
                    left);
}

static const char *verdict_of(const struct facts *facts, const struct finding *first)
{
    char gain[64];
    const struct report_cell *cell = facts->cell;
    if (first) {
        gain_text(first->gain, gain, sizeof gain);
        return sentence(facts, "%s Try: %s. Gain: %s.", first->sentence, first->remedy, gain);
    }
    if (facts->pass < 0) {
        if (cell->status == STATUS_RUNNING || cell->status == STATUS_PENDING)
            return "Cannot tell yet what bounds the step: no step was timed.";
        return sentence(facts, "Cannot tell what bounds the step: no step was timed (%s).", status_name(cell->status));
    }
    if (!enough_steps(facts))
        return sentence(facts, "Cannot tell%s what bounds the step: %llu %s timed, and %d are the least for that.",
                        cell->status == STATUS_RUNNING ? " yet" : "", (unsigned long long)facts->total->summary.n,
                        facts->total->summary.n == 1 ? "step was" : "steps were", RULE_LEAST_STEPS);
    return healthy(facts);
}

void findings_make(struct findings *findings, const struct report *report, const struct report_cell *cell,
                   struct arena *arena)
{
    struct facts facts;
    const struct rule *rule;
    facts_make(&facts, report, cell, arena);
    *findings = (struct findings){.items = arena_array(arena, struct finding, rule_count())};
    for (size_t i = 0; (rule = rule_at(i)); i++) {
        struct finding *finding = &findings->items[findings->count];
        if (!ask(rule, &facts, finding))
            continue;
        finding->order = (int)i;
        if (is_known(finding->gain))
            finding->gain = floor(finding->gain * 1e4 + 0.5) / 1e4;
        findings->count++;
    }
    qsort(findings->items, findings->count, sizeof *findings->items, by_gain);
    findings->all = findings->count;
    if (findings->count > FINDINGS_MOST)
        findings->count = FINDINGS_MOST;
    findings->verdict = verdict_of(&facts, findings->count ? findings->items : NULL);
}

static void put_evidence(const struct evidence *evidence, struct strbuf *out)
{
    strbuf_printf(out, "%s %.4g%s%s", evidence->name, evidence->value, *evidence->unit ? " " : "", evidence->unit);
    if (is_known(evidence->low) && is_known(evidence->high))
        strbuf_printf(out, " [%.4g, %.4g]", evidence->low, evidence->high);
    strbuf_printf(out, " (%s)", evidence_label_name((enum evidence_label)evidence->label));
}

void finding_evidence_text(const struct finding *finding, struct strbuf *out)
{
    for (size_t i = 0; i < finding->evidence_count; i++) {
        strbuf_puts(out, i ? ", " : "");
        put_evidence(&finding->evidence[i], out);
    }
}

void findings_text(const struct report *report, struct strbuf *out)
{
    for (size_t i = 0; i < report->cells.count; i++) {
        struct arena arena = {0};
        struct findings findings;
        char title[256], gain[64];
        cell_title(&report->cells.items[i]->requested, false, title, sizeof title);
        findings_make(&findings, report, report->cells.items[i], &arena);
        strbuf_printf(out, "%s%s\n%s\n", i ? "\n" : "", title, findings.verdict);
        for (size_t f = 0; f < findings.count; f++) {
            const struct finding *finding = &findings.items[f];
            gain_text(finding->gain, gain, sizeof gain);
            strbuf_printf(out, "\n%zu. %s: %s\n   gain: %s, %s\n   evidence: ", f + 1, finding->rule, finding->sentence,
                          gain, confidence_name((enum confidence)finding->confidence));
            finding_evidence_text(finding, out);
            if (*finding->layer)
                strbuf_printf(out, "\n   layer: %s", finding->layer);
            if (*finding->kernel)
                strbuf_printf(out, "\n   kernel: %s", finding->kernel);
            strbuf_printf(out, "\n   try: %s\n   wrong if: %s\n", finding->remedy, finding->disproof);
        }
        arena_release(&arena);
    }
}
