/* What was chosen by timing, kept on disk from run to run: answers to questions, each of some subject, all in one file of the
 * build cache. A question is whatever bytes decide the answer (a shape, versions); equal questions have equal bytes. */
#pragma once
#include "base/strbuf.h"
#include "base/vec.h"
#include <stdbool.h>
#include <stddef.h>

#define CHOICE_SUBJECT_MAX 16
#define CHOICE_CACHE_MOST ((size_t)1 << 20) /* bytes of records that are kept: thousands of shapes */

struct choice_record {
    size_t offset;   /* in the records' bytes */
    bool used, gone; /* asked for by this program; replaced by a newer answer to the same question */
};

struct choice_cache {
    char *path, *key; /* path NULL: nothing is kept */
    struct strbuf records;
    VEC(struct choice_record) index; /* as in the file, the oldest first; then what was added */
    bool added;
    size_t refused; /* answers that cannot be */
};

/* Reads the file at `path` (NULL: none) when it was written under the same `key`; else the cache starts empty. */
void choice_cache_open(struct choice_cache *cache, const char *path, const char *key);

/* Copies the answer, which counts as used from then on; false when there is none of that size. */
bool choice_cache_find(struct choice_cache *cache, const char *subject, const void *question, size_t question_size,
                       void *answer, size_t answer_size);
/* What was found is no answer that its asker could have kept: a file may hold anything. It is as good as none, and said to have been there. */
void choice_cache_refuse(struct choice_cache *cache);
/* Can timing have found so many microseconds? */
bool choice_us_possible(double us);
/* Takes the place of an older answer to the same question. */
void choice_cache_add(struct choice_cache *cache, const char *subject, const void *question, size_t question_size,
                      const void *answer, size_t answer_size);

/* Writes the file when something was added, and releases all. What was used or added becomes the newest; of more than
 * CHOICE_CACHE_MOST the oldest go, and the number of those is returned. A file that cannot be written costs the next run its time. */
size_t choice_cache_close(struct choice_cache *cache);

/* "; the cache's 12 oldest made room; 1 of the cache cannot be and was not taken", or nothing for none: what a note on the choices ends with. */
const char *choice_cache_room(size_t dropped, size_t refused, char *text, size_t size);
#define CHOICE_ROOM_TEXT 128
