/*
 * Packs and the pictures they are made of, opened as datasets of 48×48 pixels.
 */
#ifndef GR_TESTS_PACK_DATA_H
#define GR_TESTS_PACK_DATA_H

#include "support/data_case.h"
#include "support/pack_case.h"

enum { GR_PACK_SIDE = 48, GR_PACK_PIXELS = GR_PACK_SIDE * GR_PACK_SIDE * 3 };

/* gr_pack_run that succeeds. */
void gr_pack_make(const char *out, const char *option, const char *value);

/*
 * A source whose attribute is a path of the test's folder, with n transforms (see
 * gr_data_case_part). NULL, with *err set, where it cannot be opened; the second ends the test
 * then.
 */
struct gr_dataset *gr_pack_data_try_open(struct gr_data_case *test, const char *source,
                                         const char *attr, const char *path,
                                         const char *const *transforms, int n,
                                         struct gr_error *err);
struct gr_dataset *gr_pack_data_open(struct gr_data_case *test, const char *source,
                                     const char *attr, const char *path,
                                     const char *const *transforms, int n);

void gr_pack_data_read(const struct gr_dataset *dataset, int64_t index,
                       float pixels[GR_PACK_PIXELS]);

#endif
