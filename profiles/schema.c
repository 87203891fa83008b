/* The JSON Schema of a profile, from the table that the reader uses. */
#include "profiles/keys.h"
#include <string.h>

static void quoted(const char *text, struct strbuf *out)
{
    strbuf_putc(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            strbuf_putc(out, '\\');
        strbuf_putc(out, *text);
    }
    strbuf_putc(out, '"');
}

static void choices(const struct profile_key *key, struct strbuf *out)
{
    strbuf_puts(out, "{\"enum\": [");
    for (int i = 0; key->choices[i]; i++) {
        strbuf_puts(out, i ? ", " : "");
        quoted(key->choices[i], out);
    }
    strbuf_puts(out, "]}");
}

/* One value, without its description. */
static void value_schema(const struct profile_key *key, struct strbuf *out)
{
    switch (key->type) {
    case VALUE_INTEGER:
        strbuf_printf(out, "{\"type\": \"integer\", \"minimum\": %lld, \"maximum\": %lld}", (long long)key->min,
                      (long long)key->max);
        break;
    case VALUE_STEPS:
        strbuf_printf(
            out,
            "{\"oneOf\": [{\"type\": \"integer\", \"minimum\": %lld, \"maximum\": %lld}, {\"const\": \"forever\"}]}",
            (long long)key->min, (long long)key->max);
        break;
    case VALUE_BOOLEAN:
        strbuf_puts(out, "{\"type\": \"boolean\"}");
        break;
    case VALUE_CHOICE:
    case VALUE_PASSES:
        choices(key, out);
        break;
    case VALUE_DEVICE:
        strbuf_puts(out, "{\"type\": \"string\", \"pattern\": \"^[a-z]+(:[0-9]{1,4})?$\"}");
        break;
    case VALUE_MODEL:
    case VALUE_TEXT:
        strbuf_puts(out, "{\"type\": \"string\", \"minLength\": 1}");
        break;
    }
}

static void properties(unsigned section, const char *indent, struct strbuf *out)
{
    int count, any = 0;
    const struct profile_key *keys = profile_keys(&count);
    for (int i = 0; i < count; i++) {
        const struct profile_key *key = &keys[i];
        if (!(key->sections & section))
            continue;
        strbuf_printf(out, "%s\n%s", any++ ? "," : "", indent);
        quoted(key->name, out);
        strbuf_puts(out, ": {\"description\": ");
        quoted(key->help, out);
        const bool list = section == SECTION_MATRIX || key->type == VALUE_PASSES || strcmp(key->name, "select") == 0;
        if (strcmp(key->name, "schema") == 0) {
            strbuf_puts(out, ", \"const\": \"steptop/profile/1\"}");
            continue;
        }
        strbuf_puts(out, list ? ", \"oneOf\": [" : ", \"allOf\": [");
        value_schema(key, out);
        if (list) {
            strbuf_puts(out, ", {\"type\": \"array\", \"minItems\": 1, \"uniqueItems\": true, \"items\": ");
            value_schema(key, out);
            strbuf_puts(out, "}");
        }
        strbuf_puts(out, "]}");
    }
}

static void object(const char *name, unsigned section, const char *required, bool last, struct strbuf *out)
{
    strbuf_printf(out,
                  "    \"%s\": {\"type\": \"object\", \"additionalProperties\": false, \"minProperties\": 1,%s%s%s "
                  "\"properties\": {",
                  name, required ? " \"required\": [" : "", required ? required : "", required ? "]," : "");
    properties(section, "      ", out);
    strbuf_printf(out, "\n    }}%s\n", last ? "" : ",");
}

void profile_schema(struct strbuf *out)
{
    strbuf_puts(out, "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
                     "  \"title\": \"steptop profile\",\n"
                     "  \"description\": \"What to measure: a matrix of cells and how each is run\",\n"
                     "  \"type\": \"object\",\n  \"additionalProperties\": false,\n  \"required\": [\"schema\"],\n"
                     "  \"properties\": {");
    properties(SECTION_TOP, "    ", out);
    static const char *const sections[][2] = {{"models", "model"}, {"matrix", "matrix"}, {"exclude", "matrix"}};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        strbuf_printf(out,
                      ",\n    \"%s\": {\"oneOf\": [{\"$ref\": \"#/$defs/%s\"}, {\"type\": \"array\", \"minItems\": 1, "
                      "\"items\": {\"$ref\": \"#/$defs/%s\"}}]}",
                      sections[i][0], sections[i][1], sections[i][1]);
    }
    strbuf_puts(
        out,
        ",\n    \"measure\": {\"$ref\": \"#/$defs/measure\"},\n    \"profile\": {\"$ref\": \"#/$defs/profile\"}\n  },\n"
        "  \"$defs\": {\n"
        "    \"model\": {\"oneOf\": [{\"type\": \"string\", \"minLength\": 1}, {\"$ref\": \"#/$defs/select\"}, "
        "{\"$ref\": \"#/$defs/sizes\"}]},\n");
    object("select", SECTION_SELECT, "\"preset\"", false, out);
    object("sizes", SECTION_MODEL, "\"name\", \"d_model\", \"num_heads\"", false, out);
    object("matrix", SECTION_MATRIX, NULL, false, out);
    object("measure", SECTION_MEASURE, NULL, false, out);
    object("profile", SECTION_PROFILE, NULL, true, out);
    strbuf_puts(out, "  }\n}\n");
}
