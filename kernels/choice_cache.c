#include "kernels/choice_cache.h"
#include "kernels/build_cache.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Followed by the question and the answer. */
struct header {
    char subject[CHOICE_SUBJECT_MAX];
    uint32_t question_size, answer_size;
};

/* The record at `offset`, false at the end or where what is left is no record. */
static bool record_at(const struct strbuf *records, size_t offset, struct header *header)
{
    if (offset > records->length || records->length - offset < sizeof *header)
        return false;
    memcpy(header, records->text + offset, sizeof *header);
    return header->subject[CHOICE_SUBJECT_MAX - 1] == '\0' &&
           records->length - offset - sizeof *header >= (size_t)header->question_size + header->answer_size;
}

static size_t record_size(const struct header *header)
{
    return sizeof *header + header->question_size + header->answer_size;
}

void choice_cache_open(struct choice_cache *cache, const char *path, const char *key)
{
    memset(cache, 0, sizeof *cache);
    if (!path)
        return;
    cache->path = strdup(path);
    cache->key = strdup(key);
    if (!cache->path || !cache->key)
        abort();
    size_t size = 0;
    char *stored = build_cache_read(path, key, &size, NULL, 0);
    if (stored)
        strbuf_add(&cache->records, stored, size);
    free(stored);
    struct header header;
    size_t offset = 0;
    while (record_at(&cache->records, offset, &header))
        offset += record_size(&header);
    if (offset != cache->records.length) /* not ours after all */
        strbuf_release(&cache->records);
}

bool choice_cache_find(const struct choice_cache *cache, const char *subject, const void *question,
                       size_t question_size, void *answer, size_t answer_size)
{
    struct header header;
    bool found = false;
    for (size_t offset = 0; record_at(&cache->records, offset, &header); offset += record_size(&header)) {
        const char *content = cache->records.text + offset + sizeof header;
        if (strcmp(header.subject, subject) != 0 || header.question_size != question_size ||
            header.answer_size != answer_size || memcmp(content, question, question_size) != 0)
            continue;
        memcpy(answer, content + question_size, answer_size);
        found = true; /* a later one is newer */
    }
    return found;
}

void choice_cache_add(struct choice_cache *cache, const char *subject, const void *question, size_t question_size,
                      const void *answer, size_t answer_size)
{
    struct header header = {.question_size = (uint32_t)question_size, .answer_size = (uint32_t)answer_size};
    if (!cache->path || strlen(subject) >= sizeof header.subject)
        return;
    memcpy(header.subject, subject, strlen(subject));
    strbuf_add(&cache->records, (const char *)&header, sizeof header);
    strbuf_add(&cache->records, question, question_size);
    strbuf_add(&cache->records, answer, answer_size);
    cache->added = true;
}

void choice_cache_close(struct choice_cache *cache)
{
    struct error ignored = {0};
    struct header header;
    size_t first = 0;
    while (cache->added && cache->records.length - first > CHOICE_CACHE_MOST &&
           record_at(&cache->records, first, &header))
        first += record_size(&header);
    if (cache->added)
        build_cache_write(cache->path, cache->key, cache->records.text + first, cache->records.length - first,
                          &ignored);
    strbuf_release(&cache->records);
    free(cache->path);
    free(cache->key);
    memset(cache, 0, sizeof *cache);
}
