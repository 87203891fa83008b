/* What the cache of choices says is believed where it can be: of a file that is old, damaged or somebody's joke nothing is taken that a run
 * would fall over, and it is counted for the report. No device. */
#include "base/unknown.h"
#include "kernels/choice_cache.h"
#include "kernels/cuda/cuda_internal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STAMP 7

/* Keeps no file: what is added can be found until it is closed. */
static struct choice_cache opened(void)
{
    struct choice_cache cache;
    choice_cache_open(&cache, "/nonexistent/steptop-choices", "here");
    return cache;
}

static struct program *a_program(void)
{
    struct program *program = calloc(1, sizeof *program);
    assert_non_null(program);
    program->side_count = 3;
    for (int kind = 0; kind < CUDA_ARRANGEMENTS; kind++)
        program->arrangement_us[kind] = UNKNOWN_DOUBLE;
    program->arrangement_us[CUDA_IN_ORDER] = 120;
    program->arrangement_us[CUDA_ASIDE] = 100;
    program->arrangement_us[CUDA_ASIDE | CUDA_EARLY_HALF] = 90;
    program->arrangement = CUDA_ASIDE | CUDA_EARLY_HALF;
    return program;
}

/* Keeps what `kept` says, and asks as a program that has `sides` products aside and pieces that may come `early`. */
static bool comes_back(const struct program *kept, int32_t sides, bool early, struct choice_cache *cache)
{
    struct program *asking = a_program();
    asking->arrangement = 99;
    asking->side_count = sides;
    cuda_schedule_remember(kept, STAMP, cache);
    const bool taken = cuda_schedule_recall(asking, STAMP, early, cache);
    assert_int_equal(asking->arrangement, taken ? kept->arrangement : 99);
    free(asking);
    return taken;
}

static void arrangements_are_such_as_there_are(void **state)
{
    (void)state;
    struct choice_cache cache = opened();
    struct program *kept = a_program();
    assert_true(comes_back(kept, 3, true, &cache));
    assert_int_equal(cache.refused, 0);
    assert_false(comes_back(kept, 0, true, &cache)); /* nothing is aside here */
    assert_false(comes_back(kept, 3, false, &cache));
    kept->arrangement = CUDA_EARLY_WIDE; /* never timed */
    assert_false(comes_back(kept, 3, true, &cache));
    assert_int_equal(cache.refused, 3);
    static const unsigned wild[] = {CUDA_ARRANGEMENTS, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        kept->arrangement = wild[i];
        assert_false(comes_back(kept, 3, true, &cache));
    }
    kept->arrangement = CUDA_ASIDE;
    static const double times[] = {-1, 1e300};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        kept->arrangement_us[CUDA_IN_ORDER] = times[i];
        assert_false(comes_back(kept, 3, true, &cache));
    }
    assert_int_equal(cache.refused, 8);
    kept->arrangement_us[CUDA_IN_ORDER] = UNKNOWN_DOUBLE;
    assert_true(comes_back(kept, 3, true, &cache)); /* what was chosen anew takes its place */
    choice_cache_close(&cache);
    free(kept);
}

static void products_are_such_as_there_are(void **state)
{
    (void)state;
    struct choice_cache cache = opened();
    struct device device = {.architecture = 90};
    struct program *program = a_program();
    program->device = &device;
    struct cuda_gemm kept = {
        .shape = {.m = 64, .n = 32, .k = 16}, .hopper = 2, .tried = 9, .best_us = 10, .library_us = 12};
    struct cuda_gemm asking = {.shape = kept.shape};
    asking.hopper_function[2] = (CUfunction)(void *)&device;
    cuda_gemm_remember(program, &kept, &cache);
    assert_true(cuda_gemm_recall(program, &asking, &cache));
    assert_int_equal(asking.hopper, 2);
    assert_true(asking.chosen && asking.from_cache && asking.best_us == 10);
    const struct cuda_gemm good = kept;
    for (int fault = 0; fault < 6; fault++) {
        kept = good;
        switch (fault) {
        case 0:
            kept.hopper = CUDA_HOPPER_VARIANTS;
            break;
        case 1:
            kept.best_us = 1e300; /* a line of the report has no room for it */
            break;
        case 2:
            kept.best_us = UNKNOWN_DOUBLE;
            break;
        case 3:
            kept.library_us = -1e300;
            break;
        case 4:
            kept.tried = 0;
            break;
        default:
            kept.tried = INT32_MAX;
        }
        cuda_gemm_remember(program, &kept, &cache);
        asking.chosen = asking.from_cache = false;
        if (cuda_gemm_recall(program, &asking, &cache) || asking.chosen || asking.from_cache)
            fail_msg("fault %d was taken", fault);
    }
    assert_int_equal(cache.refused, 6);
    choice_cache_close(&cache);
    free(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrangements_are_such_as_there_are),
        cmocka_unit_test(products_are_such_as_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
