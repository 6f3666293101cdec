/*
 * Choosing a source by a path; see source_at.h.
 */
#include "data/source_at.h"

#include "data/folders.h"
#include "data/tar.h"

#include <string.h>

struct peek {
    int members;
    bool labels; /* among them are labels beside images: a shard */
};

enum { PEEK = 64 };

static bool peek_at(void *user, const struct gr_tar_member *member, struct gr_error *err)
{
    struct peek *peek = user;
    const char *dot = strrchr(member->name, '.');
    (void)err;
    peek->labels = dot && (strcmp(dot, ".cls") == 0 || strcmp(dot, ".json") == 0);
    return !peek->labels && ++peek->members < PEEK;
}

/* Is it a pattern, or an archive that holds labels? What else is wrong with it, its source says. */
static bool is_shards(const char *path, struct gr_error *err)
{
    struct gr_error closed = {0};
    struct gr_tar tar;
    struct peek peek = {0};
    if (strpbrk(path, "{*?["))
        return true;
    if (!gr_is_folder(path) && gr_tar_open(path, &tar, &closed))
        gr_tar_scan(&tar, peek_at, &peek, err);
    if (closed.status == GR_ERR_RUNTIME)
        gr_fail(err, closed.status, "%s", closed.message);
    return peek.labels;
}

bool gr_source_at(const char *path, struct gr_pool *pool, struct gr_choice *choice,
                  struct gr_error *err)
{
    struct gr_error inner = {0};
    const bool shards = is_shards(path, &inner);
    const struct gr_kind *kind = shards ? &gr_source_webdataset.kind : &gr_source_imagenet.kind;
    const struct gr_attr *attr = gr_kind_attr(kind, shards ? "shards" : "path");
    *choice = (struct gr_choice){kind, gr_kind_defaults(kind, pool)};
    if (inner.status)
        return gr_fail(err, inner.status, "%s", inner.message);
    if (!choice->attrs)
        return gr_fail_memory(err, "opening a dataset");
    *(const char **)(void *)((char *)choice->attrs + attr->offset) = path;
    return true;
}
