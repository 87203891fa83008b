/* Which module a node of the backward pass belongs to, by the number that PyTorch gives it: numbers count by thread. */
#include "attach/where.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int32_t scope_of(int64_t sequence)
{
    struct where *where = where_self();
    where_node_begin(where, sequence);
    const int32_t scope = CONTEXT_SCOPE(where_context());
    assert_int_equal(CONTEXT_PHASE(where_context()), PHASE_BWD);
    where_node_end(where);
    return scope;
}

static void forward(int32_t scope, int64_t from, int64_t to)
{
    where_enter(where_self(), scope, from);
    where_leave(where_self(), to);
}

struct pass {
    int32_t scope;
    int64_t from, to;
};

static void *on_thread(void *context)
{
    const struct pass *pass = context;
    forward(pass->scope, pass->from, pass->to);
    return NULL;
}

static void elsewhere(struct pass pass)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, on_thread, &pass), 0);
    pthread_join(thread, NULL);
}

static void nodes_belong_to_the_innermost_module(void **state)
{
    (void)state;
    struct where *where = where_self();
    where_enter(where, 1, 10);
    where_enter(where, 2, 12);
    where_leave(where, 15);
    where_leave(where, 20);
    for (int64_t sequence = 10; sequence < 20; sequence++)
        assert_int_equal(scope_of(sequence), sequence >= 12 && sequence < 15 ? 2 : 1);
    assert_int_equal(scope_of(20), BOOK_NONE); /* nobody's: the loss's */
    assert_false(where_has_collisions());
}

static void one_number_of_two_threads_is_nobodys(void **state)
{
    (void)state;
    pthread_t other; /* at the same time, so that it is no thread that comes after another */
    struct pass pass = {4, 102, 106};
    forward(3, 100, 104);
    assert_int_equal(pthread_create(&other, NULL, on_thread, &pass), 0);
    pthread_join(other, NULL);
    assert_true(where_has_collisions());
    for (int64_t sequence = 100; sequence < 106; sequence++)
        assert_int_equal(scope_of(sequence), sequence < 102 ? 3 : sequence < 104 ? BOOK_NONE : 4);
}

/* A thread's numbers are its own as long as no other has them. */
static void other_threads_nodes_are_found(void **state)
{
    (void)state;
    elsewhere((struct pass){5, 300, 303});
    assert_int_equal(scope_of(299), BOOK_NONE);
    assert_int_equal(scope_of(301), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_belong_to_the_innermost_module),
        cmocka_unit_test(one_number_of_two_threads_is_nobodys),
        cmocka_unit_test(other_threads_nodes_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
