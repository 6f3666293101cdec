/*
 * Where the samples of a source lie: each is an image file, or a stretch of a larger one (a member
 * of a tar). Sources that find such samples collect them here, and share the functions that read
 * and name them.
 */
#ifndef GR_DATA_PLACES_H
#define GR_DATA_PLACES_H

#include "data/source.h"

/* All texts are borrowed and outlive the place. */
struct gr_place {
    const char *file;  /* to read from */
    const char *title; /* of an archive, for people: "train.tar:n01440764.tar"; NULL: file is all */
    const char *name;  /* within the archive; NULL: as the header before its bytes has it */
    int64_t offset, size;
    int32_t label;
};

/* A growing list; zero-initialised is empty. */
struct gr_places {
    struct gr_place *items;
    size_t count, capacity;
};

bool gr_places_add(struct gr_places *places, const struct gr_place *place, struct gr_error *err);
void gr_places_release(struct gr_places *places);

/* By label, and within a class in the byte order of names: as the source imagefolder has them. */
void gr_places_sort(struct gr_places *places);

/* What the last '/' leaves of a name. */
const char *gr_base_name(const char *name);

/* Makes them the samples: count, labels and state. The places are then empty. */
bool gr_places_keep(struct gr_places *places, struct gr_samples *samples, struct gr_error *err);

/* Has the disk read the bytes of these samples, in its own time. */
void gr_places_announce(const struct gr_samples *samples, const uint32_t *indices, int64_t count);

/* The functions of a source whose samples gr_places_keep has made. */
bool gr_places_load(const struct gr_samples *samples, int64_t index,
                    struct gr_source_scratch *scratch, size_t *size, struct gr_error *err);
bool gr_places_read(const struct gr_samples *samples, int64_t index,
                    const struct gr_source_target *target, struct gr_source_scratch *scratch,
                    struct gr_view *view, struct gr_error *err);
void gr_places_name(const struct gr_samples *samples, int64_t index, char *buffer, size_t size);

#endif
