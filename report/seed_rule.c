#include "report/seed_rule.h"

void first_figures_of_cell(const struct report_cell *cell, struct first_figures *figures)
{
    struct timed_pass passes[PASS_COUNT] = {0};
    for (int pass = 0; pass < PASS_COUNT; pass++)
        for (int phase = 0; cell->passes[pass].present && phase <= PHASE_COUNT; phase++) {
            const struct report_phase *from = &cell->passes[pass].phases[phase];
            passes[pass].phases[phase] = (struct timed_phase){from->samples_ns, from->sample_count, &from->summary};
        }
    first_figures_of(passes, figures);
}
