/*
 * When the state of a run is saved, and what becomes of it where that fails: told once, tried again
 * at the next occasion, and an error only at the end.
 */
#ifndef GR_TRAIN_SAVING_H
#define GR_TRAIN_SAVING_H

#include "train/recording.h"
#include "train/saver.h"

/* Makes a folder that was removed anew, with all of a run but its checkpoints. */
typedef bool gr_saving_renew_fn(void *user, struct gr_error *err);

/* Zero-initialised is none. */
struct gr_saving {
    const struct gr_plan *plan;
    const struct gr_recording *recording;
    const char *folder;
    gr_saving_renew_fn *renew;
    void *renew_user;
    bool gone;     /* it was, when the last was begun */
    bool renewing; /* that was begun and is not complete */
    struct gr_saver *saver;
    struct gr_standing begun; /* the last that was handed to the saver */
    bool saved;               /* that is on the disk, or will be if the saver is busy */
    bool found;               /* it was, before this process: saving it was not ended, perhaps */
    bool announce;            /* say where it is */
    int64_t last;             /* step of the newest that is on the disk; -1: none yet */
    double time;              /* when the last was begun */
    double waited;            /* seconds that training stood still for it */
    bool failing;             /* which has been told */
    struct gr_error err;      /* of the last that did not come to the saver */
};

/*
 * last: the step of the state that the run goes on from in its folder, or -1. saving->renew, set
 * afterwards, is called where the folder is gone the second time that something is to be saved.
 */
bool gr_saving_open(struct gr_saving *saving, const struct gr_plan *plan,
                    const struct gr_recording *recording, const struct gr_train_options *options,
                    int64_t last, struct gr_error *err);

/* The state that the run goes on from is the checkpoint of that name in its folder. */
void gr_saving_found(struct gr_saving *saving, const struct gr_standing *standing);

/* Has so much happened since the last that the state is to be saved in the middle of an epoch? */
bool gr_saving_due(const struct gr_saving *saving, const struct gr_standing *standing);

/*
 * Begins to save the state, as a checkpoint or as the best one alone or both, once what is being
 * saved is done. False: it holds NaN or infinity, memory ran out, or the very first could not be
 * saved.
 */
bool gr_saving_begin(struct gr_saving *saving, const struct gr_standing *standing, bool checkpoint,
                     bool best, double rate, struct gr_error *err);

/* Says what became of the last, once that is known. False: it was the very first, and failed. */
bool gr_saving_look(struct gr_saving *saving, bool wait, struct gr_error *err);

/* Makes sure that the state is saved, and the best one; the last chance. */
bool gr_saving_finish(struct gr_saving *saving, const struct gr_standing *standing, double rate,
                      struct gr_error *err);

/* Waits for what is being saved. */
void gr_saving_close(struct gr_saving *saving);

#endif
