/* The best ceilings of a device stay the best, each with its day; another device, precision or number of threads has its own. */
#include "worker/ceilings.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char folder[] = "/tmp/steptop-ceilings-XXXXXX";

static struct ceilings_kept keep(const struct device_info *device, enum precision precision, int threads, double flops,
                                 double bytes, int64_t at)
{
    struct ceilings_kept kept = {flops, bytes, at, at};
    struct error error = {0};
    size_t dropped;
    if (!ceilings_keep(folder, device, precision, threads, &kept, &dropped, &error))
        fail_msg("%s", error.text);
    return kept;
}

static void the_best_is_kept(void **state)
{
    (void)state;
    struct device_info device = {.model = "A processor", .architecture = "x86-64-v4", .driver = "a BLAS", .units = 2};
    struct ceilings_kept kept = keep(&device, PRECISION_FP32, 2, 100e9, 10e9, 86400);
    assert_true(kept.flops_per_s == 100e9 && kept.bytes_per_s == 10e9);
    /* A busy machine reads less in one and more in the other. */
    kept = keep(&device, PRECISION_FP32, 2, 60e9, 12e9, 2 * 86400);
    assert_true(kept.flops_per_s == 100e9 && kept.flops_at == 86400);
    assert_true(kept.bytes_per_s == 12e9 && kept.bytes_at == 2 * 86400);
    char text[120];
    ceilings_text(&kept, text, sizeof text);
    assert_string_equal(text, "the best seen of this device: matmul measured on 1970-01-02, copy on 1970-01-03");
    assert_true(keep(&device, PRECISION_BF16, 2, 50e9, 9e9, 86400).flops_per_s == 50e9);
    assert_true(keep(&device, PRECISION_FP32, 1, 50e9, 9e9, 86400).flops_per_s == 50e9);
    device.units = 4;
    assert_true(keep(&device, PRECISION_FP32, 2, 50e9, 9e9, 86400).flops_per_s == 50e9);
}

static void without_a_cache_it_is_what_was_measured(void **state)
{
    (void)state;
    const struct device_info device = {.model = "A processor"};
    struct ceilings_kept kept = {1e9, 2e9, 86400, 86400};
    struct error error = {0};
    size_t dropped;
    assert_false(ceilings_keep("/proc/no/such/folder", &device, PRECISION_FP32, 0, &kept, &dropped, &error));
    assert_true(error.text[0] && kept.flops_per_s == 1e9 && kept.bytes_per_s == 2e9);
}

/* What has not been used for longest makes room, and is counted. */
static void the_oldest_make_room(void **state)
{
    (void)state;
    const struct device_info device = {.model = "A processor"};
    struct ceilings_kept kept = {1e9, 2e9, 86400, 86400};
    struct error error = {0};
    size_t dropped = 0;
    char path[128];
    for (int i = 0; i < 2; i++) { /* two of 700 KiB; one MiB is kept */
        snprintf(path, sizeof path, "%s/ceilings/%016d", folder, i);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fseek(file, 700 << 10, SEEK_SET), 0);
        fputc(0, file);
        fclose(file);
    }
    assert_true(ceilings_keep(folder, &device, PRECISION_FP32, 0, &kept, &dropped, &error));
    assert_true(dropped > 0);
    assert_true(ceilings_keep(folder, &device, PRECISION_FP32, 0, &kept, &dropped, &error));
    assert_int_equal(dropped, 0);
}

static int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state)
{
    (void)state;
    char line[120];
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    return system(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_best_is_kept), cmocka_unit_test(the_oldest_make_room),
                                       cmocka_unit_test(without_a_cache_it_is_what_was_measured)};
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
