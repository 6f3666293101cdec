/*
 * Choices by name: what was found fastest on this machine, so that it need not be measured twice
 * and gives the same bits again. In memory.
 */
#ifndef GR_GRAPH_TUNING_H
#define GR_GRAPH_TUNING_H

#include "base/error.h"

struct gr_tuning;

struct gr_tuning *gr_tuning_new(struct gr_error *err);
void gr_tuning_free(struct gr_tuning *tuning); /* NULL is allowed */

/* The choice recorded under that key, or NULL. */
const char *gr_tuning_find(const struct gr_tuning *tuning, const char *key);

/* Keeps copies; a later choice replaces an earlier one. `seconds` is what the choice took. */
bool gr_tuning_record(struct gr_tuning *tuning, const char *key, const char *choice, double seconds,
                      struct gr_error *err);

/* In the order of their first recording. */
size_t gr_tuning_count(const struct gr_tuning *tuning);
const char *gr_tuning_key(const struct gr_tuning *tuning, size_t index);

#endif
