/*
 * Files of data that ask for too much, or are not what they seem: each limit has its message.
 * SECURITY.md lists the limits; that its figures are those of the code is tested here too.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* mkfifo */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "data/decode.h"
#include "data/files.h"
#include "data/mat.h"
#include "data/pack_index.h"
#include "data/shards.h"
#include "data/synsets.h"
#include "data/tar.h"
#include "support/data_case.h"
#include "support/make_jpeg.h"
#include "support/make_tar.h"
#include "support/security.h"

static struct gr_data_case test;

static int set_up(void **state)
{
    (void)state;
    gr_data_case_init(&test);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_data_case_release(&test);
    return 0;
}

/* ---- text files -------------------------------------------------------------------------- */

static void refuses_lines(const char *bytes, size_t size, const char *part)
{
    struct gr_error err = {0};
    struct gr_pool pool = {0};
    int64_t count = 0;
    const char *path = gr_data_case_path(&test, "lines");
    gr_data_case_write(path, bytes, size);
    assert_null(gr_file_lines(path, 1 << 20, &pool, &count, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    gr_expect_contains(err.message, part);
    gr_pool_release(&pool);
}

static void lines_of_text_files_are_bounded_and_hold_no_zero_bytes(void **state)
{
    (void)state;
    char *text = malloc(GR_LINE_BYTES_MAX + 8);
    assert_non_null(text);
    memset(text, 'x', GR_LINE_BYTES_MAX + 8);
    memcpy(text, "ab\n", 3);
    refuses_lines(text, GR_LINE_BYTES_MAX + 4,
                  ":2: the line is longer than the 65536 bytes allowed");
    refuses_lines("a 1\nb\0 2\n", 9, ":2: a zero byte: not a text file");
    free(text);
}

static struct gr_dataset *open_as(const char *source, const char *attrs, struct gr_error *err)
{
    const struct gr_shape shape = {3, {3, 8, 8}};
    const char *const transforms[] = {"crop", "size=8"};
    const struct gr_data_part *part = gr_data_case_part(&test, source, attrs, transforms, 1);
    return gr_dataset_open(part, &shape, 10, NULL, NULL, err);
}

static void refuses(const char *source, const char *attrs, const char *part)
{
    struct gr_error err = {0};
    assert_null(open_as(source, attrs, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    gr_expect_contains(err.message, part);
}

/* A pipe, which nobody writes to, would keep a reader waiting for ever. */
static void a_list_that_names_a_pipe_does_not_wait_for_it(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(gr_data_case_path(&test, "a.jpg"), 0600), 0);
    const char *path = gr_data_case_path(&test, "list");
    gr_data_case_write(path, "a.jpg 0\n", 8);
    refuses("list", gr_pool_printf(&test.pool, "file=%s", path), "it is the first file of ");
}

static void two_synsets_have_no_id_in_common(void **state)
{
    (void)state;
    struct gr_synsets synsets = {0};
    struct gr_pool pool = {0};
    struct gr_error err = {0};
    const char *path = gr_data_case_path(&test, "synsets");
    gr_data_case_write(path, "7 n01\n3 n02\n7 n03\n", 18);
    assert_false(gr_synsets_read(&synsets, path, &pool, &err));
    gr_expect_contains(err.message, "have the same ID 7");
    gr_synsets_release(&synsets);
    gr_pool_release(&pool);
}

static void a_pattern_is_no_longer_than_a_path(void **state)
{
    (void)state;
    struct gr_pool pool = {0};
    struct gr_names paths = {0};
    struct gr_error err = {0};
    char pattern[5000];
    memset(pattern, 'x', sizeof pattern);
    memcpy(pattern, "{a,b}", 5);
    pattern[sizeof pattern - 1] = '\0';
    assert_false(gr_shards_expand(pattern, &pool, &paths, &err));
    gr_expect_contains(err.message, "longer than a path may be, which is 4095 bytes");
    gr_names_release(&paths);
    gr_pool_release(&pool);
}

/* ---- archives ---------------------------------------------------------------------------- */

static void a_name_in_an_archive_is_bounded(void **state)
{
    (void)state;
    struct gr_make_tar tar = {0};
    char name[GR_TAR_NAME_BYTES_MAX + 2];
    memset(name, 'n', sizeof name);
    gr_make_tar_add(&tar, 'L', "././@LongLink", name, sizeof name);
    gr_make_tar_add(&tar, '0', "a.jpg", "x", 1);
    gr_make_tar_end(&tar);
    const char *path = gr_data_case_path(&test, "long.tar");
    gr_make_tar_write(&tar, path);
    gr_make_tar_release(&tar);
    refuses("webdataset", gr_pool_printf(&test.pool, "shards=%s", path), "a name that is too long");
}

/* Paths of an archive name samples, and nothing is opened or made by them. */
static void paths_in_an_archive_are_names_only(void **state)
{
    (void)state;
    struct gr_make_tar tar = {0};
    struct gr_error err = {0};
    static const char *const names[] = {"../../escaped.jpg", "/etc/escaped.jpg"};
    const char *image = gr_data_case_path(&test, "image.jpg");
    assert_true(gr_make_plain_jpeg(image, 8, 8, 200, 0, 0));
    for (int i = 0; i < 2; i++) {
        gr_make_tar_add_file(&tar, names[i], image);
        gr_make_tar_add(&tar, '0', i ? "/etc/escaped.cls" : "../../escaped.cls", "1", 1);
    }
    gr_make_tar_end(&tar);
    const char *path = gr_data_case_path(&test, "paths.tar");
    gr_make_tar_write(&tar, path);
    gr_make_tar_release(&tar);
    struct gr_dataset *dataset =
        open_as("webdataset", gr_pool_printf(&test.pool, "shards=%s", path), &err);
    assert_string_equal(err.message, "");
    assert_int_equal(gr_dataset_count(dataset), 2);
    struct gr_scratch *scratch = gr_scratch_new();
    static float sample[3 * 8 * 8];
    const struct gr_draw draw = {1, 0};
    for (int64_t i = 0; i < 2; i++) {
        assert_int_equal(gr_dataset_read(dataset, i, &draw, scratch, sample, &err), GR_READ_DONE);
        assert_true(sample[0] > 190);
    }
    gr_scratch_free(scratch);
    gr_dataset_free(dataset);
    assert_int_not_equal(access(gr_data_case_path(&test, "../../escaped.jpg"), F_OK), 0);
}

/* ---- images ------------------------------------------------------------------------------ */

static void put_number(uint8_t *at, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(number >> (24 - 8 * i));
}

/* A chunk of that many bytes at the end of the PNG. */
static size_t add_chunk(uint8_t *png, size_t length, const char *name, const void *data,
                        size_t size)
{
    put_number(png + length, (uint32_t)size);
    memcpy(png + length + 4, name, 4);
    if (data)
        memcpy(png + length + 8, data, size);
    else
        memset(png + length + 8, 0, size);
    put_number(png + length + 8 + size, (uint32_t)crc32(0, png + length + 4, (uInt)size + 4));
    return length + size + 12;
}

/* A PNG of one bit a pixel, whose pixels are `bytes` bytes of no use. */
static void refuses_png(uint32_t height, uint32_t width, size_t bytes, const char *part)
{
    static uint8_t png[1 << 17];
    uint8_t header[13] = {0};
    struct gr_buffer pixels = {0};
    struct gr_error err = {0};
    struct gr_view view;
    const struct gr_source_target target = {0};
    size_t length = 8;
    memcpy(png, "\x89PNG\r\n\x1a\n", 8);
    put_number(header, width);
    put_number(header + 4, height);
    header[8] = 1;
    length = add_chunk(png, length, "IHDR", header, sizeof header);
    length = add_chunk(png, length, "IDAT", NULL, bytes);
    length = add_chunk(png, length, "IEND", NULL, 0);
    assert_false(gr_image_decode(png, length, 3, &target, &pixels, &view, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    gr_expect_contains(err.message, part);
    gr_buffer_release(&pixels);
}

static void the_pixels_of_a_png_are_bounded(void **state)
{
    (void)state;
    refuses_png(1, 65536, 100, "1×65536: a side is at most 65535 pixels");
    refuses_png(65535, 65535, 100, "65535×65535 pixels are more than the 268435456 allowed");
    refuses_png(60000, 4000, 100, "60000×4000 pixels cannot be in a file of ");
    refuses_png(60000, 4000, 60000, "60000×4000 pixels are more work than a file of ");
}

static void a_resized_image_is_no_larger_than_one_that_is_decoded(void **state)
{
    (void)state;
    static uint8_t pixels[65535];
    struct gr_resize_scratch scratch = {0};
    struct gr_buffer out = {0};
    struct gr_error err = {0};
    struct gr_view view = gr_view_interleaved(pixels, 1, 1, 65535);
    struct gr_placement placement = gr_placement_whole(1, 65535);
    placement.height = placement.window.height = 256;
    placement.width = placement.window.width = (int64_t)256 * 65535;
    assert_false(gr_image_place(&view, &placement, &scratch, &out, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    gr_expect_contains(err.message, "256×16776960 pixels are more than the 268435456 allowed");
}

static void a_gzip_bomb_is_not_unpacked(void **state)
{
    (void)state;
    static uint8_t noise[450000];
    const char *images = gr_data_case_path(&test, "images.gz");
    gzFile file = gzopen(images, "wb");
    gr_data_case_noise(noise, sizeof noise);
    memcpy(noise, "\0\0\x08\3\0\0\x75\x30\0\0\0\x64\0\0\0\x64", 16); /* 30,000 of 100×100 */
    assert_int_equal(gzwrite(file, noise, sizeof noise), sizeof noise);
    assert_int_equal(gzclose(file), Z_OK);
    refuses("idx", gr_pool_printf(&test.pool, "images=%s;labels=%s", images, images),
            "its header announces 300000000 bytes, packed into ");
}

/* ---- the table --------------------------------------------------------------------------- */

static void the_limits_that_are_documented_are_those_of_the_code(void **state)
{
    (void)state;
    gr_security_expect("pixels of an image", GR_DECODE_PIXELS_MAX);
    gr_security_expect("bytes of an image file", GR_DECODE_BYTES_MAX);
    gr_security_expect("bytes of a text file", GR_LIST_BYTES_MAX);
    gr_security_expect("bytes of a line", GR_LINE_BYTES_MAX);
    gr_security_expect("bytes of a MATLAB file", GR_MAT_BYTES_MAX);
    gr_security_expect("bytes that it unpacks to", GR_MAT_UNPACKED_MAX);
    gr_security_expect("bytes of a name in a tar", GR_TAR_NAME_BYTES_MAX);
    gr_security_expect("bytes of a line of a pack's index", GR_PACK_LINE_MAX);
    gr_security_expect("images of a shard of a pack", GR_PACK_IMAGES_MAX);
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(lines_of_text_files_are_bounded_and_hold_no_zero_bytes),
        SENTENCE(a_list_that_names_a_pipe_does_not_wait_for_it),
        SENTENCE(two_synsets_have_no_id_in_common),
        SENTENCE(a_pattern_is_no_longer_than_a_path),
        SENTENCE(a_name_in_an_archive_is_bounded),
        SENTENCE(paths_in_an_archive_are_names_only),
        SENTENCE(the_pixels_of_a_png_are_bounded),
        SENTENCE(a_resized_image_is_no_larger_than_one_that_is_decoded),
        SENTENCE(a_gzip_bomb_is_not_unpacked),
        SENTENCE(the_limits_that_are_documented_are_those_of_the_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
