/* The verdict on top of the report, and what it rests on. */
#include "report/escape.h"
#include "report/findings.h"
#include "report/markdown.h"
#include <string.h>

#define VERDICTS 3

/* What comes first in a cell: its rule, "" where nothing is wrong. */
static const char *first_rule(const struct report *report, size_t cell, struct arena *arena, const char **verdict)
{
    struct findings findings;
    findings_make(&findings, report, report->cells.items[cell], arena);
    *verdict = findings.verdict;
    return findings.count ? findings.items[0].rule : "";
}

/* One sentence for each thing that is wrong first in some cell, with the first of those cells and the number of the others. */
void markdown_verdict(const struct report *report, struct strbuf *out)
{
    const size_t count = report->cells.count < MARKDOWN_DETAIL_CELLS ? report->cells.count : MARKDOWN_DETAIL_CELLS;
    struct arena arena = {0};
    const char **rules = arena_array(&arena, const char *, count + 1),
               **verdicts = arena_array(&arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++)
        rules[i] = first_rule(report, i, &arena, &verdicts[i]);
    for (size_t i = 0, said = 0; i < count && said < VERDICTS; i++) {
        size_t others = 0;
        bool before = false;
        for (size_t k = 0; k < count; k++)
            if (k != i && strcmp(rules[k], rules[i]) == 0) {
                before |= k < i;
                others++;
            }
        if (before)
            continue;
        said++;
        strbuf_puts(out, "**");
        escape_markdown_cell(out, verdicts[i]);
        strbuf_puts(out, "**");
        if (report->cells.count > 1) {
            strbuf_puts(out, " (");
            markdown_title(report->cells.items[i], out);
            if (others)
                strbuf_printf(out, "; %s in %zu more cell%s", rules[i][0] ? "the same comes first" : "as well", others,
                              others == 1 ? "" : "s");
            strbuf_putc(out, ')');
        }
        strbuf_puts(out, "\n\n");
    }
    arena_release(&arena);
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
