/*
 * The index of a pack: a folder of tar archives (WebDataset's shards: KEY.jpg beside KEY.cls) made
 * by data/pack.h, and index.jsonl, which says where each image lies, so that nobody needs to go
 * through the archives. A line is a JSON object: first a head, then one for each shard, in order.
 *
 *     {"format": "graph-runner pack 1", "samples": 1281167, "classes": 1000, "class_names": [...],
 *      "channels": 3, "height": 256, "width": 256, "mixed": true, "skipped": 0,
 *      "settings": {...}, "source": {...}, "statistics": {"mean": [...], ...}}
 *     {"shard": "000000.tar", "bytes": 255999488, "offsets": [...], "sizes": [...], "labels":
 *      [...], "to": 9000, "skipped": ["PATH: why"], "sums": [...]}
 *
 * While a pack is being made there is unfinished.jsonl instead: a head without what is known only
 * at the end, and a line for each shard that is whole. The index comes last, so a pack is there as
 * a whole or, for those who read it, not at all.
 */
#ifndef GR_DATA_PACK_INDEX_H
#define GR_DATA_PACK_INDEX_H

#include "base/pool.h"
#include "data/statistics.h"

#include <stdio.h>

#define GR_PACK_FORMAT "graph-runner pack 1"
#define GR_PACK_INDEX "index.jsonl"
#define GR_PACK_UNFINISHED "unfinished.jsonl"

/*
 * A shard of so many images ends, whatever its bytes; so no line is longer than this. What is
 * longer is not read.
 */
enum { GR_PACK_IMAGES_MAX = 1 << 22, GR_PACK_LINE_MAX = 1 << 27 };

/* An image within a shard. */
struct gr_packed {
    int64_t offset, size; /* of the file's bytes */
    int32_t label;
};

/* A shard; the list is on the heap, `skipped` counted. */
struct gr_pack_shard {
    const char *name;        /* of the file */
    int64_t bytes;           /* of the file */
    int64_t to;              /* images of the source that this shard and those before took */
    struct gr_packed *items; /* [count] */
    size_t count, capacity;
    struct gr_pixel_sums sums;
    json_t *skipped; /* a list */
};

void gr_pack_shard_release(struct gr_pack_shard *shard);

/* What the folder at path holds. */
enum gr_pack_state { GR_PACK_NONE, GR_PACK_PART, GR_PACK_WHOLE };
enum gr_pack_state gr_pack_state(const char *path);

/* Fails, saying how to go on, where an unfinished pack stands in the folder. */
bool gr_pack_refuse_part(const char *path, struct gr_error *err);

/* A line as text, ended by a newline; NULL: out of memory. On the heap. The object is given up. */
char *gr_pack_line(json_t *object);

/* NULL: out of memory. */
json_t *gr_pack_shard_json(const struct gr_pack_shard *shard);

/* A line read; false where it is not one of a shard. The name belongs to the object. */
bool gr_pack_shard_parse(const json_t *object, struct gr_pack_shard *shard, struct gr_error *err);

/*
 * The next line of the file as an object. NULL: the end, a line cut short, or no JSON; or, with
 * *err set, the line could not be read.
 */
json_t *gr_pack_read_line(FILE *file, const char *path, struct gr_error *err);

/* The head of a whole pack; NULL on failure. */
json_t *gr_pack_head(const char *path, struct gr_error *err);

#endif
