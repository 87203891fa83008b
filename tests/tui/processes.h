/* What the kernel says of the processes that a test started. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

pid_t worker_of(pid_t front); /* the child of a front; a front that gets none within 5 s fails the test */
char state_of(pid_t process); /* R, S, T, Z … as ps says it; 0: there is none */
/* Within 8 s. A zombie that nobody reaps in a container without an init is gone all the same. */
bool ends_soon(pid_t process);
