/* The report reader on any bytes; what it takes must be written and read back again. */
#include "fuzz.h"
#include "report/report.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct report report = {0}, again = {0};
    struct strbuf text = {0};
    struct error error = {0};
    if (report_parse((const char *)data, size, "fuzz.yaml", &report, &error)) {
        for (int format = 0; format < FORMAT_COUNT; format++) {
            strbuf_clear(&text);
            if (!report_emit(&report, (enum report_format)format, &text, &error) && error.kind == ERROR_INTERNAL)
                abort();
            if (format == FORMAT_YAML && !report_parse(text.text, text.length, "again.yaml", &again, &error))
                abort();
        }
        report_free(&again);
    } else if (!error.text[0])
        abort();
    report_free(&report);
    strbuf_release(&text);
    return 0;
}
