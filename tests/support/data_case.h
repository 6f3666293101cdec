/*
 * What the tests of runtime/data share: a fresh folder with files in it, and parts of a data
 * section put together from text.
 */
#ifndef GR_TESTS_DATA_CASE_H
#define GR_TESTS_DATA_CASE_H

#include "data/dataset.h"
#include "data/kinds.h"
#include "data/pipeline.h"

/* One test's pool, folder and log. */
struct gr_data_case {
    struct gr_pool pool;
    char *folder; /* fresh, and removed at the end with all in it */
    int n_warnings;
    char warning[1200]; /* the last */
    struct gr_pipeline_scratch scratch;
};

void gr_data_case_init(struct gr_data_case *test);
void gr_data_case_release(struct gr_data_case *test);

/* A path in the folder; folders on the way are made. printf's format. */
const char *gr_data_case_path(struct gr_data_case *test, const char *format, ...) GR_PRINTF(2, 3);
void gr_data_case_write(const char *path, const void *bytes, size_t size);

/* Keeps warnings; user is the case. */
void gr_data_case_log(void *user, enum gr_log_level level, const char *text);

/* A kind by name with attributes "size=4,6;mode=random". */
struct gr_choice gr_data_case_choose(struct gr_data_case *test, const struct gr_kind *const *kinds,
                                     const char *name, const char *attrs);

/* A part named "train": transforms are n_transforms pairs of name and attributes. */
struct gr_data_part *gr_data_case_part(struct gr_data_case *test, const char *source,
                                       const char *attrs, const char *const *transforms,
                                       int n_transforms);

/* Takes a view through a part's transforms into out, f32 of that shape; they must end there. */
void gr_data_case_apply(struct gr_data_case *test, const struct gr_data_part *part,
                        const struct gr_view *view, const struct gr_shape *shape,
                        const struct gr_random_key *key, float *out);

/* The same for such transforms, as sample `index` draws in an epoch; the view becomes H×W. */
void gr_data_case_run(struct gr_data_case *test, const char *const *transforms, int n_transforms,
                      const struct gr_view *view, int64_t H, int64_t W, uint32_t epoch,
                      uint32_t index, float *out);

/* Fills bytes with all values, the same each time. */
void gr_data_case_noise(uint8_t *bytes, size_t size);

/* IDX files of count images: pixel i of the whole file is i % 251, label n is n % classes. */
const char *gr_data_case_idx(struct gr_data_case *test, int count, int height, int width,
                             int classes);

#endif
