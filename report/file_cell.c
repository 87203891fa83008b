/* Rows that a report file holds as tables and the document holds inside kernels and the memory plan. */
#include "base/limits.h"
#include "report/derive.h"
#include "report/fields.h"
#include "report/table_reader.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIN_COUNT (40 * HISTOGRAM_BINS_PER_OCTAVE)
#define WORD_COUNT_BITS 20
#define WORD_COUNT_MOST ((1u << WORD_COUNT_BITS) - 1)
#define MAX_NODES (1 << 20)
#define MAX_WORDS                                                                                                      \
    ((size_t)1 << 24) /* of all histograms of a cell: a few digits of a file stand for thousands of them */

void report_bins_expand(const struct report_bins *bins, struct histogram *histogram)
{
    for (uint32_t i = 0; i < bins->word_count; i++) {
        const uint32_t bin = bins->words[i] >> WORD_COUNT_BITS, count = bins->words[i] & WORD_COUNT_MOST;
        uint32_t **octave = &histogram->octave[bin / HISTOGRAM_BINS_PER_OCTAVE];
        if (!*octave && !(*octave = calloc(HISTOGRAM_BINS_PER_OCTAVE, sizeof **octave)))
            memory_exhausted(HISTOGRAM_BINS_PER_OCTAVE, "bins of a histogram");
        (*octave)[bin % HISTOGRAM_BINS_PER_OCTAVE] += count;
        histogram->count += count;
    }
}

static const char *bins_text(const struct report_bins *bins, struct arena *arena)
{
    struct strbuf text = {0};
    strbuf_puts(&text, "");
    for (uint32_t i = 0; i < bins->word_count;) {
        const uint32_t bin = bins->words[i] >> WORD_COUNT_BITS;
        uint64_t count = 0;
        for (; i < bins->word_count && bins->words[i] >> WORD_COUNT_BITS == bin; i++)
            count += bins->words[i] & WORD_COUNT_MOST;
        if (text.length)
            strbuf_putc(&text, ' ');
        strbuf_unsigned(&text, bin);
        strbuf_putc(&text, ':');
        strbuf_unsigned(&text, count);
    }
    const char *copy = arena_strndup(arena, text.text, text.length);
    strbuf_release(&text);
    return copy;
}

size_t report_bins_room(const struct histogram *histogram)
{
    size_t octaves = 0;
    for (int octave = 0; octave < BIN_COUNT / HISTOGRAM_BINS_PER_OCTAVE; octave++)
        octaves += histogram->octave[octave] != NULL;
    return octaves * HISTOGRAM_BINS_PER_OCTAVE + (size_t)(histogram->count / WORD_COUNT_MOST) + 1;
}

uint32_t report_bins_pack(uint32_t *words, const struct histogram *histogram)
{
    uint32_t count = 0;
    for (uint32_t octave = 0; octave < BIN_COUNT / HISTOGRAM_BINS_PER_OCTAVE; octave++)
        for (uint32_t bin = 0; histogram->octave[octave] && bin < HISTOGRAM_BINS_PER_OCTAVE; bin++)
            for (uint32_t left = histogram->octave[octave][bin]; left;) {
                const uint32_t part = left < WORD_COUNT_MOST ? left : WORD_COUNT_MOST;
                words[count++] = (octave * HISTOGRAM_BINS_PER_OCTAVE + bin) << WORD_COUNT_BITS | part;
                left -= part;
            }
    return count;
}

typedef VEC(uint32_t) word_list;

/* The digits from *text on, at most ten of them, and moves behind them; false when there is none. */
static bool digits_take(const char **text, uint64_t *value)
{
    const char *start = *text, *at = start;
    uint64_t sum = 0;
    while (*at >= '0' && *at <= '9' && at < start + 11)
        sum = sum * 10 + (uint64_t)(*at++ - '0');
    *text = at;
    *value = sum;
    return at > start && at < start + 11;
}

/* "412:3 413:7": ascending bins, added to `words`. */
static bool bins_parse(const char *text, word_list *words)
{
    int64_t last = -1;
    while (*text) {
        uint64_t bin, count;
        if (!digits_take(&text, &bin) || *text++ != ':' || bin >= BIN_COUNT || (int64_t)bin <= last)
            return false;
        if (!digits_take(&text, &count) || count == 0 || count > UINT32_MAX || (*text && *text != ' '))
            return false;
        text += *text == ' ';
        for (; count > WORD_COUNT_MOST; count -= WORD_COUNT_MOST)
            vec_push(words, (uint32_t)bin << WORD_COUNT_BITS | WORD_COUNT_MOST);
        vec_push(words, (uint32_t)bin << WORD_COUNT_BITS | (uint32_t)count);
        last = (int64_t)bin;
    }
    return true;
}

static void make_histograms(struct file_cell *file, struct arena *arena)
{
    const struct report_cell *cell = &file->cell;
    file->histograms = arena_array(arena, struct report_histogram_row, cell->kernel_count * 2 + 1);
    for (size_t k = 0; k < cell->kernel_count; k++)
        for (int warmup = 0; warmup < 2; warmup++) {
            const struct report_bins *bins = warmup ? &cell->kernels[k].warmup_histogram : &cell->kernels[k].histogram;
            if (bins->word_count)
                file->histograms[file->histogram_count++] =
                    (struct report_histogram_row){(uint32_t)k, warmup != 0, bins_text(bins, arena)};
        }
}

static void make_counters(struct file_cell *file, struct arena *arena)
{
    const struct report_cell *cell = &file->cell;
    file->counters = arena_array(arena, struct report_counter_row, cell->kernel_count * REPORT_COUNTERS + 1);
    for (size_t k = 0; k < cell->kernel_count; k++)
        for (int c = 0; cell->kernels[k].counters && c < REPORT_COUNTERS; c++) {
            const struct report_counters *counters = cell->kernels[k].counters;
            const char *name = cell->counter_names[c];
            if (name && *name && is_known_u64(counters->values[c]))
                file->counters[file->counter_count++] = (struct report_counter_row){
                    (uint32_t)k, name, counters->values[c], counters->samples, cell->counter_own[c]};
        }
}

static void make_curve(struct file_cell *file, struct arena *arena)
{
    const struct report_memory *memory = &file->cell.memory;
    if (!memory->curve || memory->curve_count <= 0)
        return;
    const size_t nodes = (size_t)memory->curve_count;
    file->phase_nodes = arena_array(arena, uint64_t, PHASE_COUNT);
    file->phase_nodes_count = PHASE_COUNT;
    file->curve = arena_array(arena, struct report_curve_row, nodes * TENSOR_KIND_COUNT);
    for (size_t n = 0; n < nodes; n++) {
        const uint64_t *live = memory->curve + n * TENSOR_KIND_COUNT;
        file->phase_nodes[memory->curve_phase[n]]++;
        for (int kind = 0; kind < TENSOR_KIND_COUNT; kind++)
            if (n == 0 ? live[kind] != 0 : live[kind] != live[kind - TENSOR_KIND_COUNT])
                file->curve[file->curve_count++] =
                    (struct report_curve_row){(uint32_t)n, memory->curve_phase[n], (uint8_t)kind, live[kind]};
    }
}

void file_cell_make(struct file_cell *file, const struct report *report, const struct report_cell *cell,
                    struct arena *arena)
{
    *file = (struct file_cell){.cell = *cell};
    make_histograms(file, arena);
    make_counters(file, arena);
    make_curve(file, arena);
    findings_make(&file->findings, report, cell, arena);
}

static bool bad(struct error *error, const char *table, size_t row, const char *what)
{
    return error_set(error, ERROR_INPUT, "%s, row %zu: %s", table, row, what);
}

/* "q_proj" of layers.3.attn.q_proj below layers.3.attn; below the model, which no path begins with, all of it: "layers.3". */
static const char *name_below(const char *path, const char *parent)
{
    const size_t length = strlen(parent);
    return length && strncmp(path, parent, length) == 0 && path[length] == '.' && path[length + 1] ? path + length + 1
                                                                                                   : path;
}

static bool finish_layers(struct report_cell *cell, struct error *error)
{
    for (size_t l = 0; l < cell->layer_count; l++) {
        struct report_layer *layer = &cell->layers[l];
        if (layer->parent >= 0 && (size_t)layer->parent >= l)
            return bad(error, "layers", l, "a layer comes after its parent");
        layer->depth = layer->parent < 0 ? 0 : cell->layers[layer->parent].depth + 1;
        layer->name = name_below(layer->path, layer->parent < 0 ? "" : cell->layers[layer->parent].path);
    }
    return true;
}

/* Files from before copies had a column of their own have steptop's own names of them alone. */
static void finish_copy(struct report_kernel *kernel)
{
    static const struct {
        const char *name;
        enum copy_direction way;
        bool pageable;
    } names[] = {
        {"memcpy host to device", COPY_TO_DEVICE, false},
        {"memcpy host to device, pageable", COPY_TO_DEVICE, true},
        {"memcpy device to host", COPY_TO_HOST, false},
        {"memcpy device to host, pageable", COPY_TO_HOST, true},
        {"memcpy device to device", COPY_ON_DEVICE, false},
        {"memcpy host to host", COPY_ON_HOST, false},
        {"memcpy peer to peer", COPY_BETWEEN_DEVICES, false},
        {"memcpy", COPY_OTHER, false},
        {"memset", COPY_FILL, false},
    };
    if (kernel->copy != COPY_UNSAID)
        return;
    kernel->copy = COPY_NONE;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(kernel->name, names[i].name) == 0) {
            kernel->copy = (uint8_t)names[i].way;
            kernel->pageable = names[i].pageable;
        }
}

static bool layer_is_good(const struct report_cell *cell, int32_t layer)
{
    return layer < 0 || (size_t)layer < cell->layer_count;
}

static bool finish_rows(struct report_cell *cell, struct error *error)
{
    for (size_t k = 0; k < cell->kernel_count; k++) {
        struct report_kernel *kernel = &cell->kernels[k];
        finish_copy(kernel);
        if (!cell->passes[kernel->pass].present)
            return bad(error, "kernels", k, "its pass is not one of the cell's passes");
        if (kernel->calls > UINT32_MAX * 1024ull || kernel->total_ns > INT64_MAX / 4096)
            return bad(error, "kernels", k, "calls or total_ns are beyond what can be");
    }
    for (size_t e = 0; e < cell->entry_count; e++) {
        if (cell->entries[e].kernel >= cell->kernel_count)
            return bad(error, "kernel_layers", e, "there is no such kernel");
        if (!layer_is_good(cell, cell->entries[e].scope))
            return bad(error, "kernel_layers", e, "there is no such layer");
        if (cell->entries[e].calls > UINT32_MAX * 1024ull || cell->entries[e].total_ns > INT64_MAX / 4096)
            return bad(error, "kernel_layers", e, "calls or total_ns are beyond what can be");
    }
    for (size_t i = 0; i < cell->launch_count; i++) {
        if (cell->timeline[i].kernel >= cell->kernel_count)
            return bad(error, "timeline", i, "there is no such kernel");
        if (!layer_is_good(cell, cell->timeline[i].scope))
            return bad(error, "timeline", i, "there is no such layer");
        if (i > 0 && cell->timeline[i].pass == cell->timeline[i - 1].pass &&
            cell->timeline[i].start_ns < cell->timeline[i - 1].start_ns)
            return bad(error, "timeline", i, "launches of a pass must be in order of their start");
        if (i > 0 && cell->timeline[i].pass < cell->timeline[i - 1].pass)
            return bad(error, "timeline", i, "passes must be in order");
        if (cell->timeline[i].start_ns > INT64_MAX / 64 || cell->timeline[i].duration_ns > INT64_MAX / 64)
            return bad(error, "timeline", i, "times beyond what can be");
    }
    for (size_t i = 0; i < cell->memory.largest_count; i++)
        if (!layer_is_good(cell, cell->memory.largest[i].scope))
            return bad(error, "largest", i, "there is no such layer");
    return true;
}

static struct report_bins *row_bins(const struct file_cell *file, size_t row)
{
    struct report_kernel *kernel = &file->cell.kernels[file->histograms[row].kernel];
    return file->histograms[row].warmup ? &kernel->warmup_histogram : &kernel->histogram;
}

/* The words of all histograms of a cell are one array: they are gathered first, then each is told its part. */
static bool finish_histograms(struct file_cell *file, struct error *error)
{
    word_list words = {0};
    bool good = true;
    for (size_t i = 0; i < file->histogram_count && good; i++) {
        const size_t before = words.count;
        if (file->histograms[i].kernel >= file->cell.kernel_count)
            good = bad(error, "histograms", i, "there is no such kernel");
        else if (row_bins(file, i)->word_count)
            good = bad(error, "histograms", i, "this kernel has one already");
        else if (!bins_parse(file->histograms[i].bins, &words))
            good = bad(error, "histograms", i, "bins must be bin:count pairs with rising bins below 1280");
        else if (words.count > MAX_WORDS)
            good = bad(error, "histograms", i, "all bins together have more launches than can be");
        else
            row_bins(file, i)->word_count = (uint32_t)(words.count - before);
    }
    uint32_t *copy = arena_array(&file->cell.arena, uint32_t, words.count + 1);
    if (good && words.count)
        memcpy(copy, words.items, words.count * sizeof *copy);
    for (size_t i = 0, used = 0; good && i < file->histogram_count; i++) {
        row_bins(file, i)->words = copy + used;
        used += row_bins(file, i)->word_count;
    }
    vec_release(&words);
    return good;
}

static bool finish_counters(struct file_cell *file, struct error *error)
{
    struct report_cell *cell = &file->cell;
    for (size_t i = 0; i < file->counter_count; i++) {
        const struct report_counter_row *row = &file->counters[i];
        int which = -1;
        for (int c = 0; c < REPORT_COUNTERS; c++)
            if (cell->counter_names[c] && strcmp(cell->counter_names[c], row->counter) == 0)
                which = c;
        if (row->kernel >= cell->kernel_count)
            return bad(error, "counters", i, "there is no such kernel");
        if (which < 0)
            return bad(error, "counters", i, "the counter is not one of counter_names");
        struct report_kernel *kernel = &cell->kernels[row->kernel];
        struct report_counters *counters;
        if (!kernel->counters) {
            counters = arena_array(&cell->arena, struct report_counters, 1);
            for (int c = 0; c < REPORT_COUNTERS; c++)
                counters->values[c] = UNKNOWN_U64;
            kernel->counters = counters;
        }
        counters = (struct report_counters *)(uintptr_t)kernel->counters; /* this cell's own, made above */
        counters->values[which] = row->value;
        counters->samples = row->samples;
        cell->counter_own[which] = row->own;
    }
    return true;
}

static bool finish_curve(struct file_cell *file, struct error *error)
{
    struct report_memory *memory = &file->cell.memory;
    uint64_t nodes = 0;
    size_t node = 0, row = 0;
    if (file->phase_nodes_count == 0 && file->curve_count == 0)
        return true;
    if (file->phase_nodes_count != PHASE_COUNT)
        return error_set(error, ERROR_INPUT, "phase_nodes must have %d values", PHASE_COUNT);
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        if (file->phase_nodes[phase] > MAX_NODES)
            return error_set(error, ERROR_INPUT, "phase_nodes has more than %d nodes", MAX_NODES);
        nodes += file->phase_nodes[phase];
    }
    /* Each node takes a line of numbers here: a short file must not ask for more of them than it has changes. */
    if (nodes > 4096 + 64 * (uint64_t)file->curve_count)
        return error_set(error, ERROR_INPUT, "phase_nodes has far more nodes than memory_curve has changes");
    memory->curve = arena_array(&file->cell.arena, uint64_t, nodes * TENSOR_KIND_COUNT + 1);
    memory->curve_phase = arena_array(&file->cell.arena, uint8_t, nodes + 1);
    memory->curve_count = (int32_t)nodes;
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        for (uint64_t i = 0; i < file->phase_nodes[phase]; i++, node++) {
            uint64_t *live = memory->curve + node * TENSOR_KIND_COUNT;
            memory->curve_phase[node] = (uint8_t)phase;
            if (node)
                memcpy(live, live - TENSOR_KIND_COUNT, TENSOR_KIND_COUNT * sizeof *live);
            for (; row < file->curve_count && file->curve[row].node == node; row++)
                live[file->curve[row].kind] = file->curve[row].live_bytes;
        }
    if (row < file->curve_count)
        return bad(error, "memory_curve", row, "nodes must rise and be among phase_nodes");
    return true;
}

/* Reports from before the machine had fields of its own have a note alone: "3.20 %". */
static void finish_machine(struct report_cell *cell)
{
    for (size_t n = 0; n < cell->note_count && !is_known(cell->machine.steal); n++) {
        char *end;
        const double percent = strtod(cell->notes[n].text, &end);
        if (strcmp(cell->notes[n].key, "steal") == 0 && end != cell->notes[n].text && percent >= 0 && percent <= 100)
            cell->machine.steal = percent / 100;
    }
}

bool file_cell_finish(struct file_cell *file, struct error *error)
{
    if (!file->cell.requested.model.name[0] && !file->cell.requested.command[0])
        return error_set(error, ERROR_INPUT, "a cell has neither a map 'requested' nor 'attached'");
    if (!finish_layers(&file->cell, error) || !finish_rows(&file->cell, error) || !finish_histograms(file, error) ||
        !finish_counters(file, error) || !finish_curve(file, error))
        return false;
    finish_machine(&file->cell);
    cell_derive(&file->cell);
    return true;
}
