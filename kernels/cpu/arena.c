/* The device's memory: mapped once, on huge pages, and what may still be had of it. */
#include "base/cgroup.h"
#include "base/limits.h"
#include "base/unknown.h"
#include "kernels/cpu/cpu.h"
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define PAGE 4096

/* A mapping of whole huge pages that starts on one; a small one is left on ordinary pages. */
void *cpu_memory_map(size_t bytes)
{
    const size_t length = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    char *wide = mmap(NULL, length + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (wide == MAP_FAILED)
        return NULL;
    char *start = (char *)(((uintptr_t)wide + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    const size_t before = (size_t)(start - wide);
    if (before)
        munmap(wide, before);
    if (before < HUGE_PAGE)
        munmap(start + length, HUGE_PAGE - before);
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE_PAGE)
        madvise(start, length, MADV_HUGEPAGE); /* advice: without huge pages it is slower and still right */
#endif
    return start;
}

void cpu_memory_unmap(void *memory, size_t bytes)
{
    if (memory)
        munmap(memory, (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
}

/* Each thread touches the piece that the kernels' static schedules will give it, and changes nothing in it. */
void cpu_memory_touch(void *memory, size_t bytes, int threads)
{
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end;
        cpu_split((int64_t)bytes, PAGE, omp_get_thread_num(), omp_get_num_threads(), &begin, &end);
        volatile char *const at = memory;
        for (int64_t i = begin; i < end; i += PAGE) {
            const char there = at[i];
            at[i] = there;
        }
    }
}

static uint64_t meminfo(const char *key)
{
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file)
        return UNKNOWN_U64;
    char line[128];
    uint64_t bytes = UNKNOWN_U64;
    while (fgets(line, sizeof line, file)) {
        unsigned long long kib;
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), ": %llu kB", &kib) == 1) {
            bytes = (uint64_t)kib << 10;
            break;
        }
    }
    fclose(file);
    return bytes;
}

uint64_t cpu_memory_total(void)
{
    return meminfo("MemTotal");
}

uint64_t cpu_memory_free(void)
{
    uint64_t least = meminfo("MemAvailable");
    const uint64_t group = cgroup_memory_left();
    struct memory_limit limit;
    memory_limited(&limit);
    least = group < least ? group : least;
    return limit.left < least ? limit.left : least;
}
