/*
 * Runs a program as a user would and keeps what came of it. A failure to start it ends the test.
 */
#ifndef GR_TESTS_COMMAND_H
#define GR_TESTS_COMMAND_H

#include <sys/types.h>

/* What a program printed and how it ended; status is 128 plus the signal that killed it. */
struct gr_outcome {
    int status;
    char *out, *err; /* owned */
};

void gr_outcome_release(struct gr_outcome *outcome);

/* Where standard output and error go instead; NULL members: files of the test's folder. */
struct gr_command_streams {
    const char *out, *err;
};

/*
 * Starts arguments[0] (NULL ends them) with nothing to read. What it prints goes to the files
 * "stdout" and "stderr" in the test's folder unless streams (may be NULL) says otherwise.
 */
pid_t gr_command_start(const char *const *arguments, const struct gr_command_streams *streams);

/* Waits for the end; the texts are those of the two files. */
struct gr_outcome gr_command_end(pid_t pid);

/* The whole of a text file; owned by the caller. */
char *gr_command_read(const char *path);

#endif
