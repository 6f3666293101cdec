/*
 * Packing: the images of a source made as small as training needs them, encoded again as JPEG, and
 * written into a few large archives that are read from front to back. On the way the colours of all
 * of them are counted.
 *
 * What is written depends on the images and the settings alone, not on the number of threads nor on
 * interruptions: a run that was killed, or had no more room, goes on where the last whole shard
 * ends, and arrives at the same bytes.
 */
#ifndef GR_DATA_PACK_H
#define GR_DATA_PACK_H

#include "data/source.h"

struct gr_packing {
    const struct gr_source *source;
    const struct gr_samples *samples;
    const char *name;   /* for progress */
    const char *folder; /* of the pack; made if need be */
    bool mixed;         /* in a random order, the same each time; else in that of the source */
    int64_t size;       /* of the shorter side */
    bool whole;         /* keep all of the picture; else its centre, size×size */
    int quality;        /* of JPEG */
    int64_t shard_bytes;
    int64_t max_corrupt; /* images that may be unreadable */
    int threads;
    gr_data_progress_fn *progress; /* may be NULL */
    void *progress_user;
    gr_log_fn *log; /* hears of unreadable images; may be NULL */
    void *log_user;
};

/*
 * Packs, or goes on packing, and fills in the result but for its folder. False, with err clear,
 * when progress ended it.
 */
bool gr_pack(const struct gr_packing *packing, struct gr_pack_result *result, struct gr_error *err);

#endif
