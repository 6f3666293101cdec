/*
 * The kernels of local response normalisation and max pooling: functions over a row of positions,
 * from which the ops (lrn.c, pool.c, and lrn_pool.c that does both at once) put together their
 * passes over memory.
 *
 * Tensors lie as [N, C / lanes, H, W, lanes]: nChw16c and nChw8c, or plain with one lane. Elements
 * are f32 or bf16; arithmetic is in f32, and what is stored as bf16 is rounded to nearest even.
 */
#ifndef GR_OPS_ROWS_H
#define GR_OPS_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bf16.h"

static inline size_t gr_element_size(bool bf16)
{
    return bf16 ? 2 : 4;
}

/* The address of element i. */
static inline void *gr_element(void *data, int64_t i, bool bf16)
{
    return (char *)data + i * (int64_t)gr_element_size(bf16);
}

static inline const void *gr_element_const(const void *data, int64_t i, bool bf16)
{
    return (const char *)data + i * (int64_t)gr_element_size(bf16);
}

/* ---- local response normalisation -------------------------------------------------------- */

/* dst = src · s^-beta, s = k + scale · Σ src² over the channels at most `radius` away. */
struct gr_lrn_form {
    int64_t channels; /* a multiple of lanes; padding channels are zero and stay so */
    int64_t lanes, radius;
    float scale, beta, k;
};

/*
 * Adjacent positions with all their channels: block b of position w lies from element
 * b · stride + w · lanes.
 */
struct gr_lrn_columns {
    void *data; /* kernels do not write their inputs */
    int64_t stride;
    bool bf16;
};

/*
 * A kernel. src and dst, src and dx agree in bf16. dst may be src; dx may be dy or src. scratch has
 * gr_lrn_scratch floats; it is zero before the first call, and is left for the next as it is.
 */
struct gr_lrn_kernel {
    const char *impl;
    void (*forward)(const struct gr_lrn_form *form, const struct gr_lrn_columns *src,
                    const struct gr_lrn_columns *dst, int64_t width, float *scratch);
    /*
     * dx_i = dy_i s_i^-beta - 2 scale beta · src_i · Σ_j dy_j src_j s_j^(-beta - 1), j in i's
     * window. relu: src is the output of a ReLU, and dx the gradient of its input.
     */
    void (*backward)(const struct gr_lrn_form *form, const struct gr_lrn_columns *dy,
                     const struct gr_lrn_columns *src, const struct gr_lrn_columns *dx,
                     int64_t width, bool relu, float *scratch);
};

/* The fastest kernel here for this form. */
const struct gr_lrn_kernel *gr_lrn_kernel(const struct gr_lrn_form *form, bool bf16);

/* Floats of scratch for one thread. */
int64_t gr_lrn_scratch(const struct gr_lrn_form *form);

/* ---- max pooling ------------------------------------------------------------------------- */

struct gr_pool_form {
    int64_t lanes;
    int64_t kernel[2], stride[2], pad[2]; /* h, w; top, left */
    int64_t h, w, oh, ow;
    bool fetch; /* the source lies in memory and not in the cache: fetch ahead */
};

enum { GR_POOL_MOST = 255 }; /* elements of a window, so that a place in it is a byte */

/* An output row in the backward: of dy, of the workspace and of the pooling's output. */
struct gr_pool_row {
    const void *dy;
    const uint8_t *where;
    const void *y; /* NULL: not read */
    int64_t kh;    /* which row of its windows the source row is */
};

/*
 * The rows of one block of lanes. The workspace holds kh · kernel width + kw of the chosen element
 * for each element of dst: the first largest one in the order of memory. A NaN is chosen only where
 * it comes first.
 */
struct gr_pool_kernel {
    const char *impl;
    /* Row of dst from n source rows, rows[i] being the window's row first + i. */
    void (*max)(const struct gr_pool_form *form, const void *const *rows, int64_t first, int64_t n,
                void *dst, uint8_t *where, bool bf16);
    /*
     * Row of dx, gr_pool_row_floats from the left pad on, from the n output rows whose windows
     * cover it, in their order. With y only what is positive there counts: it is the gradient
     * through a ReLU before the pooling, since a chosen element is the pooling's output.
     */
    void (*spread)(const struct gr_pool_form *form, const struct gr_pool_row *rows, int64_t n,
                   float *dst, bool bf16);
    /* Stores count floats. */
    void (*store)(const float *row, void *dst, int64_t count, bool bf16);
};

const struct gr_pool_kernel *gr_pool_kernel(int64_t lanes, bool bf16);

/* Floats of one block's source row with all that windows reach left and right of it. */
int64_t gr_pool_row_floats(const struct gr_pool_form *form);

/* The windows that cover source row h are those of output rows *first to *last - 1. */
void gr_pool_covering(const struct gr_pool_form *form, int64_t h, int64_t *first, int64_t *last);

/* The source rows *from to *to - 1 that the windows of output row oh cover. */
void gr_pool_covered(const struct gr_pool_form *form, int64_t oh, int64_t *from, int64_t *to);

/*
 * Row h of dx of plane `plane` (which counts blocks of all images) from the whole tensors dy, where
 * and y (or NULL), as gr_pool_kernel.spread gives it.
 */
void gr_pool_backward_row(const struct gr_pool_kernel *kernel, const struct gr_pool_form *form,
                          const void *dy, const uint8_t *where, const void *y, int64_t plane,
                          int64_t h, float *dst, bool bf16);

/* ---- sets of kernels --------------------------------------------------------------------- */

/* For forms with five channels, exponent 0.75 and the set's lanes; NULL: not on this processor. */
const struct gr_lrn_kernel *gr_lrn_kernel_avx512(bool bf16);
const struct gr_lrn_kernel *gr_lrn_kernel_avx2(bool bf16);
extern const struct gr_lrn_kernel gr_lrn_kernel_rows; /* any form */

const struct gr_pool_kernel *gr_pool_kernel_avx512(bool bf16);
const struct gr_pool_kernel *gr_pool_kernel_avx2(bool bf16);
extern const struct gr_pool_kernel gr_pool_kernel_plain; /* any number of lanes */

#endif
