/*
 * Work shared out among threads; see parallel.h.
 */
#include "base/parallel.h"

#include <stdatomic.h>

#include "base/threads.h"

enum { THREADS_MAX = 64 };

struct shared {
    int64_t count;
    bool (*work)(void *user, int thread, int64_t i);
    void *user;
    atomic_int_fast64_t next;
    atomic_bool stopped;
};

struct worker {
    struct shared *shared;
    int number;
    pthread_t thread;
};

static void *run(void *argument)
{
    const struct worker *worker = argument;
    struct shared *shared = worker->shared;
    while (!atomic_load(&shared->stopped)) {
        const int64_t i = atomic_fetch_add(&shared->next, 1);
        if (i >= shared->count)
            break;
        if (!shared->work(shared->user, worker->number, i))
            atomic_store(&shared->stopped, true);
    }
    return NULL;
}

bool gr_parallel(int64_t count, int threads, bool (*work)(void *user, int thread, int64_t i),
                 void *user)
{
    struct shared shared = {.count = count, .work = work, .user = user};
    struct worker workers[THREADS_MAX];
    int started = 1;
    const int most = threads < THREADS_MAX ? threads : THREADS_MAX;
    for (; started < most && started < count; started++) {
        workers[started] = (struct worker){.shared = &shared, .number = started};
        if (gr_thread_start(&workers[started].thread, run, &workers[started]) != 0)
            break;
    }
    workers[0] = (struct worker){.shared = &shared};
    run(&workers[0]);
    for (int i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    return !atomic_load(&shared.stopped);
}
