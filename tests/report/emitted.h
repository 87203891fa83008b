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

/* Malloc'ed. */
static char *emit(const struct report *report)
{
    struct strbuf out = {0};
    report_emit(report, FORMAT_YAML, &out);
    return out.text;
}
