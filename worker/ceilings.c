#include "worker/ceilings.h"
#include "base/hash.h"
#include "base/unknown.h"
#include "kernels/build_cache.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CEILINGS_MOST                                                                                                  \
    ((uint64_t)1 << 20) /* bytes of all files: thousands of devices, precisions and numbers of threads */

static bool is_good(const struct ceilings_kept *kept)
{
    return is_known(kept->flops_per_s) && is_known(kept->bytes_per_s) && kept->flops_per_s > 0 &&
           kept->bytes_per_s > 0 && kept->flops_at > 0 && kept->bytes_at > 0;
}

bool ceilings_keep(const char *cache_folder, const struct device_info *device, enum precision precision, int threads,
                   struct ceilings_kept *ceilings, size_t *dropped, struct error *error)
{
    *dropped = 0;
    char folder[PATH_MAX], path[PATH_MAX + 32], key[512];
    if (!build_cache_folder(cache_folder, "ceilings", folder, sizeof folder, error))
        return false;
    snprintf(key, sizeof key, "%s\n%s\n%s\n%u units\n%s\n%d threads", device->model, device->architecture,
             device->driver, device->units, precision_name(precision), threads);
    snprintf(path, sizeof path, "%s/%016llx", folder, (unsigned long long)hash_text(HASH_START, key));
    size_t size = 0;
    struct ceilings_kept before;
    char *read = build_cache_read(path, key, &size, NULL, 0);
    if (read && size == sizeof before) {
        memcpy(&before, read, sizeof before);
        if (is_good(&before) && before.flops_per_s >= ceilings->flops_per_s) {
            ceilings->flops_per_s = before.flops_per_s;
            ceilings->flops_at = before.flops_at;
        }
        if (is_good(&before) && before.bytes_per_s >= ceilings->bytes_per_s) {
            ceilings->bytes_per_s = before.bytes_per_s;
            ceilings->bytes_at = before.bytes_at;
        }
    }
    free(read);
    const bool written = build_cache_write(path, key, ceilings, sizeof *ceilings, error);
    *dropped = build_cache_trim(folder, "", CEILINGS_MOST);
    return written;
}

void ceilings_text(const struct ceilings_kept *ceilings, char *text, size_t size)
{
    char days[2][16] = {"?", "?"};
    const time_t times[] = {(time_t)ceilings->flops_at, (time_t)ceilings->bytes_at};
    for (int i = 0; i < 2; i++) {
        struct tm day;
        if (gmtime_r(&times[i], &day))
            strftime(days[i], sizeof days[i], "%Y-%m-%d", &day);
    }
    snprintf(text, size, "the best seen of this device: matmul measured on %s, copy on %s", days[0], days[1]);
}
