/* As gemm_matrices.comp, whose constants and operands it has, but tiles in shared memory always have lines along k: an operand whose lines run
 * along m or n is turned on its way there. Faster than matrices loaded from such lines at some shapes; made by scripts/build-matrices. */
#version 450
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_bfloat16 : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require

layout(local_size_x_id = 20) in;
layout(push_constant) uniform Push
{
    uvec2 a[8];
    uint d[16];
} push;
layout(constant_id = 0) const uint S0 = 0;
layout(constant_id = 1) const uint S1 = 0;
layout(constant_id = 2) const uint S2 = 0;
layout(constant_id = 3) const uint S3 = 0;
layout(constant_id = 4) const uint S4 = 0;
layout(constant_id = 5) const uint S5 = 0;
#define SIZE(i) (S##i != 0 ? S##i : push.d[i])
layout(constant_id = 12) const uint V0 = 128;
layout(constant_id = 13) const uint V1 = 128;
layout(constant_id = 14) const uint V2 = 32;
layout(constant_id = 15) const uint V3 = 4;
layout(constant_id = 16) const uint V4 = 2;
layout(constant_id = 17) const uint V5 = 0;
layout(constant_id = 18) const uint V6 = 1;
layout(constant_id = 19) const uint TYPES = 0;
layout(constant_id = 20) const uint THREADS = 256;

layout(buffer_reference, std430, buffer_reference_align = 16) buffer Eights { uvec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Floats4 { vec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer Halves4 { uvec2 v[]; };

const bool FULL = (V5 & 32) != 0;
const bool TURN_A = (V5 & 1) != 0, TURN_B = (V5 & 2) == 0;
/* Eights of a line of a tile in shared memory; one more keeps the banks apart. */
const uint EIGHTS = V2 / 8, STRIDE = V2 / 8 + 1;
/* Eights that an invocation loads. Where it turns them, LINES of them lie below each other and become pieces of eight lines. */
const uint A_LOADS = V0 * V2 / 8 / THREADS, B_LOADS = V1 * V2 / 8 / THREADS;
const uint A_LINES = A_LOADS < 8 ? A_LOADS : 8, B_LINES = B_LOADS < 8 ? B_LOADS : 8;
const uint ACROSS = V1 / 16 / V4; /* subgroups */
const uint STAGE = (V0 + V1) * STRIDE, B_TILE = V0 * STRIDE;
/* A subgroup's 16 × 16 of d, in lines of 20 floats, take the same memory at the end. */
const uint OUT = 16 * 5, OUT_ALL = THREADS / 32 * OUT;

shared uvec4 tile[V6 * STAGE > OUT_ALL ? V6 * STAGE : OUT_ALL];

uvec4 fetch(uvec2 address, uint line, uint lines, uint stride, uint first, uint extent)
{
    if (!FULL && (line >= lines || first >= extent))
        return uvec4(0);
    return Eights(address).v[(line * stride + first) / 8];
}

uint bf16_pair(float x, float y)
{
    uvec2 bits = floatBitsToUint(vec2(x, y));
    bits += 0x7fffu + (bits >> 16 & 1u);
    return bits.x >> 16 | bits.y & 0xffff0000u;
}

/* Column c of two lines of eight columns, of which x and y hold the word with it. */
uint pair(uint x, uint y, uint c)
{
    return (c & 1u) == 0 ? x & 0xffffu | y << 16 : x >> 16 | y & 0xffff0000u;
}

void main()
{
    uint own = gl_LocalInvocationID.x, lane = gl_SubgroupInvocationID, part = gl_SubgroupID;
    uint row = gl_WorkGroupID.y * V0, column = gl_WorkGroupID.x * V1, split = gl_WorkGroupID.z;
    uint k = split * push.d[6], k_end = min(k + push.d[6], SIZE(2));
    uint part_row = part / ACROSS * (V3 * 16), part_column = part % ACROSS * (V4 * 16);
    coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator> sum[V3 * V4];
    [[unroll]] for (uint i = 0; i < V3 * V4; ++i)
        sum[i] = coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>(0.0);
    uvec4 a_next[A_LOADS], b_next[B_LOADS];

/* Operand `which`'s part of the tile at k into `next`: extents along its own side and k, its stride, and where the tile begins. */
#define FETCH_ONE(which, next, loads, lines, turn, side, side_end, stride, k)                                         \
    [[unroll]] for (uint i = 0; i < (loads); ++i)                                                                     \
    {                                                                                                                 \
        uint unit = i / (lines) * THREADS + own, below = V2 / (lines), l = i * THREADS + own;                         \
        next[i] = (turn) ? fetch(push.a[which], (k) + unit % below * (lines) + i % (lines), k_end, stride,            \
                                 (side) + unit / below * 8, side_end)                                                 \
                         : fetch(push.a[which], (side) + l / EIGHTS, side_end, stride, (k) + l % EIGHTS * 8, k_end);  \
    }
#define PAIR(next, i, c) pair(next[i][(c) / 2], next[(i) + 1][(c) / 2], c)
#define STORE_ONE(next, loads, lines, turn, from)                                                                     \
    if (turn) {                                                                                                       \
        [[unroll]] for (uint i = 0; i < (loads); i += (lines))                                                        \
        {                                                                                                             \
            uint unit = i / (lines) * THREADS + own, below = V2 / (lines), first = unit % below * (lines);            \
            uint at = (from) + unit / below * 8 * STRIDE + first / 8;                                                 \
            [[unroll]] for (uint c = 0; c < 8; ++c)                                                                   \
            {                                                                                                         \
                if ((lines) == 8) {                                                                                   \
                    tile[at + c * STRIDE] = uvec4(PAIR(next, i, c), PAIR(next, i + 2, c), PAIR(next, i + 4, c),       \
                                                  PAIR(next, i + 6, c));                                              \
                } else {                                                                                              \
                    [[unroll]] for (uint two = 0; two < (lines); two += 2)                                            \
                        tile[at + c * STRIDE][(first + two) / 2 % 4] = PAIR(next, i + two, c);                        \
                }                                                                                                     \
            }                                                                                                         \
        }                                                                                                             \
    } else {                                                                                                          \
        [[unroll]] for (uint i = 0; i < (loads); ++i)                                                                 \
        {                                                                                                             \
            uint l = i * THREADS + own;                                                                               \
            tile[(from) + l / EIGHTS * STRIDE + l % EIGHTS] = next[i];                                                \
        }                                                                                                             \
    }
#define FETCH(k)                                                                                                      \
    FETCH_ONE(0, a_next, A_LOADS, A_LINES, TURN_A, row, SIZE(0), SIZE(3), k)                                          \
    FETCH_ONE(1, b_next, B_LOADS, B_LINES, TURN_B, column, SIZE(1), SIZE(4), k)
#define STORE(stage)                                                                                                  \
    STORE_ONE(a_next, A_LOADS, A_LINES, TURN_A, stage)                                                                \
    STORE_ONE(b_next, B_LOADS, B_LINES, TURN_B, (stage) + B_TILE)

    uint stage = 0;
    FETCH(k)
    STORE(stage)
    barrier();
    for (;;) {
        k += V2;
        if (k < k_end) {
            FETCH(k)
        }
        [[unroll]] for (uint depth = 0; depth < V2; depth += 16) {
            coopmat<bfloat16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA> a[V3];
            coopmat<bfloat16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB> b;
            [[unroll]] for (uint i = 0; i < V3; ++i)
                coopMatLoad(a[i], tile, stage + (part_row + i * 16) * STRIDE + depth / 8, STRIDE, gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint j = 0; j < V4; ++j) {
                coopMatLoad(b, tile, stage + B_TILE + (part_column + j * 16) * STRIDE + depth / 8, STRIDE,
                            gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint i = 0; i < V3; ++i)
                    sum[i * V4 + j] = coopMatMulAdd(a[i], b, sum[i * V4 + j]);
            }
        }
        if (k >= k_end)
            break;
        if (V6 == 1)
            barrier();
        else
            stage = STAGE - stage;
        STORE(stage)
        barrier();
    }

    barrier();
    uint base = split * push.a[6].x;
    [[unroll]] for (uint i = 0; i < V3; ++i)
        [[unroll]] for (uint j = 0; j < V4; ++j) {
            uint m = row + part_row + i * 16, n = column + part_column + j * 16;
            coopMatStore(sum[i * V4 + j], tile, part * OUT, 5, gl_CooperativeMatrixLayoutRowMajor);
            subgroupBarrier();
            if (FULL || (m < SIZE(0) && n < SIZE(1)))
                [[unroll]] for (uint piece = 0; piece < 2; ++piece) {
                    uint line = piece * 8 + lane / 4, four = lane % 4;
                    vec4 x = uintBitsToFloat(tile[part * OUT + line * 5 + four]);
                    uint at = (base + (m + line) * SIZE(5) + n) / 4 + four;
                    if ((TYPES & 4u) != 0)
                        Halves4(push.a[2]).v[at] = uvec2(bf16_pair(x.x, x.y), bf16_pair(x.z, x.w));
                    else
                        Floats4(push.a[2]).v[at] = x;
                }
            subgroupBarrier();
        }
}
