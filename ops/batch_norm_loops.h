/*
 * The loops of batch_norm over memory.
 *
 * They run on plain memory and on channel blocks of 8 or 16 (nChw8c, nChw16c) alike, so that no
 * reorder comes between convolutions: memory is [N, blocks, HW, lanes], plain being one lane. A
 * slab is one [HW, lanes] of it. Sums over a slab are taken in float, over slabs in double, in an
 * order that does not depend on the threads. Lanes past the last channel are written as zero.
 */
#ifndef GR_OPS_BATCH_NORM_LOOPS_H
#define GR_OPS_BATCH_NORM_LOOPS_H

#include "graph/op.h"

/* How an image-shaped tensor lies. */
struct gr_norm_form {
    int64_t N, C, HW, lanes, blocks;
};

/* The lanes of a layout that the loops can run on; 1 for any other, which must then be made plain.
 */
int64_t gr_norm_lanes(const struct gr_layout *layout);

/* lanes is 1, 8 or 16. */
struct gr_norm_form gr_norm_form_of(const struct gr_shape *shape, int64_t lanes);

/* Channels with the padding lanes: the length of an array indexed by block and lane. */
int64_t gr_norm_padded(const struct gr_norm_form *form);

/* y = (x - mean) · scale + bias, [padded] each; all zero in padding lanes. */
struct gr_norm_affine {
    float *mean, *scale, *bias;
};

/* y may be x. */
void gr_norm_apply(const struct gr_norm_form *form, const float *x, float *y,
                   const struct gr_norm_affine *affine);

/*
 * The batch's mean and biased variance of each channel, [C] each. scratch is [2, N, padded].
 */
void gr_norm_moments(const struct gr_norm_form *form, const float *x, float *scratch, float *mean,
                     float *variance);

/*
 * The sums of dy and of dy · (x - mean) of each channel, [C] each; mean is [padded], scratch
 * [2, N, padded].
 */
void gr_norm_sums(const struct gr_norm_form *form, const float *dy, const float *x,
                  const float *mean, float *scratch, double *sum, double *product);

/* dx = scale · (dy - shift - (x - mean) · slope), [padded] each; all zero in padding lanes. */
struct gr_norm_slope {
    float *mean, *scale, *shift, *slope;
};

/* dx may be dy or x. */
void gr_norm_gradient(const struct gr_norm_form *form, const float *dy, const float *x, float *dx,
                      const struct gr_norm_slope *slope);

#endif
