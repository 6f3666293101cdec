/*
 * Files that only grow, through trouble: what cannot be written (a full disk) is kept in memory, in
 * its place, and written before what comes next. Each piece is handed to the system at once.
 */
#ifndef GR_BASE_APPEND_H
#define GR_BASE_APPEND_H

#include "base/error.h"

enum { GR_APPEND_MOST = 64 << 20 }; /* bytes that are kept; what would be more is lost */

struct gr_append;

/*
 * Opens a file, made if need be, to be written from its end, or emptied first. By gr_append_fd it
 * can be read, and cut before the first piece. path is copied. NULL and *err on failure.
 */
struct gr_append *gr_append_open(const char *path, bool empty, struct gr_error *err);

/*
 * Adds a piece. False and *err (naming the file) when it, or one before it, is not written yet: a
 * later call tries again.
 */
bool gr_append_write(struct gr_append *append, const void *data, size_t bytes,
                     struct gr_error *err);

/*
 * Cuts a file of lines behind the first `most` that are whole (negative: behind the last), before
 * the first piece. *kept is how many are left. False and *err on failure.
 */
bool gr_append_cut_lines(struct gr_append *append, int64_t most, int64_t *kept,
                         struct gr_error *err);

/*
 * Where the file is no longer at its path, because its folder was removed: makes it anew there,
 * with all that was written to it, and goes on in that one. What is there instead is overwritten,
 * but no link followed. False and *err on failure: then nothing has changed, and a later call tries
 * again.
 */
bool gr_append_renew(struct gr_append *append, struct gr_error *err);

int gr_append_fd(const struct gr_append *append);

/* Ends it; NULL is fine. False and *err when some of it could not be written, to the last. */
bool gr_append_close(struct gr_append *append, struct gr_error *err);

#endif
