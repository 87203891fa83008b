/* The best ceilings that were seen of a device, kept in the cache: a short measurement beside other work is lower than what the device
 * can do, and figures in per cent of it would wander from run to run. */
#pragma once
#include "kernels/device.h"

struct ceilings_kept {
    double flops_per_s, bytes_per_s;
    int64_t flops_at, bytes_at; /* when each was measured, seconds since 1970 */
};

/* Takes what was measured now (both known) and makes it the best that is known of the device at this precision with so many threads
 * (0: all), in memory and in the cache; *dropped gets how many others made room there. False, with the reason and the values as they
 * were, where there is no cache to keep it in. */
bool ceilings_keep(const char *cache_folder, const struct device_info *device, enum precision precision, int threads,
                   struct ceilings_kept *ceilings, size_t *dropped, struct error *error);

/* "the best seen of this device: matmul measured on 2026-11-27, copy on 2026-11-25" */
void ceilings_text(const struct ceilings_kept *ceilings, char *text, size_t size);
