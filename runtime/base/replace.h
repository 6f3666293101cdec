/*
 * Files that appear whole or not at all: written beside their place under another name, synced, and
 * renamed over it. Whoever opens the path sees the old file or the new one, never a part. Where the
 * system can, the new file has no name until it is whole, so that a process that is killed leaves
 * nothing behind; elsewhere it may leave NAME.PID-N.tmp.
 */
#ifndef GR_BASE_REPLACE_H
#define GR_BASE_REPLACE_H

#include "base/error.h"

#include <stdio.h>

/* Zero-initialised is nothing open. Write to file, with stdio. */
struct gr_replace {
    FILE *file;
    const char *path; /* borrowed; as the caller spelled it */
    char *target;     /* path with symbolic links followed; NULL: written in place */
    char *temporary;  /* its name before the last; NULL: it has none, or is written in place */
};

/*
 * Opens a file to be written in the place of path, which must stay valid until release. "-" is
 * standard output; that, and what exists but is no regular file (a device, a pipe), is written to
 * directly. False and *err on failure.
 */
bool gr_replace_open(struct gr_replace *replace, const char *path, struct gr_error *err);

/*
 * Makes what was written the file at path: flush, sync, rename, sync of the folder. False and *err,
 * with the old file untouched, when that or an earlier write failed.
 */
bool gr_replace_commit(struct gr_replace *replace, struct gr_error *err);

/* Ends it, committed or not: without a commit, no trace is left. */
void gr_replace_release(struct gr_replace *replace);

/* Makes changes of names last in the folder that path is in. False, with errno, on failure. */
bool gr_sync_folder(const char *path);

/*
 * Makes a folder, and those above it, unless they are there. One that is there is refused if what
 * is written into it could end up elsewhere (gr_refuse_links).
 */
bool gr_make_folder(const char *folder, struct gr_error *err);

/*
 * A usage error where the folder holds links, named like the files that are written to folders,
 * that lead out of it, or pipes and devices.
 */
bool gr_refuse_links(const char *folder, struct gr_error *err);

#endif
