/*
 * Samples in files; see places.h.
 */
#include "data/places.h"

#include "data/decode.h"
#include "data/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 1024, TAR_HEADER = 512, TAR_NAME = 100 };

bool gr_places_add(struct gr_places *places, const struct gr_place *place, struct gr_error *err)
{
    void *items = places->items;
    if (!gr_grow(&items, &places->capacity, places->count, sizeof *places->items))
        return gr_fail_memory(err, "opening a dataset");
    places->items = items;
    places->items[places->count++] = *place;
    return true;
}

void gr_places_release(struct gr_places *places)
{
    free(places->items);
    *places = (struct gr_places){0};
}

const char *gr_base_name(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static int by_label_and_name(const void *a, const void *b)
{
    const struct gr_place *p = a, *q = b;
    if (p->label != q->label)
        return p->label < q->label ? -1 : 1;
    const char *a_name = p->title ? p->name : p->file, *b_name = q->title ? q->name : q->file;
    const int order = strcmp(gr_base_name(a_name), gr_base_name(b_name));
    return order ? order : strcmp(a_name, b_name);
}

void gr_places_sort(struct gr_places *places)
{
    if (places->count)
        qsort(places->items, places->count, sizeof *places->items, by_label_and_name);
}

bool gr_places_keep(struct gr_places *places, struct gr_samples *samples, struct gr_error *err)
{
    struct gr_place *items = gr_pool_array(&samples->pool, places->count, sizeof *items);
    samples->labels = calloc(places->count + 1, sizeof *samples->labels);
    if (!items || !samples->labels)
        return gr_fail_memory(err, "opening a dataset");
    for (size_t i = 0; i < places->count; i++) {
        items[i] = places->items[i];
        samples->labels[i] = items[i].label;
    }
    samples->state = items;
    samples->count = (int64_t)places->count;
    gr_places_release(places);
    return true;
}

static const struct gr_place *place_of(const struct gr_samples *samples, int64_t index)
{
    return (const struct gr_place *)samples->state + index;
}

/* The name in the header of a member whose bytes begin at the offset. */
static void name_at(const struct gr_place *place, char name[TAR_NAME + 1])
{
    struct gr_buffer header = {0};
    const bool found =
        place->offset >= TAR_HEADER &&
        gr_file_read_part(place->file, place->offset - TAR_HEADER, TAR_NAME, &header, NULL);
    if (found)
        snprintf(name, TAR_NAME + 1, "%.*s", TAR_NAME, (const char *)header.data);
    else
        snprintf(name, TAR_NAME + 1, "at offset %" PRId64, place->offset);
    gr_buffer_release(&header);
}

void gr_places_name(const struct gr_samples *samples, int64_t index, char *buffer, size_t size)
{
    const struct gr_place *place = place_of(samples, index);
    char name[TAR_NAME + 1];
    if (place->title && !place->name) {
        name_at(place, name);
        snprintf(buffer, size, "%s:%s", place->title, name);
    } else if (place->title)
        snprintf(buffer, size, "%s:%s", place->title, place->name);
    else
        snprintf(buffer, size, "%s", place->file);
}

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Samples that follow each other in a file are one stretch of it, labels and headers between. */
void gr_places_announce(const struct gr_samples *samples, const uint32_t *indices, int64_t count)
{
    uint32_t *sorted = malloc((size_t)count * sizeof *sorted);
    if (!sorted)
        return; /* then reading takes longer */
    memcpy(sorted, indices, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_number);
    for (int64_t i = 0, next; i < count; i = next) {
        const struct gr_place *first = place_of(samples, sorted[i]), *last = first;
        for (next = i + 1; next < count && sorted[next] == sorted[next - 1] + 1; next++) {
            const struct gr_place *place = place_of(samples, sorted[next]);
            if (place->file != first->file || place->offset < last->offset)
                break;
            last = place;
        }
        gr_file_announce(first->file, first->offset, last->offset + last->size - first->offset);
    }
    free(sorted);
}

bool gr_places_load(const struct gr_samples *samples, int64_t index,
                    struct gr_source_scratch *scratch, size_t *size, struct gr_error *err)
{
    const struct gr_place *place = place_of(samples, index);
    if (!place->title)
        return gr_file_read_whole(place->file, GR_DECODE_BYTES_MAX, &scratch->file, size, err);
    if (place->size > GR_DECODE_BYTES_MAX) {
        char name[NAME];
        gr_places_name(samples, index, name, sizeof name);
        return gr_fail(err, GR_ERR_DATA, "%s: %" PRId64 " bytes are more than the %d allowed", name,
                       place->size, GR_DECODE_BYTES_MAX);
    }
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
