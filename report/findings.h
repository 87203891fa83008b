/* The verdict: what bounds a step, from the report document alone, so that it holds for a run that goes on, for one that ended, for a
 * program that was attached to and for an old file alike. A rule (report/rules_*.c) is a condition, its words and an upper bound of
 * what its remedy can give; its thresholds are in report/thresholds.h. */
#pragma once
#include "report/report.h"

#define FINDINGS_MOST 5 /* that are shown of a cell, and kept in a file: the first and four more */
#define EVIDENCE_MOST 6

enum evidence_label { EVIDENCE_MEASURED, EVIDENCE_MODELLED, EVIDENCE_SAMPLED, EVIDENCE_LABEL_COUNT };
const char *evidence_label_name(enum evidence_label label);

/* A figure that a finding rests on. low and high: its 95 % interval, NaN where there is none. */
struct evidence {
    const char *name, *unit; /* "idle", "%" */
    double value, low, high;
    uint8_t label;
};

/* possible: the figures fit, and fit other causes as well. likely: no other cause is seen in them. measured: the remedy itself was
 * measured in the same report. */
enum confidence { CONFIDENCE_POSSIBLE, CONFIDENCE_LIKELY, CONFIDENCE_MEASURED, CONFIDENCE_COUNT };
const char *confidence_name(enum confidence confidence);

/* The view that shows the evidence; tui/ opens it. */
enum evidence_view {
    SHOWN_IN_KERNELS,
    SHOWN_IN_LAYERS,
    SHOWN_IN_TIMELINE,
    SHOWN_IN_MEMORY,
    SHOWN_IN_RUNS,
    SHOWN_IN_COUNT
};
const char *evidence_view_name(enum evidence_view view);

struct finding {
    const char *rule;     /* "launch" */
    const char *sentence; /* what it says, where, and what it rests on */
    const char *remedy;   /* what to try */
    const char *layer;    /* path of a module over all blocks, or "" */
    const char *kernel;   /* "" */
    const char *disproof; /* what would show it to be wrong */
    double gain;          /* of the step's time, at most: 0 to 1; NaN: cannot tell how much */
    uint8_t confidence, view;
    int order; /* of its rule, for those that give the same */
    struct evidence *evidence;
    size_t evidence_count;
};

struct findings {
    const char *verdict;   /* the one sentence; never empty */
    struct finding *items; /* possible behind likely; of the same, largest gain first and last what cannot tell it */
    size_t count;          /* that are shown */
    size_t all;            /* that were found, those first: for who asks whether a rule fires */
};

/* What is found in `cell`, in `arena`. `report` (or NULL) is what it is compared within: other cells of the same sweep. */
void findings_make(struct findings *findings, const struct report *report, const struct report_cell *cell,
                   struct arena *arena);

/* "idle 61 % (measured), …" */
void finding_evidence_text(const struct finding *finding, struct strbuf *out);
/* Text for a terminal: the verdict, then each finding with evidence, remedy and what would disprove it. */
void findings_text(const struct report *report, struct strbuf *out);
/* "at most 38 % of the step (1.6 ×)" or "cannot tell how much". */
void gain_text(double gain, char *text, size_t size);

/* The rules, as `steptop help findings` lists them. */
struct rule_info {
    const char *name, *condition, *remedy;
};
size_t rule_count(void);
struct rule_info rule_info(size_t index);
bool rule_known(const char *name, size_t length);
