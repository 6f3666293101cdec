/*
 * Lanes: a few pieces of work run beside each other, each with a share of the threads.
 *
 * Lanes of one thread are the threads of one OpenMP team: what they run finds itself inside a
 * parallel region and so stays on its thread, and to start them costs a microsecond or two. Inside
 * a region the libraries use one thread only, so lanes of several threads are threads of their own
 * with OpenMP teams of their own, which sleep between calls; to start those costs a wake-up each.
 */
#ifndef GR_BASE_LANES_H
#define GR_BASE_LANES_H

#include "base/error.h"

struct gr_lanes;

/* `count` lanes of `threads` threads, all started here. NULL and *err on failure. */
struct gr_lanes *gr_lanes_new(int count, int threads, struct gr_error *err);
void gr_lanes_free(struct gr_lanes *lanes); /* NULL is allowed */

/* Calls work(user, lane) for each lane, and returns when all are done. Allocates nothing. */
void gr_lanes_run(struct gr_lanes *lanes, void (*work)(void *user, int lane), void *user);

#endif
