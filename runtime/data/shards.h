/*
 * Several files named by one pattern.
 */
#ifndef GR_DATA_SHARDS_H
#define GR_DATA_SHARDS_H

#include "data/folders.h"

/*
 * Adds the paths that a pattern stands for: {000..012} is a range of numbers, of as many digits as
 * its ends, {a,b} a choice; then *, ? and [...] are looked up among the files there are, in byte
 * order. Fails with GR_ERR_DATA where braces are wrong, stand for too many paths, or no file
 * matches.
 */
bool gr_shards_expand(const char *pattern, struct gr_pool *pool, struct gr_names *paths,
                      struct gr_error *err);

#endif
