/*
 * Large zeroed memory for tensors: 64-byte aligned, on huge pages where the system grants them.
 */
#ifndef GR_GRAPH_ARENA_H
#define GR_GRAPH_ARENA_H

#include <stddef.h>

void *gr_arena_new(size_t bytes); /* NULL: out of memory */
void gr_arena_free(void *data);   /* NULL is allowed */

#endif
