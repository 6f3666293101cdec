/*
 * The parameter store: the tensors that persist between runs (weights, statistics, optimizer
 * states), by name, shared by every program compiled from a model. Each lies in the layout that the
 * first program to use it preferred; what goes in and out is plain f32.
 */
#ifndef GR_GRAPH_PARAMS_H
#define GR_GRAPH_PARAMS_H

#include "graph/op.h"

struct gr_stored {
    struct gr_value value; /* name, shape, dtype, kind; owned copies */
    const struct gr_layout
        *layout;      /* NULL until a program lays it out; then the data exist as such */
    void *data;       /* 64-byte aligned; plain while layout is NULL */
    uint64_t version; /* rises with each write from outside or update */
    bool zero;        /* nothing but the zeros it began with, until it is laid out */
};

struct gr_params;

/* Borrows registry and backend. The seed draws the initial weights. NULL and *err on failure. */
struct gr_params *gr_params_new(const struct gr_registry *registry, struct gr_backend *backend,
                                uint64_t seed, struct gr_error *err);
void gr_params_free(struct gr_params *params);

/* The stored tensor of a parameter or state value, made and initialised if it is new. */
struct gr_stored *gr_params_obtain(struct gr_params *params, const struct gr_value *value,
                                   struct gr_error *err);

struct gr_stored *gr_params_find(const struct gr_params *params, const char *name); /* or NULL */
size_t gr_params_count(const struct gr_params *params);
struct gr_stored *gr_params_at(const struct gr_params *params,
                               size_t index); /* in order of creation */

/* Moves the data into that layout, once, before anything depends on it. */
bool gr_params_lay_out(struct gr_params *params, struct gr_stored *stored,
                       const struct gr_layout *layout, struct gr_error *err);

/* Plain f32 out of and into the store; count elements must agree. */
bool gr_params_get(const struct gr_params *params, const struct gr_stored *stored, float *data,
                   size_t count, struct gr_error *err);
bool gr_params_set(struct gr_params *params, struct gr_stored *stored, const float *data,
                   size_t count, struct gr_error *err);

#endif
