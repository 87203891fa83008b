/* Several ranks: communication that nothing hides, a rank that is late, buckets. */
#include "report/rules.h"

/* The largest collective of a step and all of them, in bytes: as the plan has them; of an attached program its parameters' gradients over
 * the collectives of its backward pass. False: not known. */
static bool largest_collective(const struct facts *facts, double *largest, double *all)
{
    const struct report_cell *cell = facts->cell;
    double calls = 0;
    *largest = *all = 0;
    for (size_t c = 0; c < cell->collective_count; c++) {
        const double bytes =
            is_known_u64(cell->collectives[c].bytes) ? (double)cell->collectives[c].bytes : UNKNOWN_DOUBLE;
        *largest = fmax(*largest, bytes);
        *all += bytes;
    }
    if (cell->collective_count)
        return *all > 0;
    for (size_t l = 0; l < cell->layer_count; l++)
        if (cell->layers[l].parent < 0 && is_known_u64(cell->layers[l].parameter_bytes))
            *all += (double)cell->layers[l].parameter_bytes;
    for (size_t k = 0; k < cell->kernel_count; k++)
        if (cell->kernels[k].pass == facts->pass && cell->kernels[k].phase == PHASE_BWD &&
            cell->kernels[k].kernel_class == CLASS_COLLECTIVE)
            calls += (double)cell->kernels[k].calls;
    if (!facts->attached || !(calls > 0) || !(*all > 0))
        return false;
    *largest = *all * facts->steps / calls;
    return true;
}

/* One collective carries half of a step's bytes and more, so that most of them leave when backward has nothing left to hide them: in
 * parts, all but the last could go beside it, for as long as backward takes. */
static bool large_bucket(const struct facts *facts, struct finding *finding)
{
    const struct report_cell *cell = facts->cell;
    double largest, all, alone = 0, backward = 0;
    for (size_t r = 0; r < cell->rank_count; r++) {
        alone += cell->ranks[r].exposed_ns / (double)cell->rank_count;
        backward += cell->ranks[r].backward_ns / (double)cell->rank_count; /* NaN where one is */
    }
    if (facts->attached)
        backward = phase_ns(facts, PHASE_BWD);
    const double share = share_of(facts, alone);
    if (cell->rank_count < 2 || !(share >= EXPOSED_LEAST) || !largest_collective(facts, &largest, &all) ||
        largest < COLLECTIVE_LARGE || 2 * largest < all)
        return false;
    double hidden = alone * (1 - COLLECTIVE_SMALL / largest);
    if (is_known(backward))
        hidden = fmin(hidden, backward);
    evidence_add(facts, finding, "communication beside nothing else", share * 100, "% of the step", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "largest collective", largest * 1e-6, "MB", EVIDENCE_MODELLED);
    evidence_add(facts, finding, "all of a step", all * 1e-6, "MB", EVIDENCE_MODELLED);
    evidence_add(facts, finding, "backward, that could hide it", backward * 1e-6, "ms", EVIDENCE_MEASURED);
    finding->sentence = sentence(facts,
                                 "Gradients travel in one piece: a collective of %.0f MB carries %.0f %% of them and "
                                 "begins when backward is over, so that %.0f %% of the step is communication alone.",
                                 largest * 1e-6, 100 * fmin(1, largest / all), share * 100);
    if (facts->attached)
        finding->remedy = "Smaller buckets (bucket_cap_mb=25 and less), which go while backward works";
    finding->gain = share_of(facts, hidden);
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

/* Collectives below COLLECTIVE_SMALL that are most of a step's: how many, their bytes, and of a step how long they move them and how
 * long they wait for the last rank, ns. Each is a meeting of all ranks. */
static size_t small_collectives(const struct report_cell *cell, double *bytes, double *transfer, double *wait)
{
    size_t count = 0;
    *bytes = *transfer = *wait = 0;
    for (size_t c = 0; c < cell->collective_count; c++) {
        const struct report_collective *one = &cell->collectives[c];
        if (!is_known_u64(one->bytes) || one->bytes >= COLLECTIVE_SMALL || !is_known(one->transfer_ns))
            continue;
        *bytes += (double)one->bytes;
        *transfer += one->transfer_ns;
        *wait += is_known(one->wait_ns) ? one->wait_ns : 0;
        count++;
    }
    return count >= SMALL_LEAST && 2 * count >= cell->collective_count ? count : 0;
}

/* What is waited for in them counts as far as nothing runs beside it. */
static bool bucket(const struct facts *facts, struct finding *finding)
{
    const struct report_cell *cell = facts->cell;
    double bytes, transfer, wait, alone = 0;
    const size_t count = small_collectives(cell, &bytes, &transfer, &wait);
    for (size_t r = 0; r < cell->rank_count; r++)
        alone += cell->ranks[r].exposed_ns / (double)cell->rank_count; /* NaN where one is */
    const double share = share_of(facts, transfer);
    if (!count || !(share >= EXPOSED_LEAST))
        return false;
    evidence_add(facts, finding, "collectives below 1 MB", (double)count, "a step", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "their transfer", share * 100, "% of the step", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "their waiting for the last rank", share_of(facts, wait) * 100, "% of the step",
                 EVIDENCE_MEASURED);
    finding->gain = share_of(facts, fmax(transfer, is_known(alone) ? fmin(transfer + wait, alone) : 0));
    finding->sentence =
        sentence(facts, "%zu collectives of %.0f kB on average take %.0f %% of the step%s: each pays its latency.",
                 count, bytes / (double)count * 1e-3, share * 100,
                 finding->gain > share + BESIDE_DATA
                     ? sentence(facts, ", %.0f %% with the ranks' waiting for each other in them", finding->gain * 100)
                     : "");
    finding->view = SHOWN_IN_RUNS;
    return true;
}

/* Processes of a command do not tell waiting for the last rank from sending: the one that comes last waits for nobody, so that the least
 * of them is what sending takes. */
static bool exposed(const struct facts *facts, struct finding *finding)
{
    double step = 0, alone = 0, wait = 0, least = INFINITY;
    const struct report_cell *cell = facts->cell;
    for (size_t r = 0; r < cell->rank_count; r++) {
        if (!is_known(cell->ranks[r].exposed_ns))
            return false;
        alone += cell->ranks[r].exposed_ns / (double)cell->rank_count;
        step += (cell->ranks[r].exposed_ns + cell->ranks[r].compute_ns) / (double)cell->rank_count;
        wait += cell->ranks[r].wait_ns / (double)cell->rank_count; /* NaN where one is */
        least = fmin(least, cell->ranks[r].exposed_ns);
    }
    if (facts->attached)
        alone = least;
    const double whole = facts->step > step ? facts->step : step, share = whole > 0 ? alone / whole : 0;
    if (cell->rank_count < 2 || share < EXPOSED_LEAST)
        return false;
    struct finding why = {0};
    double bytes, transfer, waiting;
    small_collectives(cell, &bytes, &transfer, &waiting);
    if (large_bucket(facts, &why) || (2 * (transfer + waiting) >= alone && bucket(facts, &why))) /* which say why */
        return false;
    evidence_add(facts, finding, "communication beside nothing else", share * 100, "% of the step", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "all waiting for the last rank", wait * 1e-6, "ms", EVIDENCE_MEASURED);
    finding->sentence =
        sentence(facts, "Communication-bound: collectives run alone for %.0f %% of the step.", share * 100);
    if (facts->attached)
        finding->remedy = "Buckets that overlap with backward (bucket_cap_mb), or fewer sums (no_sync between them)";
    finding->gain = share;
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

static bool straggler(const struct facts *facts, struct finding *finding)
{
    const struct report_cell *cell = facts->cell;
    double slowest = 0, others = 0;
    uint32_t which = 0;
    if (cell->rank_count < 2)
        return false;
    for (size_t r = 0; r < cell->rank_count; r++) {
        if (!is_known(cell->ranks[r].compute_ns))
            return false;
        others += cell->ranks[r].compute_ns;
        if (cell->ranks[r].compute_ns > slowest) {
            slowest = cell->ranks[r].compute_ns;
            which = cell->ranks[r].rank;
        }
    }
    others = (others - slowest) / (double)(cell->rank_count - 1);
    if (!(others > 0) || !(slowest / others - 1 >= STRAGGLER_LEAST))
        return false;
    evidence_add(facts, finding, "work of the slowest rank", slowest * 1e-6, "ms", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "mean work of the others", others * 1e-6, "ms", EVIDENCE_MEASURED);
    finding->sentence =
        sentence(facts, "Rank %u is late: its own kernels take %.0f %% longer than those of the others.", which,
                 (slowest / others - 1) * 100);
    /* What the others wait for it is longer than what its kernels tell, where its host is late as well. A command's ranks do not tell
     * waiting from sending: both, then. */
    double waited = 0;
    for (size_t r = 0; r < cell->rank_count; r++)
        if (cell->ranks[r].rank != which)
            waited += (is_known(cell->ranks[r].wait_ns) ? cell->ranks[r].wait_ns : cell->ranks[r].exposed_ns) /
                      (double)(cell->rank_count - 1);
    evidence_add(facts, finding, facts->attached ? "the others' collectives alone" : "the others' waiting",
                 waited * 1e-6, "ms", EVIDENCE_MEASURED);
    finding->gain = share_of(facts, fmax(slowest - others, is_known(waited) ? waited : 0));
    finding->view = SHOWN_IN_RUNS;
    return true;
}

/* Products that run beside a collective share memory, processors or multiprocessors with it. */
static bool slowed(const struct facts *facts, struct finding *finding)
{
    const struct report_cell *cell = facts->cell;
    double slow = 0, beside = 0;
    for (size_t r = 0; r < cell->rank_count; r++) {
        const struct report_rank *rank = &cell->ranks[r];
        if (!is_known(rank->product_slow) || !is_known(rank->communication_ns) || !is_known(rank->exposed_ns))
            return false;
        slow += rank->product_slow / (double)cell->rank_count;
        beside += fmax(0, rank->communication_ns - rank->exposed_ns) / (double)cell->rank_count;
    }
    if (cell->rank_count < 2 || !(slow >= 1 + SLOWED_LEAST))
        return false;
    evidence_add(facts, finding, "products beside a collective over the same alone", slow, "×", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "communication beside other kernels", share_of(facts, beside) * 100, "% of the step",
                 EVIDENCE_MEASURED);
    finding->gain = share_of(facts, beside) * (1 - 1 / slow);
    finding->sentence = sentence(facts,
                                 "Collectives slow the products down that run beside them: these take %.2f times as "
                                 "long as alone.",
                                 slow);
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

const struct rule rules_ranks[] = {
    {"communication", "of several ranks, collectives run beside nothing else for 5 % of the step",
     "Overlap with backward: --parallel overlap or bucket", "the step takes as long on one rank", false, exposed},
    {"straggler", "one rank's own kernels take 10 % longer than the others' mean",
     "Give each rank the same work and processors", "the late rank is another one in each run", false, straggler},
    {"bucket", "most collectives, 8 at least, are below 1 MB and their transfer takes 5 % of the step",
     "Larger buckets: --parallel bucket or flat", "the transfer takes as long in one piece", false, bucket},
    {"large-bucket",
     "of several ranks, collectives run beside nothing else for 5 % of the step, and one of 8 MB or more carries half "
     "of all bytes",
     "Smaller buckets, which go while backward works: --parallel bucket --bucket-mb 1 to 25",
     "the step takes as long in smaller buckets, as where computing and sending share processors", false, large_bucket},
    {"slowed", "of several ranks, products beside a collective take 10 % longer than alone",
     "Fewer threads or channels for collectives (NCCL_MAX_NCHANNELS), or collectives beside what is no product",
     "the products are as slow with collectives that send little", false, slowed},
};
RULE_TABLE(rules_ranks);
