/* `steptop profiles new`: a profile with every key and what it means, from the reader's table. */
#include "profiles/keys.h"
#include <string.h>

/* "# Help: fp32, tf32, bf16" */
static void comment(const struct profile_key *key, struct strbuf *out)
{
    strbuf_printf(out, "  # %s", key->help);
    for (int i = 0; key->choices && key->choices[i] && key->type != VALUE_PASSES && !strchr(key->help, ':'); i++)
        strbuf_printf(out, "%s%s", i ? ", " : ": ", key->choices[i]);
    strbuf_putc(out, '\n');
}

static void default_text(const struct profile_key *key, const struct cell *cell, struct strbuf *out)
{
    if (key->width)
        key_text(key, cell, out);
    else if (key->type == VALUE_CHOICE)
        strbuf_puts(out, key->choices[0]);
    else if (key->type == VALUE_INTEGER)
        strbuf_printf(out, "%lld", (long long)key->min);
    else
        strbuf_puts(out, strcmp(key->name, "kernels") == 0 ? "true" : "false");
}

static void section(const char *title, unsigned which, struct strbuf *out)
{
    int count;
    const struct profile_key *keys = profile_keys(&count);
    struct cell cell;
    cell_default(&cell);
    strbuf_printf(out, "\n%s:\n", title);
    for (int i = 0; i < count; i++) {
        const struct profile_key *key = &keys[i];
        if (!(key->sections & which) || key->type == VALUE_MODEL)
            continue;
        /* What can be both an axis and a setting is shown where it is mostly wanted. */
        const bool axis = which == SECTION_MATRIX, elsewhere = axis && key->sections & SECTION_MEASURE;
        comment(key, out);
        strbuf_printf(out, "  %s%s: %s", key->size || elsewhere ? "# " : "", key->name,
                      axis || key->type == VALUE_PASSES ? "[" : "");
        default_text(key, &cell, out);
        strbuf_puts(out, axis || key->type == VALUE_PASSES ? "]\n" : "\n");
    }
}

void profile_template(const char *name, const char *argument, struct strbuf *out)
{
    strbuf_printf(out,
                  "# What steptop measures. Run it with: steptop run %s\n"
                  "# See what it would run, and whether it fits: steptop run %s --dry-run\n"
                  "schema: steptop/profile/1\n"
                  "name: \"%s\"\n"
                  "description: My own profile\n\n"
                  "# The models that the matrix runs: presets, or own sizes in a list such as\n"
                  "#   - {name: mine, d_model: 512, d_ff: 2048, num_layers: 8, num_heads: 8, vocab_size: 10000}\n"
                  "models: {preset: cs336-2025, select: [S]}\n\n"
                  "# Every combination of these values is one cell, run in a process of its own. A list of such\n"
                  "# mappings makes several matrices; `model:` here chooses among the models above and the presets.",
                  argument, argument, name);
    section("matrix", SECTION_MATRIX, out);
    strbuf_puts(out, "\n# Cells to leave out: all that match every key of an entry.\n"
                     "# exclude: [{device: cpu, model: L}]\n");
    section("measure", SECTION_MEASURE, out);
    section("profile", SECTION_PROFILE, out);
}
