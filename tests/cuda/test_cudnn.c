/* cuDNN as a library that may be there or not: what is said when it is missing, old or does not start; which engine is taken of
 * those it proposes; and, where the real one is installed, that it takes attention's graphs for a Hopper card that is described
 * to it. No device. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cudnn.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cuda_attention_shape shape_of(bool backward, int64_t head_dim, int64_t context)
{
    struct cuda_attention_shape shape;
    memset(&shape, 0, sizeof shape);
    shape.batch = 4, shape.heads = 12, shape.context = context, shape.head_dim = head_dim;
    shape.stride_qkv = shape.stride_dqkv = 36 * head_dim;
    shape.stride_o = shape.stride_do = 12 * head_dim;
    shape.align = 256;
    shape.scale = 0.125f;
    shape.backward = backward;
    shape.rope = 1;
    shape.type_qkv = shape.type_o = shape.type_do = shape.type_dqkv = DTYPE_BF16;
    return shape;
}

static struct cudnn *fake_open(const char *variant, char *why, size_t why_size)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s/%s", FAKE_FOLDER, variant);
    setenv("STEPTOP_CUDNN_FOLDER", folder, 1);
    struct cudnn *cudnn = cudnn_open(why, why_size);
    unsetenv("STEPTOP_CUDNN_FOLDER");
    return cudnn;
}

static struct cuda_attention_part part;

static void a_library_that_lacks_a_function(void **state)
{
    (void)state;
    char why[120];
    assert_null(fake_open("symbol", why, sizeof why));
    assert_string_equal(why, "libcudnn was found but has no cudnnSetStream");
}

static void a_library_that_does_not_start(void **state)
{
    (void)state;
    char why[120];
    struct cudnn *cudnn = fake_open("start", why, sizeof why);
    assert_non_null(cudnn);
    struct cuda_attention_shape shape = shape_of(false, 64, 256);
    assert_null(cuda_attention_cudnn_plan(cudnn, &shape, UINT64_MAX, &part, why, sizeof why));
    assert_string_equal(why, "cuDNN 90000 does not start: a fault of the fake");
    cudnn_close(cudnn);
}

static void the_engine_that_repeats_and_fits(void **state)
{
    (void)state;
    char why[120];
    struct error error = {0};
    struct cudnn *cudnn = fake_open("whole", why, sizeof why);
    assert_non_null(cudnn);
    assert_int_equal(cudnn_version(cudnn), 90000);
    for (int backward = 0; backward < 2; ++backward) {
        struct cuda_attention_shape shape = shape_of(backward, 64, 256);
        CUdeviceptr addresses[10] = {0};
        /* The gigabyte is welcome: the third; it is not: the fourth; not even a megabyte: none, and the least is told. */
        struct cudnn_plan *plan = cuda_attention_cudnn_plan(cudnn, &shape, UINT64_C(2) << 30, &part, why, sizeof why);
        assert_non_null(plan);
        assert_int_equal(cudnn_plan_workspace(plan), 1 << 30);
        assert_false(cudnn_plan_run(plan, addresses, 0, NULL, &error));
        assert_string_equal(error.text, "cuDNN: a fault of the fake");
        error = (struct error){0};
        cudnn_plan_release(plan);
        plan = cuda_attention_cudnn_plan(cudnn, &shape, 1 << 20, &part, why, sizeof why);
        assert_non_null(plan);
        assert_int_equal(cudnn_plan_workspace(plan), 1 << 20);
        assert_true(cudnn_plan_run(plan, addresses, 0, NULL, &error));
        cudnn_plan_release(plan);
        assert_null(cuda_attention_cudnn_plan(cudnn, &shape, 1000, &part, why, sizeof why));
        assert_string_equal(why, "it needs 1 MiB of workspace"); /* the fake's does not shrink with the heads */
        assert_int_equal(part.batches * part.heads, 1);
    }
    cudnn_close(cudnn);
}

/* The candidate asks for the library once and keeps the reason. */
static void shapes_it_does_not_serve(void **state)
{
    (void)state;
    struct device device = {0};
    char why[120];
    snprintf(device.cudnn_why, sizeof device.cudnn_why, "libcudnn.so.9 cannot be loaded");
    struct cuda_attention_shape shape = shape_of(true, 64, 256);
    assert_false(cuda_attention_cudnn.serves(&device, &shape, why, sizeof why));
    assert_string_equal(why, "libcudnn.so.9 cannot be loaded");
    shape.type_qkv = DTYPE_F32;
    assert_false(cuda_attention_cudnn.serves(&device, &shape, why, sizeof why));
    assert_string_equal(why, "it has bf16 alone");
    shape = shape_of(true, 6, 256);
    assert_false(cuda_attention_cudnn.serves(&device, &shape, why, sizeof why));
    assert_string_equal(why, "rows of heads are not whole pieces of 16 bytes");
}

static const char *const hopper =
    "{\"deviceVer\":900,\"driverVer\":13000,\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
    "\"regsPerBlock\":65536,\"multiProcessorCount\":132,\"smClockRateKHz\":1980000,\"memClockRateKHz\":3201000,"
    "\"l2CacheSize\":62914560,\"warpSize\":32,\"maxSharedMemoryPerBlock\":49152,"
    "\"maxSharedMemoryPerBlockOptin\":232448,\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,"
    "\"pciDeviceId\":0,\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"isTccDriver\":0,"
    "\"supportCoopLaunch\":1,\"cudaDeviceId\":0,\"totalGlobalMem\":150754820096,\"deviceName\":\"NVIDIA H200\"}";

/* Without a driver its heuristics end with no engine, but what they are given has to be a graph that it accepts. */
static void the_real_library_takes_the_graphs(void **state)
{
    (void)state;
    char why[120] = "";
    struct cudnn *cudnn = cudnn_open_described(hopper, why, sizeof why);
    if (!cudnn) {
        print_message("skipped: %s\n", why);
        skip();
    }
    for (int backward = 0; backward < 2; ++backward)
        for (int64_t head_dim = 32; head_dim <= 256; head_dim *= 2) {
            struct cuda_attention_shape shape = shape_of(backward, head_dim, 250);
            struct cudnn_plan *plan = cuda_attention_cudnn_plan(cudnn, &shape, UINT64_MAX, &part, why, sizeof why);
            if (!plan && strcmp(why, "it has no engine") != 0)
                fail_msg("%s, head size %d: %s", backward ? "backward" : "forward", (int)head_dim, why);
            cudnn_plan_release(plan);
        }
    cudnn_close(cudnn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_library_that_lacks_a_function),   cmocka_unit_test(a_library_that_does_not_start),
        cmocka_unit_test(the_engine_that_repeats_and_fits),  cmocka_unit_test(shapes_it_does_not_serve),
        cmocka_unit_test(the_real_library_takes_the_graphs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
