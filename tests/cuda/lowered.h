/* A program that was lowered for a card that is not there: nothing of it was built or allocated on one. */
#pragma once
#include "kernels/cuda/cuda_internal.h"
#include <stdlib.h>

static inline void lowered_free(struct program *program)
{
    free(program->builds);
    free(program->launches);
    free(program->gemms.items);
    free(program->attentions.items);
    arena_release(&program->memory);
    free(program);
}
