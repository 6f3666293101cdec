/*
 * Faults on demand: the allocator, files and threads as our code and the libraries that report
 * errors properly meet them, failing at a chosen call. Linking this replaces malloc and its
 * relatives, open, fopen, read, write, fsync, mmap and pthread_create for the whole program;
 * nothing fails unless armed.
 *
 * Only calls made by this program's own code, the C library on its behalf, libyaml, libjpeg,
 * libpng, zlib and Jansson count, under sanitizers without the C library. oneDNN (whose C++ would
 * end the process), OpenBLAS (which tries again for ever) and the OpenMP runtime (which exits)
 * always get what they ask for, and Jansson's parser (which asserts) once it has begun.
 */
#ifndef GR_TESTS_FAULTS_H
#define GR_TESTS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gr_fault {
    GR_FAULT_MEMORY, /* an allocation gives NULL */
    GR_FAULT_OPEN,   /* open, fopen, fdopen, opendir: EMFILE */
    GR_FAULT_READ,   /* EIO */
    GR_FAULT_WRITE,  /* ENOSPC, fsync too */
    GR_FAULT_THREAD, /* pthread_create: EAGAIN */
    GR_FAULT_MAP,    /* mmap: ENOMEM */
    GR_FAULT_ONEDNN, /* an object cannot be made, or a primitive not run: out of memory */
    GR_FAULT_SHORT,  /* nothing fails: reads and writes move a few bytes, or are interrupted */
    GR_FAULT_KINDS
};

const char *gr_fault_name(enum gr_fault kind);

/*
 * From now on the nth call of that kind (counting from 1; 0: none) fails, with onwards all after it
 * too. What is allocated from now on is watched.
 */
void gr_faults_arm(enum gr_fault kind, size_t nth, bool onwards);

enum { GR_FAULT_FRAMES = 12 };

struct gr_faults_seen {
    size_t calls;                        /* of that kind */
    const void *failed[GR_FAULT_FRAMES]; /* the way to the first that failed, the nearest first */
    size_t live;                         /* allocations since arming that nobody freed */
    const void *live_caller;             /* who made one of them */
};

struct gr_faults_seen gr_faults_disarm(void);

/* While armed: whether nothing fails for now on this thread, for what a test itself does. */
void gr_faults_pause(bool paused);

/*
 * A number for the way to the nth call since arming: the same for calls made by the same line
 * through the same callers. Of the first million calls.
 */
uint64_t gr_faults_way(size_t nth);

#endif
