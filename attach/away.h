/* Time in which the program was kept from running (stopped, frozen, asleep): told to the front, and in no step and no op. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

void away_begin(void);
void away_look(void); /* by the link's thread, again and again */
/* Was the program kept from running within this time? Looks anew first where it is long enough for that. */
bool away_in(uint64_t start, uint64_t end);
