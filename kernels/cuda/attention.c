#include "kernels/cuda/attention.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/unknown.h"
#include "kernels/choice_cache.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/timing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cuda_attention_candidate *const cuda_attention_candidates[] = {
    &cuda_attention_hopper,
    &cuda_attention_mma,
    &cuda_attention_cudnn,
    &cuda_attention_products,
};
const int cuda_attention_candidate_count = sizeof cuda_attention_candidates / sizeof *cuda_attention_candidates;
_Static_assert(sizeof cuda_attention_candidates / sizeof *cuda_attention_candidates <= CUDA_ATTENTION_MAX_CANDIDATES,
               "a choice has room for fewer");

#define SUBJECT "attention"
#define NAME_MAX_BYTES 24

/* The fastest of those that serve, or the first where none was timed; a last resort where nobody else serves. */
void cuda_attention_pick(const struct cuda_attention_candidate *const *candidates, int count, struct device *device,
                         struct cuda_attention_choice *choice)
{
    choice->candidate = -1;
    for (int c = 0; c < count; ++c) {
        int best = choice->candidate;
        if (candidates[c]->last_resort && best >= 0)
            continue;
        if (candidates[c]->last_resort)
            choice->serves[c] = candidates[c]->serves(device, &choice->shape, choice->why[c], sizeof choice->why[c]);
        if (choice->serves[c] && (best < 0 || (is_known(choice->us[c]) &&
                                               (!is_known(choice->us[best]) || choice->us[c] < choice->us[best]))))
            choice->candidate = c;
    }
}

void cuda_attention_ask(const struct cuda_attention_candidate *const *candidates, int count, struct device *device,
                        struct cuda_attention_choice *choice)
{
    for (int c = 0; c < count; ++c) {
        choice->us[c] = UNKNOWN_DOUBLE;
        if (!candidates[c]->last_resort)
            choice->serves[c] = candidates[c]->serves(device, &choice->shape, choice->why[c], sizeof choice->why[c]);
    }
    cuda_attention_pick(candidates, count, device, choice);
}

/* What decides: the shape, who is asked, and of which make they are. */
struct question {
    struct cuda_attention_shape shape;
    char names[CUDA_ATTENTION_MAX_CANDIDATES][NAME_MAX_BYTES];
    uint64_t stamp;
};
struct answer {
    char name[NAME_MAX_BYTES];
    double us[CUDA_ATTENTION_MAX_CANDIDATES];
    int32_t tried, pad;
};

static struct question question_of(const struct cuda_attention_candidate *const *candidates, int count, uint64_t stamp,
                                   const struct cuda_attention_choice *choice)
{
    struct question question;
    memset(&question, 0, sizeof question);
    question.shape = choice->shape;
    question.stamp = stamp;
    for (int c = 0; c < count; ++c)
        if (choice->serves[c])
            snprintf(question.names[c], sizeof question.names[c], "%s", candidates[c]->name);
    return question;
}

bool cuda_attention_recall(const struct cuda_attention_candidate *const *candidates, int count, uint64_t stamp,
                           struct choice_cache *cache, struct cuda_attention_choice *choice)
{
    struct question question = question_of(candidates, count, stamp, choice);
    struct answer answer;
    if (!choice_cache_find(cache, SUBJECT, &question, sizeof question, &answer, sizeof answer))
        return false;
    bool can_be = answer.tried >= 0 && answer.tried <= count;
    for (int c = 0; c < CUDA_ATTENTION_MAX_CANDIDATES; ++c)
        can_be = can_be && (!is_known(answer.us[c]) || choice_us_possible(answer.us[c]));
    for (int c = 0; can_be && c < count; ++c)
        if (choice->serves[c] && strncmp(candidates[c]->name, answer.name, sizeof answer.name) == 0) {
            choice->candidate = c;
            choice->tried = answer.tried;
            memcpy(choice->us, answer.us, sizeof choice->us);
            return choice->from_cache = true;
        }
    choice_cache_refuse(cache);
    return false;
}

void cuda_attention_remember(const struct cuda_attention_candidate *const *candidates, int count, uint64_t stamp,
                             struct choice_cache *cache, const struct cuda_attention_choice *choice)
{
    if (choice->candidate < 0 || choice->candidate >= count)
        return; /* nothing was chosen */
    struct question question = question_of(candidates, count, stamp, choice);
    struct answer answer;
    memset(&answer, 0, sizeof answer);
    snprintf(answer.name, sizeof answer.name, "%s", candidates[choice->candidate]->name);
    memcpy(answer.us, choice->us, sizeof answer.us);
    answer.tried = choice->tried;
    choice_cache_add(cache, SUBJECT, &question, sizeof question, &answer, sizeof answer);
}

void cuda_attention_describe(const struct cuda_attention_candidate *const *candidates, int count,
                             const struct cuda_attention_choice *choice, char *text, size_t size)
{
    int chosen = choice->candidate;
    size_t used = 0;
#define ADD(...)                                                                                                       \
    do {                                                                                                               \
        int length = snprintf(text + used, size - used, __VA_ARGS__);                                                  \
        used = length < 0 || (size_t)length >= size - used ? size - 1 : used + (size_t)length;                         \
    } while (0)
    ADD("%s", candidates[chosen]->name);
    if (is_known(choice->us[chosen]))
        ADD(", %.1f us, best of %d", choice->us[chosen], choice->tried);
    for (int c = 0; c < count; ++c) {
        const char *name = candidates[c]->name;
        if (c == chosen || candidates[c]->last_resort)
            continue;
        if (is_known(choice->us[c]))
            ADD("; %s %.1f us", name, choice->us[c]);
        else
            ADD("; %s: %s", name, choice->why[c][0] ? choice->why[c] : "not timed");
    }
#undef ADD
}

struct cuda_attention_call cuda_attention_call_of(const struct lowering *lowering, const struct node *node)
{
    const struct node_dims *dims = &node->dims;
    bool backward = node->op == OP_ATTENTION_BACKWARD;
    struct cuda_attention_call call;
    memset(&call, 0, sizeof call);
    call.qkv = lower_tensor(lowering, node->input[backward ? 1 : 0]);
    call.table = lower_tensor(lowering, node->input[backward ? 4 : 1]);
    call.o = lower_tensor(lowering, backward ? node->input[2] : node->output[0]);
    call.lse = lower_tensor(lowering, backward ? node->input[3] : node->output[1]);
    if (backward) {
        call.d_o = lower_tensor(lowering, node->input[0]);
        call.dqkv = lower_tensor(lowering, node->output[0]);
        call.delta = lower_tensor(lowering, node->output[1]);
    }
    struct cuda_attention_shape *shape = &call.shape;
    shape->batch = dims->batch, shape->context = dims->context;
    shape->heads = dims->heads, shape->head_dim = dims->head_dim;
    shape->stride_qkv = call.qkv.row_stride, shape->stride_o = call.o.row_stride;
    shape->stride_do = call.d_o.row_stride, shape->stride_dqkv = call.dqkv.row_stride;
    shape->align = lower_alignment(call.qkv.address | call.o.address | call.d_o.address | call.dqkv.address, 0);
    shape->scale = node->scale;
    shape->backward = backward, shape->rope = call.table.address != 0;
    shape->type_qkv = (uint8_t)call.qkv.dtype, shape->type_o = (uint8_t)call.o.dtype;
    shape->type_do = (uint8_t)call.d_o.dtype, shape->type_dqkv = (uint8_t)call.dqkv.dtype;
    shape->precision = (uint8_t)lowering->plan->precision;
    return call;
}

struct cuda_attention_choice *cuda_attention_find(struct program *program, const struct cuda_attention_shape *shape,
                                                  int32_t node)
{
    struct cuda_attention_set *set = &program->attentions;
    for (int32_t i = 0; i < set->count; ++i)
        // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): no padding, and scale counts by its bits
        if (memcmp(&set->items[i].shape, shape, sizeof *shape) == 0)
            return &set->items[i];
    if (set->count == set->capacity) {
        set->capacity = set->capacity ? set->capacity * 2 : 4;
        set->items = realloc(set->items, sizeof *set->items * (size_t)set->capacity);
        if (!set->items)
            memory_exhausted((size_t)set->capacity, "shapes of attention");
    }
    struct cuda_attention_choice *choice = &set->items[set->count++];
    memset(choice, 0, sizeof *choice);
    choice->shape = *shape;
    choice->node = node;
    cuda_attention_ask(cuda_attention_candidates, cuda_attention_candidate_count, program->device, choice);
    int only = program->device->attention_only - 1;
    for (int c = 0; only >= 0 && c < cuda_attention_candidate_count; ++c)
        choice->serves[c] = choice->serves[c] && c == only;
    if (only >= 0)
        choice->candidate = choice->serves[only] ? only : -1;
    return choice;
}

void lower_attention(struct lowering *lowering, const struct node *node)
{
    struct cuda_attention_call call = cuda_attention_call_of(lowering, node);
    struct cuda_attention_choice *choice = cuda_attention_find(lowering->program, &call.shape, lowering->node);
    int count = cuda_attention_candidate_count;
    while (choice->candidate >= 0) {
        int c = choice->candidate;
        if (cuda_attention_candidates[c]->lower(lowering, &call, choice->why[c], sizeof choice->why[c]))
            return;
        choice->serves[c] = false; /* the next best */
        choice->us[c] = UNKNOWN_DOUBLE;
        cuda_attention_pick(cuda_attention_candidates, count, lowering->program->device, choice);
    }
    lower_fail(lowering, "%s", choice->why[count - 1]);
}

/* The candidates of one shape, lowered side by side into a program that only times them. */
struct bench {
    struct program *program;
    int32_t first[CUDA_ATTENTION_MAX_CANDIDATES], end[CUDA_ATTENTION_MAX_CANDIDATES]; /* launches */
};

static bool bench_issue(void *context, int candidate, bool first_alone, struct error *error)
{
    (void)first_alone; /* there is one set of operands: it is larger than the cache wherever that matters */
    const struct bench *bench = context;
    if (bench->first[candidate] == bench->end[candidate])
        return error_set(error, ERROR_UNSUPPORTED, "it does not serve this shape");
    for (int32_t i = bench->first[candidate]; i < bench->end[candidate]; ++i)
        if (!cuda_issue_launch(bench->program, &bench->program->launches[i], false, error))
            return false;
    return true;
}

/* A hash of the sources that any candidate's kernels come from, and the versions of the libraries. */
static uint64_t stamp_of(const struct device *device)
{
    uint64_t hash = HASH_START;
    for (int i = 0; i < cuda_source_count; ++i)
        if (strncmp(cuda_sources[i].name, "attention", 9) == 0 || strcmp(cuda_sources[i].name, "rope.cu") == 0 ||
            strcmp(cuda_sources[i].name, "hopper.cuh") == 0)
            hash = hash_text(hash, cuda_sources[i].text);
    hash ^= device->cudnn ? cudnn_version(device->cudnn) << 8 : 0;
    return hash ^ (uint64_t)device->libraries.nvrtc_major << 32 ^ (uint64_t)device->libraries.nvrtc_minor << 40;
}

/* Times what serves, for every shape of `set` that is marked so; what the timing needs is taken and given back here. */
static bool set_time(struct program *program, const bool *wanted, const struct prepare_options *options,
                     struct error *error)
{
    struct cuda_attention_set *set = &program->attentions;
    struct bench *benches = calloc((size_t)set->count, sizeof *benches);
    struct program *timer = cuda_program_new(program->device, program->plan, true, error);
    struct prepare_report ignored = {0};
    bool done = false;
    if (!benches || !timer)
        goto cleanup;
    timer->preparing = options;
    struct lowering lowering = {
        .program = timer, .plan = program->plan, .scratch_peak = CUDA_RATES_BYTES, .error = error};
    for (int32_t i = 0; i < set->count; ++i)
        for (int c = 0; wanted[i] && c < cuda_attention_candidate_count; ++c) {
            lowering.node = set->items[i].node;
            lowering.scratch_used = CUDA_RATES_BYTES;
            benches[i].program = timer;
            benches[i].first[c] = timer->launch_count;
            if (set->items[i].serves[c]) {
                struct cuda_attention_choice *choice = &set->items[i];
                struct cuda_attention_call call =
                    cuda_attention_call_of(&lowering, &program->plan->nodes[lowering.node]);
                choice->serves[c] =
                    cuda_attention_candidates[c]->lower(&lowering, &call, choice->why[c], sizeof choice->why[c]);
            }
            benches[i].end[c] = timer->launch_count;
        }
    if (lowering.failed ||
        !cuda_program_load(timer, options, lowering.scratch_peak - CUDA_RATES_BYTES, lowering.side_peak,
                           lowering.own_bytes, &ignored, error) ||
        !cuda_arena_fill(timer, error))
        goto cleanup;
    for (int32_t i = 0; i < set->count; ++i) {
        struct cuda_attention_choice *choice = &set->items[i];
        if (!wanted[i])
            continue;
        struct cuda_timing timing = {timer, &benches[i], bench_issue, 1, NULL, NULL};
        struct error why = {0};
        int best = cuda_timing_fastest(&timing, cuda_attention_candidate_count, choice->us, &choice->tried, &why);
        if (best >= 0)
            choice->candidate = best;
        for (int c = 0; c < cuda_attention_candidate_count; ++c)
            if (choice->serves[c] && !is_known(choice->us[c]))
                snprintf(choice->why[c], sizeof choice->why[c], "it failed when it was timed");
        cuda_attention_pick(cuda_attention_candidates, cuda_attention_candidate_count, program->device, choice);
    }
    done = true;
cleanup:
    free(benches);
    cuda_release(timer);
    return done;
}

bool cuda_attention_choose(struct program *program, const struct prepare_options *options, struct choice_cache *cache,
                           struct error *error)
{
    const struct plan *plan = program->plan;
    struct lowering lowering = {.program = program, .plan = plan};
    for (int32_t node = 0; node < plan->node_count; ++node)
        if (plan->nodes[node].op == OP_ATTENTION || plan->nodes[node].op == OP_ATTENTION_BACKWARD) {
            struct cuda_attention_call call = cuda_attention_call_of(&lowering, &plan->nodes[node]);
            cuda_attention_find(program, &call.shape, node);
        }
    struct cuda_attention_set *set = &program->attentions;
    bool *wanted = calloc((size_t)set->count + 1, sizeof *wanted), any = false;
    if (!wanted)
        return error_set(error, ERROR_MEMORY, "out of memory on the host");
    uint64_t stamp = stamp_of(program->device);
    for (int32_t i = 0; i < set->count; ++i) {
        int serving = 0;
        for (int c = 0; c < cuda_attention_candidate_count; ++c)
            serving += set->items[i].serves[c];
        wanted[i] = serving > 1 && !cuda_attention_recall(cuda_attention_candidates, cuda_attention_candidate_count,
                                                          stamp, cache, &set->items[i]);
        any = any || wanted[i];
    }
    struct error why = {
        0}; /* without timing the first that serves is taken, and the report shows that none was timed */
    if (any && set_time(program, wanted, options, &why))
        for (int32_t i = 0; i < set->count; ++i)
            if (wanted[i] && set->items[i].tried > 0)
                cuda_attention_remember(cuda_attention_candidates, cuda_attention_candidate_count, stamp, cache,
                                        &set->items[i]);
    free(wanted);
    return true;
}
