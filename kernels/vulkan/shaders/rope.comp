/* Pairs (2j, 2j + 1) of each head turned by their position's angle, or turned back where V0 is 1. V1: columns, V2: of a head.
 * Operands x, table (context, V2/2, 2), y. SIZE(0): pairs in all; SIZE(1): context; SIZE(2), SIZE(3): row strides of x and y. */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

void main()
{
    uint i = group_index() * THREADS + gl_LocalInvocationID.x;
    if (i >= SIZE(0))
        return;
    uint row = i / (V1 / 2), pair = i - row * (V1 / 2), position = row % SIZE(1), j = pair % (V2 / 2);
    uint from = row * SIZE(2) + 2 * pair, to = row * SIZE(3) + 2 * pair, turn = (position * (V2 / 2) + j) * 2;
    float c = load1(push.a[1], turn, false), s = load1(push.a[1], turn + 1, false);
    if (V0 == 1)
        s = -s;
    float even = load1(push.a[0], from, IS_BF16(0)), odd = load1(push.a[0], from + 1, IS_BF16(0));
    store1(push.a[2], to, even * c - odd * s, IS_BF16(2));
    store1(push.a[2], to + 1, even * s + odd * c, IS_BF16(2));
}
