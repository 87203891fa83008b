#include "attach/steps.h"
#include "attach/away.h"
#include "attach/book.h"
#include "attach/link.h"
#include "attach/pace.h"
#include "attach/torch.h"
#include "attach/watch.h"
#include "attach/where.h"
#include "base/clock.h"
#include "base/unknown.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define ROOT_CALLS_ENOUGH 8 /* calls of the outermost module without an optimizer's step: there is none */
#define OTHERS_ENOUGH 16    /* steps of other optimizers without the leading one: it is done with */
#define ROOTS_ENOUGH 1024   /* calls of other outermost modules without the leading one: the same */
#define GRAPHS_ENOUGH 8     /* launches of one graph with nothing else that ends a step between */
#define CLOCK_STEP_NS 1000000000u
#define LONG_STEP_NS 3000000000u
#define LONG_TOLD_NS 1000000000u
/* A program that has PyTorch is given so long to call a module before seconds are its steps. */
#define MODULES_NS 30000000000u

static const char *const rule_texts[] = {
    [STEPS_UNKNOWN] = "not known yet",
    [STEPS_CLOCK] = "windows of 1 s: the program has no steps that can be told",
    [STEPS_RANGE] = "from one outermost range to the next of its name",
    [STEPS_MODULE] = "calls of the outermost module: no optimizer stepped",
    [STEPS_OPTIMIZER] = "from one optimizer step to the next",
    [STEPS_GRAPH] = "from one launch of a CUDA graph to the next",
};

static struct {
    pthread_mutex_t lock;
    _Atomic uint32_t step;
    _Atomic bool warmup, recorded;
    _Atomic bool wanted; /* recording is to be on; of graphs it becomes so when the link's thread has seen to it */
    _Atomic uint8_t pass;
    _Atomic uint64_t started;
    _Atomic uint32_t measured_from; /* the first step that is no warm-up; UINT32_MAX: not yet known */
    _Atomic enum step_rule rule;
    _Atomic bool has_modules;         /* there is PyTorch */
    _Atomic uint64_t expected;        /* since when */
    _Atomic uint32_t calls;           /* of the outermost module in the step under way */
    _Atomic bool second_too;          /* the second step is warm-up as well as the first */
    _Atomic bool told;                /* that this step is long */
    uint64_t told_at;                 /* the link's thread's */
    uint32_t counted[3], of_rule;     /* samples by kind; steps that ended by the rule in force */
    int32_t root;                     /* the outermost module whose calls count: the first */
    uint32_t root_calls, other_roots; /* of it; of others since */
    bool graded;                      /* it was called with gradients: without them it evaluates */
    bool trains;                      /* by hand, without an optimizer */
    bool backward, backward_told;     /* nodes ran in the step that ended; it was asked about because of such */
    _Atomic bool asks;
    char range[128];
    const void *graph; /* the latest that was launched, so many times in a row */
    uint32_t launches;
    const void *lead; /* the optimizer whose steps count, where there are several */
    uint32_t others;  /* steps of others since it stepped */
    _Atomic uint64_t phase_ns[PHASE_COUNT];
    struct pace pace;
    _Atomic double share;       /* of the program's time for recording, where it computes itself; 0: a card does */
    struct where_counts before; /* what was told of when the step under way began */
    uint32_t pause_said;
    pthread_mutex_t switching;       /* of `record`, which is called without `lock`: it may ask which step it is */
    void (*_Atomic record)(bool on); /* NULL: nothing needs to be told */
    _Atomic bool on;
    bool settled; /* recording was as it was wanted when the step under way began */
} steps = {.lock = PTHREAD_MUTEX_INITIALIZER, .switching = PTHREAD_MUTEX_INITIALIZER, .on = true, .settled = true};

static void tell_recorder(void)
{
    void (*record)(bool) = atomic_load_explicit(&steps.record, memory_order_acquire);
    if (!record)
        return;
    pthread_mutex_lock(&steps.switching);
    const bool wanted = atomic_load(&steps.wanted);
    if (atomic_load(&steps.on) != wanted) {
        record(wanted);
        atomic_store(&steps.on, wanted);
    }
    pthread_mutex_unlock(&steps.switching);
}

/* Said while a step lasts so long that who looks wonders: an evaluation, a checkpoint, data that do not come. */
static void tell_long_step(void)
{
    char text[160];
    const uint64_t now = clock_now(), lasts = now - atomic_load(&steps.started);
    const uint32_t calls = atomic_load_explicit(&steps.calls, memory_order_relaxed);
    if (lasts < LONG_STEP_NS || steps.rule == STEPS_CLOCK || now - steps.told_at < LONG_TOLD_NS)
        return;
    steps.told_at = now;
    atomic_store(&steps.told, true);
    snprintf(text, sizeof text, "step %u lasts %.0f s so far, with %u forward pass%s in it%s", steps_now() + 1,
             (double)lasts * 1e-9, calls, calls == 1 ? "" : "es", calls > 1 ? ": evaluation?" : "");
    link_send(MESSAGE_ACTIVITY, text, strlen(text), NULL, 0);
}

/* On the link's thread. Once seconds are the steps they end by themselves: in a pause there is nothing that would end them. */
static void tick(void)
{
    tell_long_step();
    watch_tick();
    if (steps.rule == STEPS_CLOCK)
        steps_clock();
    tell_recorder();
}

/* On the link's thread: the program is left alone, and shall not go on paying. */
static void let_go(void)
{
    atomic_store(&steps.wanted, false);
    tell_recorder();
    torch_unwatch();
}

void steps_begin(void)
{
    uint64_t never = 0;
    if (!atomic_compare_exchange_strong(&steps.started, &never, clock_now()))
        return;
    atomic_store(&steps.warmup, true);
    atomic_store(&steps.recorded, true);
    atomic_store(&steps.wanted, true);
    atomic_store(&steps.pass, PASS_TRAIN_STEP);
    atomic_store(&steps.measured_from, UINT32_MAX);
    link_tick(tick);
    link_at_shut(let_go);
}

void steps_expect_modules(void)
{
    atomic_store(&steps.expected, clock_now());
    atomic_store(&steps.has_modules, true);
}

bool steps_await_modules(void)
{
    return atomic_load_explicit(&steps.has_modules, memory_order_relaxed) &&
           clock_now() - atomic_load(&steps.expected) < MODULES_NS;
}

uint32_t steps_now(void)
{
    return atomic_load_explicit(&steps.step, memory_order_relaxed);
}

bool steps_is_warmup(void)
{
    return atomic_load_explicit(&steps.warmup, memory_order_relaxed);
}

bool steps_was_warmup(uint32_t step)
{
    return step < atomic_load_explicit(&steps.measured_from, memory_order_relaxed);
}

bool steps_recorded(void)
{
    return atomic_load_explicit(&steps.recorded, memory_order_relaxed);
}

uint8_t steps_pass(void)
{
    return atomic_load_explicit(&steps.pass, memory_order_relaxed);
}

enum step_rule steps_rule(void)
{
    return steps.rule;
}

void steps_phase_time(int phase, uint64_t ns)
{
    if (phase < PHASE_COUNT)
        atomic_fetch_add_explicit(&steps.phase_ns[phase], ns, memory_order_relaxed);
}

void steps_pace(void (*record)(bool on))
{
    atomic_store(&steps.share, 0);
    atomic_store(&steps.record, record);
}

void steps_pace_host(void (*record)(bool on), double share)
{
    atomic_store(&steps.share, share);
    atomic_store(&steps.record, record);
}

/* What the step that ends was told of. With the lock. */
static void count_told(uint64_t wall_ns, bool recorded)
{
    struct where_counts now;
    where_counts(&now);
    steps.pace.share = atomic_load(&steps.share);
    if (steps.pace.share <= 0)
        steps.pace.counted = 0;
    else if (recorded)
        pace_count(&steps.pace, now.ops - steps.before.ops, now.nodes - steps.before.nodes, wall_ns);
    steps.backward = now.nodes != steps.before.nodes;
    steps.before = now;
}

/* Not at once for good: who begins with an evaluation may train later. Two steps in a row each time, so that what was changed is what one step
 * changed; and as soon as there is a backward pass. */
static void ask(void)
{
    const uint32_t first = steps.of_rule & ~1u;
    const bool due = steps.of_rule == 1 || (steps.of_rule >= 4 && !(first & (first - 1)));
    const bool backward = steps.backward && !steps.backward_told;
    steps.backward_told |= backward;
    if (steps.rule == STEPS_MODULE && !steps.trains && (due || backward))
        atomic_store(&steps.asks, true);
}

static void set_rule(enum step_rule rule)
{
    steps.rule = rule;
    steps.of_rule = 0;
    atomic_store(&steps.warmup, true);
    atomic_store(&steps.measured_from, UINT32_MAX);
    atomic_store(&steps.recorded, true);
    atomic_store(&steps.wanted, true);
    link_note("steps", rule_texts[rule]);
}

/* How many steps are recorded, when that has changed. */
static void tell_pause(void)
{
    char text[256];
    const uint32_t pause = pace_cheap(&steps.pace) ? 1 : steps.pace.pause, said = steps.pause_said;
    if (4 * pause < 5 * said && 5 * pause > 4 * said)
        return;
    steps.pause_said = pause;
    if (pause == 1)
        snprintf(text, sizeof text, "all steps but %d in %d", PACE_BURST, PACE_BURST * PACE_EVERY);
    else if (pace_known(&steps.pace) && pace_cost(&steps.pace) >= steps.pace.counted)
        snprintf(text, sizeof text, "%d steps, then %u that are not: a recorded step takes %.0f %% longer", PACE_BURST,
                 pause, 100 * pace_cost(&steps.pace));
    else if (steps.pace.counted > 0)
        snprintf(
            text, sizeof text,
            "%d steps, then %u that are not: telling of its operators makes a step %.0f %% longer, by their number",
            PACE_BURST, pause, 100 * steps.pace.counted);
    else
        snprintf(text, sizeof text, "%d steps, then %u that are not%s", PACE_BURST, pause,
                 steps.pace.blind ? "" : ", to see what recording costs");
    link_note("recorded", text);
}

/* The step under way is over. Of the first of a rule nobody saw the beginning: it is warm-up, as are those that were asked to be. */
static void next_step(uint64_t now)
{
    const uint64_t started = atomic_exchange(&steps.started, now);
    const bool warmup = atomic_load(&steps.warmup);
    const unsigned kind = warmup ? STEP_WARMUP : atomic_load(&steps.recorded) ? STEP_PROFILED : STEP_TIMED;
    struct sample sample = {.pass = atomic_load(&steps.pass),
                            .kind = (uint8_t)kind,
                            .step = steps.counted[kind]++,
                            .step_id = atomic_load(&steps.step),
                            .start = started,
                            .wall_ns = now - started};
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        const uint64_t ns = atomic_exchange(&steps.phase_ns[phase], 0);
        sample.phase_ns[phase] = ns ? ns : UNKNOWN_U64;
    }
    if (away_in(started, now)) {
        const struct message_suspended suspended = {
            .is_step = 1, .step_id = sample.step_id, .pass = sample.pass, .kind = sample.kind};
        link_send(MESSAGE_SUSPENDED, &suspended, sizeof suspended, NULL, 0);
    } else {
        link_send(MESSAGE_SAMPLE, &sample, sizeof sample, NULL, 0);
    }
    watch_step(started, now, warmup);
    atomic_store(&steps.calls, 0);
    if (atomic_exchange(&steps.told, false))
        link_send(MESSAGE_ACTIVITY, "running", strlen("running"), NULL, 0);
    steps.of_rule++;
    const uint32_t next = atomic_fetch_add(&steps.step, 1) + 1;
    const bool second_too = atomic_load(&steps.second_too) && steps.rule == STEPS_OPTIMIZER;
    const bool still = steps.of_rule < 1 + link_settings()->skip || (second_too && steps.of_rule < 2);
    if (warmup && !still)
        atomic_store(&steps.measured_from, next);
    atomic_store(&steps.warmup, still);
    steps.pace.on = atomic_load(&steps.record);
    steps.pace.blind = steps.rule == STEPS_GRAPH;
    count_told(now - started, kind != STEP_TIMED);
    const bool before = atomic_load(&steps.wanted); /* a step that was warm-up says nothing of what recording costs */
    const bool wanted = still || (warmup && steps.pace.on) ? true
                        : steps.settled                    ? pace_next(&steps.pace, next, before, now - started)
                                                           : before;
    atomic_store(&steps.wanted, wanted);
    steps.settled = steps.rule != STEPS_GRAPH || !steps.pace.on || atomic_load(&steps.on) == wanted;
    atomic_store(&steps.recorded, wanted && steps.settled);
    if (steps.pace.on && before && !wanted)
        tell_pause();
    /* By modules alone, where there is an optimizer: it may step yet, and its steps are not these. */
    atomic_store(&steps.pass,
                 (steps.rule == STEPS_MODULE && !steps.trains) || (steps.rule == STEPS_GRAPH && !steps.lead)
                     ? PASS_FWD
                     : PASS_TRAIN_STEP);
    ask();
}

bool steps_asks(void)
{
    return atomic_load_explicit(&steps.asks, memory_order_relaxed) && atomic_exchange(&steps.asks, false);
}

void steps_by_hand(bool changed)
{
    pthread_mutex_lock(&steps.lock);
    if (steps.rule == STEPS_MODULE && !steps.trains && (changed || steps.backward)) {
        steps.trains = true;
        atomic_store(&steps.pass, PASS_TRAIN_STEP); /* the step has just begun */
        link_note("steps",
                  "calls of the outermost module: no optimizer stepped; training, whose update is the program's own");
    }
    pthread_mutex_unlock(&steps.lock);
}

void steps_second_is_warmup(void)
{
    atomic_store(&steps.second_too, true);
}

void steps_optimizer(const void *optimizer)
{
    pthread_mutex_lock(&steps.lock);
    steps.launches = 0;
    if (steps.rule != STEPS_OPTIMIZER)
        set_rule(STEPS_OPTIMIZER);
    if (!steps.lead || steps.others >= OTHERS_ENOUGH)
        steps.lead = optimizer;
    if (steps.lead == optimizer) {
        steps.others = 0;
        next_step(clock_now());
    } else {
        steps.others++;
    }
    pthread_mutex_unlock(&steps.lock);
    tell_recorder();
}

/* A model, and the loss that is a module as well: the calls of the first make the steps. One that trains is evaluated now and then, without
 * gradients, in the midst of a step. */
static void root_called(int32_t scope, bool gradients)
{
    if (!steps.root_calls || steps.other_roots >= ROOTS_ENOUGH) {
        steps.root = scope;
        steps.graded = false;
    }
    steps.other_roots = steps.root == scope ? 0 : steps.other_roots + 1;
    if (steps.root != scope)
        return;
    const bool evaluates = steps.graded && !gradients;
    steps.graded |= gradients;
    if (steps.rule < STEPS_MODULE && !evaluates && ++steps.root_calls > ROOT_CALLS_ENOUGH)
        set_rule(STEPS_MODULE);
    else if (steps.rule < STEPS_MODULE && steps.root_calls == ROOT_CALLS_ENOUGH)
        atomic_store(&steps.asks, true); /* so that the next one can be compared */
    if (steps.rule == STEPS_MODULE && !evaluates)
        next_step(clock_now());
    atomic_fetch_add(&steps.calls, 1);
}

void steps_root_module(int32_t scope, bool gradients)
{
    pthread_mutex_lock(&steps.lock);
    steps.launches = 0;
    root_called(scope, gradients);
    pthread_mutex_unlock(&steps.lock);
    tell_recorder();
}

/* Within CUPTI's own callback, where it cannot be switched: the link's thread, which is woken, does. A step that began
 * before it has is not recorded. */
void steps_graph(const void *graph)
{
    pthread_mutex_lock(&steps.lock);
    steps.launches = steps.graph == graph ? steps.launches + 1 : 1;
    steps.graph = graph;
    if (steps.rule != STEPS_GRAPH && steps.launches > GRAPHS_ENOUGH && steps.rule != STEPS_RANGE)
        set_rule(STEPS_GRAPH);
    const bool ends = steps.rule == STEPS_GRAPH && steps.launches;
    if (ends)
        next_step(clock_now());
    pthread_mutex_unlock(&steps.lock);
    if (ends)
        link_wake();
}

void steps_range(const char *name)
{
    pthread_mutex_lock(&steps.lock);
    if (steps.root_calls) { /* modules tell it better: these may be oneDNN's own, some a step */
        pthread_mutex_unlock(&steps.lock);
        return;
    }
    if (steps.rule < STEPS_RANGE && !steps.range[0])
        snprintf(steps.range, sizeof steps.range, "%s", name);
    else if (steps.rule <= STEPS_RANGE && strncmp(steps.range, name, sizeof steps.range - 1) == 0) {
        if (steps.rule != STEPS_RANGE)
            set_rule(STEPS_RANGE);
        next_step(clock_now());
    }
    pthread_mutex_unlock(&steps.lock);
    tell_recorder();
}

void steps_clock(void)
{
    const uint64_t now = clock_now(), started = atomic_load(&steps.started);
    const uint64_t least = atomic_load(&steps.has_modules) && steps.rule < STEPS_CLOCK ? MODULES_NS : CLOCK_STEP_NS;
    if (!started || steps.rule > STEPS_CLOCK || now - started < least) /* 0: nothing has begun */
        return;
    pthread_mutex_lock(&steps.lock);
    if (steps.rule <= STEPS_CLOCK && steps.root_calls == 0 && now - atomic_load(&steps.started) >= CLOCK_STEP_NS) {
        if (steps.rule != STEPS_CLOCK)
            set_rule(STEPS_CLOCK);
        next_step(now);
    }
    pthread_mutex_unlock(&steps.lock);
    tell_recorder();
}
