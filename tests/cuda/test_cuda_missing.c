/* What the CUDA device says and does where things are missing or damaged; no GPU needed. */
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/nvrtc_build.h"
#include "tests/kernels/cache_folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void without_a_driver_one_sentence_says_so(void **state)
{
    (void)state;
    struct device_info info;
    struct error error = {0};
    int count = 7;
    if (steptop_device_class.enumerate(&info, 1, &count, &error)) {
        print_message("skipped: this machine has a CUDA device\n");
        skip();
    }
    assert_int_equal(error.kind, ERROR_DEVICE);
    assert_int_equal(count, 0);
    assert_non_null(strstr(error.text, "NVIDIA driver"));
    assert_null(strchr(error.text, '\n'));
    memset(&error, 0, sizeof error);
    assert_null(steptop_device_class.open(0, &error));
    assert_int_equal(error.kind, ERROR_DEVICE);
}

static int setup(void **state)
{
    return cache_setup(state, "cuda");
}

/* The second build takes the first one's machine code, also after the file was damaged in between. */
static void builds_come_from_the_cache(void **state)
{
    struct cache *cache = *state;
    struct cuda_libraries libraries = {0};
    struct error error = {0};
    if (!cuda_libraries_open_nvrtc(&libraries, &error)) {
        print_message("skipped: %s\n", error.text);
        skip();
    }
    struct cuda_build_options options = {.architecture = 90, .cache_folder = cache->folder};
    char *first = NULL, command[160];
    size_t first_size = 0;
    for (int round = 0; round < 4; round++) {
        struct cuda_build build = {.file = "adamw.cu", .defines = {"VECTOR=4"}, .define_count = 1};
        if (round == 2) {
            snprintf(command, sizeof command,
                     "for f in %s/cuda/*.cubin; do printf x | dd of=$f bs=1 seek=500 conv=notrunc status=none; done",
                     cache->folder);
            assert_int_equal(system(command), 0);
        }
        if (!cuda_build_all(&libraries, &build, 1, &options, &error))
            fail_msg("%s", error.text);
        assert_int_equal(build.from_cache, round == 1 || round == 3);
        if (round == 0) {
            first = build.image;
            first_size = build.image_size;
            build.image = NULL;
        } else {
            assert_int_equal(build.image_size, first_size);
            assert_memory_equal(build.image, first, first_size);
        }
        cuda_build_release(&libraries, &build);
    }
    free(first);
    cuda_libraries_close(&libraries);
}

static void a_build_that_fails_names_source_and_macros(void **state)
{
    (void)state;
    struct cuda_libraries libraries = {0};
    struct error error = {0};
    if (!cuda_libraries_open_nvrtc(&libraries, &error)) {
        print_message("skipped: %s\n", error.text);
        skip();
    }
    struct cuda_build build = {.file = "adamw.cu", .defines = {"VECTOR=nonsense"}, .define_count = 1};
    struct cuda_build_options options = {.architecture = 90};
    assert_false(cuda_build_all(&libraries, &build, 1, &options, &error));
    assert_int_equal(error.kind, ERROR_INTERNAL);
    assert_non_null(strstr(error.text, "adamw.cu"));
    assert_non_null(strstr(error.text, "VECTOR=nonsense"));
    cuda_build_release(&libraries, &build);
    cuda_libraries_close(&libraries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_driver_one_sentence_says_so),
        cmocka_unit_test_setup_teardown(builds_come_from_the_cache, setup, cache_teardown),
        cmocka_unit_test(a_build_that_fails_names_source_and_macros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
