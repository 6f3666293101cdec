/*
 * Lanes; see lanes.h.
 */
#include "base/lanes.h"

#include <omp.h>
#include <stdlib.h>

#include "base/threads.h"

struct lane {
    struct gr_lanes *lanes;
    pthread_t thread;
    int index;
};

struct gr_lanes {
    int count, threads, started;
    struct lane *lane; /* [count]; NULL for lanes of one thread */
    pthread_mutex_t mutex;
    pthread_cond_t begin, end;
    uint64_t call; /* rises with each call; lanes wait for it */
    int busy;      /* lanes that are not done with it */
    bool stop;     /* the lanes are to end */
    void (*work)(void *user, int lane);
    void *user;
};

/* Makes the team of this thread, so that no later region has to. */
static void warm_up(int threads)
{
    omp_set_num_threads(threads);
    int present = 0;
#pragma omp parallel reduction(+ : present)
    present += 1;
    (void)present;
}

static void *serve(void *pointer)
{
    struct lane *lane = pointer;
    struct gr_lanes *lanes = lane->lanes;
    uint64_t seen = 0;
    warm_up(lanes->threads);
    pthread_mutex_lock(&lanes->mutex);
    for (;;) {
        while (lanes->call == seen && !lanes->stop)
            pthread_cond_wait(&lanes->begin, &lanes->mutex);
        if (lanes->stop)
            break;
        seen = lanes->call;
        pthread_mutex_unlock(&lanes->mutex);
        lanes->work(lanes->user, lane->index);
        pthread_mutex_lock(&lanes->mutex);
        if (--lanes->busy == 0)
            pthread_cond_signal(&lanes->end);
    }
    pthread_mutex_unlock(&lanes->mutex);
    return NULL;
}

struct gr_lanes *gr_lanes_new(int count, int threads, struct gr_error *err)
{
    struct gr_lanes *lanes = calloc(1, sizeof *lanes);
    struct lane *lane = threads > 1 ? calloc((size_t)count, sizeof *lane) : NULL;
    if (!lanes || (threads > 1 && !lane)) {
        free(lanes);
        free(lane);
        gr_fail_memory(err, "lanes");
        return NULL;
    }
    *lanes = (struct gr_lanes){.count = count, .threads = threads, .lane = lane};
    pthread_mutex_init(&lanes->mutex, NULL);
    pthread_cond_init(&lanes->begin, NULL);
    pthread_cond_init(&lanes->end, NULL);
    for (int l = 0; lane && l < count; l++) {
        lane[l].lanes = lanes;
        lane[l].index = l;
        const int failed = gr_thread_start(&lane[l].thread, serve, &lane[l]);
        if (failed) {
            gr_fail_system(err, GR_ERR_RUNTIME, failed, "cannot start", "a lane");
            gr_lanes_free(lanes);
            return NULL;
        }
        lanes->started++;
    }
    return lanes;
}

void gr_lanes_free(struct gr_lanes *lanes)
{
    if (!lanes)
        return;
    pthread_mutex_lock(&lanes->mutex);
    lanes->stop = true;
    pthread_cond_broadcast(&lanes->begin);
    pthread_mutex_unlock(&lanes->mutex);
    for (int l = 0; l < lanes->started; l++)
        pthread_join(lanes->lane[l].thread, NULL);
    pthread_cond_destroy(&lanes->begin);
    pthread_cond_destroy(&lanes->end);
    pthread_mutex_destroy(&lanes->mutex);
    free(lanes->lane);
    free(lanes);
}

void gr_lanes_run(struct gr_lanes *lanes, void (*work)(void *user, int lane), void *user)
{
    if (!lanes->lane) {
        /* A team may be smaller than asked for: its threads then take several lanes each. */
#pragma omp parallel num_threads(lanes->count)
        for (int l = omp_get_thread_num(); l < lanes->count; l += omp_get_num_threads())
            work(user, l);
        return;
    }
    pthread_mutex_lock(&lanes->mutex);
    lanes->work = work;
    lanes->user = user;
    lanes->busy = lanes->count;
    lanes->call++;
    pthread_cond_broadcast(&lanes->begin);
    while (lanes->busy)
        pthread_cond_wait(&lanes->end, &lanes->mutex);
    pthread_mutex_unlock(&lanes->mutex);
}
