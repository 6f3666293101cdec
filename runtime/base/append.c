/*
 * Files that only grow; see append.h.
 */
#define _GNU_SOURCE
#include "base/append.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

struct gr_append {
    int fd;
    char *path;
    struct gr_text kept; /* not written yet */
    bool lost;           /* more than could be kept: the rest is too */
    int reason;          /* the last failure's errno */
};

struct gr_append *gr_append_open(const char *path, bool empty, struct gr_error *err)
{
    struct gr_append *append = calloc(1, sizeof *append);
    if (!append || !(append->path = strdup(path))) {
        gr_fail_memory(err, "a record");
        free(append);
        return NULL;
    }
    append->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | (empty ? O_TRUNC : 0), 0666);
    if (append->fd >= 0)
        return append;
    gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot open for writing", path);
    free(append->path);
    free(append);
    return NULL;
}

/* Where the first `most` lines end, of those that are whole; negative: the file cannot be read. */
static off_t end_of_lines(int fd, int64_t most, int64_t *kept)
{
    char buffer[1 << 16];
    off_t at = 0, end = 0;
    *kept = 0;
    for (ssize_t n; (most < 0 || *kept < most); at += n) {
        n = pread(fd, buffer, sizeof buffer, at);
        if (n < 0 && errno == EINTR) {
            n = 0;
            continue;
        }
        if (n <= 0)
            return n < 0 ? -1 : end;
        const char *from = buffer, *newline;
        const char *const stop = buffer + n;
        while ((most < 0 || *kept < most) &&
               (newline = memchr(from, '\n', (size_t)(stop - from)))) {
            from = newline + 1;
            end = at + (from - buffer);
            ++*kept;
        }
    }
    return end;
}

bool gr_append_cut_lines(struct gr_append *append, int64_t most, int64_t *kept,
                         struct gr_error *err)
{
    const off_t end = end_of_lines(append->fd, most, kept);
    return (end >= 0 && ftruncate(append->fd, end) == 0) ||
           gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot cut", append->path);
}

/* All that is in a file, to another. */
static bool copy_all(int from, int to)
{
    char buffer[1 << 16];
    off_t at = 0;
    for (ssize_t n; (n = pread(from, buffer, sizeof buffer, at)) != 0;) {
        if (n < 0 && errno != EINTR)
            return false;
        for (ssize_t done = 0, m; n > 0 && done < n; done += m) {
            m = write(to, buffer + done, (size_t)(n - done));
            if (m < 0 && errno != EINTR)
                return false;
            m = m < 0 ? 0 : m;
        }
        at += n > 0 ? n : 0;
    }
    return true;
}

bool gr_append_renew(struct gr_append *append, struct gr_error *err)
{
    struct stat ours, there;
    if (fstat(append->fd, &ours) == 0 && stat(append->path, &there) == 0 &&
        ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
        return true;
    const int fd =
        open(append->path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0 || !copy_all(append->fd, fd)) {
        gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot make anew", append->path);
        if (fd >= 0)
            close(fd);
        return false;
    }
    close(append->fd);
    append->fd = fd;
    return true;
}

int gr_append_fd(const struct gr_append *append)
{
    return append->fd;
}

/* Writes what it can; how much that was. */
static size_t write_some(struct gr_append *append, const char *data, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        const ssize_t n = write(append->fd, data + done, bytes - done);
        if (n < 0 && errno != EINTR) {
            append->reason = errno;
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return done;
}

/* Writes what is kept; true: nothing is kept any more. */
static bool catch_up(struct gr_append *append)
{
    struct gr_text *kept = &append->kept;
    if (!kept->length)
        return true;
    const size_t done = write_some(append, kept->data, kept->length);
    memmove(kept->data, kept->data + done, kept->length - done);
    kept->length -= done;
    if (kept->length)
        return false;
    gr_text_release(kept);
    return true;
}

static void keep(struct gr_append *append, const char *data, size_t bytes)
{
    if (append->lost || append->kept.length + bytes > GR_APPEND_MOST)
        append->lost = true; /* and with it all that follows: no hole in the middle */
    else
        gr_text_append(&append->kept, data, bytes);
    append->lost = append->lost || append->kept.failed;
}

bool gr_append_write(struct gr_append *append, const void *data, size_t bytes, struct gr_error *err)
{
    const bool caught_up = catch_up(append) && !append->lost;
    const size_t done = caught_up ? write_some(append, data, bytes) : 0;
    if (done == bytes)
        return true;
    keep(append, (const char *)data + done, bytes - done);
    return gr_fail_system(err, GR_ERR_RUNTIME, append->reason, "cannot write", append->path);
}

bool gr_append_close(struct gr_append *append, struct gr_error *err)
{
    if (!append)
        return true;
    bool ok = catch_up(append) && !append->lost;
    if (close(append->fd) != 0) {
        append->reason = errno;
        ok = false;
    }
    if (!ok)
        gr_fail_system(err, GR_ERR_RUNTIME, append->reason, "cannot write", append->path);
    gr_text_release(&append->kept);
    free(append->path);
    free(append);
    return ok;
}
