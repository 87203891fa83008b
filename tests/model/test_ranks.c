/* Several ranks, as threads of this process: every way of training in parallel, in double on the reference and on the CPU. All
 * ranks end with the same bits; their gradients are those of one device on all their batches together; all ways agree with the
 * naive one; and mistakes that others have made are seen. */
#include "apart.h"
#include "harness.h"
#include "kernels/communicator.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/reference/reference.h"
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_RANKS 4
#define STEPS 3
#define SEED 11

enum mutation { MUTATION_NONE, FORGOTTEN_SCALE, REDUCE_FOR_SCATTER, STALE_BUCKET };

struct team;
struct member {
    struct team *team;
    int rank;
    struct plan *plan;
    double *gradients,
        *after; /* of all parameters of the joined plan, one after another; NaN where this rank has none */
};

struct team {
    struct plan_request request;
    const struct device_class *class;
    const struct plan *joined; /* names and sizes */
    enum mutation mutation;
    int ranks, fd;
    const char *cache; /* where products are chosen as before; NULL: by the clock, each time anew */
    bool is_apart;     /* they meet by connections */
    struct apart apart;
    struct member members[MAX_RANKS];
};

static struct plan_request request_of(int ranks, enum parallel parallel, unsigned fusions)
{
    struct plan_request request = harness_small_request();
    request.batch = 1;
    request.fusions = fusions;
    request.ranks = (struct ranks_request){.ranks = ranks, .parallel = parallel, .bucket_bytes = 3000};
    return request;
}

static bool is_parameter(const struct plan *plan, int32_t tensor)
{
    return plan->tensors[tensor].kind == TENSOR_PARAMETER && plan->tensors[tensor].parameter == tensor;
}

static int64_t parameter_total(const struct plan *joined)
{
    int64_t total = 0;
    for (int32_t i = 0; i < joined->tensor_count; i++)
        total += is_parameter(joined, i) ? tensor_elements(&joined->tensors[i]) : 0;
    return total;
}

static void read_doubles(const struct device_class *class, struct program *program, const struct plan *plan,
                         int32_t tensor, double *values)
{
    const int64_t count = tensor_elements(&plan->tensors[tensor]);
    struct error error = {0};
    if (class == &reference_device_class) {
        memcpy(values, reference_values(program, tensor), (size_t)count * sizeof *values);
        return;
    }
    float *floats = malloc((size_t)count * sizeof *floats);
    assert_true(floats && plan->tensors[tensor].dtype == DTYPE_F32);
    assert_true(class->read(program, tensor, floats, &error));
    for (int64_t i = 0; i < count; i++)
        values[i] = (double)floats[i];
    free(floats);
}

/* Is element i whole on this rank: a gradient reduced, a parameter up to date? With zero1 only within its own shards, but that a
 * parameter is gathered where no copy of it is. */
static bool is_whole(const struct plan *plan, int32_t tensor, bool gradient, int64_t i)
{
    const uint64_t at = plan->tensors[tensor].offset + (uint64_t)i * sizeof(float);
    const char *const shards[] = {gradient ? "bucket.shard." : "parameters.shard.", "parameters.bucket."};
    bool sharded = false;
    for (int32_t t = 0; t < plan->tensor_count; t++)
        for (int k = 0; k < 2 - gradient; k++) {
            const struct tensor *shard = &plan->tensors[t];
            if (strncmp(shard->name, shards[k], strlen(shards[k])) != 0)
                continue;
            sharded = true;
            if (at >= shard->offset && at < shard->offset + shard->bytes)
                return true;
        }
    return !sharded;
}

/* Gradients or parameters by the joined plan's names. */
static void collect(const struct member *member, struct program *program, bool gradients, double *out)
{
    const struct team *team = member->team;
    const struct plan *plan = member->plan;
    for (int32_t j = 0; j < team->joined->tensor_count; j++) {
        if (!is_parameter(team->joined, j))
            continue;
        const struct tensor *wanted = &team->joined->tensors[j];
        const int64_t count = tensor_elements(wanted);
        char name[200];
        snprintf(name, sizeof name, "%s%s", gradients ? "grad." : "", wanted->name);
        const int32_t tensor = plan_find_tensor(plan, name);
        for (int64_t i = 0; i < count; i++)
            out[i] = NAN;
        if (tensor != TENSOR_NONE && tensor_kind_persists(plan->tensors[tensor].kind)) {
            read_doubles(team->class, program, plan, tensor, out);
            for (int64_t i = 0; i < count; i++)
                if (!is_whole(plan, tensor, gradients, i))
                    out[i] = NAN;
        }
        for (int32_t p = 0; p < plan->part_count; p++) {
            const struct plan_part *part = &plan->parts[p];
            if (strcmp(part->name, wanted->name) != 0)
                continue;
            int32_t shard = part->shard;
            for (int32_t t = 0; t < plan->tensor_count && gradients; t++)
                if (plan->tensors[t].kind == TENSOR_GRADIENT && plan->tensors[t].parameter == part->shard)
                    shard = t;
            double *values = malloc((size_t)tensor_elements(&plan->tensors[shard]) * sizeof *values);
            assert_non_null(values);
            read_doubles(team->class, program, plan, shard, values);
            memcpy(out + part->first, values + part->at, (size_t)part->count * sizeof *values);
            free(values);
        }
        out += count;
    }
}

static void fill(const struct device_class *class, struct program *program, const struct plan *plan, int first_row)
{
    struct error error = {0};
    for (int32_t i = 0; i < plan->tensor_count; i++) {
        const struct tensor *tensor = &plan->tensors[i];
        float *values = calloc((size_t)tensor_elements(tensor), sizeof *values);
        assert_non_null(values);
        bool given = true;
        bool parts = false;
        for (int32_t p = 0; p < plan->part_count; p++)
            if (plan->parts[p].shard == i) {
                parts = true;
                assert_true(model_initial_part(&plan->parts[p], SEED, values + plan->parts[p].at, &error));
            }
        if (i == plan->tokens || i == plan->targets)
            for (int64_t k = 0; k < tensor_elements(tensor); k++)
                ((int32_t *)(void *)values)[k] = (int32_t)((((uint64_t)(first_row * plan->context + k) * 2654435761u +
                                                             (i == plan->tokens ? 7 : 0)) >>
                                                            7) %
                                                           (uint64_t)plan->vocab);
        else if (!parts && (is_parameter(plan, i) || tensor->kind == TENSOR_CONSTANT))
            assert_true(model_initial_value(plan, i, SEED, values, &error));
        else
            given = parts;
        if (given && !class->write(program, i, values, &error))
            fail_msg("%s: %s", tensor->name, error.text);
        free(values);
    }
}

static void mutate(struct plan *plan, enum mutation mutation)
{
    for (int32_t i = 0; i < plan->node_count; i++) {
        struct node *node = &plan->nodes[i];
        if (node->op != OP_ALL_REDUCE && node->op != OP_REDUCE_SCATTER)
            continue;
        if (mutation == FORGOTTEN_SCALE)
            node->scale = 1;
        if (mutation == REDUCE_FOR_SCATTER && node->op == OP_REDUCE_SCATTER) {
            node->op = OP_ALL_REDUCE; /* everybody takes the first piece for its own */
        }
        if (mutation == STALE_BUCKET && i > 0) { /* goes before the gradient that completes it */
            const struct node before = plan->nodes[i - 1];
            plan->nodes[i - 1] = *node;
            *node = before;
            return;
        }
    }
}

static struct communicator *team_join(const struct team *team, int rank, struct error *error)
{
    struct communicator *communicator =
        team->is_apart ? apart_connect(&team->apart, rank, error) : communicator_join(team->fd, rank, error);
    if (!communicator)
        fail_msg("rank %d: %s", rank, error->text);
    return communicator;
}

static void *member_run(void *argument)
{
    struct member *member = argument;
    struct team *team = member->team;
    struct error error = {0};
    struct plan_request request = team->request;
    request.ranks.rank = member->rank;
    struct plan_result result;
    member->plan = plan_build(&request, &result, &error);
    if (!member->plan || !plan_check(member->plan, &error))
        fail_msg("rank %d: %s", member->rank, error.text);
    mutate(member->plan, team->mutation);
    struct communicator *communicator = team_join(team, member->rank, &error);
    const bool host = team->class == &cpu_device_class || team->class == &reference_device_class;
    struct device *device = team->class->open(host ? 0 : member->rank, &error);
    if (!device)
        fail_msg("rank %d: %s", member->rank, error.text);
    const struct prepare_options options = {
        .compile = request.fusions != 0, .threads = 1, .communicator = communicator, .cache_folder = team->cache};
    struct program *program = team->class->prepare(device, member->plan, &options, NULL, &error);
    if (!program)
        fail_msg("rank %d: %s", member->rank, error.text);
    fill(team->class, program, member->plan, member->rank * (int)request.batch);
    if (!team->class->run(program, PHASES_FWD_BWD, 0, NULL, NULL, &error))
        fail_msg("rank %d: %s", member->rank, error.text);
    collect(member, program, true, member->gradients);
    for (int step = 0; step < STEPS; step++)
        if (!team->class->run(program, PHASES_TRAIN_STEP, 0, NULL, NULL, &error))
            fail_msg("rank %d: %s", member->rank, error.text);
    collect(member, program, false, member->after);
    team->class->release(program);
    team->class->close(device);
    communicator_leave(communicator);
    return NULL;
}

static void team_run(struct team *team)
{
    struct error error = {0};
    const int64_t total = parameter_total(team->joined);
    team->ranks = team->request.ranks.ranks;
    team->fd = communicator_file(team->ranks, &error);
    assert_true(team->fd >= 0);
    assert_true(!team->is_apart || apart_open(&team->apart, team->ranks, &error));
    pthread_t threads[MAX_RANKS];
    for (int rank = 0; rank < team->ranks; rank++) {
        struct member *member = &team->members[rank];
        *member = (struct member){.team = team, .rank = rank};
        member->gradients = malloc((size_t)total * sizeof(double));
        member->after = malloc((size_t)total * sizeof(double));
        assert_true(member->gradients && member->after);
        assert_int_equal(pthread_create(&threads[rank], NULL, member_run, member), 0);
    }
    for (int rank = 0; rank < team->ranks; rank++)
        pthread_join(threads[rank], NULL);
    close(team->fd);
    if (team->is_apart)
        apart_close(&team->apart);
}

static void team_free(struct team *team)
{
    for (int rank = 0; rank < team->ranks; rank++) {
        free(team->members[rank].gradients);
        free(team->members[rank].after);
        plan_free(team->members[rank].plan);
    }
}

/* Of what the ranks have together; −1 where no rank has an element. */
static double worst_of(const struct team *team, bool gradients, const double *expected)
{
    const int64_t total = parameter_total(team->joined);
    double difference = 0, size = 0;
    for (int64_t i = 0; i < total; i++) {
        bool any = false;
        for (int rank = 0; rank < team->ranks; rank++) {
            const double value = gradients ? team->members[rank].gradients[i] : team->members[rank].after[i];
            if (isnan(value))
                continue;
            any = true;
            difference += (value - expected[i]) * (value - expected[i]);
            size += expected[i] * expected[i];
        }
        if (!any)
            return -1;
    }
    return sqrt(difference / size);
}

static bool ranks_have_the_same_bits(const struct team *team)
{
    const int64_t total = parameter_total(team->joined);
    for (int64_t i = 0; i < total; i++)
        for (int rank = 0, first = -1; rank < team->ranks; rank++) {
            if (isnan(team->members[rank].after[i]))
                continue;
            first = first < 0 ? rank : first;
            if (memcmp(&team->members[rank].after[i], &team->members[first].after[i], sizeof(double)) != 0)
                return false;
        }
    return true;
}

/* One device, all batches. */
static struct plan *joined_plan(const struct plan_request *request)
{
    struct plan_request joined = *request;
    struct error error = {0};
    struct plan_result result;
    joined.batch *= request->ranks.ranks;
    joined.ranks = (struct ranks_request){0};
    struct plan *plan = plan_build(&joined, &result, &error);
    if (!plan)
        fail_msg("%s", error.text);
    return plan;
}

static void joined_run(const struct plan *plan, double *gradients, double *after)
{
    struct error error = {0};
    const struct device_class *class = &reference_device_class;
    struct device *device = class->open(0, &error);
    const struct prepare_options options = {0};
    struct program *program = class->prepare(device, plan, &options, NULL, &error);
    if (!program)
        fail_msg("%s", error.text);
    struct team team = {.class = class, .joined = plan};
    const struct member member = {.team = &team, .plan = (struct plan *)(uintptr_t)plan};
    fill(class, program, plan, 0);
    assert_true(class->run(program, PHASES_FWD_BWD, 0, NULL, NULL, &error));
    collect(&member, program, true, gradients);
    for (int step = 0; step < STEPS; step++)
        assert_true(class->run(program, PHASES_TRAIN_STEP, 0, NULL, NULL, &error));
    collect(&member, program, false, after);
    class->release(program);
    class->close(device);
}

struct truth_of_all {
    struct plan *plan;
    double *gradients, *after;
};

static struct truth_of_all truth_make(const struct plan_request *request)
{
    struct truth_of_all truth = {.plan = joined_plan(request)};
    const size_t total = (size_t)parameter_total(truth.plan);
    truth.gradients = malloc(total * sizeof(double));
    truth.after = malloc(total * sizeof(double));
    assert_true(truth.gradients && truth.after);
    joined_run(truth.plan, truth.gradients, truth.after);
    return truth;
}

static void truth_release(struct truth_of_all *truth)
{
    plan_free(truth->plan);
    free(truth->gradients);
    free(truth->after);
}

static void one_way(const struct device_class *class, const struct plan_request *request, double tolerance)
{
    struct truth_of_all truth = truth_make(request);
    struct team team = {.request = *request, .class = class, .joined = truth.plan};
    team_run(&team);
    const double gradients = worst_of(&team, true, truth.gradients), after = worst_of(&team, false, truth.after);
    const bool same = ranks_have_the_same_bits(&team);
    const char *name = parallel_name(request->ranks.parallel);
    if (!same || !(gradients >= 0 && gradients <= tolerance) || !(after >= 0 && after <= tolerance))
        fail_msg("%s, %d ranks, fusions %x, %s: gradients %.2e, parameters %.2e, %s", name, request->ranks.ranks,
                 request->fusions, precision_name(request->precision), gradients, after,
                 same ? "same bits" : "other bits");
    print_message("%-9s %-8s %d ranks %s %s%s: gradients %.1e, parameters after %d steps %.1e\n", class->name, name,
                  request->ranks.ranks, precision_name(request->precision), request->fusions ? "fused" : "eager",
                  request->ranks.bf16_gradients ? ", bf16 gradients" : "", gradients, STEPS, after);
    team_free(&team);
    truth_release(&truth);
}

static void every_way_is_one_device_on_all_batches(void **state)
{
    (void)state;
    for (int parallel = PARALLEL_NAIVE; parallel < PARALLEL_COUNT; parallel++)
        for (int ranks = 2; ranks <= 4; ranks++)
            for (int fused = 0; fused < 2; fused++) {
                struct plan_request request = request_of(ranks, (enum parallel)parallel, fused ? FUSE_ALL : 0);
                request.checkpoint = ranks == 3 ? CHECKPOINT_BLOCK : CHECKPOINT_NONE;
                request.precision = ranks == 4 ? PRECISION_BF16 : PRECISION_FP32;
                request.ranks.bf16_gradients = ranks == 4;
                one_way(&reference_device_class, &request, 2e-7);
            }
}

static void the_cpu_does_it_too(void **state)
{
    (void)state;
    for (int parallel = PARALLEL_NAIVE; parallel < PARALLEL_COUNT; parallel++)
        for (int ranks = 2; ranks <= 3; ranks++) {
            struct plan_request request = request_of(ranks, (enum parallel)parallel, ranks == 2 ? FUSE_ALL : 0);
            one_way(&cpu_device_class, &request, 2e-5);
            request.ranks.bf16_gradients = true;
            one_way(&cpu_device_class, &request, 1e-2);
        }
}

/* The class, and as many ranks as there are cards; NULL on a machine with fewer than two. */
static const struct device_class *cards(int *ranks)
{
    struct error error = {0};
    int index, count = 0;
    static struct device_info infos[16];
    const struct device_class *cuda = device_find("cuda", &index, &error);
    if (!cuda || !cuda->enumerate(infos, 16, &count, &error) || count < 2) {
        print_message("%s\n", count == 1 ? "one card" : error.text);
        return NULL;
    }
    setenv("NCCL_NVLS_ENABLE", "0", 1);
    *ranks = count < MAX_RANKS ? count : MAX_RANKS;
    return cuda;
}

/* On a machine with two cards, through NCCL: a card a rank. */
static void cards_do_it_too(void **state)
{
    (void)state;
    int ranks = 0;
    const struct device_class *cuda = cards(&ranks);
    if (!cuda)
        skip();
    for (int parallel = PARALLEL_NAIVE; parallel < PARALLEL_COUNT; parallel++)
        for (int fused = 0; fused < 2; fused++) {
            struct plan_request request =
                request_of(ranks, (enum parallel)parallel, fused ? FUSE_ALL | 1u << FUSE_OVERLAP : 0);
            request.model.d_model = 64, request.model.d_ff = 128, request.model.vocab_size = 64;
            request.context = 32;
            request.overlap = cuda->overlap;
            one_way(cuda, &request, 2e-5);
            request.precision = PRECISION_BF16;
            request.ranks.bf16_gradients = fused != 0;
            one_way(cuda, &request, 2e-2);
        }
}

/* A model large enough that the optimizer goes in pieces, beside backward where buckets do: as when all of it comes at the end. */
static void cards_update_beside_backward(void **state)
{
    (void)state;
    int ranks = 0;
    const struct device_class *cuda = cards(&ranks);
    if (!cuda)
        skip();
    struct plan_request request = request_of(ranks, PARALLEL_FLAT, FUSE_ALL | 1u << FUSE_OVERLAP);
    request.model.d_model = 512, request.model.d_ff = 2048, request.model.vocab_size = 4096,
    request.model.num_layers = 6;
    request.context = 128;
    request.ranks.bucket_bytes = 4000000;
    struct plan *joined = joined_plan(&request);
    struct team late = {.request = request, .class = cuda, .joined = joined};
    team_run(&late);
    static const enum parallel ways[] = {PARALLEL_OVERLAP, PARALLEL_BUCKET, PARALLEL_ZERO1, PARALLEL_FSDP};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct team team = {.request = request, .class = cuda, .joined = joined};
        team.request.ranks.parallel = ways[i];
        team_run(&team);
        const double after = worst_of(&team, false, late.members[0].after);
        print_message("%s: parameters after %d steps %.1e from those of flat\n", parallel_name(ways[i]), STEPS, after);
        assert_true(after >= 0 && after <= 1e-5 && ranks_have_the_same_bits(&team));
        team_free(&team);
    }
    team_free(&late);
    plan_free(joined);
}

/* To rounding: each prepared program times its products anew and may choose others. */
static void every_way_agrees_with_the_naive_one(void **state)
{
    (void)state;
    struct plan_request request = request_of(3, PARALLEL_NAIVE, FUSE_ALL);
    struct plan *joined = joined_plan(&request);
    struct team naive = {.request = request, .class = &cpu_device_class, .joined = joined};
    team_run(&naive);
    for (int parallel = PARALLEL_FLAT; parallel < PARALLEL_COUNT; parallel++) {
        struct team team = {.request = request, .class = &cpu_device_class, .joined = joined};
        team.request.ranks.parallel = (enum parallel)parallel;
        team_run(&team);
        assert_true(worst_of(&team, true, naive.members[0].gradients) <= 1e-6);
        assert_true(worst_of(&team, false, naive.members[0].after) <= 1e-6);
        team_free(&team);
    }
    team_free(&naive);
    plan_free(joined);
}

static void mistakes_are_seen(void **state)
{
    (void)state;
    static const struct {
        enum mutation mutation;
        enum parallel parallel;
    } mistakes[] = {
        {FORGOTTEN_SCALE, PARALLEL_NAIVE},   {FORGOTTEN_SCALE, PARALLEL_FSDP}, {REDUCE_FOR_SCATTER, PARALLEL_ZERO1},
        {REDUCE_FOR_SCATTER, PARALLEL_FSDP}, {STALE_BUCKET, PARALLEL_BUCKET},  {STALE_BUCKET, PARALLEL_OVERLAP},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct plan_request request = request_of(2, mistakes[i].parallel, FUSE_ALL);
        struct truth_of_all truth = truth_make(&request);
        struct team team = {.request = request,
                            .class = &reference_device_class,
                            .joined = truth.plan,
                            .mutation = mistakes[i].mutation};
        team_run(&team);
        const double error = worst_of(&team, true, truth.gradients);
        if (!(error > 1e-3))
            fail_msg("mistake %d in %s is not seen: %.1e", (int)mistakes[i].mutation,
                     parallel_name(mistakes[i].parallel), error);
        team_free(&team);
        truth_release(&truth);
    }
}

/* Rank 1's plan has another batch: refused by all, not run, not waited for. */
static void *unequal_rank(void *argument)
{
    struct member *member = argument;
    struct error error = {0};
    struct plan_request request = member->team->request;
    struct plan_result result;
    request.ranks.rank = member->rank;
    request.batch += member->rank;
    member->plan = plan_build(&request, &result, &error);
    struct communicator *communicator = communicator_join(member->team->fd, member->rank, &error);
    const struct prepare_options options = {.threads = 1, .communicator = communicator};
    struct program *program = cpu_device_class.prepare(NULL, member->plan, &options, NULL, &error);
    assert_null(program);
    assert_non_null(strstr(error.text, "the ranks do not run the same plan"));
    communicator_leave(communicator);
    plan_free(member->plan);
    return NULL;
}

static void unequal_ranks_are_refused(void **state)
{
    (void)state;
    struct error error = {0};
    struct team team = {.request = request_of(2, PARALLEL_NAIVE, 0), .ranks = 2, .fd = communicator_file(2, &error)};
    pthread_t threads[2];
    for (int rank = 0; rank < 2; rank++) {
        team.members[rank] = (struct member){.team = &team, .rank = rank};
        assert_int_equal(pthread_create(&threads[rank], NULL, unequal_rank, &team.members[rank]), 0);
    }
    for (int rank = 0; rank < 2; rank++)
        pthread_join(threads[rank], NULL);
    close(team.fd);
}

/* Over connections the sums are the same to the bit, whatever they are of. */
static void ranks_apart_have_the_same_bits(void **state)
{
    (void)state;
    char cache[] = "/tmp/steptop-test-XXXXXX", command[64];
    assert_non_null(mkdtemp(cache));
    for (int parallel = PARALLEL_NAIVE; parallel < PARALLEL_COUNT; parallel++) {
        struct plan_request request = request_of(2 + parallel % 3, (enum parallel)parallel, 0);
        request.ranks.bf16_gradients = parallel % 2 == 1;
        struct plan *joined = joined_plan(&request);
        struct team first = {.request = request, .class = &cpu_device_class, .joined = joined, .cache = cache};
        struct team teams[2] = {first, first};
        teams[1].is_apart = true;
        team_run(&first); /* chooses the products */
        team_free(&first);
        team_run(&teams[0]);
        team_run(&teams[1]);
        const size_t bytes = (size_t)parameter_total(joined) * sizeof(double);
        for (int rank = 0; rank < request.ranks.ranks; rank++) {
            assert_memory_equal(teams[0].members[rank].gradients, teams[1].members[rank].gradients, bytes);
            assert_memory_equal(teams[0].members[rank].after, teams[1].members[rank].after, bytes);
        }
        team_free(&teams[0]);
        team_free(&teams[1]);
        plan_free(joined);
    }
    snprintf(command, sizeof command, "rm -r %s", cache);
    assert_int_equal(system(command), 0);
}

/* A rank alone is told who is missing; another that comes later is told that it is over. */
static void a_missing_rank_is_named(void **state)
{
    (void)state;
    struct error error = {0};
    const int fd = communicator_file(3, &error);
    struct communicator *first = communicator_join(fd, 0, &error), *third = communicator_join(fd, 2, &error);
    communicator_limit(first, 50000000);
    assert_false(communicator_meet(first, "the all_reduce of lm_head", &error));
    assert_string_equal(error.text, "rank 1 did not come to the all_reduce of lm_head within 0 s");
    assert_false(communicator_meet(third, "its first step", &error));
    assert_non_null(strstr(error.text, "rank 0 failed: rank 1 did not come"));
    communicator_leave(first);
    communicator_leave(third);
    close(fd);
}

/* Who was stopped while it waited goes on waiting: the others may have been stopped, too. */
static void stopped_ranks_are_not_late(void **state)
{
    (void)state;
    struct error error = {0};
    const int fd = communicator_file(2, &error);
    const pid_t first = fork();
    if (first == 0) {
        struct communicator *mine = communicator_join(fd, 0, &error);
        communicator_limit(mine, 3000000000);
        _exit(communicator_meet(mine, "the step", &error) ? 0 : 1);
    }
    struct communicator *second = communicator_join(fd, 1, &error);
    int status;
    usleep(300000);
    kill(first, SIGSTOP);
    usleep(3000000);
    kill(first, SIGCONT);
    usleep(100000);
    assert_true(communicator_meet(second, "the step", &error));
    assert_int_equal(waitpid(first, &status, 0), first);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    communicator_leave(second);
    close(fd);
}

/* With a name: the one test that is called so. */
int main(int count, char **arguments)
{
    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_is_one_device_on_all_batches),
        cmocka_unit_test(the_cpu_does_it_too),
        cmocka_unit_test(cards_do_it_too),
        cmocka_unit_test(cards_update_beside_backward),
        cmocka_unit_test(every_way_agrees_with_the_naive_one),
        cmocka_unit_test(mistakes_are_seen),
        cmocka_unit_test(unequal_ranks_are_refused),
        cmocka_unit_test(ranks_apart_have_the_same_bits),
        cmocka_unit_test(a_missing_rank_is_named),
        cmocka_unit_test(stopped_ranks_are_not_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
