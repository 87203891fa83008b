#include "report/axis.h"
#include "base/strbuf.h"
#include <stdio.h>
#include <string.h>

#define LEVEL(name, ...)                                                                                               \
    static void level_##name(struct cell *cell)                                                                        \
    {                                                                                                                  \
        __VA_ARGS__;                                                                                                   \
    }
#define PRINT(name, format, expression)                                                                                \
    static void print_##name(const struct cell *cell, char *text, size_t size)                                         \
    {                                                                                                                  \
        snprintf(text, size, format, expression);                                                                      \
    }
#define NUMBER(name, expression)                                                                                       \
    PRINT(name, "%lld", (long long)(expression))                                                                       \
    static double number_##name(const struct cell *cell)                                                               \
    {                                                                                                                  \
        return (double)(expression);                                                                                   \
    }
#define NAMELESS (cell->model.name[0] = cell->model.preset[0] = 0) /* a model of own sizes is named by them */

LEVEL(device, cell->device[0] = 0)
PRINT(device, "%s", cell->device)
LEVEL(model, cell->model = (struct model_config){.kind = cell->model.kind})
PRINT(model, "%s", cell->model.name)
static double number_model(const struct cell *cell)
{
    return (double)model_parameter_count(&cell->model);
}
LEVEL(d_model, NAMELESS, cell->model.d_model = 0)
NUMBER(d_model, cell->model.d_model)
LEVEL(d_ff, NAMELESS, cell->model.d_ff = 0)
NUMBER(d_ff, cell->model.d_ff)
LEVEL(num_layers, NAMELESS, cell->model.num_layers = 0)
NUMBER(num_layers, cell->model.num_layers)
LEVEL(num_heads, NAMELESS, cell->model.num_heads = 0)
NUMBER(num_heads, cell->model.num_heads)
LEVEL(vocab_size, NAMELESS, cell->model.vocab_size = 0)
NUMBER(vocab_size, cell->model.vocab_size)
LEVEL(batch_size, cell->batch_size = 0)
NUMBER(batch_size, cell->batch_size)
LEVEL(context_length, cell->context_length = 0)
NUMBER(context_length, cell->context_length)
LEVEL(dtype, cell->dtype = PRECISION_FP32)
PRINT(dtype, "%s", precision_name(cell->dtype))
LEVEL(compile, cell->compile = false)
PRINT(compile, "%s", cell->compile ? "compiled" : "eager")
LEVEL(checkpoint, cell->checkpoint = CHECKPOINT_NONE)
PRINT(checkpoint, "%s", checkpoint_name(cell->checkpoint))
LEVEL(bucket_mb, cell->bucket_mb = 0)
NUMBER(bucket_mb, cell->bucket_mb)
LEVEL(gradients, cell->gradient_dtype = GRADIENTS_FP32)
PRINT(gradients, "%s", gradient_dtype_name(cell->gradient_dtype))
/* The way they go together comes with the number of ranks, and buckets with the way. */
LEVEL(parallel, cell->parallel = PARALLEL_NONE, cell->bucket_mb = 0)
LEVEL(ranks, level_parallel(cell), level_gradients(cell), cell->ranks = 0)
static void print_parallel(const struct cell *cell, char *text, size_t size)
{
    if (parallel_has_buckets(cell->parallel))
        snprintf(text, size, "%s %d MB", parallel_name(cell->parallel), cell->bucket_mb);
    else
        snprintf(text, size, "%s", parallel_name(cell->parallel));
}
static void print_ranks(const struct cell *cell, char *text, size_t size)
{
    char parallel[64];
    print_parallel(cell, parallel, sizeof parallel);
    if (cell->ranks > 1)
        snprintf(text, size, "%d ranks %s", cell->ranks, parallel);
    else
        snprintf(text, size, "1 rank");
}
static double number_ranks(const struct cell *cell)
{
    return cell->ranks;
}
LEVEL(threads, cell->threads = 0)
NUMBER(threads, cell->threads)
LEVEL(warmup, cell->warmup = 0)
NUMBER(warmup, cell->warmup)
LEVEL(seed, cell->seed = 0)
PRINT(seed, "%llu", (unsigned long long)cell->seed)
LEVEL(repetition, cell->repetition = 0)
PRINT(repetition, "%u", cell->repetition + 1)

static int rank_compile(const struct cell *cell)
{
    return cell->compile;
}
static int rank_dtype(const struct cell *cell)
{
    return cell->dtype != PRECISION_FP32;
}
static int rank_checkpoint(const struct cell *cell)
{
    return cell->checkpoint != CHECKPOINT_NONE;
}
static int rank_ranks(const struct cell *cell)
{
    return cell->ranks;
}

#define NUMERIC(name) level_##name, print_##name, number_##name, NULL
#define NAMED(name) level_##name, print_##name, NULL, NULL

static const struct axis axes[AXIS_COUNT] = {
    [AXIS_DEVICE] = {"device", NULL, false, NAMED(device)},
    [AXIS_MODEL] = {"model", NULL, true, NUMERIC(model)},
    [AXIS_D_MODEL] = {"d_model", NULL, true, NUMERIC(d_model)},
    [AXIS_D_FF] = {"d_ff", NULL, true, NUMERIC(d_ff)},
    [AXIS_NUM_LAYERS] = {"num_layers", "layers", true, NUMERIC(num_layers)},
    [AXIS_NUM_HEADS] = {"num_heads", "heads", true, NUMERIC(num_heads)},
    [AXIS_VOCAB_SIZE] = {"vocab_size", "vocab", true, NUMERIC(vocab_size)},
    [AXIS_BATCH_SIZE] = {"batch_size", "batch", true, NUMERIC(batch_size)},
    [AXIS_CONTEXT_LENGTH] = {"context_length", "context", true, NUMERIC(context_length)},
    [AXIS_DTYPE] = {"dtype", "precision", false, level_dtype, print_dtype, NULL, rank_dtype},
    [AXIS_COMPILE] = {"compile", "mode", false, level_compile, print_compile, NULL, rank_compile},
    [AXIS_CHECKPOINT] = {"checkpoint", NULL, false, level_checkpoint, print_checkpoint, NULL, rank_checkpoint},
    [AXIS_RANKS] = {"ranks", NULL, true, level_ranks, print_ranks, number_ranks, rank_ranks},
    [AXIS_PARALLEL] = {"parallel", NULL, false, NAMED(parallel)},
    [AXIS_BUCKET_MB] = {"bucket_mb", "bucket", false, NUMERIC(bucket_mb)},
    [AXIS_GRAD_DTYPE] = {"grad_dtype", "gradients", false, NAMED(gradients)},
    [AXIS_THREADS] = {"threads", NULL, false, NUMERIC(threads)},
    [AXIS_WARMUP] = {"warmup", NULL, false, NUMERIC(warmup)},
    [AXIS_SEED] = {"seed", NULL, false, NAMED(seed)},
    [AXIS_REPETITION] = {"repetition", NULL, false, NAMED(repetition)},
};

const struct axis *axis_of(enum axis_id id)
{
    return &axes[id];
}

/* The same word, - or _ between its parts. */
static bool same_word(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
            return false;
    return *a == *b;
}

const struct axis *axis_find(const char *text, struct error *error)
{
    struct strbuf names = {0};
    for (int i = 0; i < AXIS_COUNT; i++) {
        if (same_word(text, axes[i].key) || (axes[i].alias && same_word(text, axes[i].alias))) {
            strbuf_release(&names);
            return &axes[i];
        }
        strbuf_printf(&names, "%s%s", i ? ", " : "", axes[i].key);
    }
    error_set(error, ERROR_USAGE, "'%.60s' is not what cells differ in; there are %s", text, names.text);
    strbuf_release(&names);
    return NULL;
}

struct cell experiment_of(const struct report_cell *cell)
{
    struct cell key = cell->requested;
    key.passes = PASS_BIT(PASS_FWD);
    key.warmup = key.steps = key.timeout_s = 0;
    key.seed = 0;
    key.profile_every = 1;
    key.counters = COUNTERS_OFF;
    key.memory = false;
    if (key.command[0]) /* its flags may be what is compared */
        strcpy(key.command, "a command");
    return key;
}

static bool same_value(const struct axis *axis, const struct cell *a, const struct cell *b)
{
    char x[96], y[96];
    axis->print(a, x, sizeof x);
    axis->print(b, y, sizeof y);
    return strcmp(x, y) == 0;
}

/* Of what is the same experiment when the axis is levelled. Warm-up and seed are no part of an experiment, unless asked for. */
static bool alike(const struct axis *axis, const struct report_cell *a, const struct report_cell *b, bool exact)
{
    struct cell x = exact ? a->requested : experiment_of(a), y = exact ? b->requested : experiment_of(b);
    axis->level(&x);
    axis->level(&y);
    return cell_equal(&x, &y);
}

const struct report_cell *axis_base(const struct report *report, const struct axis *axis,
                                    const struct report_cell *cell)
{
    if (cell->requested.command[0])
        return NULL; /* what a command did is not known by these */
    for (int exact = 1; exact >= 0; exact--) {
        const struct report_cell *base = NULL;
        for (size_t i = 0; i < report->cells.count; i++) {
            const struct report_cell *other = report->cells.items[i];
            if ((!base || (axis->rank && axis->rank(&other->requested) < axis->rank(&base->requested))) &&
                alike(axis, other, cell, exact))
                base = other;
        }
        if (base && !same_value(axis, &base->requested, &cell->requested))
            return base;
    }
    return NULL;
}

bool axis_is_swept(const struct report *report, const struct axis *axis)
{
    for (size_t i = 0; i < report->cells.count; i++)
        if (axis_base(report, axis, report->cells.items[i]))
            return true;
    return false;
}

double cell_tokens(const struct report_cell *cell)
{
    const struct cell *asked = &cell->requested;
    const double tokens =
        (double)asked->batch_size * (double)asked->context_length * (double)(asked->ranks > 1 ? asked->ranks : 1);
    return tokens > 0 ? tokens : UNKNOWN_DOUBLE;
}
