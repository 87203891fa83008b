/* A monkey at the keys while the terminal takes nothing: no frame is drawn, cells of the document are made anew, come and go, and
 * each key acts on what there is. The sanitizers watch; a view that kept a pointer into the old document is found out. */
#include "document.h"
#include "view_screen.h"
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ROUNDS 12
#define KEYS 400

static uint32_t next(uint64_t *seed, uint32_t below)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % below;
}

/* As report_update does it: the old cell's memory is gone. */
static void renew(struct report *report, size_t index)
{
    struct report fresh = {0};
    document_make(&fresh);
    struct report_cell *old = report->cells.items[index];
    struct report_cell *made = fresh.cells.items[old->run_id - 1];
    fresh.cells.items[old->run_id - 1] = old;
    made->version = old->version + 1;
    report->cells.items[index] = made;
    report_free(&fresh);
    report->generation++;
}

static void remove_cell(struct report *report, size_t index)
{
    report_cell_free(report->cells.items[index]);
    for (size_t i = index + 1; i < report->cells.count; i++)
        report->cells.items[i - 1] = report->cells.items[i];
    report->cells.count--;
    report->generation++;
}

static void bring_back(struct report *report)
{
    struct report fresh = {0};
    document_make(&fresh);
    for (size_t i = 0; i < fresh.cells.count; i++) {
        bool there = false;
        for (size_t k = 0; k < report->cells.count; k++)
            there |= report->cells.items[k]->run_id == fresh.cells.items[i]->run_id;
        if (there)
            continue;
        vec_push(&report->cells, fresh.cells.items[i]);
        fresh.cells.items[i] = fresh.cells.items[--fresh.cells.count];
        i--;
    }
    report_free(&fresh);
    report->generation++;
}

static void monkey(uint64_t seed)
{
    static const int keys[] = {'1',
                               '2',
                               '3',
                               '4',
                               '5',
                               '6',
                               '7',
                               '8',
                               'j',
                               'k',
                               'g',
                               'G',
                               'b',
                               'm',
                               'v',
                               'u',
                               '+',
                               '-',
                               'z',
                               'o',
                               'a',
                               'd',
                               '=',
                               'p',
                               'E',
                               '*',
                               '<',
                               '>',
                               'I',
                               ' ',
                               'N',
                               '?',
                               's',
                               'r',
                               'x',
                               'F',
                               'w',
                               'L',
                               '\\',
                               '/',
                               'l',
                               KEY_CODE_ENTER,
                               KEY_CODE_ENTER,
                               KEY_CODE_ESCAPE,
                               KEY_CODE_ESCAPE,
                               KEY_CODE_UP,
                               KEY_CODE_DOWN,
                               KEY_CODE_LEFT,
                               KEY_CODE_RIGHT,
                               KEY_CODE_PAGE_UP,
                               KEY_CODE_PAGE_DOWN,
                               KEY_CODE_HOME,
                               KEY_CODE_END,
                               KEY_CODE_MOUSE};
    struct app *app = view_open(document_make);
    free(view_text(app, 40, 160));
    for (int i = 0; i < KEYS && !app->quit; i++) {
        struct mouse mouse = {MOUSE_PRESS, (int)next(&seed, 40), (int)next(&seed, 160)};
        app->now += 40000000u;
        app_key(app, keys[next(&seed, sizeof keys / sizeof *keys)], &mouse);
        struct report *report = app->report;
        const uint32_t what = next(&seed, 12);
        if (what < 4 && report->cells.count)
            renew(report, next(&seed, (uint32_t)report->cells.count));
        else if (what == 4 && report->cells.count)
            remove_cell(report, next(&seed, (uint32_t)report->cells.count));
        else if (what == 5)
            bring_back(report);
        else if (what == 6)
            free(view_text(app, 12 + (int)next(&seed, 40), 60 + (int)next(&seed, 140)));
    }
    view_close(app);
}

static void test_monkey(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++)
        monkey(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_monkey)};
    setlocale(LC_ALL, "C.UTF-8");
    setenv("XDG_CONFIG_HOME", "/dev/null/none", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
