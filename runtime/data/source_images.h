/*
 * Image files that are given by their paths, not by a model file: what features are computed of and
 * what nearest looks for. Opened like any source, so that they pass the loader and the transforms.
 */
#ifndef GR_DATA_SOURCE_IMAGES_H
#define GR_DATA_SOURCE_IMAGES_H

#include "data/part.h"
#include "data/source.h"

/* All borrowed. */
struct gr_images_attrs {
    const char *const *paths; /* image files, and folders with any below */
    size_t n_paths;
    const char *const *class_names; /* that the model knows; items may be NULL */
    int64_t n_class_names;
};

/*
 * Each file given, and in the byte order of names each image file of a folder, then those of the
 * folders in it. An image's class is what its folder is called: one that the model knows, or, in a
 * folder below a given one, a further class, numbered as met. All others have label -1.
 */
extern const struct gr_source gr_source_images;

/*
 * Makes *part, for images of any size, of attrs and the transforms of `like`. Where like's own
 * images all have one size and nothing resizes them, these are made so first: resized, or for a
 * pack's as packing did it. What it holds belongs to the pool, but for name, attrs and transforms,
 * which are borrowed.
 */
bool gr_images_part(const struct gr_data_part *like, const struct gr_shape *sample_shape,
                    struct gr_images_attrs *attrs, struct gr_pool *pool, struct gr_data_part *part,
                    struct gr_error *err);

#endif
