/* Who runs attention: asking candidates, what the cache keeps of a choice, and the report's sentence. No device. */
#include "base/unknown.h"
#include "kernels/choice_cache.h"
#include "kernels/cuda/attention.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static bool serves_short(struct device *device, const struct cuda_attention_shape *shape, char *why, size_t why_size)
{
    (void)device;
    if (shape->head_dim <= 64)
        return true;
    snprintf(why, why_size, "head size %lld is beyond 64", (long long)shape->head_dim);
    return false;
}

static bool serves_even(struct device *device, const struct cuda_attention_shape *shape, char *why, size_t why_size)
{
    (void)device;
    if (shape->head_dim % 2 == 0)
        return true;
    snprintf(why, why_size, "head size %lld is odd", (long long)shape->head_dim);
    return false;
}

static bool serves_all(struct device *device, const struct cuda_attention_shape *shape, char *why, size_t why_size)
{
    (void)device, (void)shape, (void)why, (void)why_size;
    return true;
}

static const struct cuda_attention_candidate small = {.name = "small", .serves = serves_short},
                                             even = {.name = "even", .serves = serves_even},
                                             any = {.name = "any", .serves = serves_all, .last_resort = true};
static const struct cuda_attention_candidate *const three[] = {&small, &even, &any};
static const struct cuda_attention_candidate *const turned[] = {&even, &small, &any};

static struct cuda_attention_choice asked(const struct cuda_attention_candidate *const *candidates, int64_t head_dim)
{
    struct cuda_attention_choice choice;
    memset(&choice, 0, sizeof choice);
    choice.shape.head_dim = head_dim;
    cuda_attention_ask(candidates, 3, NULL, &choice);
    return choice;
}

static void the_first_that_serves(void **state)
{
    (void)state;
    assert_int_equal(asked(three, 64).candidate, 0);
    assert_int_equal(asked(turned, 64).candidate, 0);
    struct cuda_attention_choice wide = asked(three, 80);
    assert_int_equal(wide.candidate, 1);
    assert_string_equal(wide.why[0], "head size 80 is beyond 64");
    assert_false(wide.serves[2]); /* a last resort is not even asked where another one serves */
    assert_int_equal(asked(three, 81).candidate, 2);
}

static void a_choice_is_kept(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/choices.bin", folder);
    struct choice_cache cache;
    choice_cache_open(&cache, path, "a device");
    struct cuda_attention_choice choice = asked(three, 64);
    assert_false(cuda_attention_recall(three, 3, 7, &cache, &choice));
    choice.candidate = 1;
    choice.us[0] = 20, choice.us[1] = 10, choice.tried = 2;
    cuda_attention_remember(three, 3, 7, &cache, &choice);
    choice_cache_close(&cache);

    choice_cache_open(&cache, path, "a device");
    struct cuda_attention_choice again = asked(three, 64);
    assert_true(cuda_attention_recall(three, 3, 7, &cache, &again));
    assert_true(again.from_cache);
    assert_int_equal(again.candidate, 1);
    assert_int_equal(again.tried, 2);
    assert_true(again.us[1] == 10);
    again = asked(three, 64);
    assert_false(cuda_attention_recall(three, 3, 8, &cache, &again)); /* kernels of another make */
    again = asked(three, 32);
    assert_false(cuda_attention_recall(three, 3, 7, &cache, &again)); /* another shape */
    again = asked(three, 64);
    again.serves[0] = false;
    assert_false(cuda_attention_recall(three, 3, 7, &cache, &again)); /* others than were asked then */
    assert_int_equal(again.candidate, 0);
    assert_int_equal(cache.refused, 0);
    choice.us[0] = 1e300; /* nobody timed that */
    cuda_attention_remember(three, 3, 7, &cache, &choice);
    again = asked(three, 64);
    assert_false(cuda_attention_recall(three, 3, 7, &cache, &again));
    choice.us[0] = 20, choice.tried = 1000;
    cuda_attention_remember(three, 3, 7, &cache, &choice);
    assert_false(cuda_attention_recall(three, 3, 7, &cache, &again));
    assert_int_equal(again.tried, 0);
    assert_int_equal(cache.refused, 2);
    choice_cache_close(&cache);
    remove(path);
    rmdir(folder);
}

static void the_report_says_which(void **state)
{
    (void)state;
    char text[256];
    struct cuda_attention_choice choice = asked(three, 64);
    cuda_attention_describe(three, 3, &choice, text, sizeof text);
    assert_string_equal(text, "small; even: not timed");
    choice.candidate = 1;
    choice.us[0] = 20.04, choice.us[1] = 10, choice.tried = 2;
    cuda_attention_describe(three, 3, &choice, text, sizeof text);
    assert_string_equal(text, "even, 10.0 us, best of 2; small 20.0 us");
    choice = asked(three, 81);
    cuda_attention_describe(three, 3, &choice, text, sizeof text);
    assert_string_equal(text, "any; small: head size 81 is beyond 64; even: head size 81 is odd");
    cuda_attention_describe(three, 3, &choice, text, 8);
    assert_string_equal(text, "any; sm");
}

/* Products whose rows no 16 bytes divide are slow, and a report says so. */
static void sizes_that_are_slow_are_told(void **state)
{
    (void)state;
    struct cuda_gemm_shape shape = {.m = 1024, .n = 50257, .k = 768, .transpose_b = 1};
    shape.type_ab = shape.type_d = DTYPE_BF16;
    assert_int_equal(cuda_gemm_unaligned(&shape), 50257); /* rows of what it writes */
    shape.n = 50264;
    assert_int_equal(cuda_gemm_unaligned(&shape), 0);
    struct cuda_gemm_shape weight = {.m = 50257, .n = 768, .k = 1023, .transpose_a = 1};
    weight.type_ab = DTYPE_BF16, weight.type_d = DTYPE_F32;
    assert_int_equal(cuda_gemm_unaligned(&weight), 50257); /* k lies across both operands */
    weight.m = 10000;
    assert_int_equal(cuda_gemm_unaligned(&weight), 0);
    struct cuda_gemm_shape wide = {.m = 3, .n = 4, .k = 6};
    wide.type_ab = wide.type_d = DTYPE_F32;
    assert_int_equal(cuda_gemm_unaligned(&wide), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_that_serves),
        cmocka_unit_test(a_choice_is_kept),
        cmocka_unit_test(the_report_says_which),
        cmocka_unit_test(sizes_that_are_slow_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
