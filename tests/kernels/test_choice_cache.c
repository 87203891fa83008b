/* Choices kept on disk: the newest answer to exactly the question that was asked, and nothing of a file that is not ours. */
#include "kernels/build_cache.h"
#include "kernels/choice_cache.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[32], path[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/steptop-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/choices.bin", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove(path);
    return rmdir(folder);
}

static void add(struct choice_cache *cache, const char *subject, int question, int answer)
{
    choice_cache_add(cache, subject, &question, sizeof question, &answer, sizeof answer);
}

static int find(struct choice_cache *cache, const char *subject, int question)
{
    int answer = -1;
    return choice_cache_find(cache, subject, &question, sizeof question, &answer, sizeof answer) ? answer : -1;
}

static void answers_survive(void **state)
{
    (void)state;
    struct choice_cache cache;
    choice_cache_open(&cache, path, "here");
    add(&cache, "gemm", 1, 10);
    add(&cache, "gemm", 2, 20);
    add(&cache, "attention", 1, 30);
    assert_int_equal(find(&cache, "gemm", 1), 10); /* before it is written, too */
    choice_cache_close(&cache);

    choice_cache_open(&cache, path, "here");
    assert_int_equal(find(&cache, "gemm", 1), 10);
    assert_int_equal(find(&cache, "gemm", 2), 20);
    assert_int_equal(find(&cache, "attention", 1), 30);
    assert_int_equal(find(&cache, "attention", 2), -1);
    char small = 0;
    int question = 1;
    assert_false(choice_cache_find(&cache, "gemm", &question, sizeof question, &small, sizeof small));
    add(&cache, "gemm", 1, 11); /* chosen anew */
    choice_cache_close(&cache);

    choice_cache_open(&cache, path, "here");
    assert_int_equal(find(&cache, "gemm", 1), 11);
    assert_int_equal(find(&cache, "gemm", 2), 20);
    choice_cache_close(&cache);
}

static void another_key_or_no_records_start_empty(void **state)
{
    (void)state;
    struct choice_cache cache;
    struct error error = {0};
    choice_cache_open(&cache, path, "here");
    add(&cache, "gemm", 1, 10);
    choice_cache_close(&cache);
    choice_cache_open(&cache, path, "there");
    assert_int_equal(find(&cache, "gemm", 1), -1);
    choice_cache_close(&cache);
    char rest[40] = "gemm";
    memset(rest + 16, 0xff, 8); /* claims 8 GiB */
    assert_true(build_cache_write(path, "here", rest, sizeof rest, &error));
    choice_cache_open(&cache, path, "here");
    assert_int_equal(find(&cache, "gemm", 1), -1);
    add(&cache, "gemm", 1, 12);
    choice_cache_close(&cache);
    choice_cache_open(&cache, path, "here");
    assert_int_equal(find(&cache, "gemm", 1), 12);
    choice_cache_close(&cache);
}

struct large {
    int value;
    char rest[3000];
};

static int find_large(struct choice_cache *cache, int question)
{
    struct large answer;
    return choice_cache_find(cache, "gemm", &question, sizeof question, &answer, sizeof answer) ? answer.value : -1;
}

/* A cache that is full takes new answers all the same: the oldest make room, but what is in use is not old. */
static void the_oldest_make_room(void **state)
{
    enum { ROUNDS = 5, EACH = 200 };
    (void)state;
    struct choice_cache cache;
    struct stat status;
    size_t dropped = 0;
    char room[CHOICE_ROOM_TEXT];
    for (int round = 0; round < ROUNDS; round++) {
        choice_cache_open(&cache, path, "here");
        assert_int_equal(find_large(&cache, 1), round > 0 ? 1 : -1);
        for (int i = 0; i < EACH; i++) {
            const int question = round * EACH + i;
            const struct large answer = {.value = i};
            choice_cache_add(&cache, "gemm", &question, sizeof question, &answer, sizeof answer);
        }
        dropped += choice_cache_close(&cache);
        assert_int_equal(stat(path, &status), 0);
        assert_true((size_t)status.st_size < CHOICE_CACHE_MOST + 1024);
    }
    const size_t record = CHOICE_SUBJECT_MAX + 2 * sizeof(uint32_t) + sizeof(int) + sizeof(struct large);
    assert_int_equal(dropped, ROUNDS * EACH - CHOICE_CACHE_MOST / record);
    assert_string_equal(choice_cache_room(12, 0, room, sizeof room), "; the cache's 12 oldest made room");
    assert_string_equal(choice_cache_room(0, 0, room, sizeof room), "");
    assert_string_equal(choice_cache_room(0, 1, room, sizeof room), "; 1 of the cache cannot be and was not taken");
    choice_cache_open(&cache, path, "here");
    assert_int_equal(find_large(&cache, 0), -1);
    assert_int_equal(find_large(&cache, 1), 1);
    assert_int_equal(find_large(&cache, 2), -1);
    assert_int_equal(find_large(&cache, (ROUNDS - 1) * EACH), 0);
    assert_int_equal(find_large(&cache, ROUNDS * EACH - 1), EACH - 1);
    choice_cache_close(&cache);
}

static void without_a_file_nothing_is_kept(void **state)
{
    (void)state;
    struct choice_cache cache;
    choice_cache_open(&cache, NULL, "here");
    add(&cache, "gemm", 1, 10);
    assert_int_equal(find(&cache, "gemm", 1), -1);
    choice_cache_close(&cache);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_survive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_key_or_no_records_start_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_oldest_make_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_file_nothing_is_kept, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
