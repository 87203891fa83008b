/* The verdict on the command line. */
#pragma once
#include "cli/cli.h"
#include "report/report.h"

/* --fail-on's list: rules, or any. False: one of them is none. */
bool fail_on_check(const struct arguments *arguments, struct error *error);
/* True: a finding that the list names is there. */
bool fail_on_fires(const struct arguments *arguments, const struct report *report);
/* The sentence of each of the first cells, to standard error, unless --quiet. */
void verdict_print(const struct arguments *arguments, const struct report *report);
