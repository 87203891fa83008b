/* RoPE: in each head the pair (2j, 2j+1) of row t turns by the angle of table[t][j] = (cos, sin). Macros: C columns, D head
 * size, TX in, TY out; BACKWARD turns back. Row strides in elements; row r stands at position t = r mod T. */
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256)
    rope(const TX *x, const float *table, TY *y, int64 pairs, int context, int64 stride_x, int64 stride_y)
{
    int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pairs)
        return;
    int64 row = i / (C / 2);
    int pair = (int)(i - row * (C / 2)), j = pair % (D / 2), t = (int)(row % context);
    float2 turn = reinterpret_cast<const float2 *>(table)[(int64)t * (D / 2) + j];
#ifdef BACKWARD
    turn.y = -turn.y;
#endif
    float a = to_float(x[row * stride_x + 2 * pair]), b = to_float(x[row * stride_x + 2 * pair + 1]);
    pack<1> first, second;
    first.v[0] = a * turn.x - b * turn.y;
    second.v[0] = a * turn.y + b * turn.x;
    store_pack(y + row * stride_y + 2 * pair, first);
    store_pack(y + row * stride_y + 2 * pair + 1, second);
}
