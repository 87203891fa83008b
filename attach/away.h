/* Time in which the program was kept from running (stopped, frozen, asleep): told to the front, and in no step and no op. A program
 * that waits for a processor which others have is not kept so: its steps take that long. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

void away_begin(uint64_t interval); /* by the link's thread, */
void away_look(void);               /* which looks each `interval` ns, */
void away_end(void);                /* until its end */
/* Was the program kept from running within this time? Looks anew first where it is long enough for that, or waits a moment until the
 * link's thread has. */
bool away_in(uint64_t start, uint64_t end);
