/*
 * The order in which an epoch goes through samples that are to be shuffled.
 *
 * All of them at once, as a rule. Where neighbours lie side by side on disk and were mixed before
 * (a pack), the epoch goes through windows of GR_ORDER_WINDOW samples, each made of random runs of
 * GR_ORDER_RUN neighbours and shuffled within: what is read next is then known long before, and
 * lies in long stretches.
 */
#ifndef GR_DATA_EPOCH_ORDER_H
#define GR_DATA_EPOCH_ORDER_H

#include "base/random.h"

#include <stdbool.h>

enum { GR_ORDER_RUN = 64, GR_ORDER_WINDOW = 4096 };

/* Fills in order [count], a permutation that depends on the key, count and mixed alone. */
void gr_epoch_order(uint32_t *order, int64_t count, bool mixed, const struct gr_random_key *key);

#endif
