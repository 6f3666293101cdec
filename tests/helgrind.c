/*
 * Tells helgrind what GCC's OpenMP runtime does with futexes, which it cannot see: a region's
 * threads begin after what their master did before it, they wait for each other at barriers, and
 * the master goes on after all of them. Part of every program of the preset `helgrind`, where
 * oneDNN and OpenBLAS find these functions, too.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif
#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <valgrind/helgrind.h>

/* A region. The addresses of its members name events. */
struct team {
    void (*body)(void *data);
    void *data;
    char begin, end, barrier[2];
};

static _Thread_local struct team *team;
static _Thread_local unsigned barriers; /* of the team that this thread has passed */

static char atomic; /* names the one lock of GOMP_atomic_start */

void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
void GOMP_barrier(void);
void GOMP_loop_end(void);
void GOMP_atomic_start(void);
void GOMP_atomic_end(void);

/* The runtime's own function of that name. */
static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

static void run(void *pointer)
{
    struct team *const outer = team;
    const unsigned outer_barriers = barriers;
    team = pointer;
    barriers = 0;
    ANNOTATE_HAPPENS_AFTER(&team->begin);
    team->body(team->data);
    ANNOTATE_HAPPENS_BEFORE(&team->end);
    team = outer;
    barriers = outer_barriers;
}

void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags)
{
    void (*const real)(void (*)(void *), void *, unsigned, unsigned) =
        (void (*)(void (*)(void *), void *, unsigned, unsigned))next("GOMP_parallel");
    struct team here = {.body = body, .data = data};
    ANNOTATE_HAPPENS_BEFORE(&here.begin);
    real(run, &here, threads, flags);
    ANNOTATE_HAPPENS_AFTER(&here.end);
}

/* Two events in turn: no thread is two barriers ahead of another. */
static void wait_by(const char *name)
{
    void (*const real)(void) = (void (*)(void))next(name);
    if (!team) {
        real();
        return;
    }
    char *const event = &team->barrier[barriers++ % 2];
    ANNOTATE_HAPPENS_BEFORE(event);
    real();
    ANNOTATE_HAPPENS_AFTER(event);
}

void GOMP_barrier(void)
{
    wait_by("GOMP_barrier");
}

void GOMP_loop_end(void)
{
    wait_by("GOMP_loop_end");
}

void GOMP_atomic_start(void)
{
    ((void (*)(void))next("GOMP_atomic_start"))();
    ANNOTATE_HAPPENS_AFTER(&atomic);
}

void GOMP_atomic_end(void)
{
    ANNOTATE_HAPPENS_BEFORE(&atomic);
    ((void (*)(void))next("GOMP_atomic_end"))();
}
