/* Programs that nothing bounds, on machines that are never quiet: step times of many shapes, from many seeds. No rule fires on noise. */
#include "base/random.h"
#include "base/unknown.h"
#include "report/derive.h"
#include "report/findings.h"
#include "tests/report/ill_documents.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define SEEDS 200u /* on which the rules' thresholds and these shapes were fitted to each other */
#define HELD_OUT                                                                                                       \
    1000000u /* and the first of as many that nothing was fitted on: they are looked at after the rules are written */
#define HELD_OUT_SEEDS 200u
#define HELD_OUT_MOST                                                                                                  \
    5u /* of 4800 documents: when this was written one had a finding, and nothing was changed for it */

/* A document's own numbers, one after the other. */
struct draws {
    uint64_t seed, stream, next;
};

static double uniform(struct draws *draws)
{
    return random_uniform(draws->seed, draws->stream, draws->next++);
}

static double normal(struct draws *draws)
{
    return random_normal_cut3(draws->seed, draws->stream, draws->next++);
}

/* Step times over their median, by what makes them differ. */
enum shape {
    SHAPE_NORMAL,   /* 1 to 8 % */
    SHAPE_TAIL,     /* log-normal */
    SHAPE_CLOCKS,   /* two clocks, by turns of some steps */
    SHAPE_WANDER,   /* each step is much like the one before */
    SHAPE_WAVE,     /* a neighbour that comes and goes */
    SHAPE_OUTLIERS, /* one step of a hundred takes up to twice as long */
    SHAPE_FIRST,    /* the first step takes a half longer */
    SHAPE_JUMP,     /* a neighbour begins somewhere */
    SHAPE_COUNT
};

static void shape_samples(enum shape shape, struct draws *draws, uint64_t *samples, size_t count)
{
    const double scale = 0.01 + 0.03 * uniform(draws), period = 6 + 60 * uniform(draws), jump = uniform(draws);
    double wander = 0;
    for (size_t i = 0; i < count; i++) {
        double more = scale * normal(draws);
        wander = 0.9 * wander + 0.4 * more;
        switch (shape) {
        case SHAPE_NORMAL:
            more *= 2;
            break;
        case SHAPE_TAIL:
            more = exp(1.5 * more) - 1;
            break;
        case SHAPE_CLOCKS:
            more = 0.3 * more + (i / 7 % 2 ? scale : -scale);
            break;
        case SHAPE_WANDER:
            more = wander;
            break;
        case SHAPE_WAVE:
            more = 0.5 * more + scale * sin(2 * acos(-1) * (double)i / period);
            break;
        case SHAPE_OUTLIERS:
            more += i && uniform(draws) < 0.01 ? uniform(draws) : 0;
            break;
        case SHAPE_FIRST:
            more += i ? 0 : 0.5;
            break;
        default:
            more += (double)i > jump * (double)count ? 0.04 : 0;
            break;
        }
        samples[i] = (uint64_t)(STEP * fmax(0.5, 1 + more));
    }
}

/* A transformer's step: products and fused attention that are near the roof, and a little of everything else. */
static void healthy_kernels(struct report_cell *cell, struct draws *draws, bool on_card)
{
    const double products = 0.68 + 0.08 * uniform(draws);
    struct report_kernel *product = kernel(cell, "gemm", CLASS_MATMUL, PHASE_FWD, products / 3, 40);
    product->flops = 0.8 * cell->ceilings.flops_per_s * (double)product->total_ns * 1e-9;
    product->bytes = product->flops / 100;
    product = kernel(cell, "gemm", CLASS_MATMUL, PHASE_BWD, products * 2 / 3, 80);
    product->flops = 0.8 * cell->ceilings.flops_per_s * (double)product->total_ns * 1e-9;
    product->bytes = product->flops / 100;
    kernel(cell, "fused_attention", CLASS_ATTENTION, PHASE_FWD, 0.06, 12);
    kernel(cell, "fused_attention_backward", CLASS_ATTENTION, PHASE_BWD, 0.08, 12);
    kernel(cell, "gelu", CLASS_ELEMENTWISE, PHASE_FWD, 0.03 * uniform(draws), 12);
    kernel(cell, "norm", CLASS_NORM, PHASE_FWD, 0.03, 25);
    copy_of(cell, on_card ? COPY_TO_DEVICE : COPY_NONE, false, 0.02 * uniform(draws), 2);
    kernel(cell, "cross_entropy", CLASS_LOSS, PHASE_LOSS, 0.05 * uniform(draws), 2);
    kernel(cell, "adamw_fused", CLASS_OPTIMIZER, PHASE_OPT, 0.03, 1);
}

static unsigned findings_on_noise(unsigned first, unsigned seeds)
{
    unsigned fired = 0;
    for (unsigned seed = first; seed < first + seeds; seed++)
        for (int shape = 0; shape < SHAPE_COUNT; shape++)
            for (int whose = 0; whose < 3; whose++) {
                struct draws draws = {seed, (uint64_t)(shape * 3 + whose), 0};
                struct report report;
                struct arena arena = {0};
                struct findings findings;
                struct report_cell *cell = document(&report, seed % 3 == 0 ? 20 : seed % 3 == 1 ? 60 : 200);
                if (whose)
                    attached(cell);
                if (whose == 2)
                    card(cell);
                healthy_kernels(cell, &draws, whose == 2);
                struct report_pass *pass = &cell->passes[PASS_TRAIN_STEP];
                struct report_phase *total = &pass->phases[PHASE_COUNT];
                shape_samples((enum shape)shape, &draws, total->samples_ns, total->sample_count);
                cell->use.others = 0.04 * uniform(&draws);
                cell->use.steal = 0.01 * uniform(&draws);
                cell->use.idle = whose ? 0.7 : 0.05;
                cell->use.throttled = UNKNOWN_DOUBLE;
                cell_derive(cell);
                findings_make(&findings, &report, cell, &arena);
                for (size_t f = 0; f < findings.count; f++)
                    if (!(findings.items[f].gain <= 0.03)) {
                        print_message("seed %u, shape %d, %d, %zu steps: %s %.3f: %s\n", seed, shape, whose,
                                      total->sample_count, findings.items[f].rule, findings.items[f].gain,
                                      findings.items[f].sentence);
                        fired++;
                    }
                arena_release(&arena);
                report_free(&report);
            }
    return fired;
}

static void no_rule_fires_on_noise(void **state)
{
    (void)state;
    assert_int_equal(findings_on_noise(0, SEEDS), 0);
}

static void nor_on_noise_that_it_was_not_fitted_on(void **state)
{
    (void)state;
    assert_in_range(findings_on_noise(HELD_OUT, HELD_OUT_SEEDS), 0, HELD_OUT_MOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_rule_fires_on_noise),
        cmocka_unit_test(nor_on_noise_that_it_was_not_fitted_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
