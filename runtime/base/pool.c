/*
 * A memory pool; see pool.h. Chunks double up to a megabyte; a large request gets its own chunk.
 */
#include "base/pool.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CHUNK = 4096, LAST_CHUNK = 1 << 20 };

struct gr_pool_chunk {
    struct gr_pool_chunk *next;
    max_align_t data[];
};

static void *chunk_new(struct gr_pool *pool, size_t bytes)
{
    struct gr_pool_chunk *chunk = calloc(1, sizeof *chunk + bytes);
    if (!chunk)
        return NULL;
    chunk->next = pool->chunks;
    pool->chunks = chunk;
    return chunk->data;
}

void *gr_pool_alloc(struct gr_pool *pool, size_t bytes)
{
    const size_t align = sizeof(max_align_t);
    if (bytes > PTRDIFF_MAX - LAST_CHUNK) /* no object is larger, so no sum below overflows */
        return NULL;
    bytes = (bytes ? bytes + align - 1 : align) / align * align;
    if (pool->chunks && bytes <= pool->size - pool->used) {
        void *data = (char *)pool->chunks->data + pool->used;
        pool->used += bytes;
        return data;
    }
    size_t size = pool->size ? pool->size * 2 : FIRST_CHUNK;
    if (size > LAST_CHUNK)
        size = LAST_CHUNK;
    if (size < bytes)
        size = bytes;
    void *data = chunk_new(pool, size);
    if (!data)
        return NULL;
    pool->size = size;
    pool->used = bytes;
    return data;
}

void *gr_pool_array(struct gr_pool *pool, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    return gr_pool_alloc(pool, count * size);
}

char *gr_pool_strndup(struct gr_pool *pool, const char *text, size_t length)
{
    char *copy = length < SIZE_MAX ? gr_pool_alloc(pool, length + 1) : NULL;
    if (copy)
        memcpy(copy, text, length);
    return copy;
}

char *gr_pool_strdup(struct gr_pool *pool, const char *text)
{
    return gr_pool_strndup(pool, text, strlen(text));
}

char *gr_pool_printf(struct gr_pool *pool, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : gr_pool_alloc(pool, (size_t)length + 1);
    if (!text)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

void gr_pool_release(struct gr_pool *pool)
{
    while (pool->chunks) {
        struct gr_pool_chunk *next = pool->chunks->next;
        free(pool->chunks);
        pool->chunks = next;
    }
    *pool = (struct gr_pool){0};
}

bool gr_grow(void **array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return true;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    if (wanted < *capacity || wanted > SIZE_MAX / size)
        return false;
    void *grown = realloc(*array, wanted * size);
    if (!grown)
        return false;
    *array = grown;
    *capacity = wanted;
    return true;
}
