/*
 * The folders of two training runs that must have come to the same: every file the same bytes, but
 * for what is documented to tell of the time: report.html and run.jsonl, in the other records the
 * keys seconds, wait_seconds, images_per_second and wait_share, and in events the time of day, and
 * in kernels.json seconds. Whatever differs ends the test.
 */
#ifndef GR_TESTS_RUN_FILES_H
#define GR_TESTS_RUN_FILES_H

#include <stddef.h>

void gr_run_files_expect_same(const char *folder_a, const char *folder_b);

/* The whole of a file, the caller's; a zero follows it. */
char *gr_run_files_read(const char *path, size_t *length);

#endif
