/*
 * How many threads this process may use, and how one of the library's begins.
 */
#ifndef GR_BASE_THREADS_H
#define GR_BASE_THREADS_H

#include <pthread.h>

/*
 * The cores that the scheduler affinity and the cgroup's CPU quota (v2 cpu.max, v1 cfs_quota_us;
 * a fraction rounds up) allow, at least 1.
 */
int gr_threads_available(void);

/*
 * pthread_create, for a thread that leaves all signals to those of the program. Returns what that
 * does: 0, or an error number.
 */
int gr_thread_start(pthread_t *thread, void *(*run)(void *user), void *user);

#endif
