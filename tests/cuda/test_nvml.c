/* NVML against a library of our own with one card, and without any. */
#include "base/unknown.h"
#include "kernels/cuda/nvml.h"
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_reads_what_the_card_tells(void **state)
{
    (void)state;
    struct error error = {0};
    struct device_telemetry telemetry;
    struct nvml *nvml = nvml_open_library(FAKE_NVML, "0000:1B:00.0", &error);
    if (!nvml)
        fail_msg("%s", error.text);
    assert_true(nvml_read(nvml, &telemetry));
    assert_true(telemetry.sm_clock_mhz == 1980 && telemetry.memory_clock_mhz == 3201);
    assert_true(telemetry.power_w == 612.5);
    assert_false(is_known(telemetry.power_limit_w)); /* this library lacks the call */
    assert_false(is_known(telemetry.temperature_c)); /* this card lacks the sensor */
    assert_string_equal(telemetry.throttle, "power cap, thermal slowdown");
    assert_int_equal(telemetry.other_processes, 2);
    assert_true(telemetry.link_bytes_per_s == 11 * 26562e6);

    void *library = dlopen(FAKE_NVML, RTLD_NOW);
    int (*processes)(int) = (int (*)(int))dlsym(library, "fake_nvml_processes");
    processes(1);
    assert_true(nvml_read(nvml, &telemetry));
    assert_int_equal(telemetry.other_processes, 0);
    processes(0); /* a container that hides them: not "none" */
    assert_true(nvml_read(nvml, &telemetry));
    assert_int_equal(telemetry.other_processes, UINT32_MAX);
    processes(500); /* more than there is room for */
    assert_true(nvml_read(nvml, &telemetry));
    assert_int_equal(telemetry.other_processes, 499);
    nvml_close(nvml);
    assert_int_equal(processes(3), 0); /* started as often as shut down */
    dlclose(library);
}

/* Cards since Hopper tell each link's speed and not the one of all; where one of those that are up tells none, the sum is not known. */
static void test_each_link_tells_its_own(void **state)
{
    (void)state;
    void *library = dlopen(FAKE_NVML, RTLD_NOW);
    void (*links)(int) = (void (*)(int))dlsym(library, "fake_nvml_links");
    for (int kind = 1; kind <= 2; kind++) {
        struct error error = {0};
        struct device_telemetry telemetry;
        links(kind);
        struct nvml *nvml = nvml_open_library(FAKE_NVML, "0000:1B:00.0", &error);
        if (!nvml)
            fail_msg("%s", error.text);
        assert_true(nvml_read(nvml, &telemetry));
        if (kind == 1)
            assert_true(telemetry.link_bytes_per_s ==
                        (11 * 26562 + 66 - 5) * 1e6); /* each a little faster; not the one that is down */
        else
            assert_false(is_known(telemetry.link_bytes_per_s));
        nvml_close(nvml);
    }
    links(0);
    dlclose(library);
}

static void test_says_what_is_missing(void **state)
{
    (void)state;
    struct error error = {0};
    assert_null(nvml_open_library("libno-such-nvml.so.1", "0000:1B:00.0", &error));
    assert_int_equal(error.kind, ERROR_DEVICE);
    assert_non_null(strstr(error.text, "libno-such-nvml.so.1 was not found"));
    assert_null(nvml_open_library(FAKE_NVML, "0000:FF:00.0", &error));
    assert_non_null(strstr(error.text, "0000:FF:00.0: Not Found"));
    assert_null(nvml_open_library("libm.so.6", "0000:1B:00.0", &error));
    assert_non_null(strstr(error.text, "has no nvmlInit_v2"));

    struct device_telemetry telemetry;
    assert_false(nvml_read(NULL, &telemetry));
    assert_false(is_known(telemetry.sm_clock_mhz));
    assert_int_equal(telemetry.other_processes, UINT32_MAX);
    assert_false(is_known(telemetry.link_bytes_per_s));
    assert_string_equal(telemetry.throttle, "");
    nvml_close(NULL);
}

static void test_throttle_text(void **state)
{
    (void)state;
    char text[96], tiny[16];
    nvml_throttle_text(0, text, sizeof text);
    assert_string_equal(text, "");
    nvml_throttle_text(1, text, sizeof text); /* idle */
    assert_string_equal(text, "");
    nvml_throttle_text(0x1fe, text, sizeof text);
    assert_non_null(strstr(text, "power cap"));
    assert_true(strlen(text) < sizeof text);
    assert_int_not_equal(text[strlen(text) - 1], ',');
    nvml_throttle_text(0x24, tiny, sizeof tiny);
    assert_string_equal(tiny, "power cap");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_the_card_tells),
        cmocka_unit_test(test_each_link_tells_its_own),
        cmocka_unit_test(test_says_what_is_missing),
        cmocka_unit_test(test_throttle_text),
    };
    return cmocka_run_group_tests_name("nvml", tests, NULL, NULL);
}
