/*
 * What is common to all ops; see op.h.
 */
#include "graph/op.h"

#include <string.h>

const struct gr_layout gr_layout_plain = {0, "plain", GR_F32};

size_t gr_layout_bytes(const struct gr_layout *layout, const struct gr_value *value)
{
    if (layout && layout != &gr_layout_plain)
        return layout->bytes;
    return (size_t)gr_shape_count(&value->shape) * gr_dtype_size(value->dtype);
}

void gr_kernel_release(struct gr_kernel *kernel)
{
    if (kernel->free_state)
        kernel->free_state(kernel->state);
    *kernel = (struct gr_kernel){0};
}

const char *gr_node_key(const struct gr_node *node)
{
    return node->origin ? node->origin->name : node->name;
}

enum gr_dtype gr_layout_dtype(const struct gr_layout *layout, const struct gr_value *value)
{
    return layout && layout != &gr_layout_plain ? layout->dtype : value->dtype;
}

int gr_node_updated(const struct gr_node *node)
{
    return node->op->flags & GR_OP_OPTIMIZER ? 1 + node->op->n_states(node->attrs)
                                             : node->op->n_updated;
}

bool gr_node_writes(const struct gr_node *node, int i)
{
    return i < gr_node_updated(node) || i >= node->n_inputs - node->n_copies;
}

const struct gr_op *gr_registry_find(const struct gr_registry *registry, const char *name)
{
    for (size_t i = 0; i < registry->n_ops; i++)
        if (strcmp(registry->ops[i]->kind.name, name) == 0)
            return registry->ops[i];
    return NULL;
}
