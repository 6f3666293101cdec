/*
 * What a query of nearest images is: one of the features, or an image file.
 */
#ifndef GR_TRAIN_NEAREST_H
#define GR_TRAIN_NEAREST_H

#include "base/error.h"

struct gr_query {
    const char *text; /* as given; the path of an image file */
    int64_t index;    /* of the features, or -1: an image file */
};

/*
 * Finds what a text means: the name of an image of the features, a file that is one of them by
 * another path, any file if there is a model, the end of one name. A usage error otherwise.
 */
bool gr_query_find(const struct gr_features *features, const char *text, bool has_model,
                   struct gr_query *query, struct gr_error *err);

/* Is that image of the features the query itself? */
bool gr_query_is(const struct gr_features *features, const struct gr_query *query, size_t index);

#endif
