/* Progress of a batch run on stderr: a bar on a terminal, lines elsewhere. */
#pragma once
#include "cli/cli.h"
#include "profiler/session.h"
#include <stdint.h>

struct progress;

/* `quiet`: nothing but failures. Estimates the work of `cells`, one for each run of the session in order. */
struct progress *progress_create(const struct session *session, bool quiet, bool ascii);
void progress_free(struct progress *progress);

/* Shows where the session stands; as often as wanted, it draws at its own pace. */
void progress_update(struct progress *progress, const struct session *session);
/* A run has ended: its line. */
void progress_ended(struct progress *progress, const struct session *session, size_t index);
/* A message of its own, above the bar. */
void progress_message(struct progress *progress, const char *text);
