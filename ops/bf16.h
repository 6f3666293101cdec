/*
 * bf16: the upper half of an f32.
 */
#ifndef GR_OPS_BF16_H
#define GR_OPS_BF16_H

#include <stdint.h>
#include <string.h>

static inline float gr_from_bf16(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The nearest, of two the even one. A NaN stays one, made quiet. */
static inline uint16_t gr_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t even = bits + 0x7fff + (bits >> 16 & 1), nan = bits | 0x400000;
    return (uint16_t)((x != x ? nan : even) >> 16);
}

/* Count elements, by vectors. */
void gr_bf16_widen(const uint16_t *src, float *dst, int64_t count);
void gr_bf16_narrow(const float *src, uint16_t *dst, int64_t count);

#endif
