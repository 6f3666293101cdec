/*
 * A matrix times a vector; see gemv.h. Eight rows at a time: each is a stream from memory of its
 * own, and more streams keep the memory busier.
 *
 * Vectors are the compiler's, of a cache line; it splits them where the processor's are smaller.
 */
#include "gemv.h"

#include <string.h>

#include "vector_clones.h"

enum { LANES = 16, ROWS = 8 };

typedef float floats __attribute__((vector_size(4 * LANES)));

/* Whole vectors of columns. */
static inline __attribute__((always_inline)) void
add_rows(const float *matrix, const float *src, int64_t rows, int64_t columns, floats *sums)
{
    for (int64_t i = 0; i + LANES <= columns; i += LANES) {
        floats x, m;
        memcpy(&x, src + i, sizeof x);
        for (int64_t r = 0; r < rows; r++) {
            memcpy(&m, matrix + r * columns + i, sizeof m);
            sums[r] += m * x;
        }
    }
}

static inline __attribute__((always_inline)) void fold(const floats *sums, int64_t rows, float *dst)
{
    for (int64_t r = 0; r < rows; r++) {
        float sum = 0;
        for (int l = 0; l < LANES; l++)
            sum += sums[r][l];
        dst[r] = sum;
    }
}

GR_VECTOR_CLONES
static void eight_rows(const float *matrix, const float *src, float *dst, int64_t columns)
{
    floats sums[ROWS] = {0};
    add_rows(matrix, src, ROWS, columns, sums);
    fold(sums, ROWS, dst);
}

GR_VECTOR_CLONES
static void one_row(const float *matrix, const float *src, float *dst, int64_t columns)
{
    floats sums[1] = {0};
    add_rows(matrix, src, 1, columns, sums);
    fold(sums, 1, dst);
}

void gr_gemv(const float *matrix, const float *src, const float *bias, float *dst, int64_t rows,
             int64_t columns)
{
    const int64_t eights = rows / ROWS, whole = columns / LANES * LANES;
#pragma omp parallel for schedule(static)
    for (int64_t e = 0; e < eights; e++)
        eight_rows(matrix + ROWS * e * columns, src, dst + ROWS * e, columns);
    for (int64_t r = ROWS * eights; r < rows; r++)
        one_row(matrix + r * columns, src, dst + r, columns);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = whole; i < columns; i++)
            dst[r] += matrix[r * columns + i] * src[i];
        dst[r] += bias ? bias[r] : 0;
    }
}
