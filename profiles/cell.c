/* One cell: its defaults, checks, plan and title. */
#include "profiles/keys.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *pass_name(enum pass pass)
{
    static const char *const names[] = {
        [PASS_FWD] = "fwd", [PASS_FWD_BWD] = "fwd_bwd", [PASS_TRAIN_STEP] = "train_step"};
    return names[pass];
}

unsigned pass_phases(enum pass pass)
{
    static const unsigned phases[] = {
        [PASS_FWD] = PHASES_FWD, [PASS_FWD_BWD] = PHASES_FWD_BWD, [PASS_TRAIN_STEP] = PHASES_TRAIN_STEP};
    return phases[pass];
}

void cell_default(struct cell *cell)
{
    *cell = (struct cell){
        .device = "cpu",
        .batch_size = 4,
        .context_length = 256,
        .dtype = PRECISION_FP32,
        .ranks = 1,
        .bucket_mb = BUCKET_MB_DEFAULT,
        .passes = PASS_BIT(PASS_FWD) | PASS_BIT(PASS_FWD_BWD),
        .warmup = 1,
        .steps = 5,
        .seed = 42,
        .timeout_s = 0,
        .profile_every = 1,
        .counters = COUNTERS_AUTO,
        .memory = true,
    };
    model_preset_find("S", &cell->model, NULL);
}

void cell_of_command(struct cell *cell, const char *command)
{
    *cell = (struct cell){
        .passes = PASS_BIT(PASS_FWD) | PASS_BIT(PASS_TRAIN_STEP),
        .steps = STEPS_FOREVER,
        .counters = COUNTERS_OFF,
        .ranks = 1,
    };
    snprintf(cell->command, sizeof cell->command, "%s", command);
    const size_t length = strlen(cell->command);
    if (strlen(command) > length) { /* cut at a whole character, and seen to be cut */
        size_t at = length - 3;
        while (at && ((unsigned char)cell->command[at] & 0xc0) == 0x80)
            at--;
        strcpy(cell->command + at, "...");
    }
}

static const char *last_part(const char *word)
{
    const char *end = word + strcspn(word, " "), *part = word;
    for (const char *c = word; c < end; c++)
        if (*c == '/' && c + 1 < end)
            part = c + 1;
    return part;
}

/* What a launcher launches: "python3 -u projects/adder/adder.py --steps 5" is "adder.py --steps 5" to who looks at it. The first script,
 * else Python's last -m before anything that is no option, else the program. */
void command_name(const char *command, char *text, size_t size)
{
    const char *name = last_part(command), *module = NULL;
    for (const char *word = command; *word;) {
        const size_t length = strcspn(word, " ");
        if (length > 3 && strncmp(word + length - 3, ".py", 3) == 0) {
            snprintf(text, size, "%s", last_part(word));
            return;
        }
        const char *next = word + length + strspn(word + length, " ");
        if (!module && strncmp(word, "-m ", 3) == 0 && strncmp(name, "python", 6) == 0)
            module = next;
        word = next;
    }
    snprintf(text, size, "%s", module ? module : name);
}

/* A model of own sizes is named by them: "own-d512-ff2048-L4-h8". */
static void name_by_sizes(struct model_config *model)
{
    model->preset[0] = 0;
    snprintf(model->name, sizeof model->name, "own-d%lld-ff%lld-L%lld-h%lld", (long long)model->d_model,
             (long long)model->d_ff, (long long)model->num_layers, (long long)model->num_heads);
}

bool cell_set(struct cell *cell, const char *key, const char *value, struct error *error)
{
    int count;
    const int index = profile_key_find(key, SECTION_MATRIX | SECTION_MEASURE | SECTION_PROFILE);
    const struct profile_key *found = index < 0 ? NULL : &profile_keys(&count)[index];
    if (!found || !found->width)
        return error_set(error, ERROR_INPUT, "'%.64s' is not something that a run can be given", key);
    const struct cell before = *cell;
    if (!key_set(found, cell, value, error))
        return false;
    if (found->size && !key_equal(found, cell, &before))
        name_by_sizes(&cell->model);
    return true;
}

bool cell_check(const struct cell *cell, char *warning, size_t warning_size, struct error *error)
{
    if (warning_size)
        warning[0] = 0;
    if (!cell->passes)
        return error_set(error, ERROR_INPUT, "no pass is asked for; name one of fwd, fwd_bwd, train_step");
    if (cell->collective != COLLECTIVE_NONE)
        return cell->ranks > 1 || error_set(error, ERROR_INPUT, "%s takes two ranks at least; give ranks, too",
                                            collective_name(cell->collective));
    if (cell->parallel != PARALLEL_NONE && cell->ranks < 2)
        return error_set(error, ERROR_INPUT, "parallel %s takes two ranks at least; give ranks, too",
                         parallel_name(cell->parallel));
    if (cell->ranks > 1 && cell->model.kind == MODEL_ATTENTION)
        return error_set(error, ERROR_INPUT, "attention alone has no weights that ranks could train");
    if (cell->gradient_dtype != GRADIENTS_FP32 && cell->parallel == PARALLEL_NONE)
        return error_set(error, ERROR_INPUT,
                         "grad_dtype %s has no meaning without a way to send gradients; give parallel",
                         gradient_dtype_name(cell->gradient_dtype));
    return model_config_check(&cell->model, cell->batch_size, cell->context_length, warning, warning_size, error);
}

void cell_plan_request(const struct cell *cell, unsigned fusions, struct plan_request *request)
{
    unsigned phases = 0;
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        if (cell->passes & PASS_BIT(pass))
            phases |= pass_phases((enum pass)pass);
    }
    *request = (struct plan_request){
        .model = cell->model,
        .batch = cell->batch_size,
        .context = cell->context_length,
        .precision = cell->dtype,
        .fusions = fusions,
        .phases = phases,
        .checkpoint = cell->checkpoint,
        .ranks = {.ranks = cell->ranks,
                  .parallel = cell->parallel,
                  .bucket_bytes = cell->bucket_mb * INT64_C(1000000),
                  .collective = cell->collective,
                  .bf16_gradients = cell->gradient_dtype == GRADIENTS_BF16},
    };
    if (cell->collective != COLLECTIVE_NONE) {
        request->precision = PRECISION_FP32; /* of no product; the type that goes is the request's */
        request->fusions = 0;
        request->checkpoint = CHECKPOINT_NONE;
    }
}

const char *gradient_dtype_name(enum gradient_dtype dtype)
{
    return dtype == GRADIENTS_BF16 ? "bf16" : "fp32";
}

void cell_rank_device(const struct cell *cell, int rank, char *device, size_t size)
{
    const size_t letters = strcspn(cell->device, ":");
    const int first = cell->device[letters] ? atoi(cell->device + letters + 1) : 0;
    if (cell->ranks < 2 || device_is_host(cell->device))
        snprintf(device, size, "%s", cell->device);
    else
        snprintf(device, size, "%.*s:%d", (int)letters, cell->device, first + rank);
}

int cell_ranks_together(const struct cell *cell)
{
    return cell->ranks > 1 && device_is_host(cell->device) ? cell->ranks : 1;
}

void cell_canonical(struct cell *cell)
{
    if (cell->collective != COLLECTIVE_NONE) {
        cell->model = (struct model_config){.d_model = 1, .d_ff = 1, .num_layers = 1, .num_heads = 1, .vocab_size = 1};
        snprintf(cell->model.name, sizeof cell->model.name, "%s", collective_name(cell->collective));
        cell->batch_size = cell->context_length = 1;
        cell->dtype = PRECISION_FP32;
        cell->checkpoint = CHECKPOINT_NONE;
        cell->passes = PASS_BIT(PASS_FWD);
        cell->parallel = PARALLEL_NONE;
        return;
    }
    if (!parallel_has_buckets(cell->parallel))
        cell->bucket_mb = BUCKET_MB_DEFAULT;
    if (cell->parallel == PARALLEL_NONE)
        cell->gradient_dtype = GRADIENTS_FP32;
}

unsigned cell_tell(const struct cell *a, const struct cell *b)
{
    return (a->warmup != b->warmup ? TELL_WARMUP : 0) | (a->seed != b->seed ? TELL_SEED : 0) |
           (a->threads != b->threads ? TELL_THREADS : 0);
}

void cell_title(const struct cell *cell, bool ascii, char *text, size_t size)
{
    const char *dot = ascii ? ", " : " · ";
    struct strbuf title = {0};
    if (cell->command[0]) {
        char name[sizeof cell->command];
        command_name(cell->command, name, sizeof name);
        snprintf(text, size, "%s%s%s", name, cell->device[0] ? dot : "", cell->device);
        return;
    }
    if (cell->collective != COLLECTIVE_NONE) {
        strbuf_printf(&title, "%s%s%d MB%s%s%s%d ranks%s%s", collective_name(cell->collective), dot, cell->bucket_mb,
                      dot, gradient_dtype_name(cell->gradient_dtype), dot, cell->ranks, dot, cell->device);
        goto besides;
    }
    strbuf_printf(&title, "%s%sb%lld%sc%lld%s%s%s%s%s%s", cell->model.name, dot, (long long)cell->batch_size, dot,
                  (long long)cell->context_length, dot, precision_name(cell->dtype), dot,
                  cell->compile ? "compile" : "eager", dot, cell->device);
    if (cell->checkpoint != CHECKPOINT_NONE)
        strbuf_printf(&title, "%scheckpoint %s", dot, checkpoint_name(cell->checkpoint));
    if (cell->ranks > 1)
        strbuf_printf(&title, "%s%d ranks%s%s", dot, cell->ranks, dot, parallel_name(cell->parallel));
    if (parallel_has_buckets(cell->parallel))
        strbuf_printf(&title, " %d MB", cell->bucket_mb);
    if (cell->gradient_dtype == GRADIENTS_BF16)
        strbuf_printf(&title, "%sbf16 gradients", dot);
besides:
    if (cell->told & TELL_THREADS)
        strbuf_printf(&title, cell->threads ? "%s%d thread%s" : "%sall threads", dot, cell->threads,
                      cell->threads == 1 ? "" : "s");
    if (cell->told & TELL_WARMUP)
        strbuf_printf(&title, "%swarm-up %u", dot, cell->warmup);
    if (cell->told & TELL_SEED)
        strbuf_printf(&title, "%sseed %llu", dot, (unsigned long long)cell->seed);
    if (cell->repetition)
        strbuf_printf(&title, "%s#%u", dot, cell->repetition + 1);
    snprintf(text, size, "%s", title.text);
    strbuf_release(&title);
}
