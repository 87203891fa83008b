/* Rows of (B, H, T, T), a workgroup each: V0 = 0 the causal softmax, zero beyond the diagonal; V0 = 1 its gradient,
 * ds = p·(dp − Σ dp·p). Operands s or dp, p, ds. SIZE(0): rows; SIZE(1): context. */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

void main()
{
    uint row = group_index(), T = SIZE(1), start = row * T, seen = row % T + 1, own = gl_LocalInvocationID.x;
    if (row >= SIZE(0))
        return;
    if (V0 == 0) {
        float top = -1e30, sum = 0.0;
        for (uint i = own; i < seen; i += THREADS)
            top = max(top, load1(push.a[0], start + i, IS_BF16(0)));
        top = group_max(top);
        for (uint i = own; i < seen; i += THREADS)
            sum += exact_exp(load1(push.a[0], start + i, IS_BF16(0)) - top);
        float share = 1.0 / group_sum(sum);
        for (uint i = own; i < T; i += THREADS)
            store1(push.a[1], start + i,
                   i < seen ? exact_exp(load1(push.a[0], start + i, IS_BF16(0)) - top) * share : 0.0, IS_BF16(1));
    } else {
        float product = 0.0;
        for (uint i = own; i < seen; i += THREADS)
            product += load1(push.a[0], start + i, IS_BF16(0)) * load1(push.a[1], start + i, IS_BF16(1));
        product = group_sum(product);
        for (uint i = own; i < T; i += THREADS)
            store1(push.a[2], start + i,
                   i < seen ? load1(push.a[1], start + i, IS_BF16(1)) * (load1(push.a[0], start + i, IS_BF16(0)) - product) : 0.0,
                   IS_BF16(2));
    }
}
