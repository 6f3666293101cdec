/*
 * bf16 copies of f32 tensors whose layouts have the same blocks of elements, each turned within
 * itself: the layouts in which the forward and the backward kernels of a layer read its weight are
 * such copies of that in which its gradient comes. A copy is written block by block, so that an
 * update can write it of the part of the weight that it has in cache (sgd.h).
 */
#ifndef GR_OPS_BF16_COPY_H
#define GR_OPS_BF16_COPY_H

#include "onednn.h"

/* How a block [rows, lanes] of the source lies in the copy. */
enum gr_bf16_turn {
    GR_BF16_SAME,        /* [rows, lanes]: any run of elements is a block */
    GR_BF16_PAIRS,       /* [rows / 2, lanes, 2] */
    GR_BF16_CROSS_PAIRS, /* [lanes / 2, rows, 2] */
};

struct gr_bf16_copy {
    enum gr_bf16_turn turn;
    int64_t rows, lanes; /* of a block; SAME: 1 and GR_BF16_RUN */
    int64_t count;       /* elements in all, padding included */
    int n_dims;          /* of the blocks that the copy has in another order; 0: in the same */
    int64_t size[DNNL_MAX_NDIMS], stride[DNNL_MAX_NDIMS]; /* in the copy, outermost of src first */
};

enum { GR_BF16_RUN = 1024 };

/* Is the layout `to` such a copy of `from`? *copy is then set. */
bool gr_bf16_copy_init(struct gr_bf16_copy *copy, gr_md from, gr_md to);

/*
 * Writes `count` elements of the copy: those of the source from element `first` on, which src
 * points at. Both are multiples of rows * lanes, or reach to the end of the tensor. dst: the whole
 * copy, 64-byte aligned. streams: it is not read soon, and need not stay in the caches.
 */
void gr_bf16_copy_write(const struct gr_bf16_copy *copy, const float *src, int64_t first,
                        int64_t count, bool streams, uint16_t *dst);

#endif
