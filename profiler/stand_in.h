/* The process on rank 0's host that stands in for a worker on another (profiler/hosts.h). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Like worker_main with the connection in the meeting place's stead: hands the front's words on to the other host, and what comes from
 * there to the front: words, records (into the ring, with this host's times), lines, and at last how the worker ended. Returns the
 * exit code. */
int stand_in_main(int control, int ring, int connection);

/* What one clock shows while another shows a time, from questions that came back. Between two of them nothing is known but that
 * clocks that are steered run apart by no more than 1/CLOCK_DRIFT. All zero knows nothing yet. */
#define CLOCK_ASKED 64u
#define CLOCK_DRIFT 10000u
struct clock_answer {
    uint64_t at;    /* of the own clock, in the middle between question and answer */
    int64_t ahead;  /* the other one's then, less `at` */
    uint64_t error; /* half the time between: so much this may be wrong by */
};
struct clock_apart {
    struct clock_answer answers[CLOCK_ASKED];
    uint32_t count;
    uint64_t worst; /* the largest error that a time was turned with */
};
void clock_answered(struct clock_apart *clocks, uint64_t asked, uint64_t theirs, uint64_t answered);
/* The best that is known at `now`: how far the other is ahead, and by how much that may be wrong. False: nothing is known. */
bool clock_ahead(const struct clock_apart *clocks, uint64_t now, int64_t *ahead, uint64_t *error);
