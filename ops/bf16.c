/*
 * Runs of bf16; see bf16.h.
 */
#include "bf16.h"

#include "vector_clones.h"

GR_VECTOR_CLONES
void gr_bf16_widen(const uint16_t *src, float *dst, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        dst[i] = gr_from_bf16(src[i]);
}

GR_VECTOR_CLONES
void gr_bf16_narrow(const float *src, uint16_t *dst, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        dst[i] = gr_to_bf16(src[i]);
}
