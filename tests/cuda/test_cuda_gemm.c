/* Every variant of the tf32 kernel for Hopper against sums in double, at sizes that no tile divides; and bit by bit when
 * it runs again. Skipped (77) without a device, or on one that is no Hopper. */
#include "base/random.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_internal.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct device *device;

struct matrix {
    float *host;
    CUdeviceptr address;
    int64_t rows, columns, stride;
};

static struct matrix matrix_make(int64_t rows, int64_t columns, int64_t stride, uint64_t seed)
{
    struct matrix matrix = {.rows = rows, .columns = columns, .stride = stride};
    struct error error = {0};
    size_t bytes = (size_t)(rows * stride) * sizeof(float);
    matrix.host = malloc(bytes);
    assert_non_null(matrix.host);
    for (int64_t i = 0; i < rows * stride; ++i)
        matrix.host[i] = i % stride < columns ? (float)random_normal_cut3(seed, 0, (uint64_t)i)
                                              : NAN; /* what lies between rows is not read */
    assert_true(CUDA_OK(device, cuMemAlloc(&matrix.address, bytes), &error));
    assert_true(CUDA_OK(device, cuMemcpyHtoDAsync(matrix.address, matrix.host, bytes, device->stream), &error));
    assert_true(CUDA_OK(device, cuStreamSynchronize(device->stream), &error));
    return matrix;
}

static void matrix_read(const struct matrix *matrix, float *values)
{
    struct error error = {0};
    size_t bytes = (size_t)(matrix->rows * matrix->stride) * sizeof(float);
    assert_true(CUDA_OK(device, cuMemcpyDtoHAsync(values, matrix->address, bytes, device->stream), &error));
    if (!CUDA_OK(device, cuStreamSynchronize(device->stream), &error))
        fail_msg("%s", error.text);
}

static void matrix_free(struct matrix *matrix)
{
    device->libraries.cuMemFree(matrix->address);
    free(matrix->host);
}

/* Relative L2 error against double; what lies between d's rows must still be NaN. */
static double error_of(const struct cuda_gemm_shape *shape, const struct matrix *a, const struct matrix *b,
                       const struct matrix *d, const float *got)
{
    double error = 0, norm = 0;
    for (int64_t m = 0; m < shape->m; ++m)
        for (int64_t n = 0; n < d->stride; ++n) {
            if (n >= shape->n) {
                assert_true(isnan(got[m * d->stride + n]));
                continue;
            }
            double sum = 0;
            for (int64_t k = 0; k < shape->k; ++k)
                sum += (double)a->host[shape->transpose_a ? k * a->stride + m : m * a->stride + k] *
                       (double)b->host[shape->transpose_b ? n * b->stride + k : k * b->stride + n];
            double difference = (double)got[m * d->stride + n] - sum;
            error += difference * difference;
            norm += sum * sum;
        }
    return sqrt(error / norm);
}

static void variants_agree(const char *form, int64_t m, int64_t n, int64_t k)
{
    bool ta = form[0] == 't', tb = form[1] == 't';
    struct error error = {0};
    struct program program = {.device = device, .compile = true};
    struct lowering lowering = {.program = &program, .error = &error};
    struct matrix a = matrix_make(ta ? k : m, ta ? m : k, ((ta ? m : k) + 7) / 4 * 4, 1),
                  b = matrix_make(tb ? n : k, tb ? k : n, ((tb ? k : n) + 7) / 4 * 4, 2),
                  d = matrix_make(m, n, (n + 3) / 2 * 2, 3);
    struct cuda_gemm_shape shape;
    memset(&shape, 0, sizeof shape);
    shape.m = m, shape.n = n, shape.k = k;
    shape.lda = a.stride, shape.ldb = b.stride, shape.ldd = d.stride;
    shape.batch = 1, shape.align_a = shape.align_b = shape.align_d = 256;
    shape.transpose_a = ta, shape.transpose_b = tb;
    shape.type_ab = shape.type_d = DTYPE_F32, shape.tf32 = 1, shape.alpha = 1.0f;
    assert_true(cuda_hopper_serves(device, &shape));
    int32_t index = cuda_gemm_find(&program.gemms, &shape);
    struct cuda_gemm *gemm = &program.gemms.items[index];
    cuda_hopper_register(&lowering, gemm);
    struct cuda_build_options options = {.architecture = device->architecture};
    if (!cuda_build_all(&device->libraries, program.builds, program.build_count, &options, &error))
        fail_msg("%s", error.text);
    for (int32_t i = 0; i < program.build_count; ++i)
        assert_true(CUDA_OK(device, cuModuleLoadData(&program.builds[i].module, program.builds[i].image), &error));
    assert_true(cuda_hopper_resolve(&program, gemm, &error));
    size_t bytes = (size_t)(d.rows * d.stride) * sizeof(float);
    float *first = malloc(bytes), *second = malloc(bytes);
    int ran = 0;
    for (int variant = 0; variant < CUDA_HOPPER_VARIANTS; ++variant) {
        if (gemm->hopper_module[variant] < 0)
            continue;
        ++ran;
        for (int time = 0; time < 2; ++time) {
            assert_true(CUDA_OK(device, cuMemsetD8Async(d.address, 0xff, bytes, device->stream), &error)); /* NaN */
            if (!cuda_hopper_launch(device, device->stream, gemm, variant, a.address, b.address, d.address, &error))
                fail_msg("%s", error.text);
            matrix_read(&d, time ? second : first);
        }
        double worst = error_of(&shape, &a, &b, &d, first);
        char name[64];
        cuda_hopper_name(variant, name, sizeof name);
        print_message("%s %lld x %lld x %lld, %s: %.2e\n", form, (long long)m, (long long)n, (long long)k, name, worst);
        assert_true(worst < 1e-3);
        assert_memory_equal(first, second, bytes);
    }
    assert_true(ran > 0);
    free(first);
    free(second);
    for (int32_t i = 0; i < program.build_count; ++i)
        cuda_build_release(&device->libraries, &program.builds[i]);
    free(program.builds);
    cuda_gemm_release(&device->libraries, &program.gemms);
    arena_release(&program.memory);
    matrix_free(&a);
    matrix_free(&b);
    matrix_free(&d);
}

static void whole_tiles_agree(void **state)
{
    (void)state;
    variants_agree("nn", 256, 256, 512);
    variants_agree("tt", 256, 256, 512);
    variants_agree("nt", 256, 256, 512);
}

static void cut_tiles_agree(void **state)
{
    (void)state;
    variants_agree("nn", 257, 130, 1001); /* nn: rows may be odd */
    variants_agree("nn", 1, 2, 4 * 32 * 4);
    variants_agree("nn", 70, 768, 131);
    variants_agree("tt", 130, 258, 999);
    variants_agree("tt", 62, 1000, 128);
    variants_agree("tt", 2, 2, 600);
    variants_agree("nt", 257, 130, 1001); /* nt, too */
    variants_agree("nt", 1, 2, 700);
    variants_agree("nt", 330, 1000, 129);
}

static int device_needed(void **state)
{
    (void)state;
    struct error error = {0};
    device = steptop_device_class.open(0, &error);
    return device ? 0 : -1;
}

static int device_closed(void **state)
{
    (void)state;
    steptop_device_class.close(device);
    return 0;
}

int main(void)
{
    struct device_info info;
    struct error error = {0};
    int count = 0;
    if (!steptop_device_class.enumerate(&info, 1, &count, &error)) {
        printf("skipped: %s\n", error.text);
        return 77;
    }
    if (strcmp(info.architecture, "sm_90") != 0) {
        printf("skipped: %s is %s, not sm_90\n", info.name, info.architecture);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_tiles_agree), cmocka_unit_test(cut_tiles_agree)};
    return cmocka_run_group_tests(tests, device_needed, device_closed);
}
