/* d (m, n) = op(a) · op(b) by cooperative matrices, bf16 with fp32 sums; as shaders/gemm.comp with the same push constants. Debian's
 * glslang does not know these extensions: gemm_matrices.spv is this file's, made by scripts/build-matrices.
 * A workgroup makes a tile of V0 × V1 of d from tiles of depth V2 that lie in shared memory as they lie in memory, V6 of them at a time
 * (1 or 2). A subgroup of 32 makes V3 × V4 matrices of 16 × 16 of it: V0 / 16 / V3 · V1 / 16 / V4 subgroups. V5, by bits: 0 a is (k, m),
 * 1 b is (n, k), 5 no tile hangs over an edge. m, n multiples of 16; strides, addresses and extents of 8. TYPES bit 2: d is bf16. */
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

const bool TRANSPOSE_A = (V5 & 1) != 0, TRANSPOSE_B = (V5 & 2) != 0, FULL = (V5 & 32) != 0;
/* Lines of a tile in shared memory and eights of a line; one eight more keeps the banks apart. */
const uint A_LINES = (V5 & 1) != 0 ? V2 : V0, A_EIGHTS = ((V5 & 1) != 0 ? V0 : V2) / 8;
const uint B_LINES = (V5 & 2) != 0 ? V1 : V2, B_EIGHTS = ((V5 & 2) != 0 ? V2 : V1) / 8;
const uint A_STRIDE = A_EIGHTS + 1, B_STRIDE = B_EIGHTS + 1;
const uint A_LOADS = V0 * V2 / 8 / THREADS, B_LOADS = V1 * V2 / 8 / THREADS;
const uint ACROSS = V1 / 16 / V4; /* subgroups */
const uint STAGE = A_LINES * A_STRIDE + B_LINES * B_STRIDE, B_TILE = A_LINES * A_STRIDE;
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

#define FETCH(k)                                                                                                       \
    [[unroll]] for (uint i = 0; i < A_LOADS; ++i)                                                                      \
    {                                                                                                                  \
        uint l = i * THREADS + own, line = l / A_EIGHTS, first = l % A_EIGHTS * 8;                                     \
        a_next[i] = TRANSPOSE_A ? fetch(push.a[0], (k) + line, k_end, SIZE(3), row + first, SIZE(0))                   \
                                : fetch(push.a[0], row + line, SIZE(0), SIZE(3), (k) + first, k_end);                  \
    }                                                                                                                  \
    [[unroll]] for (uint i = 0; i < B_LOADS; ++i)                                                                      \
    {                                                                                                                  \
        uint l = i * THREADS + own, line = l / B_EIGHTS, first = l % B_EIGHTS * 8;                                     \
        b_next[i] = TRANSPOSE_B ? fetch(push.a[1], column + line, SIZE(1), SIZE(4), (k) + first, k_end)                \
                                : fetch(push.a[1], (k) + line, k_end, SIZE(4), column + first, SIZE(1));               \
    }
#define STORE(stage)                                                                                                   \
    [[unroll]] for (uint i = 0; i < A_LOADS; ++i)                                                                      \
    {                                                                                                                  \
        uint l = i * THREADS + own;                                                                                    \
        tile[(stage) + l / A_EIGHTS * A_STRIDE + l % A_EIGHTS] = a_next[i];                                            \
    }                                                                                                                  \
    [[unroll]] for (uint i = 0; i < B_LOADS; ++i)                                                                      \
    {                                                                                                                  \
        uint l = i * THREADS + own;                                                                                    \
        tile[(stage) + B_TILE + l / B_EIGHTS * B_STRIDE + l % B_EIGHTS] = b_next[i];                                   \
    }

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
            [[unroll]] for (uint i = 0; i < V3; ++i) {
                uint m = part_row + i * 16;
                if (TRANSPOSE_A)
                    coopMatLoad(a[i], tile, stage + depth * A_STRIDE + m / 8, A_STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
                else
                    coopMatLoad(a[i], tile, stage + m * A_STRIDE + depth / 8, A_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
            }
            [[unroll]] for (uint j = 0; j < V4; ++j) {
                uint n = part_column + j * 16, from = stage + B_TILE;
                if (TRANSPOSE_B)
                    coopMatLoad(b, tile, from + n * B_STRIDE + depth / 8, B_STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
                else
                    coopMatLoad(b, tile, from + depth * B_STRIDE + n / 8, B_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
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
