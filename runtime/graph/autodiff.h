/*
 * Autodiff: emits the gradient nodes of a loss, and the update nodes of a training step, into the
 * graph that holds the loss.
 */
#ifndef GR_GRAPH_AUTODIFF_H
#define GR_GRAPH_AUTODIFF_H

#include "graph/op.h"

struct gr_loss {
    struct gr_value *value; /* a scalar */
    double weight;          /* of it in the sum */
};

/*
 * Emits the gradients of the weighted sum of the losses with respect to every trainable parameter
 * and to each of `wanted` (inputs or results; may be none). gradients[v] is afterwards the gradient
 * of the value with id v, or NULL; the array has n_values (before the call) places and is the
 * caller's to free. Gradients are named "grad:NAME".
 */
bool gr_autodiff(struct gr_graph *graph, const struct gr_loss *losses, size_t n_losses,
                 struct gr_value *const *wanted, size_t n_wanted, struct gr_value ***gradients,
                 struct gr_error *err);

/*
 * Emits an update node of the optimizer for every trainable parameter that has a gradient.
 * rate is the scalar input with the learning rate.
 */
bool gr_emit_updates(struct gr_graph *graph, const struct gr_choice *optimizer,
                     struct gr_value *const *gradients, size_t n_gradients, struct gr_value *rate,
                     struct gr_error *err);

#endif
