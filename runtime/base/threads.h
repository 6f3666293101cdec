/*
 * How many threads this process may use.
 */
#ifndef GR_BASE_THREADS_H
#define GR_BASE_THREADS_H

/*
 * The cores that the scheduler affinity and the cgroup's CPU quota (v2 cpu.max, v1 cfs_quota_us;
 * a fraction rounds up) allow, at least 1.
 */
int gr_threads_available(void);

#endif
