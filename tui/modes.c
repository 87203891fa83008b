#include "tui/modes.h"
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

struct side {
    char names[160];
    int modules;
    double time;
    uint64_t calls;
};

static void add_name(struct side *side, const char *name)
{
    const size_t used = strlen(side->names);
    const char *at = strstr(side->names, name);
    const size_t length = strlen(name);
    /* Each module's name once: q_proj stands for the q_proj of all blocks. */
    while (at && ((at > side->names && at[-1] != ' ') || (at[length] && at[length] != ' ')))
        at = strstr(at + 1, name);
    if (!at && used + length + 2 < sizeof side->names)
        snprintf(side->names + used, sizeof side->names - used, "%s%s", used ? " " : "", name);
}

static bool names_overlap(const struct side *a, const struct side *b)
{
    char word[64];
    for (const char *at = a->names; *at;) {
        const size_t length = strcspn(at, " ");
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        const char *found = strstr(b->names, word);
        while (found) {
            if ((found == b->names || found[-1] == ' ') && (found[length] == 0 || found[length] == ' '))
                return true;
            found = strstr(found + 1, word);
        }
        at += length + (at[length] == ' ');
    }
    return false;
}

void modes_explain(const struct report_cell *cell, int32_t kernel, double valley_ns, char *text, size_t size)
{
    struct side sides[2] = {0};
    char valley[FORMAT_SIZE], low[FORMAT_SIZE], high[FORMAT_SIZE];
    format_duration(valley, valley_ns);
    for (size_t i = 0; i < cell->entry_count; i++) {
        const struct report_entry *entry = &cell->entries[i];
        if ((int32_t)entry->kernel != kernel || entry->scope < 0 || (size_t)entry->scope >= cell->layer_count)
            continue;
        struct side *side = &sides[entry->median_ns >= valley_ns];
        add_name(side, cell->layers[entry->scope].name);
        side->modules++;
        side->time += (double)entry->total_ns;
        side->calls += entry->calls;
    }
    if (!sides[0].modules || !sides[1].modules || names_overlap(&sides[0], &sides[1])) {
        snprintf(text, size,
                 "two groups, below and above %s; the modules do not explain them (clock, contention, cache?)", valley);
        return;
    }
    snprintf(text, size, "two groups: %s (about %s) and %s (about %s)", sides[0].names,
             format_duration(low, sides[0].time / (double)sides[0].calls), sides[1].names,
             format_duration(high, sides[1].time / (double)sides[1].calls));
}
