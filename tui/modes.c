#include "tui/modes.h"
#include "base/vec.h"
#include "tui/format.h"
#include <stdio.h>
#include <string.h>

void bins_of(const struct histogram *histogram, uint64_t bins[BINS])
{
    memset(bins, 0, BINS * sizeof *bins);
    for (int octave = 0; octave < 40; octave++)
        for (int bin = 0; histogram->octave[octave] && bin < HISTOGRAM_BINS_PER_OCTAVE; bin++)
            bins[octave * HISTOGRAM_BINS_PER_OCTAVE + bin] = histogram->octave[octave][bin];
}

double bin_edge(int bin)
{
    return histogram_bin_low(bin / HISTOGRAM_BINS_PER_OCTAVE, bin % HISTOGRAM_BINS_PER_OCTAVE);
}

/* Eight bins an octave: coarse enough that a hump of a few dozen launches has no holes. */
#define COARSE 4
#define COARSE_BINS (BINS / COARSE)
#define LEAST_LAUNCHES 20
#define LEAST_DISTANCE 3 /* coarse bins: a factor of 1.3 */

bool modes_find(const uint64_t bins[BINS], double *valley_ns)
{
    uint64_t coarse[COARSE_BINS] = {0}, total = 0;
    int highest = 0;
    for (int i = 0; i < BINS; i++) {
        coarse[i / COARSE] += bins[i];
        total += bins[i];
    }
    if (total < LEAST_LAUNCHES)
        return false;
    for (int i = 1; i < COARSE_BINS; i++)
        if (coarse[i] > coarse[highest])
            highest = i;
    uint64_t best = 0;
    for (int other = 0; other < COARSE_BINS; other++) {
        const int low = other < highest ? other : highest, high = other < highest ? highest : other;
        if (high - low < LEAST_DISTANCE || coarse[other] * 8 < coarse[highest] || coarse[other] * 20 < total ||
            coarse[other] <= best)
            continue;
        /* The middle of the emptiest stretch between the two. */
        uint64_t least = UINT64_MAX;
        int first = 0, last = 0;
        for (int i = low + 1; i < high; i++) {
            if (coarse[i] < least) {
                least = coarse[i];
                first = i;
            }
            if (coarse[i] == least)
                last = i;
        }
        if (least * 2 >= coarse[other])
            continue;
        best = coarse[other];
        *valley_ns = bin_edge((first + last + 1) * COARSE / 2);
    }
    return best > 0;
}

/* Names are looked up whole; what is printed of them has room for so much. */
#define NAMES_BYTES 160
struct side {
    VEC(const char *) names; /* each once: q_proj stands for the q_proj of all blocks */
    double time;
    uint64_t calls;
};

static bool has_name(const struct side *side, const char *name)
{
    for (size_t i = 0; i < side->names.count; i++)
        if (strcmp(side->names.items[i], name) == 0)
            return true;
    return false;
}

static bool names_overlap(const struct side *a, const struct side *b)
{
    for (size_t i = 0; i < a->names.count; i++)
        if (has_name(b, a->names.items[i]))
            return true;
    return false;
}

static const char *names_text(const struct side *side, char text[NAMES_BYTES])
{
    size_t used = 0, i = 0;
    for (; i < side->names.count && used + strlen(side->names.items[i]) + sizeof ", …" < NAMES_BYTES; i++)
        used += (size_t)snprintf(text + used, NAMES_BYTES - used, "%s%s", used ? " " : "", side->names.items[i]);
    if (!used && side->names.count)
        used = (size_t)snprintf(text, NAMES_BYTES - sizeof " …", "%.100s", side->names.items[i++]);
    if (i < side->names.count)
        strcpy(text + used, " …");
    return text;
}

void modes_explain(const struct report_cell *cell, int32_t kernel, double valley_ns, char *text, size_t size)
{
    struct side sides[2] = {0};
    char valley[FORMAT_SIZE], low[FORMAT_SIZE], high[FORMAT_SIZE], names[2][NAMES_BYTES];
    format_duration(valley, valley_ns);
    for (size_t i = 0; i < cell->entry_count; i++) {
        const struct report_entry *entry = &cell->entries[i];
        if ((int32_t)entry->kernel != kernel || entry->scope < 0 || (size_t)entry->scope >= cell->layer_count)
            continue;
        struct side *side = &sides[entry->median_ns >= valley_ns];
        const char *name = cell->layers[entry->scope].name;
        if (!has_name(side, name))
            vec_push(&side->names, name);
        side->time += (double)entry->total_ns;
        side->calls += entry->calls;
    }
    if (!sides[0].names.count || !sides[1].names.count || names_overlap(&sides[0], &sides[1]))
        snprintf(text, size,
                 "two groups, below and above %s; the modules do not explain them (clock, contention, cache?)", valley);
    else
        snprintf(text, size, "two groups: %s (about %s) and %s (about %s)", names_text(&sides[0], names[0]),
                 format_duration(low, sides[0].time / (double)sides[0].calls), names_text(&sides[1], names[1]),
                 format_duration(high, sides[1].time / (double)sides[1].calls));
    for (int i = 0; i < 2; i++)
        vec_release(&sides[i].names);
}
