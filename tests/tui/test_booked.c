/* Presets that run on this processor, for real: the kernels' work is the plan's, and none is shown beyond what the device was measured
 * to do. `test_booked REPORT.yaml` holds that of a report of any device, and that no kernel computes faster than the device was
 * measured to: what a cache holds is read sooner, and not computed sooner. */
#include "model/model.h"
#include "tests/cli/command.h"
#include "tui/format.h"
#include "tui/rows.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* FLOPs and bytes of one step of a pass, by the plan that the cell was run from. */
static void plan_of(const struct report_cell *cell, int pass, double *flops, double *bytes)
{
    struct cell asked = cell->requested;
    struct plan_request request;
    struct plan_result result;
    struct error error = {0};
    asked.dtype = cell->effective_dtype;
    cell_plan_request(&asked, cell->fired, &request);
    struct plan *plan = plan_build(&request, &result, &error);
    if (!plan) {
        fail_msg("%s", error.text);
        abort(); /* the analyzer does not know that nobody comes here */
    }
    for (int32_t n = 0; n < plan->node_count; n++)
        if (pass_phases((enum pass)pass) >> plan->nodes[n].phase & 1) {
            *flops += plan->nodes[n].flops;
            *bytes += plan->nodes[n].bytes;
        }
    plan_free(plan);
}

static void agree(const struct report_cell *cell, int pass, const char *what, double booked, double planned)
{
    if (!(planned > 0 && fabs(booked - planned) <= 1e-6 * planned))
        fail_msg("%s %s %s %s: %.17g %s booked, %.17g planned", cell->requested.model.name,
                 precision_name(cell->effective_dtype), cell->effective_compile ? "compiled" : "eager",
                 pass_name((enum pass)pass), booked, what, planned);
}

/* Returns how many kernels are marked as beyond the roof. */
static int check_pass(const struct report_cell *cell, int pass)
{
    double flops = 0, bytes = 0, planned_flops = 0, planned_bytes = 0;
    int marked = 0;
    for (size_t k = 0; k < cell->kernel_count; k++) {
        const struct report_kernel *kernel = &cell->kernels[k];
        if (kernel->pass != pass)
            continue;
        flops += is_known(kernel->flops) ? kernel->flops : 0;
        bytes += is_known(kernel->bytes) ? kernel->bytes : 0;
        const double share = roof_share(cell, kernel->flops, kernel->bytes, (double)kernel->total_ns);
        char text[FORMAT_SIZE];
        format_roof(text, share);
        if (share > 1.05 && strcmp(text, "cache?") != 0)
            fail_msg("%s: %.3f of the roof reads '%s'", kernel->name, share, text);
        marked += share > 1.05;
        if (share <= 1 && (strtod(text, NULL) > 100 || !strchr("0123456789", text[0])))
            fail_msg("%s: %.3f of the roof reads '%s'", kernel->name, share, text);
        /* And nothing would be saved at a roof that it is above. */
        assert_false(share >= 1 && roof_gain(0.5, share) > 0);
    }
    const double steps = (double)cell->passes[pass].profiled_steps;
    plan_of(cell, pass, &planned_flops, &planned_bytes);
    agree(cell, pass, "FLOPs", flops, planned_flops * steps);
    agree(cell, pass, "bytes", bytes, planned_bytes * steps);
    agree(cell, pass, "FLOPs of the report", cell->flops[pass], planned_flops);
    return marked;
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

/* The report that was named, and how many of its kernels compute faster than the device was measured to. */
static void work_is_booked_once_in_a_report(void **state)
{
    struct report report;
    struct error error = {0};
    int cells = 0, too_fast = 0, marked = 0;
    if (!report_read(*state, &report, &error))
        fail_msg("%s", error.text);
    for (size_t c = 0; c < report.cells.count; c++) {
        const struct report_cell *cell = report.cells.items[c];
        if (cell->status != STATUS_OK && cell->status != STATUS_UNRELIABLE) {
            printf("booked: %s %s: %s, %s\n", cell->requested.model.name, precision_name(cell->requested.dtype),
                   status_name(cell->status), cell->reason);
            continue;
        }
        for (int pass = 0; pass < PASS_COUNT; pass++)
            if (cell->passes[pass].profiled_steps)
                marked += check_pass(cell, pass);
        for (size_t k = 0; k < cell->kernel_count; k++) {
            const struct report_kernel *kernel = &cell->kernels[k];
            const double rate = kernel->flops / (double)kernel->total_ns * 1e9 / cell->ceilings.flops_per_s;
            if (rate > 1.05)
                printf("booked: %s %s computes at %.3f of the ceiling\n", cell->requested.model.name, kernel->name,
                       rate);
            too_fast += rate > 1.05;
        }
        assert_true(is_known(cell->ceilings.flops_per_s) && is_known(cell->ceilings.bytes_per_s));
        cells++;
    }
    printf("booked: %d cells, %d kernels read from a cache, %d faster than the ceiling\n", cells, marked, too_fast);
    assert_true(cells > 0);
    assert_int_equal(too_fast, 0);
    report_free(&report);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        const struct CMUnitTest one[] = {cmocka_unit_test_prestate(work_is_booked_once_in_a_report, argv[1])};
        return cmocka_run_group_tests(one, NULL, NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(work_is_booked_once_on_this_machine, folder_setup, folder_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
