/* One element of the output, or four, an invocation. V0: which operation; V1: elements an invocation, 1 or 4, which divides SIZE(0)
 * and F; V2: how many of them, for copies alone. SIZE(0): elements; SIZE(1): F, the width of a half of h. Operands 0 and 1 in, 2 and 3 out. */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

#define CAST 0
#define ADD 1
#define MUL 2
#define SILU 3
#define SILU_BACKWARD 4
#define SWIGLU 5
#define SWIGLU_BACKWARD 6
#define FILL 7 /* with numbers from (-1, 1), for timing */
#define COPY 8

vec4 sigmoid(vec4 x)
{
    return 1.0 / (1.0 + vec4(exact_exp(-x.x), exact_exp(-x.y), exact_exp(-x.z), exact_exp(-x.w)));
}

vec4 get(uint operand, uint i)
{
    if (V1 == 4)
        return load4(push.a[operand], i, IS_BF16(operand));
    return vec4(load1(push.a[operand], i, IS_BF16(operand)));
}

void put(uint operand, uint i, vec4 value)
{
    if (V1 == 4)
        store4(push.a[operand], i, value, IS_BF16(operand));
    else
        store1(push.a[operand], i, value.x, IS_BF16(operand));
}

uint mixed(uint x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* All loads before the first store: no compiler may move them over it, for the addresses might be the same. */
void copy()
{
    uint first = (group_index() * V2 * THREADS + gl_LocalInvocationID.x) * V1;
    vec4 values[V2];
    [[unroll]] for (uint piece = 0; piece < V2; ++piece)
        if (first + piece * THREADS * V1 < SIZE(0))
            values[piece] = get(0, first + piece * THREADS * V1);
    [[unroll]] for (uint piece = 0; piece < V2; ++piece)
        if (first + piece * THREADS * V1 < SIZE(0))
            put(2, first + piece * THREADS * V1, values[piece]);
}

void main()
{
    if (V0 == COPY) {
        copy();
        return;
    }
    uint i = (group_index() * THREADS + gl_LocalInvocationID.x) * V1;
    if (i >= SIZE(0))
        return;
    if (V0 == FILL) {
        put(2, i, vec4(mixed(i), mixed(i + 1), mixed(i + 2), mixed(i + 3)) * (2.0 / 4294967296.0) - 1.0);
    } else if (V0 == SWIGLU || V0 == SWIGLU_BACKWARD) {
        uint F = SIZE(1), row = i / F, column = i - row * F, wide = row * 2 * F + column;
        uint h = V0 == SWIGLU ? 0 : 1;
        vec4 a = get(h, wide), b = get(h, wide + F), s = sigmoid(a);
        if (V0 == SWIGLU) {
            put(2, i, a * s * b);
        } else {
            vec4 dy = get(0, i);
            put(2, wide, dy * b * s * (1.0 + a * (1.0 - s)));
            put(2, wide + F, dy * a * s);
            if (given(push.a[3]))
                put(3, i, a * s * b);
        }
    } else {
        vec4 x = get(0, i);
        if (V0 == ADD) {
            x += get(1, i);
        } else if (V0 == MUL) {
            x *= get(1, i);
        } else if (V0 == SILU) {
            x *= sigmoid(x);
        } else if (V0 == SILU_BACKWARD) {
            vec4 at = get(1, i), s = sigmoid(at);
            x *= s * (1.0 + at * (1.0 - s));
        }
        put(2, i, x);
    }
}
