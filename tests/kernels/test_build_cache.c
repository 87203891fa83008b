/* The cache on disk: what comes back is what was asked for, or nothing. */
#include "base/file.h"
#include "tests/kernels/cache_folder.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int setup(void **state)
{
    return cache_setup(state, "fake");
}

static void an_object_comes_back_whole(void **state)
{
    struct cache *cache = *state;
    struct error error = {0};
    const char content[] = "machine\0code";
    char why[128];
    size_t size = 0;
    struct stat status;
    assert_int_equal(stat(cache->folder, &status), 0);
    assert_null(build_cache_read(cache->path, "key", &size, why, sizeof why)); /* not there: no complaint */
    assert_string_equal(why, "");
    assert_true(build_cache_write(cache->path, "key", content, sizeof content, &error));
    char *back = build_cache_read(cache->path, "key", &size, why, sizeof why);
    assert_non_null(back);
    assert_int_equal(size, sizeof content);
    assert_memory_equal(back, content, size);
    free(back);
    assert_null(build_cache_read(cache->path, "another key", &size, why, sizeof why));
    assert_string_equal(why, "made from something else");
}

static void a_damaged_object_counts_as_missing(void **state)
{
    struct cache *cache = *state;
    struct error error = {0};
    char why[128], *text = NULL;
    size_t size = 0, length = 0;
    assert_true(build_cache_write(cache->path, "key", "content of some length", 22, &error));
    assert_true(file_read(cache->path, 4096, &text, &length, &error));
    for (size_t i = 0; i < length; i++) { /* any one byte changed, anywhere */
        text[i] ^= 1;
        assert_true(file_write_atomic(cache->path, text, length, &error));
        assert_null(build_cache_read(cache->path, "key", &size, why, sizeof why));
        assert_true(why[0] != '\0');
        text[i] ^= 1;
    }
    for (size_t shorter = 0; shorter < length; shorter++) { /* and any shorter file */
        assert_true(file_write_atomic(cache->path, text, shorter, &error));
        assert_null(build_cache_read(cache->path, "key", &size, why, sizeof why));
    }
    assert_true(file_write_atomic(cache->path, text, length, &error));
    char *back = build_cache_read(cache->path, "key", &size, why, sizeof why);
    assert_non_null(back);
    free(back);
    assert_int_equal(chmod(cache->path, 0666), 0);
    assert_null(build_cache_read(cache->path, "key", &size, why, sizeof why));
    free(text);
}

static void a_folder_that_others_can_write_to_is_not_used(void **state)
{
    struct cache *cache = *state;
    char path[512], folder[128];
    struct error error = {0};
    struct stat status;
    snprintf(folder, sizeof folder, "%s/fake", cache->folder);
    assert_int_equal(stat(folder, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(chmod(folder, 0777), 0);
    assert_false(build_cache_folder(cache->folder, "fake", path, sizeof path, &error));
    assert_non_null(strstr(error.text, folder));
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(symlink("/tmp", folder), 0);
    assert_false(build_cache_folder(cache->folder, "fake", path, sizeof path, &error));
    assert_int_equal(unlink(folder), 0);
}

/* A folder of objects is bounded: those go that nobody read for longest, and another device's stay. */
static void the_longest_unused_make_room(void **state)
{
    enum { OBJECTS = 20, BYTES = 1000 };
    struct cache *cache = *state;
    struct error error = {0};
    char folder[128], path[160], content[BYTES] = "x";
    size_t size = 0;
    snprintf(folder, sizeof folder, "%s/fake", cache->folder);
    for (int i = 0; i < OBJECTS; i++) {
        snprintf(path, sizeof path, "%s/%d.cubin", folder, i);
        assert_true(build_cache_write(path, "key", content, sizeof content, &error));
        const struct timespec times[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    assert_true(build_cache_write(cache->path, "key", content, sizeof content, &error)); /* another suffix */
    snprintf(path, sizeof path, "%s/0.cubin", folder);
    char *read = build_cache_read(path, "key", &size, NULL, 0); /* the oldest is in use */
    assert_non_null(read);
    free(read);
    assert_int_equal(build_cache_trim(folder, ".cubin", 5 * 1200), OBJECTS - 5);
    for (int i = 0; i < OBJECTS; i++) {
        snprintf(path, sizeof path, "%s/%d.cubin", folder, i);
        assert_int_equal(access(path, F_OK), i == 0 || i >= OBJECTS - 4 ? 0 : -1);
    }
    assert_int_equal(access(cache->path, F_OK), 0);
    assert_int_equal(build_cache_trim(folder, ".cubin", 5 * 1200), 0);
    assert_int_equal(build_cache_trim("/nowhere", ".cubin", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_object_comes_back_whole, setup, cache_teardown),
        cmocka_unit_test_setup_teardown(a_damaged_object_counts_as_missing, setup, cache_teardown),
        cmocka_unit_test_setup_teardown(the_longest_unused_make_room, setup, cache_teardown),
        cmocka_unit_test_setup_teardown(a_folder_that_others_can_write_to_is_not_used, setup, cache_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
