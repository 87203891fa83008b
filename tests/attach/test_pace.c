/* Which steps of a program are recorded, and that recording takes no more of its time than it may. */
#include "attach/pace.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct outcome {
    uint32_t recorded, bursts, longest_burst, longest_pause;
    double lost; /* of the program's time, from step `from` on */
};

/* Between 0 and 1, the same in each run. */
static double draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-53;
}

/* `steps` steps of 10 ms, longer by `cost` when they are recorded, every seventh a third longer still for its own reasons, and each by up
 * to `noise` of it. */
static struct outcome play_on(struct pace *pace, uint32_t steps, uint32_t from, double cost, double noise)
{
    uint64_t seed = 1;
    struct outcome outcome = {0};
    bool recorded = true;
    double own = 0, spent = 0;
    uint32_t length = 0;
    for (uint32_t i = 1; i <= steps; i++) {
        const double alone = (i % 7 ? 10e6 : 13e6) * (1 + noise * draw(&seed)),
                     taken = recorded ? alone * (1 + cost) : alone;
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

static struct outcome play(struct pace *pace, uint32_t steps, uint32_t from, double cost)
{
    return play_on(pace, steps, from, cost, 0);
}

static void where_it_costs_little_one_step_in_fifty_is_left_out(void **state)
{
    (void)state;
    struct pace pace = {0};
    const struct outcome outcome = play(&pace, 1000, 1, 0.5);
    assert_int_equal(outcome.recorded, 981);
    pace = (struct pace){.on = true};
    const struct outcome cheap = play(&pace, 1000, 1, 0.01);
    assert_true(cheap.recorded >= 850 && cheap.recorded < 990); /* it had to be found out first */
    assert_true(play(&pace, 1000, 1, 0.01).longest_pause <= PACE_BURST);
}

static void what_it_costs_stays_within_its_share(void **state)
{
    (void)state;
    static const double costs[] = {0.02, 0.04, 0.06, 0.12, 0.41, 0.69, 1.5};
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

/* Seen on a card's virtual host, whose steps wander by half: four of either kind said that recording costs nothing, and nearly all were
 * recorded at 1.4 times the time. */
static void a_host_that_wanders_is_not_taken_for_a_cheap_one(void **state)
{
    (void)state;
    struct pace pace = {.on = true};
    assert_true(play_on(&pace, 160, 1, 0.4, 0.6).lost <= 1.2 * PACE_SHARE);
    for (int i = 0; i < 20; i++) {
        pace = (struct pace){.on = true, .left = 1 + (uint32_t)i % PACE_BURST};
        const struct outcome outcome = play_on(&pace, 3000, 1, 0.4, 0.6);
        if (outcome.lost > 1.5 * PACE_SHARE || outcome.recorded < 150)
            fail_msg("%d: %.3f of the time, %u steps", i, outcome.lost, outcome.recorded);
    }
    pace = (struct pace){.on = true}; /* long steps: something is seen every two seconds */
    for (uint32_t i = 0, paused = 0; i < 40; i++) {
        paused = pace_next(&pace, i, paused == 0, 500000000u) ? 0 : paused + 1;
        assert_true(paused <= 4);
    }
}

static void a_cost_that_changes_is_followed(void **state)
{
    (void)state;
    struct pace pace = {.on = true};
    play(&pace, 500, 1, 0.5);
    const struct outcome after = play(&pace, 2000, 300, 0.01);
    assert_true(after.recorded > 1200);
}

/* Of the medians: one step that is far longer than the others says nothing. */
static void cost_is_of_medians(void **state)
{
    (void)state;
    const struct pace pace = {.recorded = {{30, 12, 900, 1, 15}, 5}, .paused = {{10, 10, 500}, 3}};
    assert_true(fabs(pace_cost(&pace) - 0.5) < 1e-12);
}

/* On a processor: the first steps all, so that a short program is recorded as a whole, then bursts at once, and what was counted is not
 * made less by steps that happened to be short. */
static void what_is_counted_is_the_least_it_costs(void **state)
{
    (void)state;
    struct pace pace = {.on = true};
    pace_count(&pace, 3000, 200, 20000000u);
    assert_true(fabs(pace.counted - (3000.0 * PACE_OP_NS + 200.0 * PACE_NODE_NS) / 20e6) < 1e-12);
    const double counted = pace.counted;
    for (uint32_t i = 0; i < PACE_FIRST; i++)
        assert_int_equal(pace_next(&pace, i, true, 20000000u), i + 1 < PACE_FIRST);
    assert_true(fabs(PACE_BURST * (counted / PACE_SHARE - 1) - pace.pause) <= 1 || pace.pause == PACE_BURST);
    pace_count(&pace, 0, 0, 20000000u); /* a step in which nothing was told of says nothing */
    assert_true(fabs(pace.counted - counted) < 1e-12);
    assert_true(play(&pace, 1000, 1, 0).recorded < 700); /* measured to cost nothing */
    assert_true(fabs(pace_taken(&pace) - counted) < 1e-12 && !pace_cheap(&pace));
    assert_true(play(&pace, 4000, 200, 0.3).lost <= 1.1 * PACE_SHARE); /* measured to cost more */
    assert_true(pace_taken(&pace) > 0.24);
    static const double costs[] = {0.01, 0.03, 0.08};
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) { /* layers alone */
        pace = (struct pace){.on = true, .share = PACE_SHARE_LAYERS};
        pace_count(&pace, 0, 60, 10000000u);
        const struct outcome outcome = play(&pace, 8000, 400, costs[i]);
        if (outcome.lost > 1.1 * PACE_SHARE_LAYERS || outcome.recorded < 200)
            fail_msg("cost %.2f: %.4f of the time, %u steps", costs[i], outcome.lost, outcome.recorded);
    }
    pace = (struct pace){.on = true}; /* few and long ones: nearly all are recorded from the beginning */
    pace_count(&pace, 1000, 100, 300000000u);
    assert_true(play(&pace, 400, 1, 0.002).recorded >= 390);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_it_costs_little_one_step_in_fifty_is_left_out),
        cmocka_unit_test(what_it_costs_stays_within_its_share),
        cmocka_unit_test(a_host_that_wanders_is_not_taken_for_a_cheap_one),
        cmocka_unit_test(a_cost_that_changes_is_followed),
        cmocka_unit_test(cost_is_of_medians),
        cmocka_unit_test(what_is_counted_is_the_least_it_costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
