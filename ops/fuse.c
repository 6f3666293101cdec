/*
 * See fuse.h.
 */
#include "fuse.h"

#include <string.h>

#include "ops.h"

struct gr_value *gr_fuse_addend(const struct gr_node *node, const struct gr_node *consumer)
{
    if (consumer->op != &gr_op_add || consumer->n_inputs != 2)
        return NULL;
    struct gr_value *other = consumer->inputs[consumer->inputs[0] == node->outputs[0]];
    return gr_shape_equal(&other->shape, &node->outputs[0]->shape) ? other : NULL;
}

bool gr_fuse_input(struct gr_node *node, struct gr_value *input)
{
    enum { MOST = 8 };
    struct gr_value *inputs[MOST];
    if (node->n_inputs == MOST)
        return false;
    memcpy(inputs, node->inputs, (size_t)node->n_inputs * sizeof(struct gr_value *));
    inputs[node->n_inputs] = input;
    return gr_node_set_inputs(node, inputs, node->n_inputs + 1);
}
