/* What was chosen by timing, kept on disk from run to run: answers to questions, each of some subject, all in one file of the
 * build cache. A question is whatever bytes decide the answer (a shape, versions); equal questions have equal bytes. */
#pragma once
#include "base/strbuf.h"
#include <stdbool.h>
#include <stddef.h>

#define CHOICE_SUBJECT_MAX 16
#define CHOICE_CACHE_MOST ((size_t)1 << 20) /* bytes of records that are kept: thousands of shapes */

struct choice_cache {
    char *path, *key; /* path NULL: nothing is kept */
    struct strbuf records;
    bool added;
};

/* Reads the file at `path` (NULL: none) when it was written under the same `key`; else the cache starts empty. */
void choice_cache_open(struct choice_cache *cache, const char *path, const char *key);

/* Copies the newest answer; false when there is none of that size. */
bool choice_cache_find(const struct choice_cache *cache, const char *subject, const void *question,
                       size_t question_size, void *answer, size_t answer_size);
void choice_cache_add(struct choice_cache *cache, const char *subject, const void *question, size_t question_size,
                      const void *answer, size_t answer_size);

/* Writes the file when something was added, and releases all. Of more than CHOICE_CACHE_MOST the oldest go. A file that cannot be written costs the next run its time. */
void choice_cache_close(struct choice_cache *cache);
