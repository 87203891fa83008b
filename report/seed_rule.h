/* The figures of the first table (profiler/first_table.h) from a cell of the document. */
#pragma once
#include "profiler/first_table.h"
#include "report/report.h"

void first_figures_of_cell(const struct report_cell *cell, struct first_figures *figures);
