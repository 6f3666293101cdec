/*
 * The loader: threads that read, decode and transform samples ahead of the computation, into a ring
 * of batches handed out in a fixed order.
 *
 * What a batch holds is a pure function of (seed, epoch, batch index, the data): neither the number
 * of threads nor their timing shows. So a run goes on where it stopped by gr_loader_start(epoch,
 * batch), whatever was loaded before.
 *
 * Images that cannot be read are logged once each and counted. A training loader (replace_corrupt)
 * puts the next readable sample of the epoch's order in their place, so that batches stay full and
 * the same whenever the epoch is entered. Otherwise they are left out: batches are then shorter,
 * and every readable image is delivered exactly once.
 */
#ifndef GR_DATA_LOADER_H
#define GR_DATA_LOADER_H

#include "data/dataset.h"

struct gr_loader_options {
    int64_t batch;        /* at least 1 */
    int threads;          /* 0: one */
    int ahead;            /* batches loaded beyond the one handed out; 0: two */
    uint64_t seed;        /* of shuffling and random transforms */
    bool shuffle;         /* a new order each epoch; otherwise the dataset's own */
    bool drop_last;       /* leave out a last batch that would not be full */
    bool replace_corrupt; /* see above: true to train, false to evaluate */
    int64_t max_corrupt;  /* images that may be unreadable before gr_loader_next fails */
    gr_log_fn *log;       /* hears of each unreadable image, from gr_loader_next; may be NULL */
    void *log_user;
};

/* Borrowed from the loader until the next call of one of its functions. */
struct gr_batch {
    int64_t index;          /* of the batch in its epoch */
    int64_t count;          /* samples; 0: the epoch is over. Rows beyond are zero, label -1 */
    const float *images;    /* [batch, views, C, H, W] */
    const int32_t *labels;  /* [batch] */
    const int64_t *indices; /* [batch]: of the samples in the dataset, -1 beyond count */
};

struct gr_loader;

/* Borrows the dataset, which must outlive the loader. Starts the threads, which then wait. */
struct gr_loader *gr_loader_new(const struct gr_dataset *dataset,
                                const struct gr_loader_options *options, struct gr_error *err);

/* At any time, also in the middle of an epoch; joins the threads. NULL is allowed. */
void gr_loader_free(struct gr_loader *loader);

/* Goes to the given batch of an epoch (both count from 0), dropping what was loaded ahead. */
bool gr_loader_start(struct gr_loader *loader, int64_t epoch, int64_t first_batch,
                     struct gr_error *err);

/*
 * Hands out the next batch, waiting for it if need be. Fails with GR_ERR_DATA when more than
 * max_corrupt images could not be read (naming the last) or when none is left.
 */
bool gr_loader_next(struct gr_loader *loader, struct gr_batch *batch, struct gr_error *err);

int64_t gr_loader_batches(const struct gr_loader *loader); /* of one epoch */
int64_t gr_loader_skipped(const struct gr_loader *loader); /* unreadable images met, each once */
double gr_loader_wait_seconds(const struct gr_loader *loader); /* that next has waited, in all */

#endif
