/* The worker's voice: messages to the front, from any of its threads. Once the front is gone all of them are swallowed. */
#pragma once
#include "profiler/protocol.h"
#include <pthread.h>
#include <stdatomic.h>

struct reporter {
    int fd;
    pthread_mutex_t lock; /* frames must not mix: a device's activity source has a thread of its own */
    atomic_bool lost;
};

void reporter_send(struct reporter *reporter, enum message_type type, const void *first, size_t first_length,
                   const void *second, size_t second_length);
/* What the worker is at from now on, "measuring the device's ceilings"; and how far it is with it, "fwd 3/5 profiled". */
void reporter_stage(struct reporter *reporter, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reporter_activity(struct reporter *reporter, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What the four values of its records of counters are; NULL behind the last. As fields, and as a note for people. `own`: what one
 * reading itself counts of each; NULL when not known. */
void reporter_counters(struct reporter *reporter, const char *const names[DEVICE_COUNTERS], const uint64_t *own);
/* Once more, without the note: what the readings count is known better. */
void reporter_counters_own(struct reporter *reporter, const char *const names[DEVICE_COUNTERS], const uint64_t *own);
void reporter_note(struct reporter *reporter, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Appends to the front's table: ids are in order of coming. */
void reporter_scope(struct reporter *reporter, const struct place_scope *scope);
void reporter_place(struct reporter *reporter, const struct place *place);

/* Noise that a figure may have to be excused with: governor, load average, steal, temperature. steal counts from `before`
 * (machine_ticks at the start). */
struct machine_ticks {
    uint64_t steal, total;
}; /* UNKNOWN_U64 where not known */
void machine_ticks(struct machine_ticks *ticks);
void reporter_noise(struct reporter *reporter, const struct machine_ticks *before);
/* Of that what changes, as figures: steal and load. */
struct machine_load reporter_machine(struct reporter *reporter, const struct machine_ticks *before);
/* Of this process, in bytes; UNKNOWN_U64. */
uint64_t resident_now(void);
uint64_t resident_peak(void);
/* Lets the peak begin anew from what is resident now; false where the kernel cannot. */
bool resident_peak_reset(void);
