/* The profile reader on any bytes: an answer with a sentence, or cells that are whole. */
#include "fuzz.h"
#include "profiles/profile.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct profile profile;
    struct error error = {0};
    if (!profile_parse((const char *)data, size, "fuzz.yaml", &profile, &error)) {
        if (!error.text[0] || error.kind != ERROR_INPUT)
            abort();
        return 0;
    }
    if (!profile.cells.count || strlen(profile.digest) != 64)
        abort();
    for (size_t i = 0; i < profile.cells.count; i++) {
        char title[160], warning[160];
        cell_title(&profile.cells.items[i], false, title, sizeof title);
        if (!cell_check(&profile.cells.items[i], warning, sizeof warning, &error))
            abort();
    }
    const struct profile_override override = {"batch_size", "2,3", "--batch-size"};
    profile_apply(&profile, &override, 1, &error);
    profile_free(&profile);
    return 0;
}
