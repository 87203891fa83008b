#include "cli/verdict.h"
#include "cli/terminal.h"
#include "report/findings.h"
#include <stdio.h>
#include <string.h>

#define VERDICTS_MOST 5

bool fail_on_check(const struct arguments *arguments, struct error *error)
{
    const char *list = arguments->value[OPTION_FAIL_ON];
    if (!list)
        return true;
    for (;;) {
        const size_t length = strcspn(list, ",");
        if (!(length == 3 && strncmp(list, "any", 3) == 0) && !rule_known(list, length))
            return error_set(error, ERROR_USAGE, "--fail-on: '%.*s' is no rule; steptop help findings lists them",
                             (int)length, list);
        if (!list[length])
            return true;
        list += length + 1;
    }
}

static bool names(const char *list, const char *rule)
{
    for (;; list++) {
        const size_t length = strcspn(list, ",");
        if ((length == strlen(rule) && strncmp(list, rule, length) == 0) ||
            (length == 3 && strncmp(list, "any", 3) == 0))
            return true;
        list += length;
        if (!*list)
            return false;
    }
}

bool fail_on_fires(const struct arguments *arguments, const struct report *report)
{
    const char *list = arguments->value[OPTION_FAIL_ON];
    bool fires = false;
    for (size_t i = 0; list && i < report->cells.count; i++) {
        struct arena arena = {0};
        struct findings findings;
        findings_make(&findings, report, report->cells.items[i], &arena);
        for (size_t f = 0; f < findings.all; f++)
            if (names(list, findings.items[f].rule)) {
                say("steptop: finding %s: %s", findings.items[f].rule, findings.items[f].sentence);
                fires = true;
            }
        arena_release(&arena);
    }
    return fires;
}

void verdict_print(const struct arguments *arguments, const struct report *report)
{
    for (size_t i = 0; !arguments->value[OPTION_QUIET] && i < report->cells.count && i < VERDICTS_MOST; i++) {
        struct arena arena = {0};
        struct findings findings;
        findings_make(&findings, report, report->cells.items[i], &arena);
        if (report->cells.count > 1)
            say("verdict %zu: %s", i + 1, findings.verdict);
        else
            say("verdict: %s", findings.verdict);
        arena_release(&arena);
    }
}
