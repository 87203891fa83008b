/* Pictures of a report: self-contained SVG, legible on light and dark. */
#pragma once
#include "report/report.h"

enum picture { PICTURE_CLASSES, PICTURE_LAYERS, PICTURE_HISTOGRAM, PICTURE_MEMORY, PICTURE_ROOFLINE, PICTURE_COUNT };
const char *picture_name(enum picture picture); /* "classes", for file names */

/* One picture of one cell, alone in an SVG document; false, and nothing appended, when the cell has no data for it. */
bool picture_draw(enum picture picture, const struct report_cell *cell, struct strbuf *out);

/* Pictures of the report as a whole: cells side by side on one scale, lines over an axis that is swept, and what
 * ranks computed and communicated. */
enum overview { OVERVIEW_CELLS, OVERVIEW_SWEEP, OVERVIEW_RANKS, OVERVIEW_COUNT };
const char *overview_name(enum overview overview); /* "cells", for file names */
bool overview_draw(enum overview overview, const struct report *report, struct strbuf *out);

/* A canvas that pictures draw on: shapes go to `body`, in pixels from its top left. Text is escaped here. */
struct canvas {
    struct strbuf body;
    double width, height;
};
void canvas_rect(struct canvas *canvas, double x, double y, double width, double height, const char *fill,
                 const char *tip);
void canvas_line(struct canvas *canvas, double x1, double y1, double x2, double y2, const char *stroke, bool dashed);
void canvas_text(struct canvas *canvas, double x, double y, const char *anchor, bool strong, const char *text);
/* Text on a filled shape. */
void canvas_label(struct canvas *canvas, double x, double y, const char *text);
void canvas_dot(struct canvas *canvas, double x, double y, double radius, const char *fill, const char *tip);
/* A square of a colour and what it stands for, at x; where the next one goes. */
double canvas_legend(struct canvas *canvas, double x, double y, const char *fill, const char *text);
extern const char *const svg_ink, *const svg_faint;
const char *svg_class_color(enum kernel_class kernel_class);
const char *svg_phase_color(enum phase phase);
const char *svg_kind_color(enum tensor_kind kind);

/* Round values for the marks of an axis from 0 to `most`: 1, 2 or 5 times a power of ten apart, at most `marks` of them above 0. */
double round_step(double most, int marks);
/* What bytes are counted in where the largest is `most`: its size and name. */
double byte_unit(double most, const char **name);
double time_unit(double most_ns, const char **name);

/* Of the whole report: svg_overview.c, svg_ranks.c. */
bool draw_cells(struct canvas *canvas, const struct report *report);
bool draw_sweep(struct canvas *canvas, const struct report *report);
bool draw_ranks(struct canvas *canvas, const struct report *report);

/* Draws on a canvas whose width is set and sets its height; false without data. svg_charts.c, svg_memory.c. */
bool draw_classes(struct canvas *canvas, const struct report_cell *cell);
bool draw_layers(struct canvas *canvas, const struct report_cell *cell);
bool draw_histogram(struct canvas *canvas, const struct report_cell *cell);
bool draw_memory(struct canvas *canvas, const struct report_cell *cell);
bool draw_roofline(struct canvas *canvas, const struct report_cell *cell);
