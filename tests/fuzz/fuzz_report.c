/* libFuzzer target for the report reader: whatever is read must be written and read again to the same bytes, and every
 * emitter must live with it. */
#include "fuzz.h"
#include "report/emit.h"
#include "report/report.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct report report, again;
    struct error error = {0};
    if (!report_parse((const char *)data, size, "fuzz.yaml", &report, &error)) {
        if (!error.text[0])
            abort(); /* a refusal says why */
        return 0;
    }
    struct strbuf first = {0}, second = {0}, other = {0};
    emit_yaml(&report, &first);
    if (!report_parse(first.text, first.length, "first.yaml", &again, &error))
        abort();
    emit_yaml(&again, &second);
    if (first.length != second.length || memcmp(first.text, second.text, first.length) != 0)
        abort();
    for (int format = 0; format < FORMAT_COUNT; format++) {
        strbuf_clear(&other);
        report_emit(&report, (enum report_format)format, &other);
    }
    strbuf_release(&first);
    strbuf_release(&second);
    strbuf_release(&other);
    report_free(&report);
    report_free(&again);
    return 0;
}
