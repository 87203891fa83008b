/* RMSNorm, y = x·rstd·w with rstd = 1/√(mean x² + ε), a row a workgroup. V0: 0 forward, 1 with the residual joined before (z = x + r),
 * 2 the gradient, 3 the last sum of dw. V1: elements an access, 1 or 4; V2: columns C, which V1 divides. SIZE(0): rows, or
 * for the last sum the parts. d[8]: ε.
 * Forward: operands x, r, w, z, y, rstd. Gradient: dy, x, w, rstd, dres, dx, dx16, partial: dx = rstd·(w·dy − x·rstd²·mean(w·dy·x))
 * [+ dres]; a workgroup takes every gl_NumWorkGroups-th row and leaves its share of dw = Σ dy·x·rstd in partial[workgroup].
 * Last sum: operands partial, dw. */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

#define C V2
const uint ITEMS = (V2 + THREADS * V1 - 1) / (THREADS * V1);

vec4 get(uint operand, uint i)
{
    if (V1 == 4)
        return load4(push.a[operand], i, IS_BF16(operand));
    return vec4(load1(push.a[operand], i, IS_BF16(operand)), 0.0, 0.0, 0.0);
}

void put(uint operand, uint i, vec4 value)
{
    if (V1 == 4)
        store4(push.a[operand], i, value, IS_BF16(operand));
    else
        store1(push.a[operand], i, value.x, IS_BF16(operand));
}

void forward()
{
    uint row = group_index(), start = row * C;
    if (row >= SIZE(0))
        return;
    vec4 value[ITEMS];
    float squares = 0.0;
    [[unroll]] for (uint item = 0; item < ITEMS; ++item) {
        uint column = (item * THREADS + gl_LocalInvocationID.x) * V1;
        value[item] = vec4(0.0);
        if (column < C) {
            value[item] = get(0, start + column);
            if (V0 == 1) {
                value[item] += get(1, start + column);
                put(3, start + column, value[item]);
            }
        }
        squares += dot(value[item], value[item]);
    }
    float scale = 1.0 / sqrt(group_sum(squares) / float(C) + FLOAT(8));
    if (gl_LocalInvocationID.x == 0)
        store1(push.a[5], row, scale, false);
    [[unroll]] for (uint item = 0; item < ITEMS; ++item) {
        uint column = (item * THREADS + gl_LocalInvocationID.x) * V1;
        if (column < C)
            put(4, start + column, value[item] * (scale * get(2, column)));
    }
}

void gradient()
{
    vec4 dw[ITEMS];
    [[unroll]] for (uint item = 0; item < ITEMS; ++item)
        dw[item] = vec4(0.0);
    for (uint row = gl_WorkGroupID.x; row < SIZE(0); row += gl_NumWorkGroups.x) {
        uint start = row * C;
        vec4 g[ITEMS], x[ITEMS];
        float scale = load1(push.a[3], row, false), product = 0.0;
        [[unroll]] for (uint item = 0; item < ITEMS; ++item) {
            uint column = (item * THREADS + gl_LocalInvocationID.x) * V1;
            g[item] = x[item] = vec4(0.0);
            if (column < C) {
                g[item] = get(0, start + column);
                x[item] = get(1, start + column);
                dw[item] += g[item] * x[item] * scale;
                g[item] *= get(2, column);
            }
            product += dot(g[item], x[item]);
        }
        float shift = group_sum(product) / float(C) * scale * scale;
        [[unroll]] for (uint item = 0; item < ITEMS; ++item) {
            uint column = (item * THREADS + gl_LocalInvocationID.x) * V1;
            if (column < C) {
                vec4 dx = scale * (g[item] - x[item] * shift);
                if (given(push.a[4]))
                    dx += get(4, start + column);
                put(5, start + column, dx);
                if (given(push.a[6]))
                    put(6, start + column, dx);
            }
        }
    }
    [[unroll]] for (uint item = 0; item < ITEMS; ++item) {
        uint column = (item * THREADS + gl_LocalInvocationID.x) * V1;
        if (column < C)
            put(7, gl_WorkGroupID.x * C + column, dw[item]);
    }
}

void last_sum()
{
    uint column = group_index() * THREADS + gl_LocalInvocationID.x;
    if (column >= C)
        return;
    float total = 0.0;
    for (uint part = 0; part < SIZE(0); ++part)
        total += load1(push.a[0], part * C + column, false);
    store1(push.a[1], column, total, false);
}

void main()
{
    if (V0 < 2)
        forward();
    else if (V0 == 2)
        gradient();
    else
        last_sum();
}
