/* What is looked at beside the records, for the verdict's causes: who waited for data and why, what was compiled anew, how memory goes
 * from step to step. Looked at when a step ends, and told to the front once a second. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* A step ended that took from `started` to `now` (ns of clock_now); warm-up is not counted. */
void watch_step(uint64_t started, uint64_t now, bool warmup);
/* This thread waited for its data loader so long, and computed so much of that time itself (ns). */
void watch_wait(uint64_t wall_ns, uint64_t cpu_ns);
uint64_t watch_thread_cpu(void); /* ns that this thread has computed */
/* Counts since the program began: compilations of graphs, and where a graph was broken. */
void watch_compiled(uint64_t compilations, uint64_t breaks);
/* The framework's allocator on the card: bytes now, and how often it gave its cache back to go on. */
void watch_memory(uint64_t allocated, uint64_t reserved, uint64_t retries, uint64_t peak, uint64_t free);
void watch_threads(uint64_t threads); /* that the framework computes with on the processor */
/* An outermost module is about to be called; of several the first that was seen counts. */
void watch_root(int32_t scope);
/* Tells what is known, now; reads files of /proc of each thread and each child. */
void watch_tell(void);
void watch_tick(void); /* the same, at most once a second: the link's thread's, for it takes too long for a step */
