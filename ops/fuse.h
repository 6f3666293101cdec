/*
 * What the fuse functions of several ops share.
 */
#ifndef GR_OPS_FUSE_H
#define GR_OPS_FUSE_H

#include "graph/op.h"

/* The other operand, if consumer adds one of the same shape to node's first output; else NULL. */
struct gr_value *gr_fuse_addend(const struct gr_node *node, const struct gr_node *consumer);

/* Gives node one more input, the last. False: out of memory, nothing changed. */
bool gr_fuse_input(struct gr_node *node, struct gr_value *input);

#endif
