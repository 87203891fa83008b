/* The fastest of several candidates by a made-up clock, and which nodes of a plan must wait for which. */
#include "base/unknown.h"
#include "kernels/choice.h"
#include "kernels/device.h"
#include "kernels/schedule.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* A device that takes cost[candidate] µs a run, and once a cold start. */
struct fake {
    const double *cost; /* NaN: does not run */
    double start;       /* what the first round takes more, or less */
    int candidate, repeats, rounds[8], stopped;
    bool open, cold;
};

static bool fake_ready(void *context, int candidate, int repeats, struct error *error)
{
    struct fake *fake = context;
    assert_false(fake->open);
    fake->open = true;
    if (!is_known(fake->cost[candidate]))
        return error_set(error, ERROR_UNSUPPORTED, "candidate %d does not run", candidate);
    fake->candidate = candidate;
    fake->repeats = repeats;
    fake->cold = true;
    return true;
}

static bool fake_round(void *context, double *us, struct error *error)
{
    (void)error;
    struct fake *fake = context;
    assert_true(fake->open);
    *us = fake->cost[fake->candidate] * fake->repeats * 2 + (fake->cold ? fake->start : 0) +
          (fake->stopped && fake->candidate == 1 ? 1e7 : 0);
    fake->cold = false;
    ++fake->rounds[fake->candidate];
    return true;
}

static void fake_done(void *context)
{
    struct fake *fake = context;
    assert_true(fake->open);
    fake->open = false;
}

static void the_fastest_is_taken(void **state)
{
    (void)state;
    const double cost[] = {30, NAN, 10, 12, 40};
    struct fake fake = {.start = 1e6, .cost = cost};
    struct choice_timer timer = {&fake, fake_ready, fake_round, fake_done, NULL, 2};
    struct error why = {0};
    double times[5];
    int tried = 0;
    assert_int_equal(choice_fastest(&timer, 5, times, &tried, &why), 2);
    assert_int_equal(tried, 4);
    assert_float_equal(times[0], 30, 1e-9); /* the cold first rounds do not count */
    assert_false(is_known(times[1]));
    assert_float_equal(times[3], 12, 1e-9);
    assert_int_equal(fake.rounds[3], 8);
    assert_int_equal(fake.rounds[4], 4); /* far behind: not timed on */
    assert_false(fake.open);
    fake = (struct fake){.cost = cost, .start = -15}; /* nor do such as look quicker than they are */
    choice_fastest(&timer, 5, times, &tried, &why);
    assert_float_equal(times[0], 30, 1e-9);
}

static void when_nothing_runs_the_reason_is_told(void **state)
{
    (void)state;
    const double cost[] = {NAN, NAN};
    struct fake fake = {.start = 1e6, .cost = cost};
    struct choice_timer timer = {&fake, fake_ready, fake_round, fake_done, NULL, 1};
    struct error why = {0};
    double times[2];
    int tried = 7;
    assert_int_equal(choice_fastest(&timer, 2, times, &tried, &why), -1);
    assert_int_equal(tried, 0);
    assert_string_equal(why.text, "candidate 1 does not run");
}

/* The first rounds of the quickest were stopped in. */
static bool fake_held(void *context, uint64_t start, uint64_t end)
{
    (void)start, (void)end;
    struct fake *fake = context;
    return fake->stopped > 0 && fake->candidate == 1 && fake->stopped-- > 0;
}

static void what_was_stopped_does_not_lose(void **state)
{
    (void)state;
    const double cost[] = {30, 10};
    struct fake fake = {.start = 1e6, .cost = cost, .stopped = 6};
    const struct prepare_options options = {.held = fake_held, .progress_context = &fake};
    struct choice_timer timer = {&fake, fake_ready, fake_round, fake_done, &options, 2};
    struct error why = {0};
    double times[2];
    int tried = 0;
    assert_int_equal(choice_fastest(&timer, 2, times, &tried, &why), 1);
    assert_int_equal(fake.stopped, 0);
    assert_float_equal(times[1], 10, 1e-9);
}

static void a_clock_that_saw_nothing_does_not_run_forever(void **state)
{
    (void)state;
    const double cost[] = {0};
    struct fake fake = {.start = 1e6, .cost = cost};
    struct choice_timer timer = {&fake, fake_ready, fake_round, fake_done, NULL, 1};
    struct error why = {0};
    double times[1];
    int tried = 0;
    assert_int_equal(choice_fastest(&timer, 1, times, &tried, &why), 0);
    assert_true(fake.repeats > 1 && fake.repeats <= 1000);
}

static struct node node_of(int32_t input, int32_t output)
{
    struct node node;
    memset(&node, 0, sizeof node);
    for (int i = 0; i < NODE_MAX_INPUTS; ++i)
        node.input[i] = TENSOR_NONE;
    for (int i = 0; i < NODE_MAX_OUTPUTS; ++i)
        node.output[i] = TENSOR_NONE;
    node.input[0] = input;
    node.output[0] = output;
    return node;
}

static void nodes_wait_for_what_shares_their_bytes(void **state)
{
    (void)state;
    struct tensor tensors[] = {
        {.rank = 1, .shape = {64}, .bytes = 256, .offset = 0},
        {.rank = 1, .shape = {64}, .bytes = 256, .offset = 256},
        {.rank = 1, .shape = {64}, .bytes = 256, .offset = 512},
        {.rank = 2, .shape = {8, 4}, .bytes = 128, .offset = 1024, .row_stride = 16}, /* columns 0–3 of 16 */
        {.rank = 2, .shape = {8, 4}, .bytes = 128, .offset = 1040, .row_stride = 16}, /* columns 4–7 */
    };
    struct plan plan = {.tensors = tensors, .tensor_count = 5};
    const struct node a = node_of(0, 1), reads = node_of(1, 2), writes = node_of(2, 0), again = node_of(2, 1),
                      beside = node_of(0, 2), left = node_of(0, 3), right = node_of(1, 4);
    assert_true(schedule_depends(&plan, &reads, &a));
    assert_true(schedule_depends(&plan, &writes, &a));
    assert_true(schedule_depends(&plan, &again, &a));
    assert_false(schedule_depends(&plan, &beside, &a)); /* both only read tensor 0 */
    assert_true(schedule_depends(&plan, &right, &left));
    assert_true(schedule_touches(&plan, &a, 0, 4));
    assert_true(schedule_touches(&plan, &a, 508, 4)); /* the last bytes of what it writes */
    assert_false(schedule_touches(&plan, &a, 512, 4));
    assert_true(schedule_touches(&plan, &left, 1024 + 7 * 64, 16)); /* its last row */
    assert_false(schedule_touches(&plan, &left, 1024 + 8 * 64, 16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fastest_is_taken),
        cmocka_unit_test(when_nothing_runs_the_reason_is_told),
        cmocka_unit_test(what_was_stopped_does_not_lose),
        cmocka_unit_test(a_clock_that_saw_nothing_does_not_run_forever),
        cmocka_unit_test(nodes_wait_for_what_shares_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
