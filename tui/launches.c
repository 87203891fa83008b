#include "tui/launches.h"
#include "base/unknown.h"

void launches_release(struct launches *launches)
{
    vec_release(&launches->copy);
}

void launches_follow(struct launches *launches, const struct live *live, const struct run *run, size_t rank)
{
    launches->run = run;
    launches->rank = rank;
    launches->cell = NULL;
    if (!live_launches(live, run, rank, &launches->still, &launches->count))
        launches->count = aggregate_kept(run_rank(run, rank)->aggregate, &launches->first);
}

void launches_of_report(struct launches *launches, const struct report_cell *cell, int pass)
{
    launches->run = NULL;
    launches->cell = cell;
    launches->copy.count = 0;
    for (size_t i = 0; i < cell->launch_count; i++) {
        const struct report_launch *launch = &cell->timeline[i];
        if (launch->pass != pass || launch->kernel >= cell->kernel_count || !record_is_work(launch->kind))
            continue;
        const struct record record = {
            .start = launch->start_ns,
            .end = launch->start_ns + launch->duration_ns,
            .place = (int32_t)i, /* where its scope and phase are found again */
            .name = launch->kernel,
            .sequence = (uint32_t)i,
            .stream = launch->stream,
            .kind = launch->kind,
            .pass = launch->pass,
        };
        vec_push(&launches->copy, record);
    }
    launches->still = launches->copy.items;
    launches->count = launches->copy.count;
}

const struct record *launches_at(const struct launches *launches, size_t index)
{
    return launches->still
               ? &launches->still[index]
               : aggregate_record(run_rank(launches->run, launches->rank)->aggregate, launches->first + index);
}

const char *launches_name(const struct launches *launches, const struct record *launch)
{
    if (launches->cell)
        return launches->cell->kernels[launch->name].name;
    const char *name = aggregate_name_text(run_rank(launches->run, launches->rank)->aggregate, launch->name);
    return name ? name : "(unnamed)";
}

enum kernel_class launches_class(const struct launches *launches, const struct record *launch)
{
    if (launches->cell)
        return launches->cell->kernels[launch->name].kernel_class;
    return (enum kernel_class)places_at(&run_rank(launches->run, launches->rank)->places, launch->place)->kernel_class;
}

int32_t launches_scope(const struct launches *launches, const struct record *launch)
{
    return launches->cell ? launches->cell->timeline[launch->place].scope
                          : places_at(&run_rank(launches->run, launches->rank)->places, launch->place)->scope;
}

int launches_phase(const struct launches *launches, const struct record *launch)
{
    return launches->cell ? launches->cell->timeline[launch->place].phase
                          : places_at(&run_rank(launches->run, launches->rank)->places, launch->place)->phase;
}

bool launches_lost_before(const struct launches *launches, size_t index)
{
    return launches->run && run_rank(launches->run, launches->rank)->dropped && index > 0 &&
           launches_at(launches, index)->sequence > launches_at(launches, index - 1)->sequence + 1;
}

void launches_extent(const struct launches *launches, uint64_t *first, uint64_t *last)
{
    const size_t count = launches->count, some = count < LAUNCHES_DISORDER ? count : LAUNCHES_DISORDER;
    *first = UINT64_MAX;
    *last = 0;
    for (size_t i = 0; i < some; i++) {
        const struct record *old = launches_at(launches, i), *new = launches_at(launches, count - 1 - i);
        *first = old->start < *first ? old->start : *first;
        *last = new->end > *last ? new->end : *last;
    }
}

uint32_t launches_steps_between(const struct launches *launches, const struct record *before,
                                const struct record *after)
{
    return launches->run && after->step > before->step ? after->step - before->step - 1 : 0;
}

uint64_t launches_unrecorded_ns(const struct launches *launches, size_t begin, size_t end, uint64_t from,
                                uint64_t until)
{
    const struct record *last = NULL;
    uint64_t sum = 0;
    for (size_t i = begin ? begin - 1 : 0; i < launches->count; i++) {
        const struct record *launch = launches_at(launches, i);
        if (!record_is_work(launch->kind))
            continue;
        if (last && launches_steps_between(launches, last, launch) > 0) {
            const uint64_t low = last->end > from ? last->end : from;
            const uint64_t high = launch->start < until ? launch->start : until;
            sum += high > low ? high - low : 0;
        }
        if (i >= end)
            break;
        last = !last || launch->end > last->end || launch->step != last->step ? launch : last;
    }
    return sum;
}

double launches_step_ns(const struct launches *launches)
{
    uint64_t first = UINT64_MAX, last = 0;
    if (launches->cell) { /* one step, which begins at 0 */
        launches_extent(launches, &first, &last);
        return launches->count ? (double)last : UNKNOWN_DOUBLE;
    }
    uint32_t step = 0;
    for (size_t at = launches->count; at-- > 0;) {
        const struct record *launch = launches_at(launches, at);
        if (!record_is_work(launch->kind) || launch->step == launches_at(launches, launches->count - 1)->step)
            continue; /* that one is still under way */
        if (last && launch->step != step)
            break;
        step = launch->step;
        first = launch->start < first ? launch->start : first;
        last = launch->end > last ? launch->end : last;
    }
    return last ? (double)(last - first) : UNKNOWN_DOUBLE;
}

void launches_range(const struct launches *launches, uint64_t from, uint64_t to, size_t *begin, size_t *end)
{
    size_t before = 0; /* launches in a row that ended earlier */
    *begin = *end = launches->count;
    bool any = false;
    for (size_t i = launches->count; i-- > 0 && before < LAUNCHES_DISORDER;) {
        const struct record *launch = launches_at(launches, i);
        if (launch->end <= from) {
            before++;
            continue;
        }
        before = 0;
        if (launch->start >= to)
            continue;
        if (!any)
            *end = i + 1;
        any = true;
        *begin = i;
    }
    if (!any)
        *end = *begin;
}
