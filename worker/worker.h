/* The worker process, from its descriptors to its exit code. */
#pragma once

/* Runs the one cell that comes over the control socket and writes its records into the ring; called by cli/worker.c with the
 * descriptors that the session passed. Returns the exit code: 0 when the cell ran or was stopped. */
int worker_main(int control_fd, int ring_fd);
