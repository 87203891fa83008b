/* The verdict on top of the report, and what it rests on. */
#include "report/escape.h"
#include "report/findings.h"
#include "report/markdown.h"

#define VERDICT_CELLS 3

void markdown_verdict(const struct report *report, struct strbuf *out)
{
    const size_t count = report->cells.count < VERDICT_CELLS ? report->cells.count : VERDICT_CELLS;
    for (size_t i = 0; i < count; i++) {
        struct arena arena = {0};
        struct findings findings;
        findings_make(&findings, report, report->cells.items[i], &arena);
        strbuf_puts(out, "**");
        escape_markdown_cell(out, findings.verdict);
        strbuf_puts(out, "**");
        if (report->cells.count > 1) {
            strbuf_puts(out, " (");
            markdown_title(report->cells.items[i], out);
            strbuf_putc(out, ')');
        }
        strbuf_puts(out, "\n\n");
        arena_release(&arena);
    }
}

static void row(const struct finding *finding, const struct report_cell *cell, struct strbuf *out)
{
    struct strbuf evidence = {0};
    const char *const texts[] = {finding->sentence, finding->remedy, finding->disproof};
    char gain[64];
    strbuf_puts(&evidence, "");
    finding_evidence_text(finding, &evidence);
    strbuf_puts(out, "| ");
    markdown_title(cell, out);
    strbuf_printf(out, " | %s | ", finding->rule);
    if (is_known(finding->gain))
        gain_text(finding->gain, gain, sizeof gain);
    strbuf_puts(out, is_known(finding->gain) ? gain : "n/a");
    strbuf_printf(out, " | %s", confidence_name((enum confidence)finding->confidence));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        strbuf_puts(out, " | ");
        escape_markdown_cell(out, texts[i]);
        if (i == 0) {
            strbuf_puts(out, " | ");
            escape_markdown_cell(out, evidence.text);
        }
    }
    strbuf_puts(out, " |\n");
    strbuf_release(&evidence);
}

void markdown_findings(const struct report *report, struct strbuf *out)
{
    bool any = false;
    for (size_t i = 0; i < report->cells.count && i < MARKDOWN_DETAIL_CELLS; i++) {
        struct arena arena = {0};
        struct findings findings;
        findings_make(&findings, report, report->cells.items[i], &arena);
        for (size_t f = 0; f < findings.count; f++) {
            if (!any)
                strbuf_puts(out, "\n## Findings\n\nGain is an upper bound of what the remedy gives.\n\n"
                                 "| cell | rule | gain | confidence | what it says | evidence | try | wrong if |\n"
                                 "|:---|:---|:---|:---|:---|:---|:---|:---|\n");
            any = true;
            row(&findings.items[f], report->cells.items[i], out);
        }
        arena_release(&arena);
    }
}
