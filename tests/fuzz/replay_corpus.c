/* Runs a fuzzer's function over every file of its committed corpus, whole and cut at a few places: the quick suite's share of
 * the fuzzing, with any compiler. */
#include "fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    int files = 0;
    DIR *folder = argc > 1 ? opendir(argv[1]) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!file)
            continue;
        uint8_t *bytes = malloc(1 << 21);
        const size_t size = fread(bytes, 1, 1 << 21, file);
        fclose(file);
        for (size_t cut = 0; cut < 8; cut++) {
            const size_t length = size - size * cut / 8;
            uint8_t *exact = malloc(length ? length : 1); /* so that a sanitizer sees a read behind the end */
            memcpy(exact, bytes, length);
            LLVMFuzzerTestOneInput(exact, length);
            free(exact);
        }
        free(bytes);
        files++;
    }
    if (folder)
        closedir(folder);
    printf("%d files\n", files);
    return files ? 0 : 1;
}
