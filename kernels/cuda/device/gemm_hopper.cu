/* tf32 products on Hopper. The tensor cores take a tf32 operand from shared memory only along k, so the libraries' kernels
 * turn an operand that lies across k over on the way and lose half their speed. From registers it may come in any order:
 * here A is read from shared memory straight into the fragments of wgmma, and only B has to lie along k.
 *
 *   C[m][n] = Σ_k A[k][m]·B[n][k]      A (K, M), with ALONG (M, K); B (N, K); row-major; stored as d[m][n], with ACROSS as
 *                                      d[n][m] (not both)
 *
 * Macros: WARPGROUPS of 64 rows each make a block, BN its columns (a multiple of 128 or 96); STAGES of shared memory; SPLIT
 * blocks, a cluster, share k and add up their sums through each other's shared memory, in fixed order; ACROSS. */
#include "hopper.cuh"

#define BM (64 * WARPGROUPS)
#define BK 32
#define THREADS (128 * WARPGROUPS)
#define A_BYTES (BM * BK * 4)
#define B_BYTES (BN * BK * 4)
#define STAGE_BYTES (A_BYTES + B_BYTES)
#define UNIT (BN % 128 == 0 ? 128 : 96) /* columns of one wgmma */
#define PARTS (BN / UNIT)
#define SUMS (UNIT / 2) /* of a thread, a part */
#define BLOCKS (BM * BN <= 128 * 128 ? 2 : 1)

/* sum (64, n) += a (64, 8) in registers · b (n, 8)ᵀ in shared memory, one warpgroup; n = 128, 96. */
__device__ __forceinline__ void multiply_add(float (&sum)[64], const unsigned (&a)[4], uint64 b)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 "
                 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
                 "{%64, %65, %66, %67}, %68, 1, 1, 1;"
                 : SUM16("+f", sum, 0), SUM16("+f", sum, 16), SUM16("+f", sum, 32), SUM16("+f", sum, 48)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

__device__ __forceinline__ void multiply_add(float (&sum)[48], const unsigned (&a)[4], uint64 b)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n96k8.f32.tf32.tf32 "
                 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47}, "
                 "{%48, %49, %50, %51}, %52, 1, 1, 1;"
                 : SUM16("+f", sum, 0), SUM16("+f", sum, 16), SUM16("+f", sum, 32)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

/* Half of what the hardware cuts off: its truncation then rounds to nearest. */
__device__ __forceinline__ unsigned to_tf32(float x)
{
    return __float_as_uint(x) + 0x1000u;
}

/* A thread's part of four fragments (64, 8) of A, from a tile in boxes of 32 rows of 128 bytes whose 16-byte chunks the copy
 * engine swizzled with the row mod 8. `at`: the tile's place in `tiles` plus fragment_place. */
#ifdef ALONG
#define ROW_STEP 8 /* rows g and g + 8 of a fragment are m and m + 8; a row is an m, 32 k wide */
#else
/* A row is a k, 32 m wide. Which row of the fragment stands for which m is free: neighbours m, m + 1 are rows g and g + 8, so
 * that one access of 8 bytes serves both, and a half warp's accesses meet all 32 banks once. */
#define ROW_STEP 1
#endif

__device__ __forceinline__ int fragment_m(int warp, int lane)
{
    int g = lane >> 2;
#ifdef ALONG
    return warp * 16 + g;
#else
    return (warp >> 1) * 32 + ((g >> 1 & 1) * 4 + (warp & 1) * 2 + (g >> 2)) * 4 + (g & 1) * 2;
#endif
}

__device__ __forceinline__ unsigned fragment_place(int m, int lane)
{
    unsigned t = lane & 3;
#ifdef ALONG
    return m * 128 + (m & 7) * 16 + t * 4;
#else
    return m / 32 * 4096 + t * 128 + ((m % 32 / 4) ^ t) * 16 + m % 4 * 4;
#endif
}

__device__ __forceinline__ void load_a(unsigned (&a)[4][4], const char *tiles, unsigned at)
{
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#ifdef ALONG
        const char *near = tiles + (at ^ j * 32), *far = tiles + (at ^ (j * 32 + 16));
        a[j][0] = to_tf32(*reinterpret_cast<const float *>(near));
        a[j][1] = to_tf32(*reinterpret_cast<const float *>(near + 1024));
        a[j][2] = to_tf32(*reinterpret_cast<const float *>(far));
        a[j][3] = to_tf32(*reinterpret_cast<const float *>(far + 1024));
#else
        float2 near = *reinterpret_cast<const float2 *>(tiles + at + j * 1024);
        float2 far = *reinterpret_cast<const float2 *>(tiles + ((at ^ 64) + 512) + j * 1024); /* four k further */
        a[j][0] = to_tf32(near.x), a[j][1] = to_tf32(near.y);
        a[j][2] = to_tf32(far.x), a[j][3] = to_tf32(far.y);
#endif
    }
}

__device__ __forceinline__ void cluster_barrier()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

__device__ __forceinline__ float cluster_load(unsigned address, unsigned rank)
{
    unsigned there;
    float x;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(x) : "r"(there) : "memory");
    return x;
}

/* The four sums of an 8-column step of a fragment: rows m, m + ROW_STEP by columns n, n + 1. N is even but for ACROSS, M but
 * for ALONG. */
__device__ __forceinline__ void store_sums(float *d, int64 stride, int m, int n, int M, int N, float m0n0, float m0n1,
                                           float m1n0, float m1n1)
{
    if (m >= M || n >= N)
        return;
#ifdef ACROSS
    *reinterpret_cast<float2 *>(d + (int64)n * stride + m) = make_float2(m0n0, m1n0);
    if (n + 1 < N)
        *reinterpret_cast<float2 *>(d + (int64)(n + 1) * stride + m) = make_float2(m0n1, m1n1);
#else
    *reinterpret_cast<float2 *>(d + (int64)m * stride + n) = make_float2(m0n0, m0n1);
    if (m + ROW_STEP < M)
        *reinterpret_cast<float2 *>(d + (int64)(m + ROW_STEP) * stride + n) = make_float2(m1n0, m1n1);
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
#if SPLIT > 1
    __cluster_dims__(1, 1, SPLIT)
#endif
    gemm_tf32(const __grid_constant__ tensor_map map_a, const __grid_constant__ tensor_map map_b, float *d, int M, int N, int K,
              int64 stride)
{
    extern __shared__ char unaligned[];
    char *tiles = unaligned + (1024 - (shared_address(unaligned) & 1023) & 1023);
    unsigned tiles_at = shared_address(tiles), full = tiles_at + STAGES * STAGE_BYTES, empty = full + STAGES * 8;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    int tile_m = blockIdx.x * BM, tile_n = blockIdx.y * BN;
    int steps = (K + BK - 1) / BK, first = 0, last = steps;
#if SPLIT > 1
    first = (int)blockIdx.z * steps / SPLIT, last = ((int)blockIdx.z + 1) * steps / SPLIT;
#endif
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) {
            barrier_init(full + stage * 8, 1);
            barrier_init(empty + stage * 8, THREADS / 32);
        }
        barriers_made();
    }
    __syncthreads();
    int row = fragment_m(warp, lane);
    unsigned place = fragment_place(row, lane);
    float sum[PARTS][SUMS];
#pragma unroll
    for (int part = 0; part < PARTS; ++part)
#pragma unroll
        for (int i = 0; i < SUMS; ++i)
            sum[part][i] = 0.0f;
    /* The copy engine fills the stage that step `step` reads, when everybody has left it. */
    auto fetch = [&](int step, int stage) {
        unsigned to = tiles_at + stage * STAGE_BYTES, ready = full + stage * 8;
        barrier_expect(ready, STAGE_BYTES);
#pragma unroll
        for (int box = 0; box < BM / 32; ++box)
#ifdef ALONG
            copy_box(to + box * 4096, &map_a, step * BK, tile_m + box * 32, ready);
#else
            copy_box(to + box * 4096, &map_a, tile_m + box * 32, step * BK, ready);
#endif
        copy_box(to + A_BYTES, &map_b, step * BK, tile_n, ready);
    };
    if (threadIdx.x == 0)
        for (int stage = 0; stage < STAGES && first + stage < last; ++stage)
            fetch(first + stage, stage);
    __syncwarp();
    int stage = 0, before = STAGES - 1; /* of the step in hand; of the one before it */
    unsigned round = 0;                 /* parity of the stage's use */
    unsigned a[2][4][4];
    barrier_wait(full, 0);
    load_a(a[0], tiles, place);
    /* While the tensor cores are at one step, the stage of the step before is filled anew and the next step's fragments are
     * read. */
    auto one_step = [&](int step, unsigned(&now)[4][4], unsigned(&next)[4][4]) {
#pragma unroll
        for (int j = 0; j < 4; ++j) /* in their registers before the first product starts */
            asm volatile("" : "+r"(now[j][0]), "+r"(now[j][1]), "+r"(now[j][2]), "+r"(now[j][3])::"memory");
        uint64 b = tile_descriptor(tiles_at + stage * STAGE_BYTES + A_BYTES);
        products_start();
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int part = 0; part < PARTS; ++part)
                multiply_add(sum[part], now[j], b + j * 2 + part * (UNIT * 128 >> 4));
        products_commit();
        if (threadIdx.x == 0 && step > first && step - 1 + STAGES < last) {
            barrier_wait(empty + before * 8, stage == 0 ? round ^ 1 : round);
            fetch(step - 1 + STAGES, before);
        }
        __syncwarp();
        unsigned used = empty + stage * 8;
        before = stage;
        if (++stage == STAGES)
            stage = 0, round ^= 1;
        if (step + 1 < last) {
            barrier_wait(full + stage * 8, round);
            load_a(next, tiles, place + stage * STAGE_BYTES);
        }
        products_wait<0>();
        if (lane == 0)
            barrier_arrive(used);
    };
    int step = first;
    for (; step + 1 < last; step += 2) {
        one_step(step, a[0], a[1]);
        one_step(step + 1, a[1], a[0]);
    }
    if (step < last)
        one_step(step, a[0], a[1]);

    int m = tile_m + row, n = tile_n + (lane & 3) * 2;
#if SPLIT > 1
    /* Every block of the cluster lays its sums where the tiles were, and takes its share of the columns from all. */
    asm volatile("bar.sync 1, %0;" ::"n"(THREADS) : "memory");
    float *own = reinterpret_cast<float *>(tiles) + threadIdx.x;
#pragma unroll
    for (int part = 0; part < PARTS; ++part)
#pragma unroll
        for (int i = 0; i < SUMS; ++i)
            own[(part * SUMS + i) * THREADS] = sum[part][i];
    cluster_barrier();
    unsigned from = shared_address(own);
    for (int j = (int)blockIdx.z * (BN / 8) / SPLIT, end = ((int)blockIdx.z + 1) * (BN / 8) / SPLIT; j < end; ++j) {
        float total[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            total[i] = 0.0f;
#pragma unroll
            for (int rank = 0; rank < SPLIT; ++rank)
                total[i] += cluster_load(from + (j * 4 + i) * THREADS * 4, rank);
        }
        store_sums(d, stride, m, n + j * 8, M, N, total[0], total[1], total[2], total[3]);
    }
    cluster_barrier(); /* nobody leaves while others still read here */
#else
#pragma unroll
    for (int part = 0; part < PARTS; ++part)
#pragma unroll
        for (int j = 0; j < UNIT / 8; ++j)
            store_sums(d, stride, m, n + part * UNIT + j * 8, M, N, sum[part][j * 4], sum[part][j * 4 + 1],
                       sum[part][j * 4 + 2], sum[part][j * 4 + 3]);
#endif
}
