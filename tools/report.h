/*
 * Results as JSON.
 */
#ifndef GR_TOOLS_REPORT_H
#define GR_TOOLS_REPORT_H

#include <jansson.h>

#include "graphrunner.h"

/*
 * Prints the object to standard output, on one line or over several, and gives it up. NULL stands
 * for one that could not be built. Returns an exit code.
 */
int gr_report_json(json_t *json, bool one_line);

/* Appends the item to a list and gives it up; if it cannot, the list too, and *list is NULL. */
void gr_report_add(json_t **list, json_t *item);

/* The figures as an object, NaN and infinity as null; NULL: out of memory. */
json_t *gr_report_metrics(const struct gr_metric *metrics, int count);

/* A number, or null where JSON has none. */
json_t *gr_report_number(double value);

#endif
