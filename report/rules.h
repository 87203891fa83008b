/* What a rule is made of, and the figures that rules share. */
#pragma once
#include "report/findings.h"
#include "report/thresholds.h"

/* Worked out once for a cell. Times are ns of one profiled step, NaN where not known. */
struct facts {
    const struct report *report; /* NULL: the cell alone */
    const struct report_cell *cell;
    struct arena *arena;
    int pass;                         /* the longest with profiled steps; else the longest with timed ones */
    const struct report_phase *total; /* of that pass */
    double step;                      /* wall time of a profiled step; all shares are of it */
    double noise;                     /* half width of the median's interval over the median; NaN */
    double steps;                     /* profiled ones; 0: none */
    double busy, idle;
    double by[CLASS_COUNT][PLACE_PHASE_COUNT]; /* sum of kernel times */
    double calls[PLACE_PHASE_COUNT];           /* launches a step */
    /* Of a card: the share of a timed step that its kernels leave; else 1. Recorded steps may say more, where recording costs the host
     * something, or the host is ahead of the card. */
    double left;
    double matmul_roof; /* modelled FLOPs of products over their time and the measured ceiling; NaN */
    bool attached, on_card;
    double cores;   /* that may be used; NaN */
    double stalled; /* share of all timed steps' time that lies above the median, of steps that stand still */
    size_t stalls;  /* how many those are */
    size_t
        warm; /* steps from the first on that are warm-up in the count: the first is an outlier, those behind it likewise long */
    double warming; /* share of all timed steps' time that these are above the median */
    double longest; /* of them, ns */
    /* Other programs used the machine's processors while the run went on; `crowded`: and left none idle, or the host or a quota took
     * them away. Then steps differ for that reason, whatever else there may be. */
    bool shared, crowded;
};

struct rule {
    const char *name;
    const char *condition; /* with its threshold, for `steptop help findings` */
    const char *remedy, *disproof;
    bool few_steps; /* it does not speak of a step's time: it may fire before there are enough of them */
    /* True: it fires, and has filled sentence, gain, evidence, layer, kernel, confidence and view (all of them zero, "" or NaN before;
     * remedy and disproof are the rule's unless it says otherwise). The mechanism drops what is within the noise. */
    bool (*fires)(const struct facts *facts, struct finding *finding);
};
/* False: nothing was timed. */
bool facts_make(struct facts *facts, const struct report *report, const struct report_cell *cell, struct arena *arena);

#define RULES_OF(name)                                                                                                 \
    extern const struct rule name[];                                                                                   \
    extern const size_t name##_count
RULES_OF(rules_host);
RULES_OF(rules_steps);
RULES_OF(rules_kernels);
RULES_OF(rules_model);
RULES_OF(rules_memory);
RULES_OF(rules_ranks);
RULES_OF(rules_device);
#define RULE_TABLE(name) const size_t name##_count = sizeof name / sizeof *name

/* Sum over phases of a class; over classes of a phase; shares of the step. */
double class_ns(const struct facts *facts, enum kernel_class kernel_class);
double phase_ns(const struct facts *facts, enum phase phase);
double share_of(const struct facts *facts, double ns);

/* Appends a figure to the finding's evidence. Rounded to four digits, so that a report that was written and read says the same. */
void evidence_add(const struct facts *facts, struct finding *finding, const char *name, double value, const char *unit,
                  enum evidence_label label);
void evidence_interval(struct finding *finding, double low, double high); /* of the one that was added last */

const char *sentence(const struct facts *facts, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The text of a note, or NULL. */
const char *note_text(const struct report_cell *cell, const char *key);
/* Share of the processors' time that the host took: as the worker saw it, else (a command of the user's) as the front did. */
double steal_of(const struct report_cell *cell);

/* That steptop may use, beside the run; NaN where not known. */
double processors_of_host(const struct facts *facts);

/* The module over all blocks ("layers.*.ffn") in which the kernels that `wanted` says yes to take most time: its path, or "". Without
 * `wanted` all of them. *share: its part of their time. */
typedef bool kernel_filter(const struct report_kernel *kernel);
const char *largest_layer(const struct facts *facts, kernel_filter *wanted, double *share);
/* Such a path for people: blocks that have no name above them (*.a) are said in words, "a of each block". */
const char *layer_words(const struct facts *facts, const char *path);
/* The kernel that takes most time among them, or NULL. */
const struct report_kernel *largest_kernel(const struct facts *facts, kernel_filter *wanted);
double filtered_ns(const struct facts *facts, kernel_filter *wanted);

/* Of an attached program: memory grows from third to third of the steps, beyond thresholds.h. */
bool memory_grows(const struct facts *facts);
/* "spread" or "become slower" where the timed steps do so beyond thresholds.h, else NULL. */
const char *uneven_steps(const struct facts *facts);

/* Another cell of the report that differs from this one in what `same` allows alone, with timed steps of the same pass; NULL. */
typedef bool cell_twin(const struct report_cell *own, const struct report_cell *other);
const struct report_cell *twin_find(const struct facts *facts, cell_twin *is_twin);
/* The next one from *index on, which is moved behind it. */
const struct report_cell *twin_next(const struct facts *facts, cell_twin *is_twin, size_t *index);
/* Ratio of the medians, other ÷ own; false unless the other is faster beyond noise. */
bool twin_faster(const struct facts *facts, const struct report_cell *other, struct ratio *ratio);
