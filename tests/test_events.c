/*
 * Event files of TensorBoard, read by a decoder that knows nothing of the writer: records, both
 * checksums, protobuf.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crc32c.h"
#include "support/api_case.h"
#include "support/folder.h"
#include "train/events.h"

enum { MOST = 1000 };

/* What a file says: a version, then scalars in order. */
struct scalar {
    char tag[64];
    int64_t step;
    double time;
    float value;
};

static struct scalar scalars[MOST];
static size_t n_scalars;
static char version[64];

/* ---- the decoder ------------------------------------------------------------------------- */

/* The CRC by its definition, a bit at a time. */
static uint32_t crc_of(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
    }
    crc = ~crc;
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
}

static uint64_t little(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    while (bytes--)
        value = value << 8 | at[bytes];
    return value;
}

struct cursor {
    const uint8_t *at, *end;
};

static uint64_t varint(struct cursor *c)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(c->at < c->end && shift < 64);
        value |= (uint64_t)(*c->at & 0x7f) << shift;
        if (!(*c->at++ & 0x80))
            return value;
    }
}

/* The next field: its number, and its bytes or its number as bits. */
static unsigned field(struct cursor *c, struct cursor *bytes, uint64_t *bits)
{
    const uint64_t key = varint(c);
    const int wire = (int)(key & 7);
    size_t size = wire == 1 ? 8 : wire == 5 ? 4 : 0;
    if (wire == 0) {
        *bits = varint(c);
    } else {
        if (wire == 2)
            size = (size_t)varint(c);
        assert_true(size > 0 && size <= (size_t)(c->end - c->at));
        *bytes = (struct cursor){c->at, c->at + size};
        *bits = wire == 2 ? 0 : little(c->at, (int)size);
        c->at += size;
    }
    return (unsigned)(key >> 3);
}

static void copy_text(const struct cursor *bytes, char text[64])
{
    const size_t size = (size_t)(bytes->end - bytes->at);
    assert_true(size < 64);
    memcpy(text, bytes->at, size);
    text[size] = '\0';
}

static void decode_value(struct cursor value, int64_t step, double time)
{
    struct cursor bytes = {0};
    uint64_t bits;
    assert_true(n_scalars < MOST);
    struct scalar *scalar = &scalars[n_scalars++];
    *scalar = (struct scalar){.step = step, .time = time};
    while (value.at < value.end) {
        switch (field(&value, &bytes, &bits)) {
        case 1:
            copy_text(&bytes, scalar->tag);
            break;
        case 2: {
            const uint32_t word = (uint32_t)bits;
            memcpy(&scalar->value, &word, sizeof word);
            break;
        }
        default:
            fail_msg("an unknown field of a value");
        }
    }
}

static void decode_event(struct cursor event)
{
    struct cursor bytes = {0}, value;
    uint64_t bits;
    int64_t step = 0;
    double time = 0;
    while (event.at < event.end) {
        switch (field(&event, &bytes, &bits)) {
        case 1:
            memcpy(&time, &bits, sizeof time);
            break;
        case 2:
            step = (int64_t)bits;
            break;
        case 3:
            assert_string_equal(version, "");
            assert_int_equal(n_scalars, 0);
            copy_text(&bytes, version);
            break;
        case 5:
            while (bytes.at < bytes.end) {
                assert_int_equal(field(&bytes, &value, &bits), 1);
                decode_value(value, step, time);
            }
            break;
        default:
            fail_msg("an unknown field of an event");
        }
    }
}

static uint8_t file[1 << 16];

static size_t read_file(const char *path)
{
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    const size_t size = fread(file, 1, sizeof file, stream);
    fclose(stream);
    assert_true(size < sizeof file);
    return size;
}

static void decode(const char *path)
{
    const size_t size = read_file(path);
    n_scalars = 0;
    version[0] = '\0';
    for (size_t at = 0; at < size;) {
        assert_true(size - at >= 16);
        const size_t length = (size_t)little(file + at, 8);
        assert_true(length <= size - at - 16);
        assert_int_equal(little(file + at + 8, 4), crc_of(file + at, 8));
        assert_int_equal(little(file + at + 12 + length, 4), crc_of(file + at + 12, length));
        decode_event((struct cursor){file + at + 12, file + at + 12 + length});
        at += length + 16;
    }
    assert_string_equal(version, "brain.Event:2");
}

static void expect(size_t index, const char *tag, int64_t step, float value)
{
    assert_true(index < n_scalars);
    assert_string_equal(scalars[index].tag, tag);
    assert_int_equal(scalars[index].step, step);
    assert_memory_equal(&scalars[index].value, &value, sizeof value);
}

/* ---- the file ---------------------------------------------------------------------------- */

static struct gr_events *open_events(const char *path, bool append)
{
    struct gr_error err = {0};
    struct gr_events *events = gr_events_open(path, append ? -1 : 0, &err);
    gr_api_ok(events != NULL, &err);
    return events;
}

static void write_one(struct gr_events *events, int64_t step, double loss)
{
    struct gr_error err = {0};
    gr_api_ok(gr_events_write(events, "val", step, &(struct gr_metric){"loss", loss}, 1, &err),
              &err);
}

static void close_events(struct gr_events *events)
{
    struct gr_error err = {0};
    gr_api_ok(gr_events_close(events, &err), &err);
}

static void the_checksum_is_castagnolis(void **state)
{
    (void)state;
    uint8_t bytes[64] = {0};
    assert_int_equal(gr_crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(gr_crc32c(bytes, 32), 0x8a9136aa); /* RFC 3720, B.4 */
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(gr_crc32c(bytes, 32), 0x46dd794e);
    assert_int_equal(gr_crc32c(bytes, 0), 0);
}

static void scalars_are_read_as_they_were_written(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *path = gr_api_path("events");
    const double before = (double)time(NULL);
    const struct gr_metric pairs[] = {
        {"loss", 0.1}, {"top1", 1}, {"a long name of a metric", -1e30}, {"inf", (double)INFINITY}};
    struct gr_events *events = open_events(path, false);
    gr_api_ok(gr_events_write(events, "train", 300, pairs, 4, &err), &err);
    write_one(events, INT64_C(1) << 40, 2.5);
    decode(path); /* before it is closed */
    close_events(events);
    assert_int_equal(n_scalars, 5);
    expect(0, "loss/train", 300, 0.1f);
    expect(1, "top1/train", 300, 1);
    expect(2, "a long name of a metric/train", 300, -1e30f);
    expect(3, "inf/train", 300, INFINITY);
    expect(4, "loss/val", INT64_C(1) << 40, 2.5f);
    for (size_t i = 0; i < n_scalars; i++)
        assert_true(scalars[i].time >= before && scalars[i].time <= (double)time(NULL) + 1);
}

static void appending_drops_a_record_cut_short(void **state)
{
    (void)state;
    const char *path = gr_api_path("events"), *cut = gr_api_path("cut");
    struct gr_events *events = open_events(path, false);
    write_one(events, 1, 1);
    const size_t first = read_file(path);
    write_one(events, 2, 2);
    close_events(events);
    const size_t size = read_file(path);
    for (size_t length = 0; length <= size; length++) {
        FILE *stream = fopen(cut, "wb");
        assert_non_null(stream);
        read_file(path);
        assert_int_equal(fwrite(file, 1, length, stream), length);
        assert_int_equal(fclose(stream), 0);
        events = open_events(cut, true);
        write_one(events, 9, 9);
        close_events(events);
        decode(cut);
        expect(n_scalars - 1, "loss/val", 9, 9);
        if (length >= first)
            assert_int_equal(n_scalars, length == size ? 3 : 2);
    }
    events = open_events(path, false);
    close_events(events);
    decode(path);
    assert_int_equal(n_scalars, 0);
}

static void a_file_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    struct gr_error err = {0};
    gr_api_refused(gr_events_open(gr_api_path("no/events"), -1, &err) != NULL, &err, GR_ERR_RUNTIME,
                   "%s: cannot open for writing: No such file or directory",
                   gr_api_path("no/events"));
    gr_api_refused(gr_events_open("/dev/full", 0, &err) != NULL, &err, GR_ERR_RUNTIME,
                   "/dev/full: cannot write: No space left on device");
    assert_true(gr_events_close(NULL, &err));
}

/* ---- of a training run ------------------------------------------------------------------- */

static void train(const char *out, const char *resume, int64_t epochs)
{
    struct gr_error err = {0};
    struct gr_train_result result;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
    const struct gr_train_options options = {.out = out, .resume = resume, .epochs = epochs};
    gr_api_ok(gr_train(model, &options, &result, &err), &err);
    gr_model_free(model);
}

static float scalar(const char *tag, int64_t step)
{
    for (size_t i = 0; i < n_scalars; i++)
        if (scalars[i].step == step && strcmp(scalars[i].tag, tag) == 0)
            return scalars[i].value;
    fail_msg("no %s at step %d", tag, (int)step);
    return 0;
}

/* Every number of metrics.jsonl, but for epoch and step, is a scalar of the events. */
static void expect_the_metrics(void)
{
    char line[2000];
    size_t found = 0;
    FILE *lines = fopen(gr_api_path("run/metrics.jsonl"), "r");
    assert_non_null(lines);
    while (fgets(line, sizeof line, lines)) {
        const char *key;
        json_t *value, *object = json_loads(line, 0, NULL);
        const int64_t step = json_integer_value(json_object_get(object, "step"));
        json_object_foreach(object, key, value)
        {
            char tag[100];
            if (!json_is_number(value) || strcmp(key, "step") == 0 || strcmp(key, "epoch") == 0)
                continue;
            snprintf(tag, sizeof tag, "%s/%s", key,
                     json_string_value(json_object_get(object, "stage")));
            const double wanted = json_number_value(value);
            assert_true(fabs((double)scalar(tag, step) - wanted) <= 1e-6 * fabs(wanted));
            found++;
        }
        json_decref(object);
    }
    fclose(lines);
    assert_true(found > 0);
}

static void a_run_records_each_epoch_and_goes_on_when_resumed(void **state)
{
    (void)state;
    const char *out = gr_api_path("run");
    train(out, NULL, 1);
    decode(gr_api_path("run/" GR_EVENTS_NAME));
    const size_t first = n_scalars;
    expect_the_metrics();
    train(out, out, 2);
    decode(gr_api_path("run/" GR_EVENTS_NAME));
    expect_the_metrics();
    assert_int_equal(n_scalars, 2 * first);
    train(out, out, 20); /* past step 100 */
    decode(gr_api_path("run/" GR_EVENTS_NAME));
    assert_true(scalar("loss/step", 100) > 0);
    assert_true(scalar("learning_rate/step", 100) > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_checksum_is_castagnolis),
        TEST(scalars_are_read_as_they_were_written),
        TEST(appending_drops_a_record_cut_short),
        TEST(a_file_that_cannot_be_written_is_named),
        TEST(a_run_records_each_epoch_and_goes_on_when_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
