#include "kernels/cuda/cupti_attribution.h"
#include "kernels/device.h"
#include <stdatomic.h>
#include <stdlib.h>

/* A slot is a small seqlock whose sequence is its own content: `correlation` is 0 while the fields change. All fields are
 * atomics, so a reader that comes at the wrong time reads a value that it then throws away, never a torn one. */
struct launch_slot {
    _Atomic uint32_t correlation;
    _Atomic int32_t node;
    _Atomic uint64_t step, time;
    _Atomic uint32_t call, heard; /* `heard` is the correlation id whose record was seen last */
};

struct launch_table {
    uint32_t mask;
    struct launch_slot slots[];
};

struct launch_table *launch_table_create(uint32_t capacity)
{
    struct launch_table *table = calloc(1, sizeof *table + (size_t)capacity * sizeof table->slots[0]);
    if (table)
        table->mask = capacity - 1;
    return table;
}

void launch_table_free(struct launch_table *table)
{
    free(table);
}

/* The release stores of the fields keep the invalidation before them, the acquire loads keep the second look after them. */
void launch_table_put(struct launch_table *table, const struct launch *launch)
{
    struct launch_slot *slot = &table->slots[launch->correlation & table->mask];
    atomic_store_explicit(&slot->correlation, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->node, launch->node, memory_order_release);
    atomic_store_explicit(&slot->step, launch->step, memory_order_release);
    atomic_store_explicit(&slot->time, launch->time, memory_order_release);
    atomic_store_explicit(&slot->call, launch->call, memory_order_release);
    atomic_store_explicit(&slot->correlation, launch->correlation, memory_order_release);
}

bool launch_table_get(const struct launch_table *table, uint32_t correlation, struct launch *launch)
{
    const struct launch_slot *slot = &table->slots[correlation & table->mask];
    if (!correlation || atomic_load_explicit(&slot->correlation, memory_order_acquire) != correlation)
        return false;
    launch->correlation = correlation;
    launch->node = atomic_load_explicit(&slot->node, memory_order_acquire);
    launch->step = atomic_load_explicit(&slot->step, memory_order_acquire);
    launch->time = atomic_load_explicit(&slot->time, memory_order_acquire);
    launch->call = atomic_load_explicit(&slot->call, memory_order_acquire);
    return atomic_load_explicit(&slot->correlation, memory_order_relaxed) == correlation;
}

void launch_table_mark(struct launch_table *table, uint32_t correlation)
{
    if (correlation) /* 0: a record of the host's, of no launch */
        atomic_store_explicit(&table->slots[correlation & table->mask].heard, correlation, memory_order_relaxed);
}

bool launch_table_unheard(const struct launch_table *table, struct launch *launch)
{
    for (uint32_t i = 0; i <= table->mask; i++) {
        const struct launch_slot *slot = &table->slots[i];
        uint32_t correlation = atomic_load_explicit(&slot->correlation, memory_order_acquire);
        if (correlation != atomic_load_explicit(&slot->heard, memory_order_relaxed) &&
            launch_table_get(table, correlation, launch) && launch->step != LAUNCH_STEP_NONE)
            return true;
    }
    return false;
}

/* Open addressing with linear probing. A reader may meet a key whose node is not there yet only for a graph that is being
 * made, and such a graph has no records. A table that became too small stays allocated, linked from its successor, because
 * a reader may still walk it. */
struct graph_cells {
    struct graph_cells *older;
    uint32_t mask, used;
    struct graph_cell {
        _Atomic uint64_t key; /* 0: free */
        _Atomic int32_t node;
    } cells[];
};

struct graph_table {
    _Atomic(struct graph_cells *) cells;
};

#define GRAPH_CELLS_FIRST 4096u

static struct graph_cells *graph_cells_create(uint32_t capacity)
{
    struct graph_cells *cells = calloc(1, sizeof *cells + (size_t)capacity * sizeof cells->cells[0]);
    if (cells)
        cells->mask = capacity - 1;
    return cells;
}

struct graph_table *graph_table_create(void)
{
    struct graph_table *table = calloc(1, sizeof *table);
    struct graph_cells *cells = graph_cells_create(GRAPH_CELLS_FIRST);
    if (!table || !cells) {
        free(table);
        free(cells);
        return NULL;
    }
    atomic_init(&table->cells, cells);
    return table;
}

void graph_table_free(struct graph_table *table)
{
    if (!table)
        return;
    for (struct graph_cells *cells = atomic_load(&table->cells), *older; cells; cells = older) {
        older = cells->older;
        free(cells);
    }
    free(table);
}

/* Ids are consecutive within a graph: the multiplier spreads them (Fibonacci hashing, Knuth, vol. 3, 6.4). */
static uint32_t graph_hash(uint64_t key)
{
    return (uint32_t)((key * 0x9e3779b97f4a7c15u) >> 32);
}

static void cells_put(struct graph_cells *cells, uint64_t key, int32_t node)
{
    for (uint32_t i = graph_hash(key);; i++) {
        struct graph_cell *cell = &cells->cells[i & cells->mask];
        uint64_t found = atomic_load_explicit(&cell->key, memory_order_relaxed);
        if (found && found != key)
            continue;
        atomic_store_explicit(&cell->node, node, memory_order_relaxed);
        if (!found) {
            atomic_store_explicit(&cell->key, key, memory_order_release);
            cells->used++;
        }
        return;
    }
}

static bool graph_table_grow(struct graph_table *table)
{
    struct graph_cells *old = atomic_load_explicit(&table->cells, memory_order_relaxed);
    struct graph_cells *new = graph_cells_create((old->mask + 1) * 2);
    if (!new)
        return false;
    for (uint32_t i = 0; i <= old->mask; i++) {
        uint64_t key = atomic_load_explicit(&old->cells[i].key, memory_order_relaxed);
        if (key)
            cells_put(new, key, atomic_load_explicit(&old->cells[i].node, memory_order_relaxed));
    }
    new->older = old;
    atomic_store_explicit(&table->cells, new, memory_order_release);
    return true;
}

bool graph_table_put(struct graph_table *table, uint64_t graph_node, int32_t node)
{
    struct graph_cells *cells = atomic_load_explicit(&table->cells, memory_order_relaxed);
    if (cells->used * 2 > cells->mask) {
        if (!graph_table_grow(table) && cells->used == cells->mask)
            return false;
        cells = atomic_load_explicit(&table->cells, memory_order_relaxed);
    }
    cells_put(cells, graph_node, node);
    return true;
}

int32_t graph_table_get(const struct graph_table *table, uint64_t graph_node)
{
    const struct graph_cells *cells = atomic_load_explicit(&table->cells, memory_order_acquire);
    for (uint32_t i = graph_hash(graph_node);; i++) {
        const struct graph_cell *cell = &cells->cells[i & cells->mask];
        uint64_t key = atomic_load_explicit(&cell->key, memory_order_acquire);
        if (key == graph_node && key)
            return atomic_load_explicit(&cell->node, memory_order_relaxed);
        if (!key)
            return EVENT_NODE_NONE;
    }
}
