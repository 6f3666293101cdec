/*
 * Why training diverged.
 */
#ifndef GR_TRAIN_DIVERGENCE_H
#define GR_TRAIN_DIVERGENCE_H

#include "model/model.h"

/*
 * Replaces the error of a step (counting from 1) that stopped at a loss that is not finite by one
 * that says where it began: in a parameter, or in a node. The plan is the step's, with the batch
 * still in it and the weights as the step found them.
 */
void gr_diagnose_divergence(struct gr_plan *plan, int64_t step, double rate, struct gr_error *err);

/*
 * Are all parameters and states finite after that step, as a state worth keeping must be? A
 * divergence error names the first that is not and the node that wrote it.
 */
bool gr_check_divergence(const struct gr_plan *plan, int64_t step, double rate,
                         struct gr_error *err);

#endif
