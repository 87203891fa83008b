#include "tui/answer.h"
#include "base/unknown.h"
#include "base/vec.h"
#include "report/compare.h"
#include "report/findings.h"
#include "report/modules.h"
#include "tui/app.h"
#include "tui/format.h"
#include "tui/plot.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RENEW_NS 1000000000u
#define CURVE_MAX 512
#define LIST_MAX 32

enum section { FINDINGS, PHASES, CLASSES, MODULES, KERNELS, STEPS, MEMORY, TRUST, SECTION_COUNT };

struct item {
    enum section section;
    char label[320], right[FORMAT_SIZE], more[16];
    double fraction; /* as a bar; NaN: none */
    enum style style;
    uint64_t target;         /* phase, class, kernel_id */
    int y, x, height, width; /* where it was drawn; height 0: it was not */
};

struct answer {
    VEC(struct item) items;
    int selected;
    uint32_t run;
    int pass;
    uint64_t version, made_at;
    double steps[CURVE_MAX], step_low, step_high, step_median;
    int step_count;
    double kinds[TENSOR_KIND_COUNT], peak;
    char steps_text[160], memory_text[160], trust_text[320];
    enum style trust_style;
};

struct answer *answer_create(void)
{
    struct answer *answer = calloc(1, sizeof *answer);
    if (!answer)
        abort();
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
    const double steps = (double)cell->passes[answer->pass].profiled_steps;
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
        sum += layer->phase[pass][phase].inclusive_ns;
    return sum;
}

/* The parts of the model and of its blocks, over all blocks: what lies side by side, so that they add up. */
static void add_modules(struct answer *answer, const struct report_cell *cell)
{
    struct modules modules = {0};
    const size_t first = answer->items.count;
    modules_tree(&modules, cell);
    const double whole = modules.layer_count ? module_time(&modules.layers[0], answer->pass) : 0;
    for (size_t m = 1; m < modules.layer_count && whole > 0; m++) {
        const struct report_layer *layer = &modules.layers[m];
        const char *path = layer->path, *parent = layer->parent >= 0 ? modules.layers[layer->parent].path : "";
        const size_t length = strlen(path), parent_length = strlen(parent);
        /* A block, and what holds the blocks, are seen in their parts. */
        const bool is_block = length > 0 && path[length - 1] == '*';
        const bool of_block = parent_length > 0 && parent[parent_length - 1] == '*';
        bool holds_blocks = false;
        for (size_t i = m + 1; i < modules.layer_count; i++)
            holds_blocks |= modules.layers[i].parent == (int32_t)m &&
                            modules.layers[i].path[strlen(modules.layers[i].path) - 1] == '*';
        if (is_block || holds_blocks || !(of_block || layer->parent <= 0))
            continue;
        const double time = module_time(layer, answer->pass);
        if (!(time > 0))
            continue;
        struct item *item = add(answer, MODULES, path, time / whole);
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
        format_percent(item->right, roof);
    }
    sort_from(answer, first);
}

static void add_steps(struct answer *answer, const struct report_phase *total, bool running)
{
    const size_t count = total->sample_count < CURVE_MAX ? total->sample_count : CURVE_MAX;
    char low[FORMAT_SIZE], high[FORMAT_SIZE], median[FORMAT_SIZE];
    answer->step_count = (int)count;
    answer->step_low = INFINITY;
    answer->step_high = 0;
    for (size_t i = 0; i < count; i++) {
        answer->steps[i] = (double)total->samples_ns[total->sample_count - count + i];
        answer->step_low = fmin(answer->step_low, answer->steps[i]);
        answer->step_high = fmax(answer->step_high, answer->steps[i]);
    }
    if (count)
        snprintf(answer->steps_text, sizeof answer->steps_text, "%zu timed, median %s, %s to %s", total->sample_count,
                 format_duration(median, total->summary.median), format_duration(low, answer->step_low),
                 format_duration(high, answer->step_high));
    else
        snprintf(answer->steps_text, sizeof answer->steps_text, running ? "no timed step yet" : "no step was timed");
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
    put_fact(text, size, "steal", note_of(cell, "steal"));
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
    if (cell->dropped) {
        snprintf(value, sizeof value, "%llu", (unsigned long long)cell->dropped);
        put_fact(text, size, "records lost", value);
        answer->trust_style = STYLE_WARN;
    }
    add(answer, TRUST, "trust", UNKNOWN_DOUBLE);
}

static void make(struct answer *answer, const struct report *report, const struct report_cell *cell)
{
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
            add_steps(answer, &cell->passes[answer->pass].phases[PHASE_COUNT], cell->status == STATUS_RUNNING);
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
    if (!other && version == answer->version)
        return false;
    if (!other && cell && app->now - answer->made_at < RENEW_NS && cell->status == STATUS_RUNNING)
        return true;
    answer->run = run;
    answer->pass = pass;
    answer->version = version;
    answer->made_at = app->now ? app->now : 1;
    make(answer, app->report, cell);
    return false;
}

/* Drawing. */

static void place(struct item *item, const struct area *area, int y, int x, int height, int width)
{
    item->y = area->y + y;
    item->x = area->x + x;
    item->height = height;
    item->width = width;
}

static double largest_of(const struct answer *answer, enum section section)
{
    double largest = 0;
    for (size_t i = 0; i < answer->items.count; i++)
        if (answer->items.items[i].section == section)
            largest = fmax(largest, answer->items.items[i].fraction);
    return largest;
}

/* label ▆▆▆▆ 55.1 8.29 ms; the bars beside the largest of its section */
static void draw_line(const struct answer *answer, const struct area *area, int y, struct item *item, bool active)
{
    const bool selected = active && item == &answer->items.items[answer->selected];
    /* A kernel's name says more than its bar. */
    const bool kernel = item->section == KERNELS;
    const int bar = kernel              ? (area->width >= 50 ? area->width / 8 : 4)
                    : area->width >= 50 ? area->width / 3
                                        : area->width / 5;
    const int more = item->more[0] ? 5 : 0, label = area->width - bar - 6 - 10 - 2 - more;
    char percent[FORMAT_SIZE], blocks[128];
    const enum style style = selected ? STYLE_SELECTED : STYLE_NORMAL;
    place(item, area, y, 0, 1, area->width);
    if (selected)
        area_fill(area, y, 0, 1, area->width, style, L' ');
    area_text_ends(area, y, more, label, style, item->label, NULL);
    if (more)
        area_text(area, y, 0, more - 1, selected ? style : item->style, item->more);
    format_bar(blocks, sizeof blocks, item->fraction / largest_of(answer, item->section), bar);
    area_text(area, y, more + label + 1, bar, selected ? style : item->style, blocks);
    area_text_right(area, y, more + label + 1 + bar, 6, style, format_percent(percent, item->fraction));
    area_text_right(area, y, more + label + bar + 8, 9,
                    selected                          ? style
                    : strcmp(item->right, "n/a") == 0 ? STYLE_DIM
                                                      : STYLE_NORMAL,
                    item->right);
}

static const struct {
    const char *title, *right;
} heads[] = {[PHASES] = {"phases", "a step"},
             [CLASSES] = {"classes", "a step"},
             [MODULES] = {"modules, all blocks", "a step"},
             [KERNELS] = {"kernels", "roof%"}};

static int count_of(const struct answer *answer, enum section section)
{
    int count = 0;
    for (size_t i = 0; i < answer->items.count; i++)
        count += answer->items.items[i].section == section;
    return count;
}

/* A section's head and as many of its lines as there is room for; the lines used. */
static int draw_section(struct answer *answer, const struct area *area, int y, int height, enum section section,
                        bool active)
{
    const int count = count_of(answer, section);
    if (count == 0 || height < 2 || y >= area->height)
        return 0;
    area_fill(area, y, 0, 1, area->width, STYLE_HEAD, L' ');
    area_text_fit(area, y, 0, area->width - 17, STYLE_HEAD, heads[section].title);
    area_text_right(area, y, area->width - 16, 6, STYLE_HEAD, "%");
    area_text_right(area, y, area->width - 9, 9, STYLE_HEAD, heads[section].right);
    int used = 1;
    for (size_t i = 0; i < answer->items.count && used < height; i++)
        if (answer->items.items[i].section == section)
            draw_line(answer, area, y + used++, &answer->items.items[i], active);
    return used;
}

static struct item *lone_item(struct answer *answer, enum section section)
{
    for (size_t i = 0; i < answer->items.count; i++)
        if (answer->items.items[i].section == section)
            return &answer->items.items[i];
    return NULL;
}

/* "steps   " and what is said of them, selected or not; the column behind. */
static int draw_title(const struct answer *answer, const struct area *area, int y, struct item *item, const char *text,
                      enum style style, bool active)
{
    const bool selected = active && item == &answer->items.items[answer->selected];
    if (selected)
        area_fill(area, y, 0, 1, area->width, STYLE_SELECTED, L' ');
    area_text(area, y, 0, 8, selected ? STYLE_SELECTED : STYLE_HEAD, item->label);
    return 8 + area_text_fit(area, y, 8, area->width - 8, selected ? STYLE_SELECTED : style, text);
}

/* The newest steps, a column each or several the mean of a column, between the shortest and the longest. */
static void draw_curve(const struct answer *answer, const struct area *area)
{
    const double range = answer->step_high - answer->step_low;
    const int columns = answer->step_count < area->width ? answer->step_count : area->width;
    const int wide = columns && area->width / columns >= 2 ? 2 : 1;
    for (int x = 0; x < columns; x++) {
        const int from = (int)((int64_t)x * answer->step_count / columns),
                  to = (int)((int64_t)(x + 1) * answer->step_count / columns);
        double sum = 0;
        for (int i = from; i < to; i++)
            sum += answer->steps[i];
        const double level = range > 0 ? (sum / (to - from) - answer->step_low) / range : 0.5;
        int eighths = 1 + scale_to(level, area->height * 8 - 1);
        for (int y = area->height - 1; y >= 0 && eighths > 0; y--, eighths -= 8)
            area_fill(area, y, x * wide, 1, wide, STYLE_BAR, eighths >= 8 ? 0x2588 : 0x2580 + eighths);
    }
}

/* What is live at the peak, largest first: a stretch of the line each, with its name where it has room. */
static void draw_kinds(const struct answer *answer, const struct area *area)
{
    bool drawn[TENSOR_KIND_COUNT] = {false};
    int x = 0;
    for (;;) {
        int largest = -1;
        char text[64], bytes[FORMAT_SIZE];
        for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
            if (!drawn[kind] && answer->kinds[kind] > 0 &&
                (largest < 0 || answer->kinds[kind] > answer->kinds[largest]))
                largest = kind;
        if (largest < 0)
            return;
        drawn[largest] = true;
        const double share = answer->kinds[largest] / answer->peak;
        int width = scale_to(share, area->width);
        if (width < 1)
            continue;
        if (x + width > area->width)
            width = area->width - x;
        area_fill(area, 0, x, 1, width, (enum style)(STYLE_KIND + largest),
                  kind_shade((enum tensor_kind)largest, area->canvas->ascii));
        snprintf(text, sizeof text, " %s %s ", tensor_kind_name((enum tensor_kind)largest),
                 format_bytes(bytes, answer->kinds[largest]));
        if (text_columns(text, area->canvas->ascii) + 1 < width)
            area_text(area, 0, x + 1, -1, STYLE_NORMAL, text);
        x += width;
    }
}

static void draw_bottom(struct answer *answer, const struct area *area, bool active)
{
    struct item *steps = lone_item(answer, STEPS), *memory = lone_item(answer, MEMORY),
                *trust = lone_item(answer, TRUST);
    const int curve = area->height >= 8 ? area->height - 5 : area->height >= 5 ? 1 : 0;
    int y = 0;
    if (steps && y < area->height) {
        const int x = draw_title(answer, area, y, steps, answer->steps_text, STYLE_NORMAL, active);
        const struct area plot = curve ? area_part(area, y + 1, 8, curve, area->width - 8)
                                       : area_part(area, y, x + 2, 1, area->width - x - 2);
        draw_curve(answer, &plot);
        place(steps, area, y, 0, 1 + curve, area->width);
        y += 1 + curve;
    }
    if (memory && y < area->height) {
        const int x = draw_title(answer, area, y, memory, answer->memory_text, STYLE_NORMAL, active);
        const struct area line =
            curve ? area_part(area, y + 1, 8, 1, area->width - 8) : area_part(area, y, x + 2, 1, area->width - x - 2);
        draw_kinds(answer, &line);
        place(memory, area, y, 0, 1 + (curve > 0), area->width);
        y += 1 + (curve > 0);
    }
    if (trust && y < area->height) {
        draw_title(answer, area, y, trust, answer->trust_text, answer->trust_style, active);
        place(trust, area, y, 0, 1, area->width);
    }
}

/* Phases, modules and kernels, a line each: names and shares, as many as have room. */
static void draw_short(struct answer *answer, const struct area *area, bool active)
{
    static const enum section lines[ANSWER_LINES] = {PHASES, MODULES, KERNELS};
    const bool ascii = area->canvas->ascii;
    for (int y = 0; y < ANSWER_LINES && y < area->height; y++) {
        int x = 0;
        for (size_t i = 0; i < answer->items.count; i++) {
            struct item *item = &answer->items.items[i];
            char percent[FORMAT_SIZE];
            if (item->section != lines[y])
                continue;
            format_percent(percent, item->fraction);
            const int name = text_columns(item->label, ascii), label = name < 24 ? name : 24;
            const int more = item->more[0] ? text_columns(item->more, ascii) + 1 : 0;
            const int columns = more + label + 1 + (int)strlen(percent);
            if (x + columns > area->width)
                break;
            const bool selected = active && item == &answer->items.items[answer->selected];
            if (selected)
                area_fill(area, y, x, 1, columns, STYLE_SELECTED, L' ');
            place(item, area, y, x, 1, columns);
            area_text(area, y, x, more, selected ? STYLE_SELECTED : item->style, item->more);
            area_text_ends(area, y, x + more, label,
                           selected             ? STYLE_SELECTED
                           : lines[y] == PHASES ? item->style
                                                : STYLE_NORMAL,
                           item->label, NULL);
            area_text(area, y, x + more + label + 1, -1, selected ? STYLE_SELECTED : STYLE_BOLD, percent);
            x += columns + 2;
        }
    }
}

/* As many lines of findings as the height allows; the lines used. */
static int draw_findings(struct answer *answer, const struct area *area, bool active)
{
    const int most = area->height >= 30 ? 4 : area->height >= 16 ? 1 : 0;
    int y = 0;
    for (size_t i = 0; i < answer->items.count && y < most; i++) {
        struct item *item = &answer->items.items[i];
        if (item->section != FINDINGS)
            continue;
        const bool selected = active && item == &answer->items.items[answer->selected];
        const enum style style = selected ? STYLE_SELECTED : y == 0 ? STYLE_BOLD : STYLE_NORMAL;
        if (selected)
            area_fill(area, y, 0, 1, area->width, style, L' ');
        area_text_fit(area, y, 0, area->width, style, item->label);
        place(item, area, y++, 0, 1, area->width);
    }
    return y;
}

void answer_draw(struct answer *answer, const struct area *whole, bool active)
{
    for (size_t i = 0; i < answer->items.count; i++)
        answer->items.items[i].height = 0;
    if (answer->items.count == 0)
        return;
    if (whole->height < ANSWER_LEAST_HEIGHT) {
        draw_short(answer, whole, active);
        return;
    }
    const int findings = draw_findings(answer, whole, active);
    const struct area rest = area_part(whole, findings, 0, whole->height - findings, whole->width), *area = &rest;
    const int lone = count_of(answer, STEPS) + count_of(answer, MEMORY) + count_of(answer, TRUST);
    const int bottom = area->height >= 30 ? 9 : area->height >= 18 ? 5 : lone;
    const int lists = area->height - bottom - (area->height > 12);
    const struct area below = area_part(area, area->height - bottom, 0, bottom, area->width);
    draw_bottom(answer, &below, active);
    const int across = area->width >= 120 ? 3 : 2, gap = 2;
    /* Beyond what a word, a bar and two figures need the width is the kernels'. */
    const int width = across == 3 ? (area->width - 2 * gap) * 3 / 10 : (area->width - gap) / 2;
    struct area column = area_part(area, 0, 0, lists, width);
    /* Where it is low, the phases leave room for the largest classes. */
    int y = draw_section(answer, &column, 0, lists / 2 + 1, PHASES, active);
    y += y && lists - y > 8;
    draw_section(answer, &column, y, lists - y, CLASSES, active);
    column = area_part(area, 0, width + gap, lists, across == 3 ? width : area->width - width - gap);
    const int modules = count_of(answer, MODULES) ? 1 + count_of(answer, MODULES) : 0;
    const int room = across == 3 ? lists : lists / 2 + lists % 2;
    y = draw_section(answer, &column, 0, modules < room ? modules : room, MODULES, active);
    if (across == 3)
        column = area_part(area, 0, 2 * (width + gap), lists, area->width - 2 * (width + gap));
    y = across == 3 ? 0 : y + (y && lists > 16);
    draw_section(answer, &column, y, lists - y, KERNELS, active);
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
