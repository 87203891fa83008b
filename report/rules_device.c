/* The machine: its clock, its power, its processors, and who else is on it. */
#include "report/rules.h"
#include <string.h>

static bool throttle(const struct facts *facts, struct finding *finding)
{
    const struct device_telemetry *state = &facts->cell->telemetry;
    const double clock = state->sm_clock_mhz / facts->cell->device.clock_mhz;
    const double power = state->power_w / state->power_limit_w;
    const bool slow = state->sm_clock_mhz > 0 && facts->cell->device.clock_mhz > 0 && clock < CLOCK_LOW;
    const bool full = state->power_limit_w > 0 && power >= POWER_NEAR;
    if (!facts->on_card || (!state->throttle[0] && !(slow && full)))
        return false;
    evidence_add(facts, finding, "clock", state->sm_clock_mhz, "MHz", EVIDENCE_SAMPLED);
    evidence_add(facts, finding, "power", state->power_w, "W", EVIDENCE_SAMPLED);
    evidence_add(facts, finding, "temperature", state->temperature_c, "°C", EVIDENCE_SAMPLED);
    if (slow)
        finding->gain = share_of(facts, facts->busy) * (1 - clock);
    finding->sentence = sentence(facts, "The card holds its clock down%s%s.",
                                 state->throttle[0] ? ": " : " at its power limit", state->throttle);
    finding->view = SHOWN_IN_RUNS;
    return true;
}

static bool others(const struct facts *facts, struct finding *finding)
{
    const uint32_t count = facts->cell->telemetry.other_processes;
    if (!count || count == UNKNOWN_U32)
        return false;
    evidence_add(facts, finding, "other processes on the device", count, "", EVIDENCE_SAMPLED);
    finding->sentence = sentence(facts, "%u other process%s on the device.", count, count == 1 ? " is" : "es are");
    finding->view = SHOWN_IN_RUNS;
    return true;
}

static bool steal(const struct facts *facts, struct finding *finding)
{
    const double stolen = steal_of(facts->cell);
    if (facts->on_card || !(stolen >= STEAL_LEAST))
        return false;
    evidence_add(facts, finding, "time stolen", stolen * 100, "% of the processors'", EVIDENCE_MEASURED);
    finding->sentence =
        sentence(facts, "The machine is shared: %.1f %% of the processors' time went to other guests.", stolen * 100);
    finding->gain = stolen;
    finding->view = SHOWN_IN_RUNS;
    return true;
}

/* Other programs on this machine. Where they leave no processor idle, what they took is the most that the run can have lost. Where
 * they do, caches and memory are shared all the same: that is said when the steps differ, in place of `spread` and `drift`. */
static bool neighbours(const struct facts *facts, struct finding *finding)
{
    const struct machine_use *use = &facts->cell->use;
    const double own = 1 - use->others - use->idle - (is_known(use->steal) ? use->steal : 0);
    const bool full = !facts->on_card && use->idle <= IDLE_CROWDED;
    const char *uneven = full ? "" : uneven_steps(facts);
    if (!(use->others >= OTHERS_LEAST) || !(own > 0) || !uneven)
        return false;
    evidence_add(facts, finding, "other programs", use->others * 100, "% of the processors' time", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "this run", own * 100, "% of it", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "idle", use->idle * 100, "% of it", EVIDENCE_MEASURED);
    finding->view = SHOWN_IN_RUNS;
    if (!full) {
        finding->sentence = sentence(facts,
                                     "The machine is shared: the steps %s while other programs use %.0f %% of the "
                                     "processors' time. Cannot tell how much of that is theirs, because %s.",
                                     uneven, use->others * 100,
                                     facts->on_card ? "the card works beside them" : "processors were idle as well");
        finding->confidence = CONFIDENCE_POSSIBLE;
        return true;
    }
    finding->sentence = sentence(facts,
                                 "The machine is shared: other programs use %.0f %% of the processors' time and leave "
                                 "%.0f %% idle, so that the run waits for them.",
                                 use->others * 100, use->idle * 100);
    /* And its own work is up to a fifth slower, where it is always they that had the caches before. */
    const double taken = use->others / (own + use->others), caches = (1 - PHASES_FASTER) * taken;
    evidence_add(facts, finding, "of what it and they use, theirs", taken * 100, "%", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "what it loses to them in caches, at most", caches * 100, "% of its own work",
                 EVIDENCE_MODELLED);
    finding->gain = 1 - (1 - taken) * (1 - caches);
    return true;
}

static double told(uint64_t number)
{
    return number && is_known_u64(number) ? (double)number : UNKNOWN_DOUBLE;
}

/* The threads that were asked for, of a cell of our own (0: all, which is as many as processors); of an attached program those that
 * PyTorch says, of all its ranks. */
static bool threads(const struct facts *facts, struct finding *finding)
{
    const struct cell *cell = &facts->cell->requested;
    const struct program_facts *program = &facts->cell->program;
    const double ranks =
        facts->attached ? fmax(1, (double)facts->cell->rank_count) : 1; /* ours share what was asked for */
    const double own = facts->attached ? told(program->threads) * ranks : told((uint64_t)cell->threads);
    double cores = processors_of_host(facts);
    if (facts->attached && ranks < 2 && is_known(told(program->processors))) /* fewer: `affinity` says that */
        cores = fmin(cores, told(program->processors));
    if (facts->on_card || !is_known(own) || !is_known(cores) || own == cores)
        return false;
    if (own > cores && cores < processors_of_host(facts)) /* `affinity`, likewise */
        return false;
    evidence_add(facts, finding, "threads", own, "", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "processors that may be used", cores, "", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "in kernels", share_of(facts, facts->busy) * 100, "% of the step", EVIDENCE_MEASURED);
    finding->view = SHOWN_IN_RUNS;
    if (facts->attached) /* the author may know that more of them wait for each other */
        finding->confidence = CONFIDENCE_POSSIBLE;
    if (own < cores) {
        /* Two processors may be threads of one core, and together hardly faster than one of them. */
        const uint32_t told_cores = facts->report ? facts->report->host.physical_cores : UNKNOWN_U32;
        const bool known = told_cores && told_cores != UNKNOWN_U32;
        finding->gain = share_of(facts, facts->busy) * (1 - own / cores);
        const char *doubt = "";
        if (!known)
            doubt = sentence(facts,
                             " All of them give between nothing and %.0f %%: cannot tell which, because the machine "
                             "does not say whether two of them are one core.",
                             finding->gain * 100);
        else if (own >= told_cores)
            doubt = sentence(facts, " These are %u core%s, so that more threads may give nothing.", told_cores,
                             told_cores == 1 ? "" : "s");
        if (*doubt)
            finding->confidence = CONFIDENCE_POSSIBLE;
        evidence_add(facts, finding, "cores that these are", known ? told_cores : UNKNOWN_DOUBLE, "",
                     EVIDENCE_MEASURED);
        finding->sentence = sentence(facts, "%.0f of %.0f processors work: kernels run on %.0f thread%s.%s", own, cores,
                                     own, own == 1 ? "" : "s", doubt);
        return true;
    }
    if (own < cores * THREADS_OVER)
        return false;
    finding->sentence = sentence(facts, "%.0f threads%s share %.0f processor%s, so that they wait for each other.", own,
                                 ranks > 1 ? " of all ranks" : "", cores, cores == 1 ? "" : "s");
    finding->confidence = CONFIDENCE_POSSIBLE;
    return true;
}

/* The program bound itself, or what started it did: steptop beside it may use more. */
static bool affinity(const struct facts *facts, struct finding *finding)
{
    const struct program_facts *program = &facts->cell->program;
    const double bound = told(program->processors), own = told(program->threads), cores = processors_of_host(facts);
    if (!facts->attached || facts->on_card || facts->cell->rank_count > 1 || !(bound < cores))
        return false;
    evidence_add(facts, finding, "processors in the masks of its threads", bound, "", EVIDENCE_SAMPLED);
    evidence_add(facts, finding, "processors of this machine that steptop may use", cores, "", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "threads", own, "", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "in operators", share_of(facts, facts->busy) * 100, "% of the step",
                 EVIDENCE_MEASURED);
    finding->view = SHOWN_IN_RUNS;
    if (own > bound) { /* how much of their time is waiting for each other is not known: at most all of it */
        finding->sentence =
            sentence(facts,
                     "The program is bound to %.0f of %.0f processors, which its %.0f threads share, so "
                     "that they wait for each other.",
                     bound, cores, own);
        finding->gain = share_of(facts, facts->busy);
        return true;
    }
    finding->sentence = sentence(facts, "The program is bound to %.0f of %.0f processors.", bound, cores);
    finding->gain = share_of(facts, facts->busy) * (1 - bound / cores);
    return true;
}

static bool quota(const struct facts *facts, struct finding *finding)
{
    const double stopped = facts->cell->use.throttled;
    if (!(stopped >= QUOTA_LEAST))
        return false;
    evidence_add(facts, finding, "stopped by the quota", stopped * 100, "% of the time", EVIDENCE_MEASURED);
    finding->sentence = sentence(
        facts, "The control group's quota of processors stops the run for %.0f %% of the time.", stopped * 100);
    /* Before its first step and behind its last it waits, too, and is not stopped then: of what it is stopped and runs, what it is
     * stopped, where that is no more than a quarter more. */
    const struct machine_use *use = &facts->cell->use;
    const double own = 1 - use->others - use->idle - (is_known(use->steal) ? use->steal : 0);
    finding->gain = own > 0 ? fmin(fmax(stopped, stopped / (stopped + own)), QUOTA_MOST * stopped) : stopped;
    evidence_add(facts, finding, "of what it ran and was stopped", finding->gain * 100, "%", EVIDENCE_MODELLED);
    finding->view = SHOWN_IN_RUNS;
    return true;
}

const struct rule rules_device[] = {
    {"throttle", "a card says that it is throttled, or is at 97 % of its power limit and below 90 % of its clock",
     "Cooling, a higher limit, or less work a step", "the clock is as low with another program", false, throttle},
    {"others", "another process is on the device", "The device for this run alone", "the step takes as long without it",
     false, others},
    {"steal", "of a virtual machine at least 2 % of the processors' time is taken", "A machine that is not shared",
     "steal is as high while nothing runs", false, steal},
    {"neighbours",
     "other programs take 5 % of the processors' time, and leave at most 15 % idle or the steps spread or become "
     "slower",
     "The machine for this run alone", "the step takes as long without them", false, neighbours},
    {"threads", "a CPU's kernels run on fewer threads than there are processors, or on more",
     "As many threads as processors, if these are cores of their own",
     "the step takes as long with all of them, as where two processors are one core", false, threads},
    {"affinity", "the threads of an attached CPU program may use fewer processors than steptop may",
     "No binding (taskset, numactl, OMP_PROC_BIND, GOMP_CPU_AFFINITY, sched_setaffinity), or one to all processors",
     "the step takes as long on all of them", false, affinity},
    {"quota", "a control group's quota stops the run for 5 % of the time",
     "A larger quota, or no more threads and loader workers than it feeds",
     "the step takes as long with a larger quota", false, quota},
};
RULE_TABLE(rules_device);
