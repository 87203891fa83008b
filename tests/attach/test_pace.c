/* Which steps of a program are recorded, and that recording takes no more of its time than it may. */
#include "attach/pace.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct outcome {
    uint32_t recorded, bursts, longest_burst, longest_pause;
    double lost; /* of the program's time, from step `from` on */
};

/* `steps` steps of 10 ms, longer by `cost` when they are recorded, every seventh a third longer still for its own reasons. */
static struct outcome play(struct pace *pace, uint32_t steps, uint32_t from, double cost)
{
    struct outcome outcome = {0};
    bool recorded = true;
    double own = 0, spent = 0;
    uint32_t length = 0;
    for (uint32_t i = 1; i <= steps; i++) {
        const double alone = i % 7 ? 10e6 : 13e6, taken = recorded ? alone * (1 + cost) : alone;
        if (i >= from) {
            own += alone;
            spent += taken - alone;
        }
        length++;
        outcome.recorded += recorded;
        const bool next = pace_next(pace, i, recorded, (uint64_t)taken);
        if (next != recorded) {
            uint32_t *longest = recorded ? &outcome.longest_burst : &outcome.longest_pause;
            *longest = length > *longest ? length : *longest;
            outcome.bursts += next;
            length = 0;
        }
        recorded = next;
    }
    outcome.lost = spent / own;
    return outcome;
}

static void where_it_costs_little_one_step_in_fifty_is_left_out(void **state)
{
    (void)state;
    struct pace pace = {0};
    const struct outcome outcome = play(&pace, 1000, 1, 0.5);
    assert_int_equal(outcome.recorded, 981);
    pace = (struct pace){.on = true};
    const struct outcome cheap = play(&pace, 1000, 1, 0.02);
    assert_true(cheap.recorded >= 950 && cheap.recorded < 990);
    assert_true(cheap.longest_pause <= PACE_BURST);
}

static void what_it_costs_stays_within_its_share(void **state)
{
    (void)state;
    static const double costs[] = {0.06, 0.12, 0.41, 0.69, 1.5};
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        struct pace pace = {.on = true};
        const struct outcome outcome = play(&pace, 4000, 100, costs[i]);
        /* A burst and its pause need not be whole in what was played. */
        if (outcome.lost > PACE_SHARE * 1.1)
            fail_msg("cost %.2f: %.3f of the time", costs[i], outcome.lost);
        assert_true(outcome.longest_burst >= PACE_BURST && outcome.longest_pause <= PACE_PAUSE);
        assert_true(outcome.bursts > 10);
        assert_true(pace_cost(&pace) > costs[i] * 0.8 && pace_cost(&pace) < costs[i] * 1.2);
    }
    struct pace pace = {.on = true}; /* beyond what pauses can make good, it is still seen now and then */
    assert_int_equal(play(&pace, 4000, 100, 20).longest_pause, PACE_PAUSE);
}

static void a_cost_that_changes_is_followed(void **state)
{
    (void)state;
    struct pace pace = {.on = true};
    play(&pace, 500, 1, 0.5);
    const struct outcome after = play(&pace, 2000, 300, 0.01);
    assert_true(after.recorded > 1200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_it_costs_little_one_step_in_fifty_is_left_out),
        cmocka_unit_test(what_it_costs_stays_within_its_share),
        cmocka_unit_test(a_cost_that_changes_is_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
