/* capture_screen WIDTHxHEIGHT KEYS OUT.svg TITLE PROGRAM ARGUMENT…: runs a program on a terminal of that size, types the keys, draws what
 * is on the screen then. In KEYS, {text} waits until the text is there, {+1500} for so many milliseconds. */
#include "base/clock.h"
#include "base/file.h"
#include "screen.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_S 120

static bool wait_for(struct screen *screen, const char *text)
{
    const uint64_t deadline = clock_now() + PATIENCE_S * UINT64_C(1000000000);
    while (!screen_has(screen, text) && clock_now() < deadline)
        screen_read(screen, 50);
    return screen_has(screen, text);
}

static bool type(struct screen *screen, const char *keys)
{
    while (*keys) {
        char part[256];
        const bool waits = *keys == '{';
        const size_t length = waits ? strcspn(keys + 1, "}") : strcspn(keys, "{");
        snprintf(part, sizeof part, "%.*s", (int)length, keys + waits);
        keys += length + (waits ? 1u + (keys[length + 1] == '}') : 0u);
        if (!waits) {
            screen_type(screen, part);
        } else if (*part == '+') {
            for (const uint64_t end = clock_now() + strtoull(part, NULL, 10) * 1000000; clock_now() < end;)
                screen_read(screen, 20);
        } else if (!wait_for(screen, part)) {
            char *text = screen_text(screen, false);
            fprintf(stderr, "capture_screen: '%s' did not come; there is\n%s", part, text);
            free(text);
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct screen_options options = {.program = argc > 5 ? (const char *const *)(argv + 5) : NULL};
    struct error error = {0};
    if (!options.program || sscanf(argv[1], "%dx%d", &options.width, &options.height) != 2) {
        fputs("capture_screen WIDTHxHEIGHT KEYS OUT.svg TITLE PROGRAM ARGUMENT...\n", stderr);
        return 2;
    }
    struct screen *screen = screen_open(&options, NULL);
    bool done = type(screen, argv[2]);
    if (done) {
        screen_read(screen, 300);
        char *svg = screen_svg(screen, argv[4]);
        done = file_write_atomic(argv[3], svg, strlen(svg), &error);
        free(svg);
        if (!done)
            fprintf(stderr, "capture_screen: %s\n", error.text);
    }
    screen_close(screen);
    return done ? 0 : 1;
}
