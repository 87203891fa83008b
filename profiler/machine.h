/* Who used the processors that a run may use while it went on: the run, other programs, the host of a virtual machine, nobody. The front
 * looks when a run begins, now and then while it goes on, and when it has ended and its processes were waited for. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Counted since the machine started; UNKNOWN_U64 where the system does not tell. */
struct machine_look {
    uint64_t total, busy, idle, steal; /* processor time, ns, of the processors in the front's mask together */
    uint64_t own;                      /* of that, the front's and its ended children's */
    uint64_t living;                   /* that of its children, and theirs, that have not ended; beyond `own` */
    uint64_t throttled;                /* ns that this control group was stopped by its quota, of all its processors */
    int processors;                    /* that the first four are of */
};

/* Shares of the processors' time, 0 to 1; NaN where not known. Measured. */
struct machine_use {
    double steal, others, idle;
    double throttled; /* of the time of as many processors as the quota allows */
};

void machine_look(struct machine_look *look);
/* `allowed`: processors that the control group and the mask allow (base/processors.h). */
struct machine_use machine_between(const struct machine_look *before, const struct machine_look *now, int allowed);
/* Numbers that came from elsewhere: what is no share is not known. */
struct machine_use machine_believed(struct machine_use use);
#define MACHINE_UNKNOWN ((struct machine_use){UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE, UNKNOWN_DOUBLE})

/* For tests: what /proc/stat says, `hertz` ticks a second, of the processors that are `bound` (NULL, or lines of single processors that
 * are not there: of all). False: nothing that is read here. */
bool machine_read(struct machine_look *look, FILE *stat, long hertz, const bool *bound, int count);
