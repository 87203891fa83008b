/* Where the time of a run went, below the list of runs: phases, classes, modules over all blocks, kernels, steps, memory, and how
 * far its figures can be trusted. Each line is a thing to press Enter on. */
#pragma once
#include "report/report.h"
#include "tui/canvas.h"
#include "tui/keys.h"

#define ANSWER_LEAST_HEIGHT 7
#define ANSWER_LINES 4 /* of the short form, which is drawn where it is lower: the verdict, phases, modules, kernels */

struct app;
struct answer;
struct answer *answer_create(void);
void answer_free(struct answer *answer);

/* Takes over what there is of a cell (NULL: nothing). While a run goes on once a second, for a figure that changes ten times a
 * second cannot be read; true: there is newer than that. */
bool answer_update(struct answer *answer, const struct app *app, const struct report_cell *cell);
void answer_draw(struct answer *answer, const struct area *area, bool active);

bool answer_any(const struct answer *answer);        /* there is something to say */
bool answer_selectable(const struct answer *answer); /* something was drawn that can be chosen */
void answer_first(struct answer *answer);
/* Up, down, left, right among what was drawn; false: there is nothing further that way. */
bool answer_move(struct answer *answer, enum command command);
void answer_open(struct answer *answer, struct app *app);
bool answer_hit(const struct answer *answer, int y, int x);
/* Selects what was clicked; true: it was selected already. */
bool answer_click(struct answer *answer, int y, int x, bool active);
