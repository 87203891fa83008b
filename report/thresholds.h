/* All thresholds of the rules, in one place. Shares are of a step unless said otherwise. */
#pragma once

#define RULE_LEAST_STEPS 5    /* timed ones, for any rule that speaks of a step's time */
#define RULE_LEAST_GAIN 0.03  /* what gives less than this is not worth a sentence */
#define RULE_BEYOND_NOISE 1.0 /* a gain counts from so many half widths of the step's interval on */
#define IDLE_LEAST 0.10       /* idle time that is asked for its reason */
#define SYNC_LEAST 0.05       /* idle after a synchronisation, where with twice as much behind it 10 % are idle */
#define PYTHON_LEAST 0.15     /* of an attached CPU program: time outside of operators, within its phases */
#define INPUT_LEAST 0.10      /* time of the step before its forward pass */
#define LOADER_BUSY 0.70      /* of a loader's time: it computes */
#define LOADER_DISK 0.30      /* it waits for a disk */
#define COPIES_LEAST 0.05     /* copies between host and device */
#define LAYOUT_LEAST 0.08     /* copies, casts and transpositions on the device */
#define FUSION_LEAST 0.10     /* elementwise, norm, softmax and copy kernels of a plan that is not fused */
#define SOFTMAX_LEAST 0.08    /* softmax and masks that have a kernel of their own */
#define LOSS_LEAST 0.15       /* loss and the softmax over the vocabulary */
#define EMBEDDING_LEAST 0.15  /* modules that look rows up, with their part of the optimizer */
#define EMBEDDING_COLD                                                                                                 \
    0.5 /* of the time of other kernels on a processor, whose caches a table's gradient empties each step */
#define EMBEDDING_OWN 0.05   /* of that, in kernels */
#define OPTIMIZER_LEAST 0.08 /* the optimizer's phase */
#define OPTIMIZER_CALLS 20   /* launches of the optimizer a step from which it is not fused */
#define RECOMPUTE_LEAST 0.05 /* forward work done again */
#define MEMORY_ROOMY 0.60    /* of free memory: below it recomputing is not needed */
#define MEMORY_NEAR 0.90     /* of free memory: out of memory is near */
#define PRODUCT_ROOF 0.50    /* a product below this share of the roof is far from it */
#define PRODUCT_LEAST 0.10   /* products that are far from the roof */
#define SMALL_ROWS 64        /* rows of a product (batch times context) that leave a card or core waiting for weights */
#define PHASES_FASTER 0.8    /* of its median a phase takes at least, were there no wait before it */
#define BESIDE_DATA 0.05 /* more of the step than this outside its phases, beside waiting for data, is said as well */
#define SPREAD_P99 1.30  /* p99 (p95 below 100 steps) over the median */
#define SPREAD_STEPS 3   /* so many steps are so long: one is an accident */
#define WARM_TIMES 1.5   /* medians that the steps behind a long first one take, each, to be of the warm-up as well */
#define STALL_TIMES 5.0  /* a step so many medians long stands still for a reason */
#define STALL_ALONE                                                                                                    \
    20.0 /* and so many one that is the only one: a host that had run ahead waits once for some steps of its card */
#define DRIFT_STEPS 25           /* at least, for a growth to be told from a jump */
#define DRIFT_MADS 4.0           /* median absolute deviations within the thirds */
#define DRIFT_BETWEEN 0.25       /* of the growth, from the first third to the middle, and from there to the last */
#define DRIFT_STEADY 0.10        /* of the growth, from each fifth to the next */
#define DRIFT_LEAST 0.06         /* last third over first third, less 1 */
#define EXPOSED_LEAST 0.05       /* communication beside no other kernel */
#define STRAGGLER_LEAST 0.10     /* slowest rank's work over the median's, less 1 */
#define COLLECTIVE_SMALL 1000000 /* bytes; below it a collective is latency alone */
#define SMALL_LEAST 8            /* so many of them a step */
#define COLLECTIVE_LARGE                                                                                               \
    8000000                   /* bytes of one that carries half of a step's and more: it could begin earlier in parts */
#define STEAL_LEAST 0.02      /* of the processors' time, taken by other guests */
#define OTHERS_LEAST 0.05     /* of the processors' time, used by other programs */
#define IDLE_CROWDED 0.15     /* of it, left to nobody: above it there was room */
#define QUOTA_LEAST 0.05      /* of the time, stopped by a control group's quota */
#define QUOTA_MOST 1.25       /* of that, in the steps alone */
#define POWER_NEAR 0.97       /* of the power limit */
#define CLOCK_LOW 0.90        /* of the highest clock, while busy */
#define SLOWED_LEAST 0.10     /* products beside a collective over the same alone, less 1 */
#define ACCUMULATED_ROOM 0.50 /* of the card's memory: below it larger batches fit */
#define TILE 128              /* rows and columns of a product that a multiprocessor works on at a time */
#define THREADS_OVER 1.01     /* threads over cores that may be used */
#define GROWTH_LEAST 0.10     /* memory, last third of the steps over the first, less 1 */
#define GROWTH_LEAST_BYTES 0x1p25 /* and so many bytes: 32 MiB */
