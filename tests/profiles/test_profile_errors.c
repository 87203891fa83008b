/* Wrong profiles: each is refused with file:line:col of the fault and a sentence that names it, several at once, and what a
 * profile has no use for in YAML is not read. */
#include "profiles/profile.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* clang-format off: cmocka.h needs the headers above it */
#include <cmocka.h>
/* clang-format on */

#define SCHEMA "schema: steptop/profile/1\n"

static void errors_of(const char *yaml, size_t length, struct error *error)
{
    struct profile profile;
    *error = (struct error){0};
    if (profile_parse(yaml, length, "run.yaml", &profile, error))
        fail_msg("was taken: %s", yaml);
    assert_int_equal(error->kind, ERROR_INPUT);
}

static void each_fault_has_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *wanted;
    } wrong[] = {
        {"", "run.yaml:1:1: error: the file is empty"},
        {"[1, 2]", "run.yaml:1:1: error: a profile is a mapping"},
        {"name: x\n", "run.yaml:1:1: error: schema is missing"},
        {"schema: steptop/profile/2\n", "run.yaml:1:9: error: the schema 'steptop/profile/2' is not one"},
        {"schema: [a]\n", "run.yaml:1:9: error: 'schema' is a list"},
        {SCHEMA "matrx: {}\n", "run.yaml:2:1: error: 'matrx' is not a key of a profile; did you mean 'matrix'?"},
        {SCHEMA "steps: 3\n", "run.yaml:2:1: error: 'steps' is not a key of a profile; it is a measure key"},
        {SCHEMA "matrix: {contxt_length: [8]}\n",
         "run.yaml:2:10: error: 'contxt_length' is not a matrix key; did you mean 'context_length'?"},
        {SCHEMA "matrix: {steps: 3}\n", "run.yaml:2:10: error: 'steps' is not a matrix key; it is a measure key"},
        {SCHEMA "matrix: 3\n", "run.yaml:2:9: error: 'matrix' is a single value; it must be a mapping of axes"},
        {SCHEMA "matrix: {}\n", "run.yaml:2:9: error: an empty mapping"},
        {SCHEMA "matrix: []\n", "run.yaml:2:9: error: 'matrix' is a list of 0"},
        {SCHEMA "matrix: [{device: cpu}, 4]\n", "run.yaml:2:25: error: this is a single value"},
        {SCHEMA "matrix: {batch_size: []}\n", "run.yaml:2:22: error: batch_size is an empty list"},
        {SCHEMA "matrix: {batch_size: [1, [2]]}\n", "run.yaml:2:26: error: batch_size is a list"},
        {SCHEMA "matrix: {batch_size: {a: 1}}\n", "run.yaml:2:22: error: batch_size is a mapping"},
        {SCHEMA "matrix: {batch_size: }\n", "error: batch_size has no value"},
        {SCHEMA "measure: {steps: \"3\"}\n", "run.yaml:2:18: error: steps is a whole number; write it without quotes"},
        {SCHEMA "matrix: {batch_size: \"4\"}\n",
         "run.yaml:2:22: error: batch_size is a whole number; write it without"},
        {SCHEMA "matrix: {batch_size: 0x10}\n", "run.yaml:2:22: error: '0x10' is not a batch_size"},
        {SCHEMA "matrix: {batch_size: 1e3}\n", "'1e3'"},
        {SCHEMA "matrix: {batch_size: +4}\n", "'+4'"},
        {SCHEMA "matrix: {batch_size: 9223372036854775808}\n", "out of range"},
        {SCHEMA "matrix: {compile: no}\n",
         "run.yaml:2:19: error: compile is true or false, not 'no'; did you mean 'false'?"},
        {SCHEMA "matrix: {dtype: [fp32, fp32]}\n", "run.yaml:2:24: error: dtype 'fp32' is in the list twice"},
        {SCHEMA "matrix: {model: Z}\n", "run.yaml:2:17: error: no model is called 'Z'"},
        {SCHEMA "matrix: {d_model: 100}\n", "run.yaml:2:9: error: S-d100"},
        {SCHEMA "models: {preset: cs336-2024, select: [S]}\n",
         "run.yaml:2:18: error: there is no preset 'cs336-2024'; did you mean 'cs336-2025'?"},
        {SCHEMA "models: {select: [S]}\n",
         "run.yaml:2:9: error: models are chosen with preset and select; preset is missing"},
        {SCHEMA "models: {preset: cs336-2025, select: [S, small]}\n", "run.yaml:2:42: error: no model is called"},
        {SCHEMA "models: [S, S]\n", "run.yaml:2:13: error: there is a model 'S' already"},
        {SCHEMA "models: [{name: a b, d_model: 8, d_ff: 8, num_layers: 1, num_heads: 1, vocab_size: 9}]\n",
         "run.yaml:2:17: error: a model's name is of letters"},
        {SCHEMA "models: [{name: a, d_model: 8, d_ff: 8, num_heads: 1, vocab_size: 9}]\n",
         "run.yaml:2:10: error: this model has no num_layers"},
        {SCHEMA "models: [{name: a, dmodel: 8}]\n", "'dmodel' is not a model key; did you mean 'd_model'?"},
        {SCHEMA "measure: {passes: []}\n", "run.yaml:2:19: error: passes is an empty list"},
        {SCHEMA "measure: {passes: [fwd, fwd]}\n", "run.yaml:2:25: error: the pass 'fwd' is in the list twice"},
        {SCHEMA "measure: {repetitions: 0}\n", "run.yaml:2:24: error: repetitions 0 is out of range"},
        {SCHEMA "measure: {on_oom: stop}\n", "run.yaml:2:19: error: 'stop' is not an on_oom"},
        {SCHEMA "profile: {kernels: false, every: 2}\n", "run.yaml:2:27: error: 'every' has no meaning"},
        {SCHEMA "name: {a: b}\n", "run.yaml:2:7: error: 'name' is a mapping"},
        {SCHEMA "name: \"a\\e[31mb\"\n", "run.yaml:2:7: error: 'name' holds a control character"},
        {SCHEMA "name: \"a\\x9b31mb\"\n", "run.yaml:2:7: error: 'name' holds a control character"},
        {SCHEMA "name: \"\"\n", "run.yaml:2:7: error: 'name' is empty"},
        {SCHEMA "name: a\nname: b\n",
         "run.yaml:3:1: error: 'name' is given twice; the first stands at line 2, column 1"},
        {SCHEMA "matrix: {device: [cpu], seed: [1], seed: [1, 2, 3, 4, 5, 6, 7, 8], device: cpu}\n",
         "run.yaml:2:36: error: 'seed' is given twice"},
        {SCHEMA "models: &a [S]\n", "run.yaml:2:9: error: anchors (&a)"},
        {SCHEMA "models: *a\n", "run.yaml:2:9: error: aliases (*a)"},
        {SCHEMA "name: !!str x\n", "run.yaml:2:7: error: tags"},
        {SCHEMA "<<: {name: a}\n", "run.yaml:2:1: error: merge keys"},
        {SCHEMA "[a, b]: c\n", "run.yaml:2:1: error: a key must be a word, not a list"},
        {SCHEMA "---\nname: x\n", "run.yaml:2:1: error: a second document"},
        {SCHEMA "name: [a\n", "run.yaml:3:1: error: not YAML"},
        {SCHEMA "name: 'a\n", "error: not YAML"},
        {SCHEMA "\tname: a\n", "run.yaml:2:1: error: not YAML"},
        {SCHEMA "name: a\033[31m\n", "run.yaml:2:8: error: not YAML: control characters"},
        {SCHEMA "name: a\xff\n", "run.yaml:2:8: error: the byte 0xff is not UTF-8"},
        {SCHEMA "name: \xe0\x80\xaf\n", "run.yaml:2:7: error: the byte 0xe0 is not UTF-8"},
        {SCHEMA "name: \xed\xa0\x80\n", "run.yaml:2:7: error: the byte 0xed is not UTF-8"},
        {SCHEMA "exclude: [{model: S}]\n", "run.yaml:2:11: error: no cell is left: all 1 are excluded"},
        {SCHEMA
         "matrix: {seed: [1,2,3,4,5,6,7,8,9,10], warmup: [1,2,3,4,5,6,7,8,9,10], threads: [1,2,3,4,5,6,7,8,9,10], "
         "batch_size: [1,2,3,4,5,6,7,8,9,10], context_length: [1,2,3,4,5,6,7,8,9,10], d_ff: [8, 16]}\n",
         "run.yaml:2:9: error: the matrix has more than 100000 cells"},
        {SCHEMA "measure: {repetitions: 10000}\nmatrix: {seed: [1,2,3,4,5,6,7,8,9,10,11]}\n", "more than 100000 cells"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct error error;
        errors_of(wrong[i].yaml, strlen(wrong[i].yaml), &error);
        if (!strstr(error.text, wrong[i].wanted))
            fail_msg("%s\ngave: %s\nnot:  %s", wrong[i].yaml, error.text, wrong[i].wanted);
    }
}

static void caret_stands_under_the_fault(void **state)
{
    (void)state;
    struct error error;
    const char *yaml = SCHEMA "matrix: {contxt_length: [8]}\n";
    errors_of(yaml, strlen(yaml), &error);
    assert_string_equal(error.text, "run.yaml:2:10: error: 'contxt_length' is not a matrix key; did you mean "
                                    "'context_length'?\n"
                                    "  matrix: {contxt_length: [8]}\n"
                                    "           ^");
    /* Characters count, not bytes. */
    yaml = SCHEMA "name: \"ü→ü\"\ndescription: \"üüü\"\nmatrix: {\"ü\": 1, dtype: x}\n";
    errors_of(yaml, strlen(yaml), &error);
    assert_non_null(strstr(error.text, "run.yaml:4:25: error: 'x' is not a dtype"));
    assert_non_null(strstr(error.text, "\n  matrix: {\"ü\": 1, dtype: x}\n                          ^"));
    /* What others have and we do not is refused by name. */
    yaml = SCHEMA "matrix: {dtype: [fp16]}\n";
    errors_of(yaml, strlen(yaml), &error);
    assert_non_null(strstr(error.text, "dtype 'fp16' is unsupported: gradients leave its range"));
    /* A far column is shown in a window. */
    struct strbuf wide = {0};
    strbuf_puts(&wide, SCHEMA "matrix: {batch_size: [");
    for (int i = 1; i < 200; i++)
        strbuf_printf(&wide, "%d, ", i);
    strbuf_puts(&wide, "x]}\n");
    errors_of(wide.text, wide.length, &error);
    const char *source = strchr(error.text, '\n') + 1, *caret = strchr(source, '\n') + 1;
    assert_true(strlen(error.text) < 400);
    assert_int_equal(strncmp(source, "  …", 5), 0);
    /* The ellipsis is one column of three bytes. */
    assert_int_equal(source[strcspn(caret, "^") + 2], 'x');
    strbuf_release(&wide);
}

static void several_at_once_in_order(void **state)
{
    (void)state;
    struct error error;
    const char *yaml = SCHEMA "measure: {step: 3}\nmatrix: {device: GPU, batch_size: 0}\nmodels: [Q]\n";
    errors_of(yaml, strlen(yaml), &error);
    const char *first = strstr(error.text, "run.yaml:2:11:"), *second = strstr(error.text, "run.yaml:3:18:");
    const char *third = strstr(error.text, "run.yaml:3:35:"), *fourth = strstr(error.text, "run.yaml:4:10:");
    assert_true(first && second && third && fourth && first < second && second < third && third < fourth);
    /* Many are cut, and counted. */
    struct strbuf many = {0};
    strbuf_puts(&many, SCHEMA "matrix:\n");
    for (int i = 0; i < 100; i++)
        strbuf_printf(&many, "  wrong_%d: 1\n", i);
    errors_of(many.text, many.length, &error);
    assert_non_null(strstr(error.text, "\nand 92 more errors"));
    strbuf_release(&many);
}

static void limits_hold(void **state)
{
    (void)state;
    struct error error;
    static const char nul[] = SCHEMA "name: a\0b\n";
    errors_of(nul, sizeof nul - 1, &error);
    assert_non_null(strstr(error.text, "run.yaml:2:8: error: a NUL character"));
    static const char escaped[] = SCHEMA "name: \"a\\0b\"\n";
    errors_of(escaped, sizeof escaped - 1, &error);
    assert_non_null(strstr(error.text, "NUL"));
    struct strbuf big = {0};
    strbuf_puts(&big, SCHEMA "#");
    while (big.length <= PROFILE_BYTES_MAX)
        strbuf_putc(&big, 'x');
    errors_of(big.text, big.length, &error);
    assert_non_null(strstr(error.text, "larger than 1048576 bytes"));
    /* Deep nesting ends at once, however deep. */
    strbuf_clear(&big);
    strbuf_puts(&big, SCHEMA "name: ");
    while (big.length < PROFILE_BYTES_MAX)
        strbuf_putc(&big, '[');
    errors_of(big.text, big.length, &error);
    assert_non_null(strstr(error.text, "run.yaml:2:22: error: nested more than 16 deep"));
    /* Many keys. */
    strbuf_clear(&big);
    strbuf_puts(&big, SCHEMA "matrix:\n");
    for (int i = 0; i < 50000; i++)
        strbuf_printf(&big, "  k%d: 1\n", i);
    errors_of(big.text, big.length, &error);
    assert_non_null(strstr(error.text, "more than 256 keys"));
    strbuf_release(&big);
}

/* Whatever is cut off the end of a good profile: an answer, never a crash, and never a different profile under the same
 * digest. */
static void cut_at_any_byte(void **state)
{
    (void)state;
    static const char yaml[] = SCHEMA "models:\n- {name: mine, d_model: 512, d_ff: 2048, num_layers: 3, num_heads: 8, "
                                      "vocab_size: 1003}\n- {preset: cs336-2025, select: [S]}\n"
                                      "matrix: {dtype: [fp32, bf16], batch_size: [1, 2]}\nexclude: [{model: S}]\n";
    for (size_t length = 0; length < sizeof yaml; length++) {
        char *copy = malloc(length ? length : 1); /* exact, for the sanitizer */
        memcpy(copy, yaml, length);
        struct profile profile;
        struct error error = {0};
        if (profile_parse(copy, length, "cut.yaml", &profile, &error)) {
            assert_true(profile.cells.count > 0);
            profile_free(&profile);
        } else
            assert_true(strlen(error.text) > 10);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_has_its_place), cmocka_unit_test(caret_stands_under_the_fault),
        cmocka_unit_test(several_at_once_in_order), cmocka_unit_test(limits_hold),
        cmocka_unit_test(cut_at_any_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
