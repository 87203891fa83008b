/* A plan made ready for the device: memory, machine code, algorithms, graphs; and the reading and writing of tensors. */
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/unknown.h"
#include "kernels/build_cache.h"
#include "kernels/choice_cache.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_internal.h"
#include "kernels/cuda/cupti_counters.h"
#include "kernels/cuda/cupti_source.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GEMM_WORKSPACE_BYTES ((uint64_t)32 << 20)
#define MIB(bytes) ((double)(bytes) / (1024.0 * 1024.0))

static void note(struct program *program, struct prepare_report *report, const char *key, const char *text)
{
    prepare_say(report, arena_strdup(&program->memory, key), arena_strdup(&program->memory, text));
}

/* Refuses what does not fit before the driver is asked, then takes both regions. */
static bool memory_take(struct program *program, struct prepare_report *report, struct error *error)
{
    struct device *device = program->device;
    size_t free_bytes = 0, total_bytes = 0;
    if (!CUDA_OK(device, cuMemGetInfo(&free_bytes, &total_bytes), error))
        return false;
    report->device_free_bytes = free_bytes;
    report->workspace_bytes = program->workspace_bytes + program->gemm_workspace_bytes * (program->compile ? 2 : 1);
    uint64_t planned = program->arena_bytes + report->workspace_bytes;
    if (planned > free_bytes)
        return error_set(error, ERROR_MEMORY,
                         "the plan needs %.0f MiB (%llu bytes: %.0f MiB for the plan, %.0f MiB of workspace) and "
                         "cuda:%d has %.0f MiB free (%llu bytes) of %.0f",
                         MIB(planned), (unsigned long long)planned, MIB(program->arena_bytes),
                         MIB(report->workspace_bytes), device->index, MIB(free_bytes), (unsigned long long)free_bytes,
                         MIB(total_bytes));
    CUresult result = device->libraries.cuMemAlloc(&program->arena, program->arena_bytes);
    if (result == CUDA_SUCCESS)
        result = device->libraries.cuMemAlloc(&program->workspace, program->workspace_bytes);
    uint64_t products = program->gemm_workspace_bytes * (program->compile ? 2 : 1);
    if (result == CUDA_SUCCESS)
        result = device->libraries.cuMemAlloc(&program->products, products);
    if (result != CUDA_SUCCESS) {
        cuda_failed(&device->libraries, result, "cuMemAlloc", error);
        return error_prefix(error, "planned %.0f MiB, free %.0f MiB", MIB(planned), MIB(free_bytes));
    }
    program->optimizer_factors = program->workspace;
    /* Each step that needs rates sets them first, which compute-sanitizer does not see when a graph reads them. */
    if (!CUDA_OK(device, cuMemsetD8Async(program->optimizer_factors, 0, CUDA_RATES_BYTES, device->stream), error))
        return false;
    program->gemm_workspace = program->products;
    program->side_workspace = program->products + program->gemm_workspace_bytes; /* used when compiled */
    return true;
}

static CUdeviceptr address_of(const struct program *program, uint64_t tagged)
{
    if (tagged & CUDA_IN_ARENA)
        return program->arena + CUDA_OFFSET(tagged);
    if (tagged & CUDA_IN_OWN)
        return program->own_scratch + CUDA_OFFSET(tagged);
    if (tagged & CUDA_IN_SIDE)
        return program->side_scratch + CUDA_OFFSET(tagged);
    return tagged & CUDA_IN_WORKSPACE ? program->workspace + CUDA_OFFSET(tagged) : 0;
}

static void launches_locate(struct program *program)
{
    for (int32_t i = 0; i < program->launch_count; ++i) {
        struct cuda_launch *launch = &program->launches[i];
        for (int argument = 0; argument < launch->argument_count; ++argument)
            if (launch->pointers >> argument & 1)
                launch->arguments[argument] = address_of(program, launch->arguments[argument]);
        launch->a = address_of(program, launch->a);
        launch->b = address_of(program, launch->b);
        launch->d = address_of(program, launch->d);
    }
}

/* Shared memory beyond the first 48 KB has to be asked for, a function at a time. */
static bool launches_resolve(struct program *program, struct error *error)
{
    struct device *device = program->device;
    for (int32_t i = 0; i < program->build_count; ++i)
        if (!CUDA_OK(device, cuModuleLoadData(&program->builds[i].module, program->builds[i].image), error))
            return error_prefix(error, "kernel source %s", program->builds[i].file);
    for (int32_t i = 0; i < program->launch_count; ++i) {
        struct cuda_launch *launch = &program->launches[i];
        if (launch->module < 0)
            continue;
        if (!CUDA_OK(device,
                     cuModuleGetFunction(&launch->function, program->builds[launch->module].module, launch->name),
                     error))
            return error_prefix(error, "kernel %s", launch->name);
        if (launch->shared > 48u << 10 &&
            !CUDA_OK(device,
                     cuFuncSetAttribute(launch->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                        (int)launch->shared),
                     error))
            return error_prefix(error, "kernel %s", launch->name);
    }
    for (int32_t i = 0; i < program->gemms.count; ++i)
        if (!cuda_hopper_resolve(program, &program->gemms.items[i], error))
            return false;
    if (program->fill_module >= 0 &&
        !CUDA_OK(device,
                 cuModuleGetFunction(&program->fill, program->builds[program->fill_module].module, "fill_random"),
                 error))
        return false;
    return program->renewal_module < 0 ||
           CUDA_OK(device,
                   cuModuleGetFunction(&program->renewal, program->builds[program->renewal_module].module, "cast"),
                   error);
}

/* The cast from a written parameter to its bf16 copy, where the plan keeps copies; and the filling of the arena for timing. */
static void modules_register(struct program *program)
{
    program->renewal_module = program->fill_module = -1;
    if (program->compile) {
        struct lowering lowering = {.program = program, .plan = program->plan};
        struct defines defines = {0};
        define_text(&defines, "T0", "float");
        define_text(&defines, "T1", "float");
        define_text(&defines, "T2", "float");
        define_number(&defines, "VECTOR", 4);
        program->fill_module = lower_module(&lowering, "elementwise.cu", &defines);
    }
    for (int32_t i = 0; i < program->plan->tensor_count; ++i)
        if (program->plan->tensors[i].kind == TENSOR_PARAMETER_COPY) {
            struct lowering lowering = {.program = program, .plan = program->plan};
            struct defines defines = {0};
            define_text(&defines, "T0", "float");
            define_text(&defines, "T1", "float");
            define_text(&defines, "T2", "bf16");
            define_number(&defines, "VECTOR", 1);
            program->renewal_module = lower_module(&lowering, "elementwise.cu", &defines);
            return;
        }
}

static bool run_once_uncaptured(struct program *program, struct error *error)
{
    unsigned phases = 0;
    for (int phase = 0; phase < PHASE_COUNT; ++phase)
        if (program->phase_launch[phase] < program->phase_launch[phase + 1])
            phases |= PHASE_BIT(phase);
    return cuda_issue(program, phases, false, error) &&
           CUDA_OK(program->device, cuStreamSynchronize(program->device->stream), error);
}

/* Values in ±[0.5, 1) everywhere: the card draws more power on random data than on constant one, and slows down. */
bool cuda_arena_fill(struct program *program, struct error *error)
{
    struct device *device = program->device;
    long long words = (long long)(program->arena_bytes / sizeof(uint32_t));
    void *arguments[] = {&program->arena, &words};
    return CUDA_OK(
        device,
        cuLaunchKernel(program->fill, (unsigned)device->units * 8, 1, 1, 256, 1, 1, 0, device->stream, arguments, NULL),
        error);
}

/* The products' scratch, of the size that the chosen algorithms need, in place of what timing offered them; that stays where
 * there is no room for both. */
static void products_trim(struct program *program)
{
    struct device *device = program->device;
    uint64_t needed = 0;
    for (int32_t i = 0; i < program->gemms.count; ++i)
        if (program->gemms.items[i].algorithm_workspace > needed)
            needed = program->gemms.items[i].algorithm_workspace;
    uint64_t each = (needed + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT; /* one for each stream */
    CUdeviceptr memory = 0;
    if (each >= program->gemm_workspace_bytes ||
        (each > 0 && device->libraries.cuMemAlloc(&memory, 2 * each) != CUDA_SUCCESS))
        return;
    device->libraries.cuMemFree(program->products);
    program->products = memory;
    program->gemm_workspace = memory;
    program->side_workspace = memory + each;
    program->gemm_workspace_bytes = each;
}

/* The choices that were made by timing, of all that is timed. */
static void choices_open(struct choice_cache *cache, const struct device *device, const char *cache_folder)
{
    char folder[512], path[600];
    struct error ignored = {0};
    struct strbuf key = {0};
    bool kept = cache_folder && build_cache_folder(cache_folder, "cuda", folder, sizeof folder, &ignored);
    if (kept)
        snprintf(path, sizeof path, "%s/choices-sm_%d.bin", folder, device->architecture);
    strbuf_printf(&key, "choices 1, %s sm_%d %d units, driver %d\n", device->name, device->architecture, device->units,
                  device->libraries.driver_version);
    choice_cache_open(cache, kept ? path : NULL, key.text);
    strbuf_release(&key);
}

/* What compile mode adds once memory is there: algorithms timed, each kernel run once so that its code is loaded, and the
 * captured graphs. */
static bool tune(struct program *program, const struct prepare_options *options, struct choice_cache *cache,
                 struct error *error)
{
    struct device *device = program->device;
    if (!cuda_arena_fill(program, error) || !cuda_gemm_choose(program, options, cache, error) ||
        !CUDA_OK(device, cuStreamSynchronize(device->stream), error))
        return false;
    products_trim(program);
    return run_once_uncaptured(program, error);
}

static void describe_attention(struct program *program, struct prepare_report *report)
{
    for (int32_t i = 0; i < program->attentions.count; ++i) {
        const struct cuda_attention_choice *choice = &program->attentions.items[i];
        const struct cuda_attention_shape *shape = &choice->shape;
        char key[64], text[256];
        snprintf(key, sizeof key, "attention%s %lldx%lldx%lldx%lld", shape->backward ? " backward" : "",
                 (long long)shape->batch, (long long)shape->heads, (long long)shape->context,
                 (long long)shape->head_dim);
        cuda_attention_describe(cuda_attention_candidates, cuda_attention_candidate_count, choice, text, sizeof text);
        note(program, report, key, text);
    }
}

static void describe(struct program *program, struct prepare_report *report)
{
    char text[256], room[CHOICE_ROOM_TEXT];
    int cached = 0, timed = 0, known = 0;
    for (int32_t i = 0; i < program->build_count; ++i)
        cached += program->builds[i].from_cache;
    snprintf(text, sizeof text, "%d for sm_%d by NVRTC %d.%d, %d of them from the cache%s", program->build_count,
             program->device->architecture, program->device->libraries.nvrtc_major,
             program->device->libraries.nvrtc_minor, cached,
             choice_cache_room(program->builds_dropped, 0, room, sizeof room));
    note(program, report, "kernel modules", text);
    describe_attention(program, report);
    for (int32_t i = 0; i < program->gemms.count; ++i) {
        timed += !program->gemms.items[i].from_cache && program->gemms.items[i].tried > 0;
        known += program->gemms.items[i].from_cache;
    }
    snprintf(text, sizeof text,
             "cuBLASLt %zu, %d shapes: %d timed now, %d known from the cache, %d by first heuristic%s",
             program->device->libraries.blaslt_version, program->gemms.count, timed, known,
             program->gemms.count - timed - known,
             choice_cache_room(program->choices_dropped, program->choices_refused, room, sizeof room));
    note(program, report, "matrix products", text);
    int unaligned = 0;
    int64_t size = 0;
    for (int32_t i = 0; i < program->gemms.count; ++i) {
        int64_t here = cuda_gemm_unaligned(&program->gemms.items[i].shape);
        unaligned += here != 0;
        size = here > size ? here : size;
    }
    snprintf(text, sizeof text,
             "%d of %d shapes have a size that is no whole pieces of 16 bytes (%lld): their kernels are several times "
             "as slow; "
             "a multiple of 8 is fast",
             unaligned, program->gemms.count, (long long)size);
    if (unaligned)
        note(program, report, "slow sizes", text);
    for (int32_t i = 0; i < program->gemms.count; ++i) {
        const struct cuda_gemm *gemm = &program->gemms.items[i];
        if (gemm->tried == 0)
            continue;
        char key[64];
        snprintf(key, sizeof key, "gemm %lldx%lldx%lld%s%s", (long long)gemm->shape.m, (long long)gemm->shape.n,
                 (long long)gemm->shape.k, gemm->shape.transpose_a ? " ta" : "", gemm->shape.transpose_b ? " tb" : "");
        int used = snprintf(text, sizeof text, "%s, %.1f us, best of %d", gemm->name, gemm->best_us, gemm->tried);
        if (gemm->hopper >= 0)
            snprintf(text + used, sizeof text - (size_t)used, " (cuBLASLt %.1f us)", gemm->library_us);
        note(program, report, key, text);
    }
    if (program->steps) {
        cuda_schedule_describe(program, text, sizeof text);
        note(program, report, "backward phase", text);
    }
    if (program->ranks) {
        const int version = cuda_ranks_version(program);
        snprintf(text, sizeof text, "NCCL %d.%d.%d", version / 10000, version / 100 % 100, version % 100);
        note(program, report, "collectives", text);
    }
    for (int i = 0; i < program->graph_count; ++i) {
        char key[32];
        snprintf(key, sizeof key, "graph %d", i);
        snprintf(text, sizeof text, "phases %s to %s, %u kernels, copies and sets",
                 phase_name((enum phase)__builtin_ctz(program->graphs[i].phases)),
                 phase_name((enum phase)(31 - __builtin_clz(program->graphs[i].phases))),
                 program->graphs[i].activities);
        note(program, report, key, text);
    }
}

struct program *cuda_program_new(struct device *device, const struct plan *plan, bool compile, struct error *error)
{
    struct program *program = calloc(1, sizeof *program);
    if (!program) {
        error_set(error, ERROR_MEMORY, "out of memory on the host");
        return NULL;
    }
    program->device = device;
    program->plan = plan;
    program->compile = compile;
    program->gemm_workspace_bytes = GEMM_WORKSPACE_BYTES;
    return program;
}

bool cuda_program_load(struct program *program, const struct prepare_options *options, uint64_t scratch_bytes,
                       uint64_t side_bytes, uint64_t own_bytes, struct prepare_report *report, struct error *error)
{
    struct device *device = program->device;
    const struct plan *plan = program->plan;
    modules_register(program);
    program->arena_bytes = plan->memory.total ? plan->memory.total : PLAN_ALIGNMENT;
    program->workspace_bytes = CUDA_RATES_BYTES + scratch_bytes + side_bytes + own_bytes;
    for (int i = 0; i <= PHASE_COUNT; ++i)
        if (!CUDA_OK(device, cuEventCreate(&program->boundary[i], CU_EVENT_DEFAULT), error))
            return false;
    for (int i = 0; i < 2; ++i)
        if (!CUDA_OK(device, cuEventCreate(&program->timing[i], CU_EVENT_DEFAULT), error))
            return false;
    if (!memory_take(program, report, error))
        return false;
    program->own_scratch = program->workspace + program->workspace_bytes - own_bytes;
    program->side_scratch = program->own_scratch - side_bytes;
    launches_locate(program);
    if (own_bytes > 0 && !CUDA_OK(device, cuMemsetD8Async(program->own_scratch, 0, own_bytes, device->stream), error))
        return false;
    struct cuda_build_options build = {.architecture = device->architecture,
                                       .cache_folder = options->cache_folder,
                                       .preparing = options,
                                       .dropped = &program->builds_dropped};
    return cuda_build_all(&device->libraries, program->builds, program->build_count, &build, error) &&
           launches_resolve(program, error);
}

static bool source_open(struct program *program, const struct prepare_options *options, struct error *error)
{
    struct device *device = program->device;
    const struct plan *plan = program->plan;
    if (options->probe) {
        struct error why = {0};
        program->source = cupti_source_open(options->probe, &why);
        if (!program->source && options->probe->note)
            options->probe->note(options->probe->context, "profiler", why.text);
    }
    if (options->counters && program->ranks && options->probe && options->probe->note) {
        options->probe->note(options->probe->context, NOTE_COUNTER_TIER, "none");
        options->probe->note(options->probe->context, NOTE_COUNTER_TIER_WHY,
                             "counters take repeated runs, which all ranks would have to repeat together");
    }
    if (options->probe && options->counters && !program->ranks) {
        program->counters =
            cupti_counters_open(device->context, device->index, plan->node_count, plan->precision, error);
        if (!program->counters) /* they were required */
            return false;
        if (options->probe->counters)
            options->probe->counters(options->probe->context, cupti_counter_names);
        if (options->probe->note) {
            options->probe->note(options->probe->context, NOTE_COUNTER_TIER, cupti_counters_tier(program->counters));
            options->probe->note(options->probe->context, "counter metrics", cupti_counters_metrics(program->counters));
        }
    }
    return true;
}

struct program *cuda_prepare(struct device *device, const struct plan *plan, const struct prepare_options *options,
                             struct prepare_report *report, struct error *error)
{
    struct prepare_report unused;
    if (!report)
        report = &unused;
    memset(report, 0, sizeof *report);
    report->device_free_bytes = UNKNOWN_U64;
    if (!CUDA_OK(device, cuCtxSetCurrent(device->context), error))
        return NULL;
    struct choice_cache choices = {0};
    struct program *program = cuda_program_new(device, plan, options->compile, error);
    if (!program)
        return NULL;
    uint64_t scratch = 0, side = 0, own = 0, start = clock_now(), profiler_ns = 0;
    program->preparing = options;
    if (options->compile) {
        choices_open(&choices, device, options->cache_folder);
        if (!cuda_attention_choose(program, options, &choices, error))
            goto failed;
    }
    if (!cuda_ranks_open(program, options->communicator, error)) /* first: NCCL's buffers are not free any more */
        goto failed;
    if (!cuda_lower(program, CUDA_RATES_BYTES, &scratch, &side, &own, error))
        goto failed;
    uint64_t opening = clock_now();
    if (!source_open(program, options, error))
        goto failed;
    profiler_ns = clock_now() - opening;
    if (!cuda_program_load(program, options, scratch, side, own, report, error))
        goto failed;
    if (options->compile ? !tune(program, options, &choices, error) || !cuda_schedule(program, &choices, error)
                         : !cuda_gemm_choose(program, options, NULL, error))
        goto failed;
    if (!CUDA_OK(device, cuMemsetD8Async(program->arena, 0, program->arena_bytes, device->stream), error) ||
        !CUDA_OK(device, cuMemsetD8Async(program->workspace, 0, program->workspace_bytes, device->stream), error) ||
        !CUDA_OK(device, cuStreamSynchronize(device->stream), error))
        goto failed;
    if (options->compile)
        report->workspace_bytes = program->workspace_bytes + 2 * program->gemm_workspace_bytes;
    if (options->compile && !cuda_capture_graphs(program, error))
        goto failed;
    if (options->compile)
        report->compile_ns = clock_now() - start - profiler_ns;
    program->choices_refused = choices.refused;
    program->choices_dropped = choice_cache_close(&choices);
    program->preparing = NULL;
    describe(program, report);
    return program;
failed:
    choice_cache_close(&choices);
    cuda_release(program);
    return NULL;
}

void cuda_release(struct program *program)
{
    if (!program)
        return;
    struct device *device = program->device;
    const struct cuda_libraries *libraries = &device->libraries;
    libraries->cuCtxSetCurrent(device->context);
    libraries->cuStreamSynchronize(device->stream);
    for (int i = 0; i < program->graph_count; ++i)
        libraries->cuGraphExecDestroy(program->graphs[i].executable);
    cuda_ranks_close(program);
    cuda_schedule_release(program);
    cupti_counters_close(program->counters);
    cupti_source_close(program->source);
    for (int i = 0; i <= PHASE_COUNT; ++i)
        if (program->boundary[i])
            libraries->cuEventDestroy(program->boundary[i]);
    for (int i = 0; i < 2; ++i)
        if (program->timing[i])
            libraries->cuEventDestroy(program->timing[i]);
    for (int32_t i = 0; i < program->build_count; ++i)
        cuda_build_release(libraries, &program->builds[i]);
    cuda_gemm_release(libraries, &program->gemms);
    if (program->arena)
        libraries->cuMemFree(program->arena);
    if (program->workspace)
        libraries->cuMemFree(program->workspace);
    if (program->products)
        libraries->cuMemFree(program->products);
    free(program->attentions.items);
    free(program->builds);
    free(program->launches);
    arena_release(&program->memory);
    free(program);
}

static bool tensor_find(const struct program *program, int32_t tensor, struct error *error)
{
    if (tensor < 0 || tensor >= program->plan->tensor_count)
        return error_set(error, ERROR_INTERNAL, "the plan has no tensor %d", tensor);
    return true;
}

/* Rows of a column slice lie apart on the device and side by side on the host. */
static bool tensor_copy(struct program *program, const struct tensor *tensor, void *host, bool write,
                        struct error *error)
{
    struct device *device = program->device;
    CUdeviceptr address = program->arena + tensor->offset;
    int64_t columns = tensor->rank ? tensor->shape[tensor->rank - 1] : 1;
    if (tensor->row_stride == 0 || tensor->row_stride == columns) {
        /* On the stream that runs the steps: it is a non-blocking one, which does not wait for copies elsewhere. */
        bool issued = write ? CUDA_OK(device, cuMemcpyHtoDAsync(address, host, tensor->bytes, device->stream), error)
                            : CUDA_OK(device, cuMemcpyDtoHAsync(host, address, tensor->bytes, device->stream), error);
        return issued && CUDA_OK(device, cuStreamSynchronize(device->stream), error);
    }
    uint64_t width = (uint64_t)columns * dtype_size(tensor->dtype),
             pitch = (uint64_t)tensor->row_stride * dtype_size(tensor->dtype);
    CUDA_MEMCPY2D copy = {.WidthInBytes = width, .Height = (size_t)(tensor_elements(tensor) / columns)};
    if (write) {
        copy.srcMemoryType = CU_MEMORYTYPE_HOST, copy.srcHost = host, copy.srcPitch = width;
        copy.dstMemoryType = CU_MEMORYTYPE_DEVICE, copy.dstDevice = address, copy.dstPitch = pitch;
    } else {
        copy.dstMemoryType = CU_MEMORYTYPE_HOST, copy.dstHost = host, copy.dstPitch = width;
        copy.srcMemoryType = CU_MEMORYTYPE_DEVICE, copy.srcDevice = address, copy.srcPitch = pitch;
    }
    return CUDA_OK(device, cuMemcpy2DAsync(&copy, device->stream), error) &&
           CUDA_OK(device, cuStreamSynchronize(device->stream), error);
}

static bool copies_renew(struct program *program, int32_t parameter, struct error *error)
{
    struct device *device = program->device;
    const struct plan *plan = program->plan;
    for (int32_t i = 0; i < plan->tensor_count; ++i) {
        const struct tensor *copy = &plan->tensors[i];
        if (copy->kind != TENSOR_PARAMETER_COPY || copy->parameter != parameter)
            continue;
        CUdeviceptr from = program->arena + plan->tensors[parameter].offset, to = program->arena + copy->offset;
        long long count = (long long)tensor_elements(copy);
        void *arguments[] = {&from, &to, &count};
        if (!CUDA_OK(device,
                     cuLaunchKernel(program->renewal, (unsigned)((count + 255) / 256), 1, 1, 256, 1, 1, 0,
                                    device->stream, arguments, NULL),
                     error))
            return false;
    }
    return CUDA_OK(device, cuStreamSynchronize(device->stream), error);
}

bool cuda_write(struct program *program, int32_t index, const void *bytes, struct error *error)
{
    if (!tensor_find(program, index, error) ||
        !CUDA_OK(program->device, cuCtxSetCurrent(program->device->context), error))
        return false;
    const struct tensor *tensor = &program->plan->tensors[index];
    if (tensor->kind == TENSOR_INPUT && tensor->dtype == DTYPE_I32) {
        const int32_t *values = bytes;
        int64_t count = tensor_elements(tensor), vocab = program->plan->vocab;
        for (int64_t i = 0; i < count; ++i)
            if (values[i] < 0 || values[i] >= vocab)
                return error_set(error, ERROR_INPUT, "%s[%lld] is %d, outside the vocabulary of %lld", tensor->name,
                                 (long long)i, values[i], (long long)vocab);
    }
    return tensor_copy(program, tensor, (void *)(uintptr_t)bytes, true, error) &&
           (tensor->kind != TENSOR_PARAMETER || program->renewal_module < 0 || copies_renew(program, index, error));
}

bool cuda_read(struct program *program, int32_t index, void *bytes, struct error *error)
{
    return tensor_find(program, index, error) &&
           CUDA_OK(program->device, cuCtxSetCurrent(program->device->context), error) &&
           tensor_copy(program, &program->plan->tensors[index], bytes, false, error);
}
