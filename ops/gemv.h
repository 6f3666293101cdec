/*
 * A matrix times a vector, for a linear layer on a single image: bound by the speed at which the
 * weights come from memory.
 */
#ifndef GR_OPS_GEMV_H
#define GR_OPS_GEMV_H

#include <stdint.h>

/* dst [rows] = matrix [rows, columns] · src [columns] + bias [rows] (NULL: none), on all threads.
 */
void gr_gemv(const float *matrix, const float *src, const float *bias, float *dst, int64_t rows,
             int64_t columns);

#endif
