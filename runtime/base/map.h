/*
 * A map from names to pointers: a hash table, no removal. Keys are borrowed and must outlive it.
 * The hash has a secret, another in each process, so that no file can hold names that all meet in
 * one place; nothing that can be seen of the map depends on it.
 */
#ifndef GR_BASE_MAP_H
#define GR_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gr_map_entry {
    const char *key;
    void *value;
};

/* Zero-initialised is empty. */
struct gr_map {
    struct gr_map_entry *entries; /* [count], in the order in which their keys came */
    size_t count;
    uint32_t *slots; /* [capacity]: index of an entry plus one; 0 is free */
    size_t capacity;
};

void *gr_map_get(const struct gr_map *map, const char *key);       /* NULL when absent */
bool gr_map_put(struct gr_map *map, const char *key, void *value); /* false: out of memory */
void gr_map_release(struct gr_map *map);

#endif
