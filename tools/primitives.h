/*
 * A model's steps against the sum of its own primitives (gr_primitives): figures, a table, JSON.
 */
#ifndef GR_TOOLS_PRIMITIVES_H
#define GR_TOOLS_PRIMITIVES_H

#include <jansson.h>

#include "graphrunner.h"
#include "table.h"

/* Zero-initialised is none. */
struct gr_yardstick {
    struct gr_primitives *primitives;
    double step_seconds; /* of the better round; 0: nothing measured yet */
};

void gr_yardstick_release(struct gr_yardstick *yardstick);

/* After a round of steps, of which this was the median: measures the primitives. */
bool gr_yardstick_measure(struct gr_yardstick *yardstick, double step_seconds,
                          struct gr_error *err);

/* Adds rows of a name, a figure and a remark to a table of three columns. */
void gr_yardstick_add_rows(const struct gr_yardstick *yardstick, struct gr_table *table);

/* A table of the primitives, in order of execution. Returns an exit code. */
int gr_yardstick_print(const struct gr_yardstick *yardstick);

/*
 * Adds "primitives_seconds", "primitives_step_seconds", "primitives_ratio", "primitives_count" and
 * "primitives_none" to an object, and with rows "primitives". False: out of memory.
 */
bool gr_yardstick_add_json(const struct gr_yardstick *yardstick, bool rows, json_t *object);

#endif
