/*
 * Renaming tensors of a file to the names of a model: "OLD=NEW".
 */
#ifndef GR_MODEL_RENAME_H
#define GR_MODEL_RENAME_H

#include "base/pool.h"
#include "base/text.h"

/*
 * The name by the first renaming that fits, or the name itself. used[i] is set for that one. NULL:
 * out of memory.
 */
const char *gr_rename(const char *const *renames, size_t n_renames, const char *name, bool *used,
                      struct gr_pool *pool);

/* Is each of the form OLD=NEW, with as many "*" in NEW as in OLD? A usage error if not. */
bool gr_renames_check(const char *const *renames, size_t n_renames, struct gr_error *err);

#endif
