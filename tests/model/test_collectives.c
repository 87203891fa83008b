/* The benchmark's plans: each collective, in fp32 and bf16, between two and three ranks on the CPU, by the values it leaves, in memory that they have in common and over connections. */
#include "apart.h"
#include "kernels/communicator.h"
#include "kernels/cpu/cpu_device.h"
#include "model/model.h"
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RANKS_MOST 3
#define MB 1

struct member {
    struct plan_request request;
    const struct apart *apart; /* NULL: in memory */
    int fd, rank;
    float *after; /* the whole buffer */
    int64_t elements;
    int series;
    char problem[256];
};

/* Small integers, which bf16 holds exactly, other ones on each rank. */
static float value_of(int rank, int64_t i)
{
    return (float)((i * 7 + i / 64 + 13 * rank) % 61);
}

static void *member_run(void *argument)
{
    struct member *member = argument;
    struct error error = {0};
    struct plan_result result;
    member->request.ranks.rank = member->rank;
    struct plan *plan = plan_build(&member->request, &result, &error);
    struct communicator *communicator = !plan           ? NULL
                                        : member->apart ? apart_connect(member->apart, member->rank, &error)
                                                        : communicator_join(member->fd, member->rank, &error);
    const struct prepare_options options = {.threads = 1, .communicator = communicator};
    struct prepare_report report = {0};
    struct program *program = communicator && plan_check(plan, &error)
                                  ? cpu_device_class.prepare(NULL, plan, &options, &report, &error)
                                  : NULL;
    if (!program) {
        snprintf(member->problem, sizeof member->problem, "%.250s", error.text);
        return NULL;
    }
    const int32_t whole = plan_find_tensor(plan, "buffer");
    const bool half = plan->tensors[whole].dtype == DTYPE_BF16;
    member->elements = tensor_elements(&plan->tensors[whole]);
    member->series = plan->node_count;
    member->after = calloc((size_t)member->elements, sizeof(float));
    uint16_t *bits = calloc((size_t)member->elements, sizeof *bits);
    for (int64_t i = 0; i < member->elements; i++) {
        member->after[i] = value_of(member->rank, i);
        uint32_t wide;
        memcpy(&wide, &member->after[i], sizeof wide);
        bits[i] = (uint16_t)(wide >> 16);
    }
    struct step_times times;
    void *bytes = half ? (void *)bits : member->after;
    if (!cpu_device_class.write(program, whole, bytes, &error) ||
        !communicator_meet(communicator, "the test", &error) ||
        !cpu_device_class.run(program, PHASES_FWD, 1, NULL, &times, &error) ||
        !cpu_device_class.read(program, whole, bytes, &error))
        snprintf(member->problem, sizeof member->problem, "%.250s", error.text);
    for (int64_t i = 0; half && i < member->elements; i++) {
        const uint32_t wide = (uint32_t)bits[i] << 16;
        memcpy(&member->after[i], &wide, sizeof wide);
    }
    free(bits);
    cpu_device_class.release(program);
    communicator_leave(communicator);
    plan_free(plan);
    return NULL;
}

/* What rank `rank` should hold at element i after `series` of them. */
static double expected(enum collective collective, int rank, int ranks, int64_t i, int64_t elements, int series)
{
    const int64_t piece = elements / ranks;
    double sum = 0, own = value_of(rank, i);
    for (int r = 0; r < ranks; r++)
        sum += value_of(r, i);
    switch (collective) {
    case COLLECTIVE_ALL_REDUCE:
        return sum / ranks;
    case COLLECTIVE_REDUCE_SCATTER: /* in place: the next one starts from the mean */
        for (int k = 0; k < series && i / piece == rank; k++)
            own = (sum - value_of(rank, i) + own) / ranks;
        return own;
    case COLLECTIVE_ALL_GATHER:
        return value_of((int)(i / piece), i);
    default:
        return value_of(0, i);
    }
}

static void each_leaves_what_it_should(void **state)
{
    (void)state;
    const int kinds = 2 * 2 * (COLLECTIVE_COUNT - 1);
    for (int n = 0; n < 2 * kinds; n++) {
        struct plan_request request = {.phases = PHASES_FWD};
        struct apart apart;
        const int k = n % kinds;
        const bool is_apart = n >= kinds;
        const int ranks = 2 + k % 2;
        request.ranks = (struct ranks_request){.ranks = ranks,
                                               .collective = (enum collective)(1 + k / 4),
                                               .bucket_bytes = MB * INT64_C(1000000),
                                               .bf16_gradients = k / 2 % 2 == 1};
        struct error error = {0};
        struct member members[RANKS_MOST] = {0};
        pthread_t threads[RANKS_MOST];
        const int fd = communicator_file(ranks, &error);
        assert_true(!is_apart || apart_open(&apart, ranks, &error));
        for (int r = 0; r < ranks; r++) {
            members[r] = (struct member){.request = request, .apart = is_apart ? &apart : NULL, .fd = fd, .rank = r};
            assert_int_equal(pthread_create(&threads[r], NULL, member_run, &members[r]), 0);
        }
        for (int r = 0; r < ranks; r++)
            pthread_join(threads[r], NULL);
        close(fd);
        if (is_apart)
            apart_close(&apart);
        const double limit = request.ranks.bf16_gradients ? 1.0 / 128 : 1e-6;
        for (int r = 0; r < ranks; r++) {
            if (members[r].problem[0])
                fail_msg("%s", members[r].problem);
            assert_int_equal(members[r].series, collective_series(collective_bytes(&request.ranks)));
            assert_int_equal(members[r].elements % (64 * ranks), 0);
            for (int64_t i = 0; i < members[r].elements; i++) {
                const double wanted =
                    expected(request.ranks.collective, r, ranks, i, members[r].elements, members[r].series);
                if (!(fabs(members[r].after[i] - wanted) <= limit * (1 + fabs(wanted))))
                    fail_msg("%s, rank %d of %d, element %lld: %g, not %g", collective_name(request.ranks.collective),
                             r, ranks, (long long)i, (double)members[r].after[i], wanted);
            }
            free(members[r].after);
        }
    }
}

static void sizes_and_factors(void **state)
{
    (void)state;
    struct ranks_request ranks = {.ranks = 2, .bucket_bytes = 1000000};
    assert_int_equal(collective_bytes(&ranks), 999936); /* a multiple of 64 elements a rank */
    assert_int_equal(collective_series(999936), 20);
    assert_int_equal(collective_series(100000000), 4);
    assert_int_equal(collective_series(1000000000), 1);
    assert_true(collective_bus_factor("all_reduce", 4) == 1.5 && collective_bus_factor("all_gather", 4) == 0.75);
    assert_true(collective_bus_factor("broadcast", 4) == 1 && isnan(collective_bus_factor("linear", 4)));
    struct error error = {0};
    struct plan_request request = {.phases = PHASES_FWD, .ranks = {.ranks = 1, .collective = COLLECTIVE_BROADCAST}};
    assert_null(plan_build(&request, NULL, &error));
    assert_non_null(strstr(error.text, "two ranks at least"));
    /* Its buffer has none of a model's roles: a worker that fills tokens leaves it alone. */
    request.ranks = (struct ranks_request){.ranks = 2, .collective = COLLECTIVE_ALL_REDUCE, .bucket_bytes = 1000000};
    request.model.vocab_size = 10;
    struct plan *plan = plan_build(&request, NULL, &error);
    assert_non_null(plan);
    assert_true(plan->tokens == TENSOR_NONE && plan->targets == TENSOR_NONE && plan->rope_table == TENSOR_NONE);
    assert_true(plan->logits == TENSOR_NONE && plan->loss == TENSOR_NONE && plan->vocab == 0);
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_leaves_what_it_should),
        cmocka_unit_test(sizes_and_factors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
