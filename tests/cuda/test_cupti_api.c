/* Libraries that are not CUPTI, or not this one: a sentence each. */
#include "kernels/cuda/cupti_api.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *library, const char *first, const char *second)
{
    struct cupti_api api;
    struct error error = {0};
    assert_false(cupti_api_load_library(&api, library, &error));
    assert_int_equal(error.kind, ERROR_DEVICE);
    assert_null(api.library);
    assert_null(strchr(error.text, '\n'));
    if (!strstr(error.text, first) || !strstr(error.text, second))
        fail_msg("\"%s\" does not say \"%s\" and \"%s\"", error.text, first, second);
}

static void test_other_versions_are_refused(void **state)
{
    (void)state;
    expect(FAKE_CUPTI_12, "CUPTI API 28, from before CUDA 13", "install the CUPTI of CUDA 13");
    expect(FAKE_CUPTI_14, "CUPTI 14.2", "install the CUPTI of CUDA 13");
    expect(FAKE_CUPTI_13, "CUPTI API 130500", "has no cuptiGetErrorMessage"); /* the right one, but not whole */
}

static void test_other_files_are_refused(void **state)
{
    (void)state;
    expect("libm.so.6", "libm.so.6", "does not say which version");
    expect("/no/such/libcupti.so.13", "/no/such/libcupti.so.13", "does not load");
}

static void test_results_are_words(void **state)
{
    (void)state;
    struct cupti_api none = {0};
    char text[64];
    assert_string_equal(cupti_result_text(&none, CUPTI_ERROR_INSUFFICIENT_PRIVILEGES, text, sizeof text),
                        "CUPTI error 35");
    assert_string_equal(cupti_result_text(&none, CUPTI_ERROR_UNKNOWN, text, sizeof text),
                        "CUPTI error 999: is there a working NVIDIA driver?");
    assert_null(cupti_symbol(&none, "cuptiGetVersion"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_versions_are_refused),
        cmocka_unit_test(test_other_files_are_refused),
        cmocka_unit_test(test_results_are_words),
    };
    return cmocka_run_group_tests_name("cupti_api", tests, NULL, NULL);
}
