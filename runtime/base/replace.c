/*
 * Files that appear whole or not at all; see replace.h.
 */
#define _POSIX_C_SOURCE 200809L
#define _XOPEN_SOURCE 700 /* realpath */
#include "base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ATTEMPTS = 1000, PATH_SIZE = 4096 };

static bool fail(const struct gr_replace *replace, const char *what, struct gr_error *err)
{
    return gr_fail_system(err, GR_ERR_RUNTIME, errno ? errno : EIO, what, replace->path);
}

/* Creates `target.PID-N.tmp` for the first N that is free, so that writers do not meet. */
static int create_beside(struct gr_replace *replace)
{
    const size_t size = strlen(replace->target) + 64;
    replace->temporary = malloc(size);
    if (!replace->temporary)
        return -1;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        snprintf(replace->temporary, size, "%s.%ld-%d.tmp", replace->target, (long)getpid(),
                 attempt);
        const int fd = open(replace->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST)
            break;
    }
    free(replace->temporary); /* it is not ours to remove */
    replace->temporary = NULL;
    return -1;
}

bool gr_replace_open(struct gr_replace *replace, const char *path, struct gr_error *err)
{
    *replace = (struct gr_replace){.path = path};
    if (strcmp(path, "-") == 0) {
        replace->file = stdout;
        return true;
    }
    struct stat status;
    const bool exists = stat(path, &status) == 0;
    if (exists && S_ISDIR(status.st_mode)) {
        errno = EISDIR;
        return fail(replace, "cannot write", err);
    }
    if (exists && !S_ISREG(status.st_mode)) {
        replace->file = fopen(path, "we");
        return replace->file ? true : fail(replace, "cannot open for writing", err);
    }
    replace->target = exists ? realpath(path, NULL) : strdup(path);
    const int fd = replace->target ? create_beside(replace) : -1;
    if (fd >= 0)
        replace->file = fdopen(fd, "w");
    if (replace->file)
        return true;
    fail(replace, "cannot create", err);
    if (fd >= 0)
        close(fd);
    gr_replace_release(replace);
    return false;
}

/* Makes the rename itself last. Not every file system can; what it cannot do is no error. */
static bool sync_folder(const char *target)
{
    char *folder = strdup(target);
    if (!folder)
        return false;
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    const int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (fd < 0)
        return errno == EACCES; /* a folder may be writable and not readable */
    const bool done = fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS;
    close(fd);
    return done;
}

bool gr_replace_commit(struct gr_replace *replace, struct gr_error *err)
{
    FILE *file = replace->file;
    if (fflush(file) != 0 || ferror(file))
        return fail(replace, "cannot write", err);
    if (file == stdout)
        return true;
    if (replace->temporary && fsync(fileno(file)) != 0)
        return fail(replace, "cannot sync", err);
    replace->file = NULL;
    if (fclose(file) != 0)
        return fail(replace, "cannot write", err);
    if (!replace->temporary)
        return true;
    if (rename(replace->temporary, replace->target) != 0)
        return fail(replace, "cannot rename the new file into place", err);
    free(replace->temporary);
    replace->temporary = NULL;
    return sync_folder(replace->target) ? true : fail(replace, "cannot sync its folder", err);
}

void gr_replace_release(struct gr_replace *replace)
{
    if (replace->file && replace->file != stdout)
        fclose(replace->file);
    if (replace->temporary)
        unlink(replace->temporary);
    free(replace->temporary);
    free(replace->target);
    *replace = (struct gr_replace){0};
}

bool gr_make_folder(const char *folder, struct gr_error *err)
{
    char path[PATH_SIZE];
    const int n = snprintf(path, sizeof path, "%s", folder);
    if (n <= 0 || n >= PATH_SIZE)
        return gr_fail(err, GR_ERR_USAGE, "the path of the folder is empty or too long");
    for (char *p = path + 1;; p++) {
        if (*p && *p != '/')
            continue;
        const char end = *p;
        *p = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot make the folder", path);
        *p = end;
        if (!end)
            return true;
    }
}
