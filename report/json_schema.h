/* The JSON Schema of a report file. */
#pragma once
#include "base/strbuf.h"

void report_schema(struct strbuf *out);
