/* What the host does to a step: data, Python between operators, synchronisations, copies. */
#include "report/rules.h"
#include <stdlib.h>

static bool is_host_copy(const struct report_kernel *kernel)
{
    return kernel->copy == COPY_TO_DEVICE || kernel->copy == COPY_TO_HOST;
}

static bool is_copy_to_host(const struct report_kernel *kernel)
{
    return kernel->copy == COPY_TO_HOST;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the timed steps: the median of what is in no phase of them. Step by step, where the phases of each are known: a processor that
 * others take now and then makes another phase longer each time, and the medians of the phases less than the median of the steps. */
static double outside_phases(const struct facts *facts)
{
    const struct report_pass *pass = &facts->cell->passes[facts->pass];
    const size_t count = facts->total->sample_count;
    double *outside = arena_array(facts->arena, double, count + 1), sum = 0;
    bool each = count > 0;
    for (size_t i = 0; i < count; i++)
        outside[i] = (double)facts->total->samples_ns[i];
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        const struct report_phase *own = &pass->phases[phase];
        if (!own->summary.n || !is_known(own->summary.median))
            continue;
        sum += own->summary.median;
        each = each && own->sample_count == count;
        for (size_t i = 0; each && i < count; i++)
            outside[i] -= is_known_u64(own->samples_ns[i]) ? (double)own->samples_ns[i] : 0;
    }
    if (!(sum > 0))
        return UNKNOWN_DOUBLE;
    if (!each)
        return fmax(0, facts->total->summary.median - sum);
    qsort(outside, count, sizeof *outside, ascending);
    return fmax(0, (outside[(count - 1) / 2] + outside[count / 2]) / 2);
}

/* At most: a step without what is outside of its phases, whose phases are as short as the shortest, and at most a fifth shorter than
 * their median. After a wait they run slower, with caches that others have used. Share of the median step. */
static double outside_at_most(const struct facts *facts)
{
    const struct report_pass *pass = &facts->cell->passes[facts->pass];
    double least = 0;
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        if (pass->phases[phase].summary.n && is_known(pass->phases[phase].summary.p5))
            least += fmax(pass->phases[phase].summary.p5, PHASES_FASTER * pass->phases[phase].summary.median);
    return least > 0 ? fmax(0, 1 - least / facts->total->summary.median) : UNKNOWN_DOUBLE;
}

/* Of the step, by reason; NaN in a document from before idle time had reasons. */
static double idle_share(const struct facts *facts, enum idle_reason reason)
{
    const struct report_idle *idle = &facts->cell->passes[facts->pass].idle;
    return idle->steps && facts->step > 0 ? share_of(facts, idle->ns[reason]) : UNKNOWN_DOUBLE;
}

/* On a card, idle for launches that a synchronisation left without a queue: with nothing queued each kernel after a wait comes as late as
 * its launch, until the host is ahead again. */
static double behind_waits(const struct facts *facts)
{
    const double waits = facts->steps ? idle_share(facts, IDLE_SYNC) : UNKNOWN_DOUBLE;
    return facts->on_card && waits >= SYNC_LEAST ? fmin(2 * waits, fmax(0, idle_share(facts, IDLE_LAUNCH))) : 0;
}

/* What the loader does while it is waited for; "" where nobody watched. */
static const char *loader_cause(const struct facts *facts, struct finding *finding)
{
    const struct program_facts *program = &facts->cell->program;
    if (!program->steps || !program->wait_ns)
        return "";
    if (!program->loader_workers) {
        const double computing = fmin(1, (double)program->wait_cpu_ns / (double)program->wait_ns);
        evidence_add(facts, finding, "of the waiting, the loader computes on the thread that trains", computing * 100,
                     "%", EVIDENCE_MEASURED);
        finding->remedy = "num_workers, so that data is made beside the step, or less work for a sample";
        return computing >= LOADER_BUSY ? ", which has no workers and computes on the thread that trains"
                                        : ", which has no workers and mostly waits itself: a disk, a network, a lock";
    }
    const double all = (double)program->workers_ns * (double)program->loader_workers;
    const double busy = all > 0 ? (double)program->workers_cpu_ns / all : UNKNOWN_DOUBLE;
    const double disk = all > 0 ? (double)program->workers_disk_ns / all : UNKNOWN_DOUBLE;
    evidence_add(facts, finding, "loader workers", (double)program->loader_workers, "", EVIDENCE_SAMPLED);
    evidence_add(facts, finding, "their time on a processor", busy * 100, "%", EVIDENCE_SAMPLED);
    evidence_add(facts, finding, "their time waiting for a disk", disk * 100, "%", EVIDENCE_SAMPLED);
    const double processors = processors_of_host(facts);
    if (busy >= LOADER_BUSY && (double)program->loader_workers >= processors) {
        finding->remedy =
            "Less work for a sample, or data made once and kept: more workers have no processor to run on";
        return sentence(facts, ", whose %llu worker%s all the time on %.0f processor%s",
                        (unsigned long long)program->loader_workers,
                        program->loader_workers == 1 ? " computes" : "s compute", processors,
                        processors > 1 ? "s" : "");
    }
    if (busy >= LOADER_BUSY)
        return sentence(facts, ", whose %llu worker%s compute%s all the time",
                        (unsigned long long)program->loader_workers, program->loader_workers == 1 ? "" : "s",
                        program->loader_workers == 1 ? "s" : "");
    finding->remedy = disk >= LOADER_DISK ? "A faster disk, data in larger pieces, or data kept in memory"
                                          : "What its workers wait for (network, locks, sleep), or more of them";
    return sentence(facts, ", whose %llu worker%s mostly wait%s: %s", (unsigned long long)program->loader_workers,
                    program->loader_workers == 1 ? "" : "s", program->loader_workers == 1 ? "s" : "",
                    disk >= LOADER_DISK ? "for a disk" : "not for a processor, nor for a disk, as far as was seen");
}

/* A loader without workers runs its own operators, which are no waiting: all of what is outside of phases is what it can give. */
static bool input(const struct facts *facts, struct finding *finding)
{
    const struct program_facts *program = &facts->cell->program;
    double data = facts->steps ? idle_share(facts, IDLE_DATA) : UNKNOWN_DOUBLE;
    double outside =
        facts->attached && facts->steps ? outside_phases(facts) / facts->total->summary.median : UNKNOWN_DOUBLE;
    /* What the thread that trains was in its loader, which runs operators there when it has no workers. */
    if (is_known(data) && !facts->on_card && program->steps && program->wall_ns)
        data = fmax(data, fmin(1, (double)program->wait_ns / (double)program->wall_ns));
    if (is_known(data) ? data < INPUT_LEAST : !(outside >= INPUT_LEAST))
        return false;
    evidence_add(facts, finding, "waiting for the data loader", data * 100, "% of the step", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "outside forward, loss, backward and optimizer", outside * 100, "% of the step",
                 EVIDENCE_MEASURED);
    evidence_add(facts, finding, "operators in that time", share_of(facts, phase_ns(facts, PHASE_NONE)) * 100,
                 "% of the step", EVIDENCE_MEASURED);
    if (is_known(data)) {
        finding->gain = facts->on_card || !(outside > data) ? data : fmax(outside, outside_at_most(facts));
        /* What is ranked by more than it says would stand first without a reason to be seen. */
        const char *beside = "";
        if (finding->gain > data + BESIDE_DATA)
            beside =
                sentence(facts,
                         "; at most %.0f %% pass outside forward, loss, backward and optimizer, were these as fast "
                         "as in their shortest steps",
                         finding->gain * 100);
        finding->sentence = sentence(facts, "Input-bound: the host waits %.0f %% of the step for its data loader%s%s.",
                                     data * 100, loader_cause(facts, finding), beside);
    } else {
        finding->sentence =
            sentence(facts,
                     "Input-bound, likely: %.0f %% of the step passes outside its phases. Cannot tell how much of it "
                     "is the data loader, because the report has no reasons of idle time.",
                     outside * 100);
        finding->gain = outside;
        finding->confidence = CONFIDENCE_POSSIBLE;
    }
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

/* Beside the phases and not in a data loader: logging, metrics, checkpoints, data made by hand. */
static bool outside(const struct facts *facts, struct finding *finding)
{
    const double data = facts->steps ? idle_share(facts, IDLE_DATA) : UNKNOWN_DOUBLE;
    const double beside =
        facts->attached && facts->steps ? outside_phases(facts) / facts->total->summary.median : UNKNOWN_DOUBLE;
    if (facts->on_card || !is_known(data) || data >= INPUT_LEAST || !(beside >= INPUT_LEAST))
        return false;
    evidence_add(facts, finding, "outside forward, loss, backward and optimizer", beside * 100, "% of the step",
                 EVIDENCE_MEASURED);
    evidence_add(facts, finding, "waiting for the data loader", data * 100, "% of the step", EVIDENCE_MEASURED);
    finding->gain = fmax(beside, outside_at_most(facts));
    finding->sentence = sentence(
        facts, "%.0f %% of the step passes outside forward, loss, backward and optimizer, and not in a data loader%s.",
        beside * 100,
        finding->gain > beside + BESIDE_DATA
            ? sentence(facts, "; at most %.0f %%, were these as fast as in their shortest steps", finding->gain * 100)
            : "");
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

static bool synchronisation(const struct facts *facts, struct finding *finding)
{
    const double share = facts->steps ? idle_share(facts, IDLE_SYNC) : UNKNOWN_DOUBLE;
    const double behind = fmax(0, idle_share(facts, IDLE_LAUNCH));
    const double cause = fmin(facts->left, share + behind_waits(facts));
    if (!facts->on_card || !(share >= SYNC_LEAST) || !(cause >= IDLE_LEAST))
        return false;
    const struct report_idle *idle = &facts->cell->passes[facts->pass].idle;
    finding->layer = idle->sync_layer ? idle->sync_layer : "";
    evidence_add(facts, finding, "idle after a synchronisation", share * 100, "% of the step", EVIDENCE_MEASURED);
    const double part = idle->sync_layer_ns / idle->ns[IDLE_SYNC];
    if (*finding->layer)
        evidence_add(facts, finding, "of that, asked for by this layer", part * 100, "%", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "idle for launches, which have no queue behind them after each wait", behind * 100,
                 "% of the step", EVIDENCE_MEASURED);
    const char *where = "";
    if (*finding->layer)
        where = part > 0.5 ? sentence(facts, ", most in module %s", layer_words(facts, finding->layer))
                           : sentence(facts, ", in several modules, %.0f %% of it in %s", part * 100,
                                      layer_words(facts, finding->layer));
    finding->sentence = sentence(facts, "The GPU is idle for %.0f %% of the step, because the host waited for it%s%s.",
                                 cause * 100, cause > share ? " and then had nothing queued" : "", where);
    const double read = share_of(facts, filtered_ns(facts, is_copy_to_host)); /* what was waited for */
    evidence_add(facts, finding, "copies to the host", read * 100, "% of the step", EVIDENCE_MEASURED);
    finding->gain = fmin(1, fmin(facts->left, share + behind + fmax(0, idle_share(facts, IDLE_QUEUE))) + read);
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

static bool is_not_outside(const struct report_kernel *kernel)
{
    return kernel->phase != PHASE_NONE;
}

static bool launch(const struct facts *facts, struct finding *finding)
{
    double waiting = share_of(facts, facts->idle), within, layer = 0;
    if (!facts->steps || !is_known(waiting))
        return false;
    const double outside = facts->attached ? outside_phases(facts) / facts->total->summary.median : 0;
    if (is_known(outside) && facts->attached) /* what passes outside of phases is the loader's */
        waiting = fmax(0, waiting - fmax(0, outside - share_of(facts, phase_ns(facts, PHASE_NONE))));
    if (facts->attached && idle_share(facts, IDLE_RANK) > 0) /* and what waits for another rank is `straggler`'s */
        waiting = fmax(0, waiting - idle_share(facts, IDLE_RANK));
    if (facts->on_card && is_known(idle_share(facts, IDLE_LAUNCH)))
        waiting = idle_share(facts, IDLE_LAUNCH) - behind_waits(facts);
    waiting = fmin(waiting, facts->left);
    /* Steps that stand still are `stall`'s and `recompile`'s, those of a warm-up in the count `warmup`'s. */
    within = fmax(0, waiting - facts->stalled - facts->warming);
    if (facts->attached ? within < PYTHON_LEAST : !facts->on_card || within < IDLE_LEAST)
        return false;
    finding->layer = largest_layer(facts, is_not_outside, &layer);
    evidence_add(facts, finding, facts->on_card ? "the device does nothing" : "no operator runs, within phases",
                 within * 100, "% of the step", EVIDENCE_MEASURED);
    double calls = 0;
    for (int phase = 0; phase < PHASE_NONE; phase++)
        calls += facts->calls[phase];
    evidence_add(facts, finding, facts->on_card ? "launches" : "operators", calls, "a step", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "mean time of one", facts->busy / fmax(calls, 1) * 1e-3, "µs", EVIDENCE_MEASURED);
    finding->sentence =
        sentence(facts, "%s for %.0f %% of the step, with %.0f %s of %.0f µs on average%s%s.",
                 facts->on_card ? "Launch-bound, likely: the GPU waits" : "Python-bound: no operator runs",
                 within * 100, calls, facts->on_card ? "launches" : "operators", facts->busy / fmax(calls, 1) * 1e-3,
                 *finding->layer ? ", most of their time in " : "", layer_words(facts, finding->layer));
    finding->gain = within;
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

static bool is_pageable_copy(const struct report_kernel *kernel)
{
    return is_host_copy(kernel) && kernel->pageable;
}

static bool copies(const struct facts *facts, struct finding *finding)
{
    const double share = share_of(facts, filtered_ns(facts, is_host_copy));
    if (!facts->steps || !(share >= COPIES_LEAST))
        return false;
    double layer;
    finding->layer = largest_layer(facts, is_host_copy, &layer);
    finding->kernel = largest_kernel(facts, is_host_copy)->name;
    evidence_add(facts, finding, "copies between host and device", share * 100, "% of the step", EVIDENCE_MEASURED);
    const double pageable = share_of(facts, filtered_ns(facts, is_pageable_copy));
    evidence_add(facts, finding, "of that, from or to pageable memory", pageable / share * 100, "%", EVIDENCE_MEASURED);
    finding->sentence = sentence(facts, "Transfer-bound: copies between host and device take %.0f %% of the step%s.",
                                 share * 100, pageable > 0.5 * share ? ", most from or to pageable memory" : "");
    /* Of pageable memory the host makes a copy first, and launches nothing meanwhile: it takes about as long again. */
    const double staged =
        fmin(fmax(0, idle_share(facts, IDLE_LAUNCH)) + fmax(0, idle_share(facts, IDLE_SYNC)), pageable);
    if (staged > 0)
        evidence_add(facts, finding, "idle meanwhile, at most", staged * 100, "% of the step", EVIDENCE_MODELLED);
    finding->gain = fmin(1, share + (staged > 0 ? staged : 0));
    finding->view = SHOWN_IN_TIMELINE;
    return true;
}

const struct rule rules_host[] = {
    {"input",
     "the host waits 10 % of the step for its data loader; of an old report of an attached program, 10 % lies outside "
     "its phases",
     "More loader workers, or work on the data ahead of the step",
     "the time does not fall with data that is made once and kept", false, input},
    {"outside", "of an attached program, 10 % of the step lies outside its phases and not in a data loader",
     "Logging, metrics and data made by hand less often, or beside the step", "the time stays without them", false,
     outside},
    {"sync",
     "on a card, 5 % of the step is idle after the host waited for it, and 10 % with up to twice that for the launches "
     "behind each wait",
     "Fewer .item(), .cpu() and prints: keep values on the device and read them every so many steps",
     "the idle time stays without them", false, synchronisation},
    {"launch",
     "no kernel runs for 10 % of the step on a card, or no operator for 15 % of it within the phases of an attached "
     "program",
     "torch.compile, CUDA graphs or larger batches",
     "the idle time stays when the same kernels are launched from a graph", false, launch},
    {"copies", "copies between host and device take 5 % of the step",
     "Pinned memory with non_blocking, or data kept on the device",
     "other kernels run beside the copies in the timeline", false, copies},
};
RULE_TABLE(rules_host);
