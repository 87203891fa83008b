/* The screen of a program that is attached to, on a pseudo-terminal: how it is ended, and what is said while nobody connects. */
#include "screen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A program that is not ours may have run for days: x asks, and only x again ends it. It is started again from the shell. */
static void an_attached_program_is_ended_by_the_second_x(void **state)
{
    (void)state;
    static const char *const attached[] = {STEPTOP_BINARY, "attach", "--", ATTACH_PROGRAM, "ranges", "100000", NULL};
    const struct screen_options options = {.height = 30, .width = 120, .program = attached};
    struct screen *screen = screen_open(&options, NULL);
    screen_must_show(screen, "encoder");
    screen_type(screen, "r");
    screen_must_show(screen, "is started again from the shell");
    screen_type(screen, "x");
    screen_must_show(screen, "x again ends the program");
    screen_must_show(screen, "running");
    screen_type(screen, "x");
    screen_must_show(screen, "interrupted");
    screen_type(screen, "q");
    screen_must_lose(screen, "Runs");
    screen_close(screen);
}

/* A command of which no process ever connects is not waited for in silence, however long its name is. */
static void nobody_connects_is_said(void **state)
{
    (void)state;
    static const char *const attached[] = {
        STEPTOP_BINARY,
        "attach",
        "--",
        "/bin/sh",
        "-c",
        "sleep 60; : a command that is longer than the line of eighty columns by itself",
        NULL};
    const struct screen_options options = {.height = 24, .width = 80, .program = attached};
    struct screen *screen = screen_open(&options, NULL);
    screen_must_show(screen, "waiting for the program's first step");
    screen_must_show(screen, "nobody connects: no PyTorch");
    screen_type(screen, "x");
    screen_must_show(screen, "x again ends the program");
    screen_type(screen, "x");
    screen_must_show(screen, "interrupted");
    screen_type(screen, "q");
    screen_must_lose(screen, "Runs");
    screen_close(screen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_attached_program_is_ended_by_the_second_x),
        cmocka_unit_test(nobody_connects_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
