/*
 * Weights taken over from another model, with a table of what became of each parameter.
 */
#ifndef GR_TOOLS_TRANSFER_H
#define GR_TOOLS_TRANSFER_H

#include "settings.h"

/* Loads settings->weights by name, tells it on standard error, and returns an exit code. */
int gr_transfer_run(struct gr_model *model, const struct gr_settings *settings);

#endif
