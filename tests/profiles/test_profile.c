/* From YAML and flags to cells: the shipped profiles, the order of the matrix, exclusions, own models, repetitions, what
 * flags replace, and that the template and the digest agree with the reader. */
#include "base/file.h"
#include "base/sha256.h"
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

static void parse(const char *yaml, struct profile *profile)
{
    struct error error = {0};
    if (!profile_parse(yaml, strlen(yaml), "test.yaml", profile, &error))
        fail_msg("%s", error.text);
}

/* Titles of all cells, one a line, after "apply"ing overrides {key, value, key, value …, NULL}. */
static char *titles(const char *yaml, const char *const *overrides)
{
    struct profile profile;
    struct error error = {0};
    struct profile_override list[8];
    int count = 0;
    parse(yaml, &profile);
    for (; overrides && overrides[0]; overrides += 2)
        list[count++] = (struct profile_override){overrides[0], overrides[1], overrides[0]};
    if (count && !profile_apply(&profile, list, count, &error))
        fail_msg("%s", error.text);
    struct strbuf out = {0};
    for (size_t i = 0; i < profile.cells.count; i++) {
        char title[160];
        cell_title(&profile.cells.items[i], true, title, sizeof title);
        strbuf_printf(&out, "%s\n", title);
    }
    profile_free(&profile);
    return out.text;
}

static void expect_titles(const char *yaml, const char *const *overrides, const char *wanted)
{
    char *got = titles(yaml, overrides);
    assert_string_equal(got, wanted);
    free(got);
}

static void shipped_profiles_are_read(void **state)
{
    (void)state;
    struct profile profile;
    struct error error = {0};
    setenv("STEPTOP_PROFILE_FOLDER", TEST_SOURCE_DIR "/../profiles", 1);
    assert_true(profile_read("quickstart", &profile, &error));
    assert_int_equal(profile.cells.count, 1);
    struct cell cell;
    cell_default(&cell);
    assert_true(cell_equal(&profile.cells.items[0], &cell));
    assert_string_equal(cell.model.name, "S");
    assert_int_equal(cell.model.d_model, 768);
    assert_int_equal(cell.batch_size, 4);
    assert_int_equal(cell.context_length, 256);
    assert_int_equal(cell.warmup, 1);
    assert_int_equal(cell.steps, 5);
    assert_int_equal(cell.passes, PASS_BIT(PASS_FWD) | PASS_BIT(PASS_FWD_BWD));
    profile_free(&profile);

    assert_true(profile_read("seed", &profile, &error));
    assert_int_equal(profile.cells.count, 6);
    static const char names[] = "SMLSML";
    for (size_t i = 0; i < 6; i++) {
        const struct cell *at = &profile.cells.items[i];
        assert_int_equal(at->model.name[0], names[i]);
        assert_int_equal(at->compile, i >= 3);
        assert_int_equal(at->warmup, 5);
        assert_int_equal(at->steps, 10);
        assert_string_equal(at->model.preset, "cs336-2025");
    }
    profile_free(&profile);

    assert_true(profile_read("tiny", &profile, &error));
    assert_int_equal(profile.cells.items[0].passes, 7);
    profile_free(&profile);

    /* The handout's 4.1: width by context, batch 8, one head; a model whose sizes an axis changed is named by them. */
    assert_true(profile_read("attention", &profile, &error));
    assert_int_equal(profile.cells.count, 20);
    assert_int_equal(profile.on_oom, ON_OOM_SKIP_LARGER);
    for (size_t i = 0; i < 20; i++) {
        static const int64_t widths[] = {16, 32, 64, 128}, contexts[] = {256, 1024, 4096, 8192, 16384};
        const struct cell *at = &profile.cells.items[i];
        assert_int_equal(at->model.kind, MODEL_ATTENTION);
        assert_int_equal(at->model.d_model, widths[i / 5]);
        assert_int_equal(at->model.num_heads, 1);
        assert_int_equal(at->context_length, contexts[i % 5]);
        assert_int_equal(at->batch_size, 8);
    }
    assert_string_equal(profile.cells.items[0].model.name, "attention-d16");
    profile_free(&profile);

    /* Collectives alone: no size of a model multiplies them. */
    assert_true(profile_read("collectives", &profile, &error));
    assert_int_equal(profile.cells.count, 4 * 2 * 4);
    const struct profile_override more = {"model", "S,M,L", "--model"};
    assert_true(profile_apply(&profile, &more, 1, &error));
    assert_int_equal(profile.cells.count, 4 * 2 * 4);
    char title[160];
    cell_title(&profile.cells.items[6], true, title, sizeof title);
    assert_string_equal(title, "all_reduce, 1000 MB, fp32, 2 ranks, cpu");
    const struct profile_override alone = {"ranks", "1", "--ranks"};
    assert_false(profile_apply(&profile, &alone, 1, &error));
    assert_non_null(strstr(error.text, "all_reduce takes two ranks at least"));
    profile_free(&profile);

    struct profile_listing listings[8];
    assert_int_equal(profile_list(listings, 8), 5);
    assert_string_equal(listings[0].name, "attention");
    assert_string_equal(listings[1].name, "collectives");
    assert_string_equal(listings[2].name, "quickstart");
    assert_string_equal(listings[4].name, "tiny");
    assert_non_null(strstr(listings[3].description, "seed's CPU table"));

    assert_false(profile_read("sead", &profile, &error));
    assert_non_null(strstr(error.text, "'sead'"));
    assert_non_null(strstr(error.text, "did you mean 'seed'"));
    assert_int_equal(error.kind, ERROR_INPUT);
    unsetenv("STEPTOP_PROFILE_FOLDER");
}

/* Cells that differ only in warm-up, seed or threads must not look the same, and others must not be told more than needed. */
static void titles_tell_cells_apart(void **state)
{
    (void)state;
    expect_titles(SCHEMA "models: [tiny]\nmatrix: {warmup: [0, 5], seed: [1, 2], threads: [0, 1]}\n", NULL,
                  "tiny, b4, c256, fp32, eager, cpu, all threads, warm-up 0, seed 1\n"
                  "tiny, b4, c256, fp32, eager, cpu, all threads, warm-up 0, seed 2\n"
                  "tiny, b4, c256, fp32, eager, cpu, all threads, warm-up 5, seed 1\n"
                  "tiny, b4, c256, fp32, eager, cpu, all threads, warm-up 5, seed 2\n"
                  "tiny, b4, c256, fp32, eager, cpu, 1 thread, warm-up 0, seed 1\n"
                  "tiny, b4, c256, fp32, eager, cpu, 1 thread, warm-up 0, seed 2\n"
                  "tiny, b4, c256, fp32, eager, cpu, 1 thread, warm-up 5, seed 1\n"
                  "tiny, b4, c256, fp32, eager, cpu, 1 thread, warm-up 5, seed 2\n");
    expect_titles(SCHEMA "models: [tiny]\nmatrix: {warmup: [3], seed: [1], threads: [2], context_length: [8, 16]}\n",
                  NULL, "tiny, b4, c8, fp32, eager, cpu\ntiny, b4, c16, fp32, eager, cpu\n");
    /* Two matrices that differ, and flags over a profile. */
    expect_titles(SCHEMA "models: [tiny]\nmatrix: [{warmup: 1}, {warmup: 2}]\n", NULL,
                  "tiny, b4, c256, fp32, eager, cpu, warm-up 1\ntiny, b4, c256, fp32, eager, cpu, warm-up 2\n");
    static const char *const flags[] = {"threads", "1,2", NULL};
    expect_titles(SCHEMA "models: [tiny]\nmatrix: {warmup: 1}\n", flags,
                  "tiny, b4, c256, fp32, eager, cpu, 1 thread\ntiny, b4, c256, fp32, eager, cpu, 2 threads\n");
}

static void matrix_nests_in_order(void **state)
{
    (void)state;
    expect_titles(SCHEMA
                  "matrix: {context_length: [128, 64], model: [tiny, S], dtype: [fp32, bf16], compile: [true, false]}",
                  NULL,
                  "tiny, b4, c128, fp32, compile, cpu\ntiny, b4, c64, fp32, compile, cpu\n"
                  "S, b4, c128, fp32, compile, cpu\nS, b4, c64, fp32, compile, cpu\n"
                  "tiny, b4, c128, bf16, compile, cpu\ntiny, b4, c64, bf16, compile, cpu\n"
                  "S, b4, c128, bf16, compile, cpu\nS, b4, c64, bf16, compile, cpu\n"
                  "tiny, b4, c128, fp32, eager, cpu\ntiny, b4, c64, fp32, eager, cpu\n"
                  "S, b4, c128, fp32, eager, cpu\nS, b4, c64, fp32, eager, cpu\n"
                  "tiny, b4, c128, bf16, eager, cpu\ntiny, b4, c64, bf16, eager, cpu\n"
                  "S, b4, c128, bf16, eager, cpu\nS, b4, c64, bf16, eager, cpu\n");
}

static void several_matrices_and_exclusions(void **state)
{
    (void)state;
    expect_titles(SCHEMA "models: [S, M]\n"
                         "matrix:\n- {context_length: [64, 128]}\n- {device: cuda:0, model: M, batch_size: 1}\n"
                         "exclude: [{model: M, context_length: 128}, {device: cuda:0, batch_size: [2, 4]}]\n",
                  NULL,
                  "S, b4, c64, fp32, eager, cpu\nS, b4, c128, fp32, eager, cpu\nM, b4, c64, fp32, eager, cpu\n"
                  "M, b1, c256, fp32, eager, cuda:0\n");
    struct profile profile;
    parse(SCHEMA "exclude: [{model: L}]\n", &profile);
    assert_int_equal(profile.warnings.count, 1);
    assert_non_null(strstr(profile.warnings.items[0], "line 2"));
    profile_free(&profile);
}

static void own_models(void **state)
{
    (void)state;
    struct profile profile;
    parse(SCHEMA "models:\n- {name: mine, d_model: 512, d_ff: 2050, num_layers: 3, num_heads: 8, vocab_size: 1003}\n"
                 "- {name: att, kind: attention, d_model: 32, num_heads: 1}\n- {preset: cs336-2026, select: [small]}\n"
                 "- cs336-2025/S\n",
          &profile);
    assert_int_equal(profile.cells.count, 4);
    const struct model_config *model = &profile.cells.items[0].model;
    assert_string_equal(model->name, "mine");
    assert_string_equal(model->preset, "");
    assert_int_equal(model->kind, MODEL_LM);
    assert_int_equal(model->d_ff, 2050);
    assert_int_equal(model->vocab_size, 1003);
    assert_int_equal(profile.cells.items[1].model.kind, MODEL_ATTENTION);
    assert_string_equal(profile.cells.items[2].model.preset, "cs336-2026");
    /* d_ff 2050 is no multiple of 8: the typo that the seed's author made. */
    assert_int_equal(profile.warnings.count, 1);
    assert_non_null(strstr(profile.warnings.items[0], "2050"));
    profile_free(&profile);

    parse(SCHEMA "models: {preset: cs336-2026}\n", &profile);
    assert_int_equal(profile.cells.count, 5);
    profile_free(&profile);
}

static void sizes_as_axes_rename_the_model(void **state)
{
    (void)state;
    expect_titles(SCHEMA "matrix: {model: attention, d_model: [16, 64], batch_size: 8, context_length: [256, 1024]}\n"
                         "exclude: [{model: attention, d_model: 64, context_length: 256}]\n",
                  NULL,
                  "attention-d16, b8, c256, fp32, eager, cpu\nattention-d16, b8, c1024, fp32, eager, cpu\n"
                  "attention, b8, c1024, fp32, eager, cpu\n");
    struct profile profile;
    parse(SCHEMA "matrix: {model: S, d_model: [768, 384], num_layers: 2}\n", &profile);
    assert_string_equal(profile.cells.items[0].model.name, "S-L2");
    assert_string_equal(profile.cells.items[0].model.preset, "");
    assert_string_equal(profile.cells.items[1].model.name, "S-d384-L2");
    assert_int_equal(profile.cells.items[1].model.d_model, 384);
    profile_free(&profile);
}

static void repetitions_and_interleaving(void **state)
{
    (void)state;
    expect_titles(SCHEMA "models: [tiny, S]\nmeasure: {repetitions: 2}\n", NULL,
                  "tiny, b4, c256, fp32, eager, cpu\ntiny, b4, c256, fp32, eager, cpu, #2\n"
                  "S, b4, c256, fp32, eager, cpu\nS, b4, c256, fp32, eager, cpu, #2\n");
    expect_titles(SCHEMA "models: [tiny, S]\nmeasure: {repetitions: 3, interleave: true}\n", NULL,
                  "tiny, b4, c256, fp32, eager, cpu\nS, b4, c256, fp32, eager, cpu\n"
                  "S, b4, c256, fp32, eager, cpu, #2\ntiny, b4, c256, fp32, eager, cpu, #2\n"
                  "tiny, b4, c256, fp32, eager, cpu, #3\nS, b4, c256, fp32, eager, cpu, #3\n");
}

static void flags_replace_axes_and_settings(void **state)
{
    (void)state;
    static const char *const overrides[] = {"model", "tiny,M", "context_length", "32,64", "compile", "false", NULL};
    expect_titles(SCHEMA "models: [S]\nmatrix: {compile: [false, true], context_length: 256, batch_size: 2}\n",
                  overrides,
                  "tiny, b2, c32, fp32, eager, cpu\ntiny, b2, c64, fp32, eager, cpu\n"
                  "M, b2, c32, fp32, eager, cpu\nM, b2, c64, fp32, eager, cpu\n");

    struct profile profile;
    struct error error = {0};
    parse(SCHEMA "measure: {steps: 10, warmup: 5}\n", &profile);
    const struct profile_override settings[] = {
        {"steps", "forever", "--steps"},       {"warmup", "0,1,2,5", "--warmup"}, {"passes", "fwd", "--passes"},
        {"on_oom", "skip_larger", "--on-oom"}, {"timeout_s", "7", "--timeout"},   {"every", "0", "--profile-every"},
        {"memory", "false", "--no-memory"},    {"seed", NULL, "--seed"}};
    assert_true(profile_apply(&profile, settings, sizeof settings / sizeof *settings, &error));
    assert_int_equal(profile.cells.count, 4);
    static const uint32_t warmups[] = {0, 1, 2, 5};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(profile.cells.items[i].warmup, warmups[i]);
        assert_int_equal(profile.cells.items[i].steps, STEPS_FOREVER);
        assert_int_equal(profile.cells.items[i].passes, PASS_BIT(PASS_FWD));
        assert_int_equal(profile.cells.items[i].timeout_s, 7);
        assert_int_equal(profile.cells.items[i].profile_every, 0);
        assert_false(profile.cells.items[i].memory);
    }
    assert_int_equal(profile.on_oom, ON_OOM_SKIP_LARGER);
    profile_free(&profile);
}

static void flags_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *word;
    } wrong[] = {
        {"model", "S,Q", "'Q'"},
        {"model", "S,", "model has no value"},
        {"model", "S,S", "twice"},
        {"batch_size", "0", "batch_size 0"},
        {"batch_size", "1.5", "'1.5'"},
        {"batch_size", "4x", "'4x'"},
        {"steps", "0", "steps 0"},
        {"steps", "ever", "'ever'"},
        {"steps", "-3", "steps -3"},
        {"steps", "99999999999999999999", "out of range"},
        {"dtype", "fp16", "'fp16'"},
        {"dtype", "bf61", "did you mean 'bf16'"},
        {"compile", "yes", "did you mean 'true'"},
        {"passes", "fwd,fwd", "twice"},
        {"passes", "bwd", "did you mean 'fwd'"},
        {"device", "gpu0", "'gpu0'"},
        {"device", "cuda:", "'cuda:'"},
        {"device", "../x", "'../x'"},
        {"num_heads", "5", "multiple of num_heads"},
        {"threads", "-1", "threads -1"},
        {"nonsense", "1", "'nonsense'"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct profile profile;
        struct error error = {0};
        assert_true(profile_default(&profile, &error));
        const struct profile_override override = {wrong[i].key, wrong[i].value, "--flag"};
        if (profile_apply(&profile, &override, 1, &error))
            fail_msg("%s=%s was taken", wrong[i].key, wrong[i].value);
        if (!strstr(error.text, wrong[i].word))
            fail_msg("%s=%s: '%s' does not say %s", wrong[i].key, wrong[i].value, error.text, wrong[i].word);
        assert_int_equal(error.kind, ERROR_USAGE);
        profile_free(&profile);
    }
}

static void cells_are_set_one_value_at_a_time(void **state)
{
    (void)state;
    struct cell cell, other;
    struct error error = {0};
    cell_default(&cell);
    other = cell;
    assert_true(cell_set(&cell, "context_length", "512", &error));
    assert_int_equal(cell.context_length, 512);
    assert_false(cell_equal(&cell, &other));
    assert_true(cell_set(&cell, "d_model", "768", &error));
    assert_string_equal(cell.model.name, "S");
    assert_true(cell_set(&cell, "d_model", "384", &error));
    assert_true(cell_set(&cell, "num_layers", "2", &error));
    assert_string_equal(cell.model.name, "own-d384-ff3072-L2-h12");
    assert_false(cell_set(&cell, "steps", "none", &error));
    assert_non_null(strstr(error.text, "'none'"));
    assert_false(cell_set(&cell, "repetitions", "2", &error));
    char warning[128];
    assert_true(cell_check(&cell, warning, sizeof warning, &error));
    assert_true(cell_set(&cell, "num_heads", "5", &error));
    assert_false(cell_check(&cell, warning, sizeof warning, &error));
}

static void plan_request_follows_the_cell(void **state)
{
    (void)state;
    struct cell cell;
    struct plan_request request;
    cell_default(&cell);
    cell.passes = PASS_BIT(PASS_FWD);
    cell_plan_request(&cell, 0, &request);
    assert_int_equal(request.phases, PHASES_FWD);
    cell.passes |= PASS_BIT(PASS_TRAIN_STEP);
    cell_plan_request(&cell, FUSE_ALL, &request);
    assert_int_equal(request.phases, PHASES_TRAIN_STEP);
    assert_int_equal(request.fusions, FUSE_ALL);
    assert_int_equal(request.batch, 4);
    assert_int_equal(request.context, 256);
}

static void template_is_the_quickstart(void **state)
{
    (void)state;
    struct strbuf text = {0};
    struct profile profile;
    struct cell cell;
    profile_template("mine", "x/mine.yaml", &text);
    parse(text.text, &profile);
    cell_default(&cell);
    assert_int_equal(profile.cells.count, 1);
    assert_true(cell_equal(&profile.cells.items[0], &cell));
    assert_string_equal(profile.name, "mine");
    assert_non_null(strstr(text.text, "\nname: \"mine\"\n")); /* another one may be called no, or 1.0 */
    assert_non_null(strstr(text.text, "# What steptop measures. Run it with: steptop run x/mine.yaml\n"));
    profile_free(&profile);
    /* Its commented lines are valid too. */
    struct strbuf open = {0};
    for (const char *line = text.text; *line; line += strcspn(line, "\n") + 1) {
        const bool value =
            strncmp(line, "  # ", 4) == 0 && strchr(line, '[') && strchr(line, '[') < line + strcspn(line, "\n");
        strbuf_printf(&open, "%s%.*s\n", value ? "  " : "", (int)strcspn(value ? line + 4 : line, "\n"),
                      value ? line + 4 : line);
    }
    parse(open.text, &profile);
    assert_true(cell_equal(&profile.cells.items[0], &cell));
    profile_free(&profile);
    strbuf_release(&open);
    strbuf_release(&text);
}

static void digest_depends_on_what_is_asked_for_alone(void **state)
{
    (void)state;
    struct profile a, b;
    parse(SCHEMA "name: a\nmodels: [S]\nmatrix: {batch_size: 4, device: cpu}\n", &a);
    parse(SCHEMA "matrix: {device: [cpu], model: [S]}\nmeasure: {steps: 5}\n# another text\n", &b);
    assert_string_equal(a.digest, b.digest);
    assert_int_equal(strlen(a.digest), 64);
    profile_free(&b);
    parse(SCHEMA "measure: {steps: 6}\n", &b);
    assert_string_not_equal(a.digest, b.digest);
    profile_free(&a);
    profile_free(&b);
    /* FIPS 180-4's examples, and lengths around the padding's edge (values by coreutils' sha256sum). */
    char hex[65], long_text[120];
    sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_hex("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    memset(long_text, 'a', sizeof long_text);
    sha256_hex(long_text, 119, hex);
    assert_string_equal(hex, "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb");
    sha256_hex(long_text, 55, hex);
    assert_string_equal(hex, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
}

static void a_command_is_known_by_its_script(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"/opt/venv/bin/python projects/adder/adder.py --lr 1e-3", "adder.py --lr 1e-3"},
        {"python3 -u -m torch.distributed.run --nproc-per-node 2 /home/x/train.py a/b", "train.py a/b"},
        {"/usr/bin/python3 -m package.train --steps 5", "package.train --steps 5"},
        {"torchrun --nproc-per-node 2 train.py", "train.py"},
        {"./build/bin/simulate --grid 4 data/in.bin", "simulate --grid 4 data/in.bin"},
        {"/bin/make -m x", "make -m x"},
        {"cd/", "cd/"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[128];
        command_name(names[i][0], text, sizeof text);
        assert_string_equal(text, names[i][1]);
    }
}

int main(void)
{
    setenv("XDG_CONFIG_HOME", "/no/such/folder", 1); /* a person's own profiles are listed, too */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shipped_profiles_are_read),
        cmocka_unit_test(titles_tell_cells_apart),
        cmocka_unit_test(matrix_nests_in_order),
        cmocka_unit_test(several_matrices_and_exclusions),
        cmocka_unit_test(own_models),
        cmocka_unit_test(sizes_as_axes_rename_the_model),
        cmocka_unit_test(repetitions_and_interleaving),
        cmocka_unit_test(flags_replace_axes_and_settings),
        cmocka_unit_test(flags_are_refused_by_name),
        cmocka_unit_test(cells_are_set_one_value_at_a_time),
        cmocka_unit_test(plan_request_follows_the_cell),
        cmocka_unit_test(template_is_the_quickstart),
        cmocka_unit_test(digest_depends_on_what_is_asked_for_alone),
        cmocka_unit_test(a_command_is_known_by_its_script),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
