#include "kernels/choice_cache.h"
#include "base/limits.h"
#include "kernels/build_cache.h"
#include <stdint.h>
#include <stdio.h>
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
        memory_exhausted(strlen(path) + strlen(key), "bytes for a cache");
    size_t size = 0;
    char *stored = build_cache_read(path, key, &size, NULL, 0);
    if (stored)
        strbuf_add(&cache->records, stored, size);
    free(stored);
    struct header header;
    size_t offset = 0;
    while (record_at(&cache->records, offset, &header)) {
        vec_push(&cache->index, ((struct choice_record){.offset = offset}));
        offset += record_size(&header);
    }
    if (offset != cache->records.length) { /* not ours after all */
        strbuf_release(&cache->records);
        cache->index.count = 0;
    }
}

static struct choice_record *record_find(struct choice_cache *cache, const char *subject, const void *question,
                                         size_t question_size, struct header *header)
{
    for (size_t i = cache->index.count; i-- > 0;) {
        struct choice_record *record = &cache->index.items[i];
        if (!record->gone && record_at(&cache->records, record->offset, header) &&
            strcmp(header->subject, subject) == 0 && header->question_size == question_size &&
            memcmp(cache->records.text + record->offset + sizeof *header, question, question_size) == 0)
            return record;
    }
    return NULL;
}

bool choice_cache_find(struct choice_cache *cache, const char *subject, const void *question, size_t question_size,
                       void *answer, size_t answer_size)
{
    struct header header;
    struct choice_record *record = record_find(cache, subject, question, question_size, &header);
    if (!record || header.answer_size != answer_size)
        return false;
    record->used = true;
    memcpy(answer, cache->records.text + record->offset + sizeof header + question_size, answer_size);
    return true;
}

void choice_cache_refuse(struct choice_cache *cache)
{
    cache->refused++;
}

bool choice_us_possible(double us)
{
    return us >= 0 && us < 1e12; /* eleven days */
}

void choice_cache_add(struct choice_cache *cache, const char *subject, const void *question, size_t question_size,
                      const void *answer, size_t answer_size)
{
    struct header old, header = {.question_size = (uint32_t)question_size, .answer_size = (uint32_t)answer_size};
    if (!cache->path || strlen(subject) >= sizeof header.subject)
        return;
    struct choice_record *before = record_find(cache, subject, question, question_size, &old);
    if (before)
        before->gone = true;
    memcpy(header.subject, subject, strlen(subject));
    vec_push(&cache->index, ((struct choice_record){.offset = cache->records.length, .used = true}));
    strbuf_add(&cache->records, (const char *)&header, sizeof header);
    strbuf_add(&cache->records, question, question_size);
    strbuf_add(&cache->records, answer, answer_size);
    cache->added = true;
}

/* The records, those that this program used behind the others, without the oldest that there is no room for. */
static size_t records_order(const struct choice_cache *cache, struct strbuf *text)
{
    struct header header;
    size_t bytes = 0, dropped = 0;
    for (int pass = 0; pass < 3; pass++) /* how much there is; what others used; what this program did */
        for (size_t i = 0; i < cache->index.count; i++) {
            const struct choice_record *record = &cache->index.items[i];
            if (record->gone || !record_at(&cache->records, record->offset, &header))
                continue;
            if (pass == 0) {
                bytes += record_size(&header);
            } else if (record->used == (pass == 2)) {
                if (bytes > CHOICE_CACHE_MOST) {
                    bytes -= record_size(&header);
                    dropped++;
                } else {
                    strbuf_add(text, cache->records.text + record->offset, record_size(&header));
                }
            }
        }
    return dropped;
}

size_t choice_cache_close(struct choice_cache *cache)
{
    struct error ignored = {0};
    struct strbuf text = {0};
    size_t dropped = 0;
    if (cache->added) {
        dropped = records_order(cache, &text);
        build_cache_write(cache->path, cache->key, text.text, text.length, &ignored);
    }
    strbuf_release(&text);
    strbuf_release(&cache->records);
    vec_release(&cache->index);
    free(cache->path);
    free(cache->key);
    memset(cache, 0, sizeof *cache);
    return dropped;
}

const char *choice_cache_room(size_t dropped, size_t refused, char *text, size_t size)
{
    int used = 0;
    text[0] = 0;
    if (dropped)
        used = snprintf(text, size, "; the cache's %zu oldest made room", dropped);
    if (refused && used >= 0 && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, "; %zu of the cache cannot be and %s not taken", refused,
                 refused == 1 ? "was" : "were");
    return text;
}
