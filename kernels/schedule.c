#include "kernels/schedule.h"

/* Bytes that a tensor spans in the arena. */
static uint64_t extent_of(const struct tensor *tensor)
{
    int64_t columns = tensor->rank ? tensor->shape[tensor->rank - 1] : 1;
    return tensor->row_stride && columns
               ? tensor->bytes / (uint64_t)columns * (uint64_t)tensor->row_stride /* rows that lie apart */
               : tensor->bytes;
}

static bool overlap(const struct plan *plan, int32_t a, int32_t b)
{
    if (a == TENSOR_NONE || b == TENSOR_NONE)
        return false;
    const struct tensor *x = &plan->tensors[a], *y = &plan->tensors[b];
    return x->offset < y->offset + extent_of(y) && y->offset < x->offset + extent_of(x);
}

bool schedule_touches(const struct plan *plan, const struct node *node, uint64_t offset, uint64_t bytes)
{
    for (int k = 0; k < NODE_MAX_INPUTS + NODE_MAX_OUTPUTS; ++k) {
        int32_t index = k < NODE_MAX_INPUTS ? node->input[k] : node->output[k - NODE_MAX_INPUTS];
        if (index == TENSOR_NONE)
            continue;
        const struct tensor *tensor = &plan->tensors[index];
        if (tensor->offset < offset + bytes && offset < tensor->offset + extent_of(tensor))
            return true;
    }
    return false;
}

bool schedule_depends(const struct plan *plan, const struct node *later, const struct node *earlier)
{
    for (int o = 0; o < NODE_MAX_OUTPUTS; ++o) {
        for (int i = 0; i < NODE_MAX_INPUTS; ++i)
            if (overlap(plan, later->output[o], earlier->input[i]) ||
                overlap(plan, later->input[i], earlier->output[o]))
                return true;
        for (int i = 0; i < NODE_MAX_OUTPUTS; ++i)
            if (overlap(plan, later->output[o], earlier->output[i]))
                return true;
    }
    return false;
}

void schedule_waits(const struct plan *plan, int32_t *wait)
{
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        const int32_t first = plan->phase_first[phase];
        int32_t waited = first - 1;
        for (int32_t i = first; i < plan->phase_first[phase + 1]; i++) {
            wait[i] = -1;
            for (int32_t j = i - 1; j > waited && !plan->nodes[i].aside && wait[i] < 0; j--)
                if (plan->nodes[j].aside && schedule_depends(plan, &plan->nodes[i], &plan->nodes[j]))
                    wait[i] = waited = j;
        }
    }
}
