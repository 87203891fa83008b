/* The one table of the profile's keys: names, types, limits, where each may stand and which field of a cell it sets. The
 * reader, the flags, the new-run form, `profiles new` and the JSON Schema all work from it. */
#pragma once
#include "profiles/profile.h"

enum value_type {
    VALUE_INTEGER,
    VALUE_STEPS, /* an integer or "forever" */
    VALUE_BOOLEAN,
    VALUE_CHOICE,
    VALUE_PASSES, /* a list of passes is one value: a mask */
    VALUE_DEVICE,
    VALUE_MODEL,
    VALUE_TEXT,
};

/* Where a key may stand. */
enum section {
    SECTION_TOP = 1,    /* the profile itself */
    SECTION_MATRIX = 2, /* an axis: one value or a list */
    SECTION_MEASURE = 4,
    SECTION_PROFILE = 8,
    SECTION_MODEL = 16,  /* an inline model */
    SECTION_SELECT = 32, /* models: {preset, select} */
};

struct profile_key {
    const char *name;
    unsigned sections;
    enum value_type type;
    int64_t min, max;           /* of VALUE_INTEGER and VALUE_STEPS */
    const char *const *choices; /* of VALUE_CHOICE and VALUE_PASSES, NULL-terminated; the index is the value */
    size_t offset, width;       /* of the field in struct cell; width 0: not a field */
    bool size;                  /* one of the model's sizes */
    const char *help;
};

/* All keys, in the order in which the axes nest: the first is the outermost loop. */
const struct profile_key *profile_keys(int *count);
/* Index of the key called `name` in one of `sections`, or -1. */
int profile_key_find(const char *name, unsigned sections);
/* The nearest key of these sections, or NULL. */
const char *profile_key_suggest(const char *name, unsigned sections);

/* Checks `text` and puts its value into the cell (VALUE_MODEL: the preset; VALUE_PASSES: one or several with commas). The
 * error is a sentence without a place: "'x' is not a dtype; it is one of fp32, tf32, bf16". */
bool key_set(const struct profile_key *key, struct cell *cell, const char *text, struct error *error);

/* True when both cells have the same value under this key; models are compared by name. */
bool key_equal(const struct profile_key *key, const struct cell *a, const struct cell *b);

/* The value as key_set reads it. */
void key_text(const struct profile_key *key, const struct cell *cell, struct strbuf *out);

/* Values of a key to go through one by one, as key_set reads them: of a key with choices all of them, of passes each and those that
 * build on one another, of models the presets, of devices the classes known by name. Returns how many of at most `max` there are; 0
 * for numbers and text. */
#define KEY_CHOICE_SIZE 80
int key_choices(const struct profile_key *key, char names[][KEY_CHOICE_SIZE], int max);

const char *section_words(unsigned section); /* "a matrix key" */
