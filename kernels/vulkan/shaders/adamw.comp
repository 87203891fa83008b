/* p ← p − lr·λ·p, then p ← p − rate·m/(√v + ε) with rate = lr·√(1−β2ᵗ)/(1−β1ᵗ), which the host sets before the step.
 * V1: elements an invocation, 1 or 4. Operands p, g, m, v, copy (bf16, or none), rates. d: elements, which rate, copied elements;
 * floats lr·λ, β1, β2, ε. */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

void main()
{
    uint i = (group_index() * THREADS + gl_LocalInvocationID.x) * V1;
    if (i >= push.d[0])
        return;
    float rate = Floats(push.a[5]).v[push.d[1]];
    float decay = FLOAT(8), beta1 = FLOAT(9), beta2 = FLOAT(10), epsilon = FLOAT(11);
    vec4 p, g, m, v;
    if (V1 == 4) {
        p = load4(push.a[0], i, false);
        g = load4(push.a[1], i, false);
        m = load4(push.a[2], i, false);
        v = load4(push.a[3], i, false);
    } else {
        p = vec4(load1(push.a[0], i, false));
        g = vec4(load1(push.a[1], i, false));
        m = vec4(load1(push.a[2], i, false));
        v = vec4(load1(push.a[3], i, false));
    }
    m = beta1 * m + (1.0 - beta1) * g;
    v = beta2 * v + (1.0 - beta2) * g * g;
    p -= decay * p;
    p -= rate * m / (sqrt(v) + epsilon);
    if (V1 == 4) {
        store4(push.a[0], i, p, false);
        store4(push.a[2], i, m, false);
        store4(push.a[3], i, v, false);
    } else {
        store1(push.a[0], i, p.x, false);
        store1(push.a[2], i, m.x, false);
        store1(push.a[3], i, v.x, false);
    }
#if NARROW
    if (i < push.d[2]) {
        if (V1 == 4)
            store4(push.a[4], i, p, true);
        else
            store1(push.a[4], i, p.x, true);
    }
#endif
}
