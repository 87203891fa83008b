#include "kernels/cuda/cupti_internal.h"
#include <stdlib.h>
#include <string.h>

/* CUPTI wants 8-byte alignment; a page lets the zeroing of a large buffer run at full speed. */
#define BUFFER_ALIGNMENT 4096u

static struct activity_buffer *buffer_create(struct buffer_pool *pool)
{
    struct activity_buffer *buffer = calloc(1, sizeof *buffer);
    uint8_t *bytes = aligned_alloc(BUFFER_ALIGNMENT, pool->buffer_size);
    if (!buffer || !bytes) {
        free(buffer);
        free(bytes);
        return NULL;
    }
    memset(bytes, 0, pool->buffer_size); /* the first touch too: no page faults in a step */
    buffer->bytes = bytes;
    pool->allocated++;
    return buffer;
}

bool buffer_pool_init(struct buffer_pool *pool, size_t buffer_size, uint32_t first, uint32_t limit)
{
    *pool = (struct buffer_pool){.buffer_size = buffer_size, .limit = limit};
    pool->filled_end = &pool->filled;
    for (uint32_t i = 0; i < first; i++) {
        struct activity_buffer *buffer = buffer_create(pool);
        if (!buffer) {
            buffer_pool_release(pool);
            return false;
        }
        buffer_pool_recycle(pool, buffer);
    }
    return true;
}

uint8_t *buffer_pool_take(struct buffer_pool *pool)
{
    struct activity_buffer *buffer = pool->free;
    if (buffer)
        pool->free = buffer->next;
    else if (pool->allocated >= pool->limit || !(buffer = buffer_create(pool)))
        return NULL;
    buffer->next = pool->out;
    pool->out = buffer;
    return buffer->bytes;
}

void buffer_pool_return(struct buffer_pool *pool, uint8_t *bytes, size_t valid)
{
    for (struct activity_buffer **link = &pool->out; *link; link = &(*link)->next) {
        struct activity_buffer *buffer = *link;
        if (buffer->bytes != bytes)
            continue;
        *link = buffer->next;
        buffer->next = NULL;
        buffer->valid = valid < pool->buffer_size ? valid : pool->buffer_size;
        *pool->filled_end = buffer;
        pool->filled_end = &buffer->next;
        return;
    }
}

struct activity_buffer *buffer_pool_filled(struct buffer_pool *pool)
{
    struct activity_buffer *filled = pool->filled;
    pool->filled = NULL;
    pool->filled_end = &pool->filled;
    return filled;
}

void buffer_pool_recycle(struct buffer_pool *pool, struct activity_buffer *buffer)
{
    buffer->valid = 0;
    buffer->next = pool->free;
    pool->free = buffer;
}

static void buffers_free(struct activity_buffer *buffer)
{
    for (struct activity_buffer *next; buffer; buffer = next) {
        next = buffer->next;
        free(buffer->bytes);
        free(buffer);
    }
}

void buffer_pool_release(struct buffer_pool *pool)
{
    buffers_free(pool->free);
    buffers_free(buffer_pool_filled(pool));
    pool->free = NULL;
}
