/* A report as the text of its file, for tests. */
#pragma once
#include "report/emit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// clang-format off
#include <cmocka.h>
// clang-format on

/* Malloc'ed; fails the test that cannot have it. */
static char *emit(const struct report *report)
{
    struct strbuf out = {0};
    struct error error = {0};
    if (!report_emit(report, FORMAT_YAML, &out, &error))
        fail_msg("%s", error.text);
    return out.text;
}
