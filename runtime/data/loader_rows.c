/*
 * The threads of a loader: rows of batches, read in the order that take_task hands them out.
 */
#define _DEFAULT_SOURCE
#include "data/loader_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "data/epoch_order.h"

static void add_failure(struct gr_loader *loader, struct gr_loader_slot *slot,
                        struct gr_loader_failure failure, const char *message)
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

static void set_error(struct gr_loader *loader, struct gr_loader_slot *slot,
                      const struct gr_error *err)
{
    pthread_mutex_lock(&loader->lock);
    gr_fail(&slot->err, err->status, "%s", err->message);
    pthread_mutex_unlock(&loader->lock);
}

/* Reads sample index into the row; false when it cannot be used, after recording why. */
static bool try_sample(struct gr_loader *loader, struct gr_loader_slot *slot,
                       struct gr_loader_failure candidate, struct gr_scratch *scratch,
                       bool *give_up)
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
static void load_row(struct gr_loader *loader, struct gr_loader_slot *slot, int64_t row,
                     struct gr_scratch *scratch)
{
    const int64_t position = slot->batch * loader->options.batch + row;
    const int64_t candidates = loader->options.replace_corrupt ? loader->count : 1;
    int64_t failed = 0; /* more than the limit: handing out the batch will fail anyway */
    bool give_up = false;
    slot->indices[row] = GR_LOADER_HOLE;
    for (int64_t step = 0; step < candidates && failed <= loader->options.max_corrupt; step++) {
        const int64_t index = loader->order[(position + step) % loader->count];
        const struct gr_loader_failure candidate = {row, step, index, NULL};
        if (try_sample(loader, slot, candidate, scratch, &give_up) || give_up)
            return;
        failed += !atomic_load_explicit(&loader->corrupt[index], memory_order_relaxed);
    }
}

/* With the lock held: has the task announce what comes after this window, if nobody has. */
static void announce(struct gr_loader *loader, struct gr_loader_task *task, int64_t position)
{
    const int64_t end = (position / GR_ORDER_WINDOW + 2) * GR_ORDER_WINDOW;
    task->ahead_end = !loader->mixed ? 0 : end < loader->count ? end : loader->count;
    task->ahead = loader->announced > position ? loader->announced : position;
    if (task->ahead_end > task->ahead)
        loader->announced = task->ahead_end;
}

/* With the lock held: the next rows to load, if there is room for them. */
static bool take_task(struct gr_loader *loader, struct gr_loader_task *task)
{
    const int64_t oldest = loader->next - loader->held;
    if (loader->fill >= loader->batches || loader->fill >= oldest + loader->depth)
        return false;
    struct gr_loader_slot *slot = &loader->slots[loader->fill % loader->depth];
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

static void run_task(struct gr_loader *loader, const struct gr_loader_task *task,
                     struct gr_scratch *scratch)
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

void *gr_loader_thread(void *user)
{
    struct gr_loader *loader = user;
    struct gr_scratch *scratch = gr_scratch_new();
    struct gr_loader_task task;
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
