#include "kernels/choice.h"
#include "base/clock.h"
#include "base/unknown.h"
#include "kernels/device.h"

#define TIMING_ROUNDS 4       /* the first is not counted */
#define ROUND_US 800.0        /* about how long one round of one candidate may take */
#define LONG_ROUND_US 50000.0 /* needs no second one */
#define MOST_REPEATS 1000
#define FAR_BEHIND 1.5 /* times the best */
#define HELD_ROUNDS 8  /* of a candidate that are made again */

/* A round; again while the process was kept from running in it. */
static bool round_time(const struct choice_timer *timer, double *us, struct error *why)
{
    for (int i = 0; i < HELD_ROUNDS; i++) {
        const uint64_t start = clock_now();
        if (!timer->round(timer->context, us, why))
            return false;
        if (!prepare_held(timer->held, start, clock_now()))
            break;
    }
    return true;
}

static bool candidate_time(const struct choice_timer *timer, int candidate, double best_us, double *us,
                           struct error *why)
{
    int repeats = 1;
    *us = UNKNOWN_DOUBLE;
    for (int attempt = 0; attempt < 2; ++attempt) { /* the first tells how many make a round */
        bool ran = timer->ready(timer->context, candidate, repeats, why);
        for (int round = 0; ran && round < TIMING_ROUNDS; ++round) {
            double round_us = 0;
            ran = round_time(timer, &round_us, why);
            round_us /= (double)repeats * timer->runs;
            if (ran && round > 0 && (!is_known(*us) || round_us < *us))
                *us = round_us;
            if (round > 0 && round_us * repeats * timer->runs > LONG_ROUND_US)
                break;
        }
        timer->done(timer->context);
        if (!ran) {
            *us = UNKNOWN_DOUBLE;
            return false;
        }
        double repeat_us = *us * timer->runs; /* a coarse clock may have seen nothing */
        int wanted = repeat_us * MOST_REPEATS > ROUND_US ? (int)(ROUND_US / repeat_us) + 1 : MOST_REPEATS;
        if (wanted <= repeats || (is_known(best_us) && *us > FAR_BEHIND * best_us))
            break;
        repeats = wanted;
    }
    return true;
}

int choice_fastest(const struct choice_timer *timer, int candidates, double *times, int *tried, struct error *why)
{
    int best = -1;
    *tried = 0;
    for (int c = 0; c < candidates; ++c) {
        *why = (struct error){0};
        if (!candidate_time(timer, c, best >= 0 ? times[best] : UNKNOWN_DOUBLE, &times[c], why))
            continue;
        if (best < 0 || times[c] < times[best])
            best = c;
        ++*tried;
    }
    return best;
}
