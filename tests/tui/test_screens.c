/* Golden screens, as tig has them: keys in, the whole screen out. UPDATE_GOLDEN=1 writes them; then read them. */
#include "document.h"
#include "screen.h"
#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct {
    int height, width;
} sizes[] = {{12, 60}, {24, 80}, {40, 120}, {50, 200}};

static const struct {
    const char *name, *keys;
} scripts[] = {
    {"runs", ""},
    {"runs-baseline", "d<Down>"},
    {"kernels", "<Enter>"},
    {"kernels-by-class", "2b"},
    {"kernels-filter", "2\\sgemm<Enter>"},
    {"kernels-search", "2/rms<Enter>"},
    {"kernels-compare", "d<Down>="},
    {"histogram-compare", "d<Down>=<Enter>"},
    {"layers-phase", "3f"},
    {"layers", "3"},
    {"layers-open", "3<Down><Down><Enter><Down><Down><Enter><Down><Enter>"},
    {"histogram", "2<Enter>"},
    {"histogram-split", "2<Enter>vv"},
    {"timeline", "5"},
    {"timeline-zoom", "5++<Left><Left>"},
    {"timeline-in-a-label", "5<Right><Right>"},
    {"memory", "6"},
    {"memory-layers", "6m"},
    {"memory-tensors", "6mm"},
    {"roofline", "7<Down>"},
    {"log", "8"},
    {"help", "?"},
    {"setup", "2S"},
};

static void all_scripts(const char *mode, const struct screen_options *base, bool attributes)
{
    for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++)
        for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
            char name[128];
            struct screen_options options = *base;
            options.height = sizes[size].height;
            options.width = sizes[size].width;
            struct screen *screen = screen_open(&options, document_make);
            screen_type(screen, scripts[i].keys);
            snprintf(name, sizeof name, "%s-%s-%dx%d", scripts[i].name, mode, sizes[size].width, sizes[size].height);
            screen_expect(screen, name, attributes);
            screen_type(screen, "<Esc>q");
            screen_close(screen);
        }
}

static void test_utf8(void **state)
{
    (void)state;
    all_scripts("utf8", &(struct screen_options){0}, false);
}

static void test_ascii(void **state)
{
    (void)state;
    all_scripts("ascii", &(struct screen_options){.ascii = true}, false);
}

static void test_mono(void **state)
{
    (void)state;
    all_scripts("mono", &(struct screen_options){.no_color = "1"}, true);
}

/* What counters add: a line of the histogram, the measured point and columns of the roofline, columns of the kernels. */
static void test_counted(void **state)
{
    static const struct {
        const char *name, *keys;
        int height, width;
        bool ascii;
    } shots[] = {
        {"histogram-counted-120x40", "2<Enter>", 40, 120, false},
        {"histogram-counted-80x24", "2<Enter>", 24, 80, false},
        {"histogram-counted-60x12", "2<Enter>", 12, 60, false},
        {"histogram-split-counted-80x24", "2<Enter>vv", 24, 80, false},
        {"roofline-counted-200x50", "7", 50, 200, false},
        {"roofline-counted-120x40", "7", 40, 120, false},
        {"roofline-counted-80x24", "7", 24, 80, false},
        {"roofline-counted-ascii-120x40", "7", 40, 120, true},
        {"roofline-layers-counted-120x40", "7b", 40, 120, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof shots / sizeof *shots; i++) {
        const struct screen_options options = {
            .height = shots[i].height, .width = shots[i].width, .ascii = shots[i].ascii};
        struct screen *screen = screen_open(&options, document_make_counted);
        screen_type(screen, shots[i].keys);
        screen_expect(screen, shots[i].name, false);
        screen_type(screen, "<Esc>q");
        screen_close(screen);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_ascii),
        cmocka_unit_test(test_mono),
        cmocka_unit_test(test_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
