/*
 * Local response normalisation and max pooling as one node; see lrn_pool.c.
 */
#ifndef GR_OPS_LRN_POOL_H
#define GR_OPS_LRN_POOL_H

#include "graph/op.h"

/* As gr_op.fuse of lrn: takes over a max_pool. */
bool gr_lrn_pool_fuse(struct gr_node *node, const struct gr_node *consumer);

/* As gr_op.fuse of the backward of max_pool: takes over the backward of lrn. */
bool gr_lrn_pool_fuse_backward(struct gr_node *node, const struct gr_node *consumer);

#endif
