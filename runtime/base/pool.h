/*
 * A memory pool: many small allocations that live and die together (a graph, a parsed file).
 *
 * Allocation returns zeroed memory aligned for any type, or NULL when the system has none left or
 * the size overflows. Nothing is freed singly; gr_pool_release frees all of it.
 */
#ifndef GR_BASE_POOL_H
#define GR_BASE_POOL_H

#include <stdarg.h>
#include <stddef.h>

#include "base/error.h"

struct gr_pool_chunk;

/* Zero-initialised is empty and ready for use. */
struct gr_pool {
    struct gr_pool_chunk *chunks;
    size_t used, size; /* bytes, of the newest chunk */
};

void *gr_pool_alloc(struct gr_pool *pool, size_t bytes);
void *gr_pool_array(struct gr_pool *pool, size_t count, size_t size);
char *gr_pool_strdup(struct gr_pool *pool, const char *text);
char *gr_pool_strndup(struct gr_pool *pool, const char *text, size_t length);
char *gr_pool_printf(struct gr_pool *pool, const char *format, ...) GR_PRINTF(2, 3);
void gr_pool_release(struct gr_pool *pool);

/*
 * Makes room for one more element in a heap array: *array has *capacity elements of the given size
 * and count are used. Doubles; returns false (array untouched) when memory runs out.
 */
bool gr_grow(void **array, size_t *capacity, size_t count, size_t size);

#endif
