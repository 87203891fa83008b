/* Two reports side by side: cells that asked for the same, their steps, kernels and layers. */
#pragma once
#include "report/axis.h"
#include "report/compare.h"
#include "report/report.h"

/* One thing in both: a phase of a pass, a kernel of a phase, a layer in a phase. */
struct diff_row {
    const char *name;    /* phase, kernel, layer path; a document's */
    uint8_t pass, phase; /* PHASE_COUNT: the whole pass */
    double a_ns, b_ns;   /* median of a step's samples; kernels and layers: mean a profiled step; NaN: not there */
    struct ratio ratio;  /* b ÷ a */
    enum verdict verdict;
};

struct diff_cell {
    const struct report_cell *a, *b; /* NULL: only in the other report */
    struct diff_row *steps, *kernels, *layers;
    size_t step_count, kernel_count, layer_count;
    uint64_t row_steps; /* profiled steps that kernels and layers are over: the fewer of both */
    double scale_a, scale_b; /* what the rows' times were multiplied by: 1, or for a thousand tokens */
    bool status_worse;  /* ran, does not any more */
    bool regression;   /* a pass as a whole is slower, or status_worse */
};

struct diff {
    struct arena arena;
    struct diff_cell *cells;
    size_t cell_count, matched;
    size_t verdicts[VERDICT_COUNT]; /* of whole passes */
    double threshold;
    bool regression;
    bool few; /* cells: every phase's ratio has its interval */
    const struct axis *axis; /* that the cells of one report are compared across; NULL: two reports */
    const char *contended[2]; /* how a machine was busy with other things while the report was taken; NULL: it was not */
};

/* Compares a (before) with b (after). Cells match when they asked for the same model, shape, dtype, device, mode and
 * threads, however long and closely they were measured; the documents must outlive the diff. */
void diff_make(struct diff *diff, const struct report *a, const struct report *b, double threshold);
/* Within one report: each cell that is not the base of its axis with the one that is (axis_base). Where the axis changes the amount of
 * work, all times are for a thousand tokens. matched is 0 where no cells differ in the axis alone. */
void diff_across(struct diff *diff, const struct report *report, const struct axis *axis, double threshold);
void diff_free(struct diff *diff);

/* For a terminal, and for a pull request. `name_a` and `name_b` are the files; across an axis, `name_a` is all of them. */
void diff_text(const struct diff *diff, const char *name_a, const char *name_b, struct strbuf *out);
void diff_markdown(const struct diff *diff, const char *name_a, const char *name_b, struct strbuf *out);

/* Which findings came and went in a cell that is in both: a line each. */
void diff_findings(const struct diff_cell *cell, bool markdown, struct strbuf *out);
