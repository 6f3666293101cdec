/*
 * The table of `train --watch`, on standard error like all that tells of progress.
 */
#ifndef GR_TOOLS_WATCH_H
#define GR_TOOLS_WATCH_H

#include "graphrunner.h"

/* The callback of gr_train_options; user is not looked at. */
void gr_watch_print(void *user, const struct gr_watch *watch);

#endif
