/*
 * The report of one training run or of several side by side: a single HTML file that needs no
 * network and no other file.
 */
#ifndef GR_REPORT_PAGE_H
#define GR_REPORT_PAGE_H

#include "data/picture.h"
#include "model/model_file.h"
#include "report/markup.h"
#include "report/record.h"

/* What the page says of a run; everything is borrowed. */
struct gr_page_run {
    const char *label;  /* unique among the runs */
    const char *folder; /* as the user wrote it */
    const struct gr_record *record;
    const struct gr_model_file *model; /* for its graph; NULL: not known */
    const char *model_text;            /* the model as trained, YAML; or NULL */
    const struct gr_picture *filters;  /* the first convolution's weights; or NULL */
};

enum { GR_PAGE_RUNS = 16 };

/* Appends the page. False and *err: out of memory. A graph that cannot be built is left out. */
bool gr_page_build(const struct gr_page_run *runs, size_t count, struct gr_text *out,
                   struct gr_error *err);

/* The same as a file, which appears whole or not at all. */
bool gr_page_write(const struct gr_page_run *runs, size_t count, const char *path,
                   struct gr_error *err);

/* ---- its parts ------------------------------------------------------------------------------ */

/* Is the figure of that name a share, with values from 0 to 1? And how it is shown. */
bool gr_page_is_share(const struct gr_record *record, const char *name);
enum gr_figure gr_page_figure(const struct gr_record *record, const char *name);

/* The name of the model, as far as it is known. */
const char *gr_page_model_name(const struct gr_page_run *run);

/* Appends the curves. */
bool gr_page_charts(const struct gr_page_run *runs, size_t count, struct gr_text *out,
                    struct gr_error *err);

/* Append the figures of a single run: large, and best beside last. */
void gr_page_tiles(const struct gr_page_run *run, struct gr_text *out);
void gr_page_summary(const struct gr_page_run *run, struct gr_text *out);

/* Append what several runs came to, and how they were run: a column each. */
void gr_page_results(const struct gr_page_run *runs, size_t count, struct gr_text *out);
void gr_page_differences(const struct gr_page_run *runs, size_t count, struct gr_text *out);

/* Append what was run, and the figures of every epoch. */
void gr_page_settings(const struct gr_page_run *run, struct gr_text *out);
void gr_page_epochs(const struct gr_page_run *run, struct gr_text *out);

#endif
