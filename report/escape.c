#include "report/escape.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define REPLACEMENT "\ufffd"

bool text_is_clean(const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        unsigned c;
        if (text[at] >= 0x20 && text[at] < 0x7f) { /* nearly always */
            at++;
            continue;
        }
        const size_t used = utf8_decode(text + at, length - at, &c);
        if (used == 0 || is_unsafe_character(c))
            return false;
        at += used;
    }
    return true;
}

void clean_text(struct strbuf *out, const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        unsigned c;
        size_t plain = at;
        while (plain < length && text[plain] >= 0x20 && text[plain] < 0x7f) /* nearly always all of it */
            plain++;
        strbuf_add(out, text + at, plain - at);
        if ((at = plain) == length)
            break;
        const size_t used = utf8_decode(text + at, length - at, &c);
        if (used == 0)
            strbuf_puts(out, REPLACEMENT);
        else if (c == '\n' || c == '\t' || c == '\r')
            strbuf_putc(out, ' ');
        else if (is_unsafe_character(c))
            strbuf_puts(out, REPLACEMENT);
        else
            strbuf_add(out, text + at, used);
        at += used ? used : 1;
    }
}

const char *clean_copy(struct arena *arena, const char *text)
{
    const size_t length = strlen(text);
    if (text_is_clean(text, length))
        return arena_strndup(arena, text, length);
    struct strbuf clean = {0};
    clean_text(&clean, text, length);
    const char *copy = arena_strndup(arena, clean.text, clean.length);
    strbuf_release(&clean);
    return copy;
}

/* Appends `text` cleaned, each byte of ASCII replaced by what `replace` gives for it, NULL to keep it. */
static void escape_with(struct strbuf *out, const char *text, const char *(*replace)(char c))
{
    struct strbuf clean = {0};
    size_t length = strlen(text), kept = 0; /* from where on nothing was appended yet */
    if (!text_is_clean(text, length)) {
        clean_text(&clean, text, length);
        text = clean.text;
        length = clean.length;
    }
    for (size_t i = 0; i < length; i++) {
        const char *instead = replace(text[i]);
        if (!instead)
            continue;
        strbuf_add(out, text + kept, i - kept);
        strbuf_puts(out, instead);
        kept = i + 1;
    }
    strbuf_add(out, text + kept, length - kept);
    strbuf_release(&clean);
}

static const char *markdown_replacement(char c)
{
    switch (c) {
    case '|':
        return "\\|";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '`':
        return "\\`";
    case '*':
        return "\\*";
    case '[':
        return "\\[";
    case ']':
        return "\\]";
    case '\\':
        return "\\\\";
    case '~':
        return "\\~";
    case '$':
        return "\\$"; /* a formula, where Markdown has them */
    default:
        return NULL;
    }
}

#define BREAK "&#8203;" /* a space without width: it keeps a word from being what it looks like */

/* :name:, of which a forge makes a picture. Times such as 12:30:05 are none, and nor is what stands between two of C++'s. */
static bool is_picture_name(const char *text)
{
    size_t length = 1;
    if (text[0] != ':' || !(islower((unsigned char)text[1]) || text[1] == '+' || text[1] == '-'))
        return false;
    while (islower((unsigned char)text[length]) || isdigit((unsigned char)text[length]) ||
           (text[length] && strchr("_+-\\", text[length])))
        length++;
    return text[length] == ':';
}

/* What is written at `text` that a forge would make a link, a call or a picture of without being asked: @somebody, #12, GH-12, ://, www, :x:. The
 * bytes after which it is broken up; 0: nothing. `before` is the character in front, 0 at the beginning. */
static size_t summons(char before, const char *text)
{
    const bool inside = isalnum((unsigned char)before) || before == '_';
    if (text[0] == '@' && isalnum((unsigned char)text[1]))
        return 1;
    if (text[0] == '#' && isdigit((unsigned char)text[1]))
        return 1;
    if (!inside && strncasecmp(text, "gh-", 3) == 0 && isdigit((unsigned char)text[3]))
        return 3;
    if (strncmp(text, "://", 3) == 0 || (before != ':' && is_picture_name(text)))
        return 1;
    if (!inside && strncasecmp(text, "www.", 4) == 0)
        return 3;
    if (!inside && (strncasecmp(text, "mailto:", 7) == 0 || strncasecmp(text, "xmpp:", 5) == 0))
        return strcspn(text, ":") + 1;
    return 0;
}

void escape_markdown_cell(struct strbuf *out, const char *text)
{
    struct strbuf escaped = {0};
    escape_with(&escaped, text, markdown_replacement);
    /* An underscore inside a word is only an underscore; at its edge it could open emphasis. */
    for (size_t i = 0; i < escaped.length; i++) {
        const char c = escaped.text[i];
        if (c == '_' &&
            (i == 0 || !isalnum((unsigned char)escaped.text[i - 1]) || !isalnum((unsigned char)escaped.text[i + 1])))
            strbuf_putc(out, '\\');
        const size_t broken = summons(i ? escaped.text[i - 1] : 0, escaped.text + i);
        strbuf_add(out, escaped.text + i, broken ? broken : 1);
        if (broken) {
            strbuf_puts(out, BREAK);
            i += broken - 1;
        }
    }
    strbuf_release(&escaped);
}

static const char *json_replacement(char c)
{
    return c == '"' ? "\\\"" : c == '\\' ? "\\\\" : NULL;
}

void escape_json(struct strbuf *out, const char *text)
{
    strbuf_putc(out, '"');
    escape_with(out, text, json_replacement);
    strbuf_putc(out, '"');
}

/* Words that YAML 1.1 or 1.2 readers take for something else than a string. */
static bool is_reserved_word(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

/* Plain only from letters on, and of characters that mean nothing anywhere, flow collections included. */
static bool is_plain(const char *text)
{
    if (!isalpha((unsigned char)text[0]) || is_reserved_word(text))
        return false;
    for (const char *c = text; *c; c++) {
        const bool separator = (*c == ' ' || *c == ':') && c[1] && c[1] != ' ' && c[1] != ':';
        if (!isalnum((unsigned char)*c) && !strchr("_-./+@()=", *c) && !separator)
            return false;
    }
    return true;
}

void escape_yaml(struct strbuf *out, const char *text)
{
    if (is_plain(text))
        strbuf_puts(out, text);
    else
        escape_json(out, text);
}

void escape_csv(struct strbuf *out, const char *text)
{
    struct strbuf clean = {0};
    clean_text(&clean, text, strlen(text));
    strbuf_puts(&clean, "");
    char *end;
    strtod(clean.text, &end);
    const bool formula = clean.length && strchr("=+-@", clean.text[0]) && (end == clean.text || *end);
    if (formula || strpbrk(clean.text, ",\"")) {
        strbuf_putc(out, '"');
        if (formula)
            strbuf_putc(out, '\'');
        for (size_t i = 0; i < clean.length; i++) {
            if (clean.text[i] == '"')
                strbuf_putc(out, '"');
            strbuf_putc(out, clean.text[i]);
        }
        strbuf_putc(out, '"');
    } else
        strbuf_add(out, clean.text, clean.length);
    strbuf_release(&clean);
}

static const char *xml_replacement(char c)
{
    switch (c) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void escape_xml(struct strbuf *out, const char *text)
{
    escape_with(out, text, xml_replacement);
}
