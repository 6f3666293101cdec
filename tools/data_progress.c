/*
 * Progress of work on data; see data_progress.h.
 */
#include "data_progress.h"

#include <stdio.h>

#include "format.h"
#include "interrupt.h"
#include "measure.h"
#include "terminal.h"

enum { LINE = 256 };

static const double terminal_interval = 0.1, plain_interval = 10; /* seconds */

bool gr_data_display_progress(void *user, const char *name, int64_t done, int64_t count,
                              double left)
{
    struct gr_data_display *display = user;
    const bool terminal = gr_is_terminal(stderr);
    const double time = gr_measure_seconds();
    char line[LINE], some[GR_FIGURE], all[GR_FIGURE], duration[GR_FIGURE], rate[GR_FIGURE];
    if (display->started <= 0 || done < display->last) {
        display->started = time;
        display->before = done;
        display->shown = display->shown > 0 ? display->shown : time;
    }
    display->last = done;
    if (display->quiet || time - display->shown < (terminal ? terminal_interval : plain_interval))
        return gr_interrupt_signal() == 0;
    snprintf(line, sizeof line, "%s: %s of %s images  %s images/s  %s left", name,
             gr_grouped_text(done, some), gr_grouped_text(count, all),
             gr_rate_text((double)(done - display->before) / (time - display->started), rate),
             gr_duration_text(left, duration));
    display->shown = time;
    if (terminal)
        gr_status_show(line);
    else
        fprintf(stderr, "%s\n", line);
    return gr_interrupt_signal() == 0;
}
