/*
 * Files that appear whole or not at all; see replace.h.
 */
#define _GNU_SOURCE /* O_TMPFILE */
#include "base/replace.h"

#include <dirent.h>
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

/* The folder that a path is in, on the heap; NULL: out of memory. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* Calls make for the names `target.PID-N.tmp` until one was free, so that writers do not meet. */
static int take_name(struct gr_replace *replace, int (*make)(const char *name, int fd), int fd)
{
    const size_t size = strlen(replace->target) + 64;
    replace->temporary = malloc(size);
    if (!replace->temporary)
        return -1;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        snprintf(replace->temporary, size, "%s.%ld-%d.tmp", replace->target, (long)getpid(),
                 attempt);
        const int made = make(replace->temporary, fd);
        if (made >= 0)
            return made;
        if (errno != EEXIST)
            break;
    }
    free(replace->temporary); /* it is not ours to remove */
    replace->temporary = NULL;
    return -1;
}

static int create(const char *name, int fd)
{
    (void)fd;
    return open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

/* Names a file that has none. */
static int name_file(const char *name, int fd)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
}

/*
 * A file without a name in target's folder, so that nothing is left of it if the process ends; -1
 * where the system has no such files, or could not name them later.
 */
static int create_nameless(const struct gr_replace *replace)
{
#ifdef O_TMPFILE
    if (access("/proc/self/fd", X_OK) != 0)
        return -1;
    char *folder = folder_of(replace->target);
    const int fd = folder ? open(folder, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666) : -1;
    free(folder);
    return fd;
#else
    (void)replace;
    return -1;
#endif
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
    int fd = replace->target ? create_nameless(replace) : -1;
    if (fd < 0 && replace->target)
        fd = take_name(replace, create, -1);
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

/* Not every file system can; what it cannot do is no error. */
bool gr_sync_folder(const char *target)
{
    char *folder = folder_of(target);
    const int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
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
    if (replace->target && fsync(fileno(file)) != 0)
        return fail(replace, "cannot sync", err);
    if (replace->target && !replace->temporary && take_name(replace, name_file, fileno(file)) < 0)
        return fail(replace, "cannot name the new file", err);
    replace->file = NULL;
    if (fclose(file) != 0)
        return fail(replace, "cannot write", err);
    if (!replace->target)
        return true;
    if (rename(replace->temporary, replace->target) != 0)
        return fail(replace, "cannot rename the new file into place", err);
    free(replace->temporary);
    replace->temporary = NULL;
    return gr_sync_folder(replace->target) ? true : fail(replace, "cannot sync its folder", err);
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

/* ---- folders ----------------------------------------------------------------------------- */

/* Is the name like those of files that go into such folders? */
static bool is_written(const char *name)
{
    static const char *const ends[] = {".safetensors", ".jsonl", ".json", ".yaml",
                                       ".csv",         ".png",   ".html", ".tar"};
    static const char events[] = "events.out.tfevents.";
    const size_t length = strlen(name);
    if (strncmp(name, events, sizeof events - 1) == 0)
        return true;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const size_t end = strlen(ends[i]);
        if (length >= end && strcmp(name + length - end, ends[i]) == 0)
            return true;
    }
    return false;
}

/* A link to a file beside it, which is no link itself: as `latest` is to the newest checkpoint. */
static bool stays(int folder, const char *name)
{
    char target[256];
    struct stat status;
    const ssize_t length = readlinkat(folder, name, target, sizeof target - 1);
    if (length <= 0 || length == (ssize_t)sizeof target - 1)
        return false;
    target[length] = '\0';
    return !strchr(target, '/') &&
           (fstatat(folder, target, &status, AT_SYMLINK_NOFOLLOW) != 0 || S_ISREG(status.st_mode));
}

bool gr_refuse_links(const char *folder, struct gr_error *err)
{
    DIR *dir = opendir(folder);
    bool done = true;
    for (const struct dirent *entry; dir && done && (entry = readdir(dir));) {
        struct stat status;
        if (!is_written(entry->d_name) ||
            fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
            continue;
        if (!S_ISLNK(status.st_mode)) /* a pipe would keep us waiting */
            done = gr_fail(err, GR_ERR_USAGE,
                           "%s/%s is no regular file: remove it, or give "
                           "another folder",
                           folder, entry->d_name);
        else if (!stays(dirfd(dir), entry->d_name))
            done =
                gr_fail(err, GR_ERR_USAGE,
                        "%s/%s is a link that leads elsewhere: what is written to a folder stays "
                        "in it: remove the link, or give another folder",
                        folder, entry->d_name);
    }
    if (dir)
        closedir(dir);
    return done;
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
            return gr_refuse_links(folder, err);
    }
}
