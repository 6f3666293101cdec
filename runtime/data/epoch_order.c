/*
 * The order of an epoch; see epoch_order.h.
 */
#include "data/epoch_order.h"

/*
 * Puts the runs that order begins with, as numbers, in their place: backwards, since a run's number
 * stands before the place where it begins. Of `runs` the last may be shorter: it is at short_at.
 */
static void unfold(uint32_t *order, int64_t count, int64_t runs, int64_t short_at)
{
    int64_t end = count;
    for (int64_t r = runs - 1; r >= 0; r--) {
        const int64_t run = order[r];
        const int64_t length = r == short_at ? count - (runs - 1) * GR_ORDER_RUN : GR_ORDER_RUN;
        for (int64_t i = length - 1; i >= 0; i--)
            order[--end] = (uint32_t)(run * GR_ORDER_RUN + i);
    }
}

void gr_epoch_order(uint32_t *order, int64_t count, bool mixed, const struct gr_random_key *key)
{
    const int64_t runs = mixed ? (count + GR_ORDER_RUN - 1) / GR_ORDER_RUN : count;
    int64_t short_at = 0;
    for (int64_t i = 0; i < runs; i++)
        order[i] = (uint32_t)i;
    gr_random_shuffle(key, order, runs);
    if (!mixed)
        return;
    while (short_at < runs - 1 && order[short_at] != runs - 1)
        short_at++;
    unfold(order, count, runs, short_at);
    for (int64_t first = 0; first < count; first += GR_ORDER_WINDOW) {
        const int64_t left = count - first;
        struct gr_random_key window = *key;
        window.minor = (uint32_t)(1 + first / GR_ORDER_WINDOW);
        gr_random_shuffle(&window, order + first, left < GR_ORDER_WINDOW ? left : GR_ORDER_WINDOW);
    }
}
