/*
 * A survey: every image of a set read and decoded once, in parallel, to tell before training what
 * it would meet. Surveys made one after the other find what sets have in common.
 */
#ifndef GR_DATA_SURVEY_H
#define GR_DATA_SURVEY_H

#include "data/source.h"

/* The bytes of an image, in short, and where they were met first. */
struct gr_seen {
    uint64_t hash;
    const char *name;
};

/* Images of all surveys so far; zero-initialised is none. */
struct gr_seen_images {
    struct gr_pool pool;
    struct gr_seen *items;
    size_t count, capacity;
};

void gr_seen_release(struct gr_seen_images *seen);

struct gr_survey_options {
    const struct gr_source *source;
    const struct gr_samples *samples;
    const char *name;
    int64_t height, width; /* images smaller in either are tiny; 0: none is */
    int threads;
    gr_data_progress_fn *progress; /* may be NULL */
    void *progress_user;
};

/*
 * Fills in the report; what it holds belongs to the pool. False, with err clear, when progress
 * ended it.
 */
bool gr_survey(const struct gr_survey_options *options, struct gr_seen_images *seen,
               struct gr_pool *pool, struct gr_data_report *report, struct gr_error *err);

#endif
