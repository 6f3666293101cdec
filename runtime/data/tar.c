/*
 * Reading tar archives; see tar.h. Offsets here count from the start of the archive, which may lie
 * within a file.
 */
#define _DEFAULT_SOURCE
#include "data/tar.h"

#include "base/pool.h"
#include "data/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 512, AHEAD = 4096, TEXT_MAX = 1 << 20 };

/* The fields of a header that matter here. */
enum {
    NAME = 0,
    NAME_SIZE = 100,
    SIZE = 124,
    SIZE_SIZE = 12,
    CHECKSUM = 148,
    CHECKSUM_SIZE = 8,
    TYPE = 156,
    MAGIC = 257,
    PREFIX = 345,
    PREFIX_SIZE = 155,
};

struct scan {
    const struct gr_tar *tar;
    int file;
    int64_t at; /* of the header being read */
    uint8_t ahead[AHEAD];
    int64_t ahead_at;
    size_t ahead_size;
    struct gr_buffer text;
    struct gr_pool pool;
    const char *name; /* of the next member, from an extended header; NULL: not said */
    int64_t size;     /* of the next member; -1: not said */
};

static bool fail_short(const struct scan *scan, int64_t at, struct gr_error *err)
{
    return gr_fail(err, GR_ERR_DATA,
                   "%s: cut short: the archive of %" PRId64 " bytes ends within what begins at "
                   "offset %" PRId64 ": fetch it again",
                   scan->tar->title, scan->tar->size, at);
}

static bool fail_header(const struct scan *scan, const char *what, struct gr_error *err)
{
    return gr_fail(err, GR_ERR_DATA, "%s: damaged: the header at offset %" PRId64 " has %s",
                   scan->tar->title, scan->at, what);
}

/* ---- bytes ------------------------------------------------------------------------------- */

/* The block at scan->at; small members and their headers come in one read. NULL on failure. */
static const uint8_t *read_block(struct scan *scan, struct gr_error *err)
{
    const int64_t left = scan->tar->size - scan->at;
    if (scan->at >= scan->ahead_at &&
        scan->at + BLOCK <= scan->ahead_at + (int64_t)scan->ahead_size)
        return scan->ahead + (scan->at - scan->ahead_at);
    ssize_t got = -1;
    if (left >= BLOCK)
        got = gr_file_pread(scan->file, scan->ahead, left < AHEAD ? (size_t)left : AHEAD,
                            scan->tar->offset + scan->at);
    if (left >= BLOCK && got < 0) {
        gr_fail_system(err, GR_ERR_DATA, errno, "cannot read", scan->tar->title);
        return NULL;
    }
    if (got < BLOCK) {
        fail_short(scan, scan->at, err);
        return NULL;
    }
    scan->ahead_at = scan->at;
    scan->ahead_size = (size_t)got;
    return scan->ahead;
}

bool gr_tar_read(const struct gr_tar_member *member, size_t most, struct gr_buffer *buffer,
                 struct gr_error *err)
{
    const size_t size = (size_t)member->size;
    const char *title = member->tar->title;
    if (size > most)
        return gr_fail(err, GR_ERR_DATA, "%s:%s: %zu bytes are more than the %zu allowed", title,
                       member->name, size, most);
    uint8_t *data = gr_buffer_reserve(buffer, size);
    if (!data)
        return gr_fail_memory(err, title);
    const ssize_t got = gr_file_pread(member->file, data, size, member->offset);
    if (got < 0)
        return gr_fail_system(err, GR_ERR_DATA, errno, "cannot read", title);
    if ((size_t)got < size)
        return gr_fail(err, GR_ERR_DATA, "%s:%s: cut short: fetch the archive again", title,
                       member->name);
    return true;
}

/* ---- headers ----------------------------------------------------------------------------- */

/* An octal number that blanks or zeros end, or GNU's binary one. False: neither, or negative. */
static bool read_number(const uint8_t *field, size_t size, int64_t *number)
{
    size_t i = 0;
    *number = 0;
    if (field[0] & 0x80) {
        if (field[0] != 0x80)
            return false;
        for (i = 1; i < size; i++) {
            if (*number > INT64_MAX >> 8)
                return false;
            *number = *number << 8 | field[i];
        }
        return true;
    }
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        *number = *number << 3 | (field[i] - '0'); /* at most 12 digits */
    return i == size || field[i] == ' ' || field[i] == 0;
}

/* The sum of the header's bytes, its own field taken as blanks; old programs took bytes as signed.
 */
static bool is_sound(const uint8_t *header)
{
    int64_t stated, sum = 0, old = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        const bool own = i >= CHECKSUM && i < CHECKSUM + CHECKSUM_SIZE;
        sum += own ? ' ' : header[i];
        old += own ? ' ' : (int8_t)header[i];
    }
    return read_number(header + CHECKSUM, CHECKSUM_SIZE, &stated) &&
           (stated == sum || stated == old);
}

static bool is_zero(const uint8_t *block)
{
    for (size_t i = 0; i < BLOCK; i++)
        if (block[i])
            return false;
    return true;
}

static bool fail_unsound(const struct scan *scan, const uint8_t *header, struct gr_error *err)
{
    static const struct {
        const char *magic, *by;
    } packed[] = {{"\x1f\x8b", "gzip"},
                  {"BZh", "bzip2"},
                  {"\xfd"
                   "7zXZ",
                   "xz"},
                  {"\x28\xb5\x2f\xfd", "zstd"}};
    for (size_t i = 0; scan->at == 0 && i < sizeof packed / sizeof *packed; i++)
        if (memcmp(header, packed[i].magic, strlen(packed[i].magic)) == 0)
            return gr_fail(err, GR_ERR_DATA, "%s: compressed by %s: unpack it first, to a .tar",
                           scan->tar->title, packed[i].by);
    if (scan->at == 0)
        return gr_fail(err, GR_ERR_DATA, "%s: not a tar archive", scan->tar->title);
    return fail_header(scan, "a wrong checksum", err);
}

static const char *header_name(struct scan *scan, const uint8_t *header)
{
    const char *name = (const char *)header + NAME, *prefix = (const char *)header + PREFIX;
    const bool ustar = memcmp(header + MAGIC, "ustar", 6) == 0; /* GNU's has a blank there */
    if (ustar && *prefix)
        return gr_pool_printf(&scan->pool, "%.*s/%.*s", PREFIX_SIZE, prefix, NAME_SIZE, name);
    return gr_pool_printf(&scan->pool, "%.*s", NAME_SIZE, name);
}

/* ---- extended headers -------------------------------------------------------------------- */

/* The text that a header of size bytes holds, in the buffer. */
static bool read_text(struct scan *scan, int64_t offset, int64_t size, struct gr_error *err)
{
    const struct gr_tar_member member = {"an extended header", scan->tar->offset + offset, size,
                                         scan->file, scan->tar};
    if (size > TEXT_MAX)
        return fail_header(scan, "an extended header that is too long", err);
    return gr_tar_read(&member, TEXT_MAX, &scan->text, err);
}

static bool set_name(struct scan *scan, const char *text, size_t length, struct gr_error *err)
{
    if (length > GR_TAR_NAME_BYTES_MAX)
        return fail_header(scan, "a name that is too long", err);
    scan->name = gr_pool_strndup(&scan->pool, text, length);
    return scan->name || gr_fail_memory(err, scan->tar->title);
}

static bool set_size(struct scan *scan, const char *text, size_t length, struct gr_error *err)
{
    scan->size = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || scan->size > INT64_MAX / 10 - 1)
            return fail_header(scan, "a size that is no number", err);
        scan->size = scan->size * 10 + (text[i] - '0');
    }
    return true;
}

/* One record: "KEY=VALUE". */
static bool take_record(struct scan *scan, const char *record, size_t length, struct gr_error *err)
{
    const char *equals = memchr(record, '=', length);
    const size_t key = equals ? (size_t)(equals - record) : 0;
    if (!key)
        return fail_header(scan, "pax records without a key", err);
    const char *value = equals + 1;
    const size_t value_length = length - key - 1;
    if (key > 11 && memcmp(record, "GNU.sparse.", 11) == 0)
        return fail_header(scan, "a sparse file, which is not understood", err);
    if (key == 4 && memcmp(record, "path", 4) == 0)
        return set_name(scan, value, value_length, err);
    if (key == 4 && memcmp(record, "size", 4) == 0)
        return set_size(scan, value, value_length, err);
    return true;
}

/* Records "LENGTH KEY=VALUE\n"; the length counts all of it. */
static bool take_pax(struct scan *scan, size_t size, struct gr_error *err)
{
    const char *text = (const char *)scan->text.data;
    while (size) {
        size_t length = 0, digits = 0;
        while (digits < size && digits < 8 && text[digits] >= '0' && text[digits] <= '9')
            length = length * 10 + (size_t)(text[digits++] - '0');
        if (digits == size || text[digits] != ' ' || length > size || length < digits + 2 ||
            text[length - 1] != '\n')
            return fail_header(scan, "pax records of wrong length", err);
        if (!take_record(scan, text + digits + 1, length - digits - 2, err))
            return false;
        text += length;
        size -= length;
    }
    return true;
}

/* ---- members ----------------------------------------------------------------------------- */

typedef bool each_fn(void *user, const struct gr_tar_member *member, struct gr_error *err);

static bool take_member(struct scan *scan, const uint8_t *header, int64_t offset, int64_t size,
                        each_fn *each, void *user, struct gr_error *err)
{
    const char *name = scan->name ? scan->name : header_name(scan, header);
    if (!name)
        return gr_fail_memory(err, scan->tar->title);
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    const size_t length = strlen(name);
    const struct gr_tar_member member = {name, scan->tar->offset + offset, size, scan->file,
                                         scan->tar};
    const bool folder = !length || name[length - 1] == '/'; /* as before ustar */
    const bool done = folder || each(user, &member, err);
    gr_pool_release(&scan->pool);
    scan->name = NULL;
    scan->size = -1;
    return done;
}

/* What follows a header of this type: true if it has data of the size that the header says. */
static bool has_data(uint8_t type)
{
    return type < '1' || type > '6'; /* links, devices, folders, pipes */
}

/* The header at scan->at, and on to the next. */
static bool take_header(struct scan *scan, const uint8_t *header, each_fn *each, void *user,
                        struct gr_error *err)
{
    const uint8_t type = header[TYPE];
    const bool extended = type == 'L' || type == 'K' || type == 'x' || type == 'g';
    const int64_t data = scan->at + BLOCK, left = scan->tar->size - data;
    int64_t size;
    if (!is_sound(header))
        return fail_unsound(scan, header, err);
    if (!read_number(header + SIZE, SIZE_SIZE, &size))
        return fail_header(scan, "a size that is no number", err);
    if (!extended && scan->size >= 0)
        size = scan->size;
    if (!has_data(type))
        size = 0;
    if (size > left || (size + BLOCK - 1) / BLOCK * BLOCK > left)
        return fail_short(scan, scan->at, err);
    bool done = true;
    if (type == 'S')
        done = fail_header(scan, "a sparse file, which is not understood", err);
    else if (type == 'L' && (done = read_text(scan, data, size, err)))
        done = set_name(scan, (const char *)scan->text.data,
                        strnlen((const char *)scan->text.data, (size_t)size), err);
    else if (type == 'x' && (done = read_text(scan, data, size, err)))
        done = take_pax(scan, (size_t)size, err);
    else if (!extended && (type == '0' || type == '7' || type == 0))
        done = take_member(scan, header, data, size, each, user, err);
    else if (!extended) { /* whatever was said of it is over */
        scan->name = NULL;
        scan->size = -1;
    }
    scan->at = data + (size + BLOCK - 1) / BLOCK * BLOCK;
    return done;
}

bool gr_tar_scan(const struct gr_tar *tar, each_fn *each, void *user, struct gr_error *err)
{
    struct scan scan = {.tar = tar, .size = -1};
    bool done = false;
    scan.file = open(tar->path, O_RDONLY | O_CLOEXEC);
    if (scan.file < 0)
        return gr_fail_system(err, GR_ERR_DATA, errno, "cannot open", tar->path);
    posix_fadvise(scan.file, 0, 0, POSIX_FADV_RANDOM); /* from header to header */
    for (;;) {
        const uint8_t *header = read_block(&scan, err);
        if (!header)
            break;
        done = is_zero(header);
        if (done || !take_header(&scan, header, each, user, err))
            break;
    }
    close(scan.file);
    gr_buffer_release(&scan.text);
    gr_pool_release(&scan.pool);
    return done;
}

bool gr_tar_open(const char *path, struct gr_tar *tar, struct gr_error *err)
{
    size_t size;
    if (!gr_file_size(path, &size, err))
        return false;
    *tar = (struct gr_tar){path, path, 0, (int64_t)size};
    return true;
}
