/* RoPE: in each head the pair (2j, 2j+1) of row t turns by the angle of table[t][j] = (cos, sin). Macros: C columns, D head
 * size, TX in, TY out; PAIRS a thread, a divisor of D/2, whose elements' addresses are multiples of their size together; APART reads
 * and writes single elements; BACKWARD turns back. Row strides in elements; row r stands at position t = r mod T; x and y may be the same. */
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256)
    rope(const TX *x, const float *table, TY *y, int64 groups, int context, int64 stride_x, int64 stride_y)
{
    int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= groups)
        return;
    int64 row = i / (C / 2 / PAIRS);
    int pair = (int)(i - row * (C / 2 / PAIRS)) * PAIRS, j = pair % (D / 2), t = (int)(row % context);
    pack<2 * PAIRS> turn = load_pack<2 * PAIRS>(table + 2 * ((int64)t * (D / 2) + j));
    x += row * stride_x + 2 * pair;
    y += row * stride_y + 2 * pair;
#ifdef APART
    pack<2> values;
    values.v[0] = to_float(x[0]), values.v[1] = to_float(x[1]);
#else
    pack<2 * PAIRS> values = load_pack<2 * PAIRS>(x);
#endif
#pragma unroll
    for (int k = 0; k < 2 * PAIRS; k += 2) {
#ifdef BACKWARD
        turn.v[k + 1] = -turn.v[k + 1];
#endif
        float a = values.v[k], b = values.v[k + 1];
        values.v[k] = a * turn.v[k] - b * turn.v[k + 1];
        values.v[k + 1] = a * turn.v[k + 1] + b * turn.v[k];
    }
#ifdef APART
    pack<1> first, second;
    first.v[0] = values.v[0], second.v[0] = values.v[1];
    store_pack(y, first);
    store_pack(y + 1, second);
#else
    store_pack(y, values);
#endif
}
