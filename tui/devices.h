/* What devices there are, asked of a child process: the front never loads a driver. */
#pragma once
#include "base/error.h"
#include "base/strbuf.h"
#include <sys/types.h>

struct device_listing {
    char name[32], model[96], architecture[32], units[16], precisions[64];
    double memory_bytes, free_bytes; /* NaN where not known */
    bool available;
    char reason[400]; /* why not, or what it cannot do */
};

/* A question under way: `steptop devices --format csv`, whose table is read as it comes. All zero: none. */
struct devices_query {
    pid_t child;
    int output;
    struct strbuf answer;
    uint64_t deadline; /* 5 s after it was asked; a driver that hangs longer is given up */
};

bool devices_start(struct devices_query *query, struct error *error);
bool devices_asked(const struct devices_query *query);
/* Takes what has come, and never waits. False: not all yet. True: the end, with the number of devices and of classes that
 * are not available, or -1 and the reason. */
bool devices_step(struct devices_query *query, struct device_listing *listings, int max, int *count,
                  struct error *error);
void devices_cancel(struct devices_query *query);
int devices_parse(const char *csv, struct device_listing *listings, int max, struct error *error);
