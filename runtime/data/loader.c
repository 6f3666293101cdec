/*
 * The prefetching loader; see loader.h.
 *
 * A ring of batch buffers, filled in order by threads (loader_rows.c) and handed out in order by
 * gr_loader_next. A task is a few rows of one batch. What a row holds depends on its place in the
 * epoch's order alone: a thread that meets an unreadable image puts the next readable one there
 * itself. Failures travel with the batch and are counted and logged when it is handed out, by the
 * caller's thread, so the log too is the same for any number of threads.
 */
#define _DEFAULT_SOURCE
#include "data/loader_private.h"

#include "base/clock.h"
#include "base/random.h"
#include "base/shape.h"
#include "base/threads.h"
#include "data/epoch_order.h"
#include "data/image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AHEAD_USUAL = 2, ROWS_IN_MEMORY = 32, ROWS_DECODED = 1, ALIGN = 64 };

/* ---- making and ending ------------------------------------------------------------------- */

static void clear_slot(struct gr_loader_slot *slot)
{
    for (size_t i = 0; i < slot->n_failures; i++)
        free(slot->failures[i].message);
    slot->n_failures = 0;
    slot->batch = GR_LOADER_HOLE;
    slot->err = (struct gr_error){0};
}

/*
 * The images of a ring exist from the start of an epoch to its end, so that training and
 * validation, which take turns, need room for one. False: out of memory.
 */
static bool take_images(struct gr_loader *loader)
{
    bool ok = true;
    for (int64_t i = 0; ok && i < loader->depth; i++) {
        struct gr_loader_slot *slot = &loader->slots[i];
        slot->images = slot->images ? slot->images : aligned_alloc(ALIGN, loader->batch_bytes);
        ok = slot->images != NULL;
    }
    return ok;
}

static void drop_images(struct gr_loader *loader)
{
    for (int64_t i = 0; i < loader->depth; i++) {
        free(loader->slots[i].images);
        loader->slots[i].images = NULL;
    }
}

static bool alloc_slots(struct gr_loader *loader)
{
    const size_t batch = (size_t)loader->options.batch;
    loader->slots = calloc((size_t)loader->depth, sizeof *loader->slots);
    for (int64_t i = 0; loader->slots && i < loader->depth; i++) {
        struct gr_loader_slot *slot = &loader->slots[i];
        slot->labels = calloc(batch, sizeof *slot->labels);
        slot->indices = calloc(batch, sizeof *slot->indices);
        if (!slot->labels || !slot->indices)
            return false;
        clear_slot(slot);
    }
    return loader->slots != NULL;
}

/* Of the images of a batch, in whole cache lines; false when they overflow. */
static bool count_bytes(struct gr_loader *loader)
{
    size_t elements, bytes;
    if (!gr_size_multiply((size_t)loader->options.batch, (size_t)loader->sample_size, &elements) ||
        !gr_size_multiply(elements, sizeof(float), &bytes) || bytes > PTRDIFF_MAX - ALIGN)
        return false;
    loader->batch_bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return true;
}

static bool alloc(struct gr_loader *loader)
{
    const size_t count = (size_t)loader->count;
    loader->order = calloc(count, sizeof *loader->order);
    loader->corrupt = calloc(count, sizeof *loader->corrupt);
    loader->threads = calloc((size_t)loader->options.threads, sizeof *loader->threads);
    return loader->order && loader->corrupt && loader->threads && count_bytes(loader) &&
           alloc_slots(loader);
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
            gr_thread_start(&loader->threads[loader->n_threads], gr_loader_thread, loader);
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
    if (loader->slots)
        drop_images(loader);
    for (int64_t i = 0; loader->slots && i < loader->depth; i++) {
        struct gr_loader_slot *slot = &loader->slots[i];
        clear_slot(slot);
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
    loader->fill = loader->next = loader->batches; /* no new tasks; those under way end */
    loader->fill_row = 0;
    while (loader->running)
        pthread_cond_wait(&loader->ready, &loader->lock);
    for (int64_t i = 0; i < loader->depth; i++)
        clear_slot(&loader->slots[i]);
    loader->announced = 0;
    loader->held = false;
    loader->err = (struct gr_error){0};
    const bool ok = take_images(loader);
    if (ok) {
        loader->draw = (struct gr_draw){loader->options.seed, (uint32_t)epoch};
        set_order(loader);
        loader->fill = loader->next = first_batch;
        pthread_cond_broadcast(&loader->work);
    }
    pthread_mutex_unlock(&loader->lock);
    return ok || gr_fail_memory(err, "loading data");
}

/* ---- handing out ------------------------------------------------------------------------- */

/* Gives the borrowed batch back and waits for the next; NULL at the end of the epoch. */
static struct gr_loader_slot *next_slot(struct gr_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    if (loader->held) {
        clear_slot(&loader->slots[(loader->next - 1) % loader->depth]);
        loader->held = false;
        pthread_cond_broadcast(&loader->work);
    }
    struct gr_loader_slot *slot = NULL;
    if (loader->next < loader->batches) {
        slot = &loader->slots[loader->next % loader->depth];
        const double start = gr_seconds();
        while (slot->batch != loader->next || slot->done < slot->rows)
            pthread_cond_wait(&loader->ready, &loader->lock);
        loader->wait_seconds += gr_seconds() - start;
        loader->next++;
        loader->held = true;
    } else {
        drop_images(loader); /* all tasks are done, since their batches were handed out */
    }
    pthread_mutex_unlock(&loader->lock);
    return slot;
}

static int by_row(const void *a, const void *b)
{
    const struct gr_loader_failure *x = a, *y = b;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return (x->step > y->step) - (x->step < y->step);
}

/* Counts and logs what could not be read, in the order of the epoch. */
static bool count_failures(struct gr_loader *loader, struct gr_loader_slot *slot,
                           struct gr_error *err)
{
    const struct gr_loader_options *options = &loader->options;
    if (slot->n_failures)
        qsort(slot->failures, slot->n_failures, sizeof *slot->failures, by_row);
    for (size_t i = 0; i < slot->n_failures; i++) {
        const struct gr_loader_failure *failure = &slot->failures[i];
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
static int64_t compact(struct gr_loader *loader, struct gr_loader_slot *slot)
{
    const size_t size = (size_t)loader->sample_size;
    int64_t n = 0;
    for (int64_t row = 0; row < slot->rows; row++) {
        if (slot->indices[row] == GR_LOADER_HOLE)
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
        slot->indices[row] = GR_LOADER_HOLE;
    }
    return n;
}

/* True with count 0 at the end of the epoch. */
static bool next_batch(struct gr_loader *loader, struct gr_batch *batch, struct gr_error *err)
{
    struct gr_loader_slot *slot;
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
