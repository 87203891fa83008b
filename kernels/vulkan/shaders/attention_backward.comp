/* Causal attention, backward. V0 = 0: δ = Σ do·o of each row and head, one an invocation. V0 = 1: probabilities are made again from
 * q, k and the kept log-sum; with P = exp(s·scale − lse):  dv = Pᵀ·do,  ds = P∘(do·vᵀ − δ)·scale,  dq = ds·k,  dk = dsᵀ·q. The even
 * workgroups of grid.y own OWN keys and walk the queries from the diagonal on (dk, dv), the odd ones own queries and walk the keys
 * up to it (dq): nothing is added atomically. Operands qkv, table (or none), do, lse, dqkv, delta, o. */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "attention.glsl"

#define DQKV 4
#define DELTA 5
#define O 6

shared vec4 own_first[V2 * ((V1 + 3) / 4 + 1)]; /* k or q, turned */
shared vec4 own_second[V2 * ((V1 + 3) / 4 + 1)]; /* v or do */
shared vec4 walk_first[V3 * ((V1 + 3) / 4 + 1)]; /* q or k */
shared vec4 walk_second[V3 * ((V1 + 3) / 4 + 1)]; /* do or v */
shared float weights[V2 * (V3 + 1)];   /* P */
shared float gradients[V2 * (V3 + 1)]; /* P∘(dp − δ) */
shared float row_lse[V2 + V3];
shared float row_delta[V2 + V3];

void delta()
{
    uint i = group_index() * 128 + gl_LocalInvocationID.x, T = SIZE(0);
    uint row = i / HEADS;
    head = i % HEADS;
    sequence = row / T;
    if (row >= push.d[9])
        return;
    float sum = 0.0;
    for (uint column = 0; column < D; ++column)
        sum += load1(push.a[OUT], row * SIZE(2) + head * D + column, IS_BF16(OUT)) *
               load1(push.a[O], row * push.d[10] + head * D + column, IS_BF16(O));
    store1(push.a[DELTA], (sequence * HEADS + head) * T + row % T, sum, false);
}

void gradient()
{
    uint T = SIZE(0), tx = gl_LocalInvocationID.x % 16, ty = gl_LocalInvocationID.x / 16, tiles = gl_NumWorkGroups.y / 2;
    bool keys = gl_WorkGroupID.y % 2 == 0;
    uint order = gl_WorkGroupID.y / 2, first = (keys ? order : tiles - 1 - order) * OWN;
    sequence = gl_WorkGroupID.x / HEADS;
    head = gl_WorkGroupID.x % HEADS;
    uint slice = head * D, width = HEADS * D;
    TILE(own_first, OWN, QKV, first, SIZE(1), (keys ? width : 0) + slice, true)
    if (keys) {
        TILE(own_second, OWN, QKV, first, SIZE(1), 2 * width + slice, false)
    } else {
        TILE(own_second, OWN, OUT, first, SIZE(2), slice, false)
        for (uint i = gl_LocalInvocationID.x; i < OWN; i += 128) {
            bool there = first + i < T;
            row_lse[i] = there ? load1(push.a[LSE], gl_WorkGroupID.x * T + first + i, false) : 0.0;
            row_delta[i] = there ? load1(push.a[DELTA], gl_WorkGroupID.x * T + first + i, false) : 0.0;
        }
    }
    vec4 first_sum[ROWS * PIECES], second_sum[ROWS * PIECES]; /* dk or dq; dv */
    [[unroll]] for (uint i = 0; i < ROWS * PIECES; ++i)
        first_sum[i] = second_sum[i] = vec4(0.0);
    float scale = FLOAT(8);
    uint from = keys ? first : 0, to = keys ? T : min(first + OWN, T);
    for (uint at = from; at < to; at += WALK) {
        barrier();
        TILE(walk_first, WALK, QKV, at, SIZE(1), (keys ? 0 : width) + slice, true)
        if (keys) {
            TILE(walk_second, WALK, OUT, at, SIZE(2), slice, false)
            for (uint i = gl_LocalInvocationID.x; i < WALK; i += 128) {
                bool there = at + i < T;
                row_lse[OWN + i] = there ? load1(push.a[LSE], gl_WorkGroupID.x * T + at + i, false) : 0.0;
                row_delta[OWN + i] = there ? load1(push.a[DELTA], gl_WorkGroupID.x * T + at + i, false) : 0.0;
            }
        } else {
            TILE(walk_second, WALK, QKV, at, SIZE(1), 2 * width + slice, false)
        }
        barrier();
        float s[ROWS * COLUMNS], dp[ROWS * COLUMNS];
        [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i)
            s[i] = dp[i] = 0.0;
        for (uint four = 0; four < FOURS; ++four) {
            vec4 a[ROWS], b[ROWS];
            [[unroll]] for (uint r = 0; r < ROWS; ++r) {
                a[r] = own_first[(ty * ROWS + r) * STRIDE + four];
                b[r] = own_second[(ty * ROWS + r) * STRIDE + four];
            }
            [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
                uint line = min(tx + 16 * c, WALK - 1) * STRIDE + four;
                vec4 x = walk_first[line], y = walk_second[line];
                [[unroll]] for (uint r = 0; r < ROWS; ++r) {
                    s[r * COLUMNS + c] += dot(a[r], x);
                    dp[r * COLUMNS + c] += dot(b[r], y);
                }
            }
        }
        [[unroll]] for (uint r = 0; r < ROWS; ++r)
            [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
                uint row = ty * ROWS + r, column = tx + 16 * c, sums = keys ? OWN + column : row;
                uint query = keys ? at + column : first + row, key = keys ? first + row : at + column;
                float p = 0.0, ds = 0.0;
                if (column < WALK && key <= query && query < T) {
                    p = exact_exp(s[r * COLUMNS + c] * scale - row_lse[sums]);
                    ds = p * (dp[r * COLUMNS + c] - row_delta[sums]);
                }
                if (column < WALK) {
                    weights[row * (WALK + 1) + column] = p;
                    gradients[row * (WALK + 1) + column] = ds;
                }
            }
        barrier();
        for (uint i = 0; i < WALK; ++i) {
            vec4 x[PIECES], y[PIECES];
            [[unroll]] for (uint piece = 0; piece < PIECES; ++piece) {
                uint four = i * STRIDE + min(tx + 16 * piece, FOURS - 1);
                x[piece] = walk_first[four];
                y[piece] = walk_second[four];
            }
            [[unroll]] for (uint r = 0; r < ROWS; ++r) {
                uint line = (ty * ROWS + r) * (WALK + 1) + i;
                [[unroll]] for (uint piece = 0; piece < PIECES; ++piece) {
                    first_sum[r * PIECES + piece] = fma(vec4(gradients[line]), x[piece], first_sum[r * PIECES + piece]);
                    if (keys)
                        second_sum[r * PIECES + piece] = fma(vec4(weights[line]), y[piece], second_sum[r * PIECES + piece]);
                }
            }
        }
    }
    [[unroll]] for (uint r = 0; r < ROWS; ++r) {
        uint t = first + ty * ROWS + r;
        if (t >= T)
            continue;
        [[unroll]] for (uint piece = 0; piece < PIECES; ++piece) {
            uint four = tx + 16 * piece;
            if (four >= FOURS)
                continue;
            put(DQKV, t, SIZE(3), (keys ? width : 0) + slice, four, first_sum[r * PIECES + piece] * scale, true);
            if (keys)
                put(DQKV, t, SIZE(3), 2 * width + slice, four, second_sum[r * PIECES + piece], false);
        }
    }
}

void main()
{
    if (V0 == 0)
        delta();
    else
        gradient();
}
