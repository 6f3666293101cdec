/*
 * Faults on demand; see faults.h. This file decides which calls fail and watches the memory; the
 * functions that fail are in faults_calls.c.
 */
#define _GNU_SOURCE
#include "faults_decide.h"

#include <execinfo.h>
#include <link.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { RANGES = 32, CALLS = 1 << 20, FRAMES = 10, WATCHED = 1 << 17 };

static const char *const names[GR_FAULT_KINDS] = {
    "memory", "open", "read", "write", "thread", "map", "oneDNN", "short",
};

const char *gr_fault_name(enum gr_fault kind)
{
    return names[kind];
}

/* ---- whose calls count ------------------------------------------------------------------- */

static struct range {
    uintptr_t start, end;
} ranges[RANGES];
static int n_ranges;

static int add_ranges(struct dl_phdr_info *info, size_t size, void *user)
{
    static const char *const libraries[] = {
#ifndef SANITIZED /* whose runtime uses the C library, and does not bear its failing */
        "/libc.so",
#endif
        "/libyaml-", "/libjpeg.so", "/libpng16", "/libz.so", "/libjansson", NULL};
    (void)size, (void)user;
    bool counts = info->dlpi_name[0] == '\0'; /* this program */
    for (int i = 0; libraries[i]; i++)
        counts = counts || strstr(info->dlpi_name, libraries[i]);
    for (int i = 0; counts && i < info->dlpi_phnum && n_ranges < RANGES; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
            const uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            ranges[n_ranges++] = (struct range){start, start + info->dlpi_phdr[i].p_memsz};
        }
    return 0;
}

static bool counts(const void *caller)
{
    for (int i = 0; i < n_ranges; i++)
        if ((uintptr_t)caller >= ranges[i].start && (uintptr_t)caller < ranges[i].end)
            return true;
    return false;
}

/* ---- which call fails -------------------------------------------------------------------- */

static atomic_bool armed;
static enum gr_fault armed_kind;
static size_t armed_nth;
static bool armed_onwards;
static atomic_size_t calls;
static uint64_t ways[CALLS];
static void *failed[GR_FAULT_FRAMES];
static _Thread_local bool paused;

static uint64_t way_here(void)
{
    void *frames[FRAMES];
    const int n = backtrace(frames, FRAMES);
    uint64_t hash = 1469598103934665603u;
    for (int i = 2; i < n; i++) /* without this function and its caller */
        hash = (hash ^ (uintptr_t)frames[i]) * 1099511628211u;
    return hash;
}

bool gr_faults_armed(enum gr_fault kind)
{
    return atomic_load(&armed) && armed_kind == kind && !paused;
}

bool gr_faults_decide(enum gr_fault kind, const void *caller)
{
    if (!gr_faults_armed(kind) || !counts(caller))
        return false;
    const size_t n = atomic_fetch_add(&calls, 1) + 1;
    if (armed_nth == 0 && n <= CALLS) {
        paused = true;
        ways[n - 1] = way_here();
        paused = false;
    }
    if (armed_nth && n == armed_nth) {
        paused = true;
        backtrace(failed, GR_FAULT_FRAMES);
        paused = false;
    }
    return armed_nth && (n == armed_nth || (armed_onwards && n > armed_nth));
}

void gr_faults_pause(bool now)
{
    paused = now;
}

uint64_t gr_faults_way(size_t nth)
{
    return nth >= 1 && nth <= CALLS ? ways[nth - 1] : 0;
}

/* ---- memory that nobody freed ------------------------------------------------------------ */

/* A table with linear probing. */
static struct watched {
    const void *memory, *caller;
} watched[WATCHED];
static size_t n_watched;
static atomic_flag busy = ATOMIC_FLAG_INIT;

static size_t place_of(const void *memory)
{
    return (size_t)((uintptr_t)memory / 16 * 11400714819323198485u >> 40) % WATCHED;
}

static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        ;
}

static void unlock(void)
{
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

void gr_faults_allocated(const void *memory, const void *caller)
{
    if (!memory || !atomic_load(&armed) || !counts(caller))
        return;
    lock();
    if (n_watched >= WATCHED / 2)
        abort(); /* the table is too small for this test */
    size_t i = place_of(memory);
    while (watched[i].memory && watched[i].memory != memory)
        i = (i + 1) % WATCHED;
    n_watched += !watched[i].memory;
    watched[i] = (struct watched){memory, caller};
    unlock();
}

/* Moves what comes after the hole at i into it where it can no longer be found otherwise. */
static void close_hole(size_t i)
{
    for (size_t j = (i + 1) % WATCHED; watched[j].memory; j = (j + 1) % WATCHED) {
        const size_t home = place_of(watched[j].memory);
        if ((j - home + WATCHED) % WATCHED >= (j - i + WATCHED) % WATCHED) {
            watched[i] = watched[j];
            watched[j].memory = NULL;
            i = j;
        }
    }
}

void gr_faults_freed(const void *memory)
{
    if (!memory || !atomic_load(&armed))
        return;
    lock();
    size_t i = place_of(memory);
    while (watched[i].memory && watched[i].memory != memory)
        i = (i + 1) % WATCHED;
    if (watched[i].memory) {
        watched[i].memory = NULL;
        n_watched--;
        close_hole(i);
    }
    unlock();
}

/* ---- arming ------------------------------------------------------------------------------ */

void gr_faults_arm(enum gr_fault kind, size_t nth, bool onwards)
{
    if (n_ranges == 0) {
        dl_iterate_phdr(add_ranges, NULL);
        way_here(); /* the first call loads a library */
    }
    memset(watched, 0, sizeof watched);
    memset(failed, 0, sizeof failed);
    n_watched = 0;
    atomic_store(&calls, 0);
    armed_kind = kind;
    armed_nth = nth;
    armed_onwards = onwards;
    atomic_store(&armed, true);
}

struct gr_faults_seen gr_faults_disarm(void)
{
    atomic_store(&armed, false);
    struct gr_faults_seen seen = {.calls = atomic_load(&calls), .live = n_watched};
    memcpy(seen.failed, failed, sizeof failed);
    for (size_t i = 0; n_watched && i < WATCHED && !seen.live_caller; i++)
        seen.live_caller = watched[i].memory ? watched[i].caller : NULL;
    return seen;
}
