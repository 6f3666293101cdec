/*
 * A map from names to pointers; see map.h. At most two thirds full, linear probing, SipHash-1-3
 * (Aumasson and Bernstein 2012, with the rounds that are usual for tables).
 */
#define _GNU_SOURCE
#include "base/map.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* ---- hash -------------------------------------------------------------------------------- */

static uint64_t secret[2];
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void make_secret(void)
{
    if (getrandom(secret, sizeof secret, GRND_NONBLOCK) == (ssize_t)sizeof secret)
        return;
    struct timespec now; /* early in the start of a machine: better than nothing */
    clock_gettime(CLOCK_REALTIME, &now);
    secret[0] = (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 30;
    secret[1] = (uint64_t)(uintptr_t)&now;
}

static uint64_t turn(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void mix(uint64_t v[4])
{
    v[0] += v[1], v[2] += v[3];
    v[1] = turn(v[1], 13) ^ v[0], v[3] = turn(v[3], 16) ^ v[2];
    v[0] = turn(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = turn(v[1], 17) ^ v[2], v[3] = turn(v[3], 21) ^ v[0];
    v[2] = turn(v[2], 32);
}

static uint64_t hash(const char *key)
{
    pthread_once(&made, make_secret);
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575, secret[1] ^ 0x646f72616e646f6d,
                     secret[0] ^ 0x6c7967656e657261, secret[1] ^ 0x7465646279746573};
    const size_t length = strlen(key);
    uint64_t last = (uint64_t)length << 56;
    size_t at = 0;
    for (; at + 8 <= length; at += 8) {
        uint64_t word;
        memcpy(&word, key + at, 8);
        v[3] ^= word;
        mix(v);
        v[0] ^= word;
    }
    for (int shift = 0; at < length; at++, shift += 8)
        last |= (uint64_t)(unsigned char)key[at] << shift;
    v[3] ^= last;
    mix(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    mix(v), mix(v), mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- table ------------------------------------------------------------------------------- */

/* The slot of the key's entry, or the free one where it would be. */
static uint32_t *slot(const struct gr_map *map, const char *key)
{
    size_t i = (size_t)hash(key) & (map->capacity - 1);
    while (map->slots[i] && strcmp(map->entries[map->slots[i] - 1].key, key) != 0)
        i = (i + 1) & (map->capacity - 1);
    return &map->slots[i];
}

void *gr_map_get(const struct gr_map *map, const char *key)
{
    const uint32_t *found = map->capacity ? slot(map, key) : NULL;
    return found && *found ? map->entries[*found - 1].value : NULL;
}

static bool grow(struct gr_map *map)
{
    const size_t capacity = map->capacity ? map->capacity * 2 : 32;
    struct gr_map_entry *entries =
        capacity <= UINT32_MAX ? realloc(map->entries, capacity * 2 / 3 * sizeof *entries) : NULL;
    if (entries)
        map->entries = entries;
    uint32_t *slots = entries ? calloc(capacity, sizeof *slots) : NULL;
    if (!slots)
        return false;
    free(map->slots);
    map->slots = slots;
    map->capacity = capacity;
    for (size_t i = 0; i < map->count; i++)
        *slot(map, map->entries[i].key) = (uint32_t)i + 1;
    return true;
}

bool gr_map_put(struct gr_map *map, const char *key, void *value)
{
    if (map->count + 1 > map->capacity * 2 / 3 && !grow(map))
        return false;
    uint32_t *found = slot(map, key);
    if (!*found)
        *found = (uint32_t)++map->count;
    map->entries[*found - 1] = (struct gr_map_entry){key, value};
    return true;
}

void gr_map_release(struct gr_map *map)
{
    free(map->entries);
    free(map->slots);
    *map = (struct gr_map){0};
}
