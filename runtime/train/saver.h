/*
 * Writing checkpoints beside the training: a snapshot goes to a thread that computes its checksum,
 * writes, syncs and renames it, and only then removes older ones. One at a time; a best state that
 * could not be written is kept and tried again with the next.
 *
 * All functions are for one thread, that of the training.
 */
#ifndef GR_TRAIN_SAVER_H
#define GR_TRAIN_SAVER_H

#include "model/snapshot.h"

struct gr_saver;

/* What is to become of a snapshot. */
struct gr_save {
    int64_t step;    /* training steps done */
    bool checkpoint; /* a step-... file; else only the best */
    bool best;
    int sync[3]; /* descriptors of records to sync first, -1: none */
};

/* What became of it. */
struct gr_saved {
    struct gr_save save;
    double seconds;      /* that it took, beside the training */
    bool best_kept;      /* the best state is there, this one or one before */
    struct gr_error err; /* status GR_OK: it is on the disk */
};

/* folder must outlive it. keep: how many checkpoints. NULL and *err on failure. */
struct gr_saver *gr_saver_new(const char *folder, int64_t keep, struct gr_error *err);

/* Waits for what is being written; NULL is fine. */
void gr_saver_free(struct gr_saver *saver);

/* Is one being written, or its result not fetched yet? */
bool gr_saver_busy(const struct gr_saver *saver);

/* Takes the snapshot over and returns at once. Not while it is busy. */
void gr_saver_start(struct gr_saver *saver, struct gr_snapshot *snapshot,
                    const struct gr_save *save);

/* What comes after the checkpoint of that step: the link to it, and older ones removed. */
void gr_saver_tidy(const struct gr_saver *saver, int64_t step);

/* Fetches the result; false: there is none yet. wait: for it, if it is busy. */
bool gr_saver_result(struct gr_saver *saver, bool wait, struct gr_saved *saved);

#endif
