/*
 * The folder of a pack being made; see pack_folder.h.
 */
#define _DEFAULT_SOURCE
#include "data/pack_folder.h"

#include "base/json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char format_name[] = "graph-runner unfinished pack 1";

static bool path_in(const struct gr_pack_folder *folder, const char *name, char path[GR_PACK_PATH],
                    struct gr_error *err)
{
    const int n = snprintf(path, GR_PACK_PATH, "%s/%s", folder->path, name);
    return (n > 0 && n < GR_PACK_PATH) ||
           gr_fail(err, GR_ERR_USAGE, "%s: the path is too long", folder->path);
}

static bool fail_write(const char *path, struct gr_error *err)
{
    return gr_fail_system(err, GR_ERR_RUNTIME, errno ? errno : EIO, "cannot write", path);
}

/* ---- what it was begun with -------------------------------------------------------------- */

static void describe(const json_t *value, char *text, size_t size)
{
    char *json = value ? gr_json_dump(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    snprintf(text, size, "%s", json ? json : "nothing");
    free(json);
}

static bool check_begun(const struct gr_pack_folder *folder, const json_t *head,
                        struct gr_error *err)
{
    const char *key;
    const json_t *wanted;
    char is[64], was[64];
    json_t *settings = json_object_get(folder->begun, "settings");
    const json_t *old = json_object_get(head, "settings");
    json_object_foreach(settings, key, wanted)
    {
        if (json_equal(wanted, json_object_get(old, key)))
            continue;
        describe(wanted, is, sizeof is);
        describe(json_object_get(old, key), was, sizeof was);
        return gr_fail(err, GR_ERR_USAGE,
                       "%s: this pack was begun with %s %s, not %s: give the same, or another "
                       "folder",
                       folder->path, key, was, is);
    }
    if (json_equal(json_object_get(folder->begun, "source"), json_object_get(head, "source")))
        return true;
    return gr_fail(err, GR_ERR_USAGE,
                   "%s: this pack was begun with other data: their images or labels differ; give "
                   "another folder",
                   folder->path);
}

static bool check_whole(struct gr_pack_folder *folder, struct gr_error *err)
{
    folder->head = gr_pack_head(folder->path, err);
    return folder->head && check_begun(folder, folder->head, err);
}

/* ---- unfinished.jsonl -------------------------------------------------------------------- */

/* Appends a line and has it on the disk; what came of it in part is taken back. */
static bool add_line(struct gr_pack_folder *folder, json_t *object, struct gr_error *err)
{
    char path[GR_PACK_PATH];
    char *line = gr_pack_line(object);
    if (!line)
        return gr_fail_memory(err, "a pack");
    const size_t length = strlen(line);
    size_t done = 0;
    errno = 0;
    while (done < length) {
        const ssize_t wrote = write(folder->lines, line + done, length - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            break;
        done += (size_t)wrote;
    }
    free(line);
    if (done == length && fsync(folder->lines) == 0) {
        folder->length += (int64_t)length;
        return true;
    }
    const int number = errno;
    const bool undone = ftruncate(folder->lines, (off_t)folder->length) == 0;
    (void)undone; /* if not, a later run passes over what is left */
    errno = number;
    return path_in(folder, GR_PACK_UNFINISHED, path, err) && fail_write(path, err);
}

static void add_totals(struct gr_pack_totals *totals, const struct gr_pack_shard *shard)
{
    totals->shards++;
    totals->images += (int64_t)shard->count;
    totals->skipped += (int64_t)json_array_size(shard->skipped);
    totals->bytes += shard->bytes;
    totals->to = shard->to;
    gr_pixel_sums_merge(&totals->sums, &shard->sums);
}

/* The line is of the next shard, and that is there as a whole; else false, or *err is set. */
static bool take_shard(struct gr_pack_folder *folder, const json_t *line, struct gr_error *err)
{
    struct gr_pack_shard shard;
    struct stat status;
    char path[GR_PACK_PATH], name[32];
    struct gr_error inner = {0};
    snprintf(name, sizeof name, "%06" PRId64 ".tar", folder->totals.shards);
    const bool sound = gr_pack_shard_parse(line, &shard, &inner) && strcmp(shard.name, name) == 0 &&
                       shard.to > folder->totals.to && path_in(folder, name, path, &inner) &&
                       stat(path, &status) == 0 && status.st_size == shard.bytes;
    if (sound)
        add_totals(&folder->totals, &shard);
    else if (inner.status == GR_ERR_RUNTIME)
        gr_fail(err, inner.status, "%s", inner.message);
    gr_pack_shard_release(&shard);
    return sound;
}

/*
 * Takes what makes sense of the file, up to the first line that does not; *begun: it has a head.
 * False: what is there could not be read, or is of another pack.
 */
static bool take_lines(struct gr_pack_folder *folder, FILE *file, const char *path, bool *begun,
                       struct gr_error *err)
{
    struct gr_error broken = {0};
    json_t *head = gr_pack_read_line(file, path, &broken), *line = NULL;
    *begun = head != NULL;
    const bool same = !head || check_begun(folder, head, err);
    json_decref(head);
    if (*begun && same)
        do {
            folder->length = ftell(file);
            json_decref(line);
            line = gr_pack_read_line(file, path, &broken);
        } while (line && take_shard(folder, line, &broken));
    json_decref(line);
    return same && (!broken.status || gr_fail(err, broken.status, "%s", broken.message));
}

static bool read_lines(struct gr_pack_folder *folder, const char *path, struct gr_error *err)
{
    bool begun = false;
    FILE *file = fopen(path, "re");
    if (!file)
        return gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot read", path);
    bool done = take_lines(folder, file, path, &begun, err);
    fclose(file);
    if (done && ftruncate(folder->lines, (off_t)folder->length) != 0)
        done = fail_write(path, err);
    return done &&
           (begun || add_line(folder,
                              json_pack("{s:s, s:O, s:O}", "format", format_name, "settings",
                                        json_object_get(folder->begun, "settings"), "source",
                                        json_object_get(folder->begun, "source")),
                              err));
}

static bool lock(struct gr_pack_folder *folder, const char *path, struct gr_error *err)
{
    folder->lines = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (folder->lines < 0)
        return gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot create", path);
    if (flock(folder->lines, LOCK_EX | LOCK_NB) == 0)
        return true;
    return gr_fail(err, GR_ERR_RUNTIME, "%s: another process is packing there", folder->path);
}

/* ---- the folder -------------------------------------------------------------------------- */

/* What a killed run was writing. */
static void remove_halves(const struct gr_pack_folder *folder)
{
    DIR *dir = opendir(folder->path);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        const size_t length = strlen(name), digits = strspn(name, "0123456789");
        const bool ours = (digits && strncmp(name + digits, ".tar.", 5) == 0) ||
                          strncmp(name, GR_PACK_INDEX ".", sizeof GR_PACK_INDEX) == 0;
        if (ours && length > 4 && strcmp(name + length - 4, ".tmp") == 0)
            unlinkat(dirfd(dir), name, 0);
    }
    if (dir)
        closedir(dir);
}

bool gr_pack_folder_open(struct gr_pack_folder *folder, const char *path, const json_t *begun,
                         struct gr_error *err)
{
    char file[GR_PACK_PATH], first[GR_PACK_PATH];
    *folder = (struct gr_pack_folder){.path = path, .begun = begun, .lines = -1};
    if (!gr_make_folder(path, err) || !path_in(folder, GR_PACK_UNFINISHED, file, err) ||
        !path_in(folder, "000000.tar", first, err))
        return false;
    const enum gr_pack_state state = gr_pack_state(path);
    if (state == GR_PACK_NONE && access(first, F_OK) == 0)
        return gr_fail(err, GR_ERR_USAGE,
                       "%s: there are archives of something else: give another folder", path);
    if (state == GR_PACK_WHOLE && access(file, F_OK) != 0)
        return check_whole(folder, err);
    if (!lock(folder, file, err))
        return false;
    if (gr_pack_state(path) == GR_PACK_WHOLE) { /* killed, or overtaken, right at the end */
        unlink(file);
        return check_whole(folder, err);
    }
    remove_halves(folder);
    return read_lines(folder, file, err);
}

bool gr_pack_folder_shard(struct gr_pack_folder *folder, struct gr_shard_writer *writer,
                          struct gr_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "%06" PRId64 ".tar", folder->totals.shards);
    return gr_shard_open(writer, folder->path, name, err);
}

bool gr_pack_folder_keep(struct gr_pack_folder *folder, struct gr_shard_writer *writer,
                         struct gr_error *err)
{
    if (!gr_shard_commit(writer, err) || !add_line(folder, gr_pack_shard_json(&writer->shard), err))
        return false;
    add_totals(&folder->totals, &writer->shard);
    return true;
}

/* The head, then the lines of the shards as they are. */
static bool write_index(const struct gr_pack_folder *folder, const char *head, FILE *index,
                        const char *path, struct gr_error *err)
{
    FILE *lines = fopen(path, "re");
    if (!lines)
        return gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot read", path);
    char block[1 << 14];
    size_t got;
    json_t *old = gr_pack_read_line(lines, path, err); /* its head */
    const bool begun = old != NULL;
    json_decref(old);
    fputs(head, index); /* commit reports a failed write */
    while ((got = fread(block, 1, sizeof block, lines)) > 0)
        fwrite(block, 1, got, index);
    const bool broken = ferror(lines);
    fclose(lines);
    if (broken)
        return gr_fail_system(err, GR_ERR_RUNTIME, EIO, "cannot read", path);
    return begun || gr_fail(err, GR_ERR_RUNTIME, "%s: cannot be read back: is it being changed?",
                            folder->path);
}

bool gr_pack_folder_finish(struct gr_pack_folder *folder, json_t *head, struct gr_error *err)
{
    char unfinished[GR_PACK_PATH], path[GR_PACK_PATH];
    struct gr_replace replace = {0};
    char *text = gr_pack_line(head);
    bool done = text || gr_fail_memory(err, "the index of a pack");
    done = done && path_in(folder, GR_PACK_UNFINISHED, unfinished, err) &&
           path_in(folder, GR_PACK_INDEX, path, err) && gr_replace_open(&replace, path, err) &&
           write_index(folder, text, replace.file, unfinished, err) &&
           gr_replace_commit(&replace, err);
    gr_replace_release(&replace);
    free(text);
    if (done)
        unlink(unfinished); /* left over, it does no harm */
    return done;
}

void gr_pack_folder_close(struct gr_pack_folder *folder)
{
    if (folder->lines >= 0)
        close(folder->lines);
    json_decref(folder->head);
    *folder = (struct gr_pack_folder){.lines = -1};
}
