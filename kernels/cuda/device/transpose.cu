/* b (columns, rows) of a (rows, columns), fp32. For the tf32 products of Hopper, of whose operands one must lie along k:
 * dw = dyᵀ·x runs along the rows of both. */
#include "common.cuh"

#define SIDE 64

extern "C" __global__ void __launch_bounds__(256)
    transpose(const float *a, float *b, int rows, int columns, int64 stride, int64 stride_out)
{
    __shared__ float tile[SIDE][SIDE + 1];
    int row = blockIdx.x * SIDE, column = blockIdx.y * SIDE;
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
