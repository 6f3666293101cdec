/*
 * A data source opened as training opens it, and its first samples read.
 */
#ifndef GR_FUZZ_SOURCE_CASE_H
#define GR_FUZZ_SOURCE_CASE_H

#include "data/kinds.h"
#include "data/source.h"

/*
 * Opens the source, with three-channel images of a model of `classes` classes (0: any), through a
 * crop if `cropped`, and reads samples. attrs are the source's.
 */
void gr_fuzz_source(const struct gr_source *source, const void *attrs, int64_t classes,
                    bool cropped);

/* The source's attributes by default, on the heap, forever. */
void *gr_fuzz_attrs(const struct gr_source *source);
void gr_fuzz_set(void *attrs, const struct gr_source *source, const char *name, const char *text);

#endif
