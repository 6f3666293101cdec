/*
 * The newest checkpoint of a run that is whole: what to go on from after a crash, also one that
 * damaged a file.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "train/checkpoint.h"
#include "train/run_folder.h"

struct search {
    struct gr_checkpoint *found;
    const struct gr_model *model;
    struct gr_text damaged;   /* the errors of those tried in vain */
    struct gr_error shortage; /* of memory or descriptors, which says nothing of the file */
};

/* True: this one it is. */
static bool try(struct search *search, const char *path)
{
    struct gr_error err = {0};
    if (search->shortage.status)
        return false;
    errno = 0;
    if (gr_checkpoint_open(search->found, search->model, path, &err))
        return true;
    if (err.status == GR_ERR_RUNTIME && gr_is_shortage(errno))
        search->shortage = err;
    gr_text_add(&search->damaged, "%s%.1000s", search->damaged.length ? "; " : "", err.message);
    return false;
}

static bool try_steps(struct search *search, const char *folder, const struct gr_run_steps *list)
{
    char path[GR_RUN_PATH], name[GR_RUN_CHECKPOINT_NAME];
    for (size_t i = list->count; i-- > 0;)
        if (gr_run_path(folder, gr_run_checkpoint_name(list->steps[i], name), path, NULL) &&
            try(search, path))
            return true;
    return false;
}

/* A file of that name, where it is no link: of an older version, or a copy that followed links. */
static bool try_latest(struct search *search, const char *folder)
{
    char path[GR_RUN_PATH];
    struct stat status;
    return gr_run_path(folder, GR_RUN_LATEST, path, NULL) && lstat(path, &status) == 0 &&
           S_ISREG(status.st_mode) && try(search, path);
}

bool gr_checkpoint_find(struct gr_checkpoint *checkpoint, const struct gr_model *model,
                        const char *folder, struct gr_error *err)
{
    struct search search = {.found = checkpoint, .model = model};
    struct gr_run_steps list;
    *checkpoint = (struct gr_checkpoint){0};
    if (!gr_run_steps_list(&list, folder, err))
        return false;
    const bool ok = try_steps(&search, folder, &list) || try_latest(&search, folder);
    gr_run_steps_release(&list);
    const char *damaged = search.damaged.data;
    if (search.shortage.status)
        gr_fail(err, search.shortage.status, "%s", search.shortage.message);
    else if (!ok && search.damaged.failed)
        gr_fail_memory(err, folder);
    else if (!ok && damaged)
        gr_fail(err, GR_ERR_DATA, "%s: no checkpoint in it can be read: %s", folder, damaged);
    else if (!ok)
        gr_fail(err, GR_ERR_DATA,
                "%s: there is no checkpoint in it to go on from; without --resume the run begins "
                "anew",
                folder);
    else if (damaged)
        gr_log(model->context, GR_LOG_WARNING, "%s: passed over; going on from %s", damaged,
               checkpoint->path);
    gr_text_release(&search.damaged);
    return ok;
}
