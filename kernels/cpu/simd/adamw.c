/* AdamW, one pass: 16 bytes read and 12 written a parameter. */
#include "kernels/adamw.h"
#include "kernels/cpu/simd/values.h"

cpu_kernel ISA(adamw);

static inline vf vf_sqrt(vf x)
{
    vf root;
    for (int64_t i = 0; i < VN; i++)
        root[i] = sqrtf(x[i]);
    return root;
}

/* The course's AdamW at step t, counted from 1:
 *   p ← p − lr·λ·p;  m ← β1·m + (1−β1)·g;  v ← β2·v + (1−β2)·g²;  p ← p − lr·√(1−β2ᵗ)/(1−β1ᵗ)·m/(√v + ε)
 * with ε outside the bias correction. */
void ISA(adamw)(struct program *program, const struct node *node)
{
    float *p = cpu_input(program, node, 0), *m = cpu_input(program, node, 2), *v = cpu_input(program, node, 3);
    const float *g = cpu_input(program, node, 1);
    const struct values copy = values_output(program, node, 3); /* of the first elements of p */
    const int64_t copied = copy.at ? tensor_elements(&program->plan->tensors[node->output[3]]) : 0;
    const double b1 = (double)node->adamw.beta1, b2 = (double)node->adamw.beta2, lr = (double)node->adamw.learning_rate;
    const float rate = (float)adamw_rate(&node->adamw, program->steps_done);
    const float keep = (float)(1 - lr * (double)node->adamw.weight_decay), epsilon = node->adamw.epsilon;
    const float beta1 = (float)b1, beta2 = (float)b2, gain1 = (float)(1 - b1), gain2 = (float)(1 - b2);
#pragma omp parallel num_threads(program->threads)
    {
        int64_t begin, end;
        thread_range(node->dims.elements, 1024, &begin, &end);
        for (int64_t i = begin; i < end; i += VN) {
            const int64_t n = end - i;
            const vf grad = vf_get(g + i, n);
            const vf mean = beta1 * vf_get(m + i, n) + gain1 * grad;
            const vf variance = beta2 * vf_get(v + i, n) + gain2 * grad * grad;
            vf_put(m + i, mean, n);
            vf_put(v + i, variance, n);
            const vf fresh = vf_get(p + i, n) * keep - rate * mean / (vf_sqrt(variance) + epsilon);
            vf_put(p + i, fresh, n);
            if (i < copied)
                values_put(copy, i, fresh, n < copied - i ? n : copied - i);
        }
    }
}
