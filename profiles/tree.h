/* YAML as a tree that remembers where each value stands, and the list of errors found in a file. Strict: no aliases,
 * anchors, tags, merge keys, second documents, duplicate keys, NUL or bad UTF-8; at most TREE_DEPTH_MAX deep. */
#pragma once
#include "base/arena.h"
#include "base/error.h"
#include "base/vec.h"
#include <stdbool.h>
#include <stddef.h>

#define TREE_DEPTH_MAX 16
#define TREE_KEYS_MAX 256 /* of one mapping; more is no profile */

enum tree_kind { TREE_SCALAR, TREE_LIST, TREE_MAPPING };

struct place {
    size_t line, column;
}; /* from 1; columns are characters; line 0: not from a file */

struct tree {
    enum tree_kind kind;
    struct place place;
    const char *text;       /* of a scalar, UTF-8, no NUL */
    bool plain;             /* a scalar without quotes: may be a number or a boolean */
    const struct tree *key; /* of a mapping's value, else NULL */
    struct tree *first, *next;
    int count; /* children of a list or mapping */
};

struct diagnostic {
    struct place place;
    char *text; /* sentence, source line, caret */
};

/* Collects errors as `file:line:col: error: sentence`, the source line and a caret, in the order of the file; without a place
 * as `file: sentence`, and with file NULL as the sentence alone. */
struct diagnostics {
    const char *file, *text;
    size_t length;
    VEC(struct diagnostic) list; /* bounded: the first that were found */
    int count;                   /* all that were found */
};
void diagnose(struct diagnostics *diagnostics, struct place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Fills *error with what was found, of kind ERROR_INPUT, and releases the list; true when there was nothing. */
bool diagnostics_finish(struct diagnostics *diagnostics, struct error *error);

/* The document's root, in `arena`; NULL when it could not be read as a tree (what was found is in `diagnostics`). A root with
 * errors noted can still be looked through for more. */
struct tree *tree_parse(const char *text, size_t length, struct arena *arena, struct diagnostics *diagnostics);

const struct tree *tree_get(const struct tree *mapping, const char *key); /* NULL where absent */
const char *tree_kind_words(const struct tree *tree);                     /* "a list" */
