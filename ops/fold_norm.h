/*
 * Folding a batch norm into the convolution or linear layer before it, for inference.
 */
#ifndef GR_OPS_FOLD_NORM_H
#define GR_OPS_FOLD_NORM_H

#include "graph/op.h"

/*
 * If consumer is a batch norm that uses its running statistics, gives node (inputs: src, weight,
 * maybe bias) a weight and a bias that do its work, computed by a new node, and returns true. The
 * caller then sees to it that its kernel adds the bias.
 */
bool gr_fold_norm(struct gr_node *node, const struct gr_node *consumer, bool has_bias);

#endif
