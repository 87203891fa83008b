#include "profiles/keys.h"
#include "base/strbuf.h"
#include "base/suggest.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const pass_choices[] = {"fwd", "fwd_bwd", "train_step", NULL};
static const char *const dtype_choices[] = {"fp32", "tf32", "bf16", NULL};
static const char *const checkpoint_choices[] = {"none", "block", NULL};
static const char *const parallel_choices[] = {"none", "naive", "flat", "overlap", "bucket", "zero1", "fsdp", NULL};
static const char *const gradient_dtype_choices[] = {"fp32", "bf16", NULL};
static const char *const collective_choices[] = {"none",       "all_reduce", "reduce_scatter",
                                                 "all_gather", "broadcast",  NULL};
static const char *const counters_choices[] = {"off", "auto", "on", NULL};
static const char *const kind_choices[] = {"lm", "attention", NULL};
static const char *const on_oom_choices[] = {"continue", "skip_larger", NULL};
_Static_assert(PARALLEL_COUNT == 7 && COLLECTIVE_COUNT == 5, "the choices above follow the enum");
_Static_assert(PASS_COUNT == 3 && PRECISION_COUNT == 3 && CHECKPOINT_COUNT == 2, "the choices above follow the enums");

#define FIELD(member) offsetof(struct cell, member), sizeof(((struct cell *)0)->member)
#define NO_FIELD 0, 0
#define AXIS_OR_MEASURE (SECTION_MATRIX | SECTION_MEASURE)

static const struct profile_key keys[] = {
    {"schema", SECTION_TOP, VALUE_TEXT, 0, 0, NULL, NO_FIELD, false, "steptop/profile/1"},
    {"name", SECTION_TOP | SECTION_MODEL, VALUE_TEXT, 0, 0, NULL, NO_FIELD, false, "What it is called in reports"},
    {"description", SECTION_TOP, VALUE_TEXT, 0, 0, NULL, NO_FIELD, false, "One line for the list of profiles"},
    {"repetition", 0, VALUE_INTEGER, 0, UINT32_MAX, NULL, FIELD(repetition), false, ""},
    {"device", SECTION_MATRIX, VALUE_DEVICE, 0, 0, NULL, FIELD(device), false, "cpu, cuda:0 …"},
    {"compile", SECTION_MATRIX, VALUE_BOOLEAN, 0, 1, NULL, FIELD(compile), false,
     "false: one kernel an op; true: fused and tuned"},
    {"dtype", SECTION_MATRIX, VALUE_CHOICE, 0, 0, dtype_choices, FIELD(dtype), false,
     "Precision of the matrix products"},
    {"model", SECTION_MATRIX, VALUE_MODEL, 0, 0, NULL, FIELD(model), false,
     "A model of this profile or a preset: S, tiny, cs336-2026/small, attention"},
    {"kind", SECTION_MODEL, VALUE_CHOICE, 0, 0, kind_choices, FIELD(model.kind), false,
     "A language model, or attention alone"},
    {"d_model", SECTION_MATRIX | SECTION_MODEL, VALUE_INTEGER, 1, MODEL_SIZE_MOST, NULL, FIELD(model.d_model), true,
     "Width of the residual stream"},
    {"d_ff", SECTION_MATRIX | SECTION_MODEL, VALUE_INTEGER, 1, MODEL_SIZE_MOST, NULL, FIELD(model.d_ff), true,
     "Width of the feed-forward layer"},
    {"num_layers", SECTION_MATRIX | SECTION_MODEL, VALUE_INTEGER, 1, MODEL_LAYERS_MOST, NULL, FIELD(model.num_layers),
     true, "Number of blocks"},
    {"num_heads", SECTION_MATRIX | SECTION_MODEL, VALUE_INTEGER, 1, MODEL_SIZE_MOST, NULL, FIELD(model.num_heads), true,
     "Number of attention heads"},
    {"vocab_size", SECTION_MATRIX | SECTION_MODEL, VALUE_INTEGER, 1, MODEL_SIZE_MOST, NULL, FIELD(model.vocab_size),
     true, "Number of tokens"},
    {"batch_size", SECTION_MATRIX, VALUE_INTEGER, 1, MODEL_SIZE_MOST, NULL, FIELD(batch_size), false,
     "Sequences a step"},
    {"context_length", SECTION_MATRIX, VALUE_INTEGER, 1, MODEL_SIZE_MOST, NULL, FIELD(context_length), false,
     "Tokens a sequence"},
    {"checkpoint", SECTION_MATRIX, VALUE_CHOICE, 0, 0, checkpoint_choices, FIELD(checkpoint), false,
     "none: keep all activations; block: recompute each block in backward"},
    {"ranks", SECTION_MATRIX, VALUE_INTEGER, 1, RANKS_MAX, NULL, FIELD(ranks), false,
     "Processes that train one model, each on a batch of its own"},
    {"parallel", SECTION_MATRIX, VALUE_CHOICE, 0, 0, parallel_choices, FIELD(parallel), false,
     "How ranks bring their gradients together"},
    {"collective", SECTION_MATRIX, VALUE_CHOICE, 0, 0, collective_choices, FIELD(collective), false,
     "One collective of bucket_mb and grad_dtype between ranks, instead of a model"},
    {"bucket_mb", SECTION_MATRIX, VALUE_INTEGER, 1, 1000000, NULL, FIELD(bucket_mb), false,
     "Gradients sent at once by bucket and zero1, in 10^6 bytes of fp32"},
    {"grad_dtype", SECTION_MATRIX, VALUE_CHOICE, 0, 0, gradient_dtype_choices, FIELD(gradient_dtype), false,
     "Type of gradients between ranks"},
    {"threads", AXIS_OR_MEASURE, VALUE_INTEGER, 0, THREADS_MOST, NULL, FIELD(threads), false,
     "CPU threads, divided among the ranks; 0 is all"},
    {"warmup", AXIS_OR_MEASURE, VALUE_INTEGER, 0, 1000000, NULL, FIELD(warmup), false,
     "Steps of each pass before the counted ones"},
    {"seed", AXIS_OR_MEASURE, VALUE_INTEGER, 0, INT64_MAX, NULL, FIELD(seed), false, "Seed of weights and tokens"},
    {"passes", SECTION_MEASURE, VALUE_PASSES, 0, 0, pass_choices, FIELD(passes), false,
     "fwd, fwd_bwd, train_step: each is timed by itself"},
    {"steps", SECTION_MEASURE, VALUE_STEPS, 1, 100000000, NULL, FIELD(steps), false,
     "Timed steps of each pass, or forever"},
    {"timeout_s", SECTION_MEASURE, VALUE_INTEGER, 0, 31536000, NULL, FIELD(timeout_s), false,
     "End a cell after this many seconds; 0 is never"},
    {"repetitions", SECTION_MEASURE, VALUE_INTEGER, 1, 10000, NULL, NO_FIELD, false, "Run the whole matrix this often"},
    {"interleave", SECTION_MEASURE, VALUE_BOOLEAN, 0, 1, NULL, NO_FIELD, false,
     "Turn the order of the cells from repetition to repetition"},
    {"on_oom", SECTION_MEASURE, VALUE_CHOICE, 0, 0, on_oom_choices, NO_FIELD, false,
     "After a cell that does not fit: continue, or skip_larger ones"},
    {"kernels", SECTION_PROFILE, VALUE_BOOLEAN, 0, 1, NULL, NO_FIELD, false,
     "false: timed steps only, no kernel tables"},
    {"every", SECTION_PROFILE, VALUE_INTEGER, 0, 1000000, NULL, FIELD(profile_every), false,
     "A profiled step after every n timed ones; 0 is never"},
    {"counters", SECTION_PROFILE, VALUE_CHOICE, 0, 0, counters_choices, FIELD(counters), false,
     "Hardware counters: off, auto (where they can be had), on (required)"},
    {"memory", SECTION_PROFILE, VALUE_BOOLEAN, 0, 1, NULL, FIELD(memory), false, "The memory ledger in the report"},
    {"preset", SECTION_SELECT, VALUE_TEXT, 0, 0, NULL, NO_FIELD, false, "cs336-2025, cs336-2026 or steptop"},
    {"select", SECTION_SELECT, VALUE_TEXT, 0, 0, NULL, NO_FIELD, false,
     "Names of the preset's models; all when left out"},
};
#define KEY_COUNT ((int)(sizeof keys / sizeof *keys))
_Static_assert(sizeof keys / sizeof *keys <= PROFILE_KEY_MAX, "a matrix has room for every key");

const struct profile_key *profile_keys(int *count)
{
    *count = KEY_COUNT;
    return keys;
}

int profile_key_find(const char *name, unsigned sections)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        if (keys[i].sections & sections && strcmp(keys[i].name, name) == 0)
            return i;
    }
    return -1;
}

const char *profile_key_suggest(const char *name, unsigned sections)
{
    const char *names[KEY_COUNT];
    for (int i = 0; i < KEY_COUNT; i++)
        names[i] = keys[i].sections & sections ? keys[i].name : NULL;
    return suggest(name, names, KEY_COUNT);
}

const char *section_words(unsigned section)
{
    switch (section) {
    case SECTION_TOP:
        return "a key of a profile";
    case SECTION_MATRIX:
        return "a matrix key";
    case SECTION_MEASURE:
        return "a measure key";
    case SECTION_PROFILE:
        return "a key of profile:";
    case SECTION_MODEL:
        return "a model key";
    case SECTION_SELECT:
        return "a key of models:";
    default:
        return "a key";
    }
}

/* "a", or "an" where the name begins with a vowel. */
static const char *article(const char *name)
{
    return strchr("aeio", name[0]) ? "an" : "a";
}

static bool refuse(struct error *error, const struct profile_key *key, const char *text, const char *wanted)
{
    return error_set(error, ERROR_INPUT, "'%.64s' is not %s %s; it is %s", text, article(key->name), key->name, wanted);
}

static bool integer_parse(const struct profile_key *key, const char *text, int64_t *value, struct error *error)
{
    char wanted[96];
    snprintf(wanted, sizeof wanted, "a whole number from %lld to %lld%s", (long long)key->min, (long long)key->max,
             key->type == VALUE_STEPS ? ", or forever" : "");
    /* strtoll takes blanks, signs and a partial number; the file's grammar does not. */
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (!digits[0] || digits[strspn(digits, "0123456789")])
        return refuse(error, key, text, wanted);
    /* 010 is ten to some readers of YAML and eight to others. */
    if (digits[0] == '0' && digits[1])
        return error_set(error, ERROR_INPUT, "%s %.64s begins with 0; write it without", key->name, text);
    errno = 0;
    *value = strtoll(text, NULL, 10);
    if (errno || *value < key->min || *value > key->max)
        return error_set(error, ERROR_INPUT, "%s %.64s is out of range: it is %s", key->name, text, wanted);
    return true;
}

/* Values that people know from elsewhere, and why they are none here. */
#define NO_FP16 "gradients leave its range unless the loss is scaled, which no plan here does; bf16 takes as many bytes"
static const struct {
    const char *key, *value, *why;
} unsupported[] = {
    {"dtype", "fp16", NO_FP16},
    {"dtype", "f16", NO_FP16},
    {"dtype", "float16", NO_FP16},
    {"dtype", "half", NO_FP16},
};

static const char *unsupported_find(const char *key, const char *value)
{
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (strcmp(unsupported[i].key, key) == 0 && strcmp(unsupported[i].value, value) == 0)
            return unsupported[i].why;
    return NULL;
}

static bool choice_parse(const struct profile_key *key, const char *text, size_t length, int *value,
                         struct error *error)
{
    struct strbuf wanted = {0};
    int count = 0;
    for (; key->choices[count]; count++) {
        if (strlen(key->choices[count]) == length && strncmp(key->choices[count], text, length) == 0) {
            *value = count;
            strbuf_release(&wanted);
            return true;
        }
        strbuf_printf(&wanted, "%s%s", count ? ", " : "", key->choices[count]);
    }
    char word[65];
    snprintf(word, sizeof word, "%.*s", (int)(length < 64 ? length : 64), text);
    const char *near = suggest(word, key->choices, (size_t)count);
    const char *what = key->type == VALUE_PASSES ? "pass" : key->name, *why = unsupported_find(key->name, word);
    if (why)
        error_set(error, ERROR_INPUT, "%s '%s' is unsupported: %s", what, word, why);
    else if (near)
        error_set(error, ERROR_INPUT, "'%s' is not %s %s; did you mean '%s'?", word, article(what), what, near);
    else
        error_set(error, ERROR_INPUT, "'%s' is not %s %s; it is one of %s", word, article(what), what, wanted.text);
    strbuf_release(&wanted);
    return false;
}

static bool passes_parse(const struct profile_key *key, const char *text, int64_t *mask, struct error *error)
{
    *mask = 0;
    for (;; text++) {
        const size_t length = strcspn(text, ",");
        int pass;
        if (!choice_parse(key, text, length, &pass, error))
            return false;
        if (*mask & PASS_BIT(pass))
            return error_set(error, ERROR_INPUT, "the pass '%s' is given twice", key->choices[pass]);
        *mask |= PASS_BIT(pass);
        text += length;
        if (!*text)
            return true;
    }
}

/* A class in letters, and maybe a number: cpu, cuda:0. Whether it is there is found out when a cell runs. */
static bool device_parse(const struct profile_key *key, struct cell *cell, const char *text, struct error *error)
{
    const size_t letters = strspn(text, "abcdefghijklmnopqrstuvwxyz");
    const char *rest = text + letters;
    const bool numbered = rest[0] == ':' && isdigit((unsigned char)rest[1]) &&
                          !rest[1 + strspn(rest + 1, "0123456789")] && strlen(rest) <= 5;
    if (!letters || (rest[0] && !numbered) || strlen(text) >= sizeof cell->device)
        return refuse(error, key, text, "a class and a number, such as cpu or cuda:0");
    snprintf(cell->device, sizeof cell->device, "%s", text);
    return true;
}

static bool boolean_parse(const struct profile_key *key, const char *text, int64_t *value, struct error *error)
{
    static const char *const yes[] = {"yes", "on", "1", "y"}, *const no[] = {"no", "off", "0", "n"};
    /* As YAML's core schema has them. */
    static const char *const truths[] = {"true", "True", "TRUE"}, *const falsehoods[] = {"false", "False", "FALSE"};
    for (size_t i = 0; i < sizeof truths / sizeof *truths; i++) {
        *value = strcmp(text, truths[i]) == 0;
        if (*value || strcmp(text, falsehoods[i]) == 0)
            return true;
    }
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0)
            return error_set(error, ERROR_INPUT, "%s is true or false, not '%s'; did you mean '%s'?", key->name, text,
                             strcasecmp(text, yes[i]) == 0 ? "true" : "false");
    }
    return error_set(error, ERROR_INPUT, "%s is true or false, not '%.64s'", key->name, text);
}

/* Integers, booleans and enums of any width, by the field's bytes. */
static void store(const struct profile_key *key, struct cell *cell, int64_t value)
{
    char *field = (char *)cell + key->offset;
    if (key->width == 1)
        *(uint8_t *)field = (uint8_t)value;
    else if (key->width == 4)
        *(uint32_t *)(void *)field = (uint32_t)value;
    else if (key->width == 8)
        *(uint64_t *)(void *)field = (uint64_t)value;
}

static int64_t load(const struct profile_key *key, const struct cell *cell)
{
    const char *field = (const char *)cell + key->offset;
    if (key->width == 1)
        return *(const uint8_t *)field;
    if (key->width == 4)
        return *(const uint32_t *)(const void *)field;
    return (int64_t) * (const uint64_t *)(const void *)field;
}

bool key_set(const struct profile_key *key, struct cell *cell, const char *text, struct error *error)
{
    int64_t value = 0;
    int choice = 0;
    switch (key->type) {
    case VALUE_DEVICE:
        return device_parse(key, cell, text, error);
    case VALUE_MODEL:
        return model_preset_find(text, &cell->model, error);
    case VALUE_STEPS:
        if (strcmp(text, "forever") == 0)
            value = STEPS_FOREVER;
        else if (!integer_parse(key, text, &value, error))
            return false;
        break;
    case VALUE_INTEGER:
        if (!integer_parse(key, text, &value, error))
            return false;
        break;
    case VALUE_BOOLEAN:
        if (!boolean_parse(key, text, &value, error))
            return false;
        break;
    case VALUE_CHOICE:
        if (!choice_parse(key, text, strlen(text), &choice, error))
            return false;
        value = choice;
        break;
    case VALUE_PASSES:
        if (!passes_parse(key, text, &value, error))
            return false;
        break;
    case VALUE_TEXT:
        break;
    }
    store(key, cell, value);
    return true;
}

bool key_equal(const struct profile_key *key, const struct cell *a, const struct cell *b)
{
    if (key->type == VALUE_DEVICE)
        return strcmp(a->device, b->device) == 0;
    if (key->type == VALUE_MODEL)
        return strcmp(a->model.name, b->model.name) == 0 && strcmp(a->model.preset, b->model.preset) == 0;
    return load(key, a) == load(key, b);
}

bool cell_possible(const struct cell *cell, struct error *error)
{
    struct cell scratch = *cell;
    if (!cell->model.name[0])
        return error_set(error, ERROR_INPUT, "a cell whose model has no name");
    if (!device_parse(&keys[profile_key_find("device", SECTION_MATRIX)], &scratch, cell->device, error))
        return false;
    for (int k = 0; k < KEY_COUNT; k++) {
        const struct profile_key *key = &keys[k];
        if (!key->width || (key->type != VALUE_INTEGER && key->type != VALUE_STEPS))
            continue;
        const int64_t value = load(key, cell);
        const bool spared = key->size && cell->model.kind == MODEL_ATTENTION && value == 0;
        const bool forever = key->type == VALUE_STEPS && (uint32_t)value == STEPS_FOREVER;
        if (!spared && !forever && (value < key->min || value > key->max))
            return error_set(error, ERROR_INPUT, "a cell whose %s is %lld; it is from %lld to %lld", key->name,
                             (long long)value, (long long)key->min, (long long)key->max);
    }
    return true;
}

void key_text(const struct profile_key *key, const struct cell *cell, struct strbuf *out)
{
    const int64_t value = key->width == 1 || key->width == 4 || key->width == 8 ? load(key, cell) : 0;
    switch (key->type) {
    case VALUE_DEVICE:
        strbuf_puts(out, cell->device);
        break;
    case VALUE_MODEL:
        strbuf_printf(out, "%s%s%s", cell->model.preset, cell->model.preset[0] ? "/" : "", cell->model.name);
        break;
    case VALUE_BOOLEAN:
        strbuf_puts(out, value ? "true" : "false");
        break;
    case VALUE_CHOICE:
        strbuf_puts(out, key->choices[value]);
        break;
    case VALUE_PASSES:
        for (int i = 0, any = 0; i < PASS_COUNT; i++) {
            if (value & PASS_BIT(i))
                strbuf_printf(out, "%s%s", any++ ? "," : "", key->choices[i]);
        }
        break;
    case VALUE_STEPS:
        if ((uint32_t)value == STEPS_FOREVER)
            strbuf_puts(out, "forever");
        else
            strbuf_printf(out, "%lld", (long long)value);
        break;
    case VALUE_INTEGER:
        strbuf_printf(out, "%lld", (long long)value);
        break;
    case VALUE_TEXT:
        break;
    }
}

static int device_choices(char names[][KEY_CHOICE_SIZE], int max)
{
    const char *const *classes;
    const int count = device_class_names(&classes);
    for (int i = 0; i < count && i < max; i++) /* the CPU is one, others come in numbers */
        snprintf(names[i], KEY_CHOICE_SIZE, "%.60s%s", classes[i], i ? ":0" : "");
    return count < max ? count : max;
}

static int model_choices(char names[][KEY_CHOICE_SIZE], int max)
{
    int presets, count = 0;
    const struct model_preset *preset = model_presets(&presets);
    for (; count < presets && count < max; count++)
        snprintf(names[count], KEY_CHOICE_SIZE, "%.30s%s%.40s", preset[count].config.preset,
                 preset[count].config.preset[0] ? "/" : "", preset[count].config.name);
    return count;
}

int key_choices(const struct profile_key *key, char names[][KEY_CHOICE_SIZE], int max)
{
    int count = 0;
    if (key->type == VALUE_DEVICE)
        return device_choices(names, max);
    if (key->type == VALUE_MODEL)
        return model_choices(names, max);
    if (key->type == VALUE_BOOLEAN) {
        for (; count < 2 && count < max; count++)
            snprintf(names[count], KEY_CHOICE_SIZE, "%s", count ? "true" : "false");
        return count;
    }
    for (; key->choices && key->choices[count] && count < max; count++)
        snprintf(names[count], KEY_CHOICE_SIZE, "%s", key->choices[count]);
    if (key->type == VALUE_PASSES)
        for (int last = 1; key->choices && key->choices[last] && count < max; last++, count++) {
            size_t used = 0;
            for (int i = 0; i <= last && used < KEY_CHOICE_SIZE; i++)
                used += (size_t)snprintf(names[count] + used, KEY_CHOICE_SIZE - used, "%s%s", i ? "," : "",
                                         key->choices[i]);
        }
    return count;
}
