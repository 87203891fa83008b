/* What people come to the screen for, in the fewest keys: each task with its keys, how many they may be, and what the screen of
 * 80×24 shows then. README's five minutes are these. */
#include "document.h"
#include "view_screen.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct task {
    const char *question, *keys;
    int most;
    const char *shows[4]; /* in this order, from the top */
};

static int count_keys(const char *keys)
{
    int count = 0;
    for (; *keys; keys++, count++)
        if (*keys == '<' && strchr(keys, '>'))
            keys = strchr(keys, '>');
    return count;
}

static const struct task tasks[] = {
    {"which layer costs most in backward", "3f", 2, {"Layers of bwd", "bwd▼", "layers.*", "ffn"}},
    {"the p95 of a kernel by its name", "2/rms<Enter>", 6, {"search: rms, 9 of 11", "p95", "rmsnorm_bwd"}},
    {"eager against compiled", "dj=", 3, {"Kernels against run 1", "vs baseline", "faster"}},
    {"a report to send", "P<Enter>", 2, {"wrote steptop-report.md"}},
    {"kernels far from the roof that are worth it", "7", 2, {"ridge at", "gain%▼", "sgemm_nn"}},
    {"only the backward pass", "2f", 2, {"Kernels of bwd", "sgemm_nn", "causal_softmax_bwd", "rmsnorm_bwd"}},
    {"how the launches of the costliest kernel are spread", "2<Enter>", 2, {"Histogram of sgemm_nn", "p95"}},
    {"where memory is at its highest", "6", 1, {"planned peak", "saved"}},
    {"which layer keeps most for backward", "6m", 2, {"saved by layer", "saved"}},
};

static void test_tasks(void **state)
{
    char folder[] = "/tmp/steptop-tasks-XXXXXX", before[512];
    (void)state;
    assert_non_null(getcwd(before, sizeof before));
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        const struct task *task = &tasks[i];
        struct app *app = view_open(document_make);
        view_type(app, task->keys);
        char *screen = view_text(app, 24, 80);
        const char *at = screen;
        for (int k = 0; k < 4 && task->shows[k]; k++) {
            at = strstr(at, task->shows[k]);
            if (!at)
                fail_msg("%s: after '%s' there is no '%s' below the others:\n%s", task->question, task->keys,
                         task->shows[k], screen);
        }
        if (count_keys(task->keys) > task->most)
            fail_msg("%s takes %d keys", task->question, count_keys(task->keys));
        free(screen);
        view_close(app);
    }
    assert_int_equal(access("steptop-report.md", F_OK), 0);
    char command[600];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(system(command), 0);
}

/* The tenth: the same run with a batch of 8. The document's session is one that starts nothing. */
static void test_rerun(void **state)
{
    static const char keys[] = "r8<Enter>";
    struct app *app = view_open(document_make);
    (void)state;
    const struct session *session = view_session(app);
    assert_true(count_keys(keys) <= 5);
    view_type(app, keys);
    assert_int_equal(session_run_count(session), 1);
    const struct cell *cell = &session_run(session, 0)->cell;
    assert_int_equal(cell->batch_size, 8);
    assert_int_equal(cell->context_length, 256);
    assert_int_equal(cell->model.d_model, 256);
    view_close(app);
}

/* f goes through the phases that there are, and says all again; a layer without any of it is not there. */
static void test_phases(void **state)
{
    struct app *app = view_open(document_make);
    (void)state;
    view_type(app, "2f");
    view_expect(app, "Kernels of bwd");
    view_expect_not(app, "sgemm_nt");
    view_type(app, "f");
    view_expect(app, "Kernels of fwd");
    view_expect_not(app, "sgemm_tn");
    view_type(app, "f"); /* the document's runs have no kernel of another phase */
    view_expect_not(app, "Kernels of");
    view_expect(app, "1 of 11");
    view_type(app, "3f");
    view_expect_order(app, "layers.*", "lm_head");
    view_expect_order(app, "  ▸ ffn", "  ▸ attn");
    view_expect(app, "100.0");
    view_type(app, "ff");
    view_expect_order(app, "  ▸ attn", "  ▸ ffn"); /* the order of the model */
    view_type(app, "7f");
    view_expect(app, "Roofline of bwd");
    view_expect_not(app, "fwd sgemm_nt");
    view_close(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_rerun),
        cmocka_unit_test(test_phases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
