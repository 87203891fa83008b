/* The sections of the Markdown report, each answering one question from the document; a section without data writes
 * nothing. */
#pragma once
#include "report/report.h"

#define MARKDOWN_DETAIL_CELLS 16 /* cells that get tables of their own; the others stay in the summaries */
#define MARKDOWN_TOP 12          /* kernels shown a phase */

/* The whole report: ten lines of summary, `first` (pictures) behind them, the first table, then all the rest and `rest` folded. */
void markdown_compose(const struct report *report, const char *first, const char *rest, struct strbuf *out);

/* markdown_summary.c */
void markdown_summary(const struct report *report,
                      struct strbuf *out); /* at most ten lines, to be read without the tables */

/* markdown_findings.c */
void markdown_verdict(const struct report *report, struct strbuf *out);  /* the one sentence, of up to three cells */
void markdown_findings(const struct report *report, struct strbuf *out); /* each finding with its evidence */

/* markdown_steps.c */
void markdown_steps(const struct report *report, struct strbuf *out);  /* phases: median, interval, spread, warnings */
void markdown_warmup(const struct report *report, struct strbuf *out); /* the first steps, one after the other */
void markdown_idle(const struct report *report, struct strbuf *out);   /* idle time by its reason */
void markdown_overhead(const struct report *report, struct strbuf *out); /* wall, busy, idle, attributed, overhead */

/* markdown_kernels.c */
void markdown_classes(const struct report *report, struct strbuf *out);   /* kernel class × phase; matmul's share */
void markdown_kernels(const struct report *report, struct strbuf *out);   /* the largest kernels of each phase */
void markdown_layers(const struct report *report, struct strbuf *out);    /* by module, the blocks added up */
void markdown_attention(const struct report *report, struct strbuf *out); /* softmax against matmul: time, FLOPs */

/* markdown_counters.c */
void markdown_counters(const struct report *report,
                       struct strbuf *out); /* what hardware counted of the largest kernels */

/* markdown_memory.c */
double markdown_mib(uint64_t bytes); /* NaN when unknown */
void markdown_memory(const struct report *report, struct strbuf *out);
/* Its parts, without a heading. */
void markdown_memory_peaks(const struct report *report, struct strbuf *out);   /* by phase */
void markdown_memory_kinds(const struct report *report, struct strbuf *out);   /* by category */
void markdown_memory_largest(const struct report *report, struct strbuf *out); /* tensors, with their layers */
void markdown_memory_blocks(const struct report *report, struct strbuf *out);  /* what a block keeps for backward */

/* markdown_collectives.c */
bool report_has_collectives(const struct report *report);
void collectives_table(const struct report *report, struct strbuf *out); /* a row a cell that is a collective alone */
void markdown_collectives(const struct report *report, struct strbuf *out);
/* markdown_ranks.c */
void markdown_ranks(const struct report *report, struct strbuf *out); /* communication, waiting, buckets, memory */

/* markdown_compare.c */
void markdown_compare(const struct report *report, struct strbuf *out); /* compile, dtype, checkpoint, pairwise */
enum compare_axis { COMPARE_COMPILE, COMPARE_DTYPE, COMPARE_CHECKPOINT };
void markdown_compare_axis(const struct report *report, enum compare_axis axis, struct strbuf *out); /* one of them */
/* Attention alone is its subject, without the model around it. */
bool cell_is_attention(const struct report_cell *cell);
void markdown_attention_sweep(const struct report *report, struct strbuf *out);

/* markdown_method.c */
void markdown_failures(const struct report *report, struct strbuf *out);
void markdown_method(const struct report *report, struct strbuf *out);

/* Shared: a cell's title as a heading's or cell's text, and which cells there is anything measured of. */
void markdown_title(const struct report_cell *cell, struct strbuf *out);
bool cell_has_kernels(const struct report_cell *cell);
/* The longest pass with counted profiled steps, -1 when there is none. */
int cell_longest_pass(const struct report_cell *cell);
