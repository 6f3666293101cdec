/*
 * The passes of batch_norm over memory.
 *
 * They run on plain memory and on channel blocks of 8 or 16 (nChw8c, nChw16c) alike, so that no
 * reorder comes between convolutions: memory is [N, blocks, HW, lanes], plain being one lane. A
 * block of channels is cut into pieces: a part of an image, so that there is work for all threads
 * also where images and channels are few, or several small images. Sums over a piece are taken in
 * float, over pieces in double; neither pieces nor order depend on the threads. Lanes past the last
 * channel are written as zero.
 *
 * Channels are independent: a few blocks at a time go through all passes while they are in cache.
 */
#ifndef GR_OPS_BATCH_NORM_LOOPS_H
#define GR_OPS_BATCH_NORM_LOOPS_H

#include "base/shape.h"
#include "norm_runs.h"

/* How an image-shaped tensor lies. */
struct gr_norm_form {
    int64_t N, C, HW, lanes, blocks;
    int64_t images, parts; /* of a piece; of an image, where images is 1 */
    int64_t pieces;        /* of a block */
};

/* lanes is 1, 8 or 16. */
struct gr_norm_form gr_norm_form_of(const struct gr_shape *shape, int64_t lanes);

/* Floats of scratch, forward or backward. */
int64_t gr_norm_scratch(const struct gr_norm_form *form);

/* What the passes work with. */
struct gr_norm_work {
    const struct gr_norm_kernel *kernel;
    int threads;
    float *scratch; /* gr_norm_scratch floats */
};

struct gr_norm_forward {
    struct gr_norm_tensor x, addend, y; /* addend.data NULL: none; y may lie where either does */
    const float *weight, *bias;         /* [C], or NULL */
    double eps;
    bool relu;
    bool batch;             /* mean and variance are the batch's, and written; else they are read */
    float *mean, *variance; /* [C] the variance is biased; NULL: not wanted, if batch */
};

/* y = (x - mean) / sqrt(variance + eps) · weight + bias, plus addend, through a ReLU if so asked.
 */
void gr_norm_forward(const struct gr_norm_form *form, const struct gr_norm_work *work,
                     const struct gr_norm_forward *f);

struct gr_norm_backward {
    struct gr_norm_tensor dy, x, dx; /* dx.data NULL: not wanted; it may lie where dy or x does */
    const float *mean, *variance, *weight, *bias; /* [C]; weight and bias may be NULL */
    double eps;
    bool relu;              /* dy is the gradient of a ReLU behind it */
    bool batch;             /* mean and variance are functions of x */
    float *dweight, *dbias; /* [C]; NULL: not wanted */
};

void gr_norm_backward(const struct gr_norm_form *form, const struct gr_norm_work *work,
                      const struct gr_norm_backward *b);

#endif
