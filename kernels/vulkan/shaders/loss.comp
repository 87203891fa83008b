/* Cross entropy over rows of logits, a row a workgroup, always in fp32. V0: 0 loss and log-sum, 1 the gradient from a kept log-sum,
 * 2 both at once, the gradient in the logits' place, 3 the mean of the rows' losses by one workgroup. V1: elements an access, 1 or 4,
 * which divides the vocabulary SIZE(1); SIZE(0): rows; d[8]: 1/rows. Operands logits, targets, lse, row losses, gradient; for the
 * mean row losses (3) and the loss (0). */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

vec4 get(uint i)
{
    if (V1 == 4)
        return load4(push.a[0], i, IS_BF16(0));
    return vec4(load1(push.a[0], i, IS_BF16(0)), vec3(-1e30));
}

vec4 exp_of(vec4 x)
{
    return vec4(exact_exp(x.x), exact_exp(x.y), exact_exp(x.z), exact_exp(x.w));
}

/* log Σ exp of the row, by two passes. */
float log_sum(uint start, uint V)
{
    float top = -1e30, sum = 0.0;
    for (uint column = gl_LocalInvocationID.x * V1; column < V; column += THREADS * V1) {
        vec4 x = get(start + column);
        top = max(max(top, max(x.x, x.y)), max(x.z, x.w));
    }
    top = group_max(top);
    for (uint column = gl_LocalInvocationID.x * V1; column < V; column += THREADS * V1) {
        vec4 e = exp_of(get(start + column) - top);
        sum += V1 == 4 ? e.x + e.y + (e.z + e.w) : e.x;
    }
    return top + exact_log(group_sum(sum));
}

void main()
{
    if (V0 == 3) {
        float sum = 0.0;
        for (uint i = gl_LocalInvocationID.x; i < SIZE(0); i += THREADS)
            sum += load1(push.a[3], i, false);
        sum = group_sum(sum);
        if (gl_LocalInvocationID.x == 0)
            store1(push.a[0], 0, sum / float(SIZE(0)), false);
        return;
    }
    uint row = group_index(), V = SIZE(1), start = row * V;
    if (row >= SIZE(0))
        return;
    uint target = uint(Ints(push.a[1]).v[row]);
    float lse;
    if (V0 == 1) {
        lse = load1(push.a[2], row, false);
    } else {
        lse = log_sum(start, V);
        if (gl_LocalInvocationID.x == 0) {
            store1(push.a[3], row, lse - load1(push.a[0], start + target, IS_BF16(0)), false);
            if (V0 == 0)
                store1(push.a[2], row, lse, false);
        }
        if (V0 == 0)
            return;
        barrier(); /* the target's logit has been read */
    }
    float factor = FLOAT(8);
    for (uint column = gl_LocalInvocationID.x * V1; column < V; column += THREADS * V1) {
        vec4 g = exp_of(get(start + column) - lse);
        if (target - column < V1)
            g[target - column] -= 1.0;
        if (V1 == 4)
            store4(push.a[4], start + column, g * factor, IS_BF16(4));
        else
            store1(push.a[4], start + column, g.x * factor, IS_BF16(4));
    }
}
