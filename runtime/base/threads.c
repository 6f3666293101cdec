/*
 * How many threads this process may use, and starting one; see threads.h.
 */
#define _GNU_SOURCE
#include "base/threads.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static long affinity_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    return sysconf(_SC_NPROCESSORS_ONLN); /* more processors than the set has places for */
}

/* Rounds quota / period up; 0 when there is no limit. */
static long cores_of(long quota, long period)
{
    return quota > 0 && period > 0 ? (quota + period - 1) / period : 0;
}

static long read_long(const char *path)
{
    long number = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%ld", &number) != 1)
        number = 0;
    fclose(file);
    return number;
}

/* The tightest cpu.max from this process's cgroup up to the root; 0 when none limits. */
static long cgroup2_cores(void)
{
    char path[1024] = "", line[1024];
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "0::/", 4) == 0)
            snprintf(path, sizeof path, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
    if (file)
        fclose(file);
    long least = 0;
    for (;;) {
        char name[1100];
        long quota = 0, period = 0;
        snprintf(name, sizeof name, "/sys/fs/cgroup%s/cpu.max", path);
        file = fopen(name, "re");
        if (file && fscanf(file, "%ld %ld", &quota, &period) == 2) {
            long cores = cores_of(quota, period);
            if (cores && (!least || cores < least))
                least = cores;
        }
        if (file)
            fclose(file);
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

int gr_threads_available(void)
{
    long cores = affinity_cores();
    long limits[] = {cgroup2_cores(), cores_of(read_long("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
                                               read_long("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))};
    for (int i = 0; i < 2; i++)
        if (limits[i] && limits[i] < cores)
            cores = limits[i];
    return cores < 1 ? 1 : (int)cores;
}

int gr_thread_start(pthread_t *thread, void *(*run)(void *user), void *user)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a thread begins with that of its parent */
    const int failed = pthread_create(thread, NULL, run, user);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}
