/*
 * Packs as datasets; see pack_data.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "support/pack_data.h"

void gr_pack_make(const char *out, const char *option, const char *value)
{
    struct gr_outcome outcome = gr_pack_run(0, out, option, value);
    gr_outcome_release(&outcome);
}

struct gr_dataset *gr_pack_data_try_open(struct gr_data_case *test, const char *source,
                                         const char *attr, const char *path,
                                         const char *const *transforms, int n, struct gr_error *err)
{
    const struct gr_shape shape = {3, {3, GR_PACK_SIDE, GR_PACK_SIDE}};
    char attrs[GR_FOLDER_PATH + 64];
    snprintf(attrs, sizeof attrs, "%s=%s", attr, gr_pack_at(path));
    return gr_dataset_open(gr_data_case_part(test, source, attrs, transforms, n), &shape, 0,
                           gr_data_case_log, test, err);
}

struct gr_dataset *gr_pack_data_open(struct gr_data_case *test, const char *source,
                                     const char *attr, const char *path,
                                     const char *const *transforms, int n)
{
    struct gr_error err = {0};
    struct gr_dataset *dataset =
        gr_pack_data_try_open(test, source, attr, path, transforms, n, &err);
    assert_string_equal(err.message, "");
    return dataset;
}

void gr_pack_data_read(const struct gr_dataset *dataset, int64_t index,
                       float pixels[GR_PACK_PIXELS])
{
    const struct gr_draw draw = {0};
    struct gr_scratch *scratch = gr_scratch_new();
    struct gr_error err = {0};
    if (gr_dataset_read(dataset, index, &draw, scratch, pixels, &err) != GR_READ_DONE)
        fail_msg("%s", err.message);
    gr_scratch_free(scratch);
}
