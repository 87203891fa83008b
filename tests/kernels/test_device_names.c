#include "kernels/cpu/cpu_device.h"
#include "kernels/device.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void finds_classes(void **state)
{
    (void)state;
    struct error error = {0};
    int index = -1;
    /* The CPU is a plugin like any other: this program does not hold it under that name. */
    setenv("STEPTOP_PLUGIN_FOLDER", BUILD_FOLDER, 1);
    const struct device_class *cpu = device_find("cpu", &index, &error);
    assert_non_null(cpu);
    assert_ptr_not_equal(cpu, &cpu_device_class);
    assert_string_equal(cpu->name, "cpu");
    assert_int_equal(index, 0);
    assert_ptr_equal(device_find("cpu:3", &index, &error), cpu);
    assert_int_equal(index, 3);
    unsetenv("STEPTOP_PLUGIN_FOLDER");
    assert_ptr_equal(device_find("reference", &index, &error), &reference_device_class);
    assert_null(cpu_device_class.open(1, &error));
    assert_int_equal(error.kind, ERROR_DEVICE);
}

static void refuses_what_is_no_name(void **state)
{
    (void)state;
    static const char *const names[] = {
        "", ":0", "cpu:", "cpu:x", "cpu:1x", "../evil", "CUDA:0", "cpu:99999", "a_name_that_is_much_too_long", "cu da"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct error error = {0};
        int index;
        assert_null(device_find(names[i], &index, &error));
        assert_int_equal(error.kind, ERROR_DEVICE);
        assert_non_null(strstr(error.text, "is not a device name"));
    }
}

static void says_where_it_looked(void **state)
{
    (void)state;
    struct error error = {0};
    int index;
    assert_null(device_find("toaster:0", &index, &error));
    assert_int_equal(error.kind, ERROR_DEVICE);
    assert_non_null(strstr(error.text, "unknown device 'toaster'"));
    assert_non_null(strstr(error.text, "steptop-toaster.so"));
#ifndef __APPLE__
    memset(&error, 0, sizeof error);
    assert_null(device_find("mps", &index, &error));
    assert_int_equal(error.kind, ERROR_DEVICE);
    assert_non_null(strstr(error.text, "Apple GPU"));
#endif
}

static void refuses_faulty_plugins(void **state)
{
    (void)state;
    static const char *const faults[][2] = {{"abi", "built for device interface"},
                                            {"name", "holds the device class 'other'"},
                                            {"symbol", "is not a device plugin"}};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        char folder[512];
        snprintf(folder, sizeof folder, "%s/%s", PLUGIN_FOLDER, faults[i][0]);
        setenv("STEPTOP_PLUGIN_FOLDER", folder, 1);
        struct error error = {0};
        int index;
        assert_null(device_find("fake:0", &index, &error));
        assert_int_equal(error.kind, ERROR_DEVICE);
        assert_non_null(strstr(error.text, faults[i][1]));
        unsetenv("STEPTOP_PLUGIN_FOLDER");
    }
}

static void refuses_a_file_that_is_no_library(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-plugin-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/steptop-fake.so", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("not an ELF file", file);
    fclose(file);
    setenv("STEPTOP_PLUGIN_FOLDER", folder, 1);
    struct error error = {0};
    int index;
    assert_null(device_find("fake", &index, &error));
    assert_int_equal(error.kind, ERROR_DEVICE);
    assert_non_null(strstr(error.text, "does not load"));
    unsetenv("STEPTOP_PLUGIN_FOLDER");
    unlink(path);
    rmdir(folder);
}

static void cpu_says_what_it_is(void **state)
{
    (void)state;
    struct device_info info;
    struct error error = {0};
    int count = 0;
    assert_true(cpu_device_class.enumerate(&info, 1, &count, &error));
    assert_int_equal(count, 1);
    assert_string_equal(info.name, "cpu");
    assert_true(strlen(info.model) > 0 && strlen(info.driver) > 0 && info.units >= 1);
    assert_true(info.memory_bytes >= info.free_bytes);
    assert_true(info.precisions & 1u << PRECISION_FP32);
    assert_false(info.precisions & 1u << PRECISION_TF32);
    assert_true(strlen(info.why_not[PRECISION_TF32]) > 0);
    const bool bf16 = info.precisions & 1u << PRECISION_BF16; /* by the processor's instructions */
    assert_true(bf16 == (strlen(info.why_not[PRECISION_BF16]) == 0));
}

/* What is one for all ranks is known by its whole name. */
static void hosts_are_known_by_name(void **state)
{
    (void)state;
    assert_true(device_is_host("cpu") && device_is_host("cpu:0") && device_is_host("reference"));
    assert_false(device_is_host("cuda:0") || device_is_host("vulkan:0") || device_is_host("cpux") ||
                 device_is_host("cp") || device_is_host(""));
}

/* A card too few is known without its driver: by the nodes that it makes, none of which is a card's but those with a number. */
static void missing_cards_are_known_by_their_nodes(void **state)
{
    (void)state;
    char folder[] = "/tmp/steptop-dev-XXXXXX", command[200];
    int there = -1;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(device_missing("cuda:0", 64, folder, &there), -1); /* another system's: nothing is known */
    snprintf(command, sizeof command, "cd %s && touch nvidia0 nvidia1 nvidiactl nvidia-uvm nvidia-caps nvidia1x",
             folder);
    assert_int_equal(system(command), 0);
    static const struct {
        const char *name;
        int ranks, missing;
    } cases[] = {{"cuda:0", 2, -1}, {"cuda:0", 64, 2}, {"cuda", 3, 2}, {"cuda:1", 1, -1},    {"cuda:1", 2, 1},
                 {"cuda:7", 1, 0},  {"cpu", 64, -1},   {"", 2, -1},    {"vulkan:0", 64, -1}, {"cuda:x", 2, -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (device_missing(cases[i].name, cases[i].ranks, folder, &there) != cases[i].missing)
            fail_msg("%d ranks from %s on: not %d", cases[i].ranks, cases[i].name, cases[i].missing);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_are_known_by_name), cmocka_unit_test(missing_cards_are_known_by_their_nodes),
        cmocka_unit_test(finds_classes),           cmocka_unit_test(refuses_what_is_no_name),
        cmocka_unit_test(says_where_it_looked),    cmocka_unit_test(refuses_faulty_plugins),
        cmocka_unit_test(cpu_says_what_it_is),     cmocka_unit_test(refuses_a_file_that_is_no_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
