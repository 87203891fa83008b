/* CUDA in the program that is attached to: the driver calls InitializeInjection when the program initialises it. */
#pragma once
#include <stdbool.h>

/* Has the driver called, and do kernels come as records? */
bool cuda_is_watched(void);
/* What is to be said of CUDA, once the link is open; before, it waits. */
void cuda_say(void);
void cuda_flush(void); /* waits until what the card has done is recorded; for the end of a process */
