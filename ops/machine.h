/*
 * What this machine can do at best: the measure that a node's time is held against.
 */
#ifndef GR_OPS_MACHINE_H
#define GR_OPS_MACHINE_H

#include "graph/op.h"

/* Measures with the backend's threads; its registry's `measure`. */
bool gr_machine_measure(struct gr_backend *backend, struct gr_peak *peak, struct gr_error *err);

#endif
