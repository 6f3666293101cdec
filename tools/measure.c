/*
 * Time and memory of the process; see measure.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* clock_gettime */
#endif
#include "measure.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

double gr_measure_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* The number behind a field of /proc/self/status, which counts in KiB. */
static size_t status_bytes(const char *field)
{
    char line[256];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0)
            sscanf(line + strlen(field), "%zu", &kib);
    if (file)
        fclose(file);
    return kib * 1024;
}

size_t gr_measure_resident(void)
{
    return status_bytes("VmRSS:");
}

size_t gr_measure_peak(void)
{
    return status_bytes("VmHWM:");
}

void gr_measure_reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (!file)
        return;
    fputs("5", file);
    fclose(file);
}
