#include "base/limits.h"
#include "report/escape.h"
#include "report/markdown.h"
#include "report/rules.h"
#include "report/svg.h"
#include <stdio.h>
#include <stdlib.h>

#define AXIS 92.0        /* room left of a plot for its scale */
#define PHASE_LABEL 26.0 /* room that a phase's name takes */

/* Kinds from the bottom up: what stays first, what comes and goes on top. */
static const enum tensor_kind stack[] = {TENSOR_PARAMETER, TENSOR_PARAMETER_COPY, TENSOR_GRADIENT,
                                         TENSOR_OPTIMIZER, TENSOR_CONSTANT,       TENSOR_INPUT,
                                         TENSOR_OUTPUT,    TENSOR_SAVED,          TENSOR_SCRATCH};
_Static_assert(sizeof stack / sizeof *stack == TENSOR_KIND_COUNT, "every kind has its place");

static double stacked(const struct report_memory *memory, int32_t node, int upto)
{
    double sum = 0;
    for (int s = 0; s <= upto; s++)
        sum += (double)memory->curve[(size_t)node * TENSOR_KIND_COUNT + stack[s]];
    return sum;
}

static void area(struct canvas *canvas, const struct report_memory *memory, int level, double scale, double height)
{
    const double step = (canvas->width - AXIS) / memory->curve_count;
    strbuf_printf(&canvas->body, "<path fill=\"%s\" d=\"M%.1f %.1f", svg_kind_color(stack[level]), AXIS, height);
    for (int32_t n = 0; n < memory->curve_count; n++) {
        const double y = height - stacked(memory, n, level) * scale;
        strbuf_printf(&canvas->body, "L%.1f %.1fH%.1f", AXIS + n * step, y, AXIS + (n + 1) * step);
    }
    strbuf_printf(&canvas->body, "V%.1fZ\"><title>%s</title></path>\n", height, tensor_kind_name(stack[level]));
}

/* A line where a phase begins, its name in the middle where it is wide enough for one. */
static void phases(struct canvas *canvas, const struct report_memory *memory, double step, double height)
{
    for (int32_t first = 0, end; first < memory->curve_count; first = end) {
        for (end = first; end < memory->curve_count && memory->curve_phase[end] == memory->curve_phase[first];)
            end++;
        canvas_line(canvas, AXIS + first * step, 0, AXIS + first * step, height, svg_ink, true);
        if ((end - first) * step >= PHASE_LABEL)
            canvas_text(canvas, AXIS + (first + end) * step / 2, height + 14, "middle", false,
                        phase_name((enum phase)memory->curve_phase[first]));
    }
}

bool draw_memory(struct canvas *canvas, const struct report_cell *cell)
{
    const struct report_memory *memory = &cell->memory;
    const double height = 190;
    double most = 0, legend = AXIS;
    char text[400];
    if (!memory->curve || memory->curve_count < 1 || memory->curve_count > 20000)
        return false;
    for (int32_t n = 0; n < memory->curve_count; n++)
        most = fmax(most, stacked(memory, n, TENSOR_KIND_COUNT - 1));
    if (most <= 0)
        return false;
    const double scale = height / most, step = (canvas->width - AXIS) / memory->curve_count;
    for (int level = TENSOR_KIND_COUNT - 1; level >= 0; level--)
        area(canvas, memory, level, scale, height);
    const char *unit;
    const double size = byte_unit(most, &unit), mark = round_step(most / size, 5);
    for (int tick = 0; tick * mark * size <= most * (1 + 1e-9); tick++) {
        const double y = height - tick * mark * size * scale;
        snprintf(text, sizeof text, "%g %s", tick * mark, unit);
        canvas_text(canvas, AXIS - 6, y + 4, "end", false, text);
        canvas_line(canvas, AXIS, y, canvas->width, y, svg_faint, false);
    }
    phases(canvas, memory, step, height);
    for (int level = 0; level < TENSOR_KIND_COUNT; level++) {
        bool used = false;
        for (int32_t n = 0; n < memory->curve_count && !used; n++)
            used = memory->curve[(size_t)n * TENSOR_KIND_COUNT + stack[level]] > 0;
        if (!used)
            continue;
        legend =
            canvas_legend(canvas, legend, height + 24, svg_kind_color(stack[level]), tensor_kind_name(stack[level]));
    }
    canvas->height = height + 42;
    if (memory->peak_at && *memory->peak_at) {
        snprintf(text, sizeof text, "highest: %.4g %s at %.300s", most / size, unit, memory->peak_at);
        canvas_text(canvas, AXIS, height + 52, "start", false, text);
        canvas->height += 18;
    }
    return true;
}

/* Logarithmic place of a value on an axis of `length` pixels. */
struct log_axis {
    double low, high, length;
};
static double place(const struct log_axis *axis, double value)
{
    return axis->length * (log10(value) - axis->low) / (axis->high - axis->low);
}

static bool has_point(const struct report_kernel *kernel)
{
    return kernel->flops > 0 && kernel->bytes > 0 && kernel->total_ns > 0;
}

static void roofline_axes(struct canvas *canvas, const struct log_axis *x, const struct log_axis *y)
{
    char text[48];
    for (double decade = ceil(x->low); decade <= x->high; decade++) {
        const double at = AXIS + place(x, pow(10, decade));
        snprintf(text, sizeof text, "%g", pow(10, decade));
        canvas_line(canvas, at, 0, at, y->length, svg_faint, false);
        canvas_text(canvas, at, y->length + 14,
                    decade == x->high  ? "end"
                    : decade == x->low ? "start"
                                       : "middle",
                    false, text);
    }
    for (double decade = ceil(y->low); decade <= y->high; decade++) {
        const double at = y->length - place(y, pow(10, decade));
        snprintf(text, sizeof text, "%g GFLOP/s", pow(10, decade - 9));
        canvas_line(canvas, AXIS, at, canvas->width, at, svg_faint, false);
        canvas_text(canvas, AXIS - 6, at + 4, "end", false, text);
    }
    canvas_text(canvas, canvas->width, y->length + 28, "end", false, "FLOP a byte");
}

#define NAMED_POINTS 6
#define NAME_MOST 28

/* Bytes of a name's first characters. */
static int prefix(const char *name)
{
    int bytes = 0;
    for (int characters = 0; name[bytes]; bytes++)
        if (((unsigned char)name[bytes] & 0xc0) != 0x80 && characters++ == NAME_MOST)
            break;
    return bytes;
}

struct name_box {
    double left, baseline, width;
};

static double point_radius(const struct report_kernel *kernel)
{
    return 3 + 9 * sqrt(fmin(fmax(kernel->share, 0), 1));
}

static bool names_meet(const struct name_box *a, const struct name_box *b)
{
    return fabs(a->baseline - b->baseline) <= 12 && a->left + a->width >= b->left && b->left + b->width >= a->left;
}

/* Does the name lie over a point? Its letters reach from 10 above its baseline to 3 below. */
static bool name_hides_point(const struct report_cell *cell, const struct log_axis *x, const struct log_axis *y,
                             const struct name_box *box)
{
    for (size_t k = 0; k < cell->kernel_count; k++) {
        const struct report_kernel *kernel = &cell->kernels[k];
        if (!has_point(kernel))
            continue;
        const double at = AXIS + place(x, kernel->flops / kernel->bytes);
        const double height = y->length - place(y, kernel->flops / (double)kernel->total_ns * 1e9);
        const double aside = at - fmin(fmax(at, box->left), box->left + box->width);
        const double above = height - fmin(fmax(height, box->baseline - 10), box->baseline + 3);
        if (hypot(aside, above) < point_radius(kernel))
            return true;
    }
    return false;
}

/* The kernels with the largest shares are named beside, above or below their points, where no name and no point is already. */
static void roofline_names(struct canvas *canvas, const struct report_cell *cell, const struct log_axis *x,
                           const struct log_axis *y)
{
    struct name_box placed[NAMED_POINTS];
    int count = 0;
    bool *seen = calloc(cell->kernel_count + 1, sizeof *seen);
    if (!seen)
        memory_exhausted(cell->kernel_count, "kernels");
    for (int tried = 0; tried < 4 * NAMED_POINTS && count < NAMED_POINTS; tried++) {
        const struct report_kernel *best = NULL;
        for (size_t k = 0; k < cell->kernel_count; k++)
            if (!seen[k] && has_point(&cell->kernels[k]) && (!best || cell->kernels[k].share > best->share))
                best = &cell->kernels[k];
        if (!best)
            break;
        seen[best - cell->kernels] = true;
        char text[NAME_MOST * 4 + 32];
        snprintf(text, sizeof text, "%.*s %s %.0f %%", prefix(best->name), best->name,
                 phase_name((enum phase)best->phase), best->share * 100);
        const double radius = point_radius(best), width = 6.2 * (double)utf8_length(text);
        const double at = AXIS + place(x, best->flops / best->bytes);
        const double middle = y->length - place(y, best->flops / (double)best->total_ns * 1e9) + 4;
        const double lefts[] = {at + radius + 3, at - radius - 3 - width, at - width / 2},
                     lines[] = {0, -radius - 10, radius + 10};
        bool done = false;
        for (int i = 0; i < 9 && !done; i++) {
            const struct name_box box = {lefts[i % 3], middle + lines[i / 3], width};
            done = box.left >= AXIS && box.left + width <= canvas->width && box.baseline >= 10 &&
                   box.baseline <= y->length - 3 && !name_hides_point(cell, x, y, &box);
            for (int p = 0; p < count; p++)
                done &= !names_meet(&placed[p], &box);
            if (done)
                placed[count] = box;
        }
        if (!done)
            continue;
        const bool left = placed[count].left < at - radius - width / 2;
        canvas_text(canvas, placed[count].left + (left ? width : 0), placed[count].baseline, left ? "end" : "start",
                    false, text);
        count++;
    }
    free(seen);
}

bool draw_roofline(struct canvas *canvas, const struct report_cell *cell)
{
    const double peak = cell->ceilings.flops_per_s, bandwidth = cell->ceilings.bytes_per_s;
    double low_x = 1e300, high_x = 0, low_y = 1e300, high_y = is_known(peak) && peak > 0 ? peak : 0;
    double legend = AXIS;
    bool drawn[CLASS_COUNT] = {false};
    char text[400];
    for (size_t k = 0; k < cell->kernel_count; k++) {
        const struct report_kernel *kernel = &cell->kernels[k];
        if (!has_point(kernel))
            continue;
        const double intensity = kernel->flops / kernel->bytes, rate = kernel->flops / (double)kernel->total_ns * 1e9;
        low_x = fmin(low_x, intensity), high_x = fmax(high_x, intensity);
        low_y = fmin(low_y, rate), high_y = fmax(high_y, rate);
    }
    if (high_x <= 0 || high_y <= 0)
        return false;
    const struct log_axis x = {floor(log10(low_x)), fmax(ceil(log10(high_x)), floor(log10(low_x)) + 1),
                               canvas->width - AXIS};
    const struct log_axis y = {floor(log10(low_y)), fmax(ceil(log10(high_y)), floor(log10(low_y)) + 1), 230};
    roofline_axes(canvas, &x, &y);
    if (is_known(peak) && is_known(bandwidth) && peak > 0 && bandwidth > 0) {
        const double left = pow(10, x.low), ridge = fmin(fmax(peak / bandwidth, left), pow(10, x.high));
        const double start = fmax(left, pow(10, y.low) / bandwidth);
        const double top = y.length - place(&y, peak);
        if (start < ridge)
            canvas_line(canvas, AXIS + place(&x, start), y.length - place(&y, fmin(start * bandwidth, peak)),
                        AXIS + place(&x, ridge), y.length - place(&y, fmin(ridge * bandwidth, peak)), svg_ink, false);
        canvas_line(canvas, AXIS + place(&x, ridge), top, canvas->width, top, svg_ink, false);
        snprintf(text, sizeof text, "roof, measured%s: %.1f GFLOP/s and %.1f GB/s",
                 note_text(cell, NOTE_CEILINGS) ? "" : " in this run", peak * 1e-9, bandwidth * 1e-9);
        canvas_text(canvas, AXIS, y.length + 28, "start", false, text);
    }
    for (size_t k = 0; k < cell->kernel_count; k++) {
        const struct report_kernel *kernel = &cell->kernels[k];
        if (!has_point(kernel))
            continue;
        const double intensity = kernel->flops / kernel->bytes, rate = kernel->flops / (double)kernel->total_ns * 1e9;
        drawn[kernel->kernel_class] = true;
        snprintf(text, sizeof text, "%.250s (%s): %.2f FLOP/byte, %.2f GFLOP/s, %.1f %% of the time", kernel->name,
                 phase_name((enum phase)kernel->phase), intensity, rate * 1e-9, kernel->share * 100);
        canvas_dot(canvas, AXIS + place(&x, intensity), y.length - place(&y, rate), point_radius(kernel),
                   svg_class_color(kernel->kernel_class), text);
    }
    roofline_names(canvas, cell, &x, &y);
    for (int c = 0; c < CLASS_COUNT; c++)
        if (drawn[c])
            legend = canvas_legend(canvas, legend, y.length + 38, svg_class_color((enum kernel_class)c),
                                   kernel_class_name((enum kernel_class)c));
    canvas->height = y.length + 56;
    return true;
}
