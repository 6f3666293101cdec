/*
 * Broadcasting the second operand of add and mul, and its gradient.
 *
 * As in NumPy and ONNX: shapes are aligned at their last dimension; the second operand may have
 * fewer dimensions, and each of its dimensions is the first operand's or 1. The first operand is
 * never broadcast: the result has its shape.
 */
#ifndef GR_OPS_BROADCAST_H
#define GR_OPS_BROADCAST_H

#include "graph/op.h"

/* The shape rule of add and mul for input 1: an error naming both inputs, or true. */
bool gr_broadcast_expect(const struct gr_node *node, struct gr_error *err);

enum gr_broadcast_kind { GR_BROADCAST_ADD, GR_BROADCAST_MUL };

/* Plans the kernel that adds or multiplies inputs 0 and 1 of different shapes, all plain. */
bool gr_broadcast_plan(struct gr_planning *planning, enum gr_broadcast_kind kind,
                       struct gr_error *err);

/* As gr_op.primitive of adding or multiplying two inputs, of one shape or broadcast. */
bool gr_broadcast_primitive(struct gr_planning *planning, enum gr_broadcast_kind kind,
                            struct gr_error *err);

/*
 * gr_op_reduce_like (ops.h): the sum of input 0 over the dimensions that its output repeats; with
 * two inputs (equal shapes), of their product. Accumulates in double precision, in an order that
 * does not depend on the threads.
 */

#endif
