/* Builds with NVRTC what lowering real plans on a card that is not there asks for, in each precision: no GPU needed. Checks that no kernel spills registers
 * or keeps a stack frame: in these kernels either would mean an array that went to memory. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_internal.h"
#include "kernels/cuda/nvrtc_build.h"
#include "model/model.h"
#include "tests/cuda/lowered.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_BUILDS 512

struct build_list {
    struct arena memory;
    struct cuda_build items[MAX_BUILDS];
    int count;
};

static bool same_build(const struct cuda_build *a, const struct cuda_build *b)
{
    bool same = strcmp(a->file, b->file) == 0 && a->define_count == b->define_count;
    for (int i = 0; same && i < a->define_count; ++i)
        same = strcmp(a->defines[i], b->defines[i]) == 0;
    return same;
}

static void list_add(struct build_list *list, const struct cuda_build *build)
{
    for (int i = 0; i < list->count; ++i)
        if (same_build(&list->items[i], build))
            return;
    assert_true(list->count < MAX_BUILDS);
    struct cuda_build *copy = &list->items[list->count++];
    *copy = (struct cuda_build){.file = build->file, .define_count = build->define_count};
    for (int i = 0; i < build->define_count; ++i)
        copy->defines[i] = arena_strdup(&list->memory, build->defines[i]);
}

/* A card as lowering sees it. */
static struct device fake_device(int architecture)
{
    const bool large = architecture == 90 || architecture == 100;
    return (struct device){.architecture = architecture,
                           .units = architecture == 80 ? 108 : 132,
                           .shared_limit = large                ? 227 << 10
                                           : architecture == 80 ? 163 << 10
                                                                : 99 << 10,
                           .shared_in_unit = large                ? 228 << 10
                                             : architecture == 80 ? 164 << 10
                                                                  : 100 << 10};
}

/* All modules that lowering this plan registers, with each candidate for attention. */
static void list_lowered(struct build_list *list, int architecture, const struct plan *plan, bool compile)
{
    for (int only = 0; only <= cuda_attention_candidate_count; ++only) {
        struct device device = fake_device(architecture);
        struct error error = {0};
        uint64_t scratch, side, own;
        device.attention_only = only;
        struct program *program = cuda_program_new(&device, plan, compile, &error);
        assert_non_null(program);
        /* A candidate that does not serve the shape says so; the others then do. */
        if (cuda_lower(program, CUDA_RATES_BYTES, &scratch, &side, &own, &error))
            for (int i = 0; i < program->build_count; ++i)
                list_add(list, &program->builds[i]);
        else if (!only)
            fail_msg("sm_%d: %s", architecture, error.text);
        lowered_free(program);
    }
}

/* What real plans ask for: head sizes 64, 80 and 128, sizes that no vector or tile divides, lengths that no tile divides, in
 * each precision, eager and compiled. */
static void list_fill(struct build_list *list, int architecture)
{
    static const struct {
        struct model_config model;
        int64_t batch, context;
    } asked[] = {
        {{.name = "S", .d_model = 768, .d_ff = 3072, .num_layers = 1, .num_heads = 12, .vocab_size = 10000}, 4, 256},
        {{.name = "2p7", .d_model = 2560, .d_ff = 10240, .num_layers = 1, .num_heads = 32, .vocab_size = 10000},
         4,
         256},
        {{.name = "128", .d_model = 1024, .d_ff = 2736, .num_layers = 1, .num_heads = 8, .vocab_size = 50257}, 1, 1000},
        {{.name = "odd", .d_model = 30, .d_ff = 53, .num_layers = 2, .num_heads = 5, .vocab_size = 1003}, 3, 77},
    };
    for (size_t a = 0; a < sizeof asked / sizeof *asked; ++a)
        for (int precision = 0; precision < PRECISION_COUNT; ++precision)
            for (int compile = 0; compile < 2; ++compile) {
                const struct plan_request request = {.model = asked[a].model,
                                                     .batch = asked[a].batch,
                                                     .context = asked[a].context,
                                                     .precision = (enum precision)precision,
                                                     .fusions = compile ? FUSE_ALL | 1u << FUSE_OVERLAP : 0,
                                                     .overlap = steptop_device_class.overlap,
                                                     .phases = PHASES_TRAIN_STEP};
                struct plan_result result;
                struct error error = {0};
                struct plan *plan = plan_build(&request, &result, &error);
                if (!plan)
                    fail_msg("%s", error.text);
                list_lowered(list, architecture, plan, compile);
                plan_free(plan);
            }
}

/* Bytes a thread may park in local memory; an array there would be far beyond. Nothing on sm_90, where the kernels were tuned and
 * timed, with one exception: tf32 backward at head size 80, whose two blocks a multiprocessor with 9 words parked take 84 us
 * on an H200 where one block without takes 109. Elsewhere the compiler may park some words to keep the occupancy asked for. */
static int spill_allowed(const struct cuda_build *build, int architecture)
{
    bool d80 = false, tf32 = false;
    for (int i = 0; i < build->define_count; ++i) {
        d80 = d80 || strcmp(build->defines[i], "D=80") == 0;
        tf32 = tf32 || strcmp(build->defines[i], "MODE=1") == 0;
    }
    if (d80 && tf32 && strcmp(build->file, "attention_backward.cu") == 0)
        return architecture == 90 ? 36 : 96;
    return architecture == 90 ? 0 : 32;
}

/* Counts the kernels whose "N bytes stack frame, N bytes spill stores, N bytes spill loads" in the log says more than is
 * allowed. */
static int count_spills(const struct cuda_build *build, int architecture)
{
    const int allowed = spill_allowed(build, architecture);
    int bad = 0;
    for (const char *line = build->log; line && (line = strstr(line, " bytes stack frame"));) {
        const char *start = line;
        while (start > build->log && start[-1] != '\n')
            --start;
        int frame = -1, stores = -1, loads = -1;
        const char *digits = line;
        while (digits > start && digits[-1] >= '0' && digits[-1] <= '9')
            --digits;
        assert_int_equal(sscanf(digits, "%d bytes stack frame, %d bytes spill stores, %d bytes spill loads", &frame,
                                &stores, &loads),
                         3);
        if (frame > allowed || stores > allowed || loads > allowed)
            ++bad;
        line += 10;
    }
    return bad;
}

static void build_for(int architecture)
{
    struct cuda_libraries libraries = {0};
    struct error error = {0};
    if (!cuda_libraries_open_nvrtc(&libraries, &error)) {
        print_message("skipped: %s\n", error.text);
        skip();
    }
    struct build_list *list = calloc(1, sizeof *list);
    list_fill(list, architecture);
    struct cuda_build_options options = {.architecture = architecture, .report_resources = true};
    bool built = cuda_build_all(&libraries, list->items, list->count, &options, &error);
    if (!built)
        print_error("%s\n", error.text);
    assert_true(built);
    int spills = 0;
    for (int i = 0; i < list->count; ++i) {
        struct cuda_build *build = &list->items[i];
        assert_true(build->image_size > 0);
        assert_non_null(build->log);
        assert_non_null(strstr(build->log, "bytes stack frame"));
        if (count_spills(build, architecture)) {
            ++spills;
            print_error("sm_%d %s %s %s: registers spilled or a stack frame\n%s\n", architecture, build->file,
                        build->defines[0], build->defines[1], build->log);
        }
        if (getenv("SHOW_RESOURCES"))
            print_message("%s %s %s %s\n%s\n", build->file, build->defines[0], build->defines[1], build->defines[3],
                          build->log);
        cuda_build_release(&libraries, build);
    }
    print_message("sm_%d: %d modules\n", architecture, list->count);
    arena_release(&list->memory);
    free(list);
    cuda_libraries_close(&libraries);
    assert_int_equal(spills, 0);
}

/* Usage: test_cuda_kernels [ARCHITECTURE…]; 90 by default. */
static void builds_for_architecture(void **state)
{
    build_for(*(const int *)*state);
}

int main(int argc, char **argv)
{
    static int architectures[8] = {90};
    struct CMUnitTest tests[8] = {{0}};
    int count = argc > 1 && argc <= 9 ? argc - 1 : 1;
    for (int i = 0; i < count; ++i) {
        if (i + 1 < argc)
            architectures[i] = atoi(argv[i + 1]);
        tests[i] = (struct CMUnitTest)cmocka_unit_test_prestate(builds_for_architecture, &architectures[i]);
    }
    return _cmocka_run_group_tests("cuda_kernels", tests, (size_t)count, NULL, NULL);
}
