/* What the tests of the verdict ask of a document of one cell. */
#pragma once
#include "report/findings.h"
#include "report/report.h"

/* NULL: the rule has no finding. */
const struct finding *find(const struct findings *findings, const char *rule);
/* The rule is the first finding and promises `gain` (below 0: cannot tell). Frees the report. */
void is_first(struct report *report, const char *rule, double gain);
/* No finding, and a verdict all the same. Frees the report. */
void is_healthy(struct report *report);
/* The first document that is ill by `rule`; the caller frees it. */
void ills_make(const char *rule, struct report *report);
