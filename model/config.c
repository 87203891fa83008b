/* The model family: presets of both years of the course, checks of own sizes, counts. */
#include "base/strbuf.h"
#include "base/suggest.h"
#include "model/model.h"
#include <stdio.h>
#include <string.h>

#define LM(family_, name_, d_model_, d_ff_, layers_, heads_)                                                           \
    {                                                                                                                  \
        .family = (family_), .config = {                                                                               \
            .name = (name_),                                                                                           \
            .preset = (family_),                                                                                       \
            .kind = MODEL_LM,                                                                                          \
            .d_model = (d_model_),                                                                                     \
            .d_ff = (d_ff_),                                                                                           \
            .num_layers = (layers_),                                                                                   \
            .num_heads = (heads_),                                                                                     \
            .vocab_size = 10000                                                                                        \
        }                                                                                                              \
    }

static const struct model_preset presets[] = {
    LM("cs336-2025", "S", 768, 3072, 12, 12),       LM("cs336-2025", "M", 1024, 4096, 24, 16),
    LM("cs336-2025", "L", 1280, 5120, 36, 20),      LM("cs336-2025", "XL", 1600, 6400, 48, 25),
    LM("cs336-2025", "2p7", 2560, 10240, 32, 32),   LM("cs336-2026", "small", 768, 3072, 12, 12),
    LM("cs336-2026", "medium", 1024, 4096, 24, 16), LM("cs336-2026", "large", 1280, 5120, 36, 20),
    LM("cs336-2026", "xl", 2560, 10240, 32, 32),    LM("cs336-2026", "10B", 4608, 12288, 50, 36),
    LM("steptop", "tiny", 256, 1024, 4, 4),
};
#define PRESET_COUNT ((int)(sizeof presets / sizeof *presets))

const struct model_preset *model_presets(int *count)
{
    *count = PRESET_COUNT;
    return presets;
}

/* The attention-only model of the handout's 4.1: one head of 64 unless the axes say otherwise. */
static const struct model_config attention_config = {
    .name = "attention", .kind = MODEL_ATTENTION, .d_model = 64, .num_layers = 1, .num_heads = 1};

bool model_preset_find(const char *name, struct model_config *config, struct error *error)
{
    if (strcmp(name, attention_config.name) == 0) {
        *config = attention_config;
        return true;
    }
    const bool with_family = strchr(name, '/') != NULL;
    char full[PRESET_COUNT][80];
    const char *candidates[PRESET_COUNT + 1];
    struct strbuf known = {0};
    for (int i = 0; i < PRESET_COUNT; i++) {
        snprintf(full[i], sizeof full[i], "%s%s%s", with_family ? presets[i].family : "", with_family ? "/" : "",
                 presets[i].config.name);
        if (strcmp(full[i], name) == 0) {
            *config = presets[i].config;
            strbuf_release(&known);
            return true;
        }
        candidates[i] = full[i];
        strbuf_printf(&known, "%s, ", presets[i].config.name);
    }
    candidates[PRESET_COUNT] = attention_config.name;
    const char *near = suggest(name, candidates, PRESET_COUNT + 1);
    error_set(error, ERROR_INPUT, "no model is called '%s'%s%s%s; known are %s%s", name, near ? ", did you mean '" : "",
              near ? near : "", near ? "'?" : "", known.text, attention_config.name);
    strbuf_release(&known);
    return false;
}

static bool size_check(const char *what, int64_t value, int64_t most, struct error *error)
{
    if (value < 1)
        return error_set(error, ERROR_INPUT, "%s is %lld; it must be at least 1", what, (long long)value);
    if (value > most)
        return error_set(error, ERROR_INPUT, "%s is %lld; at most %lld is possible", what, (long long)value,
                         (long long)most);
    return true;
}

/* model_parameter_count of sizes that may be beyond what 64 bits count. */
static double parameters_about(const struct model_config *config)
{
    const double c = (double)config->d_model, f = (double)config->d_ff;
    return 2 * (double)config->vocab_size * c + (double)config->num_layers * (4 * c * c + 3 * c * f + 2 * c) + c;
}

/* At least as many values as a step can keep, in any mode: scores, probabilities and their copy; some 24 of (N, C) and 10 of (N, F) a
 * block; logits. Every sum of a plan's bytes has to fit 63 bits: 2⁵⁸ of them, in fp32, with some to spare. */
static double step_values(const struct model_config *config, double rows, double scores)
{
    const double block = 3 * scores + rows * (24 * (double)config->d_model + 10 * (double)config->d_ff);
    return (double)config->num_layers * block + 3 * rows * (double)config->vocab_size;
}

bool model_config_check(const struct model_config *config, int64_t batch, int64_t context, char *warning,
                        size_t warning_size, struct error *error)
{
    if (warning && warning_size)
        warning[0] = '\0';
    if (!size_check("d_model", config->d_model, MODEL_SIZE_MOST, error) ||
        !size_check("num_heads", config->num_heads, MODEL_SIZE_MOST, error) ||
        !size_check("batch_size", batch, MODEL_SIZE_MOST, error) ||
        !size_check("context_length", context, MODEL_SIZE_MOST, error))
        return false;
    if (config->d_model % config->num_heads)
        return error_set(error, ERROR_INPUT, "d_model %lld is not a multiple of num_heads %lld",
                         (long long)config->d_model, (long long)config->num_heads);
    if (batch * context > MODEL_SIZE_MOST)
        return error_set(error, ERROR_INPUT, "batch_size × context_length is %lld rows; at most %d is possible",
                         (long long)(batch * context), MODEL_SIZE_MOST);
    const double scores = (double)batch * (double)config->num_heads * (double)context * (double)context;
    if (scores > 0x1p50)
        return error_set(error, ERROR_INPUT,
                         "attention over context_length %lld would need %.3g scores, beyond any memory",
                         (long long)context, scores);
    const int64_t head_dim = config->d_model / config->num_heads;
    if (head_dim % 2)
        return error_set(error, ERROR_INPUT,
                         "d_model / num_heads is %lld, but RoPE turns pairs and kernels work on them: it must be even",
                         (long long)head_dim);
    const bool alone = config->kind == MODEL_ATTENTION;
    if (!alone && (!size_check("d_ff", config->d_ff, MODEL_SIZE_MOST, error) ||
                   !size_check("num_layers", config->num_layers, MODEL_LAYERS_MOST, error) ||
                   !size_check("vocab_size", config->vocab_size, MODEL_SIZE_MOST, error)))
        return false;
    const struct model_config one = {.d_model = config->d_model, .num_layers = 1};
    const double values = step_values(alone ? &one : config, (double)(batch * context), scores);
    if (values > 0x1p58)
        return error_set(error, ERROR_INPUT, "a step of the model would keep %.3g values, beyond any memory", values);
    if (alone)
        return true;
    const double weights = parameters_about(config);
    if (weights > 0x1p45)
        return error_set(error, ERROR_INPUT, "the model would have %.3g parameters, beyond any memory", weights);
    if (warning && warning_size && config->d_ff % 8)
        snprintf(warning, warning_size, "d_ff %lld is not a multiple of 8, which is slow; did you mean %lld?",
                 (long long)config->d_ff, (long long)(config->d_ff < 8 ? 8 : (config->d_ff + 4) / 8 * 8));
    return true;
}

uint64_t model_parameter_count(const struct model_config *config)
{
    if (config->kind == MODEL_ATTENTION)
        return 0;
    const uint64_t c = (uint64_t)config->d_model, f = (uint64_t)config->d_ff;
    const uint64_t block = 4 * c * c + 3 * c * f + 2 * c;
    return 2 * (uint64_t)config->vocab_size * c + (uint64_t)config->num_layers * block + c;
}

static const char *const checkpoint_names[CHECKPOINT_COUNT] = {"none", "block"};
static const char *const fusion_names[FUSE_COUNT] = {
    [FUSE_QKV] = "qkv",
    [FUSE_GATE_UP] = "gate_up",
    [FUSE_ATTENTION] = "attention",
    [FUSE_SWIGLU] = "swiglu",
    [FUSE_ADD_RMSNORM] = "add_rmsnorm",
    [FUSE_CROSS_ENTROPY] = "cross_entropy",
    [FUSE_CAST] = "cast",
    [FUSE_ADAMW] = "adamw",
    [FUSE_OVERLAP] = "overlap",
};

const char *fusion_name(enum fusion fusion)
{
    return (unsigned)fusion < FUSE_COUNT ? fusion_names[fusion] : "?";
}

const char *checkpoint_name(enum checkpoint checkpoint)
{
    return (unsigned)checkpoint < CHECKPOINT_COUNT ? checkpoint_names[checkpoint] : "?";
}
