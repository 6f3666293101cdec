/*
 * Layouts: oneDNN's memory descriptors as the runtime knows them, each there once, so that equal
 * layouts are one pointer; see onednn.h. Nothing here depends on oneDNN's version.
 */
#include "onednn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gr_onednn_layout {
    struct gr_layout base; /* first, so that a pointer to it is a pointer to this */
    struct gr_desc desc;
    uint64_t hash;
    char name[40];
};

gr_md gr_onednn_layout_md(const struct gr_layout *layout)
{
    return gr_desc_get(&((const struct gr_onednn_layout *)layout)->desc);
}

bool gr_desc_in(struct gr_desc *desc, const struct gr_value *value, const struct gr_layout *layout,
                struct gr_error *err)
{
    if (!layout || layout == &gr_layout_plain)
        return gr_desc_of(desc, value, GR_FORMAT_PLAIN, err);
    if (!gr_desc_copy(desc, gr_onednn_layout_md(layout)))
        return gr_fail_memory(err, "a memory descriptor");
    return true;
}

/* "nChw16c" in the letters of the tensor's dimensions: outer strides first, then the blocks. */
static void name_layout(const struct gr_onednn_facts *f, bool weights, char *name, size_t size)
{
    static const char *const letters[2][6] = {{"", "x", "nc", "ncw", "nchw", "ncdhw"},
                                              {"", "o", "oi", "oiw", "oihw", "goihw"}};
    const char *letter = f->rank < 6 ? letters[weights][f->rank] : "abcdefghijkl";
    bool used[DNNL_MAX_NDIMS] = {false}, split[DNNL_MAX_NDIMS] = {false};
    size_t length = 0;
    if (f->type == dnnl_bf16)
        length = (size_t)snprintf(name, size, "bf16:");
    if (!f->blocked) {
        snprintf(name + length, size - length, "opaque");
        return;
    }
    for (int b = 0; b < f->n_blocks; b++)
        split[f->indices[b]] = true;
    for (int k = 0; k < f->rank; k++) {
        int widest = -1;
        for (int d = 0; d < f->rank; d++)
            if (!used[d] && (widest < 0 || f->strides[d] > f->strides[widest]))
                widest = d;
        used[widest] = true;
        const char c = letter[widest];
        if (length + 1 < size)
            name[length++] = split[widest] ? (char)(c - 'a' + 'A') : c;
    }
    name[length] = '\0';
    for (int b = 0; b < f->n_blocks; b++) {
        const int n = snprintf(name + length, size - length, "%d%c", (int)f->blocks[b],
                               letter[f->indices[b]]);
        if (n < 0 || (size_t)n >= size - length)
            return;
        length += (size_t)n;
    }
}

static bool is_plain(const struct gr_onednn_facts *f)
{
    int64_t stride = 1;
    if (!f->blocked || f->n_blocks)
        return false;
    for (int d = f->rank; d-- > 0; stride *= f->dims[d])
        if (f->dims[d] > 1 && f->strides[d] != stride)
            return false;
    return true;
}

/* ---- the table --------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const int64_t *numbers, int count)
{
    for (int i = 0; i < count; i++) {
        hash = (hash ^ (uint64_t)numbers[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return hash;
}

/* Equal descriptors have equal hashes: strides are left out, which do not count in dims of 1. */
static uint64_t hash_of(const struct gr_onednn_facts *f)
{
    const int64_t kind[] = {f->rank, (int64_t)f->type, f->n_blocks};
    uint64_t hash = mix(mix(0, kind, 3), f->dims, f->rank);
    hash = mix(hash, f->blocks, f->n_blocks);
    return mix(hash, f->indices, f->n_blocks);
}

uint64_t gr_onednn_hash(gr_md md)
{
    struct gr_onednn_facts facts;
    gr_onednn_facts(md, &facts);
    return hash_of(&facts);
}

/* The first place from that of the hash on which is free, or holds the layout of md. */
static struct gr_onednn_layout **place_of(const struct gr_onednn_layouts *table, uint64_t hash,
                                          gr_md md)
{
    size_t i = hash & (table->capacity - 1);
    for (; table->places[i]; i = (i + 1) & (table->capacity - 1))
        if (table->places[i]->hash == hash &&
            dnnl_memory_desc_equal(gr_desc_get(&table->places[i]->desc), md))
            break;
    return &table->places[i];
}

/* Makes room for one more, half of the places staying free. */
static bool make_room(struct gr_onednn_layouts *table)
{
    if (2 * (table->count + 1) <= table->capacity)
        return true;
    struct gr_onednn_layouts grown = {.capacity = table->capacity ? 2 * table->capacity : 64,
                                      .count = table->count};
    grown.places = calloc(grown.capacity, sizeof(struct gr_onednn_layout *));
    if (!grown.places)
        return false;
    for (size_t i = 0; i < table->capacity; i++) {
        struct gr_onednn_layout *layout = table->places[i];
        if (layout)
            *place_of(&grown, layout->hash, gr_desc_get(&layout->desc)) = layout;
    }
    free(table->places);
    *table = grown;
    return true;
}

static struct gr_onednn_layout *layout_new(gr_md md, const struct gr_onednn_facts *facts,
                                           bool weights, const char *name)
{
    struct gr_onednn_layout *layout = calloc(1, sizeof *layout);
    if (!layout || !gr_desc_copy(&layout->desc, md)) {
        free(layout);
        return NULL;
    }
    layout->hash = hash_of(facts);
    if (name)
        snprintf(layout->name, sizeof layout->name, "%s", name);
    else
        name_layout(facts, weights, layout->name, sizeof layout->name);
    layout->base = (struct gr_layout){dnnl_memory_desc_get_size(md), layout->name,
                                      gr_onednn_dtype(facts->type)};
    return layout;
}

/*
 * The interned layout of md, plain or not; the first to ask says what it is called, or whose
 * letters its name has.
 */
static const struct gr_layout *intern_named(struct gr_backend *backend, gr_md md, bool weights,
                                            const char *name, struct gr_error *err)
{
    struct gr_onednn_facts facts;
    gr_onednn_facts(md, &facts);
    struct gr_onednn_layout **place =
        make_room(&backend->layouts) ? place_of(&backend->layouts, hash_of(&facts), md) : NULL;
    if (place && *place)
        return &(*place)->base;
    struct gr_onednn_layout *layout = place ? layout_new(md, &facts, weights, name) : NULL;
    if (!layout) {
        gr_fail_memory(err, "a layout");
        return NULL;
    }
    *place = layout;
    backend->layouts.count++;
    return &layout->base;
}

static const struct gr_layout *intern(struct gr_backend *backend, gr_md md, bool weights,
                                      struct gr_error *err)
{
    return intern_named(backend, md, weights, NULL, err);
}

const struct gr_layout *gr_onednn_named(struct gr_backend *backend, gr_md md, const char *name,
                                        struct gr_error *err)
{
    return intern_named(backend, md, false, name, err);
}

const struct gr_layout *gr_onednn_layout(struct gr_backend *backend, const struct gr_value *value,
                                         gr_md md, bool weights, struct gr_error *err)
{
    struct gr_onednn_facts facts;
    gr_onednn_facts(md, &facts);
    const bool plain = value->kind != GR_VALUE_WORKSPACE && is_plain(&facts) &&
                       gr_onednn_dtype(facts.type) == value->dtype;
    return plain ? &gr_layout_plain : intern(backend, md, weights, err);
}

const struct gr_layout *gr_onednn_blocked(struct gr_backend *backend, const struct gr_value *value,
                                          enum gr_dtype dtype, struct gr_error *err)
{
    struct gr_desc desc = {0};
    if (!gr_desc_blocked(&desc, value, dtype, err))
        return NULL;
    const struct gr_layout *layout =
        gr_onednn_layout(backend, value, gr_desc_get(&desc), false, err);
    gr_desc_release(&desc);
    return layout;
}

const struct gr_layout *gr_onednn_plain(struct gr_backend *backend, const struct gr_value *value,
                                        enum gr_dtype dtype, struct gr_error *err)
{
    struct gr_desc desc = {0};
    if (dtype == value->dtype)
        return &gr_layout_plain;
    if (!gr_desc_init(&desc, value->shape.rank, value->shape.dim, dtype, GR_FORMAT_PLAIN, err))
        return NULL;
    const struct gr_layout *layout = intern(backend, gr_desc_get(&desc), false, err);
    gr_desc_release(&desc);
    return layout;
}

/* The layout of a tag, of a tensor that has this shape in place of the value's own. */
static const struct gr_layout *tagged(struct gr_backend *backend, const struct gr_value *value,
                                      const struct gr_shape *shape, enum gr_dtype dtype,
                                      dnnl_format_tag_t tag, struct gr_error *err)
{
    struct gr_desc desc = {0};
    if (!gr_desc_tagged(&desc, shape->rank, shape->dim, dtype, tag, err))
        return NULL;
    const struct gr_layout *layout =
        gr_onednn_layout(backend, value, gr_desc_get(&desc), false, err);
    gr_desc_release(&desc);
    return layout;
}

const struct gr_layout *gr_onednn_tagged(struct gr_backend *backend, const struct gr_value *value,
                                         enum gr_dtype dtype, dnnl_format_tag_t tag,
                                         struct gr_error *err)
{
    return tagged(backend, value, &value->shape, dtype, tag, err);
}

int64_t gr_onednn_widest_lanes(const struct gr_backend *backend)
{
    if (backend->kernels == GR_KERNELS_OPENBLAS)
        return 1;
    return gr_onednn_has_isa(dnnl_cpu_isa_avx512_core) ? 16 : 8;
}

const struct gr_layout *gr_onednn_lanes(struct gr_backend *backend, const struct gr_value *value,
                                        const struct gr_shape *shape, enum gr_dtype dtype,
                                        int64_t lanes, struct gr_error *err)
{
    const dnnl_format_tag_t tag = lanes == 16 ? dnnl_nChw16c : lanes == 8 ? dnnl_nChw8c : dnnl_nchw;
    return tagged(backend, value, shape, dtype, tag, err);
}

const struct gr_layout *gr_onednn_workspace(struct gr_backend *backend, size_t bytes,
                                            struct gr_error *err)
{
    const int64_t count = (int64_t)bytes;
    struct gr_desc desc = {0};
    if (!gr_desc_init(&desc, 1, &count, GR_U8, GR_FORMAT_PLAIN, err))
        return NULL;
    const struct gr_layout *layout = intern(backend, gr_desc_get(&desc), false, err);
    gr_desc_release(&desc);
    return layout;
}

void gr_onednn_layouts_release(struct gr_backend *backend)
{
    struct gr_onednn_layouts *table = &backend->layouts;
    for (size_t i = 0; i < table->capacity; i++)
        if (table->places[i]) {
            gr_desc_release(&table->places[i]->desc);
            free(table->places[i]);
        }
    free(table->places);
}
