#include "report/markdown.h"
#include "report/modules.h"
#include "report/svg.h"
#include <stdio.h>
#include <string.h>

#define LABEL 170.0 /* width of the labels left of bars */
#define VALUE 130.0 /* of the figures right of them */
#define BAR 22.0
#define ROW 30.0

static double class_time(const struct report_cell *cell, int pass, int phase, int kernel_class)
{
    double sum = 0;
    for (size_t k = 0; k < cell->kernel_count; k++)
        if (cell->kernels[k].pass == pass && cell->kernels[k].phase == phase &&
            (int)cell->kernels[k].kernel_class == kernel_class)
            sum += (double)cell->kernels[k].total_ns;
    return sum / (double)cell->passes[pass].profiled_steps;
}

bool draw_classes(struct canvas *canvas, const struct report_cell *cell)
{
    const int pass = cell_has_kernels(cell) ? cell_longest_pass(cell) : -1;
    double time[PHASE_COUNT][CLASS_COUNT], total[PHASE_COUNT] = {0}, most = 0, y = 0, legend = 0;
    bool used[CLASS_COUNT] = {false};
    if (pass < 0)
        return false;
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
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
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
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
            x += time[phase][c] * scale;
        }
        snprintf(text, sizeof text, "%.2f ms", total[phase] * 1e-6);
        canvas_text(canvas, x + 6, y + 15, "start", false, text);
        y += ROW;
    }
    for (int c = 0; c < CLASS_COUNT; c++) {
        if (!used[c])
            continue;
        canvas_rect(canvas, LABEL + legend, y + 4, 10, 10, svg_class_color((enum kernel_class)c), NULL);
        canvas_text(canvas, LABEL + legend + 14, y + 13, "start", false, kernel_class_name((enum kernel_class)c));
        legend += 76;
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
        canvas_rect(canvas, LABEL, y + 1, module->forward_ns * scale, BAR / 2 - 1, "#4c8dd6", text);
        snprintf(text, sizeof text, "%.180s backward: %.3f ms", module->path, module->backward_ns * 1e-6);
        canvas_rect(canvas, LABEL, y + BAR / 2, module->backward_ns * scale, BAR / 2 - 1, "#d97b29", text);
        snprintf(text, sizeof text, "%.2f / %.2f ms", module->forward_ns * 1e-6, module->backward_ns * 1e-6);
        canvas_text(canvas, LABEL + fmax(module->forward_ns, module->backward_ns) * scale + 6, y + 15, "start", false,
                    text);
        y += BAR + 2;
    }
    modules_release(&modules);
    canvas_rect(canvas, LABEL, y + 4, 10, 10, "#4c8dd6", NULL);
    canvas_text(canvas, LABEL + 14, y + 13, "start", false, "forward");
    canvas_rect(canvas, LABEL + 80, y + 4, 10, 10, "#d97b29", NULL);
    canvas_text(canvas, LABEL + 94, y + 13, "start", false, "backward");
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

bool draw_histogram(struct canvas *canvas, const struct report_cell *cell)
{
    const struct report_kernel *kernel = largest_kernel(cell);
    const double height = 150, top = 18;
    uint64_t counts[40 * HISTOGRAM_BINS_PER_OCTAVE] = {0}, most = 0;
    int first = -1, last = 0;
    char text[400];
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
    const double width = canvas->width / (last - first);
    for (int bin = first; bin < last; bin++) {
        if (bin >= 40 * HISTOGRAM_BINS_PER_OCTAVE || !counts[bin])
            continue;
        const double low = histogram_bin_low(bin / HISTOGRAM_BINS_PER_OCTAVE, bin % HISTOGRAM_BINS_PER_OCTAVE);
        const double bar = height * (double)counts[bin] / (double)most;
        snprintf(text, sizeof text, "%.2f to %.2f us: %llu launches", low * 1e-3, low * exp2(1.0 / 32) * 1e-3,
                 (unsigned long long)counts[bin]);
        canvas_rect(canvas, (bin - first) * width, top + height - bar, fmax(width - 1, 0.5), bar, "#4c8dd6", text);
    }
    canvas_line(canvas, 0, top + height, canvas->width, top + height, svg_ink, false);
    for (int tick = 0; tick <= 4; tick++) {
        const double x = canvas->width * tick / 4, value = exp2((first + (last - first) * tick / 4.0) / 32);
        snprintf(text, sizeof text, "%.4g us", value * 1e-3);
        canvas_text(canvas, x, top + height + 14, tick == 0 ? "start" : tick == 4 ? "end" : "middle", false, text);
    }
    snprintf(text, sizeof text, "%.200s (%s, %llu launches): median %.1f us, p95 %.1f us", kernel->name,
             phase_name((enum phase)kernel->phase), (unsigned long long)kernel->calls, kernel->median_ns * 1e-3,
             kernel->p95_ns * 1e-3);
    canvas_text(canvas, 0, 8, "start", false, text);
    canvas->height = top + height + 20;
    return true;
}
