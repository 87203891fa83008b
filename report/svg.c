#include "report/svg.h"
#include "report/emit.h"
#include "report/escape.h"
#include <stdio.h>

#define WIDTH 860.0
#define MARGIN 16.0
#define TITLE_HEIGHT 34.0
#define LETTER 6.8   /* a wide guess of a letter's width at this size: nobody knows the reader's font */
#define MAX_CELLS 16 /* in the picture of a whole report */

/* A grey that reads on white and on black alike, and a fainter one for grids. */
const char *const svg_ink = "#7d8590", *const svg_faint = "#7d859055";

const char *svg_class_color(enum kernel_class kernel_class)
{
    /* The hues that the screen has for them (tui/theme.c). */
    static const char *const colors[CLASS_COUNT] = {
        [CLASS_MATMUL] = "#2f9fb0",     [CLASS_ATTENTION] = "#b05fc4",   [CLASS_SOFTMAX] = "#d68ade",
        [CLASS_NORM] = "#57a05a",       [CLASS_ELEMENTWISE] = "#c49a2a", [CLASS_EMBEDDING] = "#4c7fd6",
        [CLASS_LOSS] = "#c9504f",       [CLASS_OPTIMIZER] = "#7fa8f0",   [CLASS_COPY] = "#8a8f98",
        [CLASS_COLLECTIVE] = "#e8837c", [CLASS_OTHER] = "#7d8590"};
    return colors[kernel_class];
}

const char *svg_phase_color(enum phase phase)
{
    static const char *const colors[PHASE_COUNT] = {
        [PHASE_FWD] = "#57a05a", [PHASE_LOSS] = "#c49a2a", [PHASE_BWD] = "#b05fc4", [PHASE_OPT] = "#4c7fd6"};
    return phase < PHASE_COUNT && colors[phase] ? colors[phase] : "#7d8590";
}

const char *svg_kind_color(enum tensor_kind kind)
{
    static const char *const colors[TENSOR_KIND_COUNT] = {
        [TENSOR_INPUT] = "#8a8f98",          [TENSOR_CONSTANT] = "#b8bcc4", [TENSOR_PARAMETER] = "#57a05a",
        [TENSOR_PARAMETER_COPY] = "#9cc99e", [TENSOR_GRADIENT] = "#b05fc4", [TENSOR_OPTIMIZER] = "#4c7fd6",
        [TENSOR_SAVED] = "#2f9fb0",          [TENSOR_SCRATCH] = "#c49a2a",  [TENSOR_OUTPUT] = "#c9504f"};
    return colors[kind];
}

static void tip_text(struct canvas *canvas, const char *tip)
{
    if (tip) {
        strbuf_puts(&canvas->body, "><title>");
        escape_xml(&canvas->body, tip);
        strbuf_puts(&canvas->body, "</title>");
    }
}

void canvas_rect(struct canvas *canvas, double x, double y, double width, double height, const char *fill,
                 const char *tip)
{
    strbuf_printf(&canvas->body, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"", x, y,
                  width > 0 ? width : 0, height > 0 ? height : 0, fill);
    tip_text(canvas, tip);
    strbuf_puts(&canvas->body, tip ? "</rect>\n" : "/>\n");
}

void canvas_line(struct canvas *canvas, double x1, double y1, double x2, double y2, const char *stroke, bool dashed)
{
    strbuf_printf(&canvas->body, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"%s/>\n", x1, y1,
                  x2, y2, stroke, dashed ? " stroke-dasharray=\"4 3\"" : "");
}

void canvas_text(struct canvas *canvas, double x, double y, const char *anchor, bool strong, const char *text)
{
    strbuf_printf(&canvas->body, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>", x, y, anchor,
                  strong ? " font-weight=\"bold\" font-size=\"13\"" : "");
    escape_xml(&canvas->body, text);
    strbuf_puts(&canvas->body, "</text>\n");
}

void canvas_label(struct canvas *canvas, double x, double y, const char *text)
{
    strbuf_printf(&canvas->body, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"#ffffff\">", x, y);
    escape_xml(&canvas->body, text);
    strbuf_puts(&canvas->body, "</text>\n");
}

double canvas_legend(struct canvas *canvas, double x, double y, const char *fill, const char *text)
{
    canvas_rect(canvas, x, y, 10, 10, fill, NULL);
    canvas_text(canvas, x + 14, y + 9, "start", false, text);
    return x + 14 + LETTER * (double)utf8_length(text) + 14;
}

void canvas_dot(struct canvas *canvas, double x, double y, double radius, const char *fill, const char *tip)
{
    strbuf_printf(&canvas->body, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\" fill-opacity=\"0.8\"", x, y,
                  radius, fill);
    tip_text(canvas, tip);
    strbuf_puts(&canvas->body, tip ? "</circle>\n" : "/>\n");
}

static const struct {
    const char *name, *title;
    bool (*draw)(struct canvas *canvas, const struct report_cell *cell);
} pictures[PICTURE_COUNT] = {
    [PICTURE_CLASSES] = {"classes", "Kernel time by phase and class (measured)", draw_classes},
    [PICTURE_LAYERS] = {"layers", "Time by module, all blocks (measured)", draw_layers},
    [PICTURE_HISTOGRAM] = {"histogram", "Launches of the kernel that takes most time (measured)", draw_histogram},
    [PICTURE_MEMORY] = {"memory", "Memory over one step (planned)", draw_memory},
    [PICTURE_ROOFLINE] = {"roofline", "Roofline: modelled FLOPs and bytes over measured time", draw_roofline},
};

const char *picture_name(enum picture picture)
{
    return pictures[picture].name;
}

static void svg_open(struct strbuf *out, double height)
{
    strbuf_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" "
                  "font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"%s\">\n",
                  WIDTH, height, WIDTH, height, svg_ink);
}

/* Title and picture as a group at height `top`; the height they take, 0 without data. */
static double picture_group(enum picture picture, const struct report_cell *cell, double top, struct strbuf *out)
{
    struct canvas canvas = {.width = WIDTH - 2 * MARGIN};
    char title[256], heading[400];
    double height = 0;
    if (pictures[picture].draw(&canvas, cell)) {
        cell_title(&cell->requested, false, title, sizeof title);
        snprintf(heading, sizeof heading, "%s: %s", pictures[picture].title, title);
        strbuf_printf(out, "<g transform=\"translate(%.0f %.0f)\">\n", MARGIN, top + TITLE_HEIGHT);
        strbuf_add(out, canvas.body.text, canvas.body.length);
        strbuf_clear(&canvas.body);
        canvas_text(&canvas, 0, -14, "start", true, heading);
        strbuf_add(out, canvas.body.text, canvas.body.length);
        strbuf_puts(out, "</g>\n");
        height = canvas.height + TITLE_HEIGHT + MARGIN;
    }
    strbuf_release(&canvas.body);
    return height;
}

bool picture_draw(enum picture picture, const struct report_cell *cell, struct strbuf *out)
{
    struct strbuf group = {0};
    const double height = picture_group(picture, cell, 0, &group);
    if (height > 0) {
        svg_open(out, height);
        strbuf_add(out, group.text, group.length);
        strbuf_puts(out, "</svg>\n");
    }
    strbuf_release(&group);
    return height > 0;
}

static const struct {
    const char *name, *title;
    bool (*draw)(struct canvas *canvas, const struct report *report);
} overviews[OVERVIEW_COUNT] = {
    [OVERVIEW_CELLS] = {"cells", "A step of every cell, by phase, on one scale (measured, medians)", draw_cells},
    [OVERVIEW_SWEEP] = {"sweep", "A step's time (measured) and memory (planned) over what was swept", draw_sweep},
    [OVERVIEW_RANKS] = {"ranks", "What a rank computed and communicated in a step (measured), on one scale",
                        draw_ranks},
};

const char *overview_name(enum overview overview)
{
    return overviews[overview].name;
}

static double overview_group(enum overview overview, const struct report *report, double top, struct strbuf *out)
{
    struct canvas canvas = {.width = WIDTH - 2 * MARGIN};
    double height = 0;
    if (overviews[overview].draw(&canvas, report)) {
        strbuf_printf(out, "<g transform=\"translate(%.0f %.0f)\">\n", MARGIN, top + TITLE_HEIGHT);
        canvas_text(&canvas, 0, -14, "start", true, overviews[overview].title);
        strbuf_add(out, canvas.body.text, canvas.body.length);
        strbuf_puts(out, "</g>\n");
        height = canvas.height + TITLE_HEIGHT + MARGIN;
    }
    strbuf_release(&canvas.body);
    return height;
}

static bool put_document(const struct strbuf *group, double height, struct strbuf *out)
{
    if (height > 0) {
        svg_open(out, height);
        strbuf_add(out, group->text, group->length);
        strbuf_puts(out, "</svg>\n");
    }
    return height > 0;
}

bool overview_draw(enum overview overview, const struct report *report, struct strbuf *out)
{
    struct strbuf group = {0};
    const double height = overview_group(overview, report, 0, &group);
    const bool drawn = put_document(&group, height, out);
    strbuf_release(&group);
    return drawn;
}

/* The report as a whole, then all pictures of the first cells, one below the other. */
void emit_svg(const struct report *report, struct strbuf *out)
{
    struct strbuf groups = {0};
    double top = MARGIN;
    strbuf_puts(&groups, "");
    for (int overview = 0; overview < OVERVIEW_COUNT; overview++)
        top += overview_group((enum overview)overview, report, top, &groups);
    for (size_t i = 0; i < report->cells.count && i < MAX_CELLS; i++)
        for (int picture = 0; picture < PICTURE_COUNT; picture++)
            top += picture_group((enum picture)picture, report->cells.items[i], top, &groups);
    svg_open(out, top + MARGIN);
    strbuf_add(out, groups.text, groups.length);
    strbuf_puts(out, "</svg>\n");
    strbuf_release(&groups);
}
