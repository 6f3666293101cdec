/*
 * The kernels of batch normalisation: functions over a run of adjacent elements, from which
 * batch_norm_loops.c puts together its passes over memory.
 *
 * The channel of element i is that of i % 16 in any layout: in blocks of 16 channels (nChw16c) each
 * has one place in sixteen, in blocks of 8 each has two, and a plain run is of one channel. So what
 * belongs to channels comes, and sums over a run leave, as sixteen floats. Elements are f32 or
 * bf16, each tensor by itself; arithmetic is in f32.
 */
#ifndef GR_OPS_NORM_RUNS_H
#define GR_OPS_NORM_RUNS_H

#include "rows.h"

enum { GR_NORM_PERIOD = 16 };

/* The elements of a tensor from some place on. data NULL: there is none. */
struct gr_norm_tensor {
    void *data; /* kernels do not write their inputs */
    bool bf16;
};

/* Forward, y = (x - mean) · scale + bias. Backward, dx = scale · dy + (x - mean) · slope + shift.
 */
struct gr_norm_channels {
    float mean[GR_NORM_PERIOD], scale[GR_NORM_PERIOD], bias[GR_NORM_PERIOD];
    float shift[GR_NORM_PERIOD], slope[GR_NORM_PERIOD];
};

struct gr_norm_kernel {
    const char *impl;
    /* sum += Σ (x - pivot), square += Σ (x - pivot)² */
    void (*moments)(const float *pivot, struct gr_norm_tensor x, int64_t count, float *sum,
                    float *square);
    /* y, with `addend` (data NULL: none) added to it, then its negative elements zeroed if relu. */
    void (*apply)(const struct gr_norm_channels *channels, struct gr_norm_tensor x,
                  struct gr_norm_tensor addend, struct gr_norm_tensor y, int64_t count, bool relu);
    /* sum += Σ dy, product += Σ dy · (x - mean); if relu, only dy where y is positive counts. */
    void (*sums)(const struct gr_norm_channels *channels, struct gr_norm_tensor dy,
                 struct gr_norm_tensor x, int64_t count, bool relu, float *sum, float *product);
    /* dx, which may be dy or x; if relu, dy counts as zero where y is not positive. */
    void (*gradient)(const struct gr_norm_channels *channels, struct gr_norm_tensor dy,
                     struct gr_norm_tensor x, struct gr_norm_tensor dx, int64_t count, bool relu);
};

/* `lanes`: 16 or 8, of the widest vectors that may be used. */
const struct gr_norm_kernel *gr_norm_kernel(int64_t lanes, bool bf16);

/* NULL: not on this processor. */
const struct gr_norm_kernel *gr_norm_kernel_avx512(bool bf16);
const struct gr_norm_kernel *gr_norm_kernel_avx2(void);
extern const struct gr_norm_kernel gr_norm_kernel_plain;

static inline struct gr_norm_tensor gr_norm_from(struct gr_norm_tensor t, int64_t i)
{
    return (struct gr_norm_tensor){t.data ? gr_element(t.data, i, t.bf16) : NULL, t.bf16};
}

#endif
