/*
 * Pictures: what is painted is there, nothing else is, and libpng reads it back from the file.
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
#include <unistd.h>

#include "data/decode.h"
#include "data/font.h"
#include "data/sheet.h"
#include "support/folder.h"

static const struct gr_colour white = {255, 255, 255}, red = {200, 10, 20};

static bool is(const struct gr_picture *picture, int64_t h, int64_t w, struct gr_colour colour)
{
    const uint8_t *pixel = picture->pixels + (h * picture->width + w) * 3;
    return pixel[0] == colour.red && pixel[1] == colour.green && pixel[2] == colour.blue;
}

static int64_t count(const struct gr_picture *picture, struct gr_colour colour)
{
    int64_t found = 0;
    for (int64_t n = 0; n < picture->height * picture->width; n++)
        found += is(picture, n / picture->width, n % picture->width, colour);
    return found;
}

static void open_white(struct gr_picture *picture, int64_t height, int64_t width)
{
    struct gr_error err = {0};
    assert_true(gr_picture_init(picture, height, width, white, &err));
    assert_int_equal(count(picture, white), height * width);
}

/* ---- painting ---------------------------------------------------------------------------- */

static void filling_stops_at_the_edges(void **state)
{
    struct gr_picture picture;
    (void)state;
    open_white(&picture, 6, 9);
    gr_picture_fill(&picture, &(struct gr_window){-3, 7, 5, 100}, red);
    assert_int_equal(count(&picture, red), 4);
    assert_true(is(&picture, 0, 7, red) && is(&picture, 1, 8, red));
    gr_picture_fill(&picture, &(struct gr_window){6, 0, 2, 2}, red);
    gr_picture_fill(&picture, &(struct gr_window){0, -5, 2, 5}, red);
    assert_int_equal(count(&picture, red), 4);
    gr_picture_release(&picture);
}

static void a_frame_lies_around_its_window(void **state)
{
    struct gr_picture picture;
    (void)state;
    open_white(&picture, 12, 12);
    gr_picture_frame(&picture, &(struct gr_window){4, 3, 3, 5}, 2, red);
    assert_int_equal(count(&picture, red), 7 * 9 - 3 * 5);
    assert_true(is(&picture, 2, 1, red) && is(&picture, 8, 9, red) && is(&picture, 4, 2, red));
    assert_true(is(&picture, 4, 3, white) && is(&picture, 6, 7, white));
    gr_picture_release(&picture);
}

static void views_are_drawn_with_their_strides_and_enlarged(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 11, 12, 13, 21, 22, 23, 31, 32, 33};
    const struct gr_view rgb = gr_view_interleaved(bytes, 3, 2, 2), mirror = gr_view_mirrored(&rgb);
    const struct gr_view grey = gr_view_planar(bytes, 1, 3, 4);
    struct gr_picture picture;
    (void)state;
    open_white(&picture, 20, 20);
    gr_picture_draw(&picture, 1, 2, &mirror, 3);
    for (int h = 0; h < 6; h++)
        for (int w = 0; w < 6; w++) {
            const uint8_t first = bytes[h / 3 * 6 + (1 - w / 3) * 3];
            assert_true(is(&picture, 1 + h, 2 + w,
                           (struct gr_colour){first, (uint8_t)(first + 1), (uint8_t)(first + 2)}));
        }
    gr_picture_draw(&picture, 10, 10, &grey, 1);
    assert_true(is(&picture, 12, 13, (struct gr_colour){33, 33, 33}));
    assert_int_equal(count(&picture, white), 400 - 36 - 12);
    gr_picture_release(&picture);
}

/* ---- text -------------------------------------------------------------------------------- */

static void every_character_has_a_glyph_of_its_own(void **state)
{
    (void)state;
    for (int a = ' '; a <= '~'; a++)
        for (int b = ' '; b < a; b++)
            assert_memory_not_equal(gr_font_glyph((uint32_t)a), gr_font_glyph((uint32_t)b),
                                    GR_GLYPH_HEIGHT);
    assert_memory_equal(gr_font_glyph(7), gr_font_glyph('?'), GR_GLYPH_HEIGHT);
    assert_memory_equal(gr_font_glyph(0x180), gr_font_glyph('?'), GR_GLYPH_HEIGHT);
    assert_memory_equal(gr_font_glyph(0xbf), gr_font_glyph('?'), GR_GLYPH_HEIGHT);
}

static void accents_are_left_out(void **state)
{
    (void)state;
    static const struct {
        uint32_t character;
        char letter;
    } rows[] = {{0xc0, 'A'},  {0xe9, 'e'},  {0xf1, 'n'},  {0xff, 'y'},  {0x10d, 'c'},
                {0x131, 'i'}, {0x142, 'l'}, {0x153, 'o'}, {0x161, 's'}, {0x17e, 'z'}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_memory_equal(gr_font_glyph(rows[i].character),
                            gr_font_glyph((uint32_t)rows[i].letter), GR_GLYPH_HEIGHT);
}

/* What a text of that size and room looks like: a picture to be released. */
static struct gr_picture written(const char *text, int64_t width, int64_t scale)
{
    struct gr_picture picture;
    open_white(&picture, 30, 80);
    gr_picture_text(&picture, 2, 3, width, scale, red, text);
    return picture;
}

static bool look_alike(const char *one, int64_t width, const char *other, int64_t of_other)
{
    struct gr_picture a = written(one, width, 1), b = written(other, of_other, 1);
    const bool same = memcmp(a.pixels, b.pixels, 30 * 80 * 3) == 0;
    gr_picture_release(&a);
    gr_picture_release(&b);
    return same;
}

static void text_stays_in_its_room(void **state)
{
    (void)state;
    assert_int_equal(gr_picture_text_width("", 2), 0);
    assert_int_equal(gr_picture_text_width("ab", 1), 11);
    assert_int_equal(gr_picture_text_width("äb", 2), 22);
    assert_true(look_alike("abcd", 23, "abcd", 77));
    assert_true(look_alike("abcd", 22, "a..", 77));
    assert_true(look_alike("äbcdef", 23, "ab..", 77));
    assert_true(look_alike("abcd", 5, ".", 77));
    assert_true(look_alike("abcd", 4, "", 77));
    assert_true(look_alike("größe 漢", 77, "grose ?", 77));
}

static void text_is_as_large_as_asked_for(void **state)
{
    (void)state;
    struct gr_picture small = written("T", 77, 1), large = written("T", 77, 3);
    assert_int_equal(count(&small, red), 5 + 6);
    assert_int_equal(count(&large, red), 9 * (5 + 6));
    assert_true(is(&small, 2, 3, red) && is(&small, 2, 7, red) && is(&small, 8, 5, red));
    gr_picture_release(&small);
    gr_picture_release(&large);
}

/* ---- files ------------------------------------------------------------------------------- */

static void text_that_runs_upwards_is_text_turned(void **state)
{
    enum { SIDE = 120 };
    struct gr_picture along, up;
    (void)state;
    open_white(&along, SIDE, SIDE);
    open_white(&up, SIDE, SIDE);
    gr_picture_text(&along, 7, 5, 80, 2, red, "Ag,1 too long");
    gr_picture_text_up(&up, SIDE - 5, 7, 80, 2, red, "Ag,1 too long");
    assert_true(count(&along, red) > 100);
    for (int64_t h = 0; h < SIDE; h++)
        for (int64_t w = 0; w < SIDE; w++)
            assert_true(is(&along, h, w, red) == is(&up, SIDE - 1 - w, h, red));
    gr_picture_release(&along);
    gr_picture_release(&up);
}

static void a_file_holds_what_was_painted(void **state)
{
    char path[GR_FOLDER_PATH];
    struct gr_picture picture;
    struct gr_error err = {0};
    (void)state;
    open_white(&picture, 17, 23);
    for (int n = 0; n < 17 * 23 * 3; n++)
        picture.pixels[n] = (uint8_t)(n * 7919 >> 3);
    assert_true(gr_picture_write(&picture, gr_folder_file("a.png", path), &err));
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&image, path) != 0);
    assert_int_equal(image.width, 23);
    assert_int_equal(image.height, 17);
    assert_int_equal(image.format, PNG_FORMAT_RGB);
    uint8_t *read = malloc(PNG_IMAGE_SIZE(image));
    assert_true(png_image_finish_read(&image, NULL, read, 0, NULL) != 0);
    assert_memory_equal(read, picture.pixels, 17 * 23 * 3);
    free(read);
    gr_picture_release(&picture);
}

/* Of one colour: as JPEG keeps it, but for rounding. */
static void a_name_of_jpeg_makes_it_one(void **state)
{
    static const char *const names[] = {"a.jpg", "a.JPEG"};
    struct gr_picture picture;
    struct gr_error err = {0};
    (void)state;
    open_white(&picture, 20, 33);
    gr_picture_fill(&picture, &(struct gr_window){0, 0, 20, 33}, (struct gr_colour){200, 100, 50});
    for (int i = 0; i < 2; i++) {
        char path[GR_FOLDER_PATH];
        struct gr_source_scratch scratch = {0};
        struct gr_view view;
        assert_true(gr_picture_write(&picture, gr_folder_file(names[i], path), &err));
        assert_true(gr_image_read(path, 3, &(struct gr_source_target){0}, &scratch, &view, &err));
        assert_int_equal(view.height, 20);
        assert_int_equal(view.width, 33);
        for (int c = 0; c < 3; c++) {
            const int expected = picture.pixels[c];
            const int got = view.pixels[c * view.channel_stride + 19 * view.row_stride];
            assert_in_range(got + 2 - expected, 0, 4);
        }
        gr_buffer_release(&scratch.file);
        gr_buffer_release(&scratch.pixels);
    }
    gr_picture_release(&picture);
}

static void what_cannot_be_written_leaves_nothing(void **state)
{
    char path[GR_FOLDER_PATH];
    struct gr_picture picture;
    struct gr_error err = {0};
    const int before = gr_folder_count();
    (void)state;
    open_white(&picture, 400, 400);
    assert_false(gr_picture_write(&picture, gr_folder_file("none/a.png", path), &err));
    assert_int_equal(err.status, GR_ERR_RUNTIME);
    assert_non_null(strstr(err.message, "none/a.png"));
    memset(&err, 0, sizeof err);
    for (int n = 0; n < 400 * 400 * 3; n++) /* more than a stream's buffer holds */
        picture.pixels[n] = (uint8_t)((uint32_t)n * 2654435761u >> 13);
    assert_false(gr_picture_write(&picture, "/dev/full", &err));
    assert_non_null(strstr(err.message, "/dev/full: cannot write: No space left on device"));
    assert_int_equal(gr_folder_count(), before);
    gr_picture_release(&picture);
}

static void pictures_too_large_are_refused(void **state)
{
    struct gr_picture picture;
    struct gr_error err = {0};
    (void)state;
    assert_false(gr_picture_init(&picture, 60000, 60000, white, &err));
    assert_string_equal(err.message, "a picture of 60000×60000 pixels is too large");
    gr_picture_release(&picture);
}

/* ---- sheets ------------------------------------------------------------------------------ */

static void a_sheet_shows_each_tile_once_in_order(void **state)
{
    static uint8_t tile[8 * 10 * 3];
    const struct gr_sheet_options options = {
        .count = 7, .height = 8, .width = 10, .columns = 3, .scale = 2, .captions = 1};
    struct gr_error err = {0};
    struct gr_sheet sheet;
    int64_t last = -1;
    (void)state;
    assert_true(gr_sheet_init(&sheet, &options, &err));
    for (int i = 0; i < 7; i++) {
        for (int n = 0; n < 80; n++)
            memcpy(tile + 3 * n, (uint8_t[]){(uint8_t)(10 + i), 3, 5}, 3);
        const struct gr_view view = gr_view_interleaved(tile, 3, 8, 10);
        gr_sheet_put(&sheet, i, &view, "birch");
    }
    for (int i = 0; i < 7; i++) {
        const struct gr_colour colour = {(uint8_t)(10 + i), 3, 5};
        int64_t first = 0;
        assert_int_equal(count(&sheet.picture, colour), 4 * 80);
        while (
            !is(&sheet.picture, first / sheet.picture.width, first % sheet.picture.width, colour))
            first++;
        assert_true(first > last);
        assert_int_equal(first / sheet.picture.width, sheet.top + i / 3 * sheet.step_down);
        last = first;
    }
    gr_sheet_release(&sheet);
}

/* Lines of a caption stand below each other, and the first column apart from the others. */
static void captions_have_lines_and_the_first_column_room(void **state)
{
    const struct gr_sheet_options options = {
        .count = 4, .height = 8, .width = 30, .columns = 2, .scale = 2, .captions = 2, .lead = 50};
    const uint8_t pixel[3] = {200, 10, 20};
    const struct gr_view view = gr_view_interleaved(pixel, 3, 1, 1);
    struct gr_sheet one, two;
    struct gr_error err = {0};
    (void)state;
    assert_true(gr_sheet_init(&one, &options, &err) && gr_sheet_init(&two, &options, &err));
    for (int64_t i = 0; i < 4; i++) {
        const struct gr_window place = gr_sheet_place(&one, i, 1, 1);
        assert_int_equal(place.left, one.left + i % 2 * (one.step_right + 50) + 29);
        assert_int_equal(place.top, one.top + i / 2 * one.step_down + 7);
        gr_sheet_put(&one, i, &view, "ab");
        gr_sheet_put(&two, i, &view, "ab\nab");
    }
    assert_true(is(&one.picture, one.top + 7, one.left + 29, red));
    const int64_t pixels = one.picture.height * one.picture.width;
    const int64_t first = pixels - count(&one.picture, white);
    const int64_t both = pixels - count(&two.picture, white);
    assert_true(both > first);
    gr_sheet_put(&one, 0, &view, "");
    const int64_t letters = (both - first) / 4;      /* of "ab", once more in each tile */
    assert_int_equal(first, 4 * (4 + 12 + letters)); /* with a picture and its frame */
    gr_sheet_release(&one);
    gr_sheet_release(&two);
}

static void a_sheet_chooses_its_own_layout(void **state)
{
    struct gr_error err = {0};
    (void)state;
    for (int64_t n = 1; n < 200; n += 7)
        for (int64_t side = 8; side < 300; side *= 3) {
            const struct gr_sheet_options options = {
                .count = n, .height = side, .width = side, .captions = 1, .title = "t"};
            struct gr_sheet sheet;
            assert_true(gr_sheet_init(&sheet, &options, &err));
            const double shape = (double)sheet.picture.width / (double)sheet.picture.height;
            assert_true(sheet.width >= 96 && sheet.width < 300);
            assert_true(n < 50 || (shape > 1 && shape < 1.8));
            gr_sheet_release(&sheet);
        }
}

static void other_formats_are_refused(void **state)
{
    struct gr_picture picture;
    struct gr_error err = {0};
    (void)state;
    open_white(&picture, 2, 2);
    assert_false(gr_picture_write(&picture, "folder/sheet.GIF", &err));
    assert_int_equal(err.status, GR_ERR_USAGE);
    assert_string_equal(err.message, "folder/sheet.GIF: pictures are written as .png or .jpg");
    gr_picture_release(&picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_formats_are_refused),
        cmocka_unit_test(filling_stops_at_the_edges),
        cmocka_unit_test(a_frame_lies_around_its_window),
        cmocka_unit_test(views_are_drawn_with_their_strides_and_enlarged),
        cmocka_unit_test(every_character_has_a_glyph_of_its_own),
        cmocka_unit_test(accents_are_left_out),
        cmocka_unit_test(text_stays_in_its_room),
        cmocka_unit_test(text_is_as_large_as_asked_for),
        cmocka_unit_test(text_that_runs_upwards_is_text_turned),
        cmocka_unit_test(a_file_holds_what_was_painted),
        cmocka_unit_test(a_name_of_jpeg_makes_it_one),
        cmocka_unit_test(what_cannot_be_written_leaves_nothing),
        cmocka_unit_test(pictures_too_large_are_refused),
        cmocka_unit_test(a_sheet_shows_each_tile_once_in_order),
        cmocka_unit_test(captions_have_lines_and_the_first_column_room),
        cmocka_unit_test(a_sheet_chooses_its_own_layout),
    };
    return cmocka_run_group_tests(tests, gr_folder_set_up, gr_folder_tear_down);
}
