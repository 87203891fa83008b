/* Lines of /proc/PID/stat and of /proc/PID/task/ID/stat (proc_pid_stat(5)). */
#pragma once
#include <stdlib.h>
#include <string.h>

#define STAT_UTIME 14
#define STAT_STIME 15
#define STAT_DISK 42 /* delayacct_blkio_ticks; 0 where the kernel does not count it (kernel.task_delayacct) */

/* Field `number` of the line, counted from 1 as the manual does, of those behind the name, which is the second and may hold anything; 0
 * where there is none. */
static inline unsigned long long stat_field(const char *line, int number)
{
    const char *field = strrchr(line, ')'); /* the third follows, behind a space */
    for (int before = 2; field && before < number; before++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

/* The third field: 'R', 'S', 'D' (asleep until a disk or a network's file answers); 0 where there is none. */
static inline char stat_state(const char *line)
{
    const char *name = strrchr(line, ')');
    return name && name[1] == ' ' ? name[2] : 0;
}
