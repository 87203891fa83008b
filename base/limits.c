#include "base/limits.h"
#include "base/unknown.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

uint64_t address_space_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur : UNKNOWN_U64;
}

uint64_t address_space_left(void)
{
    const uint64_t limit = address_space_limit();
    unsigned long long pages = 0;
    FILE *file = is_known_u64(limit) ? fopen("/proc/self/statm", "re") : NULL;
    if (!file)
        return UNKNOWN_U64;
    const bool got = fscanf(file, "%llu", &pages) == 1;
    fclose(file);
    const uint64_t mapped = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return !got ? UNKNOWN_U64 : limit > mapped ? limit - mapped : 0;
}

static void limit_text(char *text, size_t size)
{
    const uint64_t limit = address_space_limit();
    text[0] = 0;
    if (is_known_u64(limit))
        snprintf(text, size, "; the address space is limited to %.1f MiB (ulimit -v)", (double)limit / 0x1p20);
}

void error_name_limit(struct error *error)
{
    char text[96];
    limit_text(text, sizeof text);
    const size_t used = strlen(error->text);
    if (error->kind == ERROR_MEMORY && !strstr(error->text, "ulimit -v") && used + strlen(text) < sizeof error->text)
        strcpy(error->text + used, text);
}

enum error_kind error_kind_of(int number)
{
    return number == ENOMEM ? ERROR_MEMORY : ERROR_SYSTEM;
}

void memory_exhausted(size_t count, const char *what)
{
    char text[96];
    limit_text(text, sizeof text);
    fprintf(stderr, "steptop: " OUT_OF_MEMORY ": %zu %s%s\n", count, what, text);
    abort();
}
