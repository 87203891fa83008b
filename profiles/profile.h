/* The run profile: what to measure. YAML or flags in, a list of cells out. A cell is plain data and travels to its worker
 * as it is. */
#pragma once
#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "model/model.h"

enum pass { PASS_FWD, PASS_FWD_BWD, PASS_TRAIN_STEP, PASS_COUNT };
#define PASS_BIT(pass) (1u << (pass))
const char *pass_name(enum pass pass); /* "fwd", "fwd_bwd", "train_step" */
unsigned pass_phases(enum pass pass);  /* PHASES_… */

enum gradient_dtype { GRADIENTS_FP32, GRADIENTS_BF16 };
const char *gradient_dtype_name(enum gradient_dtype dtype);
/* Do buckets have a meaning in this way? */
static inline bool parallel_has_buckets(enum parallel parallel)
{
    return parallel == PARALLEL_BUCKET || parallel == PARALLEL_ZERO1;
}

enum counters_mode { COUNTERS_OFF, COUNTERS_AUTO, COUNTERS_ON };

#define RANKS_MAX 64
#define STEPS_FOREVER UINT32_MAX

enum { TELL_WARMUP = 1, TELL_SEED = 2, TELL_THREADS = 4 };

#define CELL_COMMAND_MAX 200

struct cell {
    char device[32]; /* "cpu", "cuda:0" */
    struct model_config model;
    int64_t batch_size, context_length;
    enum precision dtype;
    bool compile;
    enum checkpoint checkpoint;
    unsigned passes;        /* PASS_BIT mask */
    uint32_t warmup, steps; /* per pass; STEPS_FOREVER */
    uint64_t seed;
    uint32_t timeout_s; /* 0: none */
    int32_t threads;    /* 0: all; divided among the ranks */
    int32_t ranks; /* processes, each with batch_size sequences: on the CPU, or on this device and those after it */
    enum parallel parallel;             /* how they train one model */
    int32_t bucket_mb;                  /* of parallel bucket and zero1: 10⁶ bytes of fp32 gradients */
    enum gradient_dtype gradient_dtype; /* between ranks */
    enum collective collective; /* instead of a model: of bucket_mb as a whole, in gradient_dtype. Then no other size means anything */
    uint32_t profile_every; /* 1: after every timed step a profiled one; n: one in n; 0: never (timed steps only) */
    enum counters_mode counters;
    bool memory;         /* the memory ledger in the report */
    uint8_t told;        /* TELL_…: what the title must say besides, because cells of the same run differ in it */
    uint32_t repetition; /* 0-based */
    /* What is run instead of a model of ours, as a person would type it, cut to this length; "": a model. Then of the fields above only
     * device, passes, warmup and steps mean anything, and the others are 0. */
    char command[CELL_COMMAND_MAX];
};

/* A command instead of a model: `passes` are those that it may turn out to take. */
void cell_of_command(struct cell *cell, const char *command);
/* A command as a table shows it: its script with what follows, without the interpreter and the folders. */
void command_name(const char *command, char *text, size_t size);

enum on_oom { ON_OOM_CONTINUE, ON_OOM_SKIP_LARGER };

#define PROFILE_KEY_MAX 40
#define PROFILE_CELLS_MAX 100000
#define PROFILE_BYTES_MAX (1u << 20)

struct profile_spec; /* what the file says, before the matrix is multiplied out; profiles/spec.h */

struct profile {
    struct arena arena;
    const char *name;
    const char *description; /* "" */
    const char *source;      /* file, or "flags" */
    /* The matrix, in order: device, compile, dtype, model and its sizes, batch, context, checkpoint, ranks, parallel,
     * bucket, gradients' dtype, threads, warm-up, seed. Of cells that differ only in what has no meaning to them, one is kept.
     * Repetitions follow each other cell by cell; interleaved, the whole matrix is repeated, every second time backwards,
     * so that a drift of the machine falls on all cells alike. */
    VEC(struct cell) cells;
    VEC(const char *) warnings;
    enum on_oom on_oom;
    bool interleave;
    uint32_t repetitions;
    char digest[65];           /* SHA-256 of the cells, hex */
    struct profile_spec *spec; /* in the arena */
};

/* Reads `path` ("-": standard input; a shipped profile's name without folder is looked for in the profile folders). Errors
 * come several at once as file:line:col lines with the source line and a caret. */
bool profile_read(const char *path, struct profile *profile, struct error *error);
/* The file that profile_read would read. False when its name does not fit. */
bool profile_path(const char *name, char *path, size_t size);
bool profile_parse(const char *text, size_t length, const char *file_name, struct profile *profile,
                   struct error *error);
void profile_free(struct profile *profile);

/* Axis and settings overrides from flags: comma lists replace the profile's axis ("--model S,M"); NULL leaves it. The
 * matrix is expanded again. `flag` is named in errors. */
struct profile_override {
    const char *key, *value, *flag;
}; /* key: a matrix or measure key: "model", "steps" … */
bool profile_apply(struct profile *profile, const struct profile_override *overrides, int count, struct error *error);

/* The built-in quickstart: one cell, cell_default's. */
bool profile_default(struct profile *profile, struct error *error);

#define THREADS_MOST 4096
/* Whether a cell that came from elsewhere (a recording, a worker) is one that a profile could have asked for: each value within
 * its key's limits, device and model named. */
bool cell_possible(const struct cell *cell, struct error *error);

/* One value into one cell, as the new-run form does; the key names and checks are the profile's own. */
bool cell_set(struct cell *cell, const char *key, const char *value, struct error *error);
bool cell_check(const struct cell *cell, char *warning, size_t warning_size, struct error *error);
void cell_default(struct cell *cell); /* the quickstart cell */
/* True when both ask for the same: every field that a profile can set, and the repetition. */
bool cell_equal(const struct cell *a, const struct cell *b);

/* The plan that a cell needs, as the worker and the front both build it. `fusions`: FUSE_ALL for compile, or what the
 * device took. */
void cell_plan_request(const struct cell *cell, unsigned fusions, struct plan_request *request);
/* The device of one of its ranks: "cuda:1" for rank 1 of a cell on cuda:0; "cpu" for all. */
void cell_rank_device(const struct cell *cell, int rank, char *device, size_t size);
/* How many ranks have their plans in the memory of one device: all of them in that of the host, one on a card. */
int cell_ranks_together(const struct cell *cell);
/* What is not asked for has its default: buckets where there are none. */
void cell_canonical(struct cell *cell);

/* "S · b4 · c256 · fp32 · eager · cpu" for titles; ASCII on request. */
void cell_title(const struct cell *cell, bool ascii, char *text, size_t size);
/* TELL_… bits of what differs between two cells: or-ed over a run's cells, they go into each one's `told`. */
unsigned cell_tell(const struct cell *a, const struct cell *b);

/* Shipped profiles and those in the user's folder; a name in several folders is listed once, the first found: the folder in
 * STEPTOP_PROFILE_FOLDER (when absolute), the user's, the source tree's beside build/, then share/. */
struct profile_listing {
    char name[64], path[512], description[160];
};
int profile_list(struct profile_listing *listings, int max);

/* A commented profile with every key, for `steptop profiles new`; reading it gives the quickstart cell. `argument` is what
 * `steptop run` finds it by, on one line. */
void profile_template(const char *name, const char *argument, struct strbuf *out);
/* The JSON Schema (draft 2020-12) of the profile, made from the reader's table of keys. */
void profile_schema(struct strbuf *out);
