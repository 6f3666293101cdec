/*
 * What a pixel of a resized row or column is made of; shared by the plain loops (resize.c) and
 * those in vectors (pixels.h).
 */
#ifndef GR_DATA_TAPS_H
#define GR_DATA_TAPS_H

#include <stdint.h>

enum {
    GR_WEIGHT_BITS = 14,
    GR_TAPS_GROUP = 4, /* weights stand in groups of four; behind the last of `count` are zeros */
};

/* count source positions from first on, with weights that sum to 1 << GR_WEIGHT_BITS. */
struct gr_taps {
    int64_t first;
    int32_t count;
    int16_t *weight;
};

#endif
