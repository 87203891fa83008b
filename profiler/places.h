/* Places: where time can go. An append-only table that a producer (a worker's plan, the modules of an attached program, its NVTX
 * ranges) sends over its socket and the front keeps, with the tree of scopes that the places lie in. Records name a place; the
 * aggregate, the report and the screen know nothing else of what ran. New ones may come at any time while a run goes on. */
#pragma once
#include "base/arena.h"
#include "base/error.h"
#include "base/vec.h"
#include "kernels/plan.h"

#define PLACES_MAX (1u << 18)
#define PLACE_SCOPES_MAX (1u << 16)
#define PLACE_TEXT_MAX 512 /* bytes of a name, an op or a label, with the end */
#define PLACE_DEPTH_MAX 64 /* of a scope below its root */
#define PLACE_PATH_MAX (4 * PLACE_TEXT_MAX)
#define PLACE_UNKNOWN (-1) /* a record's place that nobody could tell */

/* A node of the module tree. Parents come before children; the root's parent is −1. */
struct place_scope {
    const char *path; /* "layers.3.attn.q_proj", without the name of the first root; a root's own is its name */
    const char *name; /* "q_proj" */
    int32_t parent, depth;
    uint64_t parameter_bytes; /* of this scope alone; UNKNOWN_U64 */
    uint64_t peak_bytes
        [2]; /* most memory in use beyond the step's beginning while this scope alone ran, forward and backward: a
                                 lower bound, sampled at borders of operators; UNKNOWN_U64 */
};

struct place {
    int32_t scope;        /* −1: of no module */
    uint8_t phase;        /* enum phase, PHASE_NONE where not known */
    uint8_t kernel_class; /* enum kernel_class, CLASS_OTHER where not known */
    const char *op;       /* "linear_backward_weight", "aten::mm"; "" where not known */
    const char *label;    /* what else tells it from others; "" */
    double flops, bytes;  /* modelled, of one execution; NaN where not known */
    uint64_t saved_bytes; /* that it leaves for backward, of one execution; UNKNOWN_U64 where not known */
};

struct places {
    struct arena arena; /* of the strings */
    VEC(struct place) list;
    VEC(struct place_scope) scopes;
    uint32_t peaks;   /* so many times a peak of a scope was said */
    uint32_t works;   /* so many times the work of a place became known after it was said */
    bool collectives; /* one of them at least is of CLASS_COLLECTIVE */
    bool whole;       /* the producer said that no more will come: an id beyond the end is a lie and not merely early */
};

void places_release(struct places *places);

/* Appends. Strings are copied, cleaned of control characters. False: the parent or scope is not there, a phase or class is none,
 * a number is not one, or there are too many; the error says which. */
bool places_add_scope(struct places *places, int32_t parent, const char *name, uint64_t parameter_bytes,
                      struct error *error);
bool places_add(struct places *places, const struct place *place, struct error *error);

/* What one step does of a place, which became known after it was said. False: there is no such place, or it is a plan's. */
bool places_work(struct places *places, int32_t id, double flops, double bytes, struct error *error);

/* The most memory in use while a scope ran, of which the largest that was said counts. */
bool places_peak(struct places *places, int32_t scope, uint32_t phase, uint64_t bytes, struct error *error);

/* The place of an id, never NULL: of one that is unknown, or was not said yet, that of nothing (no scope, PHASE_NONE, CLASS_OTHER). */
const struct place *places_at(const struct places *places, int32_t id);

/* The places of a plan: one a node, with the node's number; the plan's scopes with the bytes of their parameters. Whole. */
bool places_of_plan(struct places *places, const struct plan *plan, struct error *error);
