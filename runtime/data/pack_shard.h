/*
 * One shard of a pack being written: a tar archive that appears whole or not at all.
 */
#ifndef GR_DATA_PACK_SHARD_H
#define GR_DATA_PACK_SHARD_H

#include "base/replace.h"
#include "data/pack_index.h"

enum { GR_PACK_PATH = 4096 };

/* Zero-initialised is closed. */
struct gr_shard_writer {
    struct gr_pack_shard shard; /* what is written so far; its name is borrowed from `path` */
    struct gr_replace replace;
    char path[GR_PACK_PATH];
};

bool gr_shard_is_open(const struct gr_shard_writer *writer);

/* Begins the archive at folder/name. */
bool gr_shard_open(struct gr_shard_writer *writer, const char *folder, const char *name,
                   struct gr_error *err);

/* What the archive would take with an image of that size, and its end. */
int64_t gr_shard_size_with(const struct gr_shard_writer *writer, size_t size);

/* Adds KEY.jpg and KEY.cls. */
bool gr_shard_put(struct gr_shard_writer *writer, const char *key, const uint8_t *bytes,
                  size_t size, int32_t label, struct gr_error *err);

/* Ends the archive and puts it in its place; writer->shard is then complete but for `to`. */
bool gr_shard_commit(struct gr_shard_writer *writer, struct gr_error *err);

/* Ends the writer; what was not committed leaves no trace. */
void gr_shard_release(struct gr_shard_writer *writer);

#endif
