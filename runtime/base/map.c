/*
 * A map from names to pointers; see map.h. At most two thirds full, linear probing.
 */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"

static struct gr_map_entry *slot(const struct gr_map *map, const char *key)
{
    size_t i = gr_random_name(key) & (map->capacity - 1);
    while (map->entries[i].key && strcmp(map->entries[i].key, key) != 0)
        i = (i + 1) & (map->capacity - 1);
    return &map->entries[i];
}

void *gr_map_get(const struct gr_map *map, const char *key)
{
    return map->capacity ? slot(map, key)->value : NULL;
}

bool gr_map_put(struct gr_map *map, const char *key, void *value)
{
    if ((map->count + 1) * 3 > map->capacity * 2) {
        struct gr_map grown = {.capacity = map->capacity ? map->capacity * 2 : 32,
                               .count = map->count};
        grown.entries = calloc(grown.capacity, sizeof *grown.entries);
        if (!grown.entries)
            return false;
        for (size_t i = 0; i < map->capacity; i++)
            if (map->entries[i].key)
                *slot(&grown, map->entries[i].key) = map->entries[i];
        free(map->entries);
        *map = grown;
    }
    struct gr_map_entry *entry = slot(map, key);
    map->count += !entry->key;
    *entry = (struct gr_map_entry){key, value};
    return true;
}

void gr_map_release(struct gr_map *map)
{
    free(map->entries);
    *map = (struct gr_map){0};
}
