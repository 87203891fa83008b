#include "report/markdown.h"
#include "report/modules.h"
#include "report/svg.h"
#include <stdio.h>
#include <string.h>

#define LABEL 170.0 /* width of the labels left of bars */
#define VALUE 130.0 /* of the figures right of them */
#define SHARE 34.0  /* least width of a bar that has its share written on it */
#define COUNTS 44.0 /* of the launch counts left of a histogram */
#define BAR 22.0
#define ROW 30.0

static double class_time(const struct report_cell *cell, int pass, int phase, int kernel_class)
{
    double sum = 0;
    for (size_t k = 0; k < cell->kernel_count; k++)
        if (cell->kernels[k].pass == pass && cell->kernels[k].phase == phase &&
            (int)cell->kernels[k].kernel_class == kernel_class)
            sum += (double)cell->kernels[k].total_ns;
    return sum / pass_steps(&cell->passes[pass]);
}

bool draw_classes(struct canvas *canvas, const struct report_cell *cell)
{
    const int pass = cell_has_kernels(cell) ? cell_longest_pass(cell) : -1;
    double time[PLACE_PHASE_COUNT][CLASS_COUNT], total[PLACE_PHASE_COUNT] = {0}, most = 0, y = 0, legend = LABEL;
    bool used[CLASS_COUNT] = {false};
    if (pass < 0)
        return false;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
        for (int c = 0; c < CLASS_COUNT; c++) {
            time[phase][c] = class_time(cell, pass, phase, c);
            total[phase] += time[phase][c];
            used[c] = used[c] || time[phase][c] > 0;
        }
        most = fmax(most, total[phase]);
    }
    if (most <= 0)
        return false;
    const double scale = (canvas->width - LABEL - VALUE) / most;
    for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++) {
        char text[160];
        double x = LABEL;
        if (total[phase] <= 0)
            continue;
        canvas_text(canvas, LABEL - 8, y + 15, "end", false, phase_name((enum phase)phase));
        for (int c = 0; c < CLASS_COUNT; c++) {
            if (time[phase][c] <= 0)
                continue;
            snprintf(text, sizeof text, "%s, %s: %.3f ms, %.1f %%", phase_name((enum phase)phase),
                     kernel_class_name((enum kernel_class)c), time[phase][c] * 1e-6,
                     time[phase][c] / total[phase] * 100);
            canvas_rect(canvas, x, y, time[phase][c] * scale, BAR, svg_class_color((enum kernel_class)c), text);
            snprintf(text, sizeof text, "%.0f %%", time[phase][c] / total[phase] * 100);
            if (time[phase][c] * scale > SHARE)
                canvas_label(canvas, x + time[phase][c] * scale / 2, y + 15, text);
            x += time[phase][c] * scale;
        }
        snprintf(text, sizeof text, "%.2f ms", total[phase] * 1e-6);
        canvas_text(canvas, x + 6, y + 15, "start", false, text);
        y += ROW;
    }
    for (int c = 0; c < CLASS_COUNT; c++) {
        if (!used[c])
            continue;
        legend = canvas_legend(canvas, legend, y + 4, svg_class_color((enum kernel_class)c),
                               kernel_class_name((enum kernel_class)c));
    }
    canvas->height = y + 24;
    return true;
}

/* Modules down to the parts of a block: forward above backward in each row. */
bool draw_layers(struct canvas *canvas, const struct report_cell *cell)
{
    const int pass = cell_has_kernels(cell) && cell->layer_count ? cell_longest_pass(cell) : -1;
    struct modules modules = {0};
    double most = 0, y = 0;
    if (pass < 0)
        return false;
    modules_make(&modules, cell, pass);
    for (size_t m = 0; m < modules.list.count; m++)
        if (modules.list.items[m].depth > 0)
            most = fmax(most, fmax(modules.list.items[m].forward_ns, modules.list.items[m].backward_ns));
    const double scale = most > 0 ? (canvas->width - LABEL - VALUE) / most : 0;
    for (size_t m = 0; m < modules.list.count && most > 0; m++) {
        const struct module *module = &modules.list.items[m];
        char text[256];
        if (module->depth == 0 || module->depth > 3 || module->forward_ns + module->backward_ns < most / 500)
            continue;
        snprintf(text, sizeof text, "%.180s", module_label(module));
        canvas_text(canvas, 10.0 * module->depth, y + 15, "start", false, text);
        snprintf(text, sizeof text, "%.180s forward: %.3f ms", module->path, module->forward_ns * 1e-6);
        canvas_rect(canvas, LABEL, y + 1, module->forward_ns * scale, BAR / 2 - 1, svg_phase_color(PHASE_FWD), text);
        snprintf(text, sizeof text, "%.180s backward: %.3f ms", module->path, module->backward_ns * 1e-6);
        canvas_rect(canvas, LABEL, y + BAR / 2, module->backward_ns * scale, BAR / 2 - 1, svg_phase_color(PHASE_BWD),
                    text);
        snprintf(text, sizeof text, "%.2f / %.2f ms", module->forward_ns * 1e-6, module->backward_ns * 1e-6);
        canvas_text(canvas, LABEL + fmax(module->forward_ns, module->backward_ns) * scale + 6, y + 15, "start", false,
                    text);
        y += BAR + 2;
    }
    modules_release(&modules);
    canvas_legend(canvas, canvas_legend(canvas, LABEL, y + 4, svg_phase_color(PHASE_FWD), "forward"), y + 4,
                  svg_phase_color(PHASE_BWD), "backward");
    canvas->height = y + 24;
    return most > 0;
}

static const struct report_kernel *largest_kernel(const struct report_cell *cell)
{
    const struct report_kernel *largest = NULL;
    for (size_t k = 0; k < cell->kernel_count; k++)
        if (cell->kernels[k].histogram.word_count && (!largest || cell->kernels[k].total_ns > largest->total_ns))
            largest = &cell->kernels[k];
    return largest;
}

/* "16.78 ms" */
static void time_text(char *text, size_t size, double ns)
{
    static const struct {
        double ns;
        const char *name;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}};
    size_t unit = 0;
    while (unit < 3 && ns < units[unit].ns)
        unit++;
    const double value = ns / units[unit].ns;
    snprintf(text, size, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, units[unit].name);
}

static void histogram_axes(struct canvas *canvas, int first, int last, double top, double height, uint64_t most)
{
    char text[64];
    const char *unit;
    const double low = exp2(first / 32.0), high = exp2(last / 32.0), width = canvas->width - COUNTS;
    /* 1, 2 and 5 of each decade; where fewer than two of those are in sight, round steps. */
    int marks = 0;
    for (int pass = 0; pass < 2 && (!pass || marks < 2); pass++) {
        const double step = round_step(high - low, 5);
        double mark = pass ? ceil(low / step) * step : pow(10, floor(log10(low))), before = -1e300;
        for (int n = 0; mark <= high; n++) {
            const double x = COUNTS + width * log(mark / low) / log(high / low);
            if (mark >= low && x - before > 50) {
                const double size = time_unit(mark * (1 + 1e-9), &unit);
                snprintf(text, sizeof text, "%g %s", mark / size, unit);
                canvas_line(canvas, x, top + height, x, top + height + 3, svg_ink, false);
                canvas_text(canvas, x, top + height + 15, x > canvas->width - 20 ? "end" : "middle", false, text);
                before = x;
                marks++;
            }
            mark = pass ? mark + step : mark * (n % 3 == 1 ? 2.5 : 2);
        }
    }
    for (int half = most % 2 ? 2 : 1; half <= 2; half++) {
        const double y = top + height - height * half / 2;
        canvas_line(canvas, COUNTS, y, canvas->width, y, svg_faint, false);
        snprintf(text, sizeof text, "%llu", (unsigned long long)(most * (unsigned)half / 2));
        canvas_text(canvas, COUNTS - 6, y + 4, "end", false, text);
    }
    canvas_text(canvas, COUNTS - 6, top + height + 4, "end", false, "0");
    canvas_line(canvas, COUNTS, top + height, canvas->width, top + height, svg_ink, false);
}

bool draw_histogram(struct canvas *canvas, const struct report_cell *cell)
{
    const struct report_kernel *kernel = largest_kernel(cell);
    const double height = 150, top = 22;
    uint64_t counts[40 * HISTOGRAM_BINS_PER_OCTAVE] = {0}, most = 0;
    int first = -1, last = 0;
    char text[400], low_text[32], high_text[32];
    if (!kernel)
        return false;
    for (uint32_t i = 0; i < kernel->histogram.word_count; i++) {
        const uint32_t bin = kernel->histogram.words[i] >> 20;
        counts[bin] += kernel->histogram.words[i] & 0xfffff;
        most = counts[bin] > most ? counts[bin] : most;
        first = first < 0 ? (int)bin : first;
        last = (int)bin;
    }
    first = first > 4 ? first - 4 : 0;
    last = last + 5;
    histogram_axes(canvas, first, last, top, height, most);
    const double width = (canvas->width - COUNTS) / (last - first);
    for (int bin = first; bin < last; bin++) {
        if (bin >= 40 * HISTOGRAM_BINS_PER_OCTAVE || !counts[bin])
            continue;
        const double low = histogram_bin_low(bin / HISTOGRAM_BINS_PER_OCTAVE, bin % HISTOGRAM_BINS_PER_OCTAVE);
        const double bar = height * (double)counts[bin] / (double)most;
        snprintf(text, sizeof text, "%.2f to %.2f us: %llu launches", low * 1e-3, low * exp2(1.0 / 32) * 1e-3,
                 (unsigned long long)counts[bin]);
        canvas_rect(canvas, COUNTS + (bin - first) * width, top + height - bar, fmax(width - 1, 0.5), bar, "#4c8dd6",
                    text);
    }
    time_text(low_text, sizeof low_text, kernel->median_ns);
    time_text(high_text, sizeof high_text, kernel->p95_ns);
    snprintf(text, sizeof text, "%.200s (%s, %llu launches): median %s, p95 %s", kernel->name,
             phase_name((enum phase)kernel->phase), (unsigned long long)kernel->calls,
             is_known(kernel->median_ns) ? low_text : "n/a", is_known(kernel->p95_ns) ? high_text : "n/a");
    canvas_text(canvas, 0, 8, "start", false, text);
    canvas->height = top + height + 22;
    return true;
}
