/* Matrix products: which tile of shaders/gemm.comp, and into how many splits along k, by timing or by rule. */
#include "base/limits.h"
#include "base/strbuf.h"
#include "base/unknown.h"
#include "kernels/build_cache.h"
#include "kernels/choice.h"
#include "kernels/choice_cache.h"
#include "kernels/vulkan/vulkan_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROTATION 16                        /* operand sets that timing walks through */
#define MOST_PARTS_BYTES ((uint64_t)256 << 20) /* of workspace for splits */
#define MOST_IN_SOFTWARE (INT64_C(1) << 22)    /* multiplications of a product that is still timed there */
#define FEW_GROUPS 192                         /* a GPU with fewer workgroups has idle units */

/* How a tile is multiplied: by single multiplications, or by a subgroup's matrices of 16 × 16, to which operands come as they lie (turned
 * on their way, where their lines run along m or n, won at no shape: docs/bench-h200.md). */
enum tile_kind { TILE_PLAIN, TILE_MATRICES };
static const char *const tile_shaders[] = {"gemm.comp", "gemm_matrices.comp"};

/* Rows, columns and depth of a workgroup's tile. Plain ones: an invocation's rows and columns in fours. With matrices: a subgroup's, in
 * matrices, and how many tiles wait in shared memory. */
static const struct tile {
    int rows, columns, depth, tall, wide, stages;
    enum tile_kind kind;
    bool software; /* worth a try where a workgroup runs on one core */
} tiles[] = {
    {32, 32, 16, 1, 1, 1, TILE_PLAIN, true},       {64, 64, 16, 2, 2, 1, TILE_PLAIN, false},
    {64, 64, 16, 1, 1, 1, TILE_PLAIN, false},      {128, 64, 16, 2, 2, 1, TILE_PLAIN, false},
    {64, 128, 16, 2, 2, 1, TILE_PLAIN, false},     {128, 64, 16, 2, 1, 1, TILE_PLAIN, false},
    {64, 128, 16, 1, 2, 1, TILE_PLAIN, false},     {128, 128, 16, 2, 2, 1, TILE_PLAIN, false},
    {128, 128, 8, 2, 2, 1, TILE_PLAIN, false},     {128, 128, 16, 4, 2, 1, TILE_PLAIN, false},
    {32, 32, 8, 1, 1, 1, TILE_PLAIN, true},        {128, 128, 64, 4, 4, 1, TILE_MATRICES, false},
    {128, 64, 32, 4, 2, 2, TILE_MATRICES, false},  {64, 64, 64, 2, 2, 2, TILE_MATRICES, false},
    {64, 128, 32, 2, 4, 2, TILE_MATRICES, false},  {64, 64, 32, 2, 2, 2, TILE_MATRICES, false},
    {256, 128, 32, 4, 4, 1, TILE_MATRICES, false}, {128, 256, 32, 4, 4, 1, TILE_MATRICES, false},
    {128, 128, 32, 4, 2, 2, TILE_MATRICES, false}, {128, 128, 32, 4, 4, 2, TILE_MATRICES, false},
    {128, 64, 64, 4, 2, 1, TILE_MATRICES, false},  {64, 128, 64, 2, 4, 1, TILE_MATRICES, false},
};
#define TILES ((int)(sizeof tiles / sizeof *tiles))
#define FIRST_MATRIX 11
#define PLAIN_BESIDE_MATRICES 0 /* one plain tile stays, should the driver refuse all the others */

static int tile_threads(const struct tile *tile)
{
    int side = tile->kind == TILE_PLAIN ? 4 : 16, lanes = tile->kind == TILE_PLAIN ? 1 : 32;
    return tile->rows / (side * tile->tall) * (tile->columns / (side * tile->wide)) * lanes;
}

/* Bytes of shared memory, as the shaders declare it. */
static int64_t tile_memory(const struct tile *tile, const struct vulkan_gemm_shape *shape)
{
    const int64_t rows = tile->rows, columns = tile->columns, depth = tile->depth;
    if (tile->kind == TILE_PLAIN)
        return depth * (rows / 4 + 1 + columns / 4 + 1) * 16;
    int64_t a = shape->transpose_a ? depth * (rows / 8 + 1) : rows * (depth / 8 + 1);
    int64_t b = shape->transpose_b ? columns * (depth / 8 + 1) : depth * (columns / 8 + 1);
    int64_t out = tile_threads(tile) / 32 * 80;
    return (tile->stages * (a + b) > out ? tile->stages * (a + b) : out) * 16;
}

static int64_t groups_of(const struct vulkan_gemm_shape *shape, const struct tile *tile)
{
    return (int64_t)(lower_blocks(shape->m, tile->rows) * lower_blocks(shape->n, tile->columns)) * shape->batch *
           shape->heads;
}

static uint32_t split_depth(const struct vulkan_gemm_shape *shape, const struct vulkan_candidate *candidate)
{
    int64_t depth = tiles[candidate->tile].depth;
    return (uint32_t)(lower_blocks((int64_t)lower_blocks(shape->k, candidate->splits), depth) * (uint64_t)depth);
}

/* Cooperative matrices where they were tried and found true and fast: drivers announce them without hardware, too. */
static bool matrix_serves(const struct device *device, const struct vulkan_gemm_shape *shape)
{
    return device->traits.matrix_bf16 && device->traits.properties.vendorID == VULKAN_NVIDIA &&
           device->traits.subgroup == 32 && shape->type_a == DTYPE_BF16 && shape->type_b == DTYPE_BF16 &&
           shape->eights && shape->vector_d && shape->m % 16 == 0 && shape->n % 16 == 0 && shape->k % 8 == 0 &&
           shape->batch * shape->heads == 1;
}

/* `exact`: the shape's sizes as constants. */
static int32_t product_pipeline(struct program *program, const struct vulkan_gemm_shape *shape,
                                const struct vulkan_candidate *candidate, bool exact)
{
    const struct tile *tile = &tiles[candidate->tile];
    uint32_t special[VULKAN_SPECIALS] = {0}, *variant = special + VULKAN_VARIANT;
    bool split = candidate->splits > 1, vector_d = split ? shape->n % 4 == 0 : shape->vector_d;
    bool full = shape->m % tile->rows == 0 && shape->n % tile->columns == 0 && shape->k % tile->depth == 0 &&
                shape->vector_a && shape->vector_b && vector_d;
    for (int i = 0; i < 7; ++i)
        variant[i] = 1;
    variant[0] = (uint32_t)tile->rows;
    variant[1] = (uint32_t)tile->columns;
    variant[2] = (uint32_t)tile->depth;
    variant[3] = (uint32_t)tile->tall;
    variant[4] = (uint32_t)tile->wide;
    variant[6] = (uint32_t)tile->stages;
    variant[5] = shape->transpose_a | (uint32_t)shape->transpose_b << 1 | (uint32_t)shape->vector_a << 2 |
                 (uint32_t)shape->vector_b << 3 | (uint32_t)vector_d << 4 | (uint32_t)full << 5;
    special[VULKAN_TYPES] = (shape->type_a == DTYPE_BF16) | (uint32_t)(shape->type_b == DTYPE_BF16) << 1 |
                            (uint32_t)(shape->type_d == DTYPE_BF16 && !split) << 2;
    special[VULKAN_THREADS] = (uint32_t)tile_threads(tile);
    const int64_t sizes[] = {shape->m, shape->n, shape->k, shape->lda, shape->ldb, split ? shape->n : shape->ldd};
    for (int i = 0; exact && i < 6; ++i)
        special[i] = (uint32_t)sizes[i];
    int32_t found = vulkan_pipeline_find(&program->pipelines, tile_shaders[tile->kind], special);
    program->pipelines.items[found].optional = exact || tile->kind != TILE_PLAIN; /* each has one to fall back on */
    return found;
}

static int32_t sum_pipeline(struct program *program, const struct vulkan_gemm_shape *shape)
{
    uint32_t special[VULKAN_SPECIALS] = {0};
    for (int i = VULKAN_VARIANT; i < VULKAN_TYPES; ++i)
        special[i] = 1;
    special[VULKAN_VARIANT + 1] = shape->vector_d ? 4 : 1;
    special[VULKAN_TYPES] = (uint32_t)(shape->type_d == DTYPE_BF16) << 1;
    special[VULKAN_THREADS] = 256;
    return vulkan_pipeline_find(&program->pipelines, "gemm_sum.comp", special);
}

static void candidate_add(struct program *program, struct vulkan_gemm *gemm, int tile, int splits)
{
    uint64_t parts = splits > 1 ? (uint64_t)splits * (uint64_t)gemm->shape.m * (uint64_t)gemm->shape.n * 4 : 0;
    if (gemm->candidate_count == VULKAN_MAX_CANDIDATES || parts > MOST_PARTS_BYTES)
        return;
    struct vulkan_candidate *candidate = &gemm->candidates[gemm->candidate_count++];
    *candidate = (struct vulkan_candidate){
        .tile = tile, .splits = splits, .pipeline = -1, .sum_pipeline = -1, .us = UNKNOWN_DOUBLE};
    candidate->pipeline = product_pipeline(program, &gemm->shape, candidate, false);
    if (splits > 1)
        candidate->sum_pipeline = sum_pipeline(program, &gemm->shape);
    if (parts > program->gemms.parts_bytes)
        program->gemms.parts_bytes = parts;
}

/* The largest tile that keeps the device busy: what is taken untimed. */
static int tile_by_rule(const struct program *program, const struct vulkan_gemm_shape *shape)
{
    if (program->device->traits.software)
        return 0;
    static const int order[] = {7, 3, 4, 1};
    if (matrix_serves(program->device, shape)) {
        for (int i = FIRST_MATRIX; i < FIRST_MATRIX + 2; ++i) /* from large to small */
            if (groups_of(shape, &tiles[i]) >= FEW_GROUPS)
                return i;
        return FIRST_MATRIX + 2;
    }
    for (size_t i = 0; i < sizeof order / sizeof *order; ++i)
        if (groups_of(shape, &tiles[order[i]]) >= FEW_GROUPS)
            return order[i];
    return shape->m <= 32 || shape->n <= 32 ? 0 : 1;
}

static bool tile_fits(const struct device *device, const struct vulkan_gemm_shape *shape, int index)
{
    const struct tile *tile = &tiles[index];
    const bool narrow = shape->type_a == DTYPE_BF16, matrices = matrix_serves(device, shape);
    if ((tile->rows > 32 && shape->m <= tile->rows / 2) || (tile->columns > 32 && shape->n <= tile->columns / 2) ||
        tile_memory(tile, shape) > device->traits.properties.limits.maxComputeSharedMemorySize)
        return false;
    if (device->traits.software)
        return tile->software && !(narrow && index > 0);
    if (tile->kind == TILE_PLAIN)
        return !matrices || index == PLAIN_BESIDE_MATRICES;
    return matrices;
}

static void candidates_list(struct program *program, struct vulkan_gemm *gemm)
{
    const struct vulkan_gemm_shape *shape = &gemm->shape;
    bool slow = program->device->traits.software && shape->m * shape->n * shape->k > MOST_IN_SOFTWARE;
    if (!program->compile || slow) {
        int tile = tile_by_rule(program, shape);
        candidate_add(program, gemm, tile, 1);
        if (tiles[tile].kind != TILE_PLAIN)
            candidate_add(program, gemm, PLAIN_BESIDE_MATRICES, 1);
        return;
    }
    for (int i = 0; i < TILES; ++i) {
        if (!tile_fits(program->device, shape, i))
            continue;
        candidate_add(program, gemm, i, 1);
        if (program->plan->node_count == 0 || program->device->traits.software || shape->batch * shape->heads > 1 ||
            i < 1)
            continue;
        for (int splits = 2; splits <= 8; splits *= 2)
            if (groups_of(shape, &tiles[i]) * splits <= 4 * FEW_GROUPS && shape->k / splits >= 128 &&
                (splits == 2 || groups_of(shape, &tiles[i]) * splits <= 2 * FEW_GROUPS))
                candidate_add(program, gemm, i, splits);
    }
}

int32_t vulkan_gemm_find(struct program *program, const struct vulkan_gemm_shape *shape)
{
    struct vulkan_gemm_set *set = &program->gemms;
    for (int32_t i = 0; i < set->count; ++i)
        if (memcmp(&set->items[i].shape, shape, sizeof *shape) == 0)
            return i;
    if (set->count == set->capacity) {
        set->capacity = set->capacity ? set->capacity * 2 : 16;
        struct vulkan_gemm *grown = realloc(set->items, sizeof *grown * (size_t)set->capacity);
        if (!grown)
            memory_exhausted((size_t)set->capacity, "products");
        set->items = grown;
    }
    struct vulkan_gemm *gemm = &set->items[set->count];
    memset(gemm, 0, sizeof *gemm);
    gemm->shape = *shape;
    gemm->best_us = UNKNOWN_DOUBLE;
    candidates_list(program, gemm);
    return set->count++;
}

int vulkan_gemm_dispatches(const struct vulkan_candidate *candidate)
{
    return candidate->splits > 1 ? 2 : 1;
}

void vulkan_gemm_dispatch(const struct program *program, VkCommandBuffer commands, const struct vulkan_launch *launch,
                          const struct vulkan_candidate *candidate, int part)
{
    const struct vulkan_gemm_shape *shape = &program->gemms.items[launch->gemm].shape;
    const struct tile *tile = &tiles[candidate->tile];
    struct vulkan_push push = launch->push;
    uint64_t parts = program->workspace.address + program->scratch_bytes;
    if (part == 1) {
        memset(&push, 0, sizeof push);
        push.a[0].address = parts;
        push.a[1].address = launch->push.a[2].address;
        push.d[0] = (uint32_t)(shape->m * shape->n);
        push.d[1] = (uint32_t)shape->n;
        push.d[2] = (uint32_t)shape->ldd;
        push.d[3] = (uint32_t)candidate->splits;
        uint64_t groups = lower_blocks(shape->m * shape->n, shape->vector_d ? 1024 : 256);
        const uint32_t grid[3] = {(uint32_t)(groups < 32768 ? groups : 32768), (uint32_t)((groups + 32767) / 32768), 1};
        vulkan_dispatch(program, commands, candidate->sum_pipeline, grid, &push);
        return;
    }
    push.d[6] = split_depth(shape, candidate);
    push.d[9] = (uint32_t)candidate->splits;
    if (candidate->splits > 1) {
        push.a[2].address = parts;
        push.d[5] = (uint32_t)shape->n;
        push.a[6].pair[0] = (uint32_t)(shape->m * shape->n);
    }
    const uint32_t grid[3] = {(uint32_t)lower_blocks(shape->n, tile->columns),
                              (uint32_t)lower_blocks(shape->m, tile->rows),
                              (uint32_t)(shape->batch * shape->heads * candidate->splits)};
    vulkan_dispatch(program, commands, candidate->pipeline, grid, &push);
}

/* A product whose candidates are being timed, on the operands of the launches that have its shape. */
struct gemm_timing {
    struct program *program;
    const struct vulkan_gemm *gemm;
    int32_t launches[MAX_ROTATION];
    int launch_count;
    double unit_us; /* of a tick */
};

static bool timing_ready(void *context, int candidate, int repeats, struct error *error)
{
    struct gemm_timing *timing = context;
    struct program *program = timing->program;
    struct device *device = program->device;
    VkCommandBuffer commands = device->transfer;
    const struct vulkan_candidate *chosen = &timing->gemm->candidates[candidate];
    if (!program->pipelines.items[chosen->pipeline].handle)
        return error_set(error, ERROR_UNSUPPORTED, "the driver does not build the kernel");
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    if (!VULKAN_OK(device, vkBeginCommandBuffer(commands, &info), error))
        return false;
    device->api.vkCmdResetQueryPool(commands, program->stamps, 0, 2);
    vulkan_barrier(device, commands);
    device->api.vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, program->stamps, 0);
    for (int repeat = 0; repeat < repeats; ++repeat)
        for (int i = 0; i < timing->launch_count; ++i)
            for (int part = 0; part < vulkan_gemm_dispatches(chosen); ++part) {
                vulkan_gemm_dispatch(program, commands, &program->launches[timing->launches[i]], chosen, part);
                vulkan_barrier(device, commands);
            }
    device->api.vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, program->stamps, 1);
    return VULKAN_OK(device, vkEndCommandBuffer(commands), error);
}

static bool timing_round(void *context, double *us, struct error *error)
{
    struct gemm_timing *timing = context;
    struct device *device = timing->program->device;
    uint64_t stamps[2];
    if (!vulkan_submit(device, device->transfer, true, error) ||
        !VULKAN_OK(device,
                   vkGetQueryPoolResults(device->handle, timing->program->stamps, 0, 2, sizeof stamps, stamps,
                                         sizeof *stamps, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
                   error))
        return false;
    uint32_t bits = device->traits.stamp_bits;
    uint64_t ticks = (stamps[1] - stamps[0]) & (bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX);
    *us = (double)ticks * timing->unit_us;
    return true;
}

static void timing_done(void *context)
{
    (void)context; /* the command buffer is begun anew */
}

void vulkan_gemm_name(const struct vulkan_gemm_shape *shape, const struct vulkan_candidate *candidate, char *name,
                      size_t size)
{
    const struct tile *tile = &tiles[candidate->tile];
    char how[32] = "", split[24] = "";
    if (tile->kind != TILE_PLAIN)
        snprintf(how, sizeof how, " matrices %dx%d", 16 * tile->tall, 16 * tile->wide);
    else if (tile->tall * tile->wide != 4)
        snprintf(how, sizeof how, " %dx%d", 4 * tile->tall, 4 * tile->wide);
    if (candidate->splits > 1)
        snprintf(split, sizeof split, " split-k %d", candidate->splits);
    snprintf(name, size, "gemm %c%c %dx%dx%d%s%s", shape->transpose_a ? 't' : 'n', shape->transpose_b ? 't' : 'n',
             tile->rows, tile->columns, tile->depth, how, split);
}

static void gemm_take(struct vulkan_gemm *gemm, int chosen)
{
    gemm->chosen = chosen;
    vulkan_gemm_name(&gemm->shape, &gemm->candidates[chosen], gemm->name, sizeof gemm->name);
}

static bool gemm_measure(struct program *program, int32_t index, struct error *error)
{
    struct vulkan_gemm *gemm = &program->gemms.items[index];
    struct gemm_timing timing = {.program = program,
                                 .gemm = gemm,
                                 .unit_us = (double)program->device->traits.properties.limits.timestampPeriod * 1e-3};
    for (int32_t i = 0; i < program->launch_count && timing.launch_count < MAX_ROTATION; ++i)
        if (program->launches[i].gemm == index)
            timing.launches[timing.launch_count++] = i;
    if (program->device->traits.software) /* its cores have no memory of their own to warm */
        timing.launch_count = 1;
    double times[VULKAN_MAX_CANDIDATES];
    struct choice_timer timer = {&timing,     timing_ready,       timing_round,
                                 timing_done, program->preparing, timing.launch_count};
    struct error why = {0};
    int best = choice_fastest(&timer, gemm->candidate_count, times, &gemm->tried, &why);
    if (best < 0)
        return error_set(error, why.kind ? why.kind : ERROR_UNSUPPORTED,
                         "none of %d candidates runs for a product of %lld × %lld × %lld%s%.200s",
                         gemm->candidate_count, (long long)gemm->shape.m, (long long)gemm->shape.n,
                         (long long)gemm->shape.k, why.text[0] ? "; the last: " : "", why.text);
    for (int c = 0; c < gemm->candidate_count; ++c)
        gemm->candidates[c].us = times[c];
    gemm->best_us = times[best];
    gemm_take(gemm, best);
    return true;
}

/* The question of a product is its shape, which has no bytes between its members; the answer names a tile by its sizes, since
 * the table of tiles may change. */
#define SUBJECT "product"
struct gemm_answer {
    int32_t tile[7], splits, tried, pad;
    double best_us;
};

static bool cache_place(const struct device *device, const char *folder, char *path, size_t size, struct strbuf *key)
{
    char own[512];
    struct error ignored = {0};
    const VkPhysicalDeviceProperties *p = &device->traits.properties;
    if (!folder || !build_cache_folder(folder, "vulkan", own, sizeof own, &ignored))
        return false;
    strbuf_printf(key, "products 7, %x:%x %s, %s, driver %x\n", p->vendorID, p->deviceID, p->deviceName,
                  device->traits.driver, p->driverVersion);
    snprintf(path, size, "%s/gemm-%x-%x.bin", own, p->vendorID, p->deviceID);
    return true;
}

static void answer_of(const struct vulkan_gemm *gemm, int candidate, struct gemm_answer *answer)
{
    const struct tile *tile = &tiles[gemm->candidates[candidate].tile];
    *answer = (struct gemm_answer){
        .tile = {tile->rows, tile->columns, tile->depth, tile->tall, tile->wide, tile->stages, (int32_t)tile->kind},
        .splits = gemm->candidates[candidate].splits,
        .tried = gemm->tried,
        .best_us = gemm->best_us};
}

static bool is_built(const struct program *program, const struct vulkan_candidate *candidate)
{
    return program->pipelines.items[candidate->pipeline].handle != VK_NULL_HANDLE;
}

/* False where nothing is known, or nothing that is still a candidate. */
static bool cache_apply(const struct program *program, struct vulkan_gemm *gemm, struct choice_cache *cache)
{
    struct gemm_answer known, own;
    if (!choice_cache_find(cache, SUBJECT, &gemm->shape, sizeof gemm->shape, &known, sizeof known))
        return false;
    if (!choice_us_possible(known.best_us) || known.tried < 1 || known.tried > gemm->candidate_count) {
        choice_cache_refuse(cache);
        return false;
    }
    for (int c = 0; c < gemm->candidate_count; ++c) {
        answer_of(gemm, c, &own);
        if (memcmp(own.tile, known.tile, sizeof own.tile) != 0 || own.splits != known.splits ||
            !is_built(program, &gemm->candidates[c]))
            continue;
        gemm->tried = known.tried;
        gemm->best_us = known.best_us;
        gemm_take(gemm, c);
        return gemm->from_cache = true;
    }
    return false;
}

/* Untimed: the first that the driver builds; the last is a plain tile, which it must. */
static int first_built(const struct program *program, const struct vulkan_gemm *gemm)
{
    int c = 0;
    while (c + 1 < gemm->candidate_count && !is_built(program, &gemm->candidates[c]))
        ++c;
    return c;
}

/* The chosen kernels once more, with each shape's sizes as constants; where the driver refuses that, the general one stays, which it
 * has built. */
static bool build_exact(struct program *program, struct error *error)
{
    struct vulkan_gemm_set *set = &program->gemms;
    for (int32_t i = 0; i < set->count; ++i) {
        struct vulkan_candidate *chosen = &set->items[i].candidates[set->items[i].chosen];
        product_pipeline(program, &set->items[i].shape, chosen, true);
    }
    if (!vulkan_pipelines_build(program->device, &program->pipelines, error))
        return false;
    for (int32_t i = 0; i < set->count; ++i) {
        struct vulkan_candidate *chosen = &set->items[i].candidates[set->items[i].chosen];
        int32_t exact = product_pipeline(program, &set->items[i].shape, chosen, true);
        if (program->pipelines.items[exact].handle)
            chosen->pipeline = exact;
    }
    return true;
}

bool vulkan_gemm_choose(struct program *program, const char *cache_folder, bool measure, struct error *error)
{
    struct strbuf key = {0};
    struct choice_cache cache;
    struct gemm_answer answer;
    char path[600];
    bool done = false;
    bool kept = measure && cache_place(program->device, cache_folder, path, sizeof path, &key);
    choice_cache_open(&cache, kept ? path : NULL, key.text ? key.text : "");
    for (int32_t i = 0; i < program->gemms.count; ++i) {
        struct vulkan_gemm *gemm = &program->gemms.items[i];
        if (!measure || gemm->candidate_count == 1) {
            gemm_take(gemm, first_built(program, gemm));
            continue;
        }
        if (cache_apply(program, gemm, &cache))
            continue;
        if (!gemm_measure(program, i, error))
            goto cleanup;
        answer_of(gemm, gemm->chosen, &answer);
        choice_cache_add(&cache, SUBJECT, &gemm->shape, sizeof gemm->shape, &answer, sizeof answer);
    }
    done = !program->compile || build_exact(program, error);
cleanup:
    program->choices_refused = cache.refused;
    program->choices_dropped = choice_cache_close(&cache);
    strbuf_release(&key);
    return done;
}
