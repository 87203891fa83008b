#include "tests/report/verdicts.h"
#include "report/derive.h"
#include "tests/report/ill_documents.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

const struct finding *find(const struct findings *findings, const char *rule)
{
    for (size_t i = 0; i < findings->count; i++)
        if (strcmp(findings->items[i].rule, rule) == 0)
            return &findings->items[i];
    return NULL;
}

void is_first(struct report *report, const char *rule, double gain)
{
    struct arena arena = {0};
    struct findings findings;
    cell_derive(report->cells.items[0]);
    findings_make(&findings, report, report->cells.items[0], &arena);
    assert_true(findings.count > 0);
    assert_string_equal(findings.items[0].rule, rule);
    assert_true(findings.items[0].evidence_count > 0);
    assert_true(findings.items[0].sentence[0] && findings.items[0].remedy[0] && findings.items[0].disproof[0]);
    assert_int_equal(strncmp(findings.verdict, findings.items[0].sentence, strlen(findings.items[0].sentence)), 0);
    if (gain < 0)
        assert_false(is_known(findings.items[0].gain));
    else
        assert_true(fabs(findings.items[0].gain - gain) < 0.005);
    arena_release(&arena);
    report_free(report);
}

void is_healthy(struct report *report)
{
    struct arena arena = {0};
    struct findings findings;
    cell_derive(report->cells.items[0]);
    findings_make(&findings, report, report->cells.items[0], &arena);
    assert_int_equal(findings.count, 0);
    assert_true(findings.verdict[0] != 0);
    arena_release(&arena);
    report_free(report);
}

void ills_make(const char *rule, struct report *report)
{
    for (size_t i = 0; i < ill_count; i++)
        if (strcmp(ills[i].rule, rule) == 0) {
            ills[i].make(report, false);
            return;
        }
    fail_msg("no document of %s", rule);
}
