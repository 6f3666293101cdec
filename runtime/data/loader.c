/*
 * The prefetching loader; see loader.h.
 *
 * A ring of batch buffers, filled in order by threads and handed out in order by gr_loader_next. A
 * task is a few rows of one batch. What a row holds depends on its place in the epoch's order
 * alone: a thread that meets an unreadable image puts the next readable one there itself. Failures
 * travel with the batch and are counted and logged when it is handed out, by the caller's thread,
 * so the log too is the same for any number of threads.
 */
#define _DEFAULT_SOURCE
#include "data/loader.h"

#include "base/clock.h"
#include "base/pool.h"
#include "base/random.h"
#include "base/shape.h"
#include "data/epoch_order.h"
#include "data/image.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AHEAD_USUAL = 2, ROWS_IN_MEMORY = 32, ROWS_DECODED = 1, HOLE = -1, ALIGN = 64 };

/* An image that could not be used, met as the step-th candidate for a row. */
struct failure {
    int64_t row, step, index;
    char *message;
};

struct slot {
    int64_t batch, rows, done;
    float *images;    /* [batch, C, H, W] */
    int32_t *labels;  /* [batch] */
    int64_t *indices; /* [batch]; HOLE: nothing there */
    struct failure *failures;
    size_t n_failures, failures_capacity;
    struct gr_error err;
};

struct gr_loader {
    const struct gr_dataset *dataset;
    struct gr_loader_options options;
    int64_t count, batches, sample_size; /* samples, batches an epoch; elements a sample */
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
    struct slot *slots; /* [depth]; batch b is in b % depth */
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

struct task {
    struct slot *slot;
    int64_t first, end;       /* rows */
    int64_t ahead, ahead_end; /* places of the order that the disk is to read */
};

/* ---- in the threads ---------------------------------------------------------------------- */

static void add_failure(struct gr_loader *loader, struct slot *slot, struct failure failure,
                        const char *message)
{
    failure.message = strdup(message);
    pthread_mutex_lock(&loader->lock);
    void *failures = slot->failures;
    if (failure.message &&
        gr_grow(&failures, &slot->failures_capacity, slot->n_failures, sizeof failure)) {
        slot->failures = failures;
        slot->failures[slot->n_failures++] = failure;
    } else {
        free(failure.message);
        gr_fail_memory(&slot->err, "loading data");
    }
    pthread_mutex_unlock(&loader->lock);
}

static void set_error(struct gr_loader *loader, struct slot *slot, const struct gr_error *err)
{
    pthread_mutex_lock(&loader->lock);
    gr_fail(&slot->err, err->status, "%s", err->message);
    pthread_mutex_unlock(&loader->lock);
}

/* Reads sample index into the row; false when it cannot be used, after recording why. */
static bool try_sample(struct gr_loader *loader, struct slot *slot, struct failure candidate,
                       struct gr_scratch *scratch, bool *give_up)
{
    struct gr_error err = {0};
    if (atomic_load_explicit(&loader->corrupt[candidate.index], memory_order_relaxed))
        return false;
    float *image = slot->images + candidate.row * loader->sample_size;
    switch (
        gr_dataset_read(loader->dataset, candidate.index, &loader->draw, scratch, image, &err)) {
    case GR_READ_DONE:
        slot->indices[candidate.row] = candidate.index;
        slot->labels[candidate.row] = gr_dataset_label(loader->dataset, candidate.index);
        return true;
    case GR_READ_CORRUPT:
        add_failure(loader, slot, candidate, err.message);
        return false;
    case GR_READ_FAILED:
        set_error(loader, slot, &err);
        *give_up = true;
        return false;
    }
    return false;
}

/* The sample that belongs in the row, or the next readable one after it, or a hole. */
static void load_row(struct gr_loader *loader, struct slot *slot, int64_t row,
                     struct gr_scratch *scratch)
{
    const int64_t position = slot->batch * loader->options.batch + row;
    const int64_t candidates = loader->options.replace_corrupt ? loader->count : 1;
    int64_t failed = 0; /* more than the limit: handing out the batch will fail anyway */
    bool give_up = false;
    slot->indices[row] = HOLE;
    for (int64_t step = 0; step < candidates && failed <= loader->options.max_corrupt; step++) {
        const int64_t index = loader->order[(position + step) % loader->count];
        const struct failure candidate = {row, step, index, NULL};
        if (try_sample(loader, slot, candidate, scratch, &give_up) || give_up)
            return;
        failed += !atomic_load_explicit(&loader->corrupt[index], memory_order_relaxed);
    }
}

/* With the lock held: has the task announce what comes after this window, if nobody has. */
static void announce(struct gr_loader *loader, struct task *task, int64_t position)
{
    const int64_t end = (position / GR_ORDER_WINDOW + 2) * GR_ORDER_WINDOW;
    task->ahead_end = !loader->mixed ? 0 : end < loader->count ? end : loader->count;
    task->ahead = loader->announced > position ? loader->announced : position;
    if (task->ahead_end > task->ahead)
        loader->announced = task->ahead_end;
}

/* With the lock held: the next rows to load, if there is room for them. */
static bool take_task(struct gr_loader *loader, struct task *task)
{
    const int64_t oldest = loader->next - loader->held;
    if (loader->fill >= loader->batches || loader->fill >= oldest + loader->depth)
        return false;
    struct slot *slot = &loader->slots[loader->fill % loader->depth];
    if (loader->fill_row == 0) {
        const int64_t left = loader->count - loader->fill * loader->options.batch;
        slot->batch = loader->fill;
        slot->rows = left < loader->options.batch ? left : loader->options.batch;
        slot->done = 0;
    }
    announce(loader, task, loader->fill * loader->options.batch + loader->fill_row);
    task->slot = slot;
    task->first = loader->fill_row;
    task->end = task->first + loader->rows_a_task;
    if (task->end >= slot->rows) {
        task->end = slot->rows;
        loader->fill++;
        loader->fill_row = 0;
    } else {
        loader->fill_row = task->end;
    }
    return true;
}

static void run_task(struct gr_loader *loader, const struct task *task, struct gr_scratch *scratch)
{
    const struct gr_error no_scratch = {GR_ERR_RUNTIME, "out of memory: loading data"};
    if (!scratch)
        set_error(loader, task->slot, &no_scratch);
    if (task->ahead_end > task->ahead)
        gr_dataset_announce(loader->dataset, loader->order + task->ahead,
                            task->ahead_end - task->ahead);
    for (int64_t row = task->first; scratch && row < task->end; row++)
        load_row(loader, task->slot, row, scratch);
}

static void *thread_main(void *user)
{
    struct gr_loader *loader = user;
    struct gr_scratch *scratch = gr_scratch_new();
    struct task task;
    pthread_mutex_lock(&loader->lock);
    while (!loader->quit) {
        if (!take_task(loader, &task)) {
            pthread_cond_wait(&loader->work, &loader->lock);
            continue;
        }
        loader->running++;
        pthread_mutex_unlock(&loader->lock);
        run_task(loader, &task, scratch);
        pthread_mutex_lock(&loader->lock);
        loader->running--;
        task.slot->done += task.end - task.first;
        if (task.slot->done == task.slot->rows || loader->running == 0)
            pthread_cond_signal(&loader->ready);
    }
    pthread_mutex_unlock(&loader->lock);
    gr_scratch_free(scratch);
    return NULL;
}

/* ---- making and ending ------------------------------------------------------------------- */

static void clear_slot(struct slot *slot)
{
    for (size_t i = 0; i < slot->n_failures; i++)
        free(slot->failures[i].message);
    slot->n_failures = 0;
    slot->batch = HOLE;
    slot->err = (struct gr_error){0};
}

static bool alloc_slots(struct gr_loader *loader)
{
    const size_t batch = (size_t)loader->options.batch;
    size_t elements, bytes;
    loader->slots = calloc((size_t)loader->depth, sizeof *loader->slots);
    if (!loader->slots || !gr_size_multiply(batch, (size_t)loader->sample_size, &elements) ||
        !gr_size_multiply(elements, sizeof(float), &bytes) || bytes > PTRDIFF_MAX)
        return false;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    for (int64_t i = 0; i < loader->depth; i++) {
        struct slot *slot = &loader->slots[i];
        slot->images = aligned_alloc(ALIGN, bytes);
        slot->labels = calloc(batch, sizeof *slot->labels);
        slot->indices = calloc(batch, sizeof *slot->indices);
        if (!slot->images || !slot->labels || !slot->indices)
            return false;
        clear_slot(slot);
    }
    return true;
}

static bool alloc(struct gr_loader *loader)
{
    const size_t count = (size_t)loader->count;
    loader->order = calloc(count, sizeof *loader->order);
    loader->corrupt = calloc(count, sizeof *loader->corrupt);
    loader->threads = calloc((size_t)loader->options.threads, sizeof *loader->threads);
    return loader->order && loader->corrupt && loader->threads && alloc_slots(loader);
}

static bool start_threads(struct gr_loader *loader, struct gr_error *err)
{
    if (pthread_mutex_init(&loader->lock, NULL) != 0)
        return gr_fail(err, GR_ERR_RUNTIME, "cannot make a lock for loading data");
    pthread_cond_init(&loader->work, NULL); /* these cannot fail on Linux */
    pthread_cond_init(&loader->ready, NULL);
    loader->have_lock = true;
    for (; loader->n_threads < loader->options.threads; loader->n_threads++) {
        const int code =
            pthread_create(&loader->threads[loader->n_threads], NULL, thread_main, loader);
        if (code != 0)
            return gr_fail(err, GR_ERR_RUNTIME, "cannot start thread %d for loading data: %s",
                           loader->n_threads + 1, strerror(code));
    }
    return true;
}

struct gr_loader *gr_loader_new(const struct gr_dataset *dataset,
                                const struct gr_loader_options *options, struct gr_error *err)
{
    if (options->batch < 1 || options->threads < 0 || options->ahead < 0) {
        gr_fail(err, GR_ERR_USAGE, "loader: a batch of %" PRId64 ", %d threads, %d ahead",
                options->batch, options->threads, options->ahead);
        return NULL;
    }
    struct gr_loader *loader = calloc(1, sizeof *loader);
    if (!loader) {
        gr_fail_memory(err, "loading data");
        return NULL;
    }
    loader->dataset = dataset;
    loader->options = *options;
    loader->options.threads = options->threads ? options->threads : 1;
    loader->depth = (options->ahead ? options->ahead : AHEAD_USUAL) + INT64_C(1);
    loader->count = gr_dataset_count(dataset);
    loader->mixed = options->shuffle && gr_dataset_mixed(dataset);
    loader->batches = loader->count / options->batch;
    if (loader->count % options->batch && !options->drop_last)
        loader->batches++;
    loader->sample_size = gr_shape_count(gr_dataset_shape(dataset)) * gr_dataset_views(dataset);
    loader->rows_a_task = gr_dataset_in_memory(dataset) ? ROWS_IN_MEMORY : ROWS_DECODED;
    loader->fill = loader->next = loader->batches; /* nothing to do yet */
    if (!alloc(loader)) {
        gr_fail_memory(err, "loading data");
        goto fail;
    }
    if (!start_threads(loader, err))
        goto fail;
    return loader;
fail:
    gr_loader_free(loader);
    return NULL;
}

static void join_threads(struct gr_loader *loader)
{
    if (!loader->have_lock)
        return;
    pthread_mutex_lock(&loader->lock);
    loader->quit = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; i < loader->n_threads; i++)
        pthread_join(loader->threads[i], NULL);
    pthread_cond_destroy(&loader->ready);
    pthread_cond_destroy(&loader->work);
    pthread_mutex_destroy(&loader->lock);
}

void gr_loader_free(struct gr_loader *loader)
{
    if (!loader)
        return;
    join_threads(loader);
    for (int64_t i = 0; loader->slots && i < loader->depth; i++) {
        struct slot *slot = &loader->slots[i];
        clear_slot(slot);
        free(slot->images);
        free(slot->labels);
        free(slot->indices);
        free(slot->failures);
    }
    free(loader->slots);
    free(loader->threads);
    free(loader->order);
    free(loader->corrupt);
    free(loader);
}

/* ---- an epoch ---------------------------------------------------------------------------- */

/* The epoch's order. */
static void set_order(struct gr_loader *loader)
{
    const struct gr_random_key key =
        gr_random_key(loader->draw.seed, GR_RANDOM_SHUFFLE, loader->draw.epoch, 0);
    if (loader->options.shuffle)
        gr_epoch_order(loader->order, loader->count, loader->mixed, &key);
    else
        for (int64_t i = 0; i < loader->count; i++)
            loader->order[i] = (uint32_t)i;
}

bool gr_loader_start(struct gr_loader *loader, int64_t epoch, int64_t first_batch,
                     struct gr_error *err)
{
    if (epoch < 0 || epoch > UINT32_MAX || first_batch < 0 || first_batch > loader->batches)
        return gr_fail(err, GR_ERR_USAGE,
                       "loader: epoch %" PRId64 ", batch %" PRId64 " of %" PRId64, epoch,
                       first_batch, loader->batches);
    pthread_mutex_lock(&loader->lock);
    loader->fill = loader->batches; /* no new tasks; those under way end */
    loader->fill_row = 0;
    while (loader->running)
        pthread_cond_wait(&loader->ready, &loader->lock);
    for (int64_t i = 0; i < loader->depth; i++)
        clear_slot(&loader->slots[i]);
    loader->draw = (struct gr_draw){loader->options.seed, (uint32_t)epoch};
    set_order(loader);
    loader->fill = loader->next = first_batch;
    loader->announced = 0;
    loader->held = false;
    loader->err = (struct gr_error){0};
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
    return true;
}

/* ---- handing out ------------------------------------------------------------------------- */

/* Gives the borrowed batch back and waits for the next; NULL at the end of the epoch. */
static struct slot *next_slot(struct gr_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    if (loader->held) {
        clear_slot(&loader->slots[(loader->next - 1) % loader->depth]);
        loader->held = false;
        pthread_cond_broadcast(&loader->work);
    }
    struct slot *slot = NULL;
    if (loader->next < loader->batches) {
        slot = &loader->slots[loader->next % loader->depth];
        const double start = gr_seconds();
        while (slot->batch != loader->next || slot->done < slot->rows)
            pthread_cond_wait(&loader->ready, &loader->lock);
        loader->wait_seconds += gr_seconds() - start;
        loader->next++;
        loader->held = true;
    }
    pthread_mutex_unlock(&loader->lock);
    return slot;
}

static int by_row(const void *a, const void *b)
{
    const struct failure *x = a, *y = b;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return (x->step > y->step) - (x->step < y->step);
}

/* Counts and logs what could not be read, in the order of the epoch. */
static bool count_failures(struct gr_loader *loader, struct slot *slot, struct gr_error *err)
{
    const struct gr_loader_options *options = &loader->options;
    if (slot->n_failures)
        qsort(slot->failures, slot->n_failures, sizeof *slot->failures, by_row);
    for (size_t i = 0; i < slot->n_failures; i++) {
        const struct failure *failure = &slot->failures[i];
        if (atomic_exchange(&loader->corrupt[failure->index], 1))
            continue;
        loader->skipped++;
        if (options->log) {
            char line[2200];
            snprintf(line, sizeof line, "skipped: %s", failure->message);
            options->log(options->log_user, GR_LOG_WARNING, line);
        }
        if (loader->skipped > options->max_corrupt)
            return gr_fail(err, GR_ERR_DATA,
                           "%" PRId64 " unreadable image%s, more than max_corrupt (%" PRId64
                           ") allows; the last: %s",
                           loader->skipped, loader->skipped == 1 ? "" : "s", options->max_corrupt,
                           failure->message);
    }
    return true;
}

/* Moves rows up into holes and blanks what is left; returns the number of samples. */
static int64_t compact(struct gr_loader *loader, struct slot *slot)
{
    const size_t size = (size_t)loader->sample_size;
    int64_t n = 0;
    for (int64_t row = 0; row < slot->rows; row++) {
        if (slot->indices[row] == HOLE)
            continue;
        if (n < row) {
            memcpy(slot->images + (size_t)n * size, slot->images + (size_t)row * size,
                   size * sizeof(float));
            slot->labels[n] = slot->labels[row];
            slot->indices[n] = slot->indices[row];
        }
        n++;
    }
    for (int64_t row = n; row < loader->options.batch; row++) {
        memset(slot->images + (size_t)row * size, 0, size * sizeof(float));
        slot->labels[row] = -1;
        slot->indices[row] = HOLE;
    }
    return n;
}

/* True with count 0 at the end of the epoch. */
static bool next_batch(struct gr_loader *loader, struct gr_batch *batch, struct gr_error *err)
{
    struct slot *slot;
    while ((slot = next_slot(loader))) {
        if (slot->err.status != GR_OK)
            return gr_fail(err, slot->err.status, "%s", slot->err.message);
        if (!count_failures(loader, slot, err))
            return false;
        batch->count = compact(loader, slot);
        if (!batch->count)
            continue;
        batch->index = slot->batch;
        batch->images = slot->images;
        batch->labels = slot->labels;
        batch->indices = slot->indices;
        return true;
    }
    if (loader->skipped == loader->count)
        return gr_fail(err, GR_ERR_DATA, "none of the %" PRId64 " images can be read",
                       loader->count);
    return true;
}

bool gr_loader_next(struct gr_loader *loader, struct gr_batch *batch, struct gr_error *err)
{
    *batch = (struct gr_batch){.index = loader->batches};
    if (loader->err.status == GR_OK && next_batch(loader, batch, &loader->err))
        return true;
    return gr_fail(err, loader->err.status, "%s", loader->err.message);
}

int64_t gr_loader_batches(const struct gr_loader *loader)
{
    return loader->batches;
}

int64_t gr_loader_skipped(const struct gr_loader *loader)
{
    return loader->skipped;
}

double gr_loader_wait_seconds(const struct gr_loader *loader)
{
    return loader->wait_seconds;
}
