/* What devices there are, asked of a child process: the front never loads a driver. */
#pragma once
#include "base/error.h"

struct device_listing {
    char name[32], model[96], architecture[32], units[16], precisions[64];
    double memory_bytes, free_bytes; /* NaN where not known */
    bool available;
    char reason[400]; /* why not, or what it cannot do */
};

/* Runs `steptop devices --format csv` and reads its table; waits for it 5 s at most. The number of devices and of classes
 * that are not available, or −1 with the reason. */
int devices_ask(struct device_listing *listings, int max, struct error *error);
int devices_parse(const char *csv, struct device_listing *listings, int max, struct error *error);
