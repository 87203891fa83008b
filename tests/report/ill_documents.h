/* Documents that are bound in one way each, and their cured twins: what the rules of the verdict are held against. */
#pragma once
#include "report/report.h"

#define STEP 10000000.0 /* ns */

struct ill {
    const char *rule;
    double gain;
    void (*make)(struct report *report, bool cured);
};
extern const struct ill ills[];
extern const size_t ill_count;

/* One cell of `steps` steps of 10 ms that differ by up to 0.2 %, on the CPU, and no kernel yet; the report is made, the caller frees it. */
struct report_cell *document(struct report *report, size_t steps);
void attached(struct report_cell *cell);
/* `share` of the step in `calls` launches of a kernel. */
struct report_kernel *kernel(struct report_cell *cell, const char *name, enum kernel_class class, enum phase phase,
                             double share, uint64_t calls);
/* The same of a copy, whose way is a field: its name says nothing. */
struct report_kernel *copy_of(struct report_cell *cell, enum copy_direction way, bool pageable, double share,
                              uint64_t calls);
void card(struct report_cell *cell);
/* Idle time of `why` for `share` of the step. */
void reason(struct report_cell *cell, enum idle_reason why, double share);
void make_loader(struct report *report, bool cured);
void make_stall(struct report *report, bool cured);
void make_spread(struct report *report, bool cured);
void make_drift(struct report *report, bool cured);
void make_layout(struct report *report, bool cured);
void make_attention(struct report *report, bool cured);
