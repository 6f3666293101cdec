/*
 * What a checkpoint was made on: all that decides its last digits beside seed and model.
 */
#ifndef GR_TRAIN_MADE_ON_H
#define GR_TRAIN_MADE_ON_H

#include "model/model.h"

enum { GR_MADE_ON_FACTS = 8, GR_MADE_ON_TEXT = 128 };

extern const char *const gr_made_on_keys[GR_MADE_ON_FACTS]; /* in the metadata: "made_on.isa" */

struct gr_made_on {
    char facts[GR_MADE_ON_FACTS][GR_MADE_ON_TEXT];
};

/* This machine, with the context's threads and the plan's precision and batch. */
void gr_made_on_init(struct gr_made_on *made_on, const struct gr_context *context,
                     const struct gr_plan_options *options);

/* Warns in one line of what differs from the file's; true: nothing does. */
bool gr_made_on_compare(const struct gr_tensor_file *file, const struct gr_context *context,
                        const struct gr_plan_options *options);

#endif
