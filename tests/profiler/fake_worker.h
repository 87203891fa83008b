/* A worker of every kind: the cell's model name says how it behaves, "well", "garbage", "oom", "segv", "deaf" and so on. */
#pragma once

/* Takes the cell from descriptor 3, with the ring in 4, and behaves. The exit code, for _exit: some ways leave in the middle,
 * which is not a leak to report. */
int fake_worker(void);
