/* A cell that came in bytes from elsewhere. */
#include "profiler/protocol.h"
#include <stddef.h>
#include <string.h>

static bool is_boolean(const void *bytes, size_t offset)
{
    return ((const unsigned char *)bytes)[offset] <= 1;
}

bool cell_from_bytes(struct cell *cell, const void *bytes, size_t length, struct error *error)
{
    /* A bool that is neither 0 nor 1 may not even be read, so it is looked at as a byte. */
    if (length != sizeof *cell || !is_boolean(bytes, offsetof(struct cell, compile)) ||
        !is_boolean(bytes, offsetof(struct cell, memory)))
        return error_set(error, ERROR_INPUT, "these bytes are no cell of this version of steptop");
    memcpy(cell, bytes, sizeof *cell);
    char *const strings[] = {cell->device, cell->model.name, cell->model.preset, cell->command};
    const size_t sizes[] = {sizeof cell->device, sizeof cell->model.name, sizeof cell->model.preset,
                            sizeof cell->command};
    for (int i = 0; i < 4; i++) {
        strings[i][sizes[i] - 1] = 0;
        text_clean(strings[i], strlen(strings[i]));
    }
    if ((unsigned)cell->model.kind > MODEL_ATTENTION || (unsigned)cell->dtype >= PRECISION_COUNT ||
        (unsigned)cell->checkpoint >= CHECKPOINT_COUNT || (unsigned)cell->counters > COUNTERS_ON ||
        (unsigned)cell->parallel >= PARALLEL_COUNT || (unsigned)cell->gradient_dtype > GRADIENTS_BF16 ||
        (unsigned)cell->collective >= COLLECTIVE_COUNT || cell->ranks < 1 || cell->ranks > RANKS_MAX || !cell->passes ||
        cell->passes >= PASS_BIT(PASS_COUNT))
        return error_set(error, ERROR_INPUT,
                         "a cell with a kind, dtype, checkpoint, ranks, counter or pass that there is not");
    return cell->command[0] || cell_possible(cell, error);
}
