/*
 * The files that work leaves in a folder, held against those it leaves when something fails.
 */
#ifndef GR_TESTS_TRIAL_FILES_H
#define GR_TESTS_TRIAL_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GR_TRIAL_FILES = 128, GR_TRIAL_NAME = 256 };

/* Zero-initialised is empty. */
struct gr_trial_files {
    struct gr_trial_file {
        char name[GR_TRIAL_NAME]; /* relative to the folder */
        uint64_t hash;
        bool varies; /* from run to run */
    } files[GR_TRIAL_FILES];
    size_t count;
};

/* Empties the folder, making it if need be, and copies another's files into it (NULL: none). */
void gr_trial_files_reset(const char *folder, const char *from);

/* Lists the folder's files; called again after another run, learns which of them vary. */
void gr_trial_files_list(struct gr_trial_files *files, const char *folder);

/* How the work ended, which says what it must have left. */
enum gr_trial_end {
    GR_TRIAL_DONE,   /* all of its files */
    GR_TRIAL_WARNED, /* files that are whole; some may be missing, or hold something else */
    GR_TRIAL_FAILED, /* the same, and the last line of a record may be cut short */
};

/*
 * NULL, or what is wrong with the folder: a file that the usual run does not leave (but for the
 * pattern `leaves`, which may be NULL: old files, where removing them failed), one that is
 * neither as usual nor as before nor whole, by its kind, or one that is missing.
 */
const char *gr_trial_files_compare(const struct gr_trial_files *usual,
                                   const struct gr_trial_files *before, const char *folder,
                                   const char *leaves, enum gr_trial_end end);

#endif
