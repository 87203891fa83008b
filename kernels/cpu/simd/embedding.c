/* Embedding lookup and its gradient. */
#include "kernels/cpu/simd/values.h"

cpu_kernel ISA(embedding), ISA(embedding_backward);

void ISA(embedding)(struct program *program, const struct node *node)
{
    const int32_t *tokens = program->data[node->input[0]];
    const float *table = cpu_input(program, node, 1);
    const struct values x = values_output(program, node, 0);
    const int64_t columns = node->dims.d_in;
#pragma omp parallel for schedule(static) num_threads(program->threads)
    for (int64_t n = 0; n < node->dims.rows; n++)
        for (int64_t c = 0; c < columns; c += VN)
            values_put(x, n * columns + c, vf_get(table + tokens[n] * columns + c, columns - c), columns - c);
}

/* Each thread owns a range of the vocabulary, clears it and adds the rows of its tokens in their order: no atomics, and the
 * same sums whatever the number of threads. */
void ISA(embedding_backward)(struct program *program, const struct node *node)
{
    const int32_t *tokens = program->data[node->input[0]];
    const struct values dx = values_input(program, node, 1);
    float *dtable = cpu_output(program, node, 0);
    const int64_t columns = node->dims.d_in;
#pragma omp parallel num_threads(program->threads)
    {
        int64_t begin, end;
        thread_range(node->dims.vocab, 1, &begin, &end);
        memset(dtable + begin * columns, 0, (size_t)((end - begin) * columns) * sizeof *dtable);
        for (int64_t n = 0; n < node->dims.rows; n++) {
            if (tokens[n] < begin || tokens[n] >= end)
                continue;
            float *row = dtable + tokens[n] * columns;
            for (int64_t c = 0; c < columns; c += VN)
                vf_put(row + c, vf_get(row + c, columns - c) + values_get(dx, n * columns + c, columns - c),
                       columns - c);
        }
    }
}
