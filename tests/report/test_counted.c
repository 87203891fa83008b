/* Counters from the records to the rows, the file and the Markdown; the overhead's pairs. */
#include "emitted.h"
#include "report/build.h"
#include "report/counted.h"
#include "report/derive.h"
#include "synthetic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What a kernel's counters must add up to, from the entries of the aggregate. */
static void expected(const struct report_cell *cell, size_t kernel, uint64_t sums[REPORT_COUNTERS], uint64_t *samples)
{
    memset(sums, 0, REPORT_COUNTERS * sizeof *sums);
    *samples = 0;
    for (size_t e = 0; e < cell->entry_count; e++) {
        const struct report_entry *entry = &cell->entries[e];
        if (entry->kernel != kernel)
            continue;
        assert_non_null(entry->live);
        for (int c = 0; c < REPORT_COUNTERS; c++)
            sums[c] += entry->live->time.n * synthetic_count(entry->live->place, c);
        *samples += entry->live->time.n;
    }
}

static void reach_their_kernels(void **state)
{
    (void)state;
    struct run *run = synthetic_run("tiny", true, 3, 1); /* compiled: no kernel serves two nodes of one scope */
    struct report report, read;
    struct error error = {0};
    assert_non_null(run);
    synthetic_counters(run, "cycles,instructions,cache_misses,page_faults");
    report_init(&report);
    struct report_cell *cell = report_add_cell(&report);
    cell_build(cell, run);
    assert_string_equal(cell->counter_names[2], "cache_misses");
    assert_false(counted_work(cell));
    assert_true(cell->kernel_count > 10);
    int compared = 0;
    for (size_t k = 0; k < cell->kernel_count; k++) {
        const struct report_kernel *kernel = &cell->kernels[k];
        uint64_t sums[REPORT_COUNTERS], samples;
        assert_non_null(kernel->counters);
        assert_int_equal(kernel->counters->samples, kernel->calls);
        expected(cell, k, sums, &samples);
        if (samples != kernel->calls)
            continue; /* several nodes of one scope share a row of entries */
        for (int c = 0; c < REPORT_COUNTERS; c++)
            assert_int_equal(kernel->counters->values[c], sums[c]);
        assert_true(counted_ipc(cell, kernel) == (double)sums[1] / (double)sums[0]);
        assert_true(counted_mean(cell, kernel, "page_faults") == (double)sums[3] / (double)samples);
        assert_false(is_known(counted_mean(cell, kernel, "dram_bytes")));
        compared++;
    }
    assert_true(compared > 10);
    /* To the file and back. */
    char *text = emit(&report);
    if (!report_parse(text, strlen(text), "test.yaml", &read, &error))
        fail_msg("%s", error.text);
    for (size_t k = 0; k < cell->kernel_count; k++)
        assert_memory_equal(read.cells.items[0]->kernels[k].counters, cell->kernels[k].counters,
                            sizeof(struct report_counters));
    report_free(&read);
    free(text);
    report_free(&report);
    synthetic_free(run);
}

static void in_markdown(void **state)
{
    (void)state;
    struct run *run = synthetic_run("tiny", true, 3, 1);
    struct report report;
    struct strbuf text = {0};
    report_init(&report);
    struct report_cell *cell = report_add_cell(&report);
    cell_build(cell, run);
    report_emit(&report, FORMAT_MARKDOWN, &text);
    assert_null(strstr(text.text, "## Counters")); /* nothing was counted */
    text.length = 0;
    synthetic_counters(run, "dram_bytes,flops,occupancy_permille_ns,gpu_ns");
    cell_build(cell, run);
    assert_true(counted_work(cell));
    report_emit(&report, FORMAT_MARKDOWN, &text);
    const char *section = strstr(text.text, "## Counters");
    assert_non_null(section);
    /* The head's row: one launch a step, its node is known. */
    const struct report_kernel *kernel = NULL;
    const struct report_entry *entry = NULL;
    for (size_t e = 0; e < cell->entry_count && !kernel; e++)
        if (cell->entries[e].pass == PASS_FWD_BWD && cell->kernels[cell->entries[e].kernel].layers == 1 &&
            cell->entries[e].calls == 3) {
            entry = &cell->entries[e];
            kernel = &cell->kernels[entry->kernel];
        }
    assert_non_null(kernel);
    const double bytes = (double)synthetic_count(entry->live->place, 0),
                 flops = (double)synthetic_count(entry->live->place, 1);
    const double busy = (double)synthetic_count(entry->live->place, 2),
                 ns = (double)synthetic_count(entry->live->place, 3);
    char row[1024], wanted[9][32];
    const char *at = strstr(section, kernel->name), *end = at ? strchr(at, '\n') : NULL;
    assert_non_null(end);
    snprintf(row, sizeof row, "%.*s", (int)(end - at), at);
    snprintf(wanted[0], 32, "%.3f", bytes * 1e-6);
    snprintf(wanted[1], 32, "%.3f", kernel->bytes / 3 * 1e-6);
    snprintf(wanted[2], 32, "%.2f", bytes / (kernel->bytes / 3));
    snprintf(wanted[3], 32, "%.4g", flops * 1e-9);
    snprintf(wanted[4], 32, "%.1f", busy / 1000 / ns * 100);
    snprintf(wanted[5], 32, "%.1f", bytes / ns);
    for (int i = 0; i < 6; i++)
        if (!strstr(row, wanted[i]))
            fail_msg("%s is not in %s", wanted[i], row);
    strbuf_release(&text);
    report_free(&report);
    synthetic_free(run);
}

/* Step k's timed sample takes 100 + k, its profiled one a tenth more: only the right pairs give 1.1 and no spread. */
static void overhead_of(uint32_t steps, uint32_t every, uint32_t dropped_timed, uint32_t dropped_profiled,
                        double median, double tolerance)
{
    uint64_t timed[64], profiled[64];
    struct report_pass pass = {.present = true, .overhead = {UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, 0, 0}};
    size_t count = 0;
    for (uint32_t k = 0; k < steps; k++) {
        timed[k] = 1000000 * (100 + 10 * (uint64_t)k);
        if (k % every == 0)
            profiled[count++] = timed[k] + timed[k] / 10;
    }
    struct report_phase *total = &pass.phases[PHASE_COUNT];
    total->samples_ns = timed + dropped_timed;
    total->sample_count = steps - dropped_timed;
    total->profiled_ns = profiled + dropped_profiled;
    total->profiled_count = count - dropped_profiled;
    pass_derive(&pass, every);
    if (!(pass.overhead.median > median - tolerance && pass.overhead.median < median + tolerance))
        fail_msg("%u steps, every %u: %.4f", steps, every, pass.overhead.median);
}

static void overhead_pairs_neighbours(void **state)
{
    (void)state;
    overhead_of(20, 1, 0, 0, 1.1, 1e-9);
    overhead_of(20, 5, 0, 0, 1.1, 1e-9);
    overhead_of(19, 5, 0, 0, 1.1, 1e-9);
    overhead_of(21, 5, 0, 0, 1.1, 1e-9);
    /* An endless run: the oldest timed steps were dropped; the last step was a profiled one. */
    overhead_of(41, 5, 22, 0, 1.1, 1e-9);
    overhead_of(40, 5, 22, 0, 1.1,
                0.2); /* four timed steps after the last profiled one: neighbours to less than five */
    struct report_pass none = {.present = true, .overhead = {UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, 0, 0}};
    uint64_t one = 5;
    none.phases[PHASE_COUNT].samples_ns = &one;
    none.phases[PHASE_COUNT].sample_count = 1;
    pass_derive(&none, 0); /* nothing is profiled */
    assert_false(is_known(none.overhead.median));
}

/* A figure that is mostly the counter's own reading says no more than that the kernel's is less. */
static void mostly_the_reading_is_marked(void **state)
{
    (void)state;
    struct run *run = synthetic_run("tiny", true, 3, 1);
    struct report report, read;
    struct error error = {0};
    struct strbuf markdown = {0};
    assert_non_null(run);
    strcpy(run->counter_names[0], "task_clock_ns");
    strcpy(run->counter_names[1], "page_faults");
    synthetic_counters(run, "task_clock_ns,page_faults");
    report_init(&report);
    struct report_cell *cell = report_add_cell(&report);
    assert_false(is_known_u64(cell->counter_own[0]));
    run->counter_own[0] = run->counter_own[1] = UNKNOWN_U64;
    cell_build(cell, run);
    const struct report_kernel *kernel = &cell->kernels[0];
    const double mean = counted_mean(cell, kernel, "task_clock_ns");
    assert_true(mean > 0);
    assert_false(counted_mostly_own(cell, kernel, "task_clock_ns")); /* nobody knows */
    run->counter_own[0] = (uint64_t)(mean / 2);
    run->counter_own[1] = 0;
    cell_build(cell, run);
    kernel = &cell->kernels[0];
    assert_false(counted_mostly_own(cell, kernel, "task_clock_ns"));
    run->counter_own[0] = (uint64_t)(mean / 2) + 1;
    cell_build(cell, run);
    kernel = &cell->kernels[0];
    assert_true(counted_mostly_own(cell, kernel, "task_clock_ns"));
    assert_false(counted_mostly_own(cell, kernel, "page_faults"));
    report_emit(&report, FORMAT_MARKDOWN, &markdown);
    char text[64];
    snprintf(text, sizeof text, "≤ %.6g", mean);
    assert_non_null(strstr(markdown.text, text));
    /* It goes through the file. */
    char *yaml = emit(&report);
    if (!report_parse(yaml, strlen(yaml), "test.yaml", &read, &error))
        fail_msg("%s", error.text);
    assert_int_equal(read.cells.items[0]->counter_own[0], run->counter_own[0]);
    assert_true(counted_mostly_own(read.cells.items[0], &read.cells.items[0]->kernels[0], "task_clock_ns"));
    strbuf_release(&markdown);
    free(yaml);
    report_free(&read);
    report_free(&report);
    synthetic_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mostly_the_reading_is_marked),
        cmocka_unit_test(reach_their_kernels),
        cmocka_unit_test(in_markdown),
        cmocka_unit_test(overhead_pairs_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
