/* The host's half of the counters, which needs the library and no card: that the metrics exist on real chips and take the
 * passes that the documentation promises, and what is said without permission or library. */
#include "kernels/cuda/cupti_counters.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const metrics_everywhere[] = {"gpu__time_duration.sum", "dram__bytes.sum", "ffma_pred_on",
                                                 "sm__warps_active"};

/* Skips when this machine has no CUPTI of this version at all. */
static void plan_or_skip(const char *chip, enum precision precision, size_t *passes, char *describe, size_t size)
{
    struct error error = {0};
    if (cupti_counters_plan(chip, precision, passes, describe, size, &error))
        return;
    if (strstr(error.text, "was not found") || strstr(error.text, "build steptop with"))
        skip();
    fail_msg("%s", error.text);
}

static void test_the_counters_exist_on_the_chips(void **state)
{
    (void)state;
    static const char *const chips[] = {"GA100", "AD102", "GH100", "GB100", "GB202"};
    for (size_t i = 0; i < sizeof chips / sizeof *chips; i++)
        for (int precision = 0; precision < PRECISION_COUNT; precision++) {
            char describe[512];
            size_t passes = 0;
            plan_or_skip(chips[i], (enum precision)precision, &passes, describe, sizeof describe);
            assert_true(passes >= 1 && passes <= 4);
            for (size_t m = 0; m < sizeof metrics_everywhere / sizeof *metrics_everywhere; m++)
                if (!strstr(describe, metrics_everywhere[m]))
                    fail_msg("%s lacks %s", describe, metrics_everywhere[m]);
            assert_non_null(strstr(describe, precision == PRECISION_BF16 ? "src_bf16" : "src_tf32"));
        }
}

static void test_two_passes_on_hopper(void **state)
{
    (void)state;
    for (int precision = 0; precision < PRECISION_COUNT; precision++) {
        char describe[512];
        size_t passes = 0;
        plan_or_skip("GH100", (enum precision)precision, &passes, describe, sizeof describe);
        assert_int_equal(passes, 2);
        assert_non_null(strstr(describe, "dram__bytes"));
    }
}

static void test_an_unknown_chip_is_a_sentence(void **state)
{
    (void)state;
    char describe[512];
    size_t passes = 0;
    struct error error = {0};
    plan_or_skip("GH100", PRECISION_BF16, &passes, describe, sizeof describe);
    assert_false(cupti_counters_plan("XY999", PRECISION_BF16, &passes, describe, sizeof describe, &error));
    assert_int_equal(error.kind, ERROR_DEVICE);
    assert_non_null(strstr(error.text, "XY999"));
    assert_null(strchr(error.text, '\n'));
}

/* Without a driver (as here) or with one: never a crash, and a sentence when it cannot be had. */
static void test_no_counters_is_no_work(void **state)
{
    (void)state;
    struct counter_values values;
    cupti_counters_push(NULL, 1);
    cupti_counters_pop(NULL);
    assert_false(cupti_counters_values(NULL, 0, &values));
    cupti_counters_close(NULL);
    struct error error = {0};
    struct cupti_counters *counters = cupti_counters_open(NULL, 0, 10, PRECISION_BF16, &error);
    if (counters)
        cupti_counters_close(counters);
    else
        assert_true(error.kind == ERROR_DEVICE && strlen(error.text) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_counters_exist_on_the_chips),
        cmocka_unit_test(test_two_passes_on_hopper),
        cmocka_unit_test(test_an_unknown_chip_is_a_sentence),
        cmocka_unit_test(test_no_counters_is_no_work),
    };
    return cmocka_run_group_tests_name("cupti_counters", tests, NULL, NULL);
}
