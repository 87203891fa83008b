/* The terminal is left as it was found, however the program ends; and it is never waited for. */
#include "base/clock.h"
#include "base/limits.h"
#include "document.h"
#include "screen.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct screen *opened(int height, int width)
{
    const struct screen_options options = {.height = height, .width = width, .mouse = true};
    struct screen *screen = screen_open(&options, document_make);
    assert_true(screen_wait_for(screen, height < 12 || width < 60 ? "steptop" : "3 of 3 runs ended"));
    assert_true(screen_is_alternate(screen));
    return screen;
}

static void assert_restored(struct screen *screen)
{
    size_t length;
    const char *bytes = screen_bytes(screen, &length);
    assert_false(screen_is_alternate(screen));
    assert_true(screen_cursor_visible(screen));
    assert_true(screen_modes_restored(screen));
    /* Mouse reports and marks of pastes are off: the last word on them is an l. */
    static const char *const modes[] = {"\033[?1000", "\033[?2004"};
    for (int mode = 0; mode < 2; mode++) {
        const char *last = NULL;
        for (const char *at = bytes; (at = memmem(at, length - (size_t)(at - bytes), modes[mode], 7)); at += 7)
            last = at;
        assert_true(mode == 0 || last);
        if (last)
            assert_int_equal(last[7], 'l');
    }
}

static void test_quit(void **state)
{
    static const char *const ways[] = {"q", "<F10>", "<^C>", "?qq", "5q", "/abc<Esc>q"};
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct screen *screen = opened(24, 80);
        screen_type(screen, ways[i]);
        const int status = screen_wait(screen);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), strcmp(ways[i], "<^C>") == 0 ? 130 : 0);
        assert_restored(screen);
        screen_close(screen);
    }
}

/* Whatever is sent, one that means a crash, too, is a wish to end. */
static void test_signals(void **state)
{
    const int sent[] = {SIGTERM, SIGHUP,       SIGINT,  SIGPIPE, SIGQUIT, SIGXCPU, SIGALRM,
                        SIGIO,   SIGRTMIN + 2, SIGSEGV, SIGABRT, SIGBUS,  SIGFPE};
    (void)state;
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++) {
        struct screen *screen = opened(24, 80);
        kill(screen_child(screen), sent[i]);
        const int status = screen_wait(screen);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 128 + sent[i]);
        assert_restored(screen);
        screen_close(screen);
    }
}

static int crash; /* of the front, read by the thread that brings it about */

static void *crash_later(void *unused)
{
    (void)unused;
    poll(NULL, 0, 500);
    raise(crash);
    return NULL;
}

static void document_crashing(struct report *report)
{
    pthread_t thread;
    document_make(report);
    if (pthread_create(&thread, NULL, crash_later, NULL) != 0)
        abort();
    pthread_detach(thread);
}

static void test_crashes(void **state)
{
    static const int crashes[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE};
    const struct screen_options options = {.height = 24, .width = 80, .mouse = true};
    (void)state;
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) {
        crash = crashes[i];
        struct screen *screen = screen_open(&options, document_crashing);
        const int status = screen_wait(screen);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), crashes[i]);
        assert_restored(screen);
        screen_close(screen);
    }
}

/* Where memory ends the screen takes what is said with it, so it is said again; and who had the signal before has it. */
static void end_of_memory(int number)
{
    (void)number;
    _exit(memory_ended() ? 1 : 99);
}

static void *memory_later(void *unused)
{
    (void)unused;
    poll(NULL, 0, 500);
    memory_exhausted(3, "things of a test");
}

static void document_without_memory(struct report *report)
{
    pthread_t thread;
    document_make(report);
    dup2(STDOUT_FILENO, STDERR_FILENO);
    signal(SIGABRT, end_of_memory);
    if (pthread_create(&thread, NULL, memory_later, NULL) != 0)
        abort();
    pthread_detach(thread);
}

static void test_memory_ends(void **state)
{
    const struct screen_options options = {.height = 24, .width = 80, .mouse = true};
    (void)state;
    struct screen *screen = screen_open(&options, document_without_memory);
    const int status = screen_wait(screen);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_restored(screen);
    size_t length;
    const char *bytes = screen_bytes(screen, &length), *last = NULL, *left = NULL;
    for (const char *at = bytes; (at = memmem(at, length - (size_t)(at - bytes), "out of memory: 3 things", 23)); at++)
        last = at;
    for (const char *at = bytes; (at = memmem(at, length - (size_t)(at - bytes), "\033[?1049l", 8)); at++)
        left = at;
    assert_true(last && left && last > left);
    screen_close(screen);
}

static void test_terminal_closes(void **state)
{
    (void)state;
    struct screen *screen = opened(24, 80);
    screen_hang_up(screen);
    const int status = screen_wait(screen);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGHUP);
    screen_close(screen);
}

static char process_state(pid_t process)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    const bool got = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    const char *end = got ? strrchr(line, ')') : NULL;
    return end ? end[2] : 0;
}

static void test_suspend(void **state)
{
    (void)state;
    struct screen *screen = opened(24, 80);
    screen_type(screen, "2");
    assert_true(screen_wait_for(screen, "sgemm_nn"));
    screen_type(screen, "<^Z>");
    const uint64_t deadline = clock_now() + 5000000000ull;
    while (process_state(screen_child(screen)) != 'T' && clock_now() < deadline)
        screen_settle(screen, 20);
    assert_int_equal(process_state(screen_child(screen)), 'T');
    screen_settle(screen, 50);
    assert_restored(screen);
    kill(screen_child(screen), SIGCONT);
    assert_true(screen_wait_for(screen, "sgemm_nn"));
    assert_true(screen_is_alternate(screen));
    screen_type(screen, "1");
    assert_true(screen_wait_for(screen, "3 of 3 runs ended"));
    screen_type(screen, "q");
    const int status = screen_wait(screen);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_restored(screen);
    screen_close(screen);
}

static void test_tiny(void **state)
{
    (void)state;
    struct screen *screen = opened(5, 40);
    assert_true(screen_wait_for(screen, "60x12"));
    screen_type(screen, "2<Enter>n?\\");
    screen_settle(screen, 50);
    screen_resize(screen, 24, 80);
    assert_true(screen_wait_for(screen, "3 of 3 runs ended"));
    screen_resize(screen, 11, 80);
    assert_true(screen_wait_for(screen, "this is 80x11"));
    screen_type(screen, "q");
    assert_int_equal(screen_wait(screen), 0);
    assert_restored(screen);
    screen_close(screen);
}

/* Every size from 1×1 to 80×30 with a view, a form's neighbour and the help open; ASan watches. */
static void test_sizes(void **state)
{
    static const char *const views[] = {
        "1", "2", "3", "4", "5", "6", "7", "8", "?", "<Esc>2S", "<Esc>4vv", "<Esc>6m", "<Esc>1/x<Enter>"};
    (void)state;
    struct screen *screen = opened(24, 80);
    int step = 0;
    for (int height = 1; height <= 30; height++)
        for (int width = 1; width <= 80; width += height < 12 ? 7 : 1) {
            screen_resize(screen, height, width);
            if (step++ % 9 == 0 && width >= 60)
                screen_type(screen, views[(step / 9) % (sizeof views / sizeof *views)]);
            screen_settle(screen, 0);
        }
    screen_resize(screen, 24, 80);
    screen_type(screen, "<Esc><Esc>1");
    assert_true(screen_wait_for(screen, "3 of 3 runs ended"));
    screen_type(screen, "q");
    assert_int_equal(screen_wait(screen), 0);
    screen_close(screen);
}

/* Hundreds of resizes at once: the last one is what counts. */
static void test_resize_storm(void **state)
{
    (void)state;
    struct screen *screen = opened(24, 80);
    for (int i = 0; i < 400; i++)
        screen_resize(screen, 12 + i % 40, 60 + i * 7 % 150);
    screen_resize(screen, 30, 100);
    assert_true(screen_wait_for(screen, "3 of 3 runs ended"));
    screen_type(screen, "8");
    assert_true(screen_wait_for(screen, "a report keeps no log"));
    screen_type(screen, "q");
    assert_int_equal(screen_wait(screen), 0);
    screen_close(screen);
}

/* A terminal that takes nothing: the program goes on hearing signals, and ends in time. */
static void test_terminal_does_not_read(void **state)
{
    (void)state;
    struct screen *screen = opened(50, 200);
    for (int i = 0; i < 60; i++) {
        const char *keys = i % 2 ? "\014" : "2\014"; /* ^L: the whole screen again */
        const ssize_t put = write(screen_terminal(screen), keys, strlen(keys));
        assert_true(put > 0);
        poll(NULL, 0, 5);
    }
    const uint64_t before = clock_now();
    kill(screen_child(screen), SIGTERM);
    while (process_state(screen_child(screen)) > 0 && process_state(screen_child(screen)) != 'Z' &&
           clock_now() < before + 5000000000ull)
        poll(NULL, 0, 10);
    assert_true(clock_now() < before + 5000000000ull);
    const int status = screen_wait(screen);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGTERM);
    assert_true(screen_modes_restored(screen));
    screen_close(screen);
}

/* Nothing of a kernel's name reaches the terminal as a control sequence. */
static void test_names(void **state)
{
    size_t length;
    (void)state;
    const struct screen_options options = {.height = 24, .width = 120};
    struct screen *screen = screen_open(&options, document_make_names);
    screen_type(screen, "2");
    assert_true(screen_wait_for(screen, "emoji"));
    screen_expect(screen, "names-120x24", false);
    screen_type(screen, "3E");
    assert_true(screen_wait_for(screen, "fwd abcdef"));
    screen_type(screen, "2<Down><Down><Down><Enter>");
    assert_true(screen_wait_for(screen, "Histogram of"));
    const char *bytes = screen_bytes(screen, &length);
    assert_null(memmem(bytes, length, "]0;title", 8) && memmem(bytes, length, "\033]0;title", 9) ? bytes : NULL);
    assert_null(memmem(bytes, length, "\xc2\x9b", 2));
    assert_null(memmem(bytes, length, "\xe2\x80\xae", 3)); /* the override of the writing direction */
    assert_null(memmem(bytes, length, "\xff", 1));
    screen_type(screen, "q");
    assert_int_equal(screen_wait(screen), 0);
    screen_close(screen);
}

static void make_ten_thousand(struct report *report)
{
    document_make_many(report, 10000);
}

static void test_many(void **state)
{
    (void)state;
    const struct screen_options options = {.height = 24, .width = 80};
    struct screen *screen = screen_open(&options, make_ten_thousand);
    screen_type(screen, "2");
    assert_true(screen_wait_for(screen, "1 of 10000"));
    screen_type(screen, "G");
    assert_true(screen_wait_for(screen, "kernel_09999"));
    screen_type(screen, "\\_0123<Enter>");
    assert_true(screen_wait_for(screen, "of 10"));
    assert_true(screen_wait_for(screen, "kernel_01239"));
    screen_type(screen, "3E");
    assert_true(screen_wait_for(screen, "kernel_000"));
    screen_type(screen, "7q");
    assert_int_equal(screen_wait(screen), 0);
    screen_close(screen);
}

static void test_empty(void **state)
{
    (void)state;
    const struct screen_options options = {.height = 24, .width = 80};
    struct screen *screen = screen_open(&options, document_make_empty);
    for (int view = 0; view < 8; view++) {
        const char key[2] = {(char)('1' + view), 0};
        screen_type(screen, key);
        screen_type(screen, "<Down><Enter><Esc>+-mbpvuwGg<PgUp><PgDn><Left><Right>");
    }
    screen_type(screen, "2");
    assert_true(screen_wait_for(screen, "this run ended before it had a kernel"));
    assert_true(screen_wait_for(screen, "the worker ended before"));
    screen_type(screen, "q");
    assert_int_equal(screen_wait(screen), 0);
    screen_close(screen);
    /* No run at all. */
    screen = screen_open(&options, NULL);
    assert_true(screen_wait_for(screen, "a report without runs"));
    screen_type(screen, "<Enter>2<Enter>3<Enter>456m7<Enter>8xrdnq");
    assert_int_equal(screen_wait(screen), 0);
    screen_close(screen);
}

/* What a terminal sends by itself does nothing (each letter was a key before: q quit, c opened help), whole or in pieces. */
static void test_sequences(void **state)
{
    static const char *const unknown[] = {"\033[1 q",      "\033]11;rgb:ffff/ffff/ffff\033\\",
                                          "\033[?62;22c",  "\033P1$rq\033\\",
                                          "\033Ok",        "\033]0;quit?\a",
                                          "\033_q\033\\",  "\033[113;5u",
                                          "\033[8;50;132t"};
    (void)state;
    for (int pieces = 0; pieces < 2; pieces++) {
        struct screen *screen = opened(24, 80);
        const int fd = screen_terminal(screen);
        screen_settle(screen, 200);
        char *before = screen_text(screen, false);
        for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
            const size_t length = strlen(unknown[i]), first = pieces ? 2 : length;
            assert_int_equal(write(fd, unknown[i], first), (ssize_t)first);
            if (pieces)
                poll(NULL, 0, 60);
            assert_int_equal(write(fd, unknown[i] + first, length - first), (ssize_t)(length - first));
            screen_settle(screen, 60);
        }
        char *after = screen_text(screen, false);
        assert_string_equal(after, before);
        free(before);
        free(after);
        /* The keys after them are keys. */
        screen_type(screen, "2");
        assert_true(screen_wait_for(screen, "sgemm_nn"));
        screen_type(screen, "q");
        assert_int_equal(screen_wait(screen), 0);
        screen_close(screen);
    }
}

/* Arrows come as CSI or as SS3, whichever mode the terminal is in. */
/* What is pasted is no key, not even its line end: it is text where a field is open, and else nothing. */
static void test_paste(void **state)
{
    size_t length;
    (void)state;
    struct screen *screen = opened(24, 80);
    const char *bytes = screen_bytes(screen, &length);
    assert_non_null(memmem(bytes, length, "\033[?2004h", 8));
    screen_type(screen, "\033[200~q5Q\rx\033[201~");
    screen_must_show(screen, "what is pasted is text");
    assert_true(screen_has(screen, "3 of 3 runs ended"));
    screen_type(screen, "2\\\033[200~sgemm_nn\r\033[201~");
    screen_must_show(screen, "Filter: sgemm_nn");
    screen_type(screen, "<Enter>?/\033[200~page up\r\033[201~");
    screen_must_show(screen, "Search: page up");
    screen_type(screen, "<Esc><Esc>q");
    assert_int_equal(screen_wait(screen), 0);
    assert_restored(screen);
    screen_close(screen);
}

static void test_arrows(void **state)
{
    static const char *const down[] = {"\033[B", "\033OB", "\033[1;2B"};
    (void)state;
    struct screen *screen = opened(24, 80);
    screen_type(screen, "2");
    assert_true(screen_wait_for(screen, "sgemm_nn"));
    for (size_t i = 0; i < sizeof down / sizeof *down; i++) {
        char place[32];
        snprintf(place, sizeof place, "fwd_bwd, %zu of 11", i + 2);
        assert_int_equal(write(screen_terminal(screen), down[i], strlen(down[i])), (ssize_t)strlen(down[i]));
        assert_true(screen_wait_for(screen, place));
    }
    screen_type(screen, "q");
    assert_int_equal(screen_wait(screen), 0);
    screen_close(screen);
}

/* A press and its release in one read are a click (on the tab of Layers), as two reads are. */
static void test_click(void **state)
{
    (void)state;
    for (int reads = 1; reads <= 2; reads++) {
        struct screen *screen = opened(24, 80);
        char *text = screen_text(screen, false);
        int y = 1;
        const char *line = text, *tab = strstr(text, "Layers");
        assert_non_null(tab);
        for (const char *at = text; at < tab; at++)
            if (*at == '\n') {
                y++;
                line = at + 1;
            }
        char click[64];
        const int x = (int)(tab - line) + 2;
        const int press = snprintf(click, sizeof click, "\033[<0;%d;%dM", x, y);
        free(text);
        if (reads == 2) {
            assert_int_equal(write(screen_terminal(screen), click, (size_t)press), press);
            screen_settle(screen, 100);
        }
        const int both = press + snprintf(click + press, sizeof click - (size_t)press, "\033[<0;%d;%dm", x, y);
        const int from = reads == 2 ? press : 0;
        assert_int_equal(write(screen_terminal(screen), click + from, (size_t)(both - from)), both - from);
        assert_true(screen_wait_for(screen, "Runs › Layers"));
        screen_type(screen, "q");
        assert_int_equal(screen_wait(screen), 0);
        screen_close(screen);
    }
}

/* A size beyond any screen takes no memory for the rest of it: 10 000 x 10 000 took 7.5 GB. */
static void test_huge(void **state)
{
    (void)state;
    struct screen *screen = opened(24, 80);
    const struct winsize size = {.ws_row = 10000, .ws_col = 10000}; /* the emulator stays small */
    assert_int_equal(ioctl(screen_terminal(screen), TIOCSWINSZ, &size), 0);
    screen_settle(screen, 1000);
    char path[64], line[256];
    long peak = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)screen_child(screen));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %ld", &peak) == 1)
            break;
    fclose(file);
    assert_true(peak > 0);
#ifndef __SANITIZE_ADDRESS__ /* which keeps several times of it */
    assert_true(peak < 300 * 1024);
#else
    assert_true(peak < 3000 * 1024);
#endif
    screen_type(screen, "q");
    assert_int_equal(screen_wait(screen), 0);
    screen_close(screen);
}

static void test_bad_terminal(void **state)
{
    (void)state;
    const struct screen_options options = {.height = 24, .width = 80, .term = "no-such-terminal"};
    struct screen *screen = screen_open(&options, document_make);
    const int status = screen_wait(screen);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_true(screen_modes_restored(screen));
    screen_close(screen);
}

/* The setup page tells what is in force, not what was kept: here what the command line asked for. */
static void test_setup(void **state)
{
    (void)state;
    struct screen_options options = {.height = 40, .width = 100, .theme = "light", .mouse = false};
    struct screen *screen = screen_open(&options, document_make);
    screen_type(screen, "2S");
    assert_true(screen_wait_for(screen, "[x] theme light"));
    assert_true(screen_wait_for(screen, "[ ] theme default"));
    assert_true(screen_wait_for(screen, "[ ] mouse"));
    screen_type(screen, "<Enter>");
    assert_true(screen_wait_for(screen, "[x] theme default"));
    screen_type(screen, "<Down><Down><Down><Down><Down><Enter>");
    assert_true(screen_wait_for(screen, "[x] mouse"));
    screen_type(screen, "<SlowEsc>");
    assert_true(screen_wait_gone(screen, "[x] mouse"));
    screen_type(screen, "q");
    assert_int_equal(screen_wait(screen), 0);
    screen_close(screen);
    options = (struct screen_options){.height = 40, .width = 100, .no_color = "1", .ascii = true};
    screen = screen_open(&options, document_make);
    screen_type(screen, "2S");
    assert_true(screen_wait_for(screen, " x  theme mono"));
    assert_true(screen_wait_for(screen, "not available: NO_COLOR is set"));
    assert_false(screen_has(screen, "] theme"));
    assert_false(screen_has(screen, "] ceilings in braille"));
    screen_type(screen, "<Esc>q");
    assert_int_equal(screen_wait(screen), 0);
    screen_close(screen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quit),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_memory_ends),
        cmocka_unit_test(test_terminal_closes),
        cmocka_unit_test(test_suspend),
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_resize_storm),
        cmocka_unit_test(test_terminal_does_not_read),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_paste),
        cmocka_unit_test(test_arrows),
        cmocka_unit_test(test_click),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_bad_terminal),
        cmocka_unit_test(test_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
