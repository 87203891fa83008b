/* Built without CUDA's headers: kernels on a card are not seen. */
#include "attach/cuda.h"

bool cuda_is_watched(void)
{
    return false;
}

void cuda_say(void) {}
void cuda_flush(void) {}
