/* Which node of the plan an activity record belongs to. Two tables, both written by the thread that launches and read by
 * the thread that converts records, without a lock between them:
 *
 *   launches   correlation id → node, step, time of the call; a ring: an id that is `capacity` newer takes the place over.
 *   graphs     graph node id → node of the plan; grows while graphs are captured and instantiated, never shrinks.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define LAUNCH_STEP_NONE UINT64_MAX /* the launch was made between steps */

struct launch {
    uint32_t correlation;
    int32_t node; /* EVENT_NODE_NONE for a graph launch: its records say which graph node they are */
    uint64_t step;
    uint64_t time; /* CLOCK_MONOTONIC ns at the entry of the call */
    uint32_t call; /* which: LAUNCH_CALL of CUPTI's callback domain and id */
};
#define LAUNCH_CALL(domain, id) ((uint32_t)(domain) << 24 | (uint32_t)(id))
#define LAUNCH_CALL_DOMAIN(call) ((call) >> 24)
#define LAUNCH_CALL_ID(call) ((call)&0xffffffu)

struct launch_table;
struct launch_table *launch_table_create(uint32_t capacity); /* a power of two; NULL when there is no memory */
void launch_table_free(struct launch_table *table);
void launch_table_put(struct launch_table *table, const struct launch *launch);
/* False when the id was never put, or its place was taken by a newer one. */
bool launch_table_get(const struct launch_table *table, uint32_t correlation, struct launch *launch);

/* A record of this launch was seen. */
void launch_table_mark(struct launch_table *table, uint32_t correlation);
/* One launch of a step of which no record was seen, as long as its place was not taken; false when there is none. */
bool launch_table_unheard(const struct launch_table *table, struct launch *launch);

struct graph_table;
struct graph_table *graph_table_create(void);
void graph_table_free(struct graph_table *table);
/* One writer at a time. A known id gets the new node: CUPTI uses ids again after a graph was destroyed. False when there
 * is no memory for a larger table. */
bool graph_table_put(struct graph_table *table, uint64_t graph_node, int32_t node);
/* EVENT_NODE_NONE when unknown. */
int32_t graph_table_get(const struct graph_table *table, uint64_t graph_node);
