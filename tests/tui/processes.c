#include "processes.h"
#include "base/clock.h"
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

pid_t worker_of(pid_t front)
{
    char path[64];
    int child = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)front, (int)front);
    for (int i = 0; i < 100 && !child; i++) {
        FILE *file = fopen(path, "r");
        if (!file || fscanf(file, "%d", &child) != 1)
            child = 0;
        if (file)
            fclose(file);
        if (!child)
            poll(NULL, 0, 50);
    }
    assert_int_not_equal(child, 0);
    return child;
}

char state_of(pid_t process)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *file = fopen(path, "r");
    const bool got = file && fgets(line, sizeof line, file);
    if (file)
        fclose(file);
    const char *end = got ? strrchr(line, ')') : NULL;
    return end ? end[2] : 0;
}

bool ends_soon(pid_t process)
{
    const uint64_t deadline = clock_now() + 8000000000u;
    while (state_of(process) != 0 && state_of(process) != 'Z' && clock_now() < deadline)
        poll(NULL, 0, 20);
    return state_of(process) == 0 || state_of(process) == 'Z';
}
