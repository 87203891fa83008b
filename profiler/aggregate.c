#include "profiler/aggregate.h"
#include "base/unknown.h"
#include "base/vec.h"
#include "profiler/cover.h"
#include "profiler/pending.h"
#include "profiles/profile.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LONGEST_NS (3600u * (uint64_t)SECOND_NS) /* a kernel of more than an hour is a broken clock */
#define AHEAD 4
#define LATEST_NS ((uint64_t)1 << 62)

struct aggregate {
    const struct places *places;
    struct arena text;
    const char **names; /* by id; NULL where not said yet */
    uint32_t name_count;
    size_t name_capacity;

    /* Room for all entries is reserved at once, so that they never move under a screen; the kernel gives pages only to
     * those in use. */
    struct entry *entries;
    struct pending *pending; /* of each, its latest durations */
    size_t entry_count;
    uint32_t last_entry;   /* of the record before, */
    uint32_t ahead[AHEAD]; /* and of those that are expected next: steps are alike, it is as in the step before */
    uint32_t *slots;       /* open addressing: entry index + 1, or 0 */
    uint32_t slot_mask;

    struct record *timeline;
    size_t timeline_capacity, timeline_limit, timeline_next;
    uint64_t timeline_added;

    struct cover cover;
    struct idle *idle;
    struct aggregate_counts counts;
    uint32_t next_sequence;
    uint64_t latest;
};

#define ENTRIES_BYTES (AGGREGATE_MAX_ENTRIES * sizeof(struct entry))
#define PENDING_BYTES (AGGREGATE_MAX_ENTRIES * sizeof(struct pending))

/* Room that takes memory where it is used; NULL when there is none. */
static void *reserve(size_t bytes)
{
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return room == MAP_FAILED ? NULL : room;
}

struct aggregate *aggregate_create(size_t timeline_records, const struct places *places)
{
    struct aggregate *aggregate = calloc(1, sizeof *aggregate);
    if (!aggregate)
        return NULL;
    aggregate->places = places;
    aggregate->timeline_limit = timeline_records;
    aggregate->slot_mask = 255;
    aggregate->slots = calloc(aggregate->slot_mask + 1u, sizeof *aggregate->slots);
    aggregate->entries = reserve(ENTRIES_BYTES);
    aggregate->pending = reserve(PENDING_BYTES);
    aggregate->idle = idle_create();
    if (!aggregate->slots || !aggregate->entries || !aggregate->pending || !aggregate->idle) {
        aggregate_free(aggregate);
        return NULL;
    }
    return aggregate;
}

void aggregate_free(struct aggregate *aggregate)
{
    if (!aggregate)
        return;
    for (size_t i = 0; i < aggregate->entry_count; i++) {
        histogram_release(&aggregate->entries[i].histogram);
        histogram_release(&aggregate->entries[i].warmup_histogram);
        histogram_release(&aggregate->entries[i].window_histogram[0]);
        histogram_release(&aggregate->entries[i].window_histogram[1]);
    }
    if (aggregate->entries)
        munmap(aggregate->entries, ENTRIES_BYTES);
    if (aggregate->pending)
        munmap(aggregate->pending, PENDING_BYTES);
    free(aggregate->slots);
    free(aggregate->names);
    free(aggregate->timeline);
    cover_release(&aggregate->cover);
    idle_free(aggregate->idle);
    arena_release(&aggregate->text);
    free(aggregate);
}

void aggregate_finish(struct aggregate *aggregate)
{
    cover_release(&aggregate->cover);
}

bool aggregate_name(struct aggregate *aggregate, uint32_t id, const char *name)
{
    const size_t length = strnlen(name, AGGREGATE_NAME_MAX);
    if (id >= AGGREGATE_MAX_NAMES || length >= AGGREGATE_NAME_MAX)
        return false;
    if (id < aggregate->name_count && aggregate->names[id])
        return strcmp(aggregate->names[id], name) == 0;
    aggregate->names = vec_grow(aggregate->names, &aggregate->name_capacity, (size_t)id + 1, sizeof *aggregate->names);
    while (aggregate->name_count <= id)
        aggregate->names[aggregate->name_count++] = NULL;
    aggregate->names[id] = arena_strndup(&aggregate->text, name, length);
    return true;
}

const char *aggregate_name_text(const struct aggregate *aggregate, uint32_t id)
{
    return id < aggregate->name_count ? aggregate->names[id] : NULL;
}

/* Counters are booked on the kernel around which they were read. */
static uint8_t booked_kind(const struct record *record)
{
    return record->kind == RECORD_COUNTERS ? RECORD_KERNEL : record->kind;
}

/* The key of an entry: all of a record that is the same from launch to launch. */
static bool same_entry(const struct pending *entry, const struct record *record)
{
    return entry->name == record->name && entry->place == record->place && entry->pass == record->pass &&
           entry->kind == booked_kind(record);
}

static uint32_t key_hash(uint32_t name, int32_t place, unsigned pass, unsigned kind)
{
    uint64_t key = ((uint64_t)name << 32 | (uint32_t)place) ^ (uint64_t)pass << 57 ^ (uint64_t)kind << 54;
    key *= 0x9e3779b97f4a7c15u;
    return (uint32_t)(key >> 32) ^ (uint32_t)(key >> 52);
}

static void slots_grow(struct aggregate *aggregate)
{
    const uint32_t mask = aggregate->slot_mask * 2 + 1;
    uint32_t *slots = vec_grow(NULL, &(size_t){0}, mask + 1u, sizeof *slots);
    memset(slots, 0, (mask + 1u) * sizeof *slots);
    for (uint32_t i = 0; i < aggregate->entry_count; i++) {
        const struct entry *entry = &aggregate->entries[i];
        uint32_t slot = key_hash(entry->name, entry->place, entry->pass, entry->kind) & mask;
        while (slots[slot])
            slot = (slot + 1) & mask;
        slots[slot] = i + 1;
    }
    free(aggregate->slots);
    aggregate->slots = slots;
    aggregate->slot_mask = mask;
}

/* The slot of the record's entry, or the free one where it belongs. */
static uint32_t slot_of(const struct aggregate *aggregate, const struct record *record)
{
    uint32_t slot = key_hash(record->name, record->place, record->pass, booked_kind(record)) & aggregate->slot_mask;
    while (aggregate->slots[slot] && !same_entry(&aggregate->pending[aggregate->slots[slot] - 1], record))
        slot = (slot + 1) & aggregate->slot_mask;
    return slot;
}

#define NO_ENTRY UINT32_MAX

/* The number of the record's entry, made on its first record; NO_ENTRY when there are too many. */
static uint32_t entry_of(struct aggregate *aggregate, const struct record *record)
{
    const uint32_t slot = slot_of(aggregate, record);
    if (aggregate->slots[slot])
        return aggregate->slots[slot] - 1;
    if (aggregate->entry_count >= AGGREGATE_MAX_ENTRIES)
        return NO_ENTRY;
    const uint32_t number = (uint32_t)aggregate->entry_count++;
    struct entry *entry = &aggregate->entries[number];
    aggregate->slots[slot] = number + 1;
    *entry = (struct entry){.name = record->name,
                            .place = record->place,
                            .pass = record->pass,
                            .kind = booked_kind(record),
                            .copy = record->copy,
                            .pageable = record->flags & RECORD_PAGEABLE};
    aggregate->pending[number] =
        (struct pending){.name = entry->name, .place = entry->place, .pass = entry->pass, .kind = entry->kind};
    for (size_t i = 0; i < sizeof entry->counters / sizeof *entry->counters; i++)
        entry->counters[i] = UNKNOWN_U64;
    if (aggregate->entry_count * 2 > aggregate->slot_mask)
        slots_grow(aggregate);
    return number;
}

static bool record_is_valid(const struct aggregate *aggregate, const struct record *record)
{
    if (record->kind >= RECORD_KIND_COUNT || record->pass >= PASS_COUNT || record->name >= AGGREGATE_MAX_NAMES ||
        record->copy >= COPY_DIRECTIONS || record->place < PLACE_UNKNOWN || record->place >= (int32_t)PLACES_MAX)
        return false;
    if (aggregate->places->whole && record->place >= (int32_t)aggregate->places->list.count)
        return false;
    if (record->kind == RECORD_COUNTERS)
        return true;
    /* A source that got no time says zero; that and an end before its start are refused. Of a kernel that starts before its
     * launch it is the launch that is in doubt. */
    return record->start > 0 && record->end >= record->start && record->end < LATEST_NS &&
           record->end - record->start <= LONGEST_NS;
}

static void add_counters(struct entry *entry, const struct record *record)
{
    /* A sum with a reading missing would look like a smaller one: it is not known. */
    for (int i = 0; i < 4; i++) {
        if (entry->counter_samples == 0)
            entry->counters[i] = record->counters[i];
        else if (entry->counters[i] != UNKNOWN_U64)
            entry->counters[i] =
                record->counters[i] == UNKNOWN_U64 ? UNKNOWN_U64 : entry->counters[i] + record->counters[i];
    }
    entry->counter_samples++;
}

static struct running running_of(const struct entry_second *slot)
{
    const double n = (double)slot->n, sum = (double)(int64_t)(slot->total - slot->n * slot->first);
    const double m2 = slot->squares - sum * sum / n;
    return (struct running){.n = slot->n,
                            .mean = (double)slot->total / n,
                            .m2 = m2 > 0 ? m2 : 0,
                            .min = slot->min,
                            .max = slot->max,
                            .total = slot->total};
}

static void book(struct aggregate *aggregate, uint32_t number)
{
    pending_book(&aggregate->pending[number], &aggregate->entries[number]);
}

static void book_all(struct aggregate *aggregate)
{
    for (size_t i = 0; i < aggregate->entry_count; i++)
        book(aggregate, (uint32_t)i);
}

static void add_time(struct aggregate *aggregate, uint32_t number, const struct record *record)
{
    const uint64_t duration = record->end - record->start, second = record->end / SECOND_NS;
    struct pending *pending = &aggregate->pending[number];
    const bool warmup = record->flags & RECORD_WARMUP, fits = !warmup && duration <= UINT32_MAX && second <= UINT32_MAX;
    if (pending->count && (!fits || pending->second != (uint32_t)second || pending->count == PENDING_MAX))
        book(aggregate, number);
    if (!fits) {
        entry_add(&aggregate->entries[number], duration, second, warmup);
        return;
    }
    pending->second = (uint32_t)second;
    pending->durations[pending->count++] = (uint32_t)duration;
}

/* Keeps the newest records: the store doubles up to its limit, then goes round. */
static void timeline_add(struct aggregate *aggregate, const struct record *records, size_t count)
{
    while (count && aggregate->timeline_limit) {
        if (aggregate->timeline_added >= aggregate->timeline_capacity &&
            aggregate->timeline_capacity < aggregate->timeline_limit) {
            size_t wanted = aggregate->timeline_capacity ? aggregate->timeline_capacity * 2 : 1024;
            if (wanted > aggregate->timeline_limit)
                wanted = aggregate->timeline_limit;
            struct record *grown = realloc(aggregate->timeline, wanted * sizeof *grown);
            if (!grown) { /* what there is will do */
                aggregate->timeline_limit = aggregate->timeline_capacity;
                continue;
            }
            aggregate->timeline = grown;
            aggregate->timeline_capacity = wanted;
            aggregate->timeline_next = aggregate->timeline_added;
        }
        if (aggregate->timeline_next >= aggregate->timeline_capacity)
            aggregate->timeline_next = 0;
        const size_t room = aggregate->timeline_capacity - aggregate->timeline_next, part = count < room ? count : room;
        memcpy(aggregate->timeline + aggregate->timeline_next, records, part * sizeof *records);
        aggregate->timeline_next += part;
        aggregate->timeline_added += part;
        records += part;
        count -= part;
    }
}

/* The number of the record's entry: most often the one that came after the same one the last time. What booking will touch is asked
 * for some records ahead, for a model's entries do not stay in the cache beside the records that stream through it. */
static uint32_t find_entry(struct aggregate *aggregate, const struct record *record)
{
    struct pending *pending = aggregate->pending;
    uint32_t *ahead = aggregate->ahead, number = ahead[0];
    if (aggregate->entry_count && same_entry(&pending[number], record)) {
        for (int i = 0; i < AHEAD - 1; i++)
            ahead[i] = ahead[i + 1];
    } else {
        number = entry_of(aggregate, record);
        if (number == NO_ENTRY)
            return NO_ENTRY;
        pending[aggregate->last_entry].next = number;
        ahead[0] = pending[number].next;
        for (int i = 1; i < AHEAD - 1; i++)
            ahead[i] = pending[ahead[i - 1]].next;
    }
    ahead[AHEAD - 1] = pending[ahead[AHEAD - 2]].next;
    aggregate->last_entry = number;
    const uint32_t soon = ahead[AHEAD - 2], next = ahead[0];
    __builtin_prefetch(&pending[ahead[AHEAD - 1]], 1);
    if (pending[soon].count == PENDING_MAX)
        pending_prefetch(&pending[soon], &aggregate->entries[soon]);
    if (pending[next].count == PENDING_MAX)
        pending_prefetch_bins(&pending[next], &aggregate->entries[next]);
    return number;
}

/* What is wrong with a record, or its counters, leave it out of the times; false then. */
static bool take_record(struct aggregate *aggregate, const struct record *record)
{
    /* Sequence numbers go round after 2^32; a step back is no gap but a producer gone mad. */
    const uint32_t gap = record->sequence - aggregate->next_sequence;
    if (gap >= 1u << 31) {
        aggregate->counts.invalid++;
        return false;
    }
    aggregate->counts.lost += gap;
    aggregate->next_sequence = record->sequence + 1;
    const uint32_t number = record_is_valid(aggregate, record) ? find_entry(aggregate, record) : NO_ENTRY;
    if (number == NO_ENTRY) {
        aggregate->counts.invalid++;
        return false;
    }
    if (record->kind == RECORD_COUNTERS) {
        add_counters(&aggregate->entries[number], record);
        return false;
    }
    add_time(aggregate, number, record);
    return true;
}

/* Records that were taken one after another, all that counts them as a whole. */
static void take_run(struct aggregate *aggregate, const struct record *records, size_t count)
{
    uint64_t latest = aggregate->latest, unattributed = 0;
    for (size_t i = 0; i < count; i++) {
        latest = records[i].end > latest ? records[i].end : latest;
        unattributed += records[i].place < 0 && record_is_work(records[i].kind);
    }
    aggregate->latest = latest;
    aggregate->counts.unattributed += unattributed;
    idle_records(aggregate->idle, records, count, aggregate->places);
    cover_add(&aggregate->cover, records, count);
    timeline_add(aggregate, records, count);
}

void aggregate_add(struct aggregate *aggregate, const struct record *records, size_t count)
{
    size_t kept = 0; /* records from here to i go to the timeline together */
    for (size_t i = 0; i < count; i++) {
        if (take_record(aggregate, &records[i]))
            continue;
        take_run(aggregate, records + kept, i - kept);
        kept = i + 1;
    }
    take_run(aggregate, records + kept, count - kept);
    aggregate->counts.records += count;
}

const struct entry *aggregate_entries(struct aggregate *aggregate, size_t *count)
{
    book_all(aggregate);
    *count = aggregate->entry_count;
    return aggregate->entries;
}

void entry_window(const struct entry *entry, uint64_t now, struct running *window)
{
    *window = (struct running){0};
    const uint64_t second = now / SECOND_NS;
    for (int i = 0; i < ENTRY_WINDOW; i++) {
        const struct entry_second *slot = &entry->window[i];
        if (!slot->n || slot->second > second || second - slot->second >= ENTRY_WINDOW)
            continue;
        const struct running one = running_of(slot);
        running_merge(window, &one);
    }
}

void entry_window_histogram(const struct entry *entry, uint64_t now, struct histogram *histogram)
{
    const uint64_t half = now / SECOND_NS / (ENTRY_WINDOW / 2);
    for (int i = 0; i < 2; i++)
        if (entry->window_half[i] == half || entry->window_half[i] + 1 == half)
            histogram_merge(histogram, &entry->window_histogram[i]);
}

uint64_t aggregate_latest(const struct aggregate *aggregate)
{
    return aggregate->latest;
}

void aggregate_cover(const struct aggregate *aggregate, int pass, struct step_cover *cover)
{
    *cover = pass >= 0 && pass < PASS_COUNT ? aggregate->cover.passes[pass] : (struct step_cover){0};
}

void aggregate_window(struct aggregate *aggregate, unsigned pass, uint64_t start, uint64_t end)
{
    idle_window(aggregate->idle, pass, start, end);
}

void aggregate_settle(struct aggregate *aggregate, uint64_t now)
{
    idle_settle(aggregate->idle, now > aggregate->latest ? now : aggregate->latest);
}

void aggregate_idle(const struct aggregate *aggregate, unsigned pass, struct idle_total *total)
{
    idle_total(aggregate->idle, pass, total);
}

void aggregate_counts(const struct aggregate *aggregate, struct aggregate_counts *counts)
{
    *counts = aggregate->counts;
}

size_t aggregate_kept(const struct aggregate *aggregate, uint64_t *first)
{
    const uint64_t added = aggregate->timeline_added;
    const size_t count = added < aggregate->timeline_capacity ? (size_t)added : aggregate->timeline_capacity;
    *first = added - count;
    return count;
}

const struct record *aggregate_record(const struct aggregate *aggregate, uint64_t number)
{
    return &aggregate->timeline[number % aggregate->timeline_capacity];
}

size_t aggregate_recent(const struct aggregate *aggregate, struct record *records, size_t max)
{
    uint64_t first;
    const size_t kept = aggregate_kept(aggregate, &first), count = kept < max ? kept : max;
    for (size_t i = 0; i < count; i++)
        records[i] = *aggregate_record(aggregate, first + kept - count + i);
    return count;
}

/* The n-th newest raw record. */
static const struct record *timeline_back(const struct aggregate *aggregate, uint64_t n)
{
    return &aggregate->timeline[(aggregate->timeline_added - 1 - n) % aggregate->timeline_capacity];
}

static bool is_of_step(const struct record *record, int pass, uint32_t step)
{
    return record->pass == pass && record->step == step && !(record->flags & RECORD_WARMUP);
}

void aggregate_drop_step(struct aggregate *aggregate, int pass)
{
    const struct step_cover *cover = &aggregate->cover.passes[pass];
    const uint64_t kept = aggregate->timeline_added < aggregate->timeline_capacity ? aggregate->timeline_added
                                                                                   : aggregate->timeline_capacity;
    uint64_t launches = 0;
    for (uint64_t i = 0; i < kept; i++) {
        const struct record *record = timeline_back(aggregate, i);
        launches += is_of_step(record, pass, cover->last_step) && record_is_work(record->kind);
    }
    const uint32_t step = cover->last_step;
    book_all(aggregate);
    if (launches < cover->last_launches || !cover_remove(&aggregate->cover, pass, step))
        return;
    for (uint64_t i = 0; i < kept; i++) {
        const struct record *record = timeline_back(aggregate, i);
        const uint32_t slot = is_of_step(record, pass, step) ? aggregate->slots[slot_of(aggregate, record)] : 0;
        if (!slot)
            continue;
        entry_remove(&aggregate->entries[slot - 1], record->end - record->start);
    }
}
