/*
 * TensorBoard event files; see events.h.
 */
#define _POSIX_C_SOURCE 200809L
#include "train/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/append.h"
#include "base/crc32c.h"
#include "base/text.h"
#include "data/files.h"

enum { HEADER = 12, FOOTER = 4 }; /* of a record */

struct gr_events {
    struct gr_append *file;
    int64_t count; /* events, the version apart */
};

/* ---- protobuf ---------------------------------------------------------------------------- */

enum wire { VARINT, FIXED64, BYTES, FIXED32 = 5 };

static void put_fixed(struct gr_text *out, uint64_t bits, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        const char byte = (char)(bits >> 8 * i & 0xff);
        gr_text_append(out, &byte, 1);
    }
}

static void put_varint(struct gr_text *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put_fixed(out, (value & 0x7f) | 0x80, 1);
    put_fixed(out, value, 1);
}

static void put_key(struct gr_text *out, unsigned field, enum wire wire)
{
    put_varint(out, field << 3 | (unsigned)wire);
}

static void put_bytes(struct gr_text *out, unsigned field, const void *data, size_t size)
{
    put_key(out, field, BYTES);
    put_varint(out, size);
    gr_text_append(out, data, size);
}

/* Takes part, a message of its own, and releases it. */
static void put_message(struct gr_text *out, unsigned field, struct gr_text *part)
{
    put_bytes(out, field, part->data ? part->data : "", part->length);
    out->failed = out->failed || part->failed;
    gr_text_release(part);
}

static void put_double(struct gr_text *out, unsigned field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(out, field, FIXED64);
    put_fixed(out, bits, 8);
}

static void put_float(struct gr_text *out, unsigned field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(out, field, FIXED32);
    put_fixed(out, bits, 4);
}

/* ---- records ----------------------------------------------------------------------------- */

static uint32_t masked(const void *data, size_t size)
{
    const uint32_t crc = gr_crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* Writes the event, begun by wall_time, as a record; releases it. */
static bool write_record(struct gr_events *events, struct gr_text *event, struct gr_error *err)
{
    struct gr_text record = {0};
    put_fixed(&record, event->length, 8);
    put_fixed(&record, record.failed ? 0 : masked(record.data, 8), 4);
    gr_text_append(&record, event->data ? event->data : "", event->length);
    put_fixed(&record, event->data ? masked(event->data, event->length) : 0, 4);
    const bool memory = !event->failed && !record.failed;
    const bool ok = memory ? gr_append_write(events->file, record.data, record.length, err)
                           : gr_fail_memory(err, "an event");
    gr_text_release(event);
    gr_text_release(&record);
    return ok;
}

static void begin(struct gr_text *event)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    put_double(event, 1, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
}

static bool write_version(struct gr_events *events, struct gr_error *err)
{
    static const char version[] = "brain.Event:2";
    struct gr_text event = {0};
    begin(&event);
    put_bytes(&event, 3, version, sizeof version - 1);
    return write_record(events, &event, err);
}

static uint64_t get_fixed(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

/*
 * Cuts off what is no whole record, and records behind the version and `keep` more (negative: none
 * of them); *records is how many are left.
 */
static bool cut(int fd, int64_t keep, int64_t *records)
{
    unsigned char header[HEADER];
    struct stat file;
    off_t end = 0;
    *records = 0;
    if (fstat(fd, &file) != 0)
        return false;
    while ((keep < 0 || *records <= keep) &&
           gr_file_pread(fd, header, sizeof header, end) == (ssize_t)sizeof header &&
           get_fixed(header + 8, 4) == masked(header, 8)) {
        const uint64_t length = get_fixed(header, 8);
        const uint64_t left = (uint64_t)(file.st_size - end);
        if (length > left || length + HEADER + FOOTER > left)
            break;
        end += (off_t)length + HEADER + FOOTER;
        ++*records;
    }
    return ftruncate(fd, end) == 0;
}

/* ---- the file ---------------------------------------------------------------------------- */

struct gr_events *gr_events_open(const char *path, int64_t keep, struct gr_error *err)
{
    struct gr_events *events = calloc(1, sizeof *events);
    int64_t records = 0;
    bool ok = events || gr_fail_memory(err, "an event file");
    ok = ok && (events->file = gr_append_open(path, keep == 0, err));
    if (ok && keep != 0 && !cut(gr_append_fd(events->file), keep, &records))
        ok = gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot open for writing", path);
    if (ok && (records || write_version(events, err))) {
        events->count = records ? records - 1 : 0;
        return events;
    }
    gr_events_close(events, NULL);
    return NULL;
}

int64_t gr_events_count(const struct gr_events *events)
{
    return events->count;
}

int gr_events_fd(const struct gr_events *events)
{
    return gr_append_fd(events->file);
}

bool gr_events_write(struct gr_events *events, const char *stage, int64_t step,
                     const struct gr_metric *scalars, size_t count, struct gr_error *err)
{
    struct gr_text event = {0}, summary = {0};
    begin(&event);
    put_key(&event, 2, VARINT);
    put_varint(&event, (uint64_t)step);
    for (size_t i = 0; i < count; i++) {
        struct gr_text value = {0}, tag = {0};
        gr_text_add(&tag, "%s/%s", scalars[i].name, stage);
        put_message(&value, 1, &tag);
        put_float(&value, 2, (float)scalars[i].value);
        put_message(&summary, 1, &value);
    }
    put_message(&event, 5, &summary);
    events->count++;
    return write_record(events, &event, err);
}

bool gr_events_renew(struct gr_events *events, struct gr_error *err)
{
    return gr_append_renew(events->file, err);
}

bool gr_events_close(struct gr_events *events, struct gr_error *err)
{
    if (!events)
        return true;
    const bool ok = gr_append_close(events->file, err);
    free(events);
    return ok;
}
