/* The topics of help, and the shells' completion scripts, made from the option and subcommand tables. */
#pragma once
#include "base/strbuf.h"

/* What there is help on beside the subcommands. */
#define HELP_TOPICS(TOPIC)                                                                                             \
    TOPIC("man", help_man)                                                                                             \
    TOPIC("bash", completion_bash)                                                                                     \
    TOPIC("zsh", completion_zsh)                                                                                       \
    TOPIC("fish", completion_fish)                                                                                     \
    TOPIC("profile-schema", profile_schema)                                                                            \
    TOPIC("report-schema", report_schema)                                                                              \
    TOPIC("findings", help_findings)

void completion_bash(struct strbuf *out);
void completion_zsh(struct strbuf *out);
void completion_fish(struct strbuf *out);
