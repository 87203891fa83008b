/* Findings that came and went between two reports. */
#include "report/diff.h"
#include "report/escape.h"
#include "report/findings.h"
#include <string.h>

static bool has(const struct findings *findings, const char *rule)
{
    for (size_t i = 0; i < findings->all; i++)
        if (strcmp(findings->items[i].rule, rule) == 0)
            return true;
    return false;
}

static void list(const struct findings *from, const struct findings *other, const char *word, bool markdown,
                 struct strbuf *out)
{
    char gain[64];
    for (size_t i = 0; i < from->count; i++) {
        if (has(other, from->items[i].rule))
            continue;
        gain_text(from->items[i].gain, gain, sizeof gain);
        strbuf_printf(out, "%s%s: %s, %s: ", markdown ? "- Finding " : "  finding ", word, from->items[i].rule, gain);
        if (markdown)
            escape_markdown_cell(out, from->items[i].sentence);
        else
            clean_text(out, from->items[i].sentence, strlen(from->items[i].sentence));
        strbuf_putc(out, '\n');
    }
}

void diff_findings(const struct diff_cell *cell, bool markdown, struct strbuf *out)
{
    struct arena arena = {0};
    struct findings before, after;
    findings_make(&before, NULL, cell->a, &arena);
    findings_make(&after, NULL, cell->b, &arena);
    list(&before, &after, "gone", markdown, out);
    list(&after, &before, "new", markdown, out);
    arena_release(&arena);
}
