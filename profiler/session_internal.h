/* What session.c, supervise.c and replay.c share. */
#pragma once
#include "profiler/hosts.h"
#include "profiler/live.h"
#include "profiler/log.h"
#include "profiler/process.h"
#include "profiler/recording.h"
#include "profiler/ring.h"
#include "profiler/session.h"

#define BATCH 256u            /* records copied out of the ring at a time: they stay in the first cache meanwhile */
#define RECORDS_A_STEP 65536u /* taken in one session_step: some milliseconds of work */
#define MESSAGES_A_STEP 1024
#define LOG_BYTES_A_STEP 65536
#define TICK_MS 40                  /* how long records may wait in the ring */
#define STOP_GRACE_NS 1000000000u   /* from asking a worker to stop to ending it */
#define AWAY_NS 1000000000u         /* a front that did not look for longer was kept from it */
#define HELD_NS 500000000u          /* how much more time a rank gets that is held when its time is over */
#define MACHINE_LOOK_NS 1000000000u /* how often one looks who uses the processors */
#define EXIT_GRACE_NS 5000000000u   /* from a worker's last word to ending it */

struct replay;
struct attach;

/* The process behind one rank of the run that is active. */
struct link {
    struct live_rank *rank;
    struct process process;
    struct ring *ring;
    struct inbox inbox;
    struct log_stream output, errors;
    char stage[96];       /* what it is at, "preparing: timing products", */
    uint64_t stage_at;    /* and since when */
    char last_error[256]; /* the newest line on its stderr: often the reason */
    bool stopped;         /* by a signal, and not continued yet */
    uint64_t credited;    /* ns of the suspension under way that timeouts have been moved by */
    uint64_t exit_by;     /* after its last word: when it is ended if it has not; 0 before that */
    bool exited;          /* it has ended; what it left is being taken */
    bool done;            /* and all of that was taken, and its end judged */
    int exit_status;
    const char *host; /* another's, by its name: then the process stands in for the one there; NULL: this one */
    bool told_exit;   /* and it said how that one ended: */
    struct message_exit exit;
};

/* How the active run will end. */
struct ending {
    uint64_t timeout_at,
        kill_at; /* 0: none; they move by the time that the front, the first also by that a rank, is kept from running */
    uint64_t timeout_ns; /* all that it has */
    uint64_t stepped_at; /* when the ranks were looked at last */
    enum status forced;  /* what its end will be called, whatever its ranks say; STATUS_PENDING: nothing decided */
    char forced_reason[256];
    enum status status; /* of the first rank that did not end well; else STATUS_OK */
    char reason[sizeof((struct run *)0)->reason];
};

struct ceiling {
    char device[DEVICE_NAME_MAX];
    enum precision precision;
    int32_t threads;
    double flops_per_s, bytes_per_s;
};

struct session {
    char *program, *cache_folder;
    uint32_t ring_records;
    size_t timeline_records;
    VEC(struct live_run *) runs;
    uint32_t next_id;
    struct live_run *active;
    VEC(struct link *) links;  /* of active: one a rank */
    struct ending ending;      /* of active */
    struct machine_look began; /* when active did */
    uint64_t look_at;          /* when one looks next who uses the processors */
    int meeting;               /* where its ranks meet; −1: it has one */
    struct record *batch;
    struct log log;
    struct recording_writer *recording;
    VEC(struct ceiling) ceilings; /* measured once a device, precision and number of threads */
    VEC(struct replay *) replays;
    struct attach *attach; /* attach.c; NULL: no command */
    struct hosts *hosts;   /* where the other ranks join; NULL: all ranks are on this host */
    struct error
        recording_cut; /* why a recording was not played to its end: it is broken, ends before its run does, finds no memory */
};

/* supervise.c: the ranks of session->active. */
bool ranks_begin(struct session *session,
                 struct live_run *live); /* false: they could not start, and the run has ended */
bool ranks_step(struct session *session);
void ranks_stop(struct session *session, enum status status, const char *reason, bool at_once);
void ranks_release(struct session *session);

/* replay.c */
struct replay *replay_open(const char *path, double speed, struct error *error);
void replay_close(struct replay *replay);
bool replay_step(struct session *session, struct replay *replay, bool *ended);
int replay_timeout(const struct replay *replay); /* ms until its next frame is due */
void replay_stop(struct session *session, struct replay *replay, uint32_t run);

/* session.c */
struct live_run *session_append(struct session *session, const struct cell *cell, struct error *error);
void session_record(struct session *session, uint32_t run, uint32_t rank, uint32_t type, const void *first,
                    size_t first_length, const void *second, size_t second_length);
void session_finish(struct session *session, struct live_run *live, enum status status, const char *reason);
