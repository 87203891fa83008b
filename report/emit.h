/* The emitters, one a format; report_emit chooses. All append to `out` and cannot fail. */
#pragma once
#include "report/report.h"

void json_newline(struct strbuf *out, int depth); /* a new line, indented */
void emit_yaml(const struct report *report, struct strbuf *out);
void emit_json(const struct report *report, struct strbuf *out);
void emit_csv(const struct report *report, struct strbuf *out);
void emit_markdown(const struct report *report, struct strbuf *out);
void emit_perfetto(const struct report *report, struct strbuf *out);
void emit_html(const struct report *report, struct strbuf *out);
void emit_kernels(const struct report *report, struct strbuf *out);
void emit_svg(const struct report *report, struct strbuf *out);
