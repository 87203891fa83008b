/* steptop verify: does a device compute the right thing? Against a folder that PyTorch made, or against the double-precision
 * reference on small models of odd shapes. Exit 0 when every tensor is within its tolerance and runs repeat bit for bit. */
#include "model/verify.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/outputs.h"
#include "report/pipe_table.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 8, WORD_SIZE = 64, STEPS = 3 };

/* What is checked without --reference: head sizes met in practice, a context that no tile divides, a vocabulary that is a
 * multiple of nothing, a single token. */
static const struct {
    const char *name;
    int64_t d_model, d_ff, layers, heads, vocab, batch, context;
} cases[] = {
    {"D = 64", 128, 344, 2, 2, 256, 2, 48},          {"D = 80, T = 257, V = 1003, B = 1", 160, 200, 1, 2, 1003, 1, 257},
    {"D = 128, T = 33", 256, 320, 1, 2, 515, 3, 33}, {"D = 8, six heads", 48, 100, 2, 6, 77, 2, 17},
    {"T = 1, B = 1", 64, 172, 2, 1, 101, 1, 1},
};
#define CASE_COUNT (sizeof cases / sizeof *cases)

/* A comma list as words. */
struct list {
    char word[LIST_MAX][WORD_SIZE];
    int count;
};

static bool list_parse(const char *text, const char *option, struct list *list, struct error *error)
{
    *list = (struct list){0};
    for (const char *at = text;; at++) {
        const size_t length = strcspn(at, ",");
        if (length == 0 || length >= WORD_SIZE || list->count == LIST_MAX)
            return error_set(error, ERROR_USAGE, "--%s '%s': a list of up to %d values separated by commas is due",
                             option, text, LIST_MAX);
        memcpy(list->word[list->count++], at, length);
        at += length;
        if (!*at)
            return true;
    }
}

static bool whole_number(const char *text, const char *option, int64_t *value, struct error *error)
{
    if (!text)
        return true;
    char *end;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < 1)
        return error_set(error, ERROR_USAGE, "--%s '%s': one whole number from 1 on is due", option, text);
    *value = number;
    return true;
}

struct job {
    struct list devices, dtypes, modes;
    enum precision precision[LIST_MAX];
    bool compile[LIST_MAX];
    bool every_tensor; /* list each, not only the worst */
    bool quiet;
    struct pipe_table summary, tensors;
    int failed, ran;
};

static bool job_read(const struct arguments *arguments, struct job *job, struct error *error)
{
    const char *const *value = arguments->value;
    if (!list_parse(value[OPTION_DEVICE] ? value[OPTION_DEVICE] : "cpu", "device", &job->devices, error) ||
        !list_parse(value[OPTION_DTYPE] ? value[OPTION_DTYPE] : "fp32", "dtype", &job->dtypes, error) ||
        !list_parse(value[OPTION_COMPILE] ? value[OPTION_COMPILE] : "false,true", "compile", &job->modes, error))
        return false;
    for (int i = 0; i < job->dtypes.count; i++)
        if (!precision_parse(job->dtypes.word[i], &job->precision[i]))
            return error_set(error, ERROR_USAGE, "--dtype '%s': fp32, tf32 and bf16 are known", job->dtypes.word[i]);
    for (int i = 0; i < job->modes.count; i++) {
        job->compile[i] = strcmp(job->modes.word[i], "true") == 0;
        if (!job->compile[i] && strcmp(job->modes.word[i], "false") != 0)
            return error_set(error, ERROR_USAGE, "--compile '%s': true or false is due", job->modes.word[i]);
    }
    job->quiet = value[OPTION_QUIET] != NULL;
    job->every_tensor = value[OPTION_REFERENCE] && !job->quiet;
    return true;
}

static void tables_open(struct job *job)
{
    static const char *const summary[] = {"device", "dtype", "mode", "model", "fused", "worst tensor"};
    static const char *const tensors[] = {"device", "dtype", "mode", "tensor"};
    for (size_t i = 0; i < sizeof summary / sizeof *summary; i++)
        pipe_add_column(&job->summary, summary[i], PIPE_TEXT);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        pipe_add_column(&job->tensors, tensors[i], PIPE_TEXT);
    struct pipe_table *const both[] = {&job->summary, &job->tensors};
    for (int i = 0; i < 2; i++) {
        pipe_add_column(both[i], "error", PIPE_TEXT);
        pipe_add_column(both[i], "tolerance", PIPE_TEXT);
    }
    pipe_add_column(&job->summary, "repeats", PIPE_TEXT);
    pipe_add_column(&job->summary, "result", PIPE_TEXT);
    pipe_add_column(&job->tensors, "result", PIPE_TEXT);
}

static void add_scientific(struct pipe_table *table, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.2e", value);
    pipe_text(table, isfinite(value) ? text : "not finite");
}

static void add_head(struct pipe_table *table, const char *device, enum precision precision, bool compile)
{
    pipe_text(table, device);
    pipe_text(table, precision_name(precision));
    pipe_text(table, compile ? "compile" : "eager");
}

static void show(struct job *job, const char *device, enum precision precision, bool compile, const char *name,
                 const struct verify_outcome *outcome)
{
    const struct verify_row *worst = &outcome->rows.items[0];
    for (size_t i = 0; i < outcome->rows.count; i++) {
        const struct verify_row *row = &outcome->rows.items[i];
        const bool bad = !(row->error <= row->tolerance);
        if (!(row->error / row->tolerance <= worst->error / worst->tolerance))
            worst = row;
        if (!bad && !job->every_tensor)
            continue;
        add_head(&job->tensors, device, precision, compile);
        pipe_text(&job->tensors, row->name);
        add_scientific(&job->tensors, row->error);
        add_scientific(&job->tensors, row->tolerance);
        pipe_text(&job->tensors, bad ? "FAIL" : "ok");
    }
    struct strbuf fused = {0};
    for (int i = 0; i < FUSE_COUNT; i++)
        if (outcome->fired & (1u << i))
            strbuf_printf(&fused, "%s%s", fused.length ? " " : "", fusion_name((enum fusion)i));
    add_head(&job->summary, device, precision, compile);
    pipe_text(&job->summary, name);
    pipe_text(&job->summary, fused.length ? fused.text : "-");
    pipe_text(&job->summary, worst->name);
    add_scientific(&job->summary, worst->error);
    add_scientific(&job->summary, worst->tolerance);
    pipe_text(&job->summary, outcome->repeats ? "bitwise" : "NO");
    pipe_text(&job->summary, outcome->failed ? "FAIL" : "ok");
    strbuf_release(&fused);
}

/* One truth on every device, dtype and mode. */
static bool check_truth(struct job *job, const struct truth *truth, const char *name, struct error *error)
{
    for (int d = 0; d < job->devices.count; d++) {
        int index;
        const struct device_class *class = device_find(job->devices.word[d], &index, error);
        struct device *device = class ? class->open(index, error) : NULL;
        if (!device)
            return false;
        bool ok = true;
        for (int p = 0; p < job->dtypes.count && ok; p++) {
            for (int m = 0; m < job->modes.count && ok; m++) {
                struct verify_outcome outcome;
                if (!job->quiet)
                    say("verify %s %s %s: %s", job->devices.word[d], job->dtypes.word[p],
                        job->compile[m] ? "compile" : "eager", name);
                ok = verify_device(class, device, truth, job->precision[p], job->compile[m], 0, &outcome, error) ||
                     error_prefix(error, "%s %s", job->devices.word[d], job->compile[m] ? "compiled" : "eager");
                if (!ok)
                    break;
                show(job, job->devices.word[d], job->precision[p], job->compile[m], name, &outcome);
                job->failed += outcome.failed > 0;
                job->ran++;
                verify_outcome_free(&outcome);
            }
        }
        class->close(device);
        if (!ok)
            return false;
    }
    return true;
}

static bool check_folder(struct job *job, const char *folder, struct error *error)
{
    struct truth truth;
    if (!truth_read(folder, &truth, error))
        return false;
    const bool ok = check_truth(job, &truth, folder, error);
    truth_free(&truth);
    return ok;
}

static bool check_request(struct job *job, const struct plan_request *request, const char *name, struct error *error)
{
    struct truth truth;
    if (!model_config_check(&request->model, request->batch, request->context, NULL, 0, error) ||
        !truth_compute(request, STEPS, 1, &truth, error))
        return false;
    const bool ok = check_truth(job, &truth, name, error);
    truth_free(&truth);
    return ok;
}

static struct plan_request case_request(size_t i)
{
    return (struct plan_request){.model = {.kind = MODEL_LM,
                                           .d_model = cases[i].d_model,
                                           .d_ff = cases[i].d_ff,
                                           .num_layers = cases[i].layers,
                                           .num_heads = cases[i].heads,
                                           .vocab_size = cases[i].vocab},
                                 .batch = cases[i].batch,
                                 .context = cases[i].context};
}

static bool check_all(const struct arguments *arguments, struct job *job, struct error *error)
{
    const char *const *value = arguments->value;
    if (value[OPTION_REFERENCE]) {
        if (value[OPTION_MODEL] || value[OPTION_BATCH_SIZE] || value[OPTION_CONTEXT_LENGTH])
            return error_set(
                error, ERROR_USAGE,
                "--reference says model and shape itself: leave --model, --batch-size, --context-length out");
        return check_folder(job, value[OPTION_REFERENCE], error);
    }
    if (!value[OPTION_MODEL] && !value[OPTION_BATCH_SIZE] && !value[OPTION_CONTEXT_LENGTH]) {
        for (size_t i = 0; i < CASE_COUNT; i++) {
            const struct plan_request request = case_request(i);
            if (!check_request(job, &request, cases[i].name, error))
                return false;
        }
        return true;
    }
    struct plan_request request = case_request(0);
    if (value[OPTION_MODEL] && !model_preset_find(value[OPTION_MODEL], &request.model, error)) {
        error->kind = ERROR_USAGE;
        return error_prefix(error, "--model");
    }
    if (request.model.kind == MODEL_ATTENTION)
        return error_set(error, ERROR_USAGE, "--model attention has no loss to verify; the language models contain it");
    if (!whole_number(value[OPTION_BATCH_SIZE], "batch-size", &request.batch, error) ||
        !whole_number(value[OPTION_CONTEXT_LENGTH], "context-length", &request.context, error))
        return false;
    char name[128];
    snprintf(name, sizeof name, "%s, B = %lld, T = %lld", value[OPTION_MODEL] ? value[OPTION_MODEL] : "D = 64",
             (long long)request.batch, (long long)request.context);
    return check_request(job, &request, name, error);
}

/* Before an hour of computing: the report must not take the place of what it is made from. */
static bool output_is_apart(const struct arguments *arguments, struct error *error)
{
    static const char *const names[] = {"weights", "inputs", "expected"};
    const char *output = arguments->value[OPTION_OUTPUT], *folder = arguments->value[OPTION_REFERENCE];
    if (!output || strcmp(output, "-") == 0)
        return true;
    const struct named_file alone = {"--output", output, true, false};
    if (!check_path("--output", output, error) || !files_apart(&alone, 1, error))
        return false;
    for (size_t i = 0; folder && i < sizeof names / sizeof *names; i++) {
        struct strbuf path = {0};
        strbuf_printf(&path, "%s/%s.safetensors", folder, names[i]);
        const struct named_file files[] = {{"--reference", path.text, false, false}, {"--output", output, true, false}};
        const bool apart = files_apart(files, 2, error);
        strbuf_release(&path);
        if (!apart)
            return false;
    }
    return true;
}

int command_verify(const struct arguments *arguments)
{
    struct error error = {0};
    struct job job = {0};
    struct strbuf text = {0};
    int code = EXIT_OK;
    if (!output_is_apart(arguments, &error) || !job_read(arguments, &job, &error))
        return fail(&error);
    tables_open(&job);
    const bool ok = check_all(arguments, &job, &error);
    const bool details = job.tensors.row_count > 0;
    pipe_finish(&job.tensors, &text);
    if (details)
        strbuf_putc(&text, '\n');
    else
        strbuf_clear(&text);
    pipe_finish(&job.summary, &text);
    strbuf_puts(&text, "\nerror: relative L2 of loss, logits, gradients (grad.) and parameters after AdamW (after.)\n");
    if (!job.ran)
        strbuf_clear(&text);
    if (job.failed)
        code = EXIT_FAILED;
    struct error writing = {0};
    if (text.length && !write_all(arguments->value[OPTION_OUTPUT], text.text, text.length, &writing))
        code = fail(&writing);
    if (!ok)
        code = fail(&error);
    strbuf_release(&text);
    return code;
}
