/* AdamW of the course: m and v updated, p ← p − lr·λ·p, then p ← p − rate·m/(√v + ε) with rate = lr·√(1−β2ᵗ)/(1−β1ᵗ),
 * which the host puts at `factor` before the step; decay = lr·λ. The first copy_count new values of p also go to `copy` in
 * bf16. Macro VECTOR: elements a thread; divides both counts' boundary. */
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(1024)
    adamw(float *p, const float *g, float *m, float *v, bf16 *copy, const float *factor, float decay, float beta1, float beta2,
          float epsilon, int64 count, int64 copy_count)
{
    float rate = *factor;
    for (int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * VECTOR; i < count;
         i += (int64)gridDim.x * blockDim.x * VECTOR) {
        pack<VECTOR> pp = load_pack<VECTOR>(p + i), gg = load_pack<VECTOR>(g + i);
        pack<VECTOR> mm = load_pack<VECTOR>(m + i), vv = load_pack<VECTOR>(v + i);
#pragma unroll
        for (int k = 0; k < VECTOR; ++k) {
            mm.v[k] = beta1 * mm.v[k] + (1.0f - beta1) * gg.v[k];
            vv.v[k] = beta2 * vv.v[k] + (1.0f - beta2) * gg.v[k] * gg.v[k];
            pp.v[k] -= decay * pp.v[k];
            pp.v[k] -= rate * mm.v[k] / (sqrtf(vv.v[k]) + epsilon);
        }
        store_pack(p + i, pp);
        store_pack(m + i, mm);
        store_pack(v + i, vv);
        if (i < copy_count)
            store_pack(copy + i, pp);
    }
}
