/* What several ranks did in the profiled steps that all of them still hold the records of: communication, as much of it as nothing
 * else ran beside, and each collective's time as waiting for the last rank and moving bytes. All ranks of a host read one clock, so
 * the instant when the last of them comes is known on every one. */
#include "base/vec.h"
#include "profiler/session.h"
#include "report/build.h"
#include <stdlib.h>
#include <string.h>

struct launch {
    uint64_t start, end;
    uint32_t step, name;
    int32_t place;
    bool collective, product, backward;
    double flops;
};

struct launches {
    VEC(struct launch) list; /* of one rank and pass, in order of step and start */
};

static int by_step_and_start(const void *left, const void *right)
{
    const struct launch *a = left, *b = right;
    if (a->step != b->step)
        return a->step < b->step ? -1 : 1;
    return a->start != b->start ? (a->start < b->start ? -1 : 1) : a->place - b->place;
}

/* A run that goes on is looked at many times a second: this many steps of it, of at most so many records. */
#define LIVE_STEPS 4
#define LIVE_RECORDS 65536

static void take_launches(const struct rank *rank, int pass, bool goes_on, struct launches *launches)
{
    uint64_t first;
    const size_t kept = aggregate_kept(rank->aggregate, &first);
    const size_t least = goes_on && kept > LIVE_RECORDS ? kept - LIVE_RECORDS : 0;
    uint32_t step = UINT32_MAX;
    int steps = 0;
    for (size_t i = kept; i > least; i--) {
        const struct record *record = aggregate_record(rank->aggregate, first + i - 1);
        if (record->pass != pass || !record_is_work(record->kind) || record->flags & RECORD_WARMUP)
            continue;
        if (record->step < step) {
            step = record->step;
            if (goes_on && steps++ > LIVE_STEPS) /* one more than that: the newest has not ended, the oldest is cut */
                break;
        }
        const struct place *place = places_at(&rank->places, record->place);
        vec_push(&launches->list, ((struct launch){.start = record->start,
                                                   .end = record->end,
                                                   .step = record->step,
                                                   .name = record->name,
                                                   .place = record->place,
                                                   .collective = place->kernel_class == CLASS_COLLECTIVE,
                                                   .product = place->kernel_class == CLASS_MATMUL,
                                                   .backward = place->phase == PHASE_BWD,
                                                   .flops = place->flops}));
    }
    if (launches->list.count)
        qsort(launches->list.items, launches->list.count, sizeof(struct launch), by_step_and_start);
}

/* The launches of `step`: from *from, as many as are returned. */
static size_t step_launches(const struct launches *launches, uint32_t step, size_t *from)
{
    size_t low = 0, high = launches->list.count, count = 0;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (launches->list.items[middle].step < step)
            low = middle + 1;
        else
            high = middle;
    }
    *from = low;
    while (low + count < launches->list.count && launches->list.items[low + count].step == step)
        count++;
    return count;
}

/* Time in which at least one of the launches ran: of all, of collectives, of all others, of those in backward. They are in order of
 * start. */
enum which { ALL, COLLECTIVES, OTHERS, BACKWARD };
static uint64_t union_of(const struct launch *launches, size_t count, enum which which)
{
    uint64_t total = 0, until = 0;
    for (size_t i = 0; i < count; i++) {
        const struct launch *launch = &launches[i];
        if ((which == COLLECTIVES && !launch->collective) || (which >= OTHERS && launch->collective) ||
            (which == BACKWARD && !launch->backward))
            continue;
        const uint64_t from = launch->start > until ? launch->start : until;
        if (launch->end > from)
            total += launch->end - from;
        until = launch->end > until ? launch->end : until;
    }
    return total;
}

/* When the last rank came to the collective at each place in `step`, into `arrived`; 0 where one has no record of it. */
static void last_arrivals(const struct launches *all, size_t ranks, uint32_t step, uint64_t *arrived, size_t *found,
                          size_t places)
{
    memset(arrived, 0, places * sizeof *arrived);
    memset(found, 0, places * sizeof *found);
    for (size_t r = 0; r < ranks; r++) {
        size_t from;
        const size_t count = step_launches(&all[r], step, &from);
        for (size_t i = from; i < from + count; i++) {
            const struct launch *launch = &all[r].list.items[i];
            const size_t place = (size_t)launch->place;
            if (!launch->collective || place >= places || found[place] < r)
                continue;
            arrived[place] = launch->start > arrived[place] ? launch->start : arrived[place];
            found[place] = r + 1;
        }
    }
    for (size_t place = 0; place < places; place++)
        if (found[place] < ranks)
            arrived[place] = 0;
}

/* Bytes of the whole, as bus bandwidth counts them: the plan says what is read and written. */
static uint64_t whole_bytes(const struct place *place, int32_t ranks)
{
    const bool whole = strcmp(place->op, "all_reduce") == 0 || strcmp(place->op, "broadcast") == 0;
    const double bytes = whole ? place->bytes / 2 : place->bytes * ranks / (ranks + 1.0);
    return bytes < 0x1p53 ? (uint64_t)bytes : UNKNOWN_U64; /* not known, or what no machine holds */
}

static struct report_collective *collective_of(struct report_cell *cell, const struct run *run, int32_t id)
{
    for (size_t i = 0; i < cell->collective_count; i++)
        if (cell->collectives[i].place == (uint32_t)id)
            return &cell->collectives[i];
    const struct places *places = &run_lead(run)->places;
    const struct place *place = places_at(places, id);
    struct report_collective *new = &cell->collectives[cell->collective_count++];
    *new = (struct report_collective){
        .place = (uint32_t)id,
        .op = arena_strdup(&cell->arena, place->op),
        .scope = arena_strdup(&cell->arena, place->scope >= 0 ? places->scopes.items[place->scope].path : ""),
        .bytes = whole_bytes(place, run->cell.ranks)};
    return new;
}

/* `arrived`: as last_arrivals has it, of `places`. */
static void add_step(struct report_cell *cell, const struct run *run, const struct launches *all, uint32_t step,
                     const uint64_t *arrived_at, size_t places)
{
    const size_t ranks = run->ranks.count;
    for (size_t r = 0; r < ranks; r++) {
        struct report_rank *row = &cell->ranks[r];
        size_t from;
        const size_t count = step_launches(&all[r], step, &from);
        const struct launch *launches = all[r].list.items + from;
        const uint64_t busy = union_of(launches, count, ALL), others = union_of(launches, count, OTHERS);
        row->steps++;
        row->communication_ns += (double)union_of(launches, count, COLLECTIVES);
        row->compute_ns += (double)others;
        row->backward_ns += (double)union_of(launches, count, BACKWARD);
        row->exposed_ns += (double)(busy - others);
        for (size_t i = 0; i < count; i++) {
            const size_t place = (size_t)launches[i].place;
            const uint64_t last = launches[i].collective && place < places ? arrived_at[place] : 0;
            if (!last)
                continue;
            /* NCCL's kernel may be stamped as begun a little before another's end: no time is less than none. */
            const uint64_t arrived = last < launches[i].end ? last : launches[i].end;
            const double wait = (double)(arrived - launches[i].start), transfer = (double)(launches[i].end - arrived);
            row->wait_ns += wait;
            row->transfer_ns += transfer;
            struct report_collective *collective = collective_of(cell, run, launches[i].place);
            collective->calls++;
            collective->wait_ns += wait;
            collective->transfer_ns += transfer;
        }
    }
}

/* Products of one kernel and size, beside a collective and alone; what is beside one for a part of its time is neither. */
struct products {
    uint32_t name;
    double flops, beside_ns, beside, alone_ns, alone;
};

static double product_slow(const struct launches *launches)
{
    VEC(struct products) groups = {0};
    uint64_t from = 0, until = 0; /* the collectives so far, as far as they hang together */
    uint32_t step = UINT32_MAX;
    for (size_t i = 0; i < launches->list.count; i++) {
        const struct launch *launch = &launches->list.items[i];
        if (launch->step != step) {
            step = launch->step;
            from = until = 0;
        }
        if (launch->collective) {
            from = launch->start > until ? launch->start : from;
            until = launch->end > until ? launch->end : until;
        }
        if (!launch->product)
            continue;
        bool alone = launch->start >= until, beside = launch->start >= from && launch->end <= until;
        for (size_t k = i + 1; k < launches->list.count && alone; k++) {
            const struct launch *later = &launches->list.items[k];
            if (later->step != step || later->start >= launch->end)
                break;
            alone = !later->collective;
        }
        if (!alone && !beside)
            continue;
        struct products *group = NULL;
        for (size_t g = 0; g < groups.count && !group; g++)
            if (groups.items[g].name == launch->name && groups.items[g].flops == launch->flops)
                group = &groups.items[g];
        if (!group) {
            vec_push(&groups, ((struct products){.name = launch->name, .flops = launch->flops}));
            group = &groups.items[groups.count - 1];
        }
        const double took = (double)(launch->end - launch->start);
        if (beside)
            group->beside_ns += took, group->beside++;
        else
            group->alone_ns += took, group->alone++;
    }
    double beside = 0, expected = 0;
    for (size_t g = 0; g < groups.count; g++)
        if (groups.items[g].beside > 0 && groups.items[g].alone > 0) {
            beside += groups.items[g].beside_ns;
            expected += groups.items[g].beside * groups.items[g].alone_ns / groups.items[g].alone;
        }
    vec_release(&groups);
    return expected > 0 ? beside / expected : UNKNOWN_DOUBLE;
}

#define LIVE_SAMPLES 64

static void means(struct report_cell *cell, const struct run *run, int pass)
{
    for (size_t r = 0; r < cell->rank_count; r++) {
        struct report_rank *row = &cell->ranks[r];
        const struct rank *rank = run_rank(run, r);
        const double steps = row->steps ? (double)row->steps : UNKNOWN_DOUBLE;
        double *const sums[] = {&row->communication_ns, &row->compute_ns,  &row->exposed_ns,
                                &row->wait_ns,          &row->transfer_ns, &row->backward_ns};
        for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
            *sums[i] /= steps;
        double total = 0, timed = 0;
        for (size_t i = rank->samples.count; i-- > 0 && (run->ended || timed < LIVE_SAMPLES);)
            if (rank->samples.items[i].pass == pass && rank->samples.items[i].kind == STEP_TIMED) {
                total += (double)rank->samples.items[i].wall_ns;
                timed++;
            }
        row->step_ns = timed > 0 ? total / timed : UNKNOWN_DOUBLE;
    }
    for (size_t i = 0; i < cell->collective_count; i++) {
        cell->collectives[i].wait_ns /= (double)cell->collectives[i].calls;
        cell->collectives[i].transfer_ns /= (double)cell->collectives[i].calls;
    }
}

/* Processes of a command count steps and places each for itself, so nothing but sums can be laid beside each other. */
static void command_ranks(struct report_cell *cell, const struct run *run, int pass)
{
    for (size_t r = 0; r < cell->rank_count; r++) {
        const struct rank *rank = run_rank(run, r);
        struct report_rank *row = &cell->ranks[r];
        const struct running *wall = &rank->profiled_wall[pass];
        struct idle_total idle;
        aggregate_idle(rank->aggregate, (unsigned)pass, &idle);
        row->steps = idle.steps;
        row->step_ns = wall->n ? (double)wall->total / (double)wall->n : UNKNOWN_DOUBLE;
        row->communication_ns = row->wait_ns = row->transfer_ns = UNKNOWN_DOUBLE;
        row->compute_ns = row->exposed_ns = row->backward_ns = row->product_slow = UNKNOWN_DOUBLE;
        if (!idle.steps)
            continue;
        uint64_t nothing = 0;
        for (int reason = 0; reason < IDLE_REASONS; reason++)
            nothing += idle.ns[reason];
        row->compute_ns = (double)(idle.wall_ns - nothing) / (double)idle.steps;
        row->exposed_ns = (double)idle.ns[IDLE_RANK] / (double)idle.steps;
    }
}

void cell_build_ranks(struct report_cell *cell, const struct run *run)
{
    const size_t ranks = run->ranks.count, places = run_lead(run)->places.list.count;
    int pass = PASS_COUNT - 1;
    while (pass > 0 && !(run->cell.passes >> pass & 1))
        pass--;
    cell->rank_count = cell->collective_count = 0;
    if (ranks < 2)
        return;
    struct launches *all = calloc(ranks, sizeof *all);
    uint64_t *arrived = calloc(places + 1, sizeof *arrived);
    size_t *found = calloc(places + 1, sizeof *found);
    if (!all || !arrived || !found)
        goto out;
    cell->ranks = arena_array(&cell->arena, struct report_rank, ranks);
    cell->collectives = arena_array(&cell->arena, struct report_collective, places + 1);
    for (size_t r = 0; r < ranks; r++) {
        cell->ranks[r] = (struct report_rank){.rank = (uint32_t)r, .resident_peak = run_rank(run, r)->resident_peak};
        if (!run->command)
            take_launches(run_rank(run, r), pass, !run->ended, &all[r]);
    }
    cell->rank_count = ranks;
    if (run->command) {
        for (pass = PASS_COUNT - 1; pass > 0 && !run_lead(run)->profiled_wall[pass].n;)
            pass--;
        command_ranks(cell, run, pass);
        goto out;
    }
    /* Steps of which every rank holds as much as of any: the oldest may be cut by the window of records. */
    size_t most = 0;
    for (size_t i = 0; i < all[0].list.count;) {
        size_t from;
        const size_t count = step_launches(&all[0], all[0].list.items[i].step, &from);
        most = count > most ? count : most;
        i = from + count;
    }
    for (size_t i = 0; i < all[0].list.count;) {
        const uint32_t step = all[0].list.items[i].step;
        bool whole = true;
        size_t from;
        for (size_t r = 0; r < ranks; r++)
            whole &= step_launches(&all[r], step, &from) == most;
        if (whole) {
            last_arrivals(all, ranks, step, arrived, found, places);
            add_step(cell, run, all, step, arrived, places);
        }
        i += step_launches(&all[0], step, &from);
    }
    means(cell, run, pass);
    for (size_t r = 0; r < ranks; r++)
        cell->ranks[r].product_slow = product_slow(&all[r]);
out:
    for (size_t r = 0; all && r < ranks; r++)
        vec_release(&all[r].list);
    free(found);
    free(arrived);
    free(all);
}
