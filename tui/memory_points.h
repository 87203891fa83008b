/* Memory's table of three points in training. */
#pragma once
#include "report/report.h"
#include "tui/canvas.h"

/* By category, by the plan; beside `base` where that is not NULL and has a plan, and the area is wide enough. */
void memory_points_draw(const struct area *area, const struct report_cell *cell, const struct report_cell *base);
