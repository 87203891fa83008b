#include "cli/progress.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/unknown.h"
#include "cli/terminal.h"
#include "report/estimate.h"
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_WIDTH 24
#define BAR_PERIOD_NS 200000000u
#define LINE_PERIOD_NS 15000000000u
/* Estimating a cell builds its plan; beyond this many plans all cells count alike. */
#define ESTIMATED_MAX 300
#define RATES_MAX 16

struct progress {
    struct estimate *estimates;
    size_t count;
    bool bar, quiet, ascii, drawn;
    uint64_t began, last;
    size_t shown; /* index of the run whose beginning was shown, plus one */
};

/* Of a cell that is counted as one among others. */
static struct estimate alike(void)
{
    struct estimate estimate = {.work = 1, .memory = UNKNOWN_U64};
    for (int pass = 0; pass < PASS_COUNT; pass++)
        estimate.flops[pass] = UNKNOWN_DOUBLE;
    return estimate;
}

struct progress *progress_create(const struct session *session, bool quiet, bool ascii)
{
    struct progress *progress = calloc(1, sizeof *progress);
    if (!progress)
        return NULL;
    progress->count = session_run_count(session);
    progress->estimates = calloc(progress->count + 1, sizeof *progress->estimates);
    progress->quiet = quiet;
    progress->bar = !quiet && isatty(STDERR_FILENO) && terminal_draws();
    progress->ascii = ascii || strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
    progress->began = clock_now();
    if (!progress->estimates) {
        free(progress);
        return NULL;
    }
    struct estimates known = {0};
    for (size_t i = 0; i < progress->count && known.known.count <= ESTIMATED_MAX; i++)
        if (!estimates_cell(&known, &session_run(session, i)->cell, &progress->estimates[i], NULL))
            progress->estimates[i] = alike();
    for (size_t i = 0; i < progress->count && known.known.count > ESTIMATED_MAX; i++)
        progress->estimates[i] = alike();
    estimates_release(&known);
    return progress;
}

void progress_free(struct progress *progress)
{
    if (!progress)
        return;
    if (progress->drawn)
        say_over("");
    free(progress->estimates);
    free(progress);
}

static bool ended(const struct run *run)
{
    return run->status != STATUS_PENDING && run->status != STATUS_RUNNING;
}

/* FLOPs of the steps that a run has behind it. */
static double work_done(const struct progress *progress, const struct run *run, size_t index)
{
    const struct estimate *estimate = &progress->estimates[index];
    double work = 0;
    for (size_t i = 0; i < run_lead(run)->samples.count; i++) {
        const double flops = estimate->flops[run_lead(run)->samples.items[i].pass];
        work += is_known(flops) ? flops : 0;
    }
    return work < estimate->work ? work : estimate->work;
}

/* What ran so far of one kind of cell: same device, mode and precision. Steps take time by their work, the rest (start of
 * the process, ceilings, preparation) about the same for each. */
struct rate {
    const struct cell *kind; /* one of them */
    double work, step_seconds, other_seconds;
    int runs;
};

static struct rate *rate_of(struct rate *rates, int *count, const struct cell *cell)
{
    for (int i = 0; i < *count; i++) {
        const struct cell *kind = rates[i].kind;
        if (strcmp(kind->device, cell->device) == 0 && kind->compile == cell->compile && kind->dtype == cell->dtype)
            return &rates[i];
    }
    if (*count == RATES_MAX)
        return NULL;
    rates[*count] = (struct rate){.kind = cell};
    return &rates[(*count)++];
}

static void rate_add(struct rate *rate, double work, double step_seconds, double other_seconds)
{
    rate->work += work;
    rate->step_seconds += step_seconds;
    rate->other_seconds += other_seconds;
    rate->runs++;
}

/* A cell whose plan is larger than what an earlier one found free on the same device ends at once. */
static bool will_not_fit(const struct progress *progress, const struct session *session, size_t index)
{
    const struct run *run = session_run(session, index);
    const uint64_t memory = progress->estimates[index].memory;
    for (size_t i = 0; i < progress->count && is_known_u64(memory); i++) {
        const struct run *other = session_run(session, i);
        if (other->started && run_lead(other)->device.free_bytes && is_known_u64(run_lead(other)->device.free_bytes) &&
            strcmp(other->cell.device, run->cell.device) == 0)
            return memory > run_lead(other)->device.free_bytes / (uint64_t)cell_ranks_together(&run->cell);
    }
    return false;
}

/* Seconds that are left, from the rate of the cells that ran so far: those of the same kind where there are some, else all.
 * NaN before anything is known. */
static double seconds_left(const struct progress *progress, const struct session *session)
{
    struct rate rates[RATES_MAX], all = {0};
    double left = 0;
    int count = 0;
    for (size_t i = 0; i < progress->count; i++) {
        const struct run *run = session_run(session, i);
        if (!run->started || (ended(run) && run->status != STATUS_OK && run->status != STATUS_UNRELIABLE))
            continue;
        const double work = ended(run) ? progress->estimates[i].work : work_done(progress, run, i);
        const double took = (double)((run->ended ? run->ended : clock_now()) - run->started) * 1e-9;
        double steps = 0;
        for (size_t s = 0; s < run_lead(run)->samples.count; s++)
            steps += (double)run_lead(run)->samples.items[s].wall_ns * 1e-9;
        struct rate *rate = rate_of(rates, &count, &run->cell);
        const double other = took > steps ? took - steps : 0;
        rate_add(&all, work, steps, other);
        if (rate)
            rate_add(rate, work, steps, other);
    }
    if (all.work <= 0)
        return UNKNOWN_DOUBLE;
    for (size_t i = 0; i < progress->count; i++) {
        const struct run *run = session_run(session, i);
        if (ended(run) || will_not_fit(progress, session, i))
            continue;
        const struct rate *rate = rate_of(rates, &count, &run->cell);
        const struct rate *use = rate && rate->work > 0 ? rate : &all;
        left += (progress->estimates[i].work - work_done(progress, run, i)) * use->step_seconds / use->work;
        left += run->started ? 0 : use->other_seconds / use->runs;
    }
    return left;
}

/* "34 s", "2 min 10 s", "3 h 5 min" */
static void duration(double seconds, char *text, size_t size)
{
    const long whole = (long)(seconds + 0.5);
    if (seconds < 10)
        snprintf(text, size, "%.1f s", seconds);
    else if (whole < 60)
        snprintf(text, size, "%ld s", whole);
    else if (whole < 3600)
        snprintf(text, size, "%ld min %ld s", whole / 60, whole % 60);
    else
        snprintf(text, size, "%ld h %ld min", whole / 3600, whole % 3600 / 60);
}

static void time_left(const struct progress *progress, const struct session *session, const char *separator,
                      struct strbuf *out)
{
    char text[48];
    const double left = seconds_left(progress, session);
    if (!is_known(left))
        return;
    duration(left, text, sizeof text);
    strbuf_printf(out, "%sabout %s left", separator, text);
}

/* The bar is cleared before anything else is written, and comes back with the next update. */
static void clear_bar(struct progress *progress)
{
    if (progress->drawn)
        say_over("");
    progress->drawn = false;
}

void progress_message(struct progress *progress, const char *text)
{
    clear_bar(progress);
    say("%s", text);
}

static void draw_bar(struct progress *progress, const struct session *session, const struct run *run, size_t index)
{
    struct winsize window = {0};
    struct strbuf line = {0};
    double done = 0, total = 0;
    char title[160];
    for (size_t i = 0; i < progress->count; i++) {
        const struct run *each = session_run(session, i);
        total += progress->estimates[i].work;
        done += each && ended(each) ? progress->estimates[i].work : each ? work_done(progress, each, i) : 0;
    }
    const int filled = total > 0 ? (int)(done / total * BAR_WIDTH + 0.5) : 0;
    cell_title(&run->cell, progress->ascii, title, sizeof title);
    strbuf_putc(&line, '[');
    for (int i = 0; i < BAR_WIDTH; i++)
        strbuf_putc(&line, i < filled ? '#' : ' ');
    const char *separator = progress->ascii ? ", " : " · ";
    strbuf_printf(&line, "] %zu/%zu", index + 1, progress->count);
    time_left(progress, session, separator, &line);
    strbuf_printf(&line, "%s%s%s%s", separator, run->activity, run->activity[0] ? separator : "", title);
    /* Cut to the window, in characters, or the line would wrap and not be cleared. */
    const size_t width = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col - 1u : 79;
    size_t bytes = 0, characters = 0;
    while (bytes < line.length && characters < width) {
        bytes++;
        while (bytes < line.length && ((unsigned char)line.text[bytes] & 0xc0) == 0x80)
            bytes++;
        characters++;
    }
    line.text[bytes] = 0;
    say_over(line.text);
    strbuf_release(&line);
    progress->drawn = true;
}

void progress_update(struct progress *progress, const struct session *session)
{
    if (progress->quiet)
        return;
    size_t index = 0;
    while (index < progress->count && session_run(session, index)->status != STATUS_RUNNING)
        index++;
    if (index == progress->count)
        return;
    const struct run *run = session_run(session, index);
    const uint64_t now = clock_now();
    const bool beginning = progress->shown != index + 1;
    if (!beginning && now - progress->last < (progress->bar ? BAR_PERIOD_NS : LINE_PERIOD_NS))
        return;
    progress->shown = index + 1;
    progress->last = now;
    if (progress->bar) {
        draw_bar(progress, session, run, index);
        return;
    }
    struct strbuf line = {0};
    char title[160];
    cell_title(&run->cell, progress->ascii, title, sizeof title);
    strbuf_printf(&line, "[%zu/%zu] %s", index + 1, progress->count, beginning ? title : run->activity);
    time_left(progress, session, ": ", &line);
    say("%s", line.text);
    strbuf_release(&line);
}

void progress_ended(struct progress *progress, const struct session *session, size_t index)
{
    const struct run *run = session_run(session, index);
    const bool good = run->status == STATUS_OK;
    if (progress->quiet && (good || run->status == STATUS_INTERRUPTED))
        return;
    struct strbuf line = {0};
    char title[160], took[48];
    cell_title(&run->cell, progress->ascii, title, sizeof title);
    strbuf_printf(&line, "[%zu/%zu] %s: %s", index + 1, progress->count, title, status_name(run->status));
    if (run->started && run->ended) {
        duration((double)(run->ended - run->started) * 1e-9, took, sizeof took);
        strbuf_printf(&line, " after %s", took);
    }
    if (run->reason[0])
        strbuf_printf(&line, ": %s", run->reason);
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        uint64_t *walls = malloc((run_lead(run)->samples.count + 1) * sizeof *walls);
        size_t count = 0;
        for (size_t i = 0; walls && i < run_lead(run)->samples.count; i++) {
            const struct sample *sample = &run_lead(run)->samples.items[i];
            if (sample->pass == pass && sample->kind == STEP_TIMED)
                walls[count++] = sample->wall_ns;
        }
        if (count) {
            struct summary summary;
            summary_of(walls, count, &summary);
            strbuf_printf(&line, ", %s %.4g ms", pass_name((enum pass)pass), summary.median * 1e-6);
        }
        free(walls);
    }
    progress_message(progress, line.text);
    strbuf_release(&line);
}
