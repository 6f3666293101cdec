/*
 * Elementwise kernels: dst[i] = f(src[0][i], src[1][i], ...), whatever the order of the elements in
 * memory, as long as all operands share it. Each operand may be stored as f32 or bf16: the loop is
 * over blocks that stay in the first-level cache, as floats, and what is stored as bf16 is rounded
 * to nearest even.
 *
 * The loop runs over padding too, which is zero: an op whose f(0) is not 0 must not use this.
 */
#ifndef GR_OPS_ELEMENTWISE_H
#define GR_OPS_ELEMENTWISE_H

#include "loops.h"

/* Most of the elements that are in work at a time. */
enum { GR_ELEMENTWISE_BLOCK = 512 };

/* Computes n elements. dst may be any of src. */
typedef void gr_elementwise_fn(const struct gr_node *node, const float *const *src, float *dst,
                               int64_t n);

/*
 * Plans dst = f(the first n_src inputs), at most three, all of the first output's shape; further
 * inputs are read plain. The order is that of the first operand which is not plain, and the result
 * is bf16 if an operand is. It may take over any operand's buffer. False: out of memory.
 */
bool gr_elementwise_plan(struct gr_planning *planning, int n_src, gr_elementwise_fn *function,
                         struct gr_error *err);

/* Computes n elements stored as bf16 on their bits alone. dst may be any of src. */
typedef void gr_elementwise_bits_fn(const uint16_t *const *src, uint16_t *dst, int64_t n);

/* After gr_elementwise_plan: what to do instead where all operands are bf16. */
void gr_elementwise_by_bits(struct gr_kernel *kernel, gr_elementwise_bits_fn *bits);

/*
 * As gr_elementwise_plan with a loop of the op's own, for any number of operands, which reads and
 * writes by the functions below. order: a layout with the order to take; NULL: as above.
 */
bool gr_elementwise_plan_loop(struct gr_planning *planning, int n_src,
                              const struct gr_layout *order, gr_kernel_run_fn *run,
                              struct gr_error *err);

/* The elements in memory, padding included. */
int64_t gr_elementwise_count(const struct gr_kernel *kernel);

/* Elements at to at + n - 1 of input i: where they lie, or in block [n]. */
const float *gr_elementwise_read(const struct gr_kernel *kernel, const struct gr_buffers *buffers,
                                 int i, int64_t at, int64_t n, float *block);

/* Where to compute those elements of the output: in memory, or in block [n]. */
float *gr_elementwise_place(const struct gr_kernel *kernel, const struct gr_buffers *buffers,
                            int64_t at, float *block);

/* Brings them from there, or from a block of one's own, into memory. */
void gr_elementwise_write(const struct gr_kernel *kernel, const struct gr_buffers *buffers,
                          int64_t at, int64_t n, const float *from);

/*
 * The layout that has the order of another and elements of this type: plain, nhwc, nChw16c or
 * nChw8c. NULL: none is known, or out of memory, which the planning then remembers.
 */
const struct gr_layout *gr_elementwise_order(struct gr_planning *planning,
                                             const struct gr_value *value,
                                             const struct gr_layout *layout, enum gr_dtype dtype);

#endif
