/* Rotary position embedding (Su et al. 2021): the pair (2j, 2j+1) of each head turns by the angle of its position. */
#include "kernels/cpu/simd/rope.h"

cpu_kernel ISA(rope), ISA(rope_backward);

static void rope_rows(struct program *program, const struct node *node, float direction)
{
    const struct values x = values_input(program, node, 0), y = values_output(program, node, 0);
    const float *table = cpu_input(program, node, 1);
    const int64_t sx = cpu_stride(program, node->input[0]), sy = cpu_stride(program, node->output[0]);
    const int64_t T = node->dims.context, H = node->dims.heads, D = node->dims.head_dim;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < node->dims.batch * T; n++)
        for (int64_t h = 0; h < H; h++)
            rope_head(values_from(x, n * sx + h * D), table + n % T * D, values_from(y, n * sy + h * D), D, direction,
                      1.0f);
}

void ISA(rope)(struct program *program, const struct node *node)
{
    rope_rows(program, node, 1);
}
void ISA(rope_backward)(struct program *program, const struct node *node)
{
    rope_rows(program, node, -1);
}
