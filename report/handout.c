/* The questions of the handout of CS336's second assignment, in its order: for each the part of the report that answers it, or the
 * command that would measure it. As CSV: the numbers alone, a row a figure. */
#include "report/axis.h"
#include "report/compare.h"
#include "report/escape.h"
#include "report/fields.h"
#include "report/markdown.h"
#include "report/pipe_table.h"
#include "report/seed_rule.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct question {
    const char *number, *text;
    void (*answer)(const struct report *report,
                   struct strbuf *out);       /* a section of the report; writes nothing when it cannot */
    bool (*can)(const struct report *report); /* NULL: the answer's text tells */
    const char *command;
};

static bool has_pass(const struct report *report, int pass, bool profiled)
{
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_pass *found = &report->cells.items[i]->passes[pass];
        if (found->present && found->phases[PHASE_COUNT].summary.n && (!profiled || found->profiled_steps))
            return true;
    }
    return false;
}

static bool sweeps_warmup(const struct report *report)
{
    return axis_is_swept(report, axis_of(AXIS_WARMUP));
}
static bool sweeps_context(const struct report *report)
{
    return axis_is_swept(report, axis_of(AXIS_CONTEXT_LENGTH));
}
static bool has_curve(const struct report *report)
{
    for (size_t i = 0; i < report->cells.count; i++)
        if (report->cells.items[i]->memory.curve)
            return true;
    return false;
}
static bool sweeps_ranks(const struct report *report)
{
    return axis_is_swept(report, axis_of(AXIS_RANKS));
}
static bool sweeps_buckets(const struct report *report)
{
    return axis_is_swept(report, axis_of(AXIS_BUCKET_MB));
}
static bool trains_and_infers(const struct report *report)
{
    return has_pass(report, PASS_FWD, true) &&
           (has_pass(report, PASS_TRAIN_STEP, true) || has_pass(report, PASS_FWD_BWD, true));
}
static bool times_backward(const struct report *report)
{
    return has_pass(report, PASS_FWD_BWD, false) || has_pass(report, PASS_TRAIN_STEP, false);
}
static void precision(const struct report *report, struct strbuf *out)
{
    markdown_compare_axis(report, COMPARE_DTYPE, out);
}
static void checkpointing(const struct report *report, struct strbuf *out)
{
    markdown_compare_axis(report, COMPARE_CHECKPOINT, out);
}
static void compiled(const struct report *report, struct strbuf *out)
{
    markdown_compare_axis(report, COMPARE_COMPILE, out);
}

/* A tensor of the residual stream: batch × context × d_model numbers of 4 bytes, in every precision. */
static double residual_bytes(const struct report_cell *cell)
{
    const struct cell *asked = &cell->requested;
    return asked->model.d_model > 0
               ? 4.0 * (double)asked->batch_size * (double)asked->context_length * (double)asked->model.d_model
               : UNKNOWN_DOUBLE;
}

static void residual(const struct report *report, struct strbuf *out)
{
    struct pipe_table table = {0};
    pipe_add_column(&table, "cell", PIPE_TEXT);
    pipe_add_column(&table, "batch x context x d_model", PIPE_TEXT);
    pipe_add_column(&table, "MiB", PIPE_NUMBER);
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        char title[256], shape[96];
        if (!is_known(residual_bytes(cell)))
            continue;
        cell_title(&cell->requested, false, title, sizeof title);
        snprintf(shape, sizeof shape, "%lld x %lld x %lld", (long long)cell->requested.batch_size,
                 (long long)cell->requested.context_length, (long long)cell->requested.model.d_model);
        pipe_text(&table, title);
        pipe_text(&table, shape);
        pipe_number(&table, "%.3f", residual_bytes(cell) / 0x1p20);
    }
    pipe_section(&table,
                 "\n## Residual stream\n\nThe residual stream is kept in fp32 in every precision: 4 bytes a "
                 "number (modelled).\n\n",
                 out);
}

/* The mean over a cell's ranks of a double of theirs. */
static double ranks_mean(const struct report_cell *cell, size_t offset)
{
    double sum = 0;
    for (size_t r = 0; r < cell->rank_count; r++)
        sum += *(const double *)(const void *)((const char *)&cell->ranks[r] + offset);
    return cell->rank_count ? sum / (double)cell->rank_count : UNKNOWN_DOUBLE;
}

static double ranks_resident(const struct report_cell *cell)
{
    double most = UNKNOWN_DOUBLE;
    for (size_t r = 0; r < cell->rank_count; r++)
        if (is_known_u64(cell->ranks[r].resident_peak))
            most = is_known(most) ? fmax(most, (double)cell->ranks[r].resident_peak)
                                  : (double)cell->ranks[r].resident_peak;
    return most;
}

/* One axis of several ranks: each step against that of the axis's base, and the bytes and times of communication above. */
static void ranks_axis(const struct report *report, enum axis_id id, struct strbuf *out)
{
    const struct axis *axis = axis_of(id);
    struct pipe_table table = {0};
    pipe_add_column(&table, axis->key, PIPE_TEXT);
    pipe_add_column(&table, "base", PIPE_TEXT);
    pipe_add_column(&table, "cell", PIPE_TEXT);
    pipe_add_column(&table, "step ms", PIPE_NUMBER);
    pipe_add_column(&table, "base ms", PIPE_NUMBER);
    pipe_add_column(&table, "this / base", PIPE_NUMBER);
    pipe_add_column(&table, "exposed ms", PIPE_NUMBER);
    pipe_add_column(&table, "base exposed ms", PIPE_NUMBER);
    pipe_add_column(&table, "resident MiB a rank", PIPE_NUMBER);
    pipe_add_column(&table, "base MiB", PIPE_NUMBER);
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i], *base = axis_base(report, axis, cell);
        const struct report_phase *a = base ? &base->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT] : NULL,
                                  *b = &cell->passes[PASS_TRAIN_STEP].phases[PHASE_COUNT];
        char is[96], was[96], title[256];
        if (!base || cell->rank_count < 2 || !a->summary.n || !b->summary.n)
            continue;
        const struct ratio ratio = compare_phases(a, b);
        axis->print(&cell->requested, is, sizeof is);
        axis->print(&base->requested, was, sizeof was);
        cell_title(&cell->requested, false, title, sizeof title);
        pipe_text(&table, is);
        pipe_text(&table, was);
        pipe_text(&table, title);
        pipe_number(&table, "%.3f", b->summary.median * 1e-6);
        pipe_number(&table, "%.3f", a->summary.median * 1e-6);
        pipe_number(&table, "%.3f", ratio.median);
        pipe_number(&table, "%.3f", ranks_mean(cell, offsetof(struct report_rank, exposed_ns)) * 1e-6);
        pipe_number(&table, "%.3f", ranks_mean(base, offsetof(struct report_rank, exposed_ns)) * 1e-6);
        pipe_number(&table, "%.1f", ranks_resident(cell) / 0x1p20);
        pipe_number(&table, "%.1f", ranks_resident(base) / 0x1p20);
    }
    pipe_section(
        &table,
        "\nMedians of the timed steps of train_step; exposed is communication during which nothing else ran, the "
        "mean over ranks; resident is the largest rank's (all measured).\n\n",
        out);
}
static void ranks_of_parallel(const struct report *report, struct strbuf *out)
{
    ranks_axis(report, AXIS_PARALLEL, out);
}
static void ranks_of_buckets(const struct report *report, struct strbuf *out)
{
    ranks_axis(report, AXIS_BUCKET_MB, out);
}
static void collectives_alone(const struct report *report, struct strbuf *out)
{
    if (report_has_collectives(report))
        collectives_table(report, out);
}

/* A cell goes this way, and another that differs in nothing else goes another. */
static bool compares_way(const struct report *report, enum parallel way)
{
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        if (cell->requested.parallel == way && axis_base(report, axis_of(AXIS_PARALLEL), cell))
            return true;
    }
    return false;
}
static bool compares_flat(const struct report *report)
{
    return compares_way(report, PARALLEL_FLAT);
}
static bool compares_overlap(const struct report *report)
{
    return compares_way(report, PARALLEL_OVERLAP) || compares_way(report, PARALLEL_BUCKET);
}
static bool shards_optimizer(const struct report *report)
{
    return compares_way(report, PARALLEL_ZERO1);
}
static bool shards_parameters(const struct report *report)
{
    return compares_way(report, PARALLEL_FSDP);
}

/* Both modes of attention alone, or of models. */
static bool compiles(const struct report *report, bool attention)
{
    bool seen[2] = {false};
    for (size_t i = 0; i < report->cells.count; i++)
        if (cell_is_attention(report->cells.items[i]) == attention)
            seen[report->cells.items[i]->requested.compile] = true;
    return seen[0] && seen[1];
}
static bool compiles_attention(const struct report *report)
{
    return compiles(report, true);
}
static bool compiles_model(const struct report *report)
{
    return compiles(report, false);
}

/* Numbers are those of the text of 2026 (version 26.1.3); what it no longer asks says of which year it is. */
static const struct question questions[] = {
    {"2.1.3 b", "Forward, backward and optimizer: mean and deviation over the timed steps", markdown_steps,
     times_backward, "steptop run --model small,medium,large --passes fwd,fwd_bwd,train_step --warmup 5 --steps 10"},
    {"2.1.3 c", "The effect of 0, 1, 2 and 5 warm-up steps", markdown_warmup, sweeps_warmup,
     "steptop run --model small --warmup 0,1,2,5 --steps 10"},
    {"2.1.4 a", "Total time of the forward pass; does it match the wall clock?", markdown_overhead, NULL,
     "steptop run --model small,medium --context-length 256,512,1024 --passes fwd --profile-every 1"},
    {"2.1.4 b", "The kernel with the most time forward, its calls a pass; the same with backward", markdown_kernels,
     NULL, "steptop run --model small,medium --context-length 256,512,1024 --passes fwd,fwd_bwd --profile-every 1"},
    {"2.1.4 c", "Kernels besides matrix products that matter", markdown_classes, NULL,
     "steptop run --model small,medium --context-length 256,512,1024 --passes fwd --profile-every 1"},
    {"2.1.4 d", "The share of matrix products, inference against a training step", markdown_classes, trains_and_infers,
     "steptop run --model small,medium --context-length 256,512,1024 --passes fwd,train_step --profile-every 1"},
    {"2.1.4 e", "Softmax against the products in attention: time and FLOPs", markdown_attention, NULL,
     "steptop run --model small,medium --context-length 256,512,1024 --compile false --passes fwd --profile-every 1"},
    {"2.1.5 c", "Mixed precision against fp32, by size", precision, NULL,
     "steptop run --model small,medium,large --dtype fp32,bf16 --passes fwd,fwd_bwd"},
    {"2.1.6 a", "Memory over a step, with its stages (the curve is the picture \"memory\": --html, --svg)",
     markdown_memory_kinds, has_curve, "steptop run --model xl --context-length 128,2048 --passes fwd,train_step"},
    {"2.1.6 b", "Peak memory by context length, forward and a training step", markdown_memory_peaks, sweeps_context,
     "steptop run --model xl --context-length 128,2048 --passes fwd,train_step"},
    {"2.1.6 c", "Mixed precision and the peak of memory", precision, NULL,
     "steptop run --model xl --context-length 128,2048 --dtype fp32,bf16 --passes fwd,train_step"},
    {"2.1.6 d", "The size of a tensor of the residual stream", residual, NULL, "steptop run --model xl"},
    {"2.1.6 e", "The largest allocations and where they come from", markdown_memory_largest, NULL,
     "steptop run --model xl --passes train_step"},
    {"2.1.6 f", "What one block keeps for backward, and the size of its gradients", markdown_memory_blocks,
     times_backward, "steptop run --model xl --passes train_step"},
    {"3.2 b", "The best checkpointing of blocks without nesting", checkpointing, NULL,
     "steptop run --model xl --context-length 2048 --checkpoint none,block --passes train_step"},
    {"4.1.1", "Attention alone over d_model and context length; where memory ends", markdown_attention_sweep, NULL,
     "steptop run attention"},
    {"4.2 a", "Attention alone, compiled against eager", markdown_attention_sweep, compiles_attention,
     "steptop run attention --compile false,true"},
    {"4.2 b", "The whole model, compiled against eager", compiled, compiles_model,
     "steptop run --model small --compile false,true --passes fwd,fwd_bwd,train_step"},
    {"5.1", "The collectives alone, by size and number of ranks", collectives_alone, report_has_collectives,
     "steptop run collectives"},
    {"5.2", "One process against several: step, communication and its share", markdown_ranks, sweeps_ranks,
     "steptop run --model xl --passes train_step --ranks 1,2 --parallel naive"},
    {"5.3.1", "Gradients in one piece against one by one", ranks_of_parallel, compares_flat,
     "steptop run --model xl --passes train_step --ranks 2 --parallel naive,flat"},
    {"5.3.2", "Gradients overlapped with backward: what of the communication is exposed", ranks_of_parallel,
     compares_overlap, "steptop run --model xl --passes train_step --ranks 2 --parallel naive,flat,overlap,bucket"},
    {"5.3.3 (2025)", "The size of the buckets", ranks_of_buckets, sweeps_buckets,
     "steptop run --model xl --passes train_step --ranks 2 --parallel bucket --bucket-mb 1,10,100,1000"},
    {"6 a/b", "Optimizer state sharded: memory and time against replicas", ranks_of_parallel, shards_optimizer,
     "steptop run --model xl --passes train_step --ranks 2 --parallel bucket,zero1"},
    {"7 a/b", "Parameters sharded, too: memory, and whether gathering is in time for forward", ranks_of_parallel,
     shards_parameters, "steptop run --model xl --passes train_step --ranks 2 --parallel bucket,fsdp"},
};

#define QUESTIONS (sizeof questions / sizeof *questions)

/* The section without its heading. */
static const char *body_of(const char *section)
{
    const char *end = strncmp(section, "\n## ", 4) == 0 ? strchr(section + 4, '\n') : NULL;
    return end ? end + 1 : section;
}

static void handout_markdown(const struct report *report, struct strbuf *out)
{
    strbuf_puts(
        out,
        "# The handout's questions\n\nTimes are measured, FLOPs and bytes are modelled from the plan. What this report "
        "cannot answer has the command that would; its report can be given here, too.\n");
    for (size_t q = 0; q < QUESTIONS; q++) {
        const struct question *question = &questions[q];
        struct strbuf text = {0};
        strbuf_printf(out, "\n## %s: %s\n", question->number, question->text);
        question->answer(report, &text);
        const bool answered = text.length && (!question->can || question->can(report));
        if (text.length)
            strbuf_puts(out, body_of(text.text));
        if (!answered)
            strbuf_printf(out, "\n%s: `%s -o report.yaml`\n",
                          text.length ? "That is only a part of the answer; the whole of it takes"
                                      : "Not in this report. It takes",
                          question->command);
        strbuf_release(&text);
    }
}

/* Rows of each question, so that they come in the order of the handout and not of the cells. */
static void csv_row(struct strbuf rows[QUESTIONS], const char *question, const struct report_cell *cell,
                    const char *what, double value, const char *unit)
{
    char title[256];
    size_t q = 0;
    while (q < QUESTIONS && strcmp(questions[q].number, question) != 0)
        q++;
    if (!is_known(value) || q == QUESTIONS)
        return;
    struct strbuf *out = &rows[q];
    cell_title(&cell->requested, true, title, sizeof title);
    escape_csv(out, question);
    strbuf_putc(out, ',');
    escape_csv(out, title);
    strbuf_putc(out, ',');
    escape_csv(out, what);
    strbuf_putc(out, ',');
    number_print(out, value);
    strbuf_printf(out, ",%s\r\n", unit);
}

static void csv_steps(const struct report_cell *cell, struct strbuf rows[QUESTIONS])
{
    char what[320];
    for (int p = 0; p < PASS_COUNT; p++) {
        const struct report_pass *pass = &cell->passes[p];
        for (int phase = 0; phase <= PHASE_COUNT && pass->present; phase++) {
            const struct summary *summary = &pass->phases[phase].summary;
            const char *name = phase == PHASE_COUNT ? "total" : phase_name((enum phase)phase);
            if (!summary->n)
                continue;
            snprintf(what, sizeof what, "%s %s mean", pass_name((enum pass)p), name);
            csv_row(rows, "2.1.3 b", cell, what, summary->mean * 1e-9, "s");
            snprintf(what, sizeof what, "%s %s standard deviation", pass_name((enum pass)p), name);
            csv_row(rows, "2.1.3 b", cell, what, summary->sd * 1e-9, "s");
        }
        if (!pass->present || !pass->profiled_steps || pass->warmup_rows)
            continue;
        snprintf(what, sizeof what, "%s wall clock of a profiled step", pass_name((enum pass)p));
        csv_row(rows, "2.1.4 a", cell, what, pass->wall_ns * 1e-9, "s");
        snprintf(what, sizeof what, "%s sum of kernels of a step", pass_name((enum pass)p));
        csv_row(rows, "2.1.4 a", cell, what, pass->kernel_ns * 1e-9, "s");
        double classes[CLASS_COUNT] = {0};
        const struct report_kernel *top = NULL;
        for (size_t k = 0; k < cell->kernel_count; k++) {
            const struct report_kernel *kernel = &cell->kernels[k];
            if (kernel->pass != p)
                continue;
            classes[kernel->kernel_class] += is_known(kernel->share) ? kernel->share : 0;
            top = !top || kernel->total_ns > top->total_ns ? kernel : top;
        }
        if (top) {
            snprintf(what, sizeof what, "%s, the largest kernel: %.200s", pass_name((enum pass)p), top->name);
            csv_row(rows, "2.1.4 b", cell, what, (double)top->total_ns * 1e-9 / pass_steps(pass), "s a step");
            csv_row(rows, "2.1.4 b", cell, what, (double)top->calls / pass_steps(pass), "calls a step");
        }
        for (int c = 0; c < CLASS_COUNT; c++)
            if (classes[c] > 0) {
                snprintf(what, sizeof what, "%s share of %s", pass_name((enum pass)p),
                         kernel_class_name((enum kernel_class)c));
                csv_row(rows, c == CLASS_MATMUL ? "2.1.4 d" : "2.1.4 c", cell, what, classes[c] * 100, "%");
            }
    }
}

/* The largest tensors with their makers; what block 0 keeps, the five modules of it that keep most, and its gradients. */
static void csv_memory(const struct report_cell *cell, struct strbuf rows[QUESTIONS])
{
    char what[360];
    const struct report_memory *memory = &cell->memory;
    for (size_t i = 0; i < memory->largest_count && i < 10; i++) {
        const struct report_tensor *tensor = &memory->largest[i];
        const bool made = tensor->scope >= 0 && (size_t)tensor->scope < cell->layer_count;
        snprintf(what, sizeof what, "tensor %.120s (%s%s%.160s, modelled)", tensor->name,
                 tensor_kind_name(tensor->kind), made ? ", " : "", made ? cell->layers[tensor->scope].path : "");
        csv_row(rows, "2.1.6 e", cell, what, (double)tensor->bytes, "bytes");
    }
    size_t block = 0;
    while (block < cell->layer_count && strcmp(cell->layers[block].path, "layers.0") != 0)
        block++;
    if (block == cell->layer_count || !is_known_u64(cell->layers[block].saved_bytes) ||
        !cell->layers[block].saved_bytes)
        return;
    csv_row(rows, "2.1.6 f", cell, "layers.0 keeps for backward (modelled)", (double)cell->layers[block].saved_bytes,
            "bytes");
    csv_row(rows, "2.1.6 f", cell, "gradients of layers.0 (modelled)",
            is_known_u64(cell->layers[block].parameter_bytes) ? (double)cell->layers[block].parameter_bytes
                                                              : UNKNOWN_DOUBLE,
            "bytes");
    const struct report_layer *before = NULL; /* the one that was written last: the next keeps no more than it */
    for (int top = 0; top < 5; top++) {
        const struct report_layer *best = NULL;
        for (size_t l = block + 1; l < cell->layer_count && cell->layers[l].depth > cell->layers[block].depth; l++) {
            const struct report_layer *layer = &cell->layers[l];
            const bool leaf = l + 1 == cell->layer_count || cell->layers[l + 1].depth <= layer->depth;
            const bool after = !before || layer->saved_bytes < before->saved_bytes ||
                               (layer->saved_bytes == before->saved_bytes && layer > before);
            if (leaf && after && is_known_u64(layer->saved_bytes) && layer->saved_bytes &&
                (!best || layer->saved_bytes > best->saved_bytes))
                best = layer;
        }
        if (!best)
            return;
        snprintf(what, sizeof what, "%.200s keeps for backward (modelled)", best->path);
        csv_row(rows, "2.1.6 f", cell, what, (double)best->saved_bytes, "bytes");
        before = best;
    }
}

static void handout_csv(const struct report *report, struct strbuf *out)
{
    struct strbuf rows[QUESTIONS] = {0};
    strbuf_puts(out, "question,cell,figure,value,unit\r\n");
    for (size_t i = 0; i < report->cells.count; i++) {
        const struct report_cell *cell = report->cells.items[i];
        const struct report_memory *memory = &cell->memory;
        csv_steps(cell, rows);
        if (is_known_u64(memory->planned_peak_live))
            csv_row(rows, "2.1.6 b", cell, "peak of live tensors (modelled)", (double)memory->planned_peak_live,
                    "bytes");
        if (is_known_u64(memory->resident_peak))
            csv_row(rows, "2.1.6 b", cell, "resident peak (measured)", (double)memory->resident_peak, "bytes");
        csv_memory(cell, rows);
        for (size_t r = 0; r < cell->rank_count; r++) {
            const struct report_rank *rank = &cell->ranks[r];
            const struct {
                const char *what;
                double ns;
            } times[] = {{"step", rank->step_ns},
                         {"compute", rank->compute_ns},
                         {"communication", rank->communication_ns},
                         {"exposed communication", rank->exposed_ns},
                         {"waiting", rank->wait_ns},
                         {"transfer", rank->transfer_ns}};
            char what[96];
            for (size_t t = 0; t < sizeof times / sizeof *times; t++) {
                snprintf(what, sizeof what, "rank %u, %s", rank->rank, times[t].what);
                csv_row(rows, "5.2", cell, what, times[t].ns * 1e-9, "s");
            }
        }
        const bool alone = cell->requested.collective != COLLECTIVE_NONE;
        for (size_t c = 0; c < cell->collective_count; c++) {
            const struct report_collective *collective = &cell->collectives[c];
            char what[320];
            snprintf(what, sizeof what, "%.60s of %.200s, bytes", collective->op, collective->scope);
            csv_row(rows, alone ? "5.1" : "5.2", cell, what,
                    is_known_u64(collective->bytes) ? (double)collective->bytes : UNKNOWN_DOUBLE, "bytes");
            snprintf(what, sizeof what, "%.60s of %.200s, transfer", collective->op, collective->scope);
            csv_row(rows, alone ? "5.1" : "5.2", cell, what, collective->transfer_ns * 1e-9, "s");
        }
        csv_row(rows, "2.1.6 d", cell, "a tensor of the residual stream (modelled)", residual_bytes(cell), "bytes");
        if (cell->requested.compile && is_known_u64(cell->compile_ns))
            csv_row(rows, cell_is_attention(cell) ? "4.2 a" : "4.2 b", cell, "compile time",
                    (double)cell->compile_ns * 1e-9, "s");
    }
    for (size_t q = 0; q < QUESTIONS; q++) {
        struct strbuf text = {0};
        if (rows[q].length)
            strbuf_puts(out, rows[q].text);
        strbuf_release(&rows[q]);
        questions[q].answer(report, &text);
        if (!text.length || (questions[q].can && !questions[q].can(report))) {
            escape_csv(out, questions[q].number);
            strbuf_puts(out, ",,not in this report; it takes,");
            escape_csv(out, questions[q].command);
            strbuf_puts(out, ",command\r\n");
        }
        strbuf_release(&text);
    }
}

void report_handout(const struct report *report, bool csv, struct strbuf *out)
{
    if (csv)
        handout_csv(report, out);
    else
        handout_markdown(report, out);
}
