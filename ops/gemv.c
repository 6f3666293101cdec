/*
 * A matrix times a vector; see gemv.h. Four rows at a time: each is a stream from memory of its
 * own, and more streams keep the memory busier.
 */
#include "gemv.h"

#include "vector_clones.h"

GR_VECTOR_CLONES
static void four_rows(const float *m, const float *x, float *dst, int64_t columns)
{
    const float *m1 = m + columns, *m2 = m1 + columns, *m3 = m2 + columns;
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (int64_t i = 0; i < columns; i++) {
        s0 += m[i] * x[i];
        s1 += m1[i] * x[i];
        s2 += m2[i] * x[i];
        s3 += m3[i] * x[i];
    }
    dst[0] = s0;
    dst[1] = s1;
    dst[2] = s2;
    dst[3] = s3;
}

GR_VECTOR_CLONES
static float one_row(const float *m, const float *x, int64_t columns)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < columns; i++)
        sum += m[i] * x[i];
    return sum;
}

void gr_gemv(const float *matrix, const float *src, const float *bias, float *dst, int64_t rows,
             int64_t columns)
{
    const int64_t fours = rows / 4;
#pragma omp parallel for schedule(static)
    for (int64_t f = 0; f < fours; f++)
        four_rows(matrix + 4 * f * columns, src, dst + 4 * f, columns);
    for (int64_t r = 4 * fours; r < rows; r++)
        dst[r] = one_row(matrix + r * columns, src, columns);
    for (int64_t r = 0; bias && r < rows; r++)
        dst[r] += bias[r];
}
