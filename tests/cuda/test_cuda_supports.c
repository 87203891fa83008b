/* What the device says that it supports is what its table lowers: every op at every precision, on a card that is not there. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_internal.h"
#include "kernels/ops.h"
#include "tests/cuda/lowered.h"
#include "tests/kernels/agree.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const struct device_class steptop_device_class;

static const struct made_sizes sizes = {
    .batch = 2, .context = 32, .heads = 2, .head_dim = 64, .d_in = 128, .d_out = 64, .vocab = 96};

/* Collectives take ranks that a made plan has not: one operand in, one out, as casts of a type to itself have them. */
static void make(struct made *made, enum op op, enum precision precision)
{
    const bool collective = op_info(op)->kernel_class == CLASS_COLLECTIVE;
    const enum op alike = collective ? OP_SILU : op;
    made_op(made, alike, &sizes, false);
    made->plan.precision = precision;
    if (precision == PRECISION_BF16)
        agree_make_bf16(made, alike);
    if (collective)
        made->nodes[made_last(made)].op = op;
}

/* False with the reason. */
static bool lowers(struct device *device, const struct plan *plan, bool compile, int *launches, struct error *error)
{
    uint64_t scratch, side, own;
    struct program *program = cuda_program_new(device, plan, compile, error);
    assert_non_null(program);
    const bool done = cuda_lower(program, CUDA_RATES_BYTES, &scratch, &side, &own, error);
    *launches = program->launch_count;
    lowered_free(program);
    return done;
}

static void what_is_supported_lowers(void **state)
{
    (void)state;
    static struct made made;
    int supported = 0;
    for (int op = 0; op < OP_COUNT; op++)
        for (int precision = 0; precision < PRECISION_COUNT; precision++)
            for (int compile = 0; compile < 2; compile++) {
                struct device device = {
                    .architecture = 90, .units = 132, .shared_limit = 227 << 10, .shared_in_unit = 228 << 10};
                struct error error = {0};
                char why[160] = "";
                int launches = 0;
                const bool says =
                    steptop_device_class.supports(&device, (enum op)op, (enum precision)precision, why, sizeof why);
                make(&made, (enum op)op, (enum precision)precision);
                const bool does = lowers(&device, &made.plan, compile, &launches, &error);
                if (says != does)
                    fail_msg("%s at %s, %s: supports says %s, lowering %s", op_info((enum op)op)->name,
                             precision_name((enum precision)precision), compile ? "compiled" : "eager",
                             says ? "yes" : why, does ? "does it" : error.text);
                if (does && launches < 1)
                    fail_msg("%s lowers to no launch", op_info((enum op)op)->name);
                supported += says;
                cuda_attention_cudnn_close(&device); /* asking for attention opened the library, where there is one */
            }
    assert_true(supported > OP_COUNT); /* the loops ran, and not all was refused */
}

static void what_is_no_op_is_refused(void **state)
{
    (void)state;
    struct device device = {.architecture = 90};
    char why[160] = "";
    assert_false(steptop_device_class.supports(&device, OP_COUNT, PRECISION_FP32, why, sizeof why));
    assert_non_null(strstr(why, "no kernel"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_supported_lowers),
                                       cmocka_unit_test(what_is_no_op_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
