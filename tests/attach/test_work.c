/* What is said of one step that was looked at: peaks of memory by scope and direction. The link is a list here. */
#include "attach/book.h"
#include "attach/book_internal.h"
#include "attach/link.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct message_peak said[16];
static int count;

void link_send(uint32_t type, const void *first, size_t first_length, const void *second, size_t second_length)
{
    (void)second;
    if (type != MESSAGE_PEAK)
        return;
    assert_int_equal(first_length, sizeof *said);
    assert_int_equal(second_length, 0);
    memcpy(&said[count++], first, sizeof *said);
}

int32_t book_find(int32_t context, uint32_t name)
{
    (void)context, (void)name;
    return BOOK_NONE;
}

int32_t book_find_class(int32_t context, enum kernel_class kernel_class)
{
    (void)context, (void)kernel_class;
    return BOOK_NONE;
}

enum kernel_class book_class(uint32_t name)
{
    (void)name;
    return CLASS_OTHER;
}

static uint64_t most(int32_t scope, enum phase phase)
{
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++)
        if (said[i].scope == scope && said[i].phase == (uint32_t)phase && said[i].bytes > bytes)
            bytes = said[i].bytes;
    return bytes;
}

static void the_most_of_a_scope_is_said(void **state)
{
    (void)state;
    book_peak(CONTEXT(3, PHASE_FWD), 100);
    book_peak(CONTEXT(3, PHASE_FWD), 900);
    book_peak(CONTEXT(3, PHASE_FWD), 500);
    book_peak(CONTEXT(3, PHASE_BWD), 200);
    book_peak(CONTEXT(3, PHASE_RECOMPUTE), 700); /* a part of the backward pass */
    book_peak(CONTEXT(4, PHASE_BWD), 0);         /* nothing is in use: nothing to say */
    book_peak(CONTEXT(BOOK_NONE, PHASE_BWD), 300);
    book_peak(CONTEXT(5, PHASE_OPT), 300);
    book_peaks_tell();
    assert_int_equal(count, 3);
    assert_int_equal(most(3, PHASE_FWD), 900);
    assert_int_equal(most(3, PHASE_BWD), 700);
}

/* More places than there is room for cost those beyond it alone. */
static void too_many_are_left_out(void **state)
{
    (void)state;
    for (int32_t scope = 0; scope < 100000; scope++)
        book_peak(CONTEXT(scope, PHASE_OPT), 1);
    book_peak(CONTEXT(3, PHASE_FWD), 1000);
    count = 0;
    book_peaks_tell();
    assert_int_equal(most(3, PHASE_FWD), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_of_a_scope_is_said),
        cmocka_unit_test(too_many_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
