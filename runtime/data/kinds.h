/*
 * What a model file's `data:` section can choose from: where samples come from (`imagefolder:
 * {path:
 * ...}`) and what happens to each on its way to the network (`transform: [resize: {...}, ...]`).
 *
 * Each table is NULL-terminated. A row of gr_data_sources is the first member of a struct gr_source
 * (data/source.h), a row of gr_data_transforms that of a struct gr_transform (data/transform.h);
 * a chosen kind and its attributes travel in a struct gr_data_part (data/part.h).
 */
#ifndef GR_DATA_KINDS_H
#define GR_DATA_KINDS_H

#include "base/kind.h"

extern const struct gr_kind *const gr_data_sources[];
extern const struct gr_kind *const gr_data_transforms[];

#endif
