/*
 * Why training diverged.
 */
#ifndef GR_TRAIN_DIVERGENCE_H
#define GR_TRAIN_DIVERGENCE_H

#include "model/model.h"

/*
 * Replaces the error of a step that stopped at a loss that is not finite by one that says where it
 * began: in a parameter, or in a node. The plan is the step's, with the batch still in it and the
 * weights as the step found them.
 */
void gr_diagnose_divergence(struct gr_plan *plan, int64_t step, double rate, struct gr_error *err);

#endif
