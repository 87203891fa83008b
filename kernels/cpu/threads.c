/* The thread pool: how large, and work for each of it. */
#include "base/processors.h"
#include "kernels/cpu/cpu.h"

int cpu_thread_count(int wanted)
{
    return wanted > 0 ? wanted : processors_allowed().allowed;
}

void cpu_each_thread(int threads, void (*body)(void *argument, int thread), void *argument)
{
    /* A static loop of one iteration a thread: iteration i runs on thread i of the pool, and 0 is the calling one. */
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int thread = 0; thread < threads; thread++)
        body(argument, thread);
}
