/* What the kernels for Hopper share: barriers in shared memory that count a copy's bytes, the copy engine, and the bf16
 * products of a warpgroup (wgmma), whose operands lie in panels: rows of 128 bytes, 64 bf16 each, in which the 16-byte
 * chunk c of row r lies at c ^ (r mod 8), as the copy engine and wgmma swizzle by 128 bytes. A panel starts at a multiple of
 * 1024 bytes. */
#pragma once
#include "common.cuh"

struct alignas(64) tensor_map { /* CUtensorMap */
    uint64 opaque[16];
};

__device__ __forceinline__ unsigned shared_address(const void *p)
{
    return (unsigned)__cvta_generic_to_shared(p);
}

__device__ __forceinline__ void barrier_init(unsigned barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

__device__ __forceinline__ void barrier_expect(unsigned barrier, unsigned bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ void barrier_arrive(unsigned barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/* Until the phase of this parity is over; before the first phase, that of parity 1 counts as over. */
__device__ __forceinline__ void barrier_wait(unsigned barrier, unsigned parity)
{
    unsigned done;
    do
        asm volatile("{\n .reg .pred p;\n mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n selp.u32 %0, 1, 0, p;\n}"
                     : "=r"(done)
                     : "r"(barrier), "r"(parity)
                     : "memory");
    while (!done);
}

/* Barriers are made by one thread and seen by all, the copy engine too, after __syncthreads. */
__device__ __forceinline__ void barriers_made()
{
    asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;" ::: "memory");
}

/* This thread's stores to shared memory come before what the tensor cores or the copy engine do after the next barrier. */
__device__ __forceinline__ void shared_to_engines()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void copy_box(unsigned to, const tensor_map *map, int x, int y, unsigned barrier)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to),
                 "l"(map), "r"(x), "r"(y), "r"(barrier)
                 : "memory");
}

__device__ __forceinline__ void copy_box(unsigned to, const tensor_map *map, int x, int y, int z, int w, unsigned barrier)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(to),
                 "l"(map), "r"(x), "r"(y), "r"(z), "r"(w), "r"(barrier)
                 : "memory");
}

/* `bytes`, a multiple of 16, that lie side by side. */
__device__ __forceinline__ void copy_bytes(unsigned to, const void *from, unsigned bytes, unsigned barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(barrier)
                 : "memory");
}

/* Panels as wgmma wants them described. Along: a row holds 64 elements of k, one for each row or column of the product. */
__device__ __forceinline__ uint64 tile_descriptor(unsigned address)
{
    return (uint64)1 << 62 | (uint64)(1024 >> 4) << 32 | (uint64)1 << 16 | (address & 0x3ffff) >> 4;
}

/* Across: a row is one k; `panel` bytes further lie the next 64 rows or columns of the product. */
__device__ __forceinline__ uint64 across_descriptor(unsigned address, unsigned panel)
{
    return (uint64)1 << 62 | (uint64)(1024 >> 4) << 32 | (uint64)(panel >> 4) << 16 | (address & 0x3ffff) >> 4;
}

__device__ __forceinline__ void products_start() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/* Until at most PENDING groups of products are under way. */
template <int PENDING> __device__ __forceinline__ void products_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/* Keeps the compiler from moving what reads these registers before a wait, or what writes them behind a start. */
template <int N> __device__ __forceinline__ void settle(float (&x)[N])
{
#pragma unroll
    for (int i = 0; i < N; ++i)
        asm volatile("" : "+f"(x[i])::"memory");
}

template <int N> __device__ __forceinline__ void settle(unsigned (&x)[N][4])
{
#pragma unroll
    for (int i = 0; i < N; ++i)
        asm volatile("" : "+r"(x[i][0]), "+r"(x[i][1]), "+r"(x[i][2]), "+r"(x[i][3])::"memory");
}

template <int REGISTERS> __device__ __forceinline__ void registers_take()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

template <int REGISTERS> __device__ __forceinline__ void registers_give()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

/* Barriers of the block by number (0 is __syncthreads'). */
template <int THREADS_OF_IT> __device__ __forceinline__ void meet(int number)
{
    asm volatile("bar.sync %0, %1;" ::"r"(number), "n"(THREADS_OF_IT) : "memory");
}

template <int THREADS_OF_IT> __device__ __forceinline__ void announce(int number)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(number), "n"(THREADS_OF_IT) : "memory");
}

/* Four matrices of 8 rows of 16 bytes; lane l gives the address of row l mod 8 of matrix l / 8, and has the elements 2·(l mod 4)
 * and the next of row l / 4 of each. */
__device__ __forceinline__ void store_matrices(unsigned address, const unsigned (&x)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(x[0]), "r"(x[1]),
                 "r"(x[2]), "r"(x[3])
                 : "memory");
}

/* Operands of asm: sums that are added to, HOW "+f", or only written, "=f". */
#define SUM4(HOW, x, i) HOW(x[i]), HOW(x[i + 1]), HOW(x[i + 2]), HOW(x[i + 3])
#define SUM8(HOW, x, i) SUM4(HOW, x, i), SUM4(HOW, x, i + 4)
#define SUM16(HOW, x, i) SUM8(HOW, x, i), SUM8(HOW, x, i + 8)
#define SUM32(HOW, x, i) SUM16(HOW, x, i), SUM16(HOW, x, i + 16)
#define SUM64(HOW, x, i) SUM32(HOW, x, i), SUM32(HOW, x, i + 32)

/* sum (64, n) = a (64, 16) · b (n, 16)ᵀ, added to what it is when ADD. A thread of lane (g, t) = (lane / 4, lane % 4) of warp w
 * holds of each 8 columns the elements (16w + g, 2t), (16w + g, 2t + 1), (16w + g + 8, 2t), (16w + g + 8, 2t + 1); so it does of
 * an `a` in registers, whose 16 columns come in the order of mma.m16n8k16. ACROSS as the descriptors say. */
#define BF16_PRODUCTS(N, COUNT, NAMES, O0, O1, O2, O3, O4, O5, SUMS)                                                       \
    template <int ADD, int A_ACROSS, int B_ACROSS>                                                                             \
    __device__ __forceinline__ void product(float (&sum)[COUNT], uint64 a, uint64 b)                                           \
    {                                                                                                                          \
        if constexpr (ADD)                                                                                                     \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" NAMES "}, %" #O0 ", %" #O1 ", %" #O2     \
                         ", 1, 1, %" #O3 ", %" #O4 ";"                                                                         \
                         : SUMS("+f")                                                                                          \
                         : "l"(a), "l"(b), "n"(1), "n"(A_ACROSS), "n"(B_ACROSS));                                              \
        else                                                                                                                   \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" NAMES "}, %" #O0 ", %" #O1 ", %" #O2     \
                         ", 1, 1, %" #O3 ", %" #O4 ";"                                                                         \
                         : SUMS("=f")                                                                                          \
                         : "l"(a), "l"(b), "n"(0), "n"(A_ACROSS), "n"(B_ACROSS));                                              \
    }                                                                                                                          \
    template <int B_ACROSS>                                                                                                    \
    __device__ __forceinline__ void product_add(float (&sum)[COUNT], const unsigned (&a)[4], uint64 b)                         \
    {                                                                                                                          \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" NAMES "}, {%" #O0 ", %" #O1 ", %" #O2        \
                     ", %" #O3 "}, %" #O4 ", 1, 1, 1, %" #O5 ";"                                                               \
                     : SUMS("+f")                                                                                              \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(B_ACROSS));                                     \
    }

#define NAMES_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define NAMES_16 NAMES_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define NAMES_24 NAMES_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define NAMES_32 NAMES_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_40 NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define NAMES_48 NAMES_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define NAMES_56 NAMES_48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define NAMES_64 NAMES_56 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_72 NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define NAMES_80 NAMES_72 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define NAMES_88 NAMES_80 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define NAMES_96 NAMES_88 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define NAMES_128 NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83" \
    ", %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102" \
    ", %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118" \
    ", %119, %120, %121, %122, %123, %124, %125, %126, %127"

#define SUMS_8(HOW) SUM8(HOW, sum, 0)
#define SUMS_16(HOW) SUM16(HOW, sum, 0)
#define SUMS_24(HOW) SUM16(HOW, sum, 0), SUM8(HOW, sum, 16)
#define SUMS_32(HOW) SUM32(HOW, sum, 0)
#define SUMS_40(HOW) SUM32(HOW, sum, 0), SUM8(HOW, sum, 32)
#define SUMS_48(HOW) SUM32(HOW, sum, 0), SUM16(HOW, sum, 32)
#define SUMS_56(HOW) SUM32(HOW, sum, 0), SUM16(HOW, sum, 32), SUM8(HOW, sum, 48)
#define SUMS_64(HOW) SUM64(HOW, sum, 0)
#define SUMS_72(HOW) SUM64(HOW, sum, 0), SUM8(HOW, sum, 64)
#define SUMS_80(HOW) SUM64(HOW, sum, 0), SUM16(HOW, sum, 64)
#define SUMS_88(HOW) SUM64(HOW, sum, 0), SUM16(HOW, sum, 64), SUM8(HOW, sum, 80)
#define SUMS_96(HOW) SUM64(HOW, sum, 0), SUM32(HOW, sum, 64)
#define SUMS_128(HOW) SUM64(HOW, sum, 0), SUM64(HOW, sum, 64)

BF16_PRODUCTS(16, 8, NAMES_8, 8, 9, 10, 11, 12, 13, SUMS_8)
BF16_PRODUCTS(32, 16, NAMES_16, 16, 17, 18, 19, 20, 21, SUMS_16)
BF16_PRODUCTS(48, 24, NAMES_24, 24, 25, 26, 27, 28, 29, SUMS_24)
BF16_PRODUCTS(64, 32, NAMES_32, 32, 33, 34, 35, 36, 37, SUMS_32)
BF16_PRODUCTS(80, 40, NAMES_40, 40, 41, 42, 43, 44, 45, SUMS_40)
BF16_PRODUCTS(96, 48, NAMES_48, 48, 49, 50, 51, 52, 53, SUMS_48)
BF16_PRODUCTS(112, 56, NAMES_56, 56, 57, 58, 59, 60, 61, SUMS_56)
BF16_PRODUCTS(128, 64, NAMES_64, 64, 65, 66, 67, 68, 69, SUMS_64)
BF16_PRODUCTS(144, 72, NAMES_72, 72, 73, 74, 75, 76, 77, SUMS_72)
BF16_PRODUCTS(160, 80, NAMES_80, 80, 81, 82, 83, 84, 85, SUMS_80)
BF16_PRODUCTS(176, 88, NAMES_88, 88, 89, 90, 91, 92, 93, SUMS_88)
BF16_PRODUCTS(192, 96, NAMES_96, 96, 97, 98, 99, 100, 101, SUMS_96)
BF16_PRODUCTS(256, 128, NAMES_128, 128, 129, 130, 131, 132, 133, SUMS_128)
