/* What the new-run form says of the cells that it would start, before they are: modelled, but for the speed of a run that was. */
#pragma once
#include "profiles/profile.h"
#include "report/report.h"

#define FORM_LINES 2
#define FORM_LINE 200

/* Parameters and FLOPs of a step; planned memory against what was free, and how long it will take: as fast as the newest run of the
 * same device, precision and mode was, or no faster than its ceilings allow. Of several cells the largest, and the sum of the times. */
void form_estimate(const struct report *report, const struct cell *cells, int count, char lines[FORM_LINES][FORM_LINE]);
