/* A cell of the document from a live run: samples, kernels and the kernels' layers. */
#include "report/build.h"
#include "base/clock.h"
#include "report/derive.h"
#include "report/escape.h"
#include "report/fields.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DERIVE_AT_ONCE 256 /* samples */
#define DERIVE_NS 1000000000u
#define DERIVE_SHARE 100 /* of the time between, at most: intervals of medians are drawn from thousands of samples */

/* Samples. */

static uint64_t sample_value(const struct sample *sample, int phase)
{
    return phase == PHASE_COUNT ? sample->wall_ns : sample->phase_ns[phase];
}

bool build_is_of_kind(const struct sample *sample, int kind)
{
    return kind < 0 ? sample->kind != STEP_WARMUP : sample->kind == kind;
}

/* `kind` −1: all but warm-up. */
static uint64_t *copy_samples(const struct rank *rank, struct arena *arena, int pass, int phase, int kind,
                              size_t *count)
{
    size_t wanted = 0;
    *count = 0;
    for (size_t i = 0; i < rank->samples.count; i++)
        wanted += rank->samples.items[i].pass == pass && build_is_of_kind(&rank->samples.items[i], kind) &&
                  is_known_u64(sample_value(&rank->samples.items[i], phase));
    if (!wanted)
        return NULL;
    uint64_t *values = arena_array(arena, uint64_t, wanted);
    for (size_t i = 0; i < rank->samples.count; i++) {
        const struct sample *sample = &rank->samples.items[i];
        if (sample->pass == pass && build_is_of_kind(sample, kind) && is_known_u64(sample_value(sample, phase)))
            values[(*count)++] = sample_value(sample, phase);
    }
    return values;
}

/* The three series of every phase, in two walks over the samples: a run without end has thousands of them, and each update copies all.
 * Where recording pauses nobody tells a command's backward pass from its loss: they are those of recorded steps. */
static void copy_phases(const struct rank *rank, struct arena *arena, int pass, int counts, bool command,
                        struct report_pass *to)
{
    size_t wanted[PHASE_COUNT + 1][3] = {0};
    uint64_t *at[PHASE_COUNT + 1][3];
    for (int walk = 0; walk < 2; walk++) {
        for (size_t i = 0; i < rank->samples.count; i++) {
            const struct sample *sample = &rank->samples.items[i];
            if (sample->pass != pass)
                continue;
            const bool of[3] = {build_is_of_kind(sample, counts), sample->kind == STEP_WARMUP,
                                sample->kind == STEP_PROFILED};
            for (int p = 0; p <= PHASE_COUNT; p++) {
                const uint64_t value = sample_value(sample, p);
                for (int kind = 0; kind < 3 && is_known_u64(value); kind++)
                    if (of[kind] && walk == 0)
                        wanted[p][kind]++;
                    else if (of[kind])
                        *at[p][kind]++ = value;
            }
        }
        for (int p = 0; p <= PHASE_COUNT && walk == 0; p++) {
            struct report_phase *phase = &to->phases[p];
            for (int kind = 0; kind < 3; kind++)
                at[p][kind] = wanted[p][kind] ? arena_array(arena, uint64_t, wanted[p][kind]) : NULL;
            phase->samples_ns = at[p][0];
            phase->sample_count = wanted[p][0];
            phase->warmup_ns = at[p][1];
            phase->warmup_count = wanted[p][1];
            phase->profiled_ns = at[p][2];
            phase->profiled_count = wanted[p][2];
            if (command && p < PHASE_COUNT && !phase->sample_count) {
                phase->samples_ns = phase->profiled_ns;
                phase->sample_count = phase->profiled_count;
            }
        }
    }
}

/* A command's steps are as they came, those that were recorded with the few that were not, which show what that costs. Where it costs
 * so much that recording pauses (attach/pace.h), the steps of the pauses are the command's own, as timed ones are a cell's. */
#define PACED 8 /* recorded steps to one that is not, at most */
int build_counted_kind(const struct run *run, const struct rank *rank, int pass)
{
    uint64_t kinds[STEP_KIND_COUNT] = {0};
    if (!run->command)
        return STEP_TIMED;
    for (size_t i = 0; i < rank->samples.count; i++)
        if (rank->samples.items[i].pass == pass && rank->samples.items[i].kind < STEP_KIND_COUNT)
            kinds[rank->samples.items[i].kind]++;
    return kinds[STEP_TIMED] * PACED >= kinds[STEP_PROFILED] && kinds[STEP_TIMED] >= 2 ? STEP_TIMED : -1;
}

static uint64_t sample_key(const struct rank *rank, int pass)
{
    uint64_t key = 0;
    for (size_t i = 0; i < rank->samples.count; i++)
        if (rank->samples.items[i].pass == pass)
            key = key * 31 + rank->samples.items[i].start + rank->samples.items[i].kind + 1;
    return key;
}

static bool has_warmup(const struct rank *rank, enum pass pass)
{
    size_t count = 0;
    const struct entry *entries = aggregate_entries(rank->aggregate, &count);
    for (size_t e = 0; e < count; e++)
        if (entries[e].pass == pass && entries[e].warmup.n)
            return true;
    return false;
}

static void command_overhead(struct report_cell *cell, const struct rank *rank, struct report_pass *pass)
{
    size_t bare_count = 0;
    const uint64_t *bare = copy_samples(rank, &cell->arena, (int)pass->pass, PHASE_COUNT, STEP_TIMED, &bare_count);
    const struct report_phase *total = &pass->phases[PHASE_COUNT];
    if (bare_count && total->profiled_count)
        ratio_of_medians(total->profiled_ns, total->profiled_count, bare, bare_count, &pass->overhead);
}

static void build_idle(struct report_cell *cell, const struct rank *rank, struct report_pass *pass)
{
    struct idle_total total;
    struct report_idle *idle = &pass->idle;
    aggregate_idle(rank->aggregate, pass->pass, &total);
    *idle = (struct report_idle){
        .steps = total.steps, .total_ns = UNKNOWN_DOUBLE, .sync_layer = "", .sync_layer_ns = UNKNOWN_DOUBLE};
    for (int r = 0; r < IDLE_REASONS; r++)
        idle->ns[r] = UNKNOWN_DOUBLE;
    if (!total.steps)
        return;
    idle->total_ns = 0;
    for (int r = 0; r < IDLE_REASONS; r++) {
        idle->ns[r] = (double)total.ns[r] / (double)total.steps;
        idle->total_ns += idle->ns[r];
    }
    const int32_t scope = places_at(&rank->places, total.sync_place)->scope;
    if (scope >= 0 && (size_t)scope < rank->places.scopes.count) {
        idle->sync_layer = clean_copy(&cell->arena, rank->places.scopes.items[scope].path);
        idle->sync_layer_ns = (double)total.sync_ns / (double)total.steps;
    }
}

/* Has the newest step of the cover come as a whole? Its records and the word of its end come by ways of their own. */
static bool is_under_way(const struct run *run, const struct rank *rank, enum pass pass, const struct step_cover *cover)
{
    if (run->status != STATUS_RUNNING || !cover->last_launches)
        return false;
    for (size_t i = rank->samples.count; i-- > 0;) {
        const struct sample *sample = &rank->samples.items[i];
        if (sample->pass == pass && sample->kind == STEP_PROFILED)
            return sample->step_id < cover->last_step || cover->last_launches < cover->launches_before;
    }
    return true;
}

/* Times a step are of whole ones: of that which is under way it is only known how much of it the kernels' sums hold. */
static void build_cover(const struct run *run, const struct rank *rank, const struct step_cover *cover,
                        struct report_pass *pass)
{
    const struct running *wall = &rank->profiled_wall[pass->pass];
    const bool open = cover->steps > 1 && is_under_way(run, rank, pass->pass, cover);
    const double whole = (double)(cover->steps - open);
    pass->profiled_steps = cover->steps;
    pass->wall_ns = wall->n ? (double)wall->total / (double)wall->n : UNKNOWN_DOUBLE;
    pass->busy_ns = (double)(cover->busy_ns - (open ? cover->last_busy_ns : 0)) / whole;
    pass->kernel_ns = (double)(cover->sum_ns - (open ? cover->last_sum_ns : 0)) / whole;
    pass->idle_ns = pass->wall_ns - pass->busy_ns;
    pass->missing = open && pass->kernel_ns > 0 ? 1 - fmin(1, (double)cover->last_sum_ns / pass->kernel_ns) : 0;
}

static void build_pass(struct report_cell *cell, const struct run *run, enum pass which)
{
    const struct rank *rank = run_lead(run);
    struct report_pass *pass = &cell->passes[which];
    const uint64_t key = sample_key(rank, which), now = clock_now();
    /* Of a run without end the samples are thousands, and each step brings another: their statistics are sorts. */
    const bool wait = pass->present && run->status == STATUS_RUNNING && rank->samples.count > DERIVE_AT_ONCE &&
                      (now - pass->derived_at < DERIVE_NS || now - pass->derived_at < DERIVE_SHARE * pass->derive_ns);
    const bool fresh = !pass->present || (pass->sample_key != key && !wait);
    pass->present = true;
    pass->pass = which;
    if (fresh) {
        pass->sample_key = key;
        pass->derived_at = now;
    }
    const int counts = build_counted_kind(run, rank, which);
    for (int p = 0; p <= PHASE_COUNT; p++) {
        struct report_phase *phase = &pass->phases[p];
        if (fresh)
            fields_clear_phase(phase);
        phase->name = p == PHASE_COUNT ? "total" : phase_name((enum phase)p);
    }
    copy_phases(rank, &cell->arena, which, counts, run->command, pass);
    if (fresh) {
        pass->overhead = (struct ratio){UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, 0, 0};
        pass_derive(pass, run->cell.profile_every);
        if (run->command)
            command_overhead(cell, rank, pass);
        pass->derive_ns = clock_now() - now;
    }
    pass->profiled_steps = 0;
    pass->missing = 0;
    pass->warmup_rows = false;
    pass->wall_ns = pass->busy_ns = pass->idle_ns = pass->kernel_ns = pass->attributed_ns = UNKNOWN_DOUBLE;
    struct step_cover cover = {0};
    build_idle(cell, rank, pass);
    aggregate_cover(rank->aggregate, which, &cover);
    if (!cover.steps) {
        /* Something to look at from the first kernel on; the first warm-up step may still be under way. */
        const size_t steps = pass->phases[PHASE_COUNT].warmup_count;
        pass->warmup_rows = has_warmup(rank, which);
        pass->profiled_steps = pass->warmup_rows ? (steps ? steps : 1) : 0;
        return;
    }
    build_cover(run, rank, &cover, pass);
    /* A command's steps are its host's: where that runs ahead of the card their lengths do not say what recording costs. */
    if (run->command && pass->phases[PHASE_COUNT].summary.median < pass->busy_ns)
        pass->overhead = (struct ratio){UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, 0, 0};
}

static void build_notes(struct report_cell *cell, const struct run *run)
{
    cell->notes = arena_array(&cell->arena, struct report_note, run->notes.count + 1);
    _Static_assert(REPORT_COUNTERS == RUN_COUNTERS, "a name a value");
    for (int c = 0; c < REPORT_COUNTERS; c++) {
        cell->counter_names[c] = run->counter_names[c][0] ? arena_strdup(&cell->arena, run->counter_names[c]) : "";
        cell->counter_own[c] = run->counter_own[c];
    }
    for (size_t i = 0; i < run->notes.count; i++) {
        const struct note *note = &run->notes.items[i];
        cell->notes[cell->note_count++] =
            (struct report_note){clean_copy(&cell->arena, note->key), clean_copy(&cell->arena, note->text)};
        if (strcmp(note->key, "counters") != 0 || run->counter_names[0][0])
            continue;
        /* A recording from before the worker said them in fields of their own: "cycles,instructions,…". */
        const char *at = note->text;
        for (int c = 0; c < REPORT_COUNTERS && *at; c++) {
            const size_t length = strcspn(at, ", ");
            cell->counter_names[c] = arena_strndup(&cell->arena, at, length);
            at += length + strspn(at + length, ", ");
        }
    }
}

/* Of all ranks: what one of them lost is lost. */
static void count_records(struct report_cell *cell, const struct run *run)
{
    cell->records = cell->dropped = cell->invalid = cell->unattributed = 0;
    for (size_t i = 0; i < run->ranks.count; i++) {
        const struct rank *rank = run_rank(run, i);
        struct aggregate_counts counts;
        aggregate_counts(rank->aggregate, &counts);
        cell->records += counts.records;
        /* What a ring or a device counted as dropped, or what the records' own numbers miss: a recording that was cut short has
         * only these. */
        cell->dropped += rank->dropped > counts.lost ? rank->dropped : counts.lost;
        cell->invalid += counts.invalid;
        cell->unattributed += counts.unattributed;
    }
}

void cell_build(struct report_cell *cell, const struct run *run)
{
    const struct rank *rank = run_lead(run);
    if (cell->from_file) { /* it was read from a report that this run goes on from */
        struct report_cell empty = {0};
        arena_release(&cell->arena);
        *cell = empty;
    }
    arena_release(&cell->arena);
    cell->run_id = run->id;
    cell->version = run->version;
    cell->requested = run->cell;
    cell->status = run->status;
    cell->effective_dtype = run->cell.dtype;
    cell->effective_compile = run->plan.known && run->cell.compile;
    cell->compile_ns = run->compile_ns;
    cell->prepare_ns = run->prepare_ns;
    cell->device = rank->device;
    cell->telemetry = rank->telemetry;
    cell->use = run->use;
    cell->program = rank->program;
    cell->machine = run->machine;
    cell->ceilings = (struct report_ceilings){run->ceiling_flops_per_s, run->ceiling_bytes_per_s};
    cell->entries = NULL;
    cell->kernels = NULL;
    cell->timeline = NULL;
    cell->entry_count = cell->kernel_count = cell->launch_count = cell->note_count = 0;
    cell_build_plan(cell, run);
    for (int pass = 0; pass < PASS_COUNT; pass++)
        if (run->cell.passes >> pass & 1)
            build_pass(cell, run, (enum pass)pass);
        else
            fields_clear_pass(&cell->passes[pass]);
    build_notes(cell, run);
    cell_build_rows(cell, run);
    cell->rank_count = cell->collective_count = 0;
    if (run->ended)
        cell_build_timeline(cell, run);
    cell_build_ranks(cell, run);
    count_records(cell, run);
    rows_derive(cell);
    cell->reason = clean_copy(&cell->arena, run->reason);
}
