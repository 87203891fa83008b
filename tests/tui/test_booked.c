/* Presets that run on this processor, for real: the kernels' work is the plan's, and none is shown beyond what the device was measured
 * to do. */
#include "tests/cli/command.h"
#include "tui/format.h"
#include "tui/rows.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_pass(const struct report_cell *cell, int pass)
{
    double flops = 0;
    for (size_t k = 0; k < cell->kernel_count; k++) {
        const struct report_kernel *kernel = &cell->kernels[k];
        if (kernel->pass != pass)
            continue;
        flops += is_known(kernel->flops) ? kernel->flops : 0;
        const double share = roof_share(cell, kernel->flops, kernel->bytes, (double)kernel->total_ns);
        char text[FORMAT_SIZE];
        format_roof(text, share);
        if (share > 1.05 && strcmp(text, "cache?") != 0)
            fail_msg("%s: %.3f of the roof reads '%s'", kernel->name, share, text);
        if (share <= 1 && (strtod(text, NULL) > 100 || !strchr("0123456789", text[0])))
            fail_msg("%s: %.3f of the roof reads '%s'", kernel->name, share, text);
        /* And nothing would be saved at a roof that it is above. */
        assert_false(share >= 1 && roof_gain(0.5, share) > 0);
    }
    const double planned = cell->flops[pass] * cell->passes[pass].profiled_steps;
    if (!(planned > 0 && fabs(flops - planned) <= 1e-6 * planned))
        fail_msg("pass %d: %.17g FLOPs booked, %.17g planned", pass, flops, planned);
}

static void work_is_booked_once_on_this_machine(void **state)
{
    static const char *const runs[][2] = {{"tiny", "16"}, {"attention", "64"}, {"S", "8"}};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct outcome outcome;
        struct report report;
        struct error error = {0};
        char *path = path_in(*state, "booked.yaml");
        steptop_run(&outcome, "run", "-d", "cpu", "-m", runs[i][0], "-b", "1", "-c", runs[i][1], "--dtype", "fp32",
                    "--compile", "false,true", "-p", "fwd,fwd_bwd", "-w", "1", "-n", "1", "-B", "-o", path, NULL);
        expect(&outcome, 0, NULL, NULL);
        outcome_release(&outcome);
        if (!report_read(path, &report, &error))
            fail_msg("%s", error.text);
        size_t passes = 0;
        for (size_t c = 0; c < report.cells.count; c++)
            for (int pass = 0; pass < PASS_COUNT; pass++)
                if (report.cells.items[c]->passes[pass].profiled_steps) {
                    check_pass(report.cells.items[c], pass);
                    passes++;
                }
        assert_int_equal(passes, 4);
        report_free(&report);
        free(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(work_is_booked_once_on_this_machine, folder_setup, folder_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
