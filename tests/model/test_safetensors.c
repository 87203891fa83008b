/* The safetensors reader takes what the format allows and refuses the rest with the reason: lying lengths and offsets,
 * duplicates, gaps, overlaps, files cut at any byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/strbuf.h"
#include "model/safetensors.h"
#include "model/verify.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file of `header` and `data_length` bytes 0, 1, 2 … of data. */
static struct strbuf file_of(const char *header, size_t data_length)
{
    struct strbuf file = {0};
    const uint64_t length = strlen(header);
    for (int i = 0; i < 8; i++)
        strbuf_putc(&file, (char)(length >> (8 * i)));
    strbuf_puts(&file, header);
    for (size_t i = 0; i < data_length; i++)
        strbuf_putc(&file, (char)i);
    return file;
}

/* Parses a copy of exact length, so that a sanitizer sees a read beyond its end. */
static bool parses(const char *bytes, size_t length, struct error *error)
{
    char *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    struct safetensors file;
    const bool ok = safetensors_parse(copy, length, "x.safetensors", &file, error);
    if (ok)
        safetensors_free(&file);
    free(copy);
    return ok;
}

static void assert_refused(const char *header, size_t data_length, const char *reason)
{
    struct error error = {0};
    struct strbuf file = file_of(header, data_length);
    if (parses(file.text, file.length, &error))
        fail_msg("accepted: %s", header);
    assert_int_equal(error.kind, ERROR_INPUT);
    if (!strstr(error.text, reason) || strncmp(error.text, "x.safetensors: ", 15) != 0)
        fail_msg("%s\n  says: %s\n  not: %s", header, error.text, reason);
    for (const char *at = error.text; *at; at++)
        assert_true((unsigned char)*at >= 0x20);
    strbuf_release(&file);
}

static void values_are_read(void **state)
{
    (void)state;
    struct strbuf text = file_of("{\"__metadata__\":{\"k\":\"v\"},"
                                 "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[16,20]},"
                                 "\"a\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
                                 "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[20,20]},"
                                 "\"d\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[20,28]},"
                                 "\"f\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[28,32]}}   ",
                                 0);
    const int32_t whole[4] = {1, -2, 3, INT32_MAX};
    const uint16_t half[2] = {0x3fc0, 0xc000}; /* 1.5, −2 */
    const double real = 0.1;
    const float single = -0.25f;
    strbuf_add(&text, (const char *)whole, sizeof whole);
    strbuf_add(&text, (const char *)half, sizeof half);
    strbuf_add(&text, (const char *)&real, sizeof real);
    strbuf_add(&text, (const char *)&single, sizeof single);
    struct safetensors file;
    struct error error = {0};
    if (!safetensors_parse(text.text, text.length, "x", &file, &error))
        fail_msg("%s", error.text);
    assert_int_equal(file.tensor_count, 5);
    assert_string_equal(safetensors_note(&file, "k"), "v");
    assert_null(safetensors_note(&file, "b"));
    assert_null(safetensors_find(&file, "missing"));
    double values[4];
    safetensors_values(safetensors_find(&file, "a"), values);
    assert_true(values[0] == 1 && values[1] == -2 && values[3] == (double)INT32_MAX);
    safetensors_values(safetensors_find(&file, "b"), values);
    assert_true(values[0] == 1.5 && values[1] == -2);
    safetensors_values(safetensors_find(&file, "d"), values);
    assert_true(values[0] == real && safetensors_find(&file, "d")->rank == 0);
    safetensors_values(safetensors_find(&file, "f"), values);
    assert_true(values[0] == -0.25);
    assert_int_equal(safetensors_find(&file, "none")->elements, 0);
    safetensors_free(&file);
    strbuf_release(&text);
}

#define TENSOR(rest) "{\"t\":{" rest "}}"

static void lies_are_refused(void **state)
{
    (void)state;
    assert_refused("", 0, "does not start with '{'");
    assert_refused("[1]", 0, "does not start with '{'");
    assert_refused("{\"t\":", 0, "not valid JSON");
    assert_refused("{} x", 0, "not valid JSON");
    assert_refused("{\"t\":1}", 0, "tensor 't': its entry is not an object");
    assert_refused("{\"a\\u0000b\":1}", 0, "not valid JSON");
    assert_refused("{\"\\u001b[2J\":1}", 0, "tensor '?[2J'");
    assert_refused("{\"t\":{},\"t\":{}}", 0, "duplicate");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"dtype\":\"F32\""), 0, "duplicate");
    assert_refused(TENSOR("\"dtype\":\"F8\",\"shape\":[],\"data_offsets\":[0,1]"), 1, "dtype is F8");
    assert_refused(TENSOR("\"shape\":[],\"data_offsets\":[0,4]"), 4, "dtype is missing");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"data_offsets\":[0,4]"), 4, "shape is missing");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]"), 4, "not two whole numbers");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]"), 4, "axis 0");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]"), 4, "axis 0");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4, "9 axes");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]"), 0, "64 bits");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]"), 0,
                   "do not make");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[1]"), 4, "data_offsets");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]"), 4, "data_offsets");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]"), 4, "in order");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]"), 4, "in order");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]"), 8, "do not make the 8 bytes");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]"), 4, "holds only 4");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1"), 4,
                   "'more' is not a key");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]"), 8, "leave a gap");
    assert_refused(TENSOR("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), 5,
                   "1 bytes after the last tensor");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                   "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                   8, "overlap");
    assert_refused("{\"__metadata__\":{\"k\":1}}", 0, "is not a string");
    assert_refused("{\"__metadata__\":[]}", 0, "is not an object");

    struct error error = {0};
    assert_false(parses("\x01\x00\x00", 3, &error));
    assert_non_null(strstr(error.text, "3 bytes are no safetensors file"));
    assert_false(parses("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, &error));
    assert_non_null(strstr(error.text, "but 2 follow"));
}

#define FIXTURE TEST_SOURCE_DIR "/model/reference"

/* Cut at any byte, the fixture's weights are refused, and never read beyond the end. */
static void cut_files_are_refused(void **state)
{
    (void)state;
    char *bytes;
    size_t length;
    struct error error = {0};
    assert_true(file_read(FIXTURE "/weights.safetensors", 1 << 20, &bytes, &length, &error));
    assert_true(parses(bytes, length, &error));
    for (size_t cut = 0; cut < length; cut += cut < 4096 ? 1 : 97)
        assert_false(parses(bytes, cut, &error));
    free(bytes);
}

/* Any one byte of the header changed: refused or accepted, but never a crash; and with a tensor renamed the truth says so. */
static void changed_headers_do_not_crash(void **state)
{
    (void)state;
    char *bytes;
    size_t length;
    struct error error = {0};
    assert_true(file_read(FIXTURE "/inputs.safetensors", 1 << 20, &bytes, &length, &error));
    int refused = 0;
    for (size_t i = 0; i < length; i++) {
        const char kept = bytes[i];
        static const char others[] = {0, '"', '9', '-', '}', (char)0xff};
        for (size_t k = 0; k < sizeof others; k++) {
            bytes[i] = others[k];
            refused += !parses(bytes, length, &error);
        }
        bytes[i] = kept;
    }
    assert_true(refused > 100);
    free(bytes);
}

static void write_text(const char *folder, const char *name, const void *bytes, size_t length)
{
    char path[256];
    struct error error = {0};
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    if (!file_write_atomic(path, bytes, length, &error))
        fail_msg("%s", error.text);
}

/* A folder with the fixture's three files, one of which has `from` replaced by `to` of the same length. */
static void assert_truth_refused(const char *file, const char *from, const char *to, const char *reason)
{
    static const char *const names[] = {"weights", "inputs", "expected"};
    char folder[] = "/tmp/steptop-truth-XXXXXX";
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 3; i++) {
        char path[256], *bytes;
        size_t length;
        struct error error = {0};
        snprintf(path, sizeof path, FIXTURE "/%s.safetensors", names[i]);
        assert_true(file_read(path, 1 << 20, &bytes, &length, &error));
        if (strcmp(file, names[i]) == 0) {
            char *place = memmem(bytes, length, from, strlen(from));
            assert_non_null(place);
            assert_int_equal(strlen(from), strlen(to));
            memcpy(place, to, strlen(to));
        }
        write_text(folder, names[i], bytes, length);
        free(bytes);
    }
    struct truth truth;
    struct error error = {0};
    if (truth_read(folder, &truth, &error))
        fail_msg("accepted a truth with %s for %s", to, from);
    assert_int_equal(error.kind, ERROR_INPUT);
    if (!strstr(error.text, reason))
        fail_msg("says: %s\n  not: %s", error.text, reason);
    for (int i = 0; i < 3; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s.safetensors", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void wrong_truths_are_refused(void **state)
{
    (void)state;
    assert_truth_refused("weights", "layers.1.ln2.weight", "layers.9.ln2.weight", "'layers.1.ln2.weight' is missing");
    assert_truth_refused("weights", "token_embeddings.weight", "token_embeddingz.weight",
                         "'token_embeddings.weight' is");
    assert_truth_refused("weights", "\"num_heads\": \"2\"", "\"num_heads\": \"x\"", "'num_heads' is no number");
    assert_truth_refused("weights", "\"num_heads\": \"2\"", "\"num_heads\": \"3\"", "not a multiple of num_heads");
    assert_truth_refused("weights", "\"num_heads\": \"2\"", "\"num_headz\": \"2\"", "lacks 'num_heads'");
    assert_truth_refused("weights", "\"steps\": \"3\"", "\"steps\": \"0\"", "'steps' is no number");
    assert_truth_refused("inputs", "\"targets\"", "\"targetz\"", "'targets' is missing");
    assert_truth_refused("expected", "grad.ln_final.weight", "grad.ln_finol.weight",
                         "'grad.ln_final.weight' is missing");
    assert_truth_refused("expected", "\"loss\"", "\"lots\"", "'loss' is missing");
    struct truth truth;
    struct error error = {0};
    assert_false(truth_read("/no/such/folder", &truth, &error));
    assert_non_null(strstr(error.text, "/no/such/folder/weights.safetensors"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read),          cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(cut_files_are_refused),    cmocka_unit_test(changed_headers_do_not_crash),
        cmocka_unit_test(wrong_truths_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
