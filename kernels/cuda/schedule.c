/* What of a captured step runs beside the rest. A weight's gradient is read by nobody before the optimizer (a norm's neither: its
 * last sum goes aside as well), and neither a small model's products nor the kernels that wait for memory fill the card; so the
 * weights' products may go to a second stream. A launch waits when its memory overlaps that of a product still under way;
 * FUSE_OVERLAP laid the plan's memory out so that this is rare. And a piece of the optimizer may run as soon as the backward
 * phase is done with the weights and gradients that it touches. Whether either gains, timing says: where products alone fill
 * the card, two at a time are slower than one after the other. */
#include "kernels/schedule.h"
#include "base/hash.h"
#include "base/unknown.h"
#include "kernels/choice_cache.h"
#include "kernels/cuda/cuda_internal.h"
#include "kernels/cuda/timing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a step reads and writes: all of its node's, but a last sum that goes aside only writes a norm's gradient. */
static struct node step_touches(const struct program *program, const struct cuda_step *step)
{
    const struct cuda_launch *launch = &program->launches[step->launch];
    struct node node = program->plan->nodes[launch->node];
    if (!launch->aside)
        return node;
    for (int i = 0; i < NODE_MAX_INPUTS; ++i)
        node.input[i] = TENSOR_NONE;
    for (int i = 0; i < NODE_MAX_OUTPUTS; ++i)
        if (i != 1)
            node.output[i] = TENSOR_NONE;
    return node;
}

static void step_add(struct program *program, int32_t node, int32_t launch, int32_t count, int32_t *waited)
{
    const struct plan *plan = program->plan;
    struct cuda_step *step = &program->steps[program->step_count++];
    *step = (struct cuda_step){.launch = launch, .count = count, .side = -1, .wait = -1};
    if (CUDA_OPS_BESIDE & OP_BIT(plan->nodes[node].op) || program->launches[launch].aside) {
        step->side = program->side_count++;
        return;
    }
    step->collective = plan->nodes[node].aside;
    for (int32_t s = 0; s + 1 < program->step_count; ++s) {
        const struct cuda_step *earlier = &program->steps[s];
        const struct node touches = step_touches(program, earlier);
        if (earlier->side > (step->collective ? -1 : *waited) && schedule_depends(plan, &plan->nodes[node], &touches))
            step->wait = earlier->side; /* the stream is in order: the last one covers those before */
    }
    if (step->wait > *waited && !step->collective)
        *waited = step->wait;
}

/* The launches of the node that `launch` belongs to. */
static int32_t launches_of_node(const struct program *program, int32_t launch, int32_t end)
{
    int32_t count = 0;
    while (launch + count < end && program->launches[launch + count].node == program->launches[launch].node)
        ++count;
    return count;
}

/* The backward step after which nobody needs what each piece of the optimizer changes. */
static bool pieces_place(struct program *program, struct error *error)
{
    const struct plan *plan = program->plan;
    int32_t first = program->phase_launch[PHASE_OPT], end = program->phase_launch[PHASE_OPT + 1];
    if (program->ranks) /* gradients are whole when they have been to the other ranks */
        return cuda_ranks_place(program, error);
    program->piece_after = calloc((size_t)(end - first) + 1, sizeof *program->piece_after);
    if (!program->piece_after)
        return error_set(error, ERROR_MEMORY, "out of memory on the host");
    for (int32_t i = first; i < end; ++i) {
        const struct cuda_launch *launch = &program->launches[i];
        int32_t after = program->step_count - 1;
        for (bool touched = !launch->piece; !touched && after >= 0; after -= !touched) {
            const struct node *node = &plan->nodes[program->launches[program->steps[after].launch].node];
            for (int e = 0; e < 3 && !touched; ++e)
                touched =
                    launch->extent[e][1] && schedule_touches(plan, node, launch->extent[e][0], launch->extent[e][1]);
        }
        program->piece_after[i - first] = after < 0 ? 0 : after;
        program->pieces += program->piece_after[i - first] < program->step_count - 1;
    }
    return true;
}

bool cuda_schedule_is_early(const struct program *program, int32_t launch)
{
    return program->piece_after &&
           program->piece_after[launch - program->phase_launch[PHASE_OPT]] < program->step_count - 1;
}

static bool streams_make(struct program *program, struct error *error)
{
    struct device *device = program->device;
    int lowest = 0, highest = 0; /* what the next product waits for goes first */
    if (!CUDA_OK(device, cuCtxGetStreamPriorityRange(&lowest, &highest), error) ||
        !CUDA_OK(device, cuStreamCreateWithPriority(&program->side_stream, CU_STREAM_NON_BLOCKING, lowest), error) ||
        !CUDA_OK(device, cuStreamCreateWithPriority(&program->optimizer_stream, CU_STREAM_NON_BLOCKING, lowest),
                 error) ||
        !CUDA_OK(device, cuEventCreate(&program->optimizer_done, CU_EVENT_DISABLE_TIMING), error) ||
        !CUDA_OK(device, cuEventCreate(&program->fork, CU_EVENT_DISABLE_TIMING), error))
        return false;
    program->side_done = calloc((size_t)program->side_count + 1, sizeof(CUevent));
    if (!program->side_done)
        return error_set(error, ERROR_MEMORY, "out of memory on the host");
    for (int32_t i = 0; i < program->side_count; ++i)
        if (!CUDA_OK(device, cuEventCreate(&program->side_done[i], CU_EVENT_DISABLE_TIMING), error))
            return false;
    return true;
}

struct arrangements {
    struct program *program;
    unsigned phases;
    unsigned kinds[CUDA_ARRANGEMENTS]; /* sets of enum cuda_arrangement */
};

static bool arrangement_issue(void *context, int candidate, bool first_alone, struct error *error)
{
    const struct arrangements *all = context;
    if (first_alone) /* its code is loaded */
        return true;
    all->program->arrangement = all->kinds[candidate];
    return cuda_issue(all->program, all->phases, true, error);
}

/* Whatever decides which is faster: the nodes with their sizes, and where products and attention go. */
static uint64_t step_stamp(const struct program *program)
{
    uint64_t hash = HASH_START;
    for (int32_t i = 0; i < program->plan->node_count; ++i) {
        const struct node *node = &program->plan->nodes[i];
        const struct node_dims *dims = &node->dims;
        const int64_t numbers[] = {dims->batch, dims->context, dims->heads, dims->head_dim, dims->rows,
                                   dims->d_in,  dims->d_out,   dims->vocab, dims->elements, node->op};
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; ++n)
            hash = hash_step(hash, (uint64_t)numbers[n]);
    }
    for (int32_t i = 0; i < program->launch_count; ++i) {
        const struct cuda_launch *launch = &program->launches[i];
        hash = hash_text(hash, launch->gemm >= 0 ? program->gemms.items[launch->gemm].name : launch->name);
    }
    return hash_step(hash, program->plan->precision);
}

/* Times the first `count` kinds and takes the fastest; false, and weights' products aside, when none runs. */
static bool arrangement_time(struct arrangements *all, int count)
{
    struct program *program = all->program;
    struct cuda_timing timing = {program, all, arrangement_issue, 1, NULL, NULL};
    struct error why = {0};
    double times[CUDA_ARRANGEMENTS];
    int tried = 0, best = cuda_timing_fastest(&timing, count, times, &tried, &why);
    for (int c = 0; c < count; ++c)
        program->arrangement_us[all->kinds[c]] = times[c];
    program->arrangement = best < 0 ? CUDA_ASIDE : all->kinds[best];
    return best >= 0;
}

#define SUBJECT "schedule"
struct answer {
    double us[CUDA_ARRANGEMENTS];
    uint64_t arrangement;
};

/* Was the arrangement timed, and is it one of those that this step has? */
static bool answer_can_be(const struct program *program, const struct answer *answer, bool early)
{
    for (int kind = 0; kind < CUDA_ARRANGEMENTS; ++kind)
        if (is_known(answer->us[kind]) && !choice_us_possible(answer->us[kind]))
            return false;
    return answer->arrangement < CUDA_ARRANGEMENTS && is_known(answer->us[answer->arrangement]) &&
           (program->side_count > 0 || !(answer->arrangement & CUDA_ASIDE)) &&
           (early || !(answer->arrangement & CUDA_OPTIMIZER_EARLY));
}

bool cuda_schedule_recall(struct program *program, uint64_t stamp, bool early, struct choice_cache *cache)
{
    struct answer answer;
    if (!choice_cache_find(cache, SUBJECT, &stamp, sizeof stamp, &answer, sizeof answer))
        return false;
    if (!answer_can_be(program, &answer, early)) {
        choice_cache_refuse(cache);
        return false;
    }
    program->arrangement = (unsigned)answer.arrangement;
    memcpy(program->arrangement_us, answer.us, sizeof answer.us);
    return true;
}

void cuda_schedule_remember(const struct program *program, uint64_t stamp, struct choice_cache *cache)
{
    struct answer answer = {.arrangement = program->arrangement};
    memcpy(answer.us, program->arrangement_us, sizeof answer.us);
    choice_cache_add(cache, SUBJECT, &stamp, sizeof stamp, &answer, sizeof answer);
}

static void arrangement_choose(struct program *program, struct choice_cache *cache)
{
    bool trains = program->phase_launch[PHASE_OPT] < program->phase_launch[PHASE_OPT + 1];
    bool early = trains && program->pieces > 0;
    struct arrangements all = {.program = program,
                               .phases = trains ? PHASES_TRAIN_STEP : PHASES_FWD_BWD,
                               .kinds = {CUDA_IN_ORDER, CUDA_ASIDE}};
    if (program->ranks) { /* a timed step would have to be timed by all ranks, as often */
        program->arrangement = CUDA_ASIDE;
        return;
    }
    uint64_t stamp = step_stamp(program);
    if (cuda_schedule_recall(program, stamp, early, cache))
        return;
    bool chosen = arrangement_time(&all, program->side_count > 0 ? 2 : 1);
    if (chosen && early) {
        unsigned aside = program->arrangement & CUDA_ASIDE;
        const unsigned widths[] = {CUDA_EARLY_NARROW, CUDA_EARLY_HALF, CUDA_EARLY_WIDE};
        double late = program->arrangement_us[aside];
        for (int w = 0; w < 3; ++w)
            all.kinds[w] = aside | widths[w];
        if (arrangement_time(&all, 3) && !(program->arrangement_us[program->arrangement] < late))
            program->arrangement = aside;
    }
    if (chosen)
        cuda_schedule_remember(program, stamp, cache);
}

void cuda_schedule_describe(const struct program *program, char *text, size_t size)
{
    static const char *const names[CUDA_ARRANGEMENTS] = {"in order",
                                                         "aside",
                                                         "in order, optimizer early on 24",
                                                         "aside, optimizer early on 24",
                                                         "in order, optimizer early on 48",
                                                         "aside, optimizer early on 48",
                                                         "in order, optimizer early",
                                                         "aside, optimizer early"};
    size_t used = (size_t)snprintf(text, size, "%s", names[program->arrangement]);
    for (int kind = 0; kind < CUDA_ARRANGEMENTS && used < size; ++kind)
        if (is_known(program->arrangement_us[kind]))
            used +=
                (size_t)snprintf(text + used, size - used, "; %s %.0f us", names[kind], program->arrangement_us[kind]);
}

bool cuda_schedule(struct program *program, struct choice_cache *cache, struct error *error)
{
    int32_t first = program->phase_launch[PHASE_BWD], end = program->phase_launch[PHASE_BWD + 1], waited = -1;
    for (int kind = 0; kind < CUDA_ARRANGEMENTS; ++kind)
        program->arrangement_us[kind] = UNKNOWN_DOUBLE;
    if (first == end)
        return true;
    program->steps = calloc((size_t)(end - first), sizeof *program->steps);
    if (!program->steps)
        return error_set(error, ERROR_MEMORY, "out of memory on the host");
    for (int32_t i = first; i < end;) {
        int32_t node = program->launches[i].node, count = launches_of_node(program, i, end);
        int32_t apart = count > 1 && program->launches[i + count - 1].aside; /* the last one */
        step_add(program, node, i, count - apart, &waited);
        if (apart)
            step_add(program, node, i + count - 1, 1, &waited);
        i += count;
    }
    if (!pieces_place(program, error) || !streams_make(program, error))
        return false;
    arrangement_choose(program, cache);
    return true;
}

static bool step_issue(struct program *program, const struct cuda_step *step, struct error *error)
{
    struct device *device = program->device;
    bool aside = program->arrangement & CUDA_ASIDE, side = aside && step->side >= 0;
    cuda_source_node(program, program->launches[step->launch].node);
    /* Before the fork: what the main stream has waited for, the side stream has. */
    if (!cuda_ranks_before(program, program->launches[step->launch].node, error))
        return false;
    if (step->collective) {
        if (aside && step->wait >= 0 && !cuda_ranks_after_side(program, program->side_done[step->wait], error))
            return false;
    } else if (side ? !CUDA_OK(device, cuEventRecord(program->fork, device->stream), error) ||
                          !CUDA_OK(device, cuStreamWaitEvent(program->side_stream, program->fork, 0), error)
                    : aside && step->wait >= 0 &&
                          !CUDA_OK(device, cuStreamWaitEvent(device->stream, program->side_done[step->wait], 0), error))
        return false;
    for (int32_t i = 0; i < step->count; ++i) {
        const struct cuda_launch *launch = &program->launches[step->launch + i];
        if (!cuda_issue_launch(program, launch, side, error))
            return error_prefix(error, "%s of %s", op_info(program->plan->nodes[launch->node].op)->name,
                                program->plan->scopes[program->plan->nodes[launch->node].scope].path);
    }
    return !side || CUDA_OK(device, cuEventRecord(program->side_done[step->side], program->side_stream), error);
}

/* The pieces of the optimizer that wait for this step and for no later one; `side`: the last side step so far. */
static bool pieces_issue(struct program *program, int32_t step, int32_t side, bool *any, struct error *error)
{
    struct device *device = program->device;
    bool forked = false;
    for (int32_t i = program->phase_launch[PHASE_OPT]; i < program->phase_launch[PHASE_OPT + 1]; ++i) {
        if (!cuda_schedule_is_early(program, i) || program->piece_after[i - program->phase_launch[PHASE_OPT]] != step)
            continue;
        if (!forked &&
            (!CUDA_OK(device, cuEventRecord(program->fork, device->stream), error) ||
             !CUDA_OK(device, cuStreamWaitEvent(program->optimizer_stream, program->fork, 0), error) ||
             (side >= 0 &&
              !CUDA_OK(device, cuStreamWaitEvent(program->optimizer_stream, program->side_done[side], 0), error))))
            return false;
        forked = *any = true;
        cuda_source_node(program, program->launches[i].node);
        struct cuda_launch launch = program->launches[i];
        unsigned early = program->arrangement & CUDA_OPTIMIZER_EARLY, limit = early == CUDA_EARLY_NARROW ? 24 : 48;
        if (early !=
            CUDA_EARLY_WIDE) { /* blocks so large that each has a multiprocessor, and products have the others */
            unsigned whole = (launch.grid[0] * launch.block + 1023) / 1024;
            launch.block = 1024;
            launch.grid[0] = whole < limit ? whole : limit;
        }
        if (!cuda_launch_on(program, &launch, program->optimizer_stream, error))
            return error_prefix(error, "the optimizer");
    }
    return true;
}

bool cuda_schedule_issue(struct program *program, bool optimizer, bool join, struct error *error)
{
    struct device *device = program->device;
    int32_t side = -1;
    bool any = false;
    for (int32_t s = 0; s < program->step_count; ++s) {
        if (!step_issue(program, &program->steps[s], error))
            return false;
        if (program->arrangement & CUDA_ASIDE && program->steps[s].side >= 0)
            side = program->steps[s].side;
        if (optimizer && !pieces_issue(program, s, side, &any, error))
            return false;
    }
    if (any && !CUDA_OK(device, cuEventRecord(program->optimizer_done, program->optimizer_stream), error))
        return false;
    if (join && !cuda_ranks_join(program, error))
        return false;
    return side < 0 || CUDA_OK(device, cuStreamWaitEvent(device->stream, program->side_done[side], 0), error);
}

void cuda_schedule_release(struct program *program)
{
    const struct cuda_libraries *libraries = &program->device->libraries;
    for (int32_t i = 0; program->side_done && i < program->side_count; ++i)
        if (program->side_done[i])
            libraries->cuEventDestroy(program->side_done[i]);
    if (program->fork)
        libraries->cuEventDestroy(program->fork);
    if (program->optimizer_done)
        libraries->cuEventDestroy(program->optimizer_done);
    if (program->side_stream)
        libraries->cuStreamDestroy(program->side_stream);
    if (program->optimizer_stream)
        libraries->cuStreamDestroy(program->optimizer_stream);
    free(program->piece_after);
    free(program->side_done);
    free(program->steps);
}
