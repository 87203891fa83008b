#include "base/limits.h"
#include "base/unknown.h"
#include "base/vec.h"
#include "report/build.h"
#include "report/compare.h"
#include "report/findings.h"
#include "report/modules.h"
#include "tui/answer_internal.h"
#include "tui/app.h"
#include "tui/format.h"
#include "tui/plot.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RENEW_NS 1000000000u

struct answer *answer_create(void)
{
    struct answer *answer = calloc(1, sizeof *answer);
    if (!answer)
        memory_exhausted(1, "screen");
    answer->run = NO_RUN;
    return answer;
}

void answer_free(struct answer *answer)
{
    if (answer)
        vec_release(&answer->items);
    free(answer);
}

static struct item *add(struct answer *answer, enum section section, const char *label, double fraction)
{
    struct item item = {.section = section, .fraction = fraction, .style = STYLE_BAR};
    snprintf(item.label, sizeof item.label, "%s", label);
    vec_push(&answer->items, item);
    return &answer->items.items[answer->items.count - 1];
}

static int by_fraction(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return x->fraction > y->fraction ? -1 : x->fraction < y->fraction;
}

static void sort_from(struct answer *answer, size_t first)
{
    qsort(answer->items.items + first, answer->items.count - first, sizeof *answer->items.items, by_fraction);
    if (answer->items.count - first > LIST_MAX)
        answer->items.count = first + LIST_MAX;
}

/* Kernel time a step, by phase and by class. */
static void add_sums(struct answer *answer, const struct report_cell *cell, double total)
{
    double phases[PLACE_PHASE_COUNT] = {0}, classes[CLASS_COUNT] = {0};
    const double steps = pass_steps(&cell->passes[answer->pass]);
    for (size_t k = 0; k < cell->kernel_count; k++) {
        if (cell->kernels[k].pass != answer->pass)
            continue;
        phases[cell->kernels[k].phase] += (double)cell->kernels[k].total_ns;
        classes[cell->kernels[k].kernel_class] += (double)cell->kernels[k].total_ns;
    }
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
        if (!(phases[phase] > 0))
            continue;
        struct item *item = add(answer, PHASES, phase_name((enum phase)phase), phases[phase] / total);
        item->style = (enum style)(STYLE_PHASE + phase);
        item->target = (uint64_t)phase;
        format_duration(item->right, steps > 0 ? phases[phase] / steps : UNKNOWN_DOUBLE);
    }
    const size_t first = answer->items.count;
    for (int class = 0; class < CLASS_COUNT; class ++) {
        if (!(classes[class] > 0))
            continue;
        struct item *item = add(answer, CLASSES, kernel_class_name((enum kernel_class) class), classes[class] / total);
        item->style = (enum style)(STYLE_CLASS + class);
        item->target = (uint64_t) class;
        format_duration(item->right, steps > 0 ? classes[class] / steps : UNKNOWN_DOUBLE);
    }
    sort_from(answer, first);
}

static double module_time(const struct report_layer *layer, int pass)
{
    double sum = 0;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
        sum += layer->phase[pass][phase]->inclusive_ns;
    return sum;
}

/* The parts of the model and of its blocks, over all blocks: what lies side by side, so that they add up. What blocks are in, however
 * deep (transformer.h.*), is seen in its parts, and so are the blocks themselves. */
static void add_modules(struct answer *answer, const struct report_cell *cell)
{
    struct modules modules = {0};
    const size_t first = answer->items.count;
    modules_tree(&modules, cell);
    const size_t count = modules.layer_count;
    bool *apart = arena_array(&modules.arena, bool, count + 1), *parent = arena_array(&modules.arena, bool, count + 1);
    for (size_t m = count; m-- > 1;) {
        const char *path = modules.layers[m].path;
        const int32_t above = modules.layers[m].parent;
        apart[m] |= parent[m] && path[0] && path[strlen(path) - 1] == '*';
        if (above >= 0) {
            parent[above] = true;
            apart[above] |= apart[m] || (path[0] && path[strlen(path) - 1] == '*');
        }
    }
    double whole = 0; /* of the model, and of what an attached program calls beside it */
    for (size_t m = 0; m < count; m++)
        whole += modules.layers[m].parent < 0 ? module_time(&modules.layers[m], answer->pass) : 0;
    for (size_t m = 1; m < count && whole > 0; m++) {
        const struct report_layer *layer = &modules.layers[m];
        const double time = module_time(layer, answer->pass);
        if (apart[m] || !(layer->parent <= 0 || apart[layer->parent]) || !(time > 0))
            continue;
        struct item *item = add(answer, MODULES, layer->path, time / whole);
        item->style = STYLE_BAR;
        format_duration(item->right, time);
    }
    sort_from(answer, first);
    modules_release(&modules);
}

static void add_kernels(struct answer *answer, const struct report_cell *cell, double total)
{
    const size_t first = answer->items.count;
    for (size_t k = 0; k < cell->kernel_count; k++) {
        const struct report_kernel *kernel = &cell->kernels[k];
        /* What is less than a thousandth is nobody's first question. */
        if (kernel->pass != answer->pass || !((double)kernel->total_ns > total / 1000))
            continue;
        struct item *item = add(answer, KERNELS, kernel->name, (double)kernel->total_ns / total);
        const double roof = roof_share(cell, kernel->flops, kernel->bytes, (double)kernel->total_ns);
        item->style = (enum style)(STYLE_PHASE + kernel->phase);
        item->target = kernel_id(kernel->name, kernel->phase, kernel->pass);
        snprintf(item->more, sizeof item->more, "%s", phase_name((enum phase)kernel->phase));
        format_roof(item->right, roof);
    }
    sort_from(answer, first);
}

static void add_step(struct answer *answer, double at, double ns)
{
    answer->steps[answer->step_count] = ns;
    answer->step_at[answer->step_count++] = at;
    answer->step_low = fmin(answer->step_low, ns);
    answer->step_high = fmax(answer->step_high, ns);
    answer->step_end = fmax(answer->step_end, at + ns);
}

/* The steps that count of the last minutes as they came, with what was done between them left open. */
static void take_live_steps(struct answer *answer, const struct run *run, const struct rank *rank)
{
    const int counted = build_counted_kind(run, rank, answer->pass);
    size_t first = rank->samples.count, kept = 0;
    const struct sample *samples = rank->samples.items;
    uint64_t newest = 0;
    while (first > 0 && kept < CURVE_MAX) {
        const struct sample *sample = &samples[first - 1];
        if (sample->pass == answer->pass && build_is_of_kind(sample, counted)) {
            newest = newest ? newest : sample->start;
            if (sample->start + CURVE_NS < newest)
                break;
            kept++;
        }
        first--;
    }
    uint64_t begin = 0;
    for (size_t i = first; i < rank->samples.count; i++)
        if (samples[i].pass == answer->pass && build_is_of_kind(&samples[i], counted)) {
            begin = begin ? begin : samples[i].start;
            add_step(answer, (double)(samples[i].start - begin), (double)samples[i].wall_ns);
        }
}

/* A report knows how long they took, and puts one behind the other. */
static void take_steps(struct answer *answer, const struct report_phase *total)
{
    size_t first = total->sample_count;
    double length = 0;
    while (first > 0 && total->sample_count - first < CURVE_MAX && length < CURVE_NS)
        length += (double)total->samples_ns[--first];
    double at = 0;
    for (size_t i = first; i < total->sample_count; i++) {
        add_step(answer, at, (double)total->samples_ns[i]);
        at += (double)total->samples_ns[i];
    }
}

static void add_steps(struct answer *answer, const struct app *app, const struct report_cell *cell)
{
    const struct report_phase *total = &cell->passes[answer->pass].phases[PHASE_COUNT];
    const struct run *run = app->live.frozen ? NULL : live_run_of(&app->live, cell);
    char low[FORMAT_SIZE], high[FORMAT_SIZE], median[FORMAT_SIZE], span[FORMAT_SIZE];
    answer->step_count = 0;
    answer->step_low = INFINITY;
    answer->step_high = answer->step_end = 0;
    if (run)
        take_live_steps(answer, run, run_lead(run));
    answer->live = answer->step_count > 0;
    if (!answer->live)
        take_steps(answer, total);
    if (answer->step_count)
        snprintf(answer->steps_text, sizeof answer->steps_text, "%zu timed, median %s, %s to %s", total->sample_count,
                 format_duration(median, total->summary.median), format_duration(low, answer->step_low),
                 format_duration(high, answer->step_high));
    else
        snprintf(answer->steps_text, sizeof answer->steps_text,
                 cell->status == STATUS_RUNNING ? "no timed step yet" : "no step was timed");
    snprintf(answer->span_text, sizeof answer->span_text, answer->live ? "; the last %s" : "; %s in all",
             format_duration(span, answer->step_end));
    add(answer, STEPS, "steps", UNKNOWN_DOUBLE);
}

static void add_memory(struct answer *answer, const struct report_memory *memory)
{
    char peak[FORMAT_SIZE], total[FORMAT_SIZE], resident[FORMAT_SIZE];
    int at = 0;
    double highest = 0;
    answer->peak = 0;
    for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
        answer->kinds[kind] = 0;
    for (int node = 0; node < memory->curve_count; node++) {
        double sum = 0;
        for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
            sum += (double)memory->curve[(size_t)node * TENSOR_KIND_COUNT + (size_t)kind];
        if (sum > highest) {
            highest = sum;
            at = node;
        }
    }
    for (int kind = 0; memory->curve && highest > 0 && kind < TENSOR_KIND_COUNT; kind++)
        answer->kinds[kind] = (double)memory->curve[(size_t)at * TENSOR_KIND_COUNT + (size_t)kind];
    answer->peak = highest;
    if (!(highest > 0))
        return;
    snprintf(answer->memory_text, sizeof answer->memory_text, "peak %s of %s planned, resident %s",
             format_bytes(peak, highest),
             format_bytes(total, is_known_u64(memory->planned_total) ? (double)memory->planned_total : UNKNOWN_DOUBLE),
             format_bytes(resident, is_known_u64(memory->resident_peak) && memory->resident_peak
                                        ? (double)memory->resident_peak
                                        : UNKNOWN_DOUBLE));
    add(answer, MEMORY, "memory", UNKNOWN_DOUBLE);
}

/* The sentence that says what bounds the step, then what else was found. */
static void add_findings(struct answer *answer, const struct report *report, const struct report_cell *cell)
{
    struct arena arena = {0};
    struct findings findings;
    findings_make(&findings, report, cell, &arena);
    add(answer, FINDINGS, findings.verdict, UNKNOWN_DOUBLE);
    for (size_t i = 1; i < findings.count; i++)
        add(answer, FINDINGS, findings.items[i].sentence, UNKNOWN_DOUBLE)->target = i;
    arena_release(&arena);
}

static const char *note_of(const struct report_cell *cell, const char *key)
{
    for (size_t i = 0; i < cell->note_count; i++)
        if (strcmp(cell->notes[i].key, key) == 0)
            return cell->notes[i].text;
    return NULL;
}

static void put_fact(char *text, size_t size, const char *name, const char *value)
{
    const size_t used = strlen(text);
    if (value && used < size)
        snprintf(text + used, size - used, "%s%s %s", used ? ", " : "", name, value);
}

static void add_trust(struct answer *answer, const struct report_cell *cell)
{
    const struct ratio *overhead = &cell->passes[answer->pass].overhead;
    const struct device_telemetry *state = &cell->telemetry;
    char *text = answer->trust_text, value[128];
    const size_t size = sizeof answer->trust_text;
    text[0] = 0;
    answer->trust_style = STYLE_NORMAL;
    if (cell->status == STATUS_UNRELIABLE) {
        put_fact(text, size, "unreliable:", cell->reason);
        answer->trust_style = STYLE_WARN;
    }
    if (state->throttle[0]) {
        put_fact(text, size, "throttled:", state->throttle);
        answer->trust_style = STYLE_WARN;
    }
    overhead_text(overhead, value, sizeof value);
    put_fact(text, size, "profiler's overhead", value);
    if (is_known(cell->machine.steal)) {
        snprintf(value, sizeof value, "%.2f %%", 100 * cell->machine.steal);
        put_fact(text, size, "steal", value);
    }
    if (cell->use.others >= 0.01) {
        snprintf(value, sizeof value, "%.0f %%", 100 * cell->use.others);
        put_fact(text, size, "other programs", value);
    }
    put_fact(text, size, "load", note_of(cell, "load_average"));
    put_fact(text, size, "governor", note_of(cell, "governor"));
    if (is_known(state->sm_clock_mhz) && state->sm_clock_mhz > 0) {
        snprintf(value, sizeof value, "%.0f MHz", state->sm_clock_mhz);
        put_fact(text, size, "clock", value);
    }
    if (is_known(state->temperature_c) && state->temperature_c > 0) {
        snprintf(value, sizeof value, "%.0f °C", state->temperature_c);
        put_fact(text, size, "at", value);
    }
    if (state->other_processes && state->other_processes != UINT32_MAX) {
        snprintf(value, sizeof value, "%u", state->other_processes);
        put_fact(text, size, "others on the device", value);
        answer->trust_style = STYLE_WARN;
    }
    if (cell->dropped && is_known_u64(cell->dropped)) {
        snprintf(value, sizeof value, "%llu", (unsigned long long)cell->dropped);
        put_fact(text, size, "records lost", value);
        answer->trust_style = STYLE_WARN;
    }
    add(answer, TRUST, "trust", UNKNOWN_DOUBLE);
}

static void make(struct answer *answer, const struct app *app, const struct report_cell *cell)
{
    const struct report *report = app->report;
    char kept[sizeof((struct item *)0)->label] = "";
    enum section section = SECTION_COUNT;
    if (answer->selected < (int)answer->items.count) {
        memcpy(kept, answer->items.items[answer->selected].label, sizeof kept);
        section = answer->items.items[answer->selected].section;
    }
    answer->items.count = 0;
    answer->peak = 0;
    if (cell && answer->pass != NO_PASS) {
        double total = 0;
        for (size_t k = 0; k < cell->kernel_count; k++)
            total += cell->kernels[k].pass == answer->pass ? (double)cell->kernels[k].total_ns : 0;
        if (total > 0) {
            add_findings(answer, report, cell);
            add_sums(answer, cell, total);
            add_modules(answer, cell);
            add_kernels(answer, cell, total);
        }
        if (total > 0 || cell->passes[answer->pass].phases[PHASE_COUNT].sample_count)
            add_steps(answer, app, cell);
        add_memory(answer, &cell->memory);
        if (total > 0)
            add_trust(answer, cell);
    }
    /* The cursor stays on what it was on. */
    answer->selected = 0;
    for (size_t i = 0; i < answer->items.count; i++)
        if (answer->items.items[i].section == section && strcmp(answer->items.items[i].label, kept) == 0)
            answer->selected = (int)i;
}

bool answer_update(struct answer *answer, const struct app *app, const struct report_cell *cell)
{
    const uint32_t run = cell ? cell->run_id : NO_RUN;
    const int pass = app_pass(app, cell);
    const bool other = run != answer->run || pass != answer->pass || !answer->made_at;
    const uint64_t version = cell ? cell->version : 0;
    answer->braille = app->config.braille;
    if (!other && version == answer->version)
        return false;
    if (!other && cell && app->now - answer->made_at < RENEW_NS && cell->status == STATUS_RUNNING)
        return true;
    answer->run = run;
    answer->pass = pass;
    answer->version = version;
    answer->made_at = app->now ? app->now : 1;
    make(answer, app, cell);
    return false;
}

/* Keys. */

bool answer_any(const struct answer *answer)
{
    return answer->items.count > 0;
}

bool answer_selectable(const struct answer *answer)
{
    for (size_t i = 0; i < answer->items.count; i++)
        if (answer->items.items[i].height)
            return true;
    return false;
}

void answer_first(struct answer *answer)
{
    for (size_t i = 0; i < answer->items.count; i++)
        if (answer->items.items[i].height && answer->items.items[i].section != FINDINGS) { /* those are above */
            answer->selected = (int)i;
            return;
        }
}

/* The nearest drawn item in that direction: along it first, then across. */
bool answer_move(struct answer *answer, enum command command)
{
    if (answer->selected >= (int)answer->items.count)
        return false;
    const struct item *from = &answer->items.items[answer->selected];
    const bool down = command == COMMAND_DOWN || command == COMMAND_RIGHT;
    const bool across = command == COMMAND_LEFT || command == COMMAND_RIGHT;
    int best = -1, best_far = 0;
    for (size_t i = 0; i < answer->items.count; i++) {
        const struct item *to = &answer->items.items[i];
        if (!to->height || to == from)
            continue;
        const int dy = to->y - from->y, dx = to->x - from->x;
        const int along = across ? dx : dy, beside = across ? dy : dx;
        if (down ? along <= 0 : along >= 0)
            continue;
        const int far = abs(along) + abs(beside) * (across ? 1 : 8);
        if (best < 0 || far < best_far) {
            best = (int)i;
            best_far = far;
        }
    }
    if (best < 0)
        return across && command == COMMAND_RIGHT;
    answer->selected = best;
    return true;
}

/* The view of a finding's evidence. */
static void open_finding(const struct answer *answer, struct app *app, const struct report_cell *cell, size_t index)
{
    static const enum view_id views[SHOWN_IN_COUNT] = {VIEW_KERNELS, VIEW_LAYERS, VIEW_TIMELINE, VIEW_MEMORY,
                                                       VIEW_RUNS};
    struct focus focus = {.run = answer->run, .pass = answer->pass, .scope = NO_SCOPE, .compare = app->focus.compare};
    struct arena arena = {0};
    struct findings findings;
    findings_make(&findings, app->report, cell, &arena);
    const struct finding *finding = index < findings.count ? &findings.items[index] : NULL;
    if (!finding || finding->view == SHOWN_IN_RUNS)
        pick_facts(app, cell);
    else {
        app_open(app, views[finding->view], &focus);
        if (finding->view == SHOWN_IN_LAYERS && *finding->layer)
            layers_show_module(app, finding->layer);
    }
    arena_release(&arena);
}

void answer_open(struct answer *answer, struct app *app)
{
    const struct report_cell *cell = app_find_cell(app, answer->run);
    if (!cell || answer->selected >= (int)answer->items.count)
        return;
    const struct item *item = &answer->items.items[answer->selected];
    struct focus focus = {.run = answer->run, .pass = answer->pass, .scope = NO_SCOPE, .compare = app->focus.compare};
    const enum grouping kept = app->focus.grouping;
    app->follow = false;
    switch (item->section) {
    case FINDINGS:
        open_finding(answer, app, cell, (size_t)item->target);
        break;
    case PHASES:
    case CLASSES:
        app_open_group(app, cell, answer->pass, item->section == PHASES ? GROUP_PHASE : GROUP_CLASS,
                       (int32_t)item->target);
        break;
    case MODULES:
        app_open(app, VIEW_LAYERS, &focus);
        layers_show_module(app, item->label);
        break;
    case KERNELS:
        focus.grouping = kept;
        focus.kernel = item->target;
        app_open(app, VIEW_HISTOGRAM, &focus);
        break;
    case STEPS:
        app_open(app, VIEW_TIMELINE, &focus);
        break;
    case MEMORY:
        app_open(app, VIEW_MEMORY, &focus);
        break;
    default:
        pick_facts(app, cell);
        break;
    }
}

static int item_at(const struct answer *answer, int y, int x)
{
    for (size_t i = 0; i < answer->items.count; i++) {
        const struct item *item = &answer->items.items[i];
        if (item->height && y >= item->y && y < item->y + item->height && x >= item->x && x < item->x + item->width)
            return (int)i;
    }
    return -1;
}

bool answer_hit(const struct answer *answer, int y, int x)
{
    return item_at(answer, y, x) >= 0;
}

bool answer_click(struct answer *answer, int y, int x, bool active)
{
    const int item = item_at(answer, y, x);
    if (item < 0)
        return false;
    const bool again = active && item == answer->selected;
    answer->selected = item;
    return again;
}
