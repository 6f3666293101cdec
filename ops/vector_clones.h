/*
 * GR_VECTOR_CLONES for ops; see base/vector_clones.h.
 */
#ifndef GR_OPS_VECTOR_CLONES_H
#define GR_OPS_VECTOR_CLONES_H

#include "base/vector_clones.h"

#endif
