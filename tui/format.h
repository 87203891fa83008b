/* Figures as people read them: a few significant digits with their unit. What is unknown becomes "n/a", never 0. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FORMAT_SIZE 32

const char *format_duration(char text[FORMAT_SIZE], double ns);      /* "812.3 µs" */
const char *format_bytes(char text[FORMAT_SIZE], double bytes);      /* "1.23 GiB" */
const char *format_rate(char text[FORMAT_SIZE], double per_second);  /* of FLOPs or bytes: "812 G" */
const char *format_count(char text[FORMAT_SIZE], double count);      /* "1234", "12.3 k" from 100 000 on */
const char *format_percent(char text[FORMAT_SIZE], double fraction); /* "12.3" */
/* A part of what the measured ceilings allow: "12.3"; a little above all of it "≈100", and more than ROOF_MOST of it, which only data
 * in a cache can explain, "cache?". */
#define ROOF_MOST 1.05
const char *format_roof(char text[FORMAT_SIZE], double share);
const char *format_ratio(char text[FORMAT_SIZE], double ratio); /* "1.234" */

/* Bars in eighths of a column: the text of `columns` columns filled to `fraction`; UTF-8, at most 3·columns bytes. */
void format_bar(char *text, size_t size, double fraction, int columns);
/* The newest `columns` of `count` values as a row of blocks scaled from 0 to the largest. */
void format_spark(char *text, size_t size, const uint32_t *values, uint32_t count, int columns);
