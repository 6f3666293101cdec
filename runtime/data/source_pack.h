/*
 * Packs as a source (data/pack_index.h), for other sources too: where they are given a folder, it
 * may be that of a pack.
 */
#ifndef GR_DATA_SOURCE_PACK_H
#define GR_DATA_SOURCE_PACK_H

#include "data/source.h"

/* True for the folder of a pack, whole or not: gr_pack_open then opens it or says what is wrong. */
bool gr_pack_is(const char *path);

/* Fills in samples, whose places are images within archives (data/places.h). */
bool gr_pack_open(const char *path, const struct gr_source_wish *wish, struct gr_samples *samples,
                  struct gr_error *err);

/* What the index knows of colours; of a path that is no pack, nothing. */
bool gr_pack_statistics(const char *path, struct gr_statistics *statistics, struct gr_error *err);

/* The side of its images, where packing made them squares; else 0. A path may be NULL. */
int64_t gr_pack_square(const char *path);

#endif
