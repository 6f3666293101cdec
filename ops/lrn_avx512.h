/*
 * lrn over five channels with exponent 0.75 (AlexNet's) on nChw16c, for processors with AVX-512:
 * everything stays in registers, and the power is taken by reciprocal square roots.
 */
#ifndef GR_OPS_LRN_AVX512_H
#define GR_OPS_LRN_AVX512_H

#include <stdbool.h>
#include <stdint.h>

/* Is this processor one of them? */
bool gr_lrn_avx512_supported(void);

/*
 * A column is the channels of one position: `blocks` vectors of 16 floats, `stride` floats apart.
 * s = k + scale · Σ src² over the window. The last block's padding lanes must be zero and stay so.
 */
struct gr_lrn_column {
    int64_t blocks, stride;
    float scale, k;
};

/* dst = src · s^-0.75; dst may be src. */
void gr_lrn_avx512_forward(const struct gr_lrn_column *column, const float *src, float *dst);

/* dx = dy · s^-0.75 - 1.5 scale · src · Σ dy · src · s^-1.75 over the window; dx may be dy. */
void gr_lrn_avx512_backward(const struct gr_lrn_column *column, const float *dy, const float *src,
                            float *dx);

#endif
