/* Builds every kernel with NVRTC for each architecture and precision: no GPU needed. Checks that no kernel spills registers
 * or keeps a stack frame: in these kernels either would mean an array that went to memory. */
#include "kernels/cuda/nvrtc_build.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_BUILDS 96

struct build_list {
    struct cuda_build items[MAX_BUILDS];
    int count;
};

static void list_add(struct build_list *list, const char *file, ...) __attribute__((sentinel));
static void list_add(struct build_list *list, const char *file, ...)
{
    assert_true(list->count < MAX_BUILDS);
    struct cuda_build *build = &list->items[list->count++];
    build->file = file;
    va_list arguments;
    va_start(arguments, file);
    for (const char *define; (define = va_arg(arguments, const char *));)
        build->defines[build->define_count++] = define;
    va_end(arguments);
}

static void list_fill_hopper(struct build_list *list)
{
    static const char *const tiles[][3] = {{"WARPGROUPS=2", "BN=128", "STAGES=3"},
                                           {"WARPGROUPS=2", "BN=256", "STAGES=4"},
                                           {"WARPGROUPS=3", "BN=192", "STAGES=4"}};
    for (int i = 0; i < 3; ++i) {
        list_add(list, "gemm_hopper.cu", tiles[i][0], tiles[i][1], tiles[i][2], "SPLIT=1", NULL);
        list_add(list, "gemm_hopper.cu", tiles[i][0], tiles[i][1], tiles[i][2], "SPLIT=5", "ACROSS=1", NULL);
        list_add(list, "gemm_hopper.cu", tiles[i][0], tiles[i][1], tiles[i][2], "SPLIT=2", "ALONG=1", NULL);
    }
}

static void list_fill(struct build_list *list, int architecture)
{
    list_add(list, "elementwise.cu", "T0=float", "T1=float", "T2=float", "VECTOR=4", "F=3072", NULL);
    list_add(list, "elementwise.cu", "T0=bf16", "T1=bf16", "T2=bf16", "VECTOR=4", "F=3072", "ELEMENTS=3145728", NULL);
    list_add(list, "elementwise.cu", "T0=float", "T1=bf16", "T2=bf16", "VECTOR=1", "F=7", NULL);
    list_add(list, "norm.cu", "C=768", "VECTOR=4", "THREADS=192", "GROUP=2", "TX=float", "TR=float", "TY=bf16",
             "TZ=float", NULL);
    list_add(list, "norm.cu", "C=2560", "VECTOR=4", "THREADS=320", "GROUP=8", "TX=float", "TR=bf16", "TY=float",
             "TZ=float", NULL);
    list_add(list, "norm.cu", "C=31", "VECTOR=1", "THREADS=32", "GROUP=1", "TX=float", "TR=float", "TY=float",
             "TZ=float", NULL);
    list_add(list, "embedding.cu", "C=768", "VECTOR=4", "TX=float", NULL);
    list_add(list, "loss.cu", "V=10000", "VECTOR=4", "THREADS=512", "TL=float", "TG=float", NULL);
    list_add(list, "loss.cu", "V=10007", "VECTOR=1", "THREADS=512", "TL=bf16", "TG=bf16", NULL);
    list_add(list, "transpose.cu", NULL);
    if (architecture == 90)
        list_fill_hopper(list);
    list_add(list, "adamw.cu", "VECTOR=4", NULL);
    list_add(list, "softmax.cu", "TS=float", "TP=float", "TO=float", NULL);
    list_add(list, "softmax.cu", "TS=bf16", "TP=bf16", "TO=bf16", NULL);
    list_add(list, "rope.cu", "C=768", "D=64", "TX=float", "TY=float", "PAIRS=2", NULL);
    list_add(list, "rope.cu", "C=18", "D=6", "TX=float", "TY=float", "PAIRS=1", "APART=1", NULL);
    list_add(list, "rope.cu", "C=768", "D=64", "TX=bf16", "TY=bf16", "PAIRS=4", "BACKWARD", NULL);
    static const struct {
        const char *d, *mode, *type, *vector, *forward[3], *backward[2];
    } heads[] = {
        {"D=64", "MODE=0", "bf16", "VECTOR=8", {"BN=64", "HOLD=1", "BLOCKS=2"}, {"BN=64", "BLOCKS=2"}},
        {"D=80", "MODE=0", "bf16", "VECTOR=8", {"BN=32", "HOLD=1", "BLOCKS=2"}, {"BN=32", "BLOCKS=2"}},
        {"D=128", "MODE=0", "bf16", "VECTOR=8", {"BN=32", "HOLD=1", "BLOCKS=1"}, {"BN=32", "BLOCKS=1"}},
        {"D=64", "MODE=1", "float", "VECTOR=4", {"BN=64", "HOLD=0", "BLOCKS=2"}, {"BN=32", "BLOCKS=2"}},
        {"D=64", "MODE=1", "float", "VECTOR=4", {"BN=64", "HOLD=1", "BLOCKS=1"}, {"BN=32", "BLOCKS=2"}},
        {"D=80", "MODE=1", "float", "VECTOR=4", {"BN=32", "HOLD=0", "BLOCKS=2"}, {"BN=32", "BLOCKS=2"}},
        {"D=128", "MODE=1", "float", "VECTOR=4", {"BN=32", "HOLD=1", "BLOCKS=1"}, {"BN=32", "BLOCKS=1"}},
        {"D=128", "MODE=1", "float", "VECTOR=4", {"BN=32", "HOLD=1", "BLOCKS=1"}, {"BN=16", "BLOCKS=1"}},
        {"D=64", "MODE=2", "float", "VECTOR=4", {"BN=32", "HOLD=0", "BLOCKS=1"}, {"BN=32", "BLOCKS=1"}},
        {"D=80", "MODE=2", "float", "VECTOR=4", {"BN=32", "HOLD=0", "BLOCKS=1"}, {"BN=32", "BLOCKS=1"}},
        {"D=128", "MODE=2", "float", "VECTOR=4", {"BN=32", "HOLD=0", "BLOCKS=1"}, {"BN=16", "BLOCKS=1"}},
        {"D=6", "MODE=2", "float", "VECTOR=2", {"BN=32", "HOLD=0", "BLOCKS=1"}, {"BN=32", "BLOCKS=1"}},
        {"D=6", "MODE=1", "float", "VECTOR=2", {"BN=64", "HOLD=0", "BLOCKS=2"}, {"BN=32", "BLOCKS=2"}},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; ++i) {
        bool wide = strcmp(heads[i].type, "bf16") == 0;
        const char *tq = wide ? "TQ=bf16" : "TQ=float", *to = wide ? "TO=bf16" : "TO=float";
        list_add(list, "attention_forward.cu", heads[i].d, heads[i].mode, heads[i].vector, heads[i].forward[0],
                 heads[i].forward[1], heads[i].forward[2], "HEADS=12", "TURN=1", tq, to, "CONTEXT=256", NULL);
        list_add(list, "attention_backward.cu", heads[i].d, heads[i].mode, heads[i].vector, heads[i].backward[0],
                 heads[i].backward[1], "HEADS=12", "TURN=1", tq, to, wide ? "TDO=bf16" : "TDO=float",
                 wide ? "TDQ=bf16" : "TDQ=float", "CONTEXT=256", NULL);
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
