/*
 * JPEG files that ask for more work than they are worth: arithmetic coding and progressive scans
 * hide any number of blocks in a few bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "data/decode.h"

struct bytes {
    uint8_t *data;
    size_t size;
};

/* A picture of one grey in blocks that are all alike. */
struct blank {
    int side, channels;
    bool arithmetic;
    const jpeg_scan_info *scans; /* NULL: the usual ones of a progressive file, or one */
    int n_scans;
    bool progressive;
};

static struct bytes encode(const struct blank *blank)
{
    struct jpeg_compress_struct info = {0};
    struct jpeg_error_mgr manager;
    unsigned char *data = NULL;
    unsigned long size = 0;
    JSAMPLE *line = malloc((size_t)(blank->side * blank->channels));
    assert_non_null(line);
    memset(line, 90, (size_t)(blank->side * blank->channels));
    info.err = jpeg_std_error(&manager);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &data, &size);
    info.image_width = info.image_height = (JDIMENSION)blank->side;
    info.input_components = blank->channels;
    info.in_color_space = blank->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&info);
    info.arith_code = blank->arithmetic;
    if (blank->progressive)
        jpeg_simple_progression(&info);
    if (blank->scans) {
        info.scan_info = blank->scans;
        info.num_scans = blank->n_scans;
    }
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height)
        jpeg_write_scanlines(&info, &line, 1);
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    free(line);
    return (struct bytes){data, size};
}

/* Repeats the last scan, which the format allows: it says the same once more. */
static struct bytes repeat_last_scan(struct bytes file, int times)
{
    size_t last = 0;
    for (size_t i = 0; i + 1 < file.size; i++)
        if (file.data[i] == 0xff && file.data[i + 1] == 0xda)
            last = i;
    const size_t scan = file.size - 2 - last;
    struct bytes longer = {malloc(file.size + scan * (size_t)times), file.size - 2};
    assert_non_null(longer.data);
    memcpy(longer.data, file.data, longer.size);
    for (int i = 0; i < times; i++, longer.size += scan)
        memcpy(longer.data + longer.size, file.data + last, scan);
    memcpy(longer.data + longer.size, "\xff\xd9", 2);
    longer.size += 2;
    free(file.data);
    return longer;
}

/* Decodes and frees; false with the message in err. */
static bool decodes(struct bytes file, struct gr_error *err)
{
    const struct gr_source_target small = {.shortest = 1};
    struct gr_buffer pixels = {0};
    struct gr_view view;
    const bool done = gr_image_decode(file.data, file.size, 1, &small, &pixels, &view, err);
    for (int64_t i = 0; done && i < view.height * view.width; i++)
        assert_in_range(pixels.data[i], 89, 91);
    gr_buffer_release(&pixels);
    free(file.data);
    return done;
}

static void expect_refusal(struct bytes file, int side, int scans)
{
    struct gr_error err = {0};
    char message[256];
    snprintf(
        message, sizeof message,
        "corrupt JPEG: %d×%d pixels in %d scan%s are more work than a file of %zu bytes can be "
        "worth",
        side, side, scans, scans == 1 ? "" : "s", file.size);
    assert_false(decodes(file, &err));
    assert_string_equal(err.message, message);
    assert_int_equal(err.status, GR_ERR_DATA);
}

static void an_arithmetic_bomb_is_refused_before_decoding(void **state)
{
    (void)state;
    const struct blank bomb = {.side = 16000, .channels = 1, .arithmetic = true};
    const struct bytes file = encode(&bomb);
    assert_true(file.size < 1000);
    expect_refusal(file, 16000, 1);
}

static void an_empty_picture_of_a_camera_is_read_however_it_is_coded(void **state)
{
    (void)state;
    const struct blank pictures[] = {
        {.side = 4000, .channels = 1, .arithmetic = true},
        {.side = 4000, .channels = 3},
        {.side = 4000, .channels = 3, .progressive = true},
    };
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        struct gr_error err = {0};
        if (!decodes(encode(&pictures[i]), &err))
            fail_msg("%zu: %s", i, err.message);
    }
}

static void scans_without_end_are_refused_while_they_come(void **state)
{
    (void)state;
    static const jpeg_scan_info scans[] = {{1, {0}, 0, 0, 0, 0}, {1, {0}, 1, 63, 0, 0}};
    const struct blank blank = {.side = 4000, .channels = 1, .scans = scans, .n_scans = 2};
    const struct bytes file = repeat_last_scan(encode(&blank), 400);
    const size_t allowed = (1 << 18) + 256 * file.size;
    const int scan = (int)(allowed / (500 * 500)) + 1; /* the first that is too much */
    assert_in_range(scan, 20, 399);
    expect_refusal(file, 4000, scan);
    struct gr_error err = {0};
    assert_true(decodes(repeat_last_scan(encode(&blank), 10), &err));
}

static void a_small_picture_may_have_many_scans_but_not_any_number(void **state)
{
    (void)state;
    static const jpeg_scan_info scans[] = {{1, {0}, 0, 0, 0, 0}, {1, {0}, 1, 63, 0, 0}};
    const struct blank blank = {.side = 64, .channels = 1, .scans = scans, .n_scans = 2};
    struct gr_error err = {0};
    assert_true(decodes(repeat_last_scan(encode(&blank), 490), &err));
    assert_false(decodes(repeat_last_scan(encode(&blank), 510), &err));
    assert_string_equal(err.message, "corrupt JPEG: more than 500 scans");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arithmetic_bomb_is_refused_before_decoding),
        cmocka_unit_test(an_empty_picture_of_a_camera_is_read_however_it_is_coded),
        cmocka_unit_test(scans_without_end_are_refused_while_they_come),
        cmocka_unit_test(a_small_picture_may_have_many_scans_but_not_any_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
