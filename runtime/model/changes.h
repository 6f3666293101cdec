/*
 * What two resolved models differ in, by the keys that `--set` has for it: for whoever goes on with
 * a run with another model than it began with.
 */
#ifndef GR_MODEL_CHANGES_H
#define GR_MODEL_CHANGES_H

#include "base/text.h"

/*
 * Adds "KEY is VALUE, not VALUE; KEY is new; KEY is gone; and N more" for the first keys that
 * differ; nothing where the models are the same, or one cannot be read. `train.checkpoint`, which
 * changes no figure, is left out.
 */
void gr_resolved_changes(struct gr_text *changes, const char *before, const char *after);

#endif
