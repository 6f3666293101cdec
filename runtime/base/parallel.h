/*
 * The same work for each of many things, by several threads: for files and archives, where threads
 * wait for a disk. (Numbers are crunched by OpenMP.)
 */
#ifndef GR_BASE_PARALLEL_H
#define GR_BASE_PARALLEL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Calls work(user, thread, i) for every i below count, each once, in about that order, from up to
 * `threads` threads, of which the caller's is number 0. Once a call returns false no more begin.
 * Returns whether all returned true. Where the system has no more threads, fewer do it.
 */
bool gr_parallel(int64_t count, int threads, bool (*work)(void *user, int thread, int64_t i),
                 void *user);

#endif
