/* Records in, totals out: against brute force over the same records, and refusals of what is no record. */
#include "base/random.h"
#include "base/unknown.h"
#include "profiler/aggregate.h"
#include "profiles/profile.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define assert_near(value, expected, relative)                                                                         \
    assert_true(fabs((value) - (expected)) <= (relative)*fabs((double)(expected)))

static const struct places no_places; /* nothing was said: records may come early */

static struct record kernel(uint32_t sequence, uint32_t step, uint32_t name, int32_t node, uint64_t start, uint64_t end)
{
    return (struct record){.start = start,
                           .end = end,
                           .launch = start,
                           .place = node,
                           .name = name,
                           .step = step,
                           .sequence = sequence,
                           .kind = RECORD_KERNEL,
                           .pass = PASS_FWD_BWD};
}

static struct aggregate_counts counts_of(const struct aggregate *aggregate)
{
    struct aggregate_counts counts;
    aggregate_counts(aggregate, &counts);
    return counts;
}

static void adds_up(void **state)
{
    (void)state;
    struct aggregate *aggregate = aggregate_create(16, &no_places);
    /* kernel 0 at node 0: 100 and 300 ns; kernel 0 at node 1: 50 ns; kernel 1, unattributed: 7 ns; one warm-up of 900 ns */
    struct record records[] = {
        kernel(0, 1, 0, 0, 1000, 1900),  kernel(1, 2, 0, 0, 3000, 3100), kernel(2, 2, 0, 1, 3100, 3150),
        kernel(3, 2, 1, -1, 3200, 3207), kernel(4, 3, 0, 0, 5000, 5300),
    };
    records[0].flags = RECORD_WARMUP;
    aggregate_add(aggregate, records, 5);
    size_t count;
    const struct entry *entries = aggregate_entries(aggregate, &count);
    assert_int_equal(count, 3);
    assert_int_equal(entries[0].time.n, 2);
    assert_int_equal(entries[0].time.total, 400);
    assert_int_equal(entries[0].time.min, 100);
    assert_int_equal(entries[0].time.max, 300);
    assert_near(running_sd(&entries[0].time), sqrt(20000), 1e-12);
    assert_int_equal(entries[0].histogram.count, 2);
    assert_int_equal(entries[0].warmup.n, 1);
    assert_int_equal(entries[0].warmup.total, 900);
    assert_int_equal(entries[0].warmup_histogram.count, 1);
    assert_int_equal(entries[0].recent_next, 3);
    assert_int_equal(entries[0].recent[0], 900);
    assert_int_equal(entries[0].recent[2], 300);
    assert_int_equal(entries[0].counters[0], UNKNOWN_U64);
    assert_int_equal(entries[1].place, 1);
    assert_int_equal(entries[1].time.total, 50);
    assert_int_equal(entries[2].place, -1);
    struct aggregate_counts counts = counts_of(aggregate);
    assert_int_equal(counts.records, 5);
    assert_int_equal(counts.unattributed, 1);
    assert_int_equal(counts.lost + counts.invalid, 0);
    struct step_cover cover;
    aggregate_cover(aggregate, PASS_FWD_BWD, &cover);
    assert_int_equal(cover.steps, 2); /* the warm-up is not one of them */
    assert_int_equal(cover.busy_ns, 100 + 50 + 7 + 300);
    assert_int_equal(cover.sum_ns, cover.busy_ns);
    assert_int_equal(cover.first_start, 3000);
    assert_int_equal(cover.last_end, 5300);
    aggregate_cover(aggregate, PASS_FWD, &cover);
    assert_int_equal(cover.steps, 0);
    aggregate_free(aggregate);
}

/* Readings are booked on the kernel around which they were made; times stay apart, and a sum with a gap is no sum. */
static void counters_add_up(void **state)
{
    (void)state;
    struct aggregate *aggregate = aggregate_create(0, &no_places);
    struct record records[3] = {kernel(0, 1, 0, 0, 10, 20), kernel(1, 1, 0, 0, 1000, 2000),
                                kernel(2, 1, 0, 0, 500, UNKNOWN_U64)};
    records[1].kind = records[2].kind = RECORD_COUNTERS;
    records[1].launch = records[2].launch = UNKNOWN_U64; /* no cache misses here */
    records[1].payload = 3;
    records[2].payload = 4;
    aggregate_add(aggregate, records, 3);
    size_t count;
    const struct entry *entries = aggregate_entries(aggregate, &count);
    assert_int_equal(count, 1);
    assert_int_equal(entries[0].kind, RECORD_KERNEL);
    assert_int_equal(entries[0].counters[0], 1500);
    assert_int_equal(entries[0].counters[1], UNKNOWN_U64);
    assert_int_equal(entries[0].counters[2], UNKNOWN_U64);
    assert_int_equal(entries[0].counters[3], 7);
    assert_int_equal(entries[0].counter_samples, 2);
    assert_int_equal(entries[0].time.n, 1);
    assert_int_equal(entries[0].time.total, 10);
    assert_int_equal(counts_of(aggregate).invalid, 0);
    aggregate_free(aggregate);
}

static void refuses_bad_records(void **state)
{
    (void)state;
    struct place two[2] = {{.phase = PHASE_FWD}, {.phase = PHASE_BWD}};
    const struct places places = {.list = {.items = two, .count = 2}, .whole = true};
    struct aggregate *aggregate = aggregate_create(4, &places);
    const struct record good = kernel(0, 1, 0, 0, 1000, 2000);
    struct record bad[11];
    for (int i = 0; i < 11; i++)
        bad[i] = good;
    bad[0].end = 999;                              /* ends before it starts */
    bad[1].start = bad[1].end = bad[1].launch = 0; /* no time was obtained */
    bad[2].end = bad[2].start + 3601000000000u;    /* a kernel of an hour */
    bad[3].place = 2;                              /* beyond the table, which is whole */
    bad[4].place = -2;
    bad[5].kind = RECORD_KIND_COUNT;
    bad[6].pass = PASS_COUNT;
    bad[7].name = AGGREGATE_MAX_NAMES;
    bad[8].end = UINT64_MAX;
    bad[9].place = INT32_MAX;
    bad[10].name = UINT32_MAX;
    for (int i = 0; i < 11; i++) {
        bad[i].sequence = (uint32_t)i;
        aggregate_add(aggregate, &bad[i], 1);
        assert_int_equal(counts_of(aggregate).invalid, i + 1);
    }
    struct record fine = good;
    fine.sequence = 11;
    fine.launch = fine.start + 1; /* of a kernel that starts before its launch it is the launch that is in doubt */
    aggregate_add(aggregate, &fine, 1);
    fine.sequence = 12;
    fine.launch = UNKNOWN_U64;
    aggregate_add(aggregate, &fine, 1);
    size_t count;
    const struct entry *entries = aggregate_entries(aggregate, &count);
    assert_int_equal(count, 1);
    assert_int_equal(entries[0].time.n, 2);
    assert_int_equal(counts_of(aggregate).records, 13);
    assert_int_equal(counts_of(aggregate).invalid, 11);
    aggregate_free(aggregate);
}

static void loss_shows_in_the_sequence(void **state)
{
    (void)state;
    struct aggregate *aggregate = aggregate_create(0, &no_places);
    struct record records[4] = {kernel(0, 1, 0, 0, 10, 20), kernel(5, 1, 0, 0, 30, 40), kernel(6, 1, 0, 0, 50, 60),
                                kernel(6, 1, 0, 0, 50, 60)};
    aggregate_add(aggregate, records, 4);
    assert_int_equal(counts_of(aggregate).lost, 4);
    assert_int_equal(counts_of(aggregate).invalid, 1); /* the same number twice */
    aggregate_free(aggregate);
}

/* Random overlapping intervals on several streams, in an order of their own: the union against painting a line of time. */
static void cover_against_painting(void **state)
{
    (void)state;
    enum { LINE = 20000, STEPS = 40 };
    static unsigned char line[LINE];
    struct aggregate *aggregate = aggregate_create(0, &no_places);
    uint64_t busy = 0, sum = 0;
    uint32_t sequence = 0;
    for (uint32_t step = 0; step < STEPS; step++) {
        memset(line, 0, sizeof line);
        const uint64_t base = 1000 + step * (uint64_t)LINE;
        for (uint64_t i = 0; i < 300; i++) {
            /* later ones start later on the whole, by up to 1000 out of order */
            const uint64_t start = i * 60 + random_bits(step, 1, i) % 1000, length = random_bits(step, 2, i) % 120;
            for (uint64_t t = start; t < start + length; t++)
                line[t] = 1;
            struct record record = kernel(sequence++, step, 0, 0, base + start, base + start + length);
            record.stream = (uint16_t)(i % 3);
            aggregate_add(aggregate, &record, 1);
            sum += length;
        }
        for (size_t t = 0; t < LINE; t++)
            busy += line[t];
    }
    struct step_cover cover;
    aggregate_cover(aggregate, PASS_FWD_BWD, &cover);
    assert_int_equal(cover.steps, STEPS);
    assert_int_equal(cover.sum_ns, sum);
    assert_int_equal(cover.busy_ns, busy);
    aggregate_free(aggregate);
}

/* What a cut step added is gone from entries and cover, as if it had never been. */
static void a_cut_step_is_taken_out(void **state)
{
    (void)state;
    enum { LAUNCHES = 50, STEPS = 4, CUT = 20 };
    struct aggregate *whole = aggregate_create(1024, &no_places), *cut = aggregate_create(1024, &no_places);
    uint32_t sequence = 0;
    for (uint32_t i = 0; i < STEPS * LAUNCHES + CUT; i++) {
        const uint32_t step = 1 + i / LAUNCHES, at = i % LAUNCHES;
        const uint64_t start = 1000 + i * 1000ull, length = 100 + random_bits(3, step, at) % 1200; /* some overlap */
        const struct record record = kernel(sequence++, step, at % 3, (int32_t)(at % 5), start, start + length);
        aggregate_add(cut, &record, 1);
        if (step <= STEPS)
            aggregate_add(whole, &record, 1);
    }
    aggregate_drop_step(cut, PASS_FWD_BWD);
    size_t count, count_cut;
    const struct entry *a = aggregate_entries(whole, &count), *b = aggregate_entries(cut, &count_cut);
    assert_int_equal(count, count_cut);
    for (size_t e = 0; e < count; e++) {
        assert_int_equal(b[e].time.n, a[e].time.n);
        assert_int_equal(b[e].time.total, a[e].time.total);
        assert_near(b[e].time.mean, a[e].time.mean, 1e-12);
        assert_near(running_sd(&b[e].time), running_sd(&a[e].time), 1e-9);
        assert_int_equal(b[e].histogram.count, a[e].histogram.count);
        assert_true(histogram_quantile(&b[e].histogram, 0.5) == histogram_quantile(&a[e].histogram, 0.5));
    }
    struct step_cover x, y;
    aggregate_cover(whole, PASS_FWD_BWD, &x);
    aggregate_cover(cut, PASS_FWD_BWD, &y);
    assert_int_equal(y.steps, STEPS);
    assert_int_equal(y.busy_ns, x.busy_ns);
    assert_int_equal(y.sum_ns, x.sum_ns);
    aggregate_free(whole);
    aggregate_free(cut);
}

/* Far more disjoint kernels in a step than the list of intervals holds, with two steps under way at once. */
static void cover_of_long_steps(void **state)
{
    (void)state;
    struct aggregate *aggregate = aggregate_create(0, &no_places);
    uint32_t sequence = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        struct record one = kernel(sequence++, 7, 0, 0, 1000 + 10 * i, 1004 + 10 * i);
        struct record two = kernel(sequence++, 8, 0, 0, 1004 + 10 * i, 1009 + 10 * i);
        two.pass = PASS_FWD;
        aggregate_add(aggregate, &one, 1);
        aggregate_add(aggregate, &two, 1);
    }
    struct step_cover cover;
    aggregate_cover(aggregate, PASS_FWD_BWD, &cover);
    assert_int_equal(cover.steps, 1);
    assert_int_equal(cover.busy_ns, 40000);
    aggregate_cover(aggregate, PASS_FWD, &cover);
    assert_int_equal(cover.steps, 1);
    assert_int_equal(cover.busy_ns, 50000);
    aggregate_free(aggregate);
}

/* What comes late and begins where intervals were let go counts from where the last of those ended. */
static void cover_of_what_comes_late(void **state)
{
    (void)state;
    struct aggregate *aggregate = aggregate_create(0, &no_places);
    uint32_t sequence = 0;
    for (uint64_t i = 0; i < 1025; i++) {
        const struct record one = kernel(sequence++, 7, 0, 0, 1000 + 10 * i, 1004 + 10 * i);
        aggregate_add(aggregate, &one, 1);
    }
    const struct record late = kernel(sequence++, 7, 0, 0, 6108, 6116); /* the 512th ended at 6114 */
    aggregate_add(aggregate, &late, 1);
    struct step_cover cover;
    aggregate_cover(aggregate, PASS_FWD_BWD, &cover);
    assert_int_equal(cover.busy_ns, 1025 * 4 + 2);
    assert_int_equal(cover.last_busy_ns, cover.busy_ns);
    assert_int_equal(cover.last_sum_ns, 1025 * 4 + 8);
    aggregate_free(aggregate);
}

static void timeline_keeps_the_newest(void **state)
{
    (void)state;
    struct aggregate *aggregate = aggregate_create(1500, &no_places);
    for (uint32_t i = 0; i < 5000; i++) {
        struct record record = kernel(i, 1, 0, 0, 100 + i, 101 + i);
        aggregate_add(aggregate, &record, 1);
        struct record newest;
        assert_int_equal(aggregate_recent(aggregate, &newest, 1), 1);
        assert_int_equal(newest.sequence, i);
    }
    static struct record recent[2000];
    assert_int_equal(aggregate_recent(aggregate, recent, 2000), 1500);
    uint64_t first;
    assert_int_equal(aggregate_kept(aggregate, &first), 1500);
    assert_int_equal(first, 3500);
    assert_int_equal(aggregate_record(aggregate, first)->sequence, 3500);
    assert_int_equal(aggregate_record(aggregate, first + 1499)->sequence, 4999);
    for (uint32_t i = 0; i < 1500; i++)
        assert_int_equal(recent[i].sequence, 3500 + i);
    aggregate_free(aggregate);
    aggregate = aggregate_create(0, &no_places);
    struct record record = kernel(0, 1, 0, 0, 100, 101);
    aggregate_add(aggregate, &record, 1);
    assert_int_equal(aggregate_recent(aggregate, recent, 2000), 0);
    aggregate_free(aggregate);
}

/* An entry is the same to the last bit however its launches came and were asked for, and its spread is exact behind a first launch
 * that was a hundred thousand times as long. Warm-ups and launches of more than 4.3 s between them do not change the order. */
static void same_in_any_portions(void **state)
{
    (void)state;
    enum { LAUNCHES = 1000, KERNELS = 3 };
    struct aggregate *one = aggregate_create(16, &no_places), *all = aggregate_create(16, &no_places);
    static struct record records[LAUNCHES];
    struct running plain[KERNELS] = {0};
    uint64_t first[KERNELS] = {0};
    for (uint32_t i = 0; i < LAUNCHES; i++) {
        const uint32_t name = random_bits(7, i, 0) % KERNELS;
        const bool warmup = i % 97 == 5, longest = i % 211 == 7;
        const uint64_t start = 1000000000u + i * 6000000000ull, length = i < 3     ? 1000000000u
                                                                         : longest ? 5000000000u
                                                                                   : 10000 + random_bits(7, i, 1) % 100;
        records[i] = kernel(i, 1, name, 0, start, start + length);
        records[i].flags = warmup ? RECORD_WARMUP : 0;
        aggregate_add(one, &records[i], 1);
        size_t count;
        if (i % 7 == 0)
            aggregate_entries(one, &count);
        if (!warmup) {
            running_add(&plain[name], length);
            first[name] = first[name] ? first[name] : length;
        }
    }
    aggregate_add(all, records, LAUNCHES);
    size_t count, count_all;
    const struct entry *a = aggregate_entries(one, &count), *b = aggregate_entries(all, &count_all);
    assert_int_equal(count, KERNELS);
    assert_int_equal(count_all, KERNELS);
    for (size_t e = 0; e < count; e++) {
        const struct running *expected = &plain[a[e].name];
        assert_memory_equal(&a[e].time, &b[e].time, sizeof a[e].time);
        assert_memory_equal(&a[e].warmup, &b[e].warmup, sizeof a[e].warmup);
        assert_memory_equal(a[e].recent, b[e].recent, sizeof a[e].recent);
        assert_int_equal(a[e].recent_next, b[e].recent_next);
        assert_int_equal(a[e].histogram.count, expected->n);
        assert_int_equal(b[e].window_histogram[0].count + b[e].window_histogram[1].count,
                         a[e].window_histogram[0].count + a[e].window_histogram[1].count);
        assert_int_equal(a[e].time.n, expected->n);
        assert_int_equal(a[e].time.total, expected->total);
        assert_int_equal(a[e].time.min, expected->min);
        assert_int_equal(a[e].time.max, expected->max);
        assert_int_equal(a[e].first, first[a[e].name]);
        assert_near(a[e].time.mean, expected->mean, 1e-9);
        assert_near(running_sd(&a[e].time), running_sd(expected), 1e-6);
    }
    aggregate_free(one);
    aggregate_free(all);

    /* 1 s, then 10.00 and 10.02 µs in turns: m2 by hand. */
    struct aggregate *spread = aggregate_create(0, &no_places);
    struct record record = kernel(0, 1, 0, 0, 1000, 1000001000);
    aggregate_add(spread, &record, 1);
    const double n = 1001, low = 10000, high = 10020, mean = (1e9 + 500 * low + 500 * high) / n;
    for (uint32_t i = 1; i <= 1000; i++) {
        record = kernel(i, 1, 0, 0, 2000000000u + i * 100000ull, 2000000000u + i * 100000ull + (i % 2 ? 10000 : 10020));
        aggregate_add(spread, &record, 1);
    }
    const struct entry *entry = aggregate_entries(spread, &count);
    const double m2 =
        (1e9 - mean) * (1e9 - mean) + 500 * (low - mean) * (low - mean) + 500 * (high - mean) * (high - mean);
    assert_near(entry->time.m2, m2, 1e-12);
    aggregate_free(spread);
}

static void window_forgets(void **state)
{
    (void)state;
    struct aggregate *aggregate = aggregate_create(0, &no_places);
    const uint64_t second = 1000000000u;
    for (uint32_t i = 0; i < 60; i++) { /* one launch of i + 1 ns in each second of a minute */
        struct record record = kernel(i, i, 0, 0, (100 + i) * second, (100 + i) * second + i + 1);
        aggregate_add(aggregate, &record, 1);
    }
    size_t count;
    const struct entry *entry = aggregate_entries(aggregate, &count);
    struct running window;
    entry_window(entry, 159 * second + 5, &window); /* seconds 150 … 159: launches of 51 … 60 ns */
    assert_int_equal(window.n, 10);
    assert_int_equal(window.min, 51);
    assert_int_equal(window.max, 60);
    assert_near(window.mean, 55.5, 1e-12);
    entry_window(entry, 165 * second, &window);
    assert_int_equal(window.n, 4);
    entry_window(entry, 500 * second, &window);
    assert_int_equal(window.n, 0);
    /* Quantiles: at second 159 those of the halves 155 … 159 and 150 … 154, at 162 those of 160 … and 155 …, then none. */
    struct histogram histogram = {0};
    entry_window_histogram(entry, 159 * second + 5, &histogram);
    assert_int_equal(histogram.count, 10);
    assert_near(histogram_quantile(&histogram, 0.5), 55.5, 0.03);
    histogram_release(&histogram);
    entry_window_histogram(entry, 162 * second, &histogram);
    assert_int_equal(histogram.count, 5);
    assert_near(histogram_quantile(&histogram, 0.5), 58, 0.03);
    histogram_release(&histogram);
    entry_window_histogram(entry, 500 * second, &histogram);
    assert_int_equal(histogram.count, 0);
    assert_int_equal(entry->time.n, 60);
    aggregate_free(aggregate);
}

/* Mean and spread within seconds, of many launches, the first of them an outlier. */
static void window_spreads(void **state)
{
    (void)state;
    struct aggregate *aggregate = aggregate_create(0, &no_places);
    struct running plain = {0}, window;
    for (uint32_t i = 0; i < 5000; i++) {
        const uint64_t duration = i % 1000 == 0 ? 90000000 : 1000000 + i * 7919 % 1000;
        const uint64_t start = 5000000000u + i * 600000ull; /* over three seconds */
        struct record record = kernel(i, 0, 0, 0, start, start + duration);
        aggregate_add(aggregate, &record, 1);
        running_add(&plain, duration);
    }
    size_t count;
    entry_window(aggregate_entries(aggregate, &count), 8500000000u, &window);
    assert_int_equal(window.n, 5000);
    assert_int_equal(window.total, plain.total);
    assert_near(window.mean, plain.mean, 1e-12);
    assert_near(running_sd(&window), running_sd(&plain), 1e-9);
    aggregate_free(aggregate);
}

static void names_are_said_once(void **state)
{
    (void)state;
    struct aggregate *aggregate = aggregate_create(0, &no_places);
    assert_true(aggregate_name(aggregate, 3, "sgemm_nt"));
    assert_true(aggregate_name(aggregate, 3, "sgemm_nt"));
    assert_false(aggregate_name(aggregate, 3, "other"));
    assert_string_equal(aggregate_name_text(aggregate, 3), "sgemm_nt");
    assert_null(aggregate_name_text(aggregate, 2));
    assert_null(aggregate_name_text(aggregate, 4));
    assert_null(aggregate_name_text(aggregate, UINT32_MAX));
    assert_false(aggregate_name(aggregate, AGGREGATE_MAX_NAMES, "x"));
    char long_name[AGGREGATE_NAME_MAX + 1];
    memset(long_name, 'k', sizeof long_name);
    long_name[AGGREGATE_NAME_MAX] = 0;
    assert_false(aggregate_name(aggregate, 5, long_name));
    long_name[AGGREGATE_NAME_MAX - 1] = 0;
    assert_true(aggregate_name(aggregate, 5, long_name));
    aggregate_free(aggregate);
}

/* Ten thousand kernels keep their own totals, and entries do not move while others come; too many are refused. */
static void many_kernels(void **state)
{
    (void)state;
    struct aggregate *aggregate = aggregate_create(0, &no_places);
    size_t count;
    uint32_t sequence = 0;
    struct record record = kernel(sequence++, 1, 0, 0, 100, 101);
    aggregate_add(aggregate, &record, 1);
    const struct entry *first = aggregate_entries(aggregate, &count);
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 10000; i++) {
            record = kernel(sequence++, 1, i % AGGREGATE_MAX_NAMES, (int32_t)(i * 7), 1000, 1000 + i);
            aggregate_add(aggregate, &record, 1);
        }
    const struct entry *entries = aggregate_entries(aggregate, &count);
    assert_ptr_equal(entries, first);
    assert_int_equal(count, 10000); /* the very first record is node 0 of name 0 */
    for (uint32_t i = 1; i < 10000; i++) {
        assert_int_equal(entries[i].name, i);
        assert_int_equal(entries[i].time.n, 2);
        assert_int_equal(entries[i].time.total, 2 * i);
    }
    for (uint32_t i = 0; i < AGGREGATE_MAX_ENTRIES; i++) {
        record = kernel(sequence++, 1, 0, (int32_t)(100000 + i), 1000, 1001);
        aggregate_add(aggregate, &record, 1);
    }
    aggregate_entries(aggregate, &count);
    assert_int_equal(count, AGGREGATE_MAX_ENTRIES);
    assert_int_equal(counts_of(aggregate).invalid, 10000);
    aggregate_free(aggregate);
}

/* Records of random bytes: none may harm, each is counted. */
static void random_bytes(void **state)
{
    (void)state;
    struct aggregate *aggregate = aggregate_create(64, &no_places);
    for (uint64_t i = 0; i < 20000; i++) {
        union {
            struct record record;
            uint64_t words[8];
        } any;
        for (uint64_t w = 0; w < 8; w++)
            any.words[w] = random_bits(9, i, w) >> (random_bits(10, i, w) % 64);
        aggregate_add(aggregate, &any.record, 1);
    }
    assert_int_equal(counts_of(aggregate).records, 20000);
    assert_true(counts_of(aggregate).invalid > 0);
    aggregate_free(aggregate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_up),
        cmocka_unit_test(counters_add_up),
        cmocka_unit_test(refuses_bad_records),
        cmocka_unit_test(loss_shows_in_the_sequence),
        cmocka_unit_test(cover_against_painting),
        cmocka_unit_test(cover_of_long_steps),
        cmocka_unit_test(cover_of_what_comes_late),
        cmocka_unit_test(a_cut_step_is_taken_out),
        cmocka_unit_test(timeline_keeps_the_newest),
        cmocka_unit_test(window_spreads),
        cmocka_unit_test(same_in_any_portions),
        cmocka_unit_test(window_forgets),
        cmocka_unit_test(names_are_said_once),
        cmocka_unit_test(many_kernels),
        cmocka_unit_test(random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
