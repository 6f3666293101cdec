/*
 * Writing a shard; see pack_shard.h.
 */
#include "data/pack_shard.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "data/tar_write.h"

enum { LABEL_TEXT = 16 };

bool gr_shard_is_open(const struct gr_shard_writer *writer)
{
    return writer->replace.file != NULL;
}

bool gr_shard_open(struct gr_shard_writer *writer, const char *folder, const char *name,
                   struct gr_error *err)
{
    const int n = snprintf(writer->path, sizeof writer->path, "%s/%s", folder, name);
    if (n <= 0 || n >= GR_PACK_PATH)
        return gr_fail(err, GR_ERR_USAGE, "%s: the path is too long", folder);
    if (!gr_replace_open(&writer->replace, writer->path, err))
        return false;
    setvbuf(writer->replace.file, NULL, _IOFBF, 1 << 18); /* a failure leaves it slower */
    writer->shard =
        (struct gr_pack_shard){.name = writer->path + strlen(folder) + 1, .skipped = json_array()};
    return writer->shard.skipped || gr_fail_memory(err, writer->path);
}

static size_t member_size(size_t size)
{
    return GR_TAR_BLOCK + size + gr_tar_padding(size);
}

int64_t gr_shard_size_with(const struct gr_shard_writer *writer, size_t size)
{
    const size_t label = member_size(1); /* a block, whatever its digits */
    return writer->shard.bytes + (int64_t)(member_size(size) + label + GR_TAR_END);
}

static bool put(struct gr_shard_writer *writer, const void *bytes, size_t size,
                struct gr_error *err)
{
    errno = 0;
    if (fwrite(bytes, 1, size, writer->replace.file) != size)
        return gr_fail_system(err, GR_ERR_RUNTIME, errno ? errno : EIO, "cannot write",
                              writer->path);
    writer->shard.bytes += (int64_t)size;
    return true;
}

static bool put_member(struct gr_shard_writer *writer, const char *key, const char *ending,
                       const void *bytes, size_t size, struct gr_error *err)
{
    static const uint8_t zeros[GR_TAR_BLOCK];
    uint8_t header[GR_TAR_BLOCK];
    char name[GR_TAR_NAME_MAX + 1];
    snprintf(name, sizeof name, "%s%s", key, ending);
    gr_tar_header(name, size, header);
    return put(writer, header, sizeof header, err) && put(writer, bytes, size, err) &&
           put(writer, zeros, gr_tar_padding(size), err);
}

bool gr_shard_put(struct gr_shard_writer *writer, const char *key, const uint8_t *bytes,
                  size_t size, int32_t label, struct gr_error *err)
{
    struct gr_pack_shard *shard = &writer->shard;
    void *items = shard->items;
    char text[LABEL_TEXT];
    const int length = snprintf(text, sizeof text, "%" PRId32, label);
    if (!gr_grow(&items, &shard->capacity, shard->count, sizeof *shard->items))
        return gr_fail_memory(err, writer->path);
    shard->items = items;
    shard->items[shard->count++] =
        (struct gr_packed){shard->bytes + GR_TAR_BLOCK, (int64_t)size, label};
    return put_member(writer, key, ".jpg", bytes, size, err) &&
           put_member(writer, key, ".cls", text, (size_t)length, err);
}

bool gr_shard_commit(struct gr_shard_writer *writer, struct gr_error *err)
{
    static const uint8_t end[GR_TAR_END];
    if (!put(writer, end, sizeof end, err) || !gr_replace_commit(&writer->replace, err))
        return false;
    gr_replace_release(&writer->replace);
    return true;
}

void gr_shard_release(struct gr_shard_writer *writer)
{
    gr_replace_release(&writer->replace);
    gr_pack_shard_release(&writer->shard);
}
