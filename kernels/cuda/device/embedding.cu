/* Token embedding. Macros: C columns, VECTOR (divides C), TX the type of x and dx. The table and its gradient are fp32.
 * A token outside the vocabulary reads as zeros and gives no gradient: tokens are checked where they come from. */
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256) embedding(const int *tokens, const float *table, TX *x, int64 count, int vocab)
{
    int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (i >= count)
        return;
    int64 row = i / C;
    int column = (int)(i - row * C), token = tokens[row];
    pack<VECTOR> value = pack_zero<VECTOR>();
    if ((unsigned)token < (unsigned)vocab)
        value = load_pack<VECTOR>(table + (int64)token * C + column);
    store_pack(x + i, value);
}

#define LIST 256

/* One block of 256 threads a table row: finds the positions of its token in order and adds their gradients in that order.
 * No atomics: every row is written, and always with the same bits. */
extern "C" __global__ void __launch_bounds__(256) embedding_backward(const int *tokens, const TX *dx, float *dtable, int rows)
{
    __shared__ int list[LIST];
    __shared__ int warp_count[8];
    int token = blockIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    bool written = false;
    float *out = dtable + (int64)token * C;
    for (int base = 0; base < rows; base += LIST) {
        int position = base + (int)threadIdx.x;
        bool mine = position < rows && tokens[position] == token;
        if (!__syncthreads_or(mine))
            continue;
        unsigned votes = __ballot_sync(FULL_MASK, mine);
        if (lane == 0)
            warp_count[warp] = __popc(votes);
        __syncthreads();
        int before = 0, total = 0;
#pragma unroll
        for (int w = 0; w < 8; ++w) {
            before += w < warp ? warp_count[w] : 0;
            total += warp_count[w];
        }
        if (mine)
            list[before + __popc(votes & ((1u << lane) - 1u))] = position;
        __syncthreads();
        for (int column = threadIdx.x * VECTOR; column < C; column += 256 * VECTOR) {
            pack<VECTOR> sum = pack_zero<VECTOR>();
            if (written)
                sum = load_pack<VECTOR>(out + column);
            for (int entry = 0; entry < total; ++entry) {
                pack<VECTOR> g = load_pack<VECTOR>(dx + (int64)list[entry] * C + column);
#pragma unroll
                for (int k = 0; k < VECTOR; ++k)
                    sum.v[k] += g.v[k];
            }
            store_pack(out + column, sum);
        }
        written = true;
    }
    if (!written)
        for (int column = threadIdx.x * VECTOR; column < C; column += 256 * VECTOR)
            store_pack(out + column, pack_zero<VECTOR>());
}
