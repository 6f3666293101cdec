/*
 * How looking through data and packing them show that they advance, on standard error: on a
 * terminal one line that is rewritten, elsewhere a line every ten seconds.
 */
#ifndef GR_TOOLS_DATA_PROGRESS_H
#define GR_TOOLS_DATA_PROGRESS_H

#include "graphrunner.h"

/* Zero-initialised but for quiet is ready. */
struct gr_data_display {
    bool quiet;
    double shown;   /* when the last line was, in seconds */
    double started; /* when the first report of this set came, and what was done by then */
    int64_t before, last;
};

/* A gr_data_progress_fn; user is the display. Asks to stop once a signal came. */
bool gr_data_display_progress(void *user, const char *name, int64_t done, int64_t count,
                              double left);

#endif
