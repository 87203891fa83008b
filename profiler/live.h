/* One run as it grows from what its worker, or a recording, says. */
#pragma once
#include "profiler/protocol.h"

#define NOTES_MAX 256
/* Larger counts of bytes, ns and records than this (9 PB, 104 days) are a lie or a fault; sums of those below it do not overflow, and
 * doubles hold them exactly. */
#define BELIEVABLE ((uint64_t)1 << 53)

struct live_run {
    struct run run;          /* what the outside sees; notes and ranks are this one's to free */
    size_t timeline_records; /* of a rank */
    char last_activity[96];  /* what the worker said, under "stopped" */
    bool remove_when_ended;
};

struct live_rank {
    struct rank rank; /* what the outside sees */
    uint32_t samples[PASS_COUNT][STEP_KIND_COUNT];
    bool unrecorded; /* the last step was */
    bool ended;      /* it said how it ended: */
    enum status end_status;
    char end_reason[sizeof((struct run *)0)->reason];
};

/* A run of the cell's ranks; more are added by live_rank_add. */
struct live_run *live_create(uint32_t id, const struct cell *cell, size_t timeline_records, struct error *error);
void live_free(struct live_run *live);
struct live_rank *live_rank_add(struct live_run *live, struct error *error);
struct live_rank *live_rank_at(const struct live_run *live, size_t index); /* NULL beyond the last */

/* Takes one message of a rank whose length message_length_valid found right. False: its content cannot be, and the error
 * says what. */
bool live_message(struct live_run *live, struct live_rank *rank, uint32_t type, const void *payload, size_t length,
                  struct error *error);
/* Stamps the records with their rank and books them. */
void live_records(struct live_run *live, struct live_rank *rank, struct record *records, size_t count);
void live_note(struct live_run *live, const char *key, const char *text); /* replaces the note of that key */
void live_activity(struct live_run *live, const char *text);

/* Sets status and reason (made one line without '|'), the end of its time, and lets go of what only running needs. An ok run
 * that has a figure in the report's first table which cannot be believed becomes unreliable (profiler/first_table.h). */
void live_finish(struct live_run *live, enum status status, const char *reason);
