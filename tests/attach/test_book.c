/* What the library says of names, and what it reads in /proc: without a front, the link being this file's. */
#include "attach/book.h"
#include "attach/link.h"
#include "attach/stat.h"
#include "base/unknown.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct {
    uint32_t names, last;
    char text[AGGREGATE_NAME_MAX];
} said;

bool link_is_open(void)
{
    return true;
}

void link_send(uint32_t type, const void *first, size_t first_length, const void *second, size_t second_length)
{
    struct message_name message;
    if (type != MESSAGE_NAME)
        return;
    assert_int_equal(first_length, sizeof message);
    memcpy(&message, first, sizeof message);
    assert_int_equal(message.id, said.names); /* in order, without a gap */
    said.names++;
    said.last = message.id;
    memcpy(said.text, second, second_length);
    said.text[second_length] = 0;
}

/* A program that counts in its ranges' names has more of them than there is room for: those too many are called so, and not by the name
 * that came first. */
static void names_too_many(void **state)
{
    char name[32];
    (void)state;
    const uint32_t first = book_name("forward");
    for (int i = 0; i < BOOK_NAMES + 100; i++) {
        snprintf(name, sizeof name, "step %d", i);
        const uint32_t id = book_name(name);
        assert_true(id != first && id < BOOK_NAMES);
        assert_int_equal(id, book_name(name));
        assert_int_equal(id, i + 1 < BOOK_NAMES - 1 ? i + 1 : BOOK_NAMES - 1);
    }
    assert_int_equal(said.names, BOOK_NAMES);
    assert_non_null(strstr(said.text, "one of the names"));
    assert_int_equal(book_name("forward"), first);
    assert_int_equal(book_class(BOOK_NAMES - 1), CLASS_OTHER);
}

/* Fields are counted as the manual does, whatever the name holds. */
static void fields_of_stat(void **state)
{
    char line[1024] = "7 (a (b) 1 2 c) S";
    (void)state;
    for (int number = 4; number <= 52; number++)
        snprintf(line + strlen(line), sizeof line - strlen(line), " %d", 10 * number);
    assert_int_equal(stat_field(line, 4), 40);
    assert_int_equal(stat_field(line, STAT_UTIME), 140);
    assert_int_equal(stat_field(line, STAT_STIME), 150);
    assert_int_equal(stat_field(line, STAT_DISK), 420);
    assert_int_equal(stat_field(line, 52), 520);
    assert_int_equal(stat_field(line, 53), 0);
    assert_int_equal(stat_field("", 14), 0);
    assert_int_equal(stat_state(line), 'S');
    assert_int_equal(stat_state("7 (D) R) D 1"), 'D');
    assert_int_equal(stat_state("7"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_too_many), cmocka_unit_test(fields_of_stat)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
