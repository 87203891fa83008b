/* What card.py runs beside PyTorch: a program of the driver's own calls, or (with STATIC_RUNTIME) of the runtime that is linked into it.
 * card_plain SECONDS: launches a small kernel twenty times, copies its result to the host, waits a little, and again. Prints a line of
 * JSON: how often it launched, what came out of it, and how long that took. Nothing in it knows of steptop. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifdef STATIC_RUNTIME
#include <cuda_runtime_api.h>
#else
#include <cuda.h>
#endif

#define COUNT 65536u
#define LAUNCHES 20
#define PAUSE_NS 4000000

static const char add_one[] = ".version 7.0\n"
                              ".target sm_70\n"
                              ".address_size 64\n"
                              ".visible .entry add_one(.param .u64 values)\n"
                              "{\n"
                              "    .reg .b32 %r<5>; .reg .b64 %d<4>; .reg .f32 %f<3>;\n"
                              "    ld.param.u64 %d1, [values];\n"
                              "    cvta.to.global.u64 %d1, %d1;\n"
                              "    mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x;\n"
                              "    mad.lo.s32 %r4, %r1, %r2, %r3;\n"
                              "    mul.wide.u32 %d2, %r4, 4;\n"
                              "    add.s64 %d3, %d1, %d2;\n"
                              "    ld.global.f32 %f1, [%d3];\n"
                              "    add.f32 %f2, %f1, 0f3F800000;\n"
                              "    st.global.f32 [%d3], %f2;\n"
                              "    ret;\n"
                              "}\n";

static void must(int result, const char *what)
{
    if (result == 0)
        return;
    fprintf(stderr, "%s: error %d\n", what, result);
    exit(1);
}

#ifdef STATIC_RUNTIME
static cudaKernel_t kernel;
static float *values;

static void begin(void)
{
    cudaLibrary_t library;
    must(cudaLibraryLoadData(&library, add_one, NULL, NULL, 0, NULL, NULL, 0), "cudaLibraryLoadData");
    must(cudaLibraryGetKernel(&kernel, library, "add_one"), "cudaLibraryGetKernel");
    must(cudaMalloc((void **)&values, COUNT * sizeof *values), "cudaMalloc");
    must(cudaMemset(values, 0, COUNT * sizeof *values), "cudaMemset");
}

static void launch(void)
{
    void *arguments[] = {&values};
    must(cudaLaunchKernel((const void *)kernel, (dim3){COUNT / 256, 1, 1}, (dim3){256, 1, 1}, arguments, 0, NULL),
         "cudaLaunchKernel");
}

static void read_back(float *first)
{
    must(cudaMemcpy(first, values, sizeof *first, cudaMemcpyDeviceToHost), "cudaMemcpy");
}
#else
static __typeof__(cuLaunchKernel) *launch_kernel;
static __typeof__(cuMemcpyDtoH) *copy_to_host;
static CUfunction kernel;
static CUdeviceptr values;

static void *found(const char *name)
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    void *symbol = driver ? dlsym(driver, name) : NULL;
    must(symbol == NULL, name);
    return symbol;
}
/* A name as it is written, and not as the headers rename it to its latest version. */
#define CALL(name, ...) must(((__typeof__(name) *)found(#name))(__VA_ARGS__), #name)

static void begin(void)
{
    CUdevice device;
    CUcontext context;
    CUmodule module;
    CALL(cuInit, 0);
    CALL(cuDeviceGet, &device, 0);
    CALL(cuDevicePrimaryCtxRetain, &context, device);
    CALL(cuCtxSetCurrent, context);
    CALL(cuModuleLoadData, &module, add_one);
    CALL(cuModuleGetFunction, &kernel, module, "add_one");
    must(((__typeof__(cuMemAlloc) *)found("cuMemAlloc_v2"))(&values, COUNT * sizeof(float)), "cuMemAlloc");
    must(((__typeof__(cuMemsetD32) *)found("cuMemsetD32_v2"))(values, 0, COUNT), "cuMemsetD32");
    launch_kernel = (__typeof__(launch_kernel))found("cuLaunchKernel");
    copy_to_host = (__typeof__(copy_to_host))found("cuMemcpyDtoH_v2");
}

static void launch(void)
{
    void *arguments[] = {&values};
    must(launch_kernel(kernel, COUNT / 256, 1, 1, 256, 1, 1, 0, NULL, arguments, NULL), "cuLaunchKernel");
}

static void read_back(float *first)
{
    must(copy_to_host(first, values, sizeof *first), "cuMemcpyDtoH");
}
#endif

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int count, char **arguments)
{
    unsigned launches = 0;
    float first = 0;
    begin();
    const double from = seconds(), until = from + (count > 1 ? atof(arguments[1]) : 3);
    while (seconds() < until) {
        for (int i = 0; i < LAUNCHES; i++, launches++)
            launch();
        read_back(&first);
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    printf("{\"launches\": %u, \"result\": %.0f, \"seconds\": %.3f}\n", launches, (double)first, seconds() - from);
    return 0;
}
