/*
 * The source that suits a path, where there is no model file to say.
 */
#ifndef GR_DATA_SOURCE_AT_H
#define GR_DATA_SOURCE_AT_H

#include "data/source.h"

/*
 * A pattern or an archive that holds labels is one of shards, all else (class folders, ImageNet's
 * tars, a pack) for the source imagenet. Does not say whether there is anything. The choice's
 * attributes belong to the pool and borrow the path.
 */
bool gr_source_at(const char *path, struct gr_pool *pool, struct gr_choice *choice,
                  struct gr_error *err);

#endif
