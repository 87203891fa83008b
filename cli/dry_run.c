/* steptop run --dry-run: the cells with FLOPs, planned memory and whether they fit. Nothing runs. */
#include "base/unknown.h"
#include "cli/probe.h"
#include "cli/run.h"
#include "report/estimate.h"
#include "report/pipe_table.h"
#include <stdio.h>
#include <string.h>

#define DEVICES_MAX 32

/* Free memory of each device that the profile names, asked once. */
struct memory_of {
    char name[32];
    uint64_t free_bytes;
    char reason[256]; /* why it is not known */
};

static const struct memory_of *device_memory(struct memory_of *known, int *count, const char *name)
{
    for (int i = 0; i < *count; i++) {
        if (strcmp(known[i].name, name) == 0)
            return &known[i];
    }
    if (*count == DEVICES_MAX)
        return NULL;
    struct memory_of *entry = &known[(*count)++];
    struct device_info info;
    struct error error = {0};
    *entry = (struct memory_of){.free_bytes = UNKNOWN_U64};
    snprintf(entry->name, sizeof entry->name, "%s", name);
    if (probe_device(name, &info, &error))
        entry->free_bytes = info.free_bytes;
    else
        snprintf(entry->reason, sizeof entry->reason, "%.255s", error.text);
    return entry;
}

static void columns(struct pipe_table *table, unsigned passes, unsigned told, bool repeated, bool several)
{
    static const char *const headers[] = {
        [PASS_FWD] = "fwd GFLOP", [PASS_FWD_BWD] = "fwd_bwd GFLOP", [PASS_TRAIN_STEP] = "train_step GFLOP"};
    pipe_add_column(table, "", PIPE_NUMBER);
    pipe_add_columns(table, PIPE_TEXT, "device", "model");
    pipe_add_columns(table, PIPE_NUMBER, "batch_size", "context_length");
    pipe_add_columns(table, PIPE_TEXT, "dtype", "compile", "checkpoint");
    if (several) {
        pipe_add_column(table, "ranks", PIPE_NUMBER);
        pipe_add_column(table, "parallel", PIPE_TEXT);
        pipe_add_column(table, "bucket MB", PIPE_NUMBER);
        pipe_add_column(table, "gradients", PIPE_TEXT);
    }
    if (told & TELL_THREADS)
        pipe_add_column(table, "threads", PIPE_NUMBER);
    if (told & TELL_SEED)
        pipe_add_column(table, "seed", PIPE_NUMBER);
    if (repeated)
        pipe_add_column(table, "repetition", PIPE_NUMBER);
    pipe_add_columns(table, PIPE_NUMBER, "warmup", "steps");
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        if (passes & PASS_BIT(pass)) {
            pipe_add_column(table, headers[pass], PIPE_NUMBER);
            pipe_add_column(table, "with full T²", PIPE_NUMBER);
        }
    }
    pipe_add_columns(table, PIPE_NUMBER, "memory (MiB)", "free (MiB)");
    pipe_add_column(table, "fits", PIPE_TEXT);
}

int dry_run(const struct profile *profile)
{
    struct memory_of known[DEVICES_MAX];
    struct pipe_table table = {0};
    struct estimates estimates = {0};
    struct strbuf text = {0};
    struct error error = {0};
    int known_count = 0;
    size_t too_large = 0;
    unsigned passes = 0;
    bool done = false, several = false, together = false;
    for (size_t i = 0; i < profile->cells.count; i++) {
        passes |= profile->cells.items[i].passes;
        several |= profile->cells.items[i].ranks > 1;
    }
    columns(&table, passes, profile->cells.count ? profile->cells.items[0].told : 0, profile->repetitions > 1, several);
    for (size_t i = 0; i < profile->cells.count; i++) {
        const struct cell *cell = &profile->cells.items[i];
        struct estimate estimate;
        if (!estimates_cell(&estimates, cell, &estimate, &error)) {
            char title[160];
            cell_title(cell, false, title, sizeof title);
            error_prefix(&error, "cell %zu (%s)", i + 1, title);
            goto cleanup;
        }
        const struct memory_of *memory = device_memory(known, &known_count, cell->device);
        const uint64_t free_bytes = memory ? memory->free_bytes : UNKNOWN_U64;
        const bool fits = estimate.memory <= free_bytes / (uint64_t)cell_ranks_together(cell);
        pipe_integer(&table, (int64_t)i + 1);
        pipe_text(&table, cell->device);
        pipe_text(&table, cell->model.name);
        pipe_integer(&table, cell->batch_size);
        pipe_integer(&table, cell->context_length);
        pipe_text(&table, precision_name(cell->dtype));
        pipe_text(&table, cell->compile ? "true" : "false");
        pipe_text(&table, checkpoint_name(cell->checkpoint));
        if (several) {
            pipe_integer(&table, cell->ranks);
            pipe_text(&table, parallel_name(cell->parallel));
            pipe_number(&table, "%.0f", parallel_has_buckets(cell->parallel) ? cell->bucket_mb : UNKNOWN_DOUBLE);
            pipe_text(&table, cell->parallel == PARALLEL_NONE ? "" : gradient_dtype_name(cell->gradient_dtype));
        }
        if (cell->told & TELL_THREADS)
            pipe_integer(&table, cell->threads);
        if (cell->told & TELL_SEED)
            pipe_integer(&table, (int64_t)cell->seed);
        if (profile->repetitions > 1)
            pipe_integer(&table, cell->repetition + 1);
        pipe_integer(&table, cell->warmup);
        pipe_number(&table, "%.0f", cell->steps == STEPS_FOREVER ? UNKNOWN_DOUBLE : cell->steps);
        for (int pass = 0; pass < PASS_COUNT; pass++) {
            if (passes & PASS_BIT(pass)) {
                pipe_number(&table, "%.3f", estimate.flops[pass] / 1e9);
                pipe_number(&table, "%.3f", estimate.full_flops[pass] / 1e9);
            }
        }
        pipe_number(&table, "%.1f", (double)estimate.memory / 0x1p20);
        pipe_number(&table, "%.1f", is_known_u64(free_bytes) ? (double)free_bytes / 0x1p20 : UNKNOWN_DOUBLE);
        too_large += is_known_u64(free_bytes) && !fits;
        together |= cell_ranks_together(cell) > 1;
        pipe_text(&table, !is_known_u64(free_bytes) ? "n/a" : fits ? "yes" : "no");
    }
    pipe_finish(&table, &text);
    strbuf_printf(&text, "\n%zu cell%s", profile->cells.count, profile->cells.count == 1 ? "" : "s");
    if (too_large)
        strbuf_printf(&text, ", %zu of which will not fit (status oom%s)", too_large,
                      profile->on_oom == ON_OOM_SKIP_LARGER ? "; on_oom: skip_larger skips what needs more" : "");
    strbuf_puts(&text, ".\nFLOPs (a step) and memory (the plan's arena) are modelled; free memory is what the device "
                       "has now. FLOPs of "
                       "attention are those of the pairs that the causal mask leaves, T(T + 1)/2; papers and courses "
                       "often count all T², about "
                       "twice as many: the column beside has that.\n");
    if (together)
        strbuf_puts(&text, "Memory is a rank's; on the CPU all ranks of a cell have to fit together.\n");
    for (int i = 0; i < known_count; i++) {
        if (known[i].reason[0])
            strbuf_printf(&text, "%s: %s\n", known[i].name, known[i].reason);
    }
    done = print_all(text.text, text.length, &error);
cleanup:
    estimates_release(&estimates);
    if (!text.length)
        pipe_finish(&table, &text); /* releases the table */
    strbuf_release(&text);
    return done ? EXIT_OK : fail(&error);
}
