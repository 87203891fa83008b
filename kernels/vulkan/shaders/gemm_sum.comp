/* The splits of a product added up in their order: operands parts (SIZE(3) of SIZE(0) elements, packed), d. V1: elements an
 * invocation, 1 or 4, which divides a row. SIZE(1): columns; SIZE(2): ldd. */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

void main()
{
    uint i = (group_index() * THREADS + gl_LocalInvocationID.x) * V1;
    if (i >= SIZE(0))
        return;
    uint row = i / SIZE(1), to = row * SIZE(2) + (i - row * SIZE(1));
    if (V1 == 4) {
        vec4 sum = vec4(0.0);
        for (uint part = 0; part < SIZE(3); ++part)
            sum += load4(push.a[0], part * SIZE(0) + i, false);
        store4(push.a[1], to, sum, IS_BF16(1));
    } else {
        float sum = 0.0;
        for (uint part = 0; part < SIZE(3); ++part)
            sum += load1(push.a[0], part * SIZE(0) + i, false);
        store1(push.a[1], to, sum, IS_BF16(1));
    }
}
