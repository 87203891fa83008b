/* Two matrices turned over in one launch: b (columns, rows) of a (rows, columns), fp32, both with the same number of rows.
 * For the tf32 products of Hopper, whose tensor cores take operands along k only: dw = dyᵀ·x runs along the rows of both. */
#include "common.cuh"

#define SIDE 64

extern "C" __global__ void __launch_bounds__(256)
    transpose_pair(const float *a0, float *b0, int columns0, int64 stride0, const float *a1, float *b1, int columns1,
                   int64 stride1, int rows, int64 stride_out)
{
    __shared__ float tile[SIDE][SIDE + 1];
    int row_tiles = (rows + SIDE - 1) / SIDE, column_tile = blockIdx.x / row_tiles, row = blockIdx.x % row_tiles * SIDE;
    int own_tiles = (columns0 + SIDE - 1) / SIDE;
    bool second = column_tile >= own_tiles;
    const float *a = second ? a1 : a0;
    float *b = second ? b1 : b0;
    int columns = second ? columns1 : columns0, column = (second ? column_tile - own_tiles : column_tile) * SIDE;
    int64 stride = second ? stride1 : stride0;
    int across = threadIdx.x % SIDE, down = threadIdx.x / SIDE;
#pragma unroll
    for (int i = 0; i < SIDE; i += 256 / SIDE)
        if (row + down + i < rows && column + across < columns)
            tile[down + i][across] = a[(int64)(row + down + i) * stride + column + across];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < SIDE; i += 256 / SIDE)
        if (column + down + i < columns && row + across < rows)
            b[(int64)(column + down + i) * stride_out + row + across] = tile[across][down + i];
}
