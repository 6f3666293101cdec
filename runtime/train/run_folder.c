/*
 * The folder of a training run; see run_folder.h.
 */
#define _GNU_SOURCE
#include "train/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/pool.h"
#include "base/replace.h"
#include "report/record.h"

static const char ending[] = ".safetensors";

bool gr_run_path(const char *folder, const char *name, char path[GR_RUN_PATH], struct gr_error *err)
{
    const int n = snprintf(path, GR_RUN_PATH, "%s/%s", folder, name);
    return (n > 0 && n < GR_RUN_PATH) ||
           gr_fail(err, GR_ERR_USAGE, "the path of the run folder is too long");
}

/* ---- checkpoints ------------------------------------------------------------------------- */

const char *gr_run_checkpoint_name(int64_t step, char name[GR_RUN_CHECKPOINT_NAME])
{
    snprintf(name, GR_RUN_CHECKPOINT_NAME, "step-%09" PRId64 "%s", step, ending);
    return name;
}

int64_t gr_run_checkpoint_step(const char *name)
{
    char same[GR_RUN_CHECKPOINT_NAME];
    int64_t step;
    if (sscanf(name, "step-%18" SCNd64, &step) != 1 || step < 0 ||
        strcmp(gr_run_checkpoint_name(step, same), name) != 0)
        return -1;
    return step;
}

static int by_step(const void *left, const void *right)
{
    const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

bool gr_run_steps_list(struct gr_run_steps *list, const char *folder, struct gr_error *err)
{
    size_t capacity = 0;
    bool ok = true;
    *list = (struct gr_run_steps){0};
    DIR *stream = opendir(folder);
    for (const struct dirent *entry; stream && ok && (entry = readdir(stream));) {
        const int64_t step = gr_run_checkpoint_step(entry->d_name);
        if (step < 0)
            continue;
        ok = gr_grow((void **)&list->steps, &capacity, list->count, sizeof *list->steps);
        if (ok)
            list->steps[list->count++] = step;
    }
    if (stream)
        closedir(stream);
    if (!ok) {
        gr_run_steps_release(list);
        return gr_fail_memory(err, "the checkpoints of a run");
    }
    if (list->count)
        qsort(list->steps, list->count, sizeof *list->steps, by_step);
    return true;
}

void gr_run_steps_release(struct gr_run_steps *list)
{
    free(list->steps);
    *list = (struct gr_run_steps){0};
}

void gr_run_folder_prune(const char *folder, int64_t step, int64_t keep)
{
    struct gr_run_steps list;
    char path[GR_RUN_PATH], name[GR_RUN_CHECKPOINT_NAME];
    if (!gr_run_steps_list(&list, folder, NULL))
        return;
    for (size_t i = list.count; i-- > 0;)
        if (list.steps[i] <= step && keep-- <= 0 &&
            gr_run_path(folder, gr_run_checkpoint_name(list.steps[i], name), path, NULL))
            unlink(path);
    gr_run_steps_release(&list);
}

/* ---- taking it --------------------------------------------------------------------------- */

bool gr_run_folder_same(const char *out, const char *resume)
{
    struct stat a, b;
    return resume && stat(out, &a) == 0 && stat(resume, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

bool gr_run_folder_gone(const char *folder)
{
    char path[GR_RUN_PATH];
    struct stat status;
    return gr_run_path(folder, GR_RUN_NAME, path, NULL) && stat(path, &status) != 0 &&
           (errno == ENOENT || errno == ENOTDIR);
}

/* Is it what a file was to become, NAME.PID-N.tmp (base/replace.h), or a link, NAME.link.tmp? */
static bool is_leftover(const char *name)
{
    const char *dot = strrchr(name, '.');
    if (!dot || strcmp(dot, ".tmp") != 0)
        return false;
    const char *part = dot;
    while (part > name && part[-1] != '.')
        part--;
    int length = 0;
    return part > name && ((sscanf(part, "%*d-%*d%n", &length), part + length == dot) ||
                           strncmp(part, "link.", 5) == 0);
}

static void sweep(const char *folder)
{
    char path[GR_RUN_PATH];
    DIR *stream = opendir(folder);
    for (const struct dirent *entry; stream && (entry = readdir(stream));)
        if (is_leftover(entry->d_name) && gr_run_path(folder, entry->d_name, path, NULL))
            unlink(path);
    if (stream)
        closedir(stream);
}

/* Does the folder hold a run with a state that would be overwritten? */
static bool holds_run(const char *folder)
{
    char path[GR_RUN_PATH];
    struct stat known;
    struct gr_run_steps list;
    bool held = gr_run_path(folder, GR_RUN_LATEST, path, NULL) && lstat(path, &known) == 0;
    if (!held && gr_run_steps_list(&list, folder, NULL)) {
        held = list.count > 0;
        gr_run_steps_release(&list);
    }
    return held;
}

bool gr_run_folder_take(const char *folder, bool goes_on, int *lock, struct gr_error *err)
{
    char path[GR_RUN_PATH];
    *lock = -1;
    if (!gr_make_folder(folder, err) || !gr_run_path(folder, GR_RUN_NAME, path, err))
        return false;
    if (!goes_on && holds_run(folder))
        return gr_fail(err, GR_ERR_USAGE,
                       "%s already holds a run; --resume %s goes on with it, another --out starts "
                       "afresh",
                       folder, folder);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot open for writing", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) { /* not every system can lock */
        close(fd);
        return gr_fail(err, GR_ERR_USAGE, "%s: another process is training in this folder", folder);
    }
    sweep(folder);
    *lock = fd;
    return true;
}
