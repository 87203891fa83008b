#include "attach/where.h"
#include "attach/away.h"
#include "attach/link.h"
#include "attach/steps.h"
#include "base/clock.h"
#include "base/unknown.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MODULES 128
#define DEPTH_OPS 128
#define DEPTH_NODES 64
#define STRETCHES 512
#define DEPTH_RANGES 64
#define SEQUENCES (1u << 18) /* autograd numbers of which the module is remembered */
#define PLACE_SETS 1024u
#define PLACE_WAYS 8 /* places of a set: one line of the processor's cache */
#define NOWHERE CONTEXT(BOOK_NONE, PHASE_NONE)
#define WHOLE BOOK_NAMES /* in place of a name: all that runs in a context */

struct where {
    uint16_t number;
    int32_t context;      /* now */
    uint64_t since;       /* the context began; for records of layers. 0: while nothing was recorded */
    uint64_t phase_since; /* and its phase, where the host runs it */
    int module_depth, node_depth, op_depth, range_depth, phase_depth;
    uint32_t passed; /* `nodes_elsewhere` when the loss began */
    bool calls;      /* this thread has called a module */
    struct {
        int32_t scope;
        int32_t context; /* before it */
        int64_t sequence;
    } modules[DEPTH_MODULES];
    int32_t nodes[DEPTH_NODES]; /* contexts before them */
    int32_t phases[8];
    struct {
        int32_t before; /* context */
        uint64_t start;
        uint32_t name;
        bool parent, hidden;
    } ranges[DEPTH_RANGES];
    struct op_frame {
        uint64_t start, own; /* when it began; since when it has run itself, not in an op that it called */
        uint64_t longest_start, longest_end;
        uint32_t name;
        uint16_t first; /* of its stretches */
        bool parent;    /* it called another */
    } ops[DEPTH_OPS];
    /* What ops that are under way did themselves between others, those of the innermost last. */
    struct {
        uint64_t start, end;
    } stretches[STRETCHES];
    int stretch_count;
    uint64_t cache[PLACE_SETS][PLACE_WAYS]; /* the latest place of a set first */
    struct {
        _Atomic uint64_t modules, nodes, ops;
    } counts; /* written by its own thread alone */
    struct where *next;
};

/* Which module made the backward node of an autograd number. Writers are the threads of forward passes, readers those of backward
 * ones; a number's row is written before its backward can run. */
static struct {
    _Atomic int64_t sequence;
    _Atomic int32_t scope;
    _Atomic uint32_t who; /* the thread, and the step's last 16 bits */
} claims[SEQUENCES];

#define WHO(thread, step) ((uint32_t)(thread) << 16 | ((step)&0xffff))
#define IS_RECENT(who, step) ((uint16_t)((step) - (who)) <= 1)

static struct {
    pthread_mutex_t lock;
    struct where *_Atomic all;
    _Atomic uint32_t threads;
    _Atomic bool ranges;               /* are records */
    _Atomic bool modules;              /* have been called */
    _Atomic bool collisions;           /* two threads gave nodes one number */
    _Atomic bool ops, layers, host;    /* host: it computes, not a card */
    _Atomic bool nodes_unknown;        /* nobody tells of the backward pass */
    _Atomic uint32_t callers;          /* threads that call modules and have not ended */
    _Atomic uint32_t nodes_elsewhere;  /* so many outermost nodes have begun on threads that call none */
    bool (*_Atomic in_backward)(void); /* is the calling thread in a backward pass? NULL: nobody can tell */
    _Atomic uint32_t phase_names[8];   /* of records of layers: id + 1 */
    pthread_key_t key;
    pthread_once_t once;
    bool has_key;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static _Thread_local struct where *mine;

/* Others read it when a step ends. */
static void count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Threads come and go (data loaders, pools): their places are used again. */
static void thread_ended(void *context)
{
    struct where *where = context;
    if (where->calls)
        atomic_fetch_sub(&shared.callers, 1);
    where->calls = false;
    if (!link_is_open())
        return;
    pthread_mutex_lock(&shared.lock);
    where->number |= 0x8000; /* free */
    pthread_mutex_unlock(&shared.lock);
}

static void make_key(void)
{
    shared.has_key = pthread_key_create(&shared.key, thread_ended) == 0;
}

static struct where *where_make(void)
{
    pthread_once(&shared.once, make_key);
    pthread_mutex_lock(&shared.lock);
    struct where *where = atomic_load(&shared.all);
    while (where && !(where->number & 0x8000))
        where = where->next;
    if (where) {
        where->number &= 0x7fff;
        where->module_depth = where->node_depth = where->op_depth = where->range_depth = where->phase_depth = 0;
    } else if ((where = calloc(1, sizeof *where))) {
        where->number = (uint16_t)(atomic_fetch_add(&shared.threads, 1) & 0x7fff);
        where->next = atomic_load(&shared.all);
        atomic_store(&shared.all, where);
    }
    pthread_mutex_unlock(&shared.lock);
    if (where) {
        where->context = NOWHERE;
        where->since = 0;
        if (shared.has_key)
            pthread_setspecific(shared.key, where);
    }
    mine = where;
    return where;
}

struct where *where_self(void)
{
    return mine ? mine : where_make();
}

static void leave_backward(struct where *where);

int32_t where_context(void)
{
    if (mine)
        leave_backward(mine);
    return mine ? mine->context : NOWHERE;
}

void where_record(bool ops, bool layers)
{
    atomic_store(&shared.ranges, false); /* modules have come */
    atomic_store(&shared.ops, ops);
    atomic_store(&shared.layers, layers);
    atomic_store(&shared.host, ops || layers);
}

bool where_records_ops(void)
{
    return atomic_load_explicit(&shared.ops, memory_order_relaxed);
}

bool where_has_modules(void)
{
    return atomic_load_explicit(&shared.modules, memory_order_relaxed);
}

bool where_has_collisions(void)
{
    return atomic_load_explicit(&shared.collisions, memory_order_relaxed);
}

void where_ranges_only(void)
{
    atomic_store(&shared.ranges, true);
}

void where_nodes_unknown(bool unknown)
{
    atomic_store(&shared.nodes_unknown, unknown);
}

void where_counts(struct where_counts *counts)
{
    *counts = (struct where_counts){0};
    for (const struct where *where = atomic_load(&shared.all); where; where = where->next) {
        counts->modules += atomic_load_explicit(&where->counts.modules, memory_order_relaxed);
        counts->nodes += atomic_load_explicit(&where->counts.nodes, memory_order_relaxed);
        counts->ops += atomic_load_explicit(&where->counts.ops, memory_order_relaxed);
    }
}

/* ---- records ---- */

static void record(struct where *where, uint64_t start, uint64_t end, int32_t place, uint32_t name)
{
    if (away_in(start, end)) /* what the program was kept from has no time of its own */
        return;
    struct record one = {.start = start,
                         .end = end,
                         .launch = start,
                         .place = place,
                         .name = name,
                         .step = steps_now(),
                         .stream = where->number,
                         .kind = RECORD_KERNEL,
                         .pass = steps_pass(),
                         .flags = steps_is_warmup() ? RECORD_WARMUP : 0};
    link_push(&one);
}

void where_wait(struct where *where, uint64_t start, uint32_t name, unsigned wait)
{
    struct record one = {.start = start,
                         .end = clock_now(),
                         .launch = start,
                         .payload = wait,
                         .place = BOOK_NONE,
                         .name = name,
                         .step = steps_now(),
                         .stream = where->number,
                         .kind = RECORD_WAIT,
                         .pass = steps_pass(),
                         .flags = steps_is_warmup() ? RECORD_WARMUP : 0};
    link_push(&one);
}

static int32_t place_of(struct where *where, int32_t context, uint32_t name)
{
    /* Where, what, that it is one, and the place + 1. */
    _Static_assert((CONTEXT(BOOK_SCOPES, 7) < 1 << 18) && WHOLE < 1 << 15 && BOOK_PLACES < 1 << 18, "52 bits");
    const uint64_t key = ((uint64_t)(uint32_t)context << 15 | name) << 1 | 1;
    uint64_t *set = where->cache[((uint32_t)context * 0x9e3779b1u + name * 0x85ebca6bu) >> 16 & (PLACE_SETS - 1)];
    for (int i = 0; i < PLACE_WAYS; i++)
        if (set[i] >> 18 == key)
            return (int32_t)(set[i] & 0x3ffff) - 1;
    const int32_t place = name == WHOLE ? book_place_of_class(context, CLASS_OTHER) : book_place(context, name);
    memmove(set + 1, set, (PLACE_WAYS - 1) * sizeof *set);
    set[0] = key << 18 | (uint32_t)(place + 1);
    return place;
}

static uint32_t name_of_phase(enum phase phase)
{
    static const char *const names[8] = {"forward", "loss", "backward", "optimizer", "recompute", "between"};
    const uint32_t known = atomic_load_explicit(&shared.phase_names[phase], memory_order_relaxed);
    if (known)
        return known - 1;
    const uint32_t name = book_name(names[phase] ? names[phase] : "between");
    atomic_store_explicit(&shared.phase_names[phase], name + 1, memory_order_relaxed);
    return name;
}

/* Recomputation is a part of the backward pass. */
static enum phase timed_phase(int32_t context)
{
    const enum phase phase = CONTEXT_PHASE(context);
    return phase == PHASE_RECOMPUTE ? PHASE_BWD : phase;
}

/* Where the host computes, its clock says how long a phase took. With layers alone, the time between two changes of context is a
 * record. */
static void move(struct where *where, int32_t context)
{
    const int32_t before = where->context;
    where->context = context;
    if (before == context || !atomic_load_explicit(&shared.host, memory_order_relaxed))
        return;
    const enum phase was = timed_phase(before);
    const bool other_phase = was != timed_phase(context),
               layers = atomic_load_explicit(&shared.layers, memory_order_relaxed) && steps_recorded();
    const uint64_t now = other_phase || layers ? clock_now() : 0, since = where->since;
    where->since = layers ? now : 0;
    if (other_phase) {
        if (was < PHASE_COUNT && where->phase_since)
            steps_phase_time(was, now - where->phase_since);
        where->phase_since = now;
    }
    if (layers && since && before != NOWHERE)
        record(where, since, now, place_of(where, before, WHOLE), name_of_phase(CONTEXT_PHASE(before)));
}

/* What follows the backward pass outside of modules is of the update: gradients that are clipped, or an update by hand. On the thread
 * whose nodes ran, the engine says when it is through; of a card they run on another thread, and have begun since the loss. Where several
 * threads train nobody knows whose those were. */
static void leave_backward(struct where *where)
{
    const enum phase phase = CONTEXT_PHASE(where->context);
    if ((phase != PHASE_BWD && phase != PHASE_LOSS) || where->module_depth || where->node_depth || where->phase_depth)
        return;
    if (phase == PHASE_LOSS && (where->passed == atomic_load_explicit(&shared.nodes_elsewhere, memory_order_relaxed) ||
                                atomic_load_explicit(&shared.callers, memory_order_relaxed) > 1))
        return;
    bool (*in_backward)(void) = atomic_load_explicit(&shared.in_backward, memory_order_relaxed);
    if (in_backward && !in_backward())
        move(where, CONTEXT(BOOK_NONE, PHASE_OPT));
}

void where_backward_by(bool (*in_backward)(void))
{
    atomic_store(&shared.in_backward, in_backward);
}

/* ---- modules ---- */

void where_enter(struct where *where, int32_t scope, int64_t sequence)
{
    const int depth = where->module_depth++;
    if (!where->calls) {
        where->calls = true;
        atomic_store_explicit(&shared.modules, true, memory_order_relaxed);
        atomic_fetch_add(&shared.callers, 1);
    }
    count(&where->counts.modules);
    if (depth >= DEPTH_MODULES)
        return;
    where->modules[depth].scope = scope;
    where->modules[depth].context = depth == 0 && !where->node_depth ? NOWHERE : where->context;
    where->modules[depth].sequence = sequence;
    const enum phase above = CONTEXT_PHASE(where->context);
    move(where, CONTEXT(scope, where->node_depth                  ? PHASE_RECOMPUTE
                               : depth > 0 && above == PHASE_LOSS ? PHASE_LOSS
                                                                  : PHASE_FWD));
}

/* PyTorch counts nodes by the thread that makes them: two threads in forward passes at once may give one number twice. Which of the two
 * runs later nobody can tell, so neither has a layer. */
static bool is_taken(size_t at, int64_t sequence, uint32_t who)
{
    if (atomic_load_explicit(&claims[at].sequence, memory_order_relaxed) != sequence + 1)
        return false;
    const uint32_t before = atomic_load_explicit(&claims[at].who, memory_order_relaxed);
    if (before >> 16 == who >> 16)
        return true; /* what a child has taken stays the child's */
    if (!IS_RECENT(before, who))
        return false; /* of a step that is over: that node has run */
    atomic_store_explicit(&claims[at].scope, BOOK_NONE, memory_order_relaxed);
    atomic_store_explicit(&shared.collisions, true, memory_order_relaxed);
    return true;
}

static void claim(uint16_t thread, int32_t scope, int64_t from, int64_t to)
{
    const uint32_t who = WHO(thread, steps_now());
    if (to - from > (int64_t)SEQUENCES / 2)
        from = to - SEQUENCES / 2;
    for (int64_t sequence = from; sequence < to; sequence++) {
        const size_t at = (size_t)sequence & (SEQUENCES - 1);
        if (is_taken(at, sequence, who))
            continue;
        atomic_store_explicit(&claims[at].scope, scope, memory_order_relaxed);
        atomic_store_explicit(&claims[at].who, who, memory_order_relaxed);
        atomic_store_explicit(&claims[at].sequence, sequence + 1, memory_order_release);
    }
}

static bool is_in_call_of(const struct where *where, int32_t scope, int *depth)
{
    int at = where->module_depth < DEPTH_MODULES ? where->module_depth : DEPTH_MODULES;
    while (at > 0 && where->modules[at - 1].scope != scope)
        at--;
    *depth = at - 1;
    return at > 0;
}

void where_leave(struct where *where, int32_t scope, int64_t sequence)
{
    int depth;
    if (where->module_depth > DEPTH_MODULES) { /* deeper than is remembered */
        where->module_depth--;
        return;
    }
    if (!is_in_call_of(where, scope, &depth))
        return;
    where->module_depth = depth;
    if (where->modules[depth].sequence >= 0 && sequence >= 0)
        claim(where->number, scope, where->modules[depth].sequence, sequence);
    /* After the outermost comes the loss, until the backward pass or the next forward. */
    const enum phase after =
        atomic_load_explicit(&shared.nodes_unknown, memory_order_relaxed) ? PHASE_NONE : PHASE_LOSS;
    const int32_t outside =
        depth == 0 && !where->node_depth ? CONTEXT(BOOK_NONE, after) : where->modules[depth].context;
    where->passed = atomic_load_explicit(&shared.nodes_elsewhere, memory_order_relaxed);
    move(where, outside);
}

bool where_may_be_left_over(const struct where *where, int32_t scope)
{
    int depth;
    return where->module_depth > 0 && (is_in_call_of(where, scope, &depth) || book_is_root(scope));
}

bool where_may_step(const struct where *where)
{
    return where->module_depth == 0 && where->node_depth == 0 && where->phase_depth > 0;
}

void where_unwind(struct where *where, int modules, int phases)
{
    if (modules >= 0 && where->module_depth > modules) {
        where->module_depth = modules;
        if (modules < DEPTH_MODULES)
            move(where, where->modules[modules].context);
    }
    if (phases >= 0 && where->phase_depth > phases) {
        where->phase_depth = phases;
        if (phases == 0 && where->module_depth == 0 && where->node_depth == 0)
            move(where, NOWHERE);
    }
}

bool where_runs_modules(const struct where *where)
{
    return where->calls;
}

bool where_in_module(const struct where *where)
{
    return where->module_depth > 0;
}

bool where_in_node(const struct where *where)
{
    return where->node_depth > 0;
}

/* ---- backward ---- */

void where_node_begin(struct where *where, int64_t sequence)
{
    const int depth = where->node_depth++;
    count(&where->counts.nodes);
    if (depth == 0 && !where_runs_modules(where))
        atomic_fetch_add_explicit(&shared.nodes_elsewhere, 1, memory_order_relaxed);
    if (depth >= DEPTH_NODES)
        return;
    where->nodes[depth] = where->context;
    int32_t scope =
        CONTEXT_PHASE(where->context) == PHASE_BWD || where->module_depth ? CONTEXT_SCOPE(where->context) : BOOK_NONE;
    if (sequence >= 0) {
        const size_t at = (size_t)sequence & (SEQUENCES - 1);
        if (atomic_load_explicit(&claims[at].sequence, memory_order_acquire) == sequence + 1)
            scope = atomic_load_explicit(&claims[at].scope, memory_order_relaxed);
        else
            scope = BOOK_NONE; /* made outside of all modules: the loss's */
    }
    move(where, CONTEXT(scope, PHASE_BWD));
}

void where_node_end(struct where *where)
{
    if (where->node_depth == 0)
        return;
    const int depth = --where->node_depth;
    /* Between two nodes the engine adds up gradients of the one before: the thread stays where it was. */
    if (depth > 0 && depth < DEPTH_NODES)
        move(where, where->nodes[depth]);
    else if (CONTEXT_PHASE(where->context) != PHASE_BWD)
        move(where, CONTEXT(CONTEXT_SCOPE(where->context), PHASE_BWD));
}

/* ---- optimizer ---- */

void where_phase_begin(struct where *where, enum phase phase)
{
    if (!where->node_depth)
        where->module_depth = 0; /* a forward that raised in a PyTorch whose hooks are not told */
    if (where->phase_depth++ == 0)
        move(where, CONTEXT(BOOK_NONE, phase));
}

void where_phase_end(struct where *where)
{
    if (where->phase_depth > 0 && --where->phase_depth == 0)
        move(where, NOWHERE);
}

bool where_in_phase(void)
{
    return mine && mine->phase_depth > 0;
}

/* ---- ops ----
 *
 * What an op does itself is its record: all of one that called no other; of one that did (a product that first copies its bias) the
 * longest stretch between the others, when that is work and not the handing on of arguments. Of what torch.compile made, each: between
 * the ops that it calls it runs kernels of its own, which nobody else tells of. */

#define OWN_WORK_NS 5000u

static void own_stretch(struct where *where, struct op_frame *op, uint64_t now)
{
    if (now - op->own >= OWN_WORK_NS && where->stretch_count < STRETCHES) {
        where->stretches[where->stretch_count].start = op->own;
        where->stretches[where->stretch_count++].end = now;
    }
    if (now - op->own > op->longest_end - op->longest_start) {
        op->longest_start = op->own;
        op->longest_end = now;
    }
}

void where_op_begin(struct where *where, uint32_t name)
{
    const int depth = where->op_depth++;
    if (depth >= DEPTH_OPS)
        return;
    if (depth == 0)
        leave_backward(where);
    const uint64_t now = atomic_load_explicit(&shared.ops, memory_order_relaxed) ? clock_now() : 0;
    if (depth > 0) {
        where->ops[depth - 1].parent = true;
        own_stretch(where, &where->ops[depth - 1], now);
    } else {
        where->stretch_count = 0;
    }
    where->ops[depth] = (struct op_frame){.start = now,
                                          .own = now,
                                          .longest_start = now,
                                          .longest_end = now,
                                          .name = name,
                                          .first = (uint16_t)where->stretch_count};
}

void where_op_end(struct where *where, uint32_t (*name)(const void *), const void *of)
{
    if (where->op_depth == 0)
        return;
    const int depth = --where->op_depth;
    if (depth >= DEPTH_OPS)
        return;
    struct op_frame *op = &where->ops[depth];
    count(&where->counts.ops);
    if (!op->start || !steps_recorded()) {
        where->stretch_count = op->first;
        return;
    }
    const uint64_t now = clock_now();
    own_stretch(where, op, now);
    const int first = op->first, stretches = where->stretch_count;
    where->stretch_count = first;
    if (depth > 0)
        where->ops[depth - 1].own = now;
    const uint64_t longest = op->longest_end - op->longest_start;
    if (op->parent && longest < OWN_WORK_NS && 2 * longest < now - op->start)
        return;
    const uint32_t known = name ? name(of) : op->name;
    if (op->parent && stretches > first + 1 && book_is_compiled(known)) {
        for (int i = first; i < stretches; i++)
            record(where, where->stretches[i].start, where->stretches[i].end, place_of(where, where->context, known),
                   known);
        return;
    }
    record(where, op->longest_start, op->longest_end, place_of(where, where->context, known), known);
}

/* ---- ranges ---- */

void where_range_push(const char *name, bool hidden)
{
    struct where *where = where_self();
    if (!where)
        return;
    const int depth = where->range_depth++;
    if (depth >= DEPTH_RANGES)
        return;
    if (depth == 0 && !hidden)
        steps_range(name);
    where->ranges[depth].before = where->context;
    where->ranges[depth].hidden = hidden || where->module_depth || where->node_depth;
    if (where->ranges[depth].hidden)
        return; /* modules tell it better */
    if (depth > 0)
        where->ranges[depth - 1].parent = true;
    where->ranges[depth].parent = false;
    where->ranges[depth].name = book_name(name);
    where->ranges[depth].start = clock_now();
    move(where, CONTEXT(book_scope(CONTEXT_SCOPE(where->context), name, UNKNOWN_U64), PHASE_NONE));
}

bool where_range_pop(void)
{
    struct where *where = mine;
    if (!where || where->range_depth == 0)
        return false;
    const int depth = --where->range_depth;
    if (depth < DEPTH_RANGES && !where->ranges[depth].hidden && !where->module_depth && !where->node_depth) {
        if (atomic_load_explicit(&shared.ranges, memory_order_relaxed) && !where->ranges[depth].parent &&
            steps_recorded())
            record(where, where->ranges[depth].start, clock_now(),
                   place_of(where, where->context, where->ranges[depth].name), where->ranges[depth].name);
        move(where, where->ranges[depth].before);
    }
    return true;
}
