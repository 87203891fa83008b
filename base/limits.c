#include "base/limits.h"
#include "base/unknown.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define PROBE_BYTES                                                                                                    \
    ((size_t)64 << 20) /* more than a library that trains asks for at once: a thread's stack, a BLAS's buffer */

/* For the handler of the abort that follows, which gets no argument of ours: that it is so, and what was said. */
static volatile sig_atomic_t exhausted;
static char last_word[256];

/* Of /proc/self/statm the number of pages that counts against each: all that is mapped; data and stack. */
static const struct {
    int resource, field;
    const char *what, *option;
} limits[] = {{RLIMIT_AS, 0, "the address space", "ulimit -v"}, {RLIMIT_DATA, 5, "the data segment", "ulimit -d"}};

/* The numbers of /proc/self/statm; false where there is none. */
static bool read_pages(unsigned long long pages[7])
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return false;
    int got = 0;
    while (got < 7 && fscanf(file, "%llu", &pages[got]) == 1)
        got++;
    fclose(file);
    return got == 7;
}

bool memory_limited(struct memory_limit *limit)
{
    bool any = false;
    *limit = (struct memory_limit){.bytes = UNKNOWN_U64, .left = UNKNOWN_U64};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit set;
        unsigned long long pages[7];
        if (getrlimit(limits[i].resource, &set) != 0 || set.rlim_cur == RLIM_INFINITY)
            continue;
        const uint64_t bytes = set.rlim_cur;
        const uint64_t used =
            read_pages(pages) ? pages[limits[i].field] * (uint64_t)sysconf(_SC_PAGESIZE) : UNKNOWN_U64;
        const uint64_t left = !is_known_u64(used) ? UNKNOWN_U64 : bytes > used ? bytes - used : 0;
        if (!any || left < limit->left)
            *limit = (struct memory_limit){limits[i].what, limits[i].option, bytes, left};
        any = true;
    }
    return any;
}

static void limit_text(char *text, size_t size)
{
    struct memory_limit limit;
    text[0] = 0;
    if (memory_limited(&limit))
        snprintf(text, size, "; %s is limited to %.1f MiB (%s)", limit.what, (double)limit.bytes / 0x1p20,
                 limit.option);
}

void error_name_limit(struct error *error)
{
    char text[96];
    limit_text(text, sizeof text);
    const size_t used = strlen(error->text);
    if (error->kind == ERROR_MEMORY && !error->names_limit && used + strlen(text) < sizeof error->text) {
        strcpy(error->text + used, text);
        error->names_limit = true;
    }
}

enum error_kind error_kind_of(int number)
{
    return number == ENOMEM ? ERROR_MEMORY : ERROR_SYSTEM;
}

void memory_exhausted(size_t count, const char *what)
{
    char text[96];
    limit_text(text, sizeof text);
    snprintf(last_word, sizeof last_word, "steptop: out of memory: %zu %.80s%s\n", count, what, text);
    fputs(last_word, stderr);
    exhausted = 1;
    abort();
}

bool memory_ended(void)
{
    return exhausted;
}

const char *memory_last_word(void)
{
    return exhausted ? last_word : "";
}

bool memory_is_exhausted(void)
{
    if (exhausted)
        return true;
    void *probe = mmap(NULL, PROBE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (probe == MAP_FAILED)
        return true;
    munmap(probe, PROBE_BYTES);
    return false;
}
