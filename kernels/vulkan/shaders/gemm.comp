/* d (m, n) = alpha · op(a) · op(b), row-major. A workgroup makes a tile of V0 × V1 of d from tiles of depth V2 in shared memory, an
 * invocation 4·V3 rows by 4·V4 columns of it in registers; the next tiles are on their way while one is worked on.
 * V5, by bits: 0 a is (k, m), 1 b is (n, k); 2, 3, 4 accesses of four for a, b, d; 5 no tile hangs over an edge.
 * SIZE(0…5): m, n, k, lda, ldb, ldd. d[6]: k of a split, d[7]: heads, d[8]: alpha, d[9]: splits, each of which writes a matrix of
 * its own, a[6].x elements apart. Grid: columns, rows, (batch · heads) · splits. a[0…2]: operands; a[3…5]: their elements from batch
 * to batch and from head to head. */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

#define TALL V0
#define WIDE V1
#define DEEP V2
const bool TRANSPOSE_A = (V5 & 1) != 0, TRANSPOSE_B = (V5 & 2) != 0, FULL = (V5 & 32) != 0;
const bool VECTOR_A = (V5 & 4) != 0, VECTOR_B = (V5 & 8) != 0, VECTOR_D = (V5 & 16) != 0;
const uint A_STRIDE = V0 / 4 + 1, B_STRIDE = V1 / 4 + 1; /* of four floats */
const uint A_LOADS = V0 * V2 / 4 / THREADS, B_LOADS = V1 * V2 / 4 / THREADS;
const uint ACROSS = V1 / (4 * V4);

shared vec4 a_tile[V2 * (V0 / 4 + 1)];
shared vec4 b_tile[V2 * (V1 / 4 + 1)];

/* Four values along the operand's rows, 0 outside: `line` of `lines`, elements `first` of `extent` on. */
vec4 fetch(uint operand, bool vector, uint base, uint line, uint lines, uint stride, uint first, uint extent)
{
    uint at = base + line * stride + first;
    if (!FULL && line >= lines)
        return vec4(0.0);
    if (vector) {
        if (!FULL && first >= extent)
            return vec4(0.0);
        return load4(push.a[operand], at, IS_BF16(operand));
    }
    vec4 value = vec4(0.0);
    [[unroll]] for (uint i = 0; i < 4; ++i)
        if (first + i < extent)
            value[i] = load1(push.a[operand], at + i, IS_BF16(operand));
    return value;
}

void main()
{
    uint own = gl_LocalInvocationID.x, tx = own % ACROSS, ty = own / ACROSS;
    uint row = gl_WorkGroupID.y * TALL, column = gl_WorkGroupID.x * WIDE;
    uint split = gl_WorkGroupID.z % push.d[9], batch = gl_WorkGroupID.z / push.d[9];
    uint head = batch % push.d[7];
    batch /= push.d[7];
    uint a_base = batch * push.a[3].x + head * push.a[3].y, b_base = batch * push.a[4].x + head * push.a[4].y;
    uint k = split * push.d[6], k_end = min(k + push.d[6], SIZE(2));
    vec4 a_next[A_LOADS], b_next[B_LOADS], sum[4 * V3 * V4];
    [[unroll]] for (uint i = 0; i < 4 * V3 * V4; ++i)
        sum[i] = vec4(0.0);

#define FETCH(k)                                                                                                       \
    [[unroll]] for (uint i = 0; i < A_LOADS; ++i)                                                                      \
    {                                                                                                                  \
        uint l = i * THREADS + own;                                                                                    \
        a_next[i] = TRANSPOSE_A ? fetch(0, VECTOR_A, a_base, k + l / (TALL / 4), k_end, SIZE(3),                       \
                                        row + l % (TALL / 4) * 4, SIZE(0))                                             \
                                : fetch(0, VECTOR_A, a_base, row + l / (DEEP / 4), SIZE(0), SIZE(3),                   \
                                        k + l % (DEEP / 4) * 4, k_end);                                                \
    }                                                                                                                  \
    [[unroll]] for (uint i = 0; i < B_LOADS; ++i)                                                                      \
    {                                                                                                                  \
        uint l = i * THREADS + own;                                                                                    \
        b_next[i] = TRANSPOSE_B ? fetch(1, VECTOR_B, b_base, column + l / (DEEP / 4), SIZE(1), SIZE(4),                \
                                        k + l % (DEEP / 4) * 4, k_end)                                                 \
                                : fetch(1, VECTOR_B, b_base, k + l / (WIDE / 4), k_end, SIZE(4),                       \
                                        column + l % (WIDE / 4) * 4, SIZE(1));                                         \
    }

    FETCH(k)
    for (; k < k_end; k += DEEP) {
        barrier();
        [[unroll]] for (uint i = 0; i < A_LOADS; ++i) {
            uint l = i * THREADS + own;
            if (TRANSPOSE_A) {
                a_tile[l / (TALL / 4) * A_STRIDE + l % (TALL / 4)] = a_next[i];
            } else {
                uint line = l / (DEEP / 4), depth = l % (DEEP / 4) * 4;
                [[unroll]] for (uint c = 0; c < 4; ++c)
                    a_tile[(depth + c) * A_STRIDE + line / 4][line % 4] = a_next[i][c];
            }
        }
        [[unroll]] for (uint i = 0; i < B_LOADS; ++i) {
            uint l = i * THREADS + own;
            if (!TRANSPOSE_B) {
                b_tile[l / (WIDE / 4) * B_STRIDE + l % (WIDE / 4)] = b_next[i];
            } else {
                uint line = l / (DEEP / 4), depth = l % (DEEP / 4) * 4;
                [[unroll]] for (uint c = 0; c < 4; ++c)
                    b_tile[(depth + c) * B_STRIDE + line / 4][line % 4] = b_next[i][c];
            }
        }
        barrier();
        if (k + DEEP < k_end) {
            FETCH(k + DEEP)
        }
        [[unroll]] for (uint depth = 0; depth < DEEP; ++depth) {
            vec4 a[V3], b[V4];
            [[unroll]] for (uint i = 0; i < V3; ++i)
                a[i] = a_tile[depth * A_STRIDE + i * (TALL / 4 / V3) + ty];
            [[unroll]] for (uint j = 0; j < V4; ++j)
                b[j] = b_tile[depth * B_STRIDE + j * (WIDE / 4 / V4) + tx];
            [[unroll]] for (uint i = 0; i < V3; ++i)
                [[unroll]] for (uint c = 0; c < 4; ++c)
                    [[unroll]] for (uint j = 0; j < V4; ++j)
                        sum[(i * 4 + c) * V4 + j] = fma(vec4(a[i][c]), b[j], sum[(i * 4 + c) * V4 + j]);
        }
    }

    uint base = batch * push.a[5].x + head * push.a[5].y + split * push.a[6].x;
    float alpha = FLOAT(8);
    [[unroll]] for (uint i = 0; i < V3; ++i)
        [[unroll]] for (uint c = 0; c < 4; ++c) {
            uint line = row + i * (TALL / V3) + ty * 4 + c;
            [[unroll]] for (uint j = 0; j < V4; ++j) {
                uint first = column + j * (WIDE / V4) + tx * 4, at = base + line * SIZE(5) + first;
                vec4 value = sum[(i * 4 + c) * V4 + j] * alpha;
                if (!FULL && line >= SIZE(0))
                    continue;
                if (VECTOR_D) {
                    if (FULL || first < SIZE(1))
                        store4(push.a[2], at, value, IS_BF16(2));
                } else {
                    [[unroll]] for (uint e = 0; e < 4; ++e)
                        if (first + e < SIZE(1))
                            store1(push.a[2], at + e, value[e], IS_BF16(2));
                }
            }
        }
}
