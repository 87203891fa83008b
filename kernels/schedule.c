#include "kernels/schedule.h"

static bool overlap(const struct plan *plan, int32_t a, int32_t b)
{
    if (a == TENSOR_NONE || b == TENSOR_NONE)
        return false;
    const struct tensor *x = &plan->tensors[a], *y = &plan->tensors[b];
    uint64_t extents[2];
    const struct tensor *both[2] = {x, y};
    for (int i = 0; i < 2; ++i) {
        int64_t columns = both[i]->rank ? both[i]->shape[both[i]->rank - 1] : 1;
        extents[i] = both[i]->row_stride && columns
                         ? both[i]->bytes / (uint64_t)columns * (uint64_t)both[i]->row_stride /* rows that lie apart */
                         : both[i]->bytes;
    }
    return x->offset < y->offset + extents[1] && y->offset < x->offset + extents[0];
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
