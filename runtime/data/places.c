/*
 * Samples in files; see places.h.
 */
#include "data/places.h"

#include "data/decode.h"
#include "data/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 1024 };

bool gr_places_add(struct gr_places *places, const struct gr_place *place, int32_t label,
                   struct gr_error *err)
{
    void *items = places->items, *labels = places->labels;
    const bool more =
        gr_grow(&items, &places->items_capacity, places->count, sizeof *places->items) &&
        gr_grow(&labels, &places->labels_capacity, places->count, sizeof *places->labels);
    places->items = items;
    places->labels = labels;
    if (!more)
        return gr_fail_memory(err, "opening a dataset");
    places->items[places->count] = *place;
    places->labels[places->count++] = label;
    return true;
}

void gr_places_release(struct gr_places *places)
{
    free(places->items);
    free(places->labels);
    *places = (struct gr_places){0};
}

bool gr_places_keep(struct gr_places *places, struct gr_samples *samples, struct gr_error *err)
{
    struct gr_place *items = gr_pool_array(&samples->pool, places->count, sizeof *items);
    if (!items)
        return gr_fail_memory(err, "opening a dataset");
    if (places->count)
        memcpy(items, places->items, places->count * sizeof *items);
    samples->state = items;
    samples->labels = places->labels;
    samples->count = (int64_t)places->count;
    places->labels = NULL;
    gr_places_release(places);
    return true;
}

static const struct gr_place *place_of(const struct gr_samples *samples, int64_t index)
{
    return (const struct gr_place *)samples->state + index;
}

void gr_places_name(const struct gr_samples *samples, int64_t index, char *buffer, size_t size)
{
    const struct gr_place *place = place_of(samples, index);
    if (place->title)
        snprintf(buffer, size, "%s:%s", place->title, place->name);
    else
        snprintf(buffer, size, "%s", place->file);
}

bool gr_places_load(const struct gr_samples *samples, int64_t index,
                    struct gr_source_scratch *scratch, size_t *size, struct gr_error *err)
{
    const struct gr_place *place = place_of(samples, index);
    if (!place->title)
        return gr_file_read_whole(place->file, GR_DECODE_BYTES_MAX, &scratch->file, size, err);
    *size = (size_t)place->size;
    return gr_file_read_part(place->file, place->offset, *size, &scratch->file, err);
}

bool gr_places_read(const struct gr_samples *samples, int64_t index,
                    const struct gr_source_target *target, struct gr_source_scratch *scratch,
                    struct gr_view *view, struct gr_error *err)
{
    struct gr_error inner = {0};
    char name[NAME];
    size_t size;
    if (!gr_places_load(samples, index, scratch, &size, err))
        return false;
    if (gr_image_decode(scratch->file.data, size, samples->channels, target, &scratch->pixels, view,
                        &inner))
        return true;
    gr_places_name(samples, index, name, sizeof name);
    return gr_fail(err, inner.status, "%s: %s", name, inner.message);
}
