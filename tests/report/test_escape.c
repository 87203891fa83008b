#include "report/escape.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <yaml.h>

#include <cmocka.h>

static const char *const hostile[] = {
    "",
    "plain",
    "a b",
    " lead",
    "trail ",
    "no",
    "NULL",
    "1.5",
    "0x1f",
    "1:30",
    "a: b",
    "a:b",
    "a #b",
    "#a",
    "- a",
    "-",
    "a,b",
    "[x]",
    "{y}",
    "*p",
    "&a",
    "!t",
    "%d %s %n",
    "\"q\"",
    "it's",
    "back\\slash",
    "tab\there",
    "line\nbreak",
    "cr\rx",
    "\033[2J\033]0;title\007",
    "\x7f\x80\xff",
    "\xc3\x28",
    "\xed\xa0\x80",
    "\xf4\x90\x80\x80",
    "\xc0\x80",
    "é ü 漢 🙂",
    ("a\u2028b\u2029c\xc2\x85"
     "d"),
    "\ufeffbom",
    "\u202eright",
    "zero\u200bwidth\u2060\U000e0041",
    "void k<float, 4>(float const*, int)",
    "|",
    "~",
    "=",
    "<<",
    "?",
    ": ",
};

static void test_cleaning(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct strbuf out = {0};
        strbuf_puts(&out, "");
        clean_text(&out, hostile[i], strlen(hostile[i]));
        assert_true(text_is_clean(out.text, out.length));
        for (size_t c = 0; c < out.length; c++)
            assert_true((unsigned char)out.text[c] >= 0x20 && out.text[c] != 0x7f);
        strbuf_release(&out);
    }
    struct strbuf out = {0};
    clean_text(&out, "a\033b\nc\xff\u202e", strlen("a\033b\nc\xff\u202e"));
    assert_string_equal(out.text, "a\ufffdb c\ufffd\ufffd");
    strbuf_release(&out);
}

/* libyaml must give back the cleaned text as one scalar, as a value in a block and inside a flow list. */
static void test_yaml_reads_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct strbuf clean = {0}, text = {0};
        strbuf_puts(&clean, "");
        clean_text(&clean, hostile[i], strlen(hostile[i]));
        strbuf_puts(&text, "k: ");
        escape_yaml(&text, hostile[i]);
        strbuf_puts(&text, "\nl: [");
        escape_yaml(&text, hostile[i]);
        strbuf_puts(&text, ", z]\n");
        yaml_parser_t parser;
        yaml_document_t document;
        assert_true(yaml_parser_initialize(&parser));
        yaml_parser_set_input_string(&parser, (unsigned char *)text.text, text.length);
        assert_true(yaml_parser_load(&parser, &document));
        yaml_node_t *root = yaml_document_get_root_node(&document);
        yaml_node_pair_t *pair = root->data.mapping.pairs.start;
        yaml_node_t *value = yaml_document_get_node(&document, pair[0].value);
        assert_int_equal(value->type, YAML_SCALAR_NODE);
        assert_string_equal(value->data.scalar.value, clean.text);
        yaml_node_t *list = yaml_document_get_node(&document, pair[1].value);
        assert_int_equal(list->data.sequence.items.top - list->data.sequence.items.start, 2);
        value = yaml_document_get_node(&document, list->data.sequence.items.start[0]);
        assert_string_equal(value->data.scalar.value, clean.text);
        yaml_document_delete(&document);
        yaml_parser_delete(&parser);
        strbuf_release(&clean);
        strbuf_release(&text);
    }
}

static void escapes_to(void (*escape)(struct strbuf *, const char *), const char *text, const char *expected)
{
    struct strbuf out = {0};
    strbuf_puts(&out, "");
    escape(&out, text);
    assert_string_equal(out.text, expected);
    strbuf_release(&out);
}

static void test_each_format(void **state)
{
    (void)state;
    escapes_to(escape_yaml, "S · b4", "\"S · b4\"");
    escapes_to(escape_yaml, "OpenBLAS 0.3.21", "OpenBLAS 0.3.21");
    escapes_to(escape_yaml, "off", "\"off\"");
    escapes_to(escape_json, "a\"b\\c\n", "\"a\\\"b\\\\c \"");
    escapes_to(escape_csv, "a,b", "\"a,b\"");
    escapes_to(escape_csv, "say \"hi\"", "\"say \"\"hi\"\"\"");
    escapes_to(escape_csv, "=cmd()", "\"'=cmd()\"");
    escapes_to(escape_csv, "-1.5", "-1.5");
    escapes_to(escape_xml, "<a href='x'>&\"", "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    escapes_to(escape_markdown_cell, "sgemm_tn_6x16", "sgemm_tn_6x16");
    escapes_to(escape_markdown_cell, "_x_ *y* `z` a|b", "\\_x\\_ \\*y\\* \\`z\\` a\\|b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cleaning),
        cmocka_unit_test(test_yaml_reads_back),
        cmocka_unit_test(test_each_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
