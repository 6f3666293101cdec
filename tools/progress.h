/*
 * How training and evaluation show that they advance, on standard error: on a terminal one line
 * that is rewritten, elsewhere a line every ten seconds; and in training one line for each epoch.
 */
#ifndef GR_TOOLS_PROGRESS_H
#define GR_TOOLS_PROGRESS_H

#include "graphrunner.h"

/* Zero-initialised but for quiet and epoch_lines is ready. */
struct gr_display {
    bool quiet;
    bool epoch_lines;         /* sum up each epoch: training */
    double shown;             /* when a line was last shown, in seconds */
    double epoch_started;     /* when the first report of this epoch came */
    int64_t epoch;            /* that it belongs to */
    struct gr_progress train; /* the result of its training stage, until it is told */
    bool has_train;
};

/* The callback; user is the display. Asks to stop once a signal came. */
bool gr_display_progress(void *user, const struct gr_progress *progress);

/* Tells what is still untold and leaves the line clear. */
void gr_display_end(struct gr_display *display);

#endif
