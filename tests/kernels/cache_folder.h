/* A cache on disk of a test's own. */
#pragma once
#include "kernels/build_cache.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cache {
    char folder[64], path[128];
};

/* With a folder of the device of that name, and where its objects lie. */
static int cache_setup(void **state, const char *device)
{
    struct cache *cache = calloc(1, sizeof *cache);
    struct error error = {0};
    strcpy(cache->folder, "/tmp/steptop-test-XXXXXX");
    char path[512];
    if (!mkdtemp(cache->folder) || !build_cache_folder(cache->folder, device, path, sizeof path, &error))
        return -1;
    snprintf(cache->path, sizeof cache->path, "%s/%s/object", cache->folder, device);
    *state = cache;
    return 0;
}

static int cache_teardown(void **state)
{
    struct cache *cache = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", cache->folder);
    int result = system(command);
    free(cache);
    return result;
}
