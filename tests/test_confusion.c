/*
 * The confusion matrix drawn as PNG: each cell has the colour of its share, and nothing is cut off.
 * And as a table: names are quoted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/folder.h"
#include "support/run_files.h"
#include "train/confusion_drawing.h"

static const char *name_of(const void *user, int64_t index, char *buffer, size_t size)
{
    (void)user;
    if (index == 1)
        snprintf(buffer, size, "a name that is much too long to be shown whole, Ärger");
    else
        snprintf(buffer, size, index == 2 ? "" : "class %lld", (long long)index);
    return buffer;
}

/* Row r: r images right, and wrong ones here and there; the last row is empty. */
static struct gr_confusion make(int64_t classes)
{
    struct gr_confusion confusion;
    struct gr_error err = {0};
    assert_true(gr_confusion_init(&confusion, classes, &err));
    for (int64_t r = 0; r + 1 < classes; r++) {
        confusion.counts[r * classes + r] = (uint32_t)r;
        confusion.counts[r * classes + (r * 7 + 3) % classes] += (uint32_t)(r % 5);
        confusion.counts[r * classes + (r * 3 + 1) % classes] += 1;
    }
    return confusion;
}

/* Paints to a file and reads it back; the pixels are the caller's. */
static uint8_t *painted(const struct gr_confusion *confusion, int64_t *height, int64_t *width)
{
    char path[GR_FOLDER_PATH];
    struct gr_error err = {0};
    png_image image = {.version = PNG_IMAGE_VERSION};
    gr_folder_file("c.png", path);
    assert_true(gr_confusion_write(confusion, "title", name_of, NULL, path, &err));
    assert_true(png_image_begin_read_from_file(&image, path) != 0);
    uint8_t *pixels = malloc(PNG_IMAGE_SIZE(image));
    assert_non_null(pixels);
    assert_int_equal(image.format, PNG_FORMAT_RGB);
    assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL) != 0);
    *height = image.height;
    *width = image.width;
    return pixels;
}

/* Colours by their definition, apart from the code that draws. */
static void expect_colour(const uint8_t *pixel, uint32_t count, int64_t images, bool right)
{
    const double full[2][3] = {{178, 24, 43}, {8, 69, 148}};
    const double shade =
        count ? ceil(sqrt((double)count / (double)images) * GR_CONFUSION_SHADES - 1e-12) : 0;
    for (int c = 0; c < 3; c++) {
        const double want = 255 - shade / GR_CONFUSION_SHADES * (255 - full[right][c]);
        assert_true(fabs(pixel[c] - want) <= 0.5 + 1e-9);
    }
}

static void expect_cells(int64_t classes)
{
    int64_t height, width;
    struct gr_confusion confusion = make(classes);
    const struct gr_confusion_layout at = gr_confusion_lay_out(&confusion, name_of, NULL);
    uint8_t *pixels = painted(&confusion, &height, &width);
    assert_true(at.cell >= 1);
    for (int64_t r = 0; r < classes; r++)
        for (int64_t c = 0; c < classes; c++) {
            /* A corner, where no number stands. */
            const int64_t h = llround(2 * (at.top + (double)r * at.cell)) + 1;
            const int64_t w = llround(2 * (at.left + (double)c * at.cell)) + 1;
            expect_colour(pixels + (h * width + w) * 3, confusion.counts[r * classes + c],
                          gr_confusion_images(&confusion, r), r == c);
        }
    for (int64_t h = 0; h < height; h++)
        for (int64_t w = 0; w < width; w++)
            if (h < 8 || w < 8 || h >= height - 8 || w >= width - 8) /* a margin all around */
                assert_memory_equal(pixels + (h * width + w) * 3, "\xff\xff\xff", 3);
    free(pixels);
    gr_confusion_release(&confusion);
}

static void each_cell_has_the_colour_of_its_share(void **state)
{
    (void)state;
    expect_cells(2);
    expect_cells(10);
    expect_cells(40);
    expect_cells(200);
}

static void a_thousand_classes_fit(void **state)
{
    (void)state;
    expect_cells(1000);
}

static const char *odd_name(const void *user, int64_t index, char *buffer, size_t size)
{
    static const char *const names[] = {"a,b", "say \"cheese\"", "two\nlines", "", "=1+1"};
    (void)user;
    snprintf(buffer, size, "%s", names[index]);
    return buffer;
}

/* RFC 4180: quotes around, and those within doubled. A class without a name goes by its number. */
static void names_are_quoted_in_tables(void **state)
{
    (void)state;
    struct gr_error err = {0};
    char path[GR_FOLDER_PATH];
    size_t length;
    struct gr_confusion confusion;
    assert_true(gr_confusion_init(&confusion, 5, &err));
    confusion.counts[1 * 5 + 2] = 7;
    gr_folder_file("odd.csv", path);
    assert_true(gr_confusion_write(&confusion, "", odd_name, NULL, path, &err));
    char *text = gr_run_files_read(path, &length);
    assert_string_equal(text, "label,\"a,b\",\"say \"\"cheese\"\"\",\"two\nlines\",3,\"=1+1\"\n"
                              "\"a,b\",0,0,0,0,0\n"
                              "\"say \"\"cheese\"\"\",0,0,7,0,0\n"
                              "\"two\nlines\",0,0,0,0,0\n"
                              "3,0,0,0,0,0\n"
                              "\"=1+1\",0,0,0,0,0\n");
    free(text);
    gr_confusion_release(&confusion);
}

static void what_cannot_be_written_is_named(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_confusion confusion = make(3);
    assert_false(gr_confusion_write(&confusion, "t", name_of, NULL, "/nowhere/c.png", &err));
    assert_string_equal(err.message, "/nowhere/c.png: cannot create: No such file or directory");
    gr_confusion_release(&confusion);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_cell_has_the_colour_of_its_share),
        cmocka_unit_test(a_thousand_classes_fit),
        cmocka_unit_test(names_are_quoted_in_tables),
        cmocka_unit_test(what_cannot_be_written_is_named),
    };
    return cmocka_run_group_tests(tests, gr_folder_set_up, gr_folder_tear_down);
}
