/* One run as it grows from what its worker, or a recording, says. */
#pragma once
#include "profiler/protocol.h"

#define NOTES_MAX 256

struct live_run {
    struct run run; /* what the outside sees; notes and samples are this one's to free */
    uint32_t samples[PASS_COUNT][STEP_KIND_COUNT];
    char last_activity[96]; /* what the worker said, under "stopped" */
    bool ended;             /* the worker said how it ended: */
    enum status end_status;
    char end_reason[sizeof((struct run *)0)->reason];
    bool remove_when_ended;
};

struct live_run *live_create(uint32_t id, const struct cell *cell, size_t timeline_records, struct error *error);
void live_free(struct live_run *live);

/* Takes one message of a worker whose length message_length_valid found right. False: its content cannot be, and the error
 * says what. */
bool live_message(struct live_run *live, uint32_t type, const void *payload, size_t length, struct error *error);
void live_records(struct live_run *live, const struct record *records, size_t count);
void live_note(struct live_run *live, const char *key, const char *text); /* replaces the note of that key */
void live_activity(struct live_run *live, const char *text);

/* Sets status and reason (made one line without '|'), the end of its time, and lets go of what only running needs. */
void live_finish(struct live_run *live, enum status status, const char *reason);

/* Why an ok run's figures cannot be relied on, or false: a backward pass shorter than its own deviation. */
bool live_unreliable(const struct run *run, char *reason, size_t size);
