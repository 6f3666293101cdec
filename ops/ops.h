/*
 * Every op of the library by its C name; registry.c makes the table of them.
 */
#ifndef GR_OPS_OPS_H
#define GR_OPS_OPS_H

#include "graph/op.h"

/* In what type kernels that have a choice read and write activations. */
static inline enum gr_dtype gr_planning_dtype(const struct gr_planning *planning)
{
    return planning->precision == GR_PRECISION_BF16 ? GR_BF16 : GR_F32;
}

/* Plain loops of our own (loops.h). */
extern const struct gr_op gr_op_softmax;
extern const struct gr_op gr_op_softmax_cross_entropy;
extern const struct gr_op gr_op_accuracy;
extern const struct gr_op gr_op_dropout;
extern const struct gr_op gr_op_add;
extern const struct gr_op gr_op_mul;
extern const struct gr_op gr_op_concat;
extern const struct gr_op gr_op_flatten;
extern const struct gr_op gr_op_reshape;
extern const struct gr_op gr_op_batch_norm;
extern const struct gr_op gr_op_sgd;

/* oneDNN, with OpenBLAS or plain loops beside it. */
extern const struct gr_op gr_op_conv;
extern const struct gr_op gr_op_linear;
extern const struct gr_op gr_op_max_pool;
extern const struct gr_op gr_op_avg_pool;
extern const struct gr_op gr_op_global_avg_pool;
extern const struct gr_op gr_op_lrn;
extern const struct gr_op gr_op_relu;
extern const struct gr_op gr_op_leaky_relu;
extern const struct gr_op gr_op_elu;
extern const struct gr_op gr_op_sigmoid;
extern const struct gr_op gr_op_tanh;
extern const struct gr_op gr_op_gelu;
extern const struct gr_op gr_op_silu;

/* Emitted by passes and by gradient rules, never written in a model file. */
extern const struct gr_op gr_op_sum;         /* registry->sum */
extern const struct gr_op gr_op_fill;        /* registry->fill */
extern const struct gr_op gr_op_reduce_like; /* the gradient of a broadcast operand (broadcast.c) */

extern const struct gr_op gr_op_reorder; /* registry->reorder */
extern const struct gr_op gr_op_activation_backward;

#endif
