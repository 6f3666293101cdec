/*
 * Memory objects of oneDNN, shared by the kernels that read or write the same tensor: a descriptor
 * at an address is one object, however many arguments it is. In oneDNN 2.6 an object is 0.7 KB and
 * a step has five arguments, so that without sharing they are a fifth of what a compiled graph of
 * many small nodes takes. See onednn.h.
 */
#include "onednn.h"

#include <stdlib.h>

struct gr_onednn_memory {
    dnnl_memory_t memory;
    void *data;
    uint64_t hash;
    size_t users;
    struct gr_onednn_memory *next; /* in its bucket */
};

static uint64_t hash_of(gr_md md, const void *data)
{
    return (gr_onednn_hash(md) ^ (uint64_t)(uintptr_t)data) * 0x9e3779b97f4a7c15u >> 20;
}

static struct gr_onednn_memory **bucket_of(const struct gr_onednn_memories *table, uint64_t hash)
{
    return &table->buckets[hash & (table->n_buckets - 1)];
}

/* Where the pointer to it is, or would be. */
static struct gr_onednn_memory **find(const struct gr_onednn_memories *table, gr_md md,
                                      const void *data, uint64_t hash)
{
    struct gr_onednn_memory **at = bucket_of(table, hash);
    for (; *at; at = &(*at)->next) {
        gr_md other;
        if ((*at)->hash == hash && (*at)->data == data &&
            dnnl_memory_get_memory_desc((*at)->memory, &other) == dnnl_success &&
            dnnl_memory_desc_equal(md, other))
            break;
    }
    return at;
}

static bool make_room(struct gr_onednn_memories *table)
{
    if (table->count < table->n_buckets)
        return true;
    struct gr_onednn_memories grown = {.n_buckets = table->n_buckets ? 2 * table->n_buckets : 64,
                                       .count = table->count};
    grown.buckets = calloc(grown.n_buckets, sizeof(struct gr_onednn_memory *));
    if (!grown.buckets)
        return false;
    for (size_t b = 0; b < table->n_buckets; b++)
        for (struct gr_onednn_memory *m = table->buckets[b], *next; m; m = next) {
            struct gr_onednn_memory **bucket = bucket_of(&grown, m->hash);
            next = m->next;
            m->next = *bucket;
            *bucket = m;
        }
    free(table->buckets);
    *table = grown;
    return true;
}

static struct gr_onednn_memory *memory_new(dnnl_engine_t engine, gr_md md, void *data,
                                           uint64_t hash)
{
    struct gr_onednn_memory *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    *m = (struct gr_onednn_memory){.data = data, .hash = hash};
    if (dnnl_memory_create(&m->memory, md, engine, DNNL_MEMORY_NONE) == dnnl_success &&
        dnnl_memory_set_data_handle(m->memory, data) == dnnl_success)
        return m;
    dnnl_memory_destroy(m->memory);
    free(m);
    return NULL;
}

dnnl_memory_t gr_onednn_memory_obtain(struct gr_backend *backend, gr_md md, void *data)
{
    struct gr_onednn_memories *table = &backend->memories;
    if (!make_room(table))
        return NULL;
    const uint64_t hash = hash_of(md, data);
    struct gr_onednn_memory **at = find(table, md, data, hash);
    if (!*at) {
        *at = memory_new(backend->engine, md, data, hash);
        table->count += *at != NULL;
    }
    if (!*at)
        return NULL;
    (*at)->users++;
    return (*at)->memory;
}

void gr_onednn_memory_return(struct gr_backend *backend, dnnl_memory_t memory)
{
    gr_md md;
    void *data;
    if (!memory || dnnl_memory_get_memory_desc(memory, &md) != dnnl_success ||
        dnnl_memory_get_data_handle(memory, &data) != dnnl_success)
        return;
    struct gr_onednn_memory **at = find(&backend->memories, md, data, hash_of(md, data)), *m = *at;
    if (--m->users)
        return;
    *at = m->next;
    backend->memories.count--;
    dnnl_memory_destroy(m->memory);
    free(m);
}

void gr_onednn_memories_release(struct gr_backend *backend)
{
    free(backend->memories.buckets); /* empty: the kernels are gone */
}
