/*
 * A fuzz target as a test, where there is no libFuzzer: runs the files it is given, and all files
 * in the folders among them, each from a block of memory of just its size.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nftw */
#endif
#include "fuzz.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BYTES_MOST = 1 << 24, SECONDS_MOST = 20 }; /* of a loaded machine with sanitizers */

static int count, slow;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void run(const char *path, FILE *file)
{
    static uint8_t buffer[BYTES_MOST];
    const size_t size = fread(buffer, 1, sizeof buffer, file);
    uint8_t *exact = malloc(size ? size : 1);
    gr_fuzz_expect(exact != NULL, "there is memory for the input");
    memcpy(exact, buffer, size);
    const double start = now();
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    count++;
    if (now() - start < SECONDS_MOST)
        return;
    fprintf(stderr, "%s: took %.1f seconds\n", path, now() - start);
    slow++;
}

/* For targets with a mutator of their own, which is not used here. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most)
{
    (void)data, (void)most;
    return size;
}

static int visit(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)walk;
    FILE *file = type == FTW_F ? fopen(path, "rb") : NULL;
    if (file) {
        run(path, file);
        fclose(file);
    }
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        nftw(argv[i], visit, 8, FTW_PHYS);
    printf("%d inputs\n", count);
    return count && !slow ? EXIT_SUCCESS : EXIT_FAILURE;
}
