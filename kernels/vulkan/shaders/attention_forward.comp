/* Causal attention, forward, after FlashAttention-2: a workgroup takes OWN queries of one head and walks the keys up to the diagonal,
 * WALK at a time, with a running maximum and sum. Operands qkv, table (or none), o, lse. Grid (batch · heads, tiles of queries). */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "attention.glsl"

shared vec4 q_tile[V2 * ((V1 + 3) / 4 + 1)];
shared vec4 k_tile[V3 * ((V1 + 3) / 4 + 1)];
shared vec4 v_tile[V3 * ((V1 + 3) / 4 + 1)];
shared float weights[V2 * (V3 + 1)];
shared float meeting[V2 * 17]; /* of the 16 invocations of a row */

void main()
{
    uint T = SIZE(0), tx = gl_LocalInvocationID.x % 16, ty = gl_LocalInvocationID.x / 16;
    uint first = (gl_NumWorkGroups.y - 1 - gl_WorkGroupID.y) * OWN; /* the longest walks start first */
    sequence = gl_WorkGroupID.x / HEADS;
    head = gl_WorkGroupID.x % HEADS;
    uint slice = head * D, width = HEADS * D;
    TILE(q_tile, OWN, QKV, first, SIZE(1), slice, true)
    float top[ROWS], sum[ROWS];
    vec4 outs[ROWS * PIECES];
    [[unroll]] for (uint r = 0; r < ROWS; ++r) {
        top[r] = -1e30;
        sum[r] = 0.0;
    }
    [[unroll]] for (uint i = 0; i < ROWS * PIECES; ++i)
        outs[i] = vec4(0.0);
    uint last = min(first + OWN, T) - 1;
    float scale = FLOAT(8);
    for (uint key = 0; key <= last; key += WALK) {
        barrier();
        TILE(k_tile, WALK, QKV, key, SIZE(1), width + slice, true)
        TILE(v_tile, WALK, QKV, key, SIZE(1), 2 * width + slice, false)
        barrier();
        float s[ROWS * COLUMNS];
        [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i)
            s[i] = 0.0;
        for (uint four = 0; four < FOURS; ++four) {
            vec4 q[ROWS];
            [[unroll]] for (uint r = 0; r < ROWS; ++r)
                q[r] = q_tile[(ty * ROWS + r) * STRIDE + four];
            [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
                vec4 k = k_tile[min(tx + 16 * c, WALK - 1) * STRIDE + four];
                [[unroll]] for (uint r = 0; r < ROWS; ++r)
                    s[r * COLUMNS + c] += dot(q[r], k);
            }
        }
        [[unroll]] for (uint r = 0; r < ROWS; ++r) {
            uint row = ty * ROWS + r;
            float highest = -1e30;
            [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
                bool seen = tx + 16 * c < WALK && key + tx + 16 * c <= first + row;
                s[r * COLUMNS + c] = seen ? s[r * COLUMNS + c] * scale : -2e30;
                highest = max(highest, s[r * COLUMNS + c]);
            }
            meeting[row * 17 + tx] = highest;
        }
        barrier();
        [[unroll]] for (uint r = 0; r < ROWS; ++r) {
            uint row = ty * ROWS + r;
            float highest = top[r];
            for (uint i = 0; i < 16; ++i)
                highest = max(highest, meeting[row * 17 + i]);
            float shrink = exact_exp(top[r] - highest), added = 0.0;
            top[r] = highest;
            [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
                float p = s[r * COLUMNS + c] > -1.5e30 ? exact_exp(s[r * COLUMNS + c] - highest) : 0.0;
                added += p;
                if (tx + 16 * c < WALK)
                    weights[row * (WALK + 1) + tx + 16 * c] = p;
            }
            sum[r] = sum[r] * shrink + added;
            [[unroll]] for (uint piece = 0; piece < PIECES; ++piece)
                outs[r * PIECES + piece] *= shrink;
        }
        barrier();
        for (uint i = 0; i < WALK; ++i) {
            vec4 v[PIECES];
            [[unroll]] for (uint piece = 0; piece < PIECES; ++piece)
                v[piece] = v_tile[i * STRIDE + min(tx + 16 * piece, FOURS - 1)];
            [[unroll]] for (uint r = 0; r < ROWS; ++r) {
                float p = weights[(ty * ROWS + r) * (WALK + 1) + i];
                [[unroll]] for (uint piece = 0; piece < PIECES; ++piece)
                    outs[r * PIECES + piece] = fma(vec4(p), v[piece], outs[r * PIECES + piece]);
            }
        }
    }
    barrier();
    [[unroll]] for (uint r = 0; r < ROWS; ++r)
        meeting[(ty * ROWS + r) * 17 + tx] = sum[r];
    barrier();
    [[unroll]] for (uint r = 0; r < ROWS; ++r) {
        uint t = first + ty * ROWS + r;
        float total = 0.0;
        for (uint i = 0; i < 16; ++i)
            total += meeting[(ty * ROWS + r) * 17 + i];
        if (t >= T)
            continue;
        if (tx == 0)
            store1(push.a[LSE], gl_WorkGroupID.x * T + t, top[r] + exact_log(total), false);
        [[unroll]] for (uint piece = 0; piece < PIECES; ++piece)
            if (tx + 16 * piece < FOURS)
                put(OUT, t, SIZE(2), slice, tx + 16 * piece, outs[r * PIECES + piece] / total, false);
    }
}
