/*
 * sgd's arithmetic, for kernels that update a parameter as soon as they have its gradient.
 */
#ifndef GR_OPS_SGD_H
#define GR_OPS_SGD_H

#include "bf16_copy.h"
#include "ops.h"

/* Floats that are updated at a time, with their copies: all that a step touches of them is in L1.
 */
enum { GR_SGD_CHUNK = 4096, GR_SGD_COPIES = 4 };

/* The copies of a parameter that an update node also writes (gr_node.n_copies). */
struct gr_sgd_copies {
    int count, input; /* input: the first of them among the node's */
    struct gr_bf16_copy copy[GR_SGD_COPIES];
};

/* One parameter's step, or that of a part of it: arrays of count floats and factors. */
struct gr_sgd_step {
    float *restrict w;
    float *restrict v; /* NULL: no momentum */
    const float *restrict g;
    int64_t count;
    float rate, decay, momentum;
    bool nesterov;
    /* NULL: none. first: where w lies in the whole parameter, a multiple of a chunk. */
    const struct gr_sgd_copies *copies;
    void *const *src; /* the node's inputs, copies last */
    int64_t first;
};

/* The factors of an update node at this learning rate; arrays are NULL. */
struct gr_sgd_step gr_sgd_step(const struct gr_node *update, float rate);

/* On all threads, or on the calling one. */
void gr_sgd_apply(const struct gr_sgd_step *step);
void gr_sgd_apply_part(const struct gr_sgd_step *step);

/* The floats of whole blocks, as copies have them, that make up a chunk. */
int64_t gr_sgd_chunk(const struct gr_sgd_copies *copies);

/* Plans the copies among planning's inputs, which stay where they lie; the parameter is input 0. */
bool gr_sgd_plan_copies(struct gr_planning *planning, struct gr_sgd_copies *copies,
                        struct gr_error *err);

/* As gr_op.renews. */
bool gr_sgd_renews(const struct gr_value *parameter, const struct gr_layout *from,
                   const struct gr_layout *to);

#endif
