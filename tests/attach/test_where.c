/* Which module a node of the backward pass belongs to, by the number that PyTorch gives it: numbers count by thread. */
#include "attach/steps.h"
#include "attach/where.h"
#include "base/clock.h"
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
    where_leave(where_self(), scope, to);
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
    where_leave(where, 2, 15);
    where_leave(where, 1, 20);
    for (int64_t sequence = 10; sequence < 20; sequence++)
        assert_int_equal(scope_of(sequence), sequence >= 12 && sequence < 15 ? 2 : 1);
    assert_int_equal(scope_of(20), BOOK_NONE); /* nobody's: the loss's */
    assert_false(where_has_collisions());
}

/* What a signal's handler raises between two instructions of the hook leaves a call without its end, or an end without its call. */
static void a_call_whose_end_nobody_told_ends_with_the_one_around_it(void **state)
{
    (void)state;
    struct where *where = where_self();
    where_enter(where, 11, 500);
    where_enter(where, 12, 502);
    where_enter(where, 13, 503);
    where_leave(where, 14, 504); /* was never entered */
    assert_int_equal(CONTEXT_SCOPE(where_context()), 13);
    where_leave(where, 12, 505); /* 13 raised */
    assert_int_equal(CONTEXT_SCOPE(where_context()), 11);
    assert_true(where_may_be_left_over(where, 11));
    where_leave(where, 11, 506);
    assert_false(where_in_module(where));
    assert_false(where_may_be_left_over(where, 11));
    assert_int_equal(CONTEXT_PHASE(where_context()), PHASE_LOSS);
    assert_int_equal(scope_of(504), 12);
    assert_int_equal(scope_of(505), 11);
    where_enter(where, 11, 507);
    where_phase_begin(where, PHASE_OPT);
    assert_false(where_in_module(where)); /* as ever: a step of an optimizer is in no module */
    assert_true(where_may_step(where));
    where_unwind(where, 0, 0);
    assert_false(where_may_step(where));
    assert_int_equal(where_context(), CONTEXT(BOOK_NONE, PHASE_NONE));
    where_enter(where, 11, 508);
    where_enter(where, 12, 508);
    where_unwind(where, 1, -1);
    assert_int_equal(CONTEXT_SCOPE(where_context()), 11);
    where_unwind(where, 0, -1);
    assert_false(where_in_module(where));
}

static bool under_way;

static bool is_under_way(void)
{
    return under_way;
}

static void *node_elsewhere(void *context)
{
    (void)context;
    scope_of(7); /* a thread that calls no module: the engine's, of a card */
    return NULL;
}

static void run_elsewhere(void *(*what)(void *))
{
    static struct pass none;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, what, &none), 0);
    pthread_join(thread, NULL);
}

static pthread_barrier_t together;

static void *trains_too(void *context)
{
    (void)context;
    forward(1, 0, 0);
    pthread_barrier_wait(&together); /* it is there */
    pthread_barrier_wait(&together); /* as long as it has to be */
    return NULL;
}

static void expect(int32_t scope, enum phase phase)
{
    assert_int_equal(CONTEXT_SCOPE(where_context()), scope);
    assert_int_equal(CONTEXT_PHASE(where_context()), phase);
}

/* Clipping and an update by hand are neither the backward pass of the layer whose node ran last nor the loss. */
static void what_follows_backward_is_the_update(void **state)
{
    (void)state;
    forward(1, 5, 8);
    expect(BOOK_NONE, PHASE_LOSS);
    assert_int_equal(scope_of(6), 1);
    expect(1, PHASE_BWD); /* nobody can tell */
    where_backward_by(is_under_way);
    under_way = true; /* between two nodes: gradients are added up */
    expect(1, PHASE_BWD);
    under_way = false;
    expect(BOOK_NONE, PHASE_OPT);
    where_enter(where_self(), 2, 8);
    expect(2, PHASE_FWD);
    where_leave(where_self(), 2, 9);
    expect(BOOK_NONE, PHASE_LOSS);
    run_elsewhere(node_elsewhere);
    expect(BOOK_NONE, PHASE_OPT);
    forward(2, 9, 10);
    expect(BOOK_NONE, PHASE_LOSS); /* of this step no node has run yet */
    pthread_t thread;
    pthread_barrier_init(&together, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, trains_too, NULL), 0);
    pthread_barrier_wait(&together);
    run_elsewhere(node_elsewhere);
    expect(BOOK_NONE, PHASE_LOSS); /* two threads train: those nodes may be the other's */
    pthread_barrier_wait(&together);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&together);
    /* The other has ended, and trains no more. */
    forward(2, 50, 51);
    expect(BOOK_NONE, PHASE_LOSS);
    run_elsewhere(node_elsewhere);
    expect(BOOK_NONE, PHASE_OPT);
    where_backward_by(NULL);
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

static uint32_t asked_for(const void *of)
{
    ++*(int *)(uintptr_t)of;
    return 1;
}

static void busy(uint64_t ns)
{
    for (const uint64_t until = clock_now() + ns; clock_now() < until;)
        continue;
}

/* Names are looked for where there is a record, and one that called no other is one; nothing is while nothing is recorded. */
static void an_op_is_named_when_it_is_a_record(void **state)
{
    (void)state;
    int outer = 0, inner = 0, late = 0;
    struct where *where = where_self();
    where_record(true, false);
    where_op_begin(where, 0);
    where_op_begin(where, 0);
    where_op_end(where, asked_for, &late); /* steps have not begun */
    where_op_end(where, asked_for, &late);
    assert_int_equal(late, 0);
    steps_begin();
    where_op_begin(where, 0);
    where_op_begin(where, 0);
    busy(2000000);
    where_op_end(where, asked_for, &inner);
    where_op_begin(where, 0);
    where_op_end(where, asked_for, &inner);
    busy(6000000); /* its own work, whatever the machine does meanwhile */
    where_op_end(where, asked_for, &outer);
    assert_int_equal(inner, 2);
    assert_int_equal(outer, 1);
    struct where_counts counts;
    where_counts(&counts);
    assert_int_equal(counts.ops, 5);
    where_record(false, false);
}

/* While nobody tells of the backward pass, what comes after the outermost module is not said to be the loss. */
static void without_nodes_the_loss_is_not_told_from_the_backward_pass(void **state)
{
    (void)state;
    forward(6, 400, 402);
    assert_int_equal(CONTEXT_PHASE(where_context()), PHASE_LOSS);
    where_nodes_unknown(true);
    forward(6, 402, 404);
    assert_int_equal(CONTEXT_PHASE(where_context()), PHASE_NONE);
    where_nodes_unknown(false);
    forward(6, 404, 406);
    assert_int_equal(CONTEXT_PHASE(where_context()), PHASE_LOSS);
    where_phase_begin(where_self(), PHASE_OPT);
    assert_int_equal(CONTEXT_PHASE(where_context()), PHASE_OPT);
    where_phase_end(where_self());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_follows_backward_is_the_update),
        cmocka_unit_test(nodes_belong_to_the_innermost_module),
        cmocka_unit_test(a_call_whose_end_nobody_told_ends_with_the_one_around_it),
        cmocka_unit_test(one_number_of_two_threads_is_nobodys),
        cmocka_unit_test(other_threads_nodes_are_found),
        cmocka_unit_test(an_op_is_named_when_it_is_a_record),
        cmocka_unit_test(without_nodes_the_loss_is_not_told_from_the_backward_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
