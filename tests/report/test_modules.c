/* Which layers are one module over all blocks, and which are themselves: trees as PyTorch's own models have them. */
#include "base/unknown.h"
#include "report/modules.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct row {
    const char *path, *name;
    int parent;
    uint64_t bytes;
};

/* The general path of each row. */
static void expect(const struct row *rows, size_t count, const char *const *paths)
{
    struct report_layer layers[64] = {0};
    static const struct report_layer_phase none;
    struct report_cell cell = {.layers = layers, .layer_count = count};
    struct modules modules = {0};
    for (size_t i = 0; i < count; i++) {
        layers[i] = (struct report_layer){.path = rows[i].path,
                                          .name = rows[i].name,
                                          .parent = rows[i].parent,
                                          .saved_bytes = UNKNOWN_U64,
                                          .parameter_bytes = rows[i].bytes,
                                          .peak_bytes = {UNKNOWN_U64, UNKNOWN_U64}};
        for (int pass = 0; pass < PASS_COUNT; pass++)
            for (int phase = 0; phase < PLACE_PHASE_COUNT; phase++)
                layers[i].phase[pass][phase] = &none;
    }
    modules_tree(&modules, &cell);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(modules.layers[modules.of_layer[i]].path, paths[i]);
    modules_release(&modules);
}
#define EXPECT(rows, ...) expect(rows, sizeof rows / sizeof *rows, (const char *const[]){__VA_ARGS__})

static void blocks_of_a_transformer_are_one(void **state)
{
    (void)state;
    const struct row rows[] = {{"model", "model", -1, 100},      {"layers.0", "layers.0", 0, 40},
                               {"layers.0.attn", "attn", 1, 20}, {"layers.0.ffn", "ffn", 1, 20},
                               {"layers.1", "layers.1", 0, 40},  {"layers.1.attn", "attn", 4, 20},
                               {"layers.1.ffn", "ffn", 4, 20},   {"head", "head", 0, 20}};
    EXPECT(rows, "model", "layers.*", "layers.*.attn", "layers.*.ffn", "layers.*", "layers.*.attn", "layers.*.ffn",
           "head");
    const struct row held[] = {{"GPT", "GPT", -1, 100},     {"h", "h", 0, 80},   {"h.0", "0", 1, 40},
                               {"h.0.attn", "attn", 2, 20}, {"h.1", "1", 1, 40}, {"h.1.attn", "attn", 4, 20}};
    EXPECT(held, "GPT", "h", "h.*", "h.*.attn", "h.*", "h.*.attn");
}

static void parts_of_a_sequential_are_themselves(void **state)
{
    (void)state;
    const struct row rows[] = {{"Sequential", "Sequential", -1, 100},
                               {"0", "0", 0, 40},
                               {"1", "1", 0, 16},
                               {"2", "2", 0, 0},
                               {"10", "10", 0, 44}};
    EXPECT(rows, "Sequential", "0", "1", "2", "10");
    const struct row within[] = {
        {"model", "model", -1, 100},    {"blocks.0", "blocks.0", 0, 50}, {"blocks.0.mlp", "mlp", 1, 50},
        {"blocks.0.mlp.0", "0", 2, 40}, {"blocks.0.mlp.2", "2", 2, 10},  {"blocks.1", "blocks.1", 0, 50},
        {"blocks.1.mlp", "mlp", 5, 50}, {"blocks.1.mlp.0", "0", 6, 40},  {"blocks.1.mlp.2", "2", 6, 10}};
    EXPECT(within, "model", "blocks.*", "blocks.*.mlp", "blocks.*.mlp.0", "blocks.*.mlp.2", "blocks.*", "blocks.*.mlp",
           "blocks.*.mlp.0", "blocks.*.mlp.2");
}

/* Each with parts of its own, other ones: the last is not alone because nothing follows it. */
static void parts_that_differ_are_themselves(void **state)
{
    (void)state;
    const struct row rows[] = {{"Sequential", "Sequential", -1, 100},
                               {"0", "0", 0, 40},
                               {"0.conv", "conv", 1, 40},
                               {"1", "1", 0, 16},
                               {"1.norm", "norm", 3, 16},
                               {"2", "2", 0, 44},
                               {"2.head", "head", 5, 44}};
    EXPECT(rows, "Sequential", "0", "0.conv", "1", "1.norm", "2", "2.head");
    const struct row alone[] = {{"model", "model", -1, 40}, {"h.0", "0", 0, 40}, {"h.0.mlp", "mlp", 1, 40}};
    EXPECT(alone, "model", "h.*", "h.*.mlp");
}

/* The first of ResNet's blocks has one part more; experts without parts have the same parameters. */
static void blocks_may_differ_a_little(void **state)
{
    (void)state;
    const struct row rows[] = {{"ResNet", "ResNet", -1, 100},     {"layer1", "layer1", 0, 60},
                               {"layer1.0", "0", 1, 40},          {"layer1.0.conv1", "conv1", 2, 20},
                               {"layer1.0.down", "down", 2, 20},  {"layer1.1", "1", 1, 20},
                               {"layer1.1.conv1", "conv1", 5, 20}};
    EXPECT(rows, "ResNet", "layer1", "layer1.*", "layer1.*.conv1", "layer1.*.down", "layer1.*", "layer1.*.conv1");
    const struct row experts[] = {{"MoE", "MoE", -1, 100}, {"experts.0", "0", 0, 40}, {"experts.1", "1", 0, 40}};
    EXPECT(experts, "MoE", "experts.*", "experts.*");
    const struct row unknown[] = {
        {"MoE", "MoE", -1, UNKNOWN_U64}, {"experts.0", "0", 0, UNKNOWN_U64}, {"experts.1", "1", 0, UNKNOWN_U64}};
    EXPECT(unknown, "MoE", "experts.0", "experts.1");
    /* What the numbers belong to is not there: as before. */
    const struct row old[] = {{"model", "model", -1, 100}, {"layers.3.attn", "layers.3.attn", 0, 40}};
    EXPECT(old, "model", "layers.*.attn");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_a_transformer_are_one),
        cmocka_unit_test(parts_of_a_sequential_are_themselves),
        cmocka_unit_test(parts_that_differ_are_themselves),
        cmocka_unit_test(blocks_may_differ_a_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
