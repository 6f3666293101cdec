/*
 * What the two sides of a loader share: its threads, which fill the ring (loader_rows.c), and who
 * takes batches out of it (loader.c).
 */
#ifndef GR_DATA_LOADER_PRIVATE_H
#define GR_DATA_LOADER_PRIVATE_H

#include "data/loader.h"

#include <pthread.h>
#include <stdatomic.h>

enum { GR_LOADER_HOLE = -1 };

/* An image that could not be used, met as the step-th candidate for a row. */
struct gr_loader_failure {
    int64_t row, step, index;
    char *message;
};

struct gr_loader_slot {
    int64_t batch, rows, done;
    float *images;    /* [batch, views, C, H, W]; NULL between epochs */
    int32_t *labels;  /* [batch] */
    int64_t *indices; /* [batch]; GR_LOADER_HOLE: nothing there */
    struct gr_loader_failure *failures;
    size_t n_failures, failures_capacity;
    struct gr_error err;
};

struct gr_loader {
    const struct gr_dataset *dataset;
    struct gr_loader_options options;
    int64_t count, batches, sample_size; /* samples, batches an epoch; elements a sample */
    size_t batch_bytes;                  /* of images */
    int64_t rows_a_task;
    pthread_t *threads;
    int n_threads;
    bool have_lock;

    /* Constant while tasks run. */
    struct gr_draw draw;
    uint32_t *order;       /* [count]: the epoch's permutation */
    bool mixed;            /* it goes in windows (data/epoch_order.h) */
    int64_t announced;     /* places of the order before this are being read ahead */
    atomic_uchar *corrupt; /* [count]: known not to be readable; set by the caller's thread */

    pthread_mutex_t lock; /* guards what follows, and slots until they are complete */
    pthread_cond_t work, ready;
    struct gr_loader_slot *slots; /* [depth]; batch b is in b % depth */
    int64_t depth;
    int64_t fill, fill_row; /* where the next task starts */
    int64_t next;           /* the batch to hand out next */
    bool held;              /* the batch before it is still borrowed */
    bool quit;
    int running; /* tasks under way */

    int64_t skipped;
    double wait_seconds;
    struct gr_error err; /* of this epoch: next goes on failing */
};

struct gr_loader_task {
    struct gr_loader_slot *slot;
    int64_t first, end;       /* rows */
    int64_t ahead, ahead_end; /* places of the order that the disk is to read */
};

/* A thread that loads until loader->quit. */
void *gr_loader_thread(void *loader);

#endif
