/*
 * How the images of each class fared in an evaluation.
 */
#ifndef GR_TOOLS_CLASSES_H
#define GR_TOOLS_CLASSES_H

#include <jansson.h>

#include "graphrunner.h"

/* Prints the classes from the worst to the best: the ends of the list where it is long. */
int gr_classes_print(const struct gr_class_result *classes, int64_t count);

/* All, in their order; NULL: out of memory. */
json_t *gr_classes_json(const struct gr_class_result *classes, int64_t count);

#endif
