/* AdamW's sets of values and the rate of a step, as the devices share them. */
#include "kernels/adamw.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct adamw usual = {.learning_rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.95f};

/* What decides a rate makes a set of its own; what does not, does not. */
static void sets_differ_by_what_a_rate_is_made_of(void **state)
{
    (void)state;
    struct adamw known[4], other = usual;
    int count = 0;
    assert_int_equal(adamw_slot(known, &count, 4, &usual), 0);
    other.weight_decay = 0.5f, other.epsilon = 0.25f;
    assert_int_equal(adamw_slot(known, &count, 4, &other), 0);
    other.learning_rate = 2e-3f;
    assert_int_equal(adamw_slot(known, &count, 4, &other), 1);
    other = usual, other.beta1 = 0.8f;
    assert_int_equal(adamw_slot(known, &count, 4, &other), 2);
    other = usual, other.beta2 = 0.999f;
    assert_int_equal(adamw_slot(known, &count, 4, &other), 3);
    assert_int_equal(count, 4);
    other.beta1 = 0.7f;
    assert_int_equal(adamw_slot(known, &count, 4, &other), -1); /* no room */
    assert_int_equal(adamw_slot(known, &count, 4, &usual), 0);
    assert_int_equal(count, 4);
}

static void rates_are_corrected(void **state)
{
    (void)state;
    const double beta1 = (double)usual.beta1, beta2 = (double)usual.beta2, rate = (double)usual.learning_rate;
    assert_float_equal(adamw_rate(&usual, 1), rate * sqrt(1 - beta2) / (1 - beta1), 1e-15);
    assert_float_equal(adamw_rate(&usual, 2), rate * sqrt(1 - beta2 * beta2) / (1 - beta1 * beta1), 1e-15);
    assert_float_equal(adamw_rate(&usual, 1000000), rate, 1e-15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_differ_by_what_a_rate_is_made_of),
        cmocka_unit_test(rates_are_corrected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
