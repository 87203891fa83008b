#include "attach/told.h"
#include "attach/book.h"
#include "attach/link.h"
#include "attach/steps.h"
#include "attach/watch.h"
#include "attach/where.h"
#include "base/clock.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 128
#define OP_TEXT 128

enum kind { TOLD_NOTHING, TOLD_NODE, TOLD_OP, TOLD_OPTIMIZER, TOLD_DATA };

static struct {
    _Atomic bool on, ops;
} told;

static _Thread_local struct {
    unsigned depth;
    uint8_t kinds[DEPTH];
    uint64_t data_since, data_cpu; /* one at a time: a loader's turn of the loop */
} here;

void told_begin(bool ops)
{
    atomic_store(&told.ops, ops);
    atomic_store(&told.on, true);
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* By their names: operators have a namespace; a node is first the engine's word and then, within that, its own, with its number where
 * numbers are said. */
static enum kind kind_of(const char *text, bool in_node)
{
    if (starts(text, "autograd::engine::evaluate_function: "))
        return TOLD_NODE;
    if (starts(text, "Optimizer.zero_grad#"))
        return TOLD_OPTIMIZER;
    if (starts(text, "enumerate(DataLoader)"))
        return TOLD_DATA;
    if (starts(text, "torch::autograd::")) /* a node's own name */
        return TOLD_NOTHING;
    if (strstr(text, "::"))
        return TOLD_OP;
    if (!strstr(text, ", seq = ") && (starts(text, "CompiledFunction") || starts(text, "Torch-Compiled Region")))
        return TOLD_OP; /* what torch.compile made runs kernels of its own */
    return in_node && strstr(text, ", seq = ") ? TOLD_NODE : TOLD_NOTHING;
}

/* "aten::addmm, seq = 7, op_id = 5": NVTX says the numbers, ITT does not. */
static int64_t sequence_in(const char *text)
{
    const char *number = strstr(text, ", seq = ");
    return number ? strtoll(number + 8, NULL, 10) : -1;
}

static void op_begin(struct where *where, const char *text)
{
    char name[OP_TEXT];
    snprintf(name, sizeof name, "%s", text);
    name[strcspn(name, ",")] = 0;
    where_op_begin(where, book_name(name));
}

bool told_push(const char *text)
{
    if (!atomic_load_explicit(&told.on, memory_order_relaxed) || !link_is_open())
        return false;
    struct where *where = where_self();
    enum kind kind = text && where ? kind_of(text, where_in_node(where)) : TOLD_NOTHING;
    if (kind == TOLD_OP && (!atomic_load_explicit(&told.ops, memory_order_relaxed) || !steps_recorded()))
        kind = TOLD_NOTHING;
    if (kind == TOLD_DATA && (here.data_since || !where_runs_modules(where)))
        kind = TOLD_NOTHING; /* a loader that a thread of its own runs ahead keeps nobody waiting */
    const unsigned depth = here.depth++;
    if (depth >= DEPTH)
        return true;
    here.kinds[depth] = (uint8_t)kind;
    switch (kind) {
    case TOLD_NODE:
        where_node_begin(where, sequence_in(text));
        break;
    case TOLD_OP:
        op_begin(where, text);
        break;
    case TOLD_OPTIMIZER:
        where_phase_begin(where, PHASE_OPT);
        break;
    case TOLD_DATA:
        here.data_since = clock_now();
        here.data_cpu = watch_thread_cpu();
        break;
    case TOLD_NOTHING:
        break;
    }
    return true;
}

static void data_end(struct where *where)
{
    where_wait(where, here.data_since, book_name("enumerate(DataLoader)"), WAIT_DATA);
    watch_wait(clock_now() - here.data_since, watch_thread_cpu() - here.data_cpu);
    here.data_since = 0;
}

bool told_pop(void)
{
    if (!here.depth)
        return false;
    const unsigned depth = --here.depth;
    struct where *where = link_is_open() ? where_self() : NULL;
    if (depth >= DEPTH || !where)
        return true;
    switch ((enum kind)here.kinds[depth]) {
    case TOLD_NODE:
        where_node_end(where);
        break;
    case TOLD_OP:
        where_op_end(where, NULL, NULL);
        break;
    case TOLD_OPTIMIZER:
        where_phase_end(where);
        break;
    case TOLD_DATA:
        data_end(where);
        break;
    case TOLD_NOTHING:
        break;
    }
    return true;
}
