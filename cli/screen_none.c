/* A build without the terminal UI: everything runs as with --batch. */
#include "cli/screen.h"

bool screen_possible(void)
{
    return false;
}

int screen_run(struct screen *screen)
{
    (void)screen;
    struct error error;
    error_set(&error, ERROR_UNSUPPORTED, "this build has no screen");
    return fail(&error);
}
