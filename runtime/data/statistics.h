/*
 * The colours of training data: mean and covariance of its pixels, and the covariance's principal
 * components, which centre a network's input and drive AlexNet's colour jitter. They are counted
 * where data are packed, kept with the pack, and travel in the weights of what is trained on it.
 */
#ifndef GR_DATA_STATISTICS_H
#define GR_DATA_STATISTICS_H

#include "data/image.h"

#include <jansson.h>

enum { GR_RGB = 3, GR_PRODUCTS = 6 };

/*
 * Sums over pixels from 0 to 255, exact, so that they are the same in whatever order and in however
 * many parts they are made: up to 2.8e14 pixels. Of one channel, the first of each is in use.
 */
struct gr_pixel_sums {
    uint64_t count;
    uint64_t sum[GR_RGB];
    uint64_t product[GR_PRODUCTS]; /* rr, rg, rb, gg, gb, bb */
};

/* Every pixel of a view of 1 or 3 channels whose columns are dense. */
void gr_pixel_sums_add(struct gr_pixel_sums *sums, const struct gr_view *view);
void gr_pixel_sums_merge(struct gr_pixel_sums *sums, const struct gr_pixel_sums *more);

/*
 * Mean and covariance of sums of at least one pixel, and by LAPACK its eigenvalues, the largest
 * first, with orthonormal eigenvectors. Of the two directions of an eigenvector the one is taken
 * whose component of largest magnitude (the first of several) is positive. channels is 1 or 3.
 */
bool gr_statistics_compute(const struct gr_pixel_sums *sums, int channels,
                           struct gr_statistics *statistics, struct gr_error *err);

/* As a JSON object; NULL: out of memory. Read back, it has the same bits. */
json_t *gr_statistics_json(const struct gr_statistics *statistics);

/* The same as text; on the heap. */
char *gr_statistics_text(const struct gr_statistics *statistics);

/* False, with nothing known, where the object is none of these. */
bool gr_statistics_parse(const json_t *json, struct gr_statistics *statistics);

/* The same of a text, which may be NULL; false, too, with *err set, when memory runs out. */
bool gr_statistics_parse_text(const char *text, struct gr_statistics *statistics,
                              struct gr_error *err);

#endif
