/*
 * Initial weights: constant, gaussian, uniform, xavier, he, as a table of kinds.
 */
#ifndef GR_GRAPH_INITIALISE_H
#define GR_GRAPH_INITIALISE_H

#include "graph/graph.h"

extern const struct gr_kind *const gr_initialisers[]; /* ends with NULL */

/* The initialiser of that name, or NULL. */
const struct gr_kind *gr_initialiser_find(const char *name);

/* A chosen constant, allocated from the pool; kind NULL when memory runs out. */
struct gr_choice gr_initialiser_constant(double value, struct gr_pool *pool);

/*
 * Fills data (plain f32, the value's count) as value->parameter->init says; the numbers depend on
 * the seed and the value's name alone.
 */
void gr_initialise(const struct gr_value *value, uint64_t seed, float *data);

#endif
