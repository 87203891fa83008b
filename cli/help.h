/* The shells' completion scripts, made from the option and subcommand tables. */
#pragma once
#include "base/strbuf.h"

void completion_bash(struct strbuf *out);
void completion_zsh(struct strbuf *out);
void completion_fish(struct strbuf *out);
