/*
 * The folder of a pack while it is being made. What is there at any time is what a later run can go
 * on with: whole shards, and unfinished.jsonl with a head and a line for each of them. A shard is
 * synced before its line is, and the index takes the place of unfinished.jsonl at the end.
 */
#ifndef GR_DATA_PACK_FOLDER_H
#define GR_DATA_PACK_FOLDER_H

#include "data/pack_shard.h"

/* What is packed so far. */
struct gr_pack_totals {
    int64_t shards, images, skipped, bytes;
    int64_t to; /* images of the source dealt with */
    struct gr_pixel_sums sums;
};

/* Zero-initialised is closed. */
struct gr_pack_folder {
    const char *path;    /* borrowed */
    const json_t *begun; /* borrowed: {"settings": {...}, "source": {...}} */
    int lines;           /* unfinished.jsonl, locked; -1: none */
    int64_t length;      /* of it, in bytes that make sense */
    struct gr_pack_totals totals;
    json_t *head; /* of a pack that is whole already, or NULL */
};

/*
 * Makes the folder, or enters it where the same pack was begun: `begun` must then be the same, key
 * by key, or the error (GR_ERR_USAGE) says what differs. Only one process can be in a folder.
 */
bool gr_pack_folder_open(struct gr_pack_folder *folder, const char *path, const json_t *begun,
                         struct gr_error *err);

/* Starts the next shard. */
bool gr_pack_folder_shard(struct gr_pack_folder *folder, struct gr_shard_writer *writer,
                          struct gr_error *err);

/* Keeps the shard, which is complete. */
bool gr_pack_folder_keep(struct gr_pack_folder *folder, struct gr_shard_writer *writer,
                         struct gr_error *err);

/* Writes the index with this head, which is given up; the pack is then whole. */
bool gr_pack_folder_finish(struct gr_pack_folder *folder, json_t *head, struct gr_error *err);

void gr_pack_folder_close(struct gr_pack_folder *folder);

#endif
