/* "did you mean": the candidate nearest to a mistyped word. */
#pragma once
#include <stddef.h>

/* Edits (insert, delete, replace, swap two neighbours) that turn `a` into `b`: the restricted Damerau-Levenshtein
 * distance. Words over 63 bytes are far from everything (1000). */
int suggest_distance(const char *a, const char *b);

/* The nearest of `count` candidates when it is near enough to be a slip (at most a third of the word's length, at least
 * one edit, but never the whole word; a difference in case alone always counts), else NULL. NULL candidates are passed
 * over. */
const char *suggest(const char *word, const char *const *candidates, size_t count);
