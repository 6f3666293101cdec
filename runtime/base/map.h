/*
 * A map from names to pointers: open addressing, no removal. Keys are borrowed and must outlive it.
 */
#ifndef GR_BASE_MAP_H
#define GR_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct gr_map_entry {
    const char *key;
    void *value;
};

/* Zero-initialised is empty. */
struct gr_map {
    struct gr_map_entry *entries;
    size_t count, capacity;
};

void *gr_map_get(const struct gr_map *map, const char *key);       /* NULL when absent */
bool gr_map_put(struct gr_map *map, const char *key, void *value); /* false: out of memory */
void gr_map_release(struct gr_map *map);

#endif
