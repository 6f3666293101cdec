/*
 * Decoding images by what they hold: PNG in all its forms, files under a wrong name, the
 * orientation in EXIF data against turning pixel by pixel, and files that mean harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data/decode.h"
#include "data/orientation.h"
#include "support/data_case.h"
#include "support/make_jpeg.h"
#include "support/make_png.h"

enum { FILE_MOST = 1 << 16 };

static struct gr_data_case test;
static uint8_t file[FILE_MOST];
static struct gr_buffer pixels;

static int setup(void **state)
{
    (void)state;
    gr_data_case_init(&test);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_buffer_release(&pixels);
    gr_data_case_release(&test);
    return 0;
}

static size_t read_file(const char *path)
{
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    const size_t size = fread(file, 1, sizeof file, in);
    assert_int_equal(fclose(in), 0);
    assert_true(size < sizeof file);
    return size;
}

/* Noise that is smooth enough for JPEG: every pixel differs from its neighbours. */
static uint8_t value_at(int c, int h, int w)
{
    return (uint8_t)(40 + 5 * h + 3 * w + 30 * c);
}

static void fill(uint8_t *rgb, int height, int width)
{
    for (int h = 0; h < height; h++)
        for (int w = 0; w < width; w++)
            for (int c = 0; c < 3; c++)
                *rgb++ = value_at(c, h, w);
}

static int pixel(const struct gr_view *view, int c, int64_t h, int64_t w)
{
    return view->pixels[c * view->channel_stride + (ptrdiff_t)h * view->row_stride +
                        (ptrdiff_t)w * view->column_stride];
}

static struct gr_view decode_good(size_t size, int channels, const struct gr_source_target *target)
{
    static const struct gr_source_target whole = {0};
    struct gr_view view;
    struct gr_error err = {0};
    if (!gr_image_decode(file, size, channels, target ? target : &whole, &pixels, &view, &err))
        fail_msg("%s", err.message);
    assert_int_equal(view.channels, channels);
    return view;
}

static void refuses(size_t size, const char *message)
{
    const struct gr_source_target whole = {0};
    struct gr_view view;
    struct gr_error err = {0};
    assert_false(gr_image_decode(file, size, 3, &whole, &pixels, &view, &err));
    assert_string_equal(err.message, message);
    assert_int_equal(err.status, GR_ERR_DATA);
}

/* ---- PNG --------------------------------------------------------------------------------- */

static void an_rgb_png_gives_its_bytes_interlaced_or_not(void **state)
{
    (void)state;
    uint8_t rgb[11 * 13 * 3];
    fill(rgb, 11, 13);
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        const struct gr_make_png what = {11,   13, PNG_COLOR_TYPE_RGB, 8, interlaced, NULL, 0, NULL,
                                         NULL, 0};
        const char *path = gr_data_case_path(&test, "x.png");
        assert_true(gr_make_png(path, &what, rgb));
        const struct gr_view view = decode_good(read_file(path), 3, NULL);
        assert_int_equal(view.height, 11);
        assert_int_equal(view.width, 13);
        for (int h = 0; h < 11; h++)
            for (int w = 0; w < 13; w++)
                for (int c = 0; c < 3; c++)
                    assert_int_equal(pixel(&view, c, h, w), value_at(c, h, w));
    }
}

static bool choose_middle(void *user, int64_t height, int64_t width, struct gr_window *window,
                          struct gr_error *err)
{
    (void)user, (void)err;
    *window = (struct gr_window){2, 3, height - 5, width - 4};
    return true;
}

static const struct gr_source_target middle = {.choose = choose_middle};

static void a_part_of_a_png_is_that_part_of_the_whole(void **state)
{
    (void)state;
    uint8_t rgb[11 * 13 * 3];
    fill(rgb, 11, 13);
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        const struct gr_make_png what = {11,   13, PNG_COLOR_TYPE_RGB, 8, interlaced, NULL, 0, NULL,
                                         NULL, 0};
        const char *path = gr_data_case_path(&test, "x.png");
        assert_true(gr_make_png(path, &what, rgb));
        const struct gr_view view = decode_good(read_file(path), 3, &middle);
        assert_int_equal(view.height, 6);
        assert_int_equal(view.width, 9);
        for (int h = 0; h < 6; h++)
            for (int w = 0; w < 9; w++)
                for (int c = 0; c < 3; c++)
                    assert_int_equal(pixel(&view, c, h, w), value_at(c, h + 2, w + 3));
    }
}

/* Two pixels in each form that PNG has, and what they are in RGB and in grey. */
static void every_form_of_png_becomes_rgb_or_luminance(void **state)
{
    (void)state;
    static const uint8_t palette[] = {10, 20, 30, 200, 100, 50}, alpha[] = {0, 128};
    static const struct {
        struct gr_make_png what;
        uint8_t row[16];
        uint8_t rgb[6], grey[2];
    } cases[] = {
        {{1, 2, PNG_COLOR_TYPE_GRAY, 1, false, NULL, 0, NULL, NULL, 0},
         {0x40},
         {0, 0, 0, 255, 255, 255},
         {0, 255}},
        {{1, 2, PNG_COLOR_TYPE_GRAY, 4, false, NULL, 0, NULL, NULL, 0},
         {0x3f},
         {51, 51, 51, 255, 255, 255},
         {51, 255}},
        {{1, 2, PNG_COLOR_TYPE_GRAY, 16, false, NULL, 0, NULL, NULL, 0},
         {0x12, 0x34, 0xff, 0x80},
         {18, 18, 18, 255, 255, 255},
         {18, 255}},
        {{1, 2, PNG_COLOR_TYPE_GRAY_ALPHA, 8, false, NULL, 0, NULL, NULL, 0},
         {7, 0, 77, 255},
         {7, 7, 7, 77, 77, 77},
         {7, 77}},
        {{1, 2, PNG_COLOR_TYPE_RGB, 16, false, NULL, 0, NULL, NULL, 0},
         {10, 0, 20, 0, 30, 0, 200, 0, 100, 0, 50, 0},
         {10, 20, 30, 199, 100, 50},
         {18, 124}},
        {{1, 2, PNG_COLOR_TYPE_RGB_ALPHA, 8, false, NULL, 0, NULL, NULL, 0},
         {10, 20, 30, 0, 200, 100, 50, 255},
         {10, 20, 30, 200, 100, 50},
         {18, 124}},
        {{1, 2, PNG_COLOR_TYPE_PALETTE, 8, false, palette, 2, NULL, NULL, 0},
         {0, 1},
         {10, 20, 30, 200, 100, 50},
         {18, 124}},
        {{1, 2, PNG_COLOR_TYPE_PALETTE, 1, false, palette, 2, alpha, NULL, 0},
         {0x40},
         {10, 20, 30, 200, 100, 50},
         {18, 124}},
    };
    const char *path = gr_data_case_path(&test, "form.png");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(gr_make_png(path, &cases[i].what, cases[i].row));
        const size_t size = read_file(path);
        struct gr_view view = decode_good(size, 3, NULL);
        for (int w = 0; w < 2; w++)
            for (int c = 0; c < 3; c++)
                assert_int_equal(pixel(&view, c, 0, w), cases[i].rgb[3 * w + c]);
        view = decode_good(size, 1, NULL);
        for (int w = 0; w < 2; w++)
            assert_int_equal(pixel(&view, 0, 0, w), cases[i].grey[w]);
    }
}

static void a_png_under_the_name_of_a_jpeg_is_read(void **state)
{
    (void)state;
    uint8_t rgb[4 * 4 * 3];
    fill(rgb, 4, 4);
    const char *path = gr_data_case_path(&test, "n02105855_2933.JPEG");
    assert_true(gr_make_rgb_png(path, rgb, 4, 4));
    const struct gr_source_target whole = {0};
    struct gr_source_scratch scratch = {0};
    struct gr_view view;
    assert_true(gr_image_read(path, 3, &whole, &scratch, &view, NULL));
    assert_int_equal(pixel(&view, 2, 3, 1), value_at(2, 3, 1));
    gr_buffer_release(&scratch.file);
    gr_buffer_release(&scratch.pixels);
}

static void a_png_that_ends_early_is_corrupt_wherever_it_ends(void **state)
{
    (void)state;
    uint8_t rgb[11 * 13 * 3];
    fill(rgb, 11, 13);
    const char *path = gr_data_case_path(&test, "cut.png");
    assert_true(gr_make_rgb_png(path, rgb, 11, 13));
    const size_t whole = read_file(path);
    for (size_t size = 8; size < whole; size++) {
        uint8_t *copy = malloc(size); /* so that reading beyond is found out */
        const struct gr_source_target target = {0};
        struct gr_view view;
        struct gr_error err = {0};
        assert_non_null(copy);
        memcpy(copy, file, size);
        assert_false(gr_image_decode(copy, size, 3, &target, &pixels, &view, &err));
        assert_string_equal(err.message, "corrupt PNG: the file ends early");
        free(copy);
    }
}

/* Sets the size in the header of the PNG in `file`, with its checksum. */
static void claim_size(uint32_t height, uint32_t width)
{
    for (int i = 0; i < 4; i++) {
        file[16 + i] = (uint8_t)(width >> (24 - 8 * i));
        file[20 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
    const uLong crc = crc32(0, file + 12, 17);
    for (int i = 0; i < 4; i++)
        file[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
}

static void sizes_that_a_png_cannot_hold_are_refused_before_decoding(void **state)
{
    (void)state;
    uint8_t rgb[4 * 4 * 3];
    fill(rgb, 4, 4);
    const char *path = gr_data_case_path(&test, "bomb.png");
    assert_true(gr_make_rgb_png(path, rgb, 4, 4));
    const size_t size = read_file(path);
    claim_size(30000, 30000);
    refuses(size, "corrupt PNG: 30000×30000 pixels are more than the 268435456 allowed");
    claim_size(10000, 10000);
    char message[256];
    snprintf(message, sizeof message,
             "corrupt PNG: 10000×10000 pixels cannot be in a file of %zu bytes", size);
    refuses(size, message);
    claim_size(0, 4);
    refuses(size, "corrupt PNG: Invalid IHDR data");
}

/* ---- other files ------------------------------------------------------------------------- */

static void files_that_are_no_images_are_named_for_what_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *message;
    } cases[] = {
        {"", 0, "an empty file"},
        {"x", 1, "a file of one byte"},
        {"\x01\x02\x03", 3, "neither JPEG nor PNG: starts with 0x01 0x02"},
        {"\x89PNG\r\n", 6, "neither JPEG nor PNG: starts with 0x89 0x50"},
        {"GIF89a", 6, "a GIF file: JPEG and PNG can be read"},
        {"RIFF\x10\0\0\0WEBPVP8 ", 16, "a WebP file: JPEG and PNG can be read"},
        {"<html><body>404", 15, "an HTML file: JPEG and PNG can be read"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(file, cases[i].bytes, cases[i].size);
        refuses(cases[i].size, cases[i].message);
    }
}

/* The place of the frame header (FF C0 or FF C2) in a JPEG. */
static size_t frame_header(size_t size)
{
    size_t at = 2;
    while (at + 9 < size && file[at + 1] != 0xc0 && file[at + 1] != 0xc2)
        at += 2 + (size_t)(file[at + 2] << 8 | file[at + 3]);
    assert_true(at + 9 < size);
    return at;
}

static void sizes_that_a_jpeg_cannot_hold_are_refused_before_decoding(void **state)
{
    (void)state;
    uint8_t rgb[16 * 16 * 3];
    fill(rgb, 16, 16);
    for (int progressive = 0; progressive < 2; progressive++) {
        const char *path = gr_data_case_path(&test, "bomb.jpg");
        assert_true(gr_make_jpeg(path, rgb, 16, 16, 3, 75, progressive));
        const size_t size = read_file(path), at = frame_header(size);
        file[at + 5] = file[at + 7] = 30000 >> 8;
        file[at + 6] = file[at + 8] = 30000 & 255;
        refuses(size, "corrupt JPEG: 30000×30000 pixels are more than the 268435456 allowed");
        file[at + 5] = file[at + 7] = 10000 >> 8;
        file[at + 6] = file[at + 8] = 10000 & 255;
        char message[256];
        snprintf(message, sizeof message,
                 "corrupt JPEG: 10000×10000 pixels cannot be in a file of %zu bytes", size);
        refuses(size, message);
    }
}

static void one_pixel_is_an_image(void **state)
{
    (void)state;
    const uint8_t rgb[3] = {90, 90, 90};
    const char *path = gr_data_case_path(&test, "one");
    for (int png = 0; png < 2; png++) {
        assert_true(png ? gr_make_rgb_png(path, rgb, 1, 1)
                        : gr_make_jpeg(path, rgb, 1, 1, 3, 95, false));
        const struct gr_view view = decode_good(read_file(path), 3, NULL);
        assert_int_equal(view.height, 1);
        assert_int_equal(view.width, 1);
        assert_in_range(pixel(&view, 0, 0, 0), 88, 92);
    }
}

/* ---- orientation ------------------------------------------------------------------------- */

/* EXIF data that say an orientation, in either byte order; returns their length. */
static size_t make_exif(int orientation, bool little, uint8_t *exif)
{
    static const uint8_t big[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 2, /* two entries */
                                  1,   15,  0, 2,  0, 0, 0, 1, 0, 0, 0, 0, 1, 18,
                                  0,   3,   0, 0,  0, 1, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t small[] = {'I', 'I', 42, 0,  8, 0, 0, 0, 2, 0, 15, 1, 2, 0, 1, 0, 0, 0, 0,
                                    0,   0,   0,  18, 1, 3, 0, 1, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0};
    memcpy(exif, little ? small : big, sizeof big);
    exif[little ? 30 : 31] = (uint8_t)orientation;
    return sizeof big;
}

/* Puts EXIF data into the JPEG in `file`, behind a comment; returns the new size. */
static size_t insert_exif(size_t size, int orientation, bool little)
{
    uint8_t segments[128] = {0xff, 0xfe, 0,   4,   'h', 'i', 0xff, 0xe1,
                             0,    0,    'E', 'x', 'i', 'f', 0,    0};
    const size_t length = make_exif(orientation, little, segments + 16);
    segments[9] = (uint8_t)(2 + 6 + length);
    memmove(file + 2 + 16 + length, file + 2, size - 2);
    memcpy(file + 2, segments, 16 + length);
    return size + 16 + length;
}

/* The definition: where the stored row 0 and column 0 are seen (EXIF 2.32, 4.6.4). */
static void turn(int orientation, int H, int W, int y, int x, int *row, int *column)
{
    switch (orientation) {
    case 1: /* top, left */
        *row = y, *column = x;
        break;
    case 2: /* top, right */
        *row = y, *column = W - 1 - x;
        break;
    case 3: /* bottom, right */
        *row = H - 1 - y, *column = W - 1 - x;
        break;
    case 4: /* bottom, left */
        *row = H - 1 - y, *column = x;
        break;
    case 5: /* left, top */
        *row = x, *column = y;
        break;
    case 6: /* right, top */
        *row = W - 1 - x, *column = y;
        break;
    case 7: /* right, bottom */
        *row = W - 1 - x, *column = H - 1 - y;
        break;
    case 8: /* left, bottom */
        *row = x, *column = H - 1 - y;
        break;
    default:
        fail_msg("there is no orientation %d", orientation);
    }
}

enum { ROWS = 40, COLUMNS = 56 };

/* The stored pixels, as decoded without EXIF data. */
static void stored_pixels(size_t size, uint8_t *rgb)
{
    const struct gr_view view = decode_good(size, 3, NULL);
    for (int h = 0; h < ROWS; h++)
        for (int w = 0; w < COLUMNS; w++)
            for (int c = 0; c < 3; c++)
                *rgb++ = (uint8_t)pixel(&view, c, h, w);
}

/* Decodes `file`, all of it and a part, and compares with turning the stored pixels. */
static void is_turned(size_t size, int orientation, const uint8_t *stored)
{
    const int H = orientation < 5 ? ROWS : COLUMNS, W = orientation < 5 ? COLUMNS : ROWS;
    assert_int_equal(gr_orientation_read(file, size), orientation);
    for (int part = 0; part < 2; part++) {
        const struct gr_view view = decode_good(size, 3, part ? &middle : NULL);
        const int top = part ? 2 : 0, left = part ? 3 : 0;
        assert_int_equal(view.height, part ? H - 5 : H);
        assert_int_equal(view.width, part ? W - 4 : W);
        for (int y = 0; y < view.height; y++)
            for (int x = 0; x < view.width; x++) {
                int h = 0, w = 0;
                turn(orientation, H, W, y + top, x + left, &h, &w);
                for (int c = 0; c < 3; c++)
                    assert_int_equal(pixel(&view, c, y, x), stored[(h * COLUMNS + w) * 3 + c]);
            }
    }
}

static void a_jpeg_is_turned_upright_whole_and_in_part(void **state)
{
    (void)state;
    static uint8_t rgb[ROWS * COLUMNS * 3], stored[ROWS * COLUMNS * 3];
    fill(rgb, ROWS, COLUMNS);
    const char *path = gr_data_case_path(&test, "turned.jpg");
    assert_true(gr_make_jpeg(path, rgb, ROWS, COLUMNS, 3, 80, false));
    stored_pixels(read_file(path), stored);
    for (int orientation = 1; orientation <= 8; orientation++) {
        const size_t size = insert_exif(read_file(path), orientation, orientation % 2);
        is_turned(size, orientation, stored);
    }
}

static void a_png_is_turned_upright_whole_and_in_part(void **state)
{
    (void)state;
    static uint8_t rgb[ROWS * COLUMNS * 3];
    uint8_t exif[64];
    fill(rgb, ROWS, COLUMNS);
    const char *path = gr_data_case_path(&test, "turned.png");
    for (int orientation = 1; orientation <= 8; orientation++) {
        const size_t length = make_exif(orientation, false, exif);
        const struct gr_make_png what = {ROWS, COLUMNS, PNG_COLOR_TYPE_RGB, 8, false, NULL, 0, NULL,
                                         exif, length};
        assert_true(gr_make_png(path, &what, rgb));
        is_turned(read_file(path), orientation, rgb);
    }
}

/* What is wanted is in terms of the upright image: a wide one of a tall file. */
static void shrinking_a_turned_jpeg_leaves_the_size_wanted(void **state)
{
    (void)state;
    static uint8_t rgb[64 * 256 * 3];
    memset(rgb, 99, sizeof rgb);
    const char *path = gr_data_case_path(&test, "tall.jpg");
    assert_true(gr_make_jpeg(path, rgb, 64, 256, 3, 80, false));
    const struct gr_source_target target = {.height = 128, .width = 32};
    const struct gr_view view = decode_good(insert_exif(read_file(path), 6, true), 3, &target);
    assert_int_equal(view.height, 128);
    assert_int_equal(view.width, 32);
}

static void damaged_exif_data_are_no_orientation(void **state)
{
    (void)state;
    static uint8_t rgb[16 * 16 * 3];
    const char *path = gr_data_case_path(&test, "x.jpg");
    assert_true(gr_make_jpeg(path, rgb, 16, 16, 3, 80, false));
    const size_t plain = read_file(path), size = insert_exif(plain, 6, false);
    uint8_t sound[256];
    memcpy(sound, file, sizeof sound);
    for (size_t at = 2; at < 2 + 16 + 38; at++)
        for (int value = 0; value < 256; value += 5) {
            file[at] = (uint8_t)value;
            for (size_t end = 2; end < 64; end += 7) {
                uint8_t *copy = malloc(end);
                assert_non_null(copy);
                memcpy(copy, file, end);
                assert_in_range(gr_orientation_read(copy, end), 1, 8);
                free(copy);
            }
            assert_in_range(gr_orientation_read(file, size), 1, 8);
            file[at] = sound[at];
        }
    file[2 + 16 + 31] = 9;
    assert_int_equal(gr_orientation_read(file, size), GR_UPRIGHT);
}

/* Through the transforms of a model: the bits must not depend on how the pixels were reached. */
static void a_turned_file_gives_the_sample_of_an_upright_one(void **state)
{
    (void)state;
    static uint8_t rgb[ROWS * COLUMNS * 3], upright[ROWS * COLUMNS * 3];
    static float expected[3 * 24 * 24], sample[3 * 24 * 24];
    fill(rgb, ROWS, COLUMNS);
    const char *const transforms[] = {"resize", "shortest=30", "crop", "size=24"};
    const struct gr_data_part *part = gr_data_case_part(&test, "list", "file=none", transforms, 2);
    const struct gr_shape shape = {3, {3, 24, 24}};
    uint8_t exif[64];
    for (int orientation = 2; orientation <= 8; orientation++) {
        const int H = orientation < 5 ? ROWS : COLUMNS, W = orientation < 5 ? COLUMNS : ROWS;
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                int h = 0, w = 0;
                turn(orientation, H, W, y, x, &h, &w);
                memcpy(upright + (y * W + x) * 3, rgb + (h * COLUMNS + w) * 3, 3);
            }
        const char *path = gr_data_case_path(&test, "a.png");
        const size_t length = make_exif(orientation, true, exif);
        const struct gr_make_png what = {ROWS, COLUMNS, PNG_COLOR_TYPE_RGB, 8, false, NULL, 0, NULL,
                                         exif, length};
        assert_true(gr_make_rgb_png(path, upright, H, W));
        assert_true(gr_data_part_image(part, &shape, path, expected, NULL));
        assert_true(gr_make_png(path, &what, rgb));
        assert_true(gr_data_part_image(part, &shape, path, sample, NULL));
        assert_memory_equal(sample, expected, sizeof sample);
    }
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(an_rgb_png_gives_its_bytes_interlaced_or_not),
        SENTENCE(a_part_of_a_png_is_that_part_of_the_whole),
        SENTENCE(every_form_of_png_becomes_rgb_or_luminance),
        SENTENCE(a_png_under_the_name_of_a_jpeg_is_read),
        SENTENCE(a_png_that_ends_early_is_corrupt_wherever_it_ends),
        SENTENCE(sizes_that_a_png_cannot_hold_are_refused_before_decoding),
        SENTENCE(files_that_are_no_images_are_named_for_what_they_are),
        SENTENCE(sizes_that_a_jpeg_cannot_hold_are_refused_before_decoding),
        SENTENCE(one_pixel_is_an_image),
        SENTENCE(a_jpeg_is_turned_upright_whole_and_in_part),
        SENTENCE(a_png_is_turned_upright_whole_and_in_part),
        SENTENCE(shrinking_a_turned_jpeg_leaves_the_size_wanted),
        SENTENCE(damaged_exif_data_are_no_orientation),
        SENTENCE(a_turned_file_gives_the_sample_of_an_upright_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
