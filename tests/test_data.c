/*
 * Data sources: what they find, what they show, and what they say when files are missing, damaged
 * or do not fit the model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data/jpeg.h"
#include "support/data_case.h"
#include "support/make_jpeg.h"

static struct gr_data_case test;
static struct gr_scratch *scratch;
static float sample[3 * 64 * 64];

static int setup(void **state)
{
    (void)state;
    gr_data_case_init(&test);
    scratch = gr_scratch_new();
    return scratch ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    gr_scratch_free(scratch);
    gr_data_case_release(&test);
    return 0;
}

static struct gr_dataset *open_as(const char *source, const char *attrs, int64_t C, int64_t H,
                                  int64_t W, int64_t classes, struct gr_error *err)
{
    const struct gr_shape shape = {3, {C, H, W}};
    const struct gr_data_part *part = gr_data_case_part(&test, source, attrs, NULL, 0);
    return gr_dataset_open(part, &shape, classes, gr_data_case_log, &test, err);
}

/* Opens what must open. */
static struct gr_dataset *open_good(const char *source, const char *attrs, int64_t C, int64_t H,
                                    int64_t W, int64_t classes)
{
    struct gr_error err = {0};
    struct gr_dataset *dataset = open_as(source, attrs, C, H, W, classes, &err);
    assert_string_equal(err.message, "");
    assert_non_null(dataset);
    return dataset;
}

static void read_good(const struct gr_dataset *dataset, int64_t index)
{
    const struct gr_draw draw = {0};
    struct gr_error err = {0};
    assert_int_equal(gr_dataset_read(dataset, index, &draw, scratch, sample, &err), GR_READ_DONE);
}

/* Expects the message, where each @ stands for the case's folder. */
static void expect(const struct gr_error *err, enum gr_status status, const char *pattern)
{
    struct gr_text text = {0};
    for (; *pattern; pattern++)
        if (*pattern == '@')
            gr_text_add(&text, "%s", test.folder);
        else
            gr_text_add(&text, "%c", *pattern);
    assert_string_equal(err->message, text.data);
    assert_int_equal(err->status, status);
    gr_text_release(&text);
}

static void refuses(const char *source, const char *attrs, int64_t C, int64_t H, int64_t W,
                    const char *message)
{
    struct gr_error err = {0};
    assert_null(open_as(source, attrs, C, H, W, 10, &err));
    expect(&err, GR_ERR_DATA, message);
}

static const char *attrs_of(const char *format, const char *path)
{
    const char *mark = strchr(format, '@');
    return gr_pool_printf(&test.pool, "%.*s%s%s", (int)(mark - format), format, path, mark + 1);
}

/* ---- idx --------------------------------------------------------------------------------- */

static void idx_files_give_their_pixels_and_labels(void **state)
{
    (void)state;
    struct gr_dataset *dataset = open_good("idx", gr_data_case_idx(&test, 7, 3, 5, 4), 1, 3, 5, 4);
    assert_int_equal(gr_dataset_count(dataset), 7);
    assert_int_equal(gr_dataset_classes(dataset), 4);
    assert_true(gr_dataset_in_memory(dataset));
    assert_null(gr_dataset_class_name(dataset, 0));
    for (int n = 0; n < 7; n++) {
        read_good(dataset, n);
        assert_int_equal(gr_dataset_label(dataset, n), n % 4);
        for (int i = 0; i < 15; i++)
            assert_true(sample[i] == (float)((n * 15 + i) % 251));
    }
    char name[256];
    struct gr_error err = {.status = GR_OK};
    gr_dataset_sample_name(dataset, 6, err.message, sizeof err.message);
    expect(&err, GR_OK, "@/labels[6]");
    gr_dataset_sample_name(dataset, 6, name, 5); /* cut, not overrun */
    assert_int_equal(strlen(name), 4);
    gr_dataset_free(dataset);
}

static void gzip(const char *from, const char *to)
{
    char bytes[4096];
    FILE *in = fopen(from, "rb");
    gzFile out = gzopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    const size_t size = fread(bytes, 1, sizeof bytes, in);
    assert_int_equal(gzwrite(out, bytes, (unsigned)size), (int)size);
    fclose(in);
    assert_int_equal(gzclose(out), Z_OK);
}

static const char *gzipped_idx(void)
{
    gr_data_case_idx(&test, 20, 6, 6, 10);
    const char *images = gr_data_case_path(&test, "images.gz");
    const char *labels = gr_data_case_path(&test, "labels.gz");
    gzip(gr_data_case_path(&test, "images"), images);
    gzip(gr_data_case_path(&test, "labels"), labels);
    return gr_pool_printf(&test.pool, "images=%s;labels=%s", images, labels);
}

static void gzipped_idx_files_are_unpacked(void **state)
{
    (void)state;
    struct gr_dataset *dataset = open_good("idx", gzipped_idx(), 1, 6, 6, 10);
    assert_int_equal(gr_dataset_count(dataset), 20);
    read_good(dataset, 19);
    assert_true(sample[35] == (float)(719 % 251));
    gr_dataset_free(dataset);
}

/* Cuts the file to its first `size` bytes, or changes byte `at`. */
static void damage(const char *path, long size, long at, uint8_t value)
{
    uint8_t bytes[4096];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t got = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    if (at >= 0)
        bytes[at] = value;
    gr_data_case_write(path, bytes, size >= 0 ? (size_t)size : got);
}

static void a_truncated_gzip_file_is_named(void **state)
{
    (void)state;
    const char *attrs = gzipped_idx();
    damage(gr_data_case_path(&test, "images.gz"), 200, -1, 0);
    struct gr_error err = {0};
    assert_null(open_as("idx", attrs, 1, 6, 6, 10, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    assert_non_null(strstr(err.message, "/images.gz: truncated: the file ends "));
}

/* All the bytes are there, but not what would tell that they are the right ones. */
static void a_gzip_file_without_its_checksum_is_named(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *attrs = gzipped_idx(), *path = gr_data_case_path(&test, "labels.gz");
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    const long size = ftell(file);
    fclose(file);
    damage(path, size - 8, -1, 0);
    assert_null(open_as("idx", attrs, 1, 6, 6, 10, &err));
    expect(&err, GR_ERR_DATA,
           "data.train: @/labels.gz: truncated: the end of its gzip data, with their checksum, is "
           "missing: fetch it again");
}

static void a_missing_idx_file_is_named(void **state)
{
    (void)state;
    refuses("idx", attrs_of("images=@/none;labels=x", test.folder), 1, 3, 5,
            "data.train: @/none: cannot open: No such file or directory");
    refuses("idx", attrs_of("images=@;labels=x", test.folder), 1, 3, 5,
            "data.train: @: cannot open: Is a directory");
}

static void a_truncated_idx_file_is_named_with_its_bytes(void **state)
{
    (void)state;
    const char *attrs = gr_data_case_idx(&test, 7, 3, 5, 4);
    damage(gr_data_case_path(&test, "images"), 100, -1, 0);
    refuses("idx", attrs, 1, 3, 5,
            "data.train: @/images: truncated: its header announces 105 bytes, the file has 84: "
            "fetch it again");
    damage(gr_data_case_path(&test, "images"), 10, -1, 0);
    refuses("idx", attrs, 1, 3, 5,
            "data.train: @/images: truncated: the file ends 2 bytes early: fetch it again");
}

static void an_overlong_idx_file_is_refused(void **state)
{
    (void)state;
    const char *attrs = gr_data_case_idx(&test, 7, 3, 5, 4);
    damage(gr_data_case_path(&test, "images"), -1, 7, 6);
    refuses("idx", attrs, 1, 3, 5,
            "data.train: @/images: longer than its header announces: fetch it again");
}

static void a_wrong_magic_number_is_shown(void **state)
{
    (void)state;
    const char *attrs = gr_data_case_idx(&test, 7, 3, 5, 4);
    damage(gr_data_case_path(&test, "labels"), -1, 3, 3);
    refuses("idx", attrs, 1, 3, 5,
            "data.train: @/labels: wrong magic number 0x00000803: labels in IDX format start with "
            "0x00000801");
    damage(gr_data_case_path(&test, "images"), -1, 0, 'x');
    refuses("idx", attrs, 1, 3, 5,
            "data.train: @/images: wrong magic number 0x78000803: images in IDX format start with "
            "0x00000803");
}

static void an_idx_header_that_claims_too_much_allocates_nothing(void **state)
{
    (void)state;
    const char *attrs = gr_data_case_idx(&test, 7, 3, 5, 4);
    damage(gr_data_case_path(&test, "images"), -1, 4, 0xff);
    refuses("idx", attrs, 1, 3, 5,
            "data.train: @/images: truncated: its header announces 64172851305 bytes, the file has "
            "105: fetch it again");
    damage(gr_data_case_path(&test, "images"), -1, 8, 0xff);
    refuses("idx", attrs, 1, 3, 5,
            "data.train: @/images: dimension 2 of 3 in the header is 4278190083");
}

static void counts_of_images_and_labels_must_agree(void **state)
{
    (void)state;
    const char *attrs = gr_data_case_idx(&test, 7, 3, 5, 4);
    damage(gr_data_case_path(&test, "labels"), 14, 7, 6);
    refuses("idx", attrs, 1, 3, 5,
            "data.train: @/labels: 6 labels, but @/images holds 7 images: name two files that "
            "belong together");
}

static void a_label_out_of_range_names_file_and_record(void **state)
{
    (void)state;
    refuses("idx", gr_data_case_idx(&test, 20, 3, 5, 13), 1, 3, 5,
            "data.train: @/labels[10]: label 10, but the model's label has 10 classes, 0 to 9");
}

static void colour_idx_files_may_be_planar_or_interleaved(void **state)
{
    (void)state;
    uint8_t images[20 + 2 * 24] = {0, 0, 8, 4, 0, 0, 0, 2};
    uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 1, 0};
    const uint8_t dims[2][3] = {{2, 4, 3}, {3, 2, 4}};
    for (int i = 0; i < 48; i++)
        images[20 + i] = (uint8_t)i;
    const char *path = gr_data_case_path(&test, "rgb"), *second = gr_data_case_path(&test, "l");
    gr_data_case_write(second, labels, sizeof labels);
    for (int planar = 0; planar < 2; planar++) {
        for (int i = 0; i < 3; i++)
            images[11 + 4 * i] = dims[planar][i];
        gr_data_case_write(path, images, sizeof images);
        struct gr_dataset *dataset = open_good(
            "idx", gr_pool_printf(&test.pool, "images=%s;labels=%s", path, second), 3, 2, 4, 2);
        read_good(dataset, 1);
        for (int c = 0; c < 3; c++)
            for (int p = 0; p < 8; p++)
                assert_true(sample[c * 8 + p] == (float)(24 + (planar ? c * 8 + p : p * 3 + c)));
        gr_dataset_free(dataset);
    }
}

/* ---- cifar ------------------------------------------------------------------------------- */

static void write_cifar(const char *name, int records, int label_bytes, int first)
{
    const size_t record = (size_t)label_bytes + 3072;
    uint8_t *bytes = gr_pool_alloc(&test.pool, record * (size_t)records);
    for (int n = 0; n < records; n++) {
        uint8_t *at = bytes + record * (size_t)n;
        for (int i = 0; i < label_bytes; i++)
            at[i] = (uint8_t)(first + n + 50 * i);
        memset(at + label_bytes, first + n, 3072);
        at[label_bytes + 1024] = 200; /* green of the first pixel */
    }
    gr_data_case_write(gr_data_case_path(&test, "%s", name), bytes, record * (size_t)records);
}

static void cifar10_reads_its_five_batches_or_the_test_batch(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        write_cifar(gr_pool_printf(&test.pool, "data_batch_%d.bin", i + 1), 2, 1, i);
    write_cifar("test_batch.bin", 3, 1, 7);
    const char *names = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n";
    gr_data_case_write(gr_data_case_path(&test, "batches.meta.txt"), names, strlen(names));
    struct gr_dataset *dataset =
        open_good("cifar10", attrs_of("path=@", test.folder), 3, 32, 32, 10);
    assert_int_equal(gr_dataset_count(dataset), 10);
    assert_string_equal(gr_dataset_class_name(dataset, 9), "j");
    read_good(dataset, 5);
    assert_int_equal(gr_dataset_label(dataset, 5), 3);
    assert_true(sample[0] == 3 && sample[1024] == 200 && sample[1025] == 3);
    struct gr_error name = {0};
    gr_dataset_sample_name(dataset, 5, name.message, sizeof name.message);
    expect(&name, GR_OK, "@/data_batch_3.bin[1]");
    gr_dataset_free(dataset);
    dataset = open_good("cifar10", attrs_of("path=@;train=0", test.folder), 3, 32, 32, 10);
    assert_int_equal(gr_dataset_count(dataset), 3);
    assert_int_equal(gr_dataset_label(dataset, 2), 9);
    gr_dataset_free(dataset);
}

static void cifar100_has_fine_and_coarse_labels(void **state)
{
    (void)state;
    write_cifar("one.bin", 4, 2, 3);
    const char *path = gr_data_case_path(&test, "one.bin");
    struct gr_dataset *dataset = open_good("cifar100", attrs_of("path=@", path), 3, 32, 32, 100);
    assert_int_equal(gr_dataset_label(dataset, 1), 54);
    read_good(dataset, 1);
    assert_true(sample[0] == 4);
    gr_dataset_free(dataset);
    dataset = open_good("cifar100", attrs_of("path=@;labels=coarse", path), 3, 32, 32, 20);
    assert_int_equal(gr_dataset_label(dataset, 1), 4);
    assert_int_equal(gr_dataset_classes(dataset), 20);
    gr_dataset_free(dataset);
}

static void damaged_cifar_files_are_refused(void **state)
{
    (void)state;
    write_cifar("test_batch.bin", 1, 1, 12);
    const char *attrs = attrs_of("path=@;train=0", test.folder);
    refuses("cifar10", attrs, 3, 32, 32,
            "data.train: @/test_batch.bin[0]: label 12, but the model's label has 10 classes, 0 to "
            "9");
    damage(gr_data_case_path(&test, "test_batch.bin"), 3000, -1, 0);
    refuses("cifar10", attrs, 3, 32, 32,
            "data.train: @/test_batch.bin: 3000 bytes are not a whole number of records of 3073: "
            "fetch it again");
    refuses("cifar10", attrs_of("path=@", test.folder), 3, 32, 32,
            "data.train: @/data_batch_1.bin: cannot open: No such file or directory");
}

/* ---- folders and lists of JPEG files ----------------------------------------------------- */

static void folders_are_classes_in_byte_order(void **state)
{
    (void)state;
    const char *const files[] = {"b/1.jpg", "b/0.JPEG", "a/x.jpeg", "Z/q.jpg"};
    for (int i = 0; i < 4; i++)
        gr_make_plain_jpeg(gr_data_case_path(&test, "%s", files[i]), 8, 8, (uint8_t)(50 * i), 0, 0);
    gr_data_case_write(gr_data_case_path(&test, "b/notes.txt"), "x", 1);
    gr_data_case_write(gr_data_case_path(&test, "b/.hidden.jpg"), "x", 1);
    gr_data_case_write(gr_data_case_path(&test, "readme"), "x", 1);
    struct gr_error err = {0};
    const struct gr_shape shape = {3, {3, 8, 8}};
    const char *const transforms[] = {"crop", "size=8"};
    struct gr_dataset *dataset = gr_dataset_open(
        gr_data_case_part(&test, "imagefolder", attrs_of("path=@", test.folder), transforms, 1),
        &shape, 3, gr_data_case_log, &test, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(gr_dataset_count(dataset), 4);
    assert_string_equal(gr_dataset_class_name(dataset, 0), "Z");
    assert_string_equal(gr_dataset_class_name(dataset, 2), "b");
    assert_null(gr_dataset_class_name(dataset, 3));
    const int red[] = {150, 100, 50, 0}, label[] = {0, 1, 2, 2};
    for (int i = 0; i < 4; i++) {
        read_good(dataset, i);
        assert_int_equal(gr_dataset_label(dataset, i), label[i]);
        assert_true(sample[0] > (float)red[i] - 4 && sample[0] < (float)red[i] + 4);
        assert_true(sample[64] < 4);
    }
    struct gr_error name = {0};
    gr_dataset_sample_name(dataset, 2, name.message, sizeof name.message);
    expect(&name, GR_OK, "@/b/0.JPEG");
    assert_int_equal(test.n_warnings, 0);
    gr_dataset_free(dataset);
}

static void an_empty_class_folder_is_an_error(void **state)
{
    (void)state;
    gr_make_plain_jpeg(gr_data_case_path(&test, "a/x.jpg"), 8, 8, 1, 2, 3);
    gr_data_case_path(&test, "cat/none");
    refuses("imagefolder", attrs_of("path=@", test.folder), 3, 8, 8,
            "data.train: @/cat: class \"cat\" is empty: its folder holds no .jpg, .jpeg or .png "
            "file; fill "
            "it or remove it");
}

static void a_folder_without_classes_is_an_error(void **state)
{
    (void)state;
    gr_make_plain_jpeg(gr_data_case_path(&test, "x.jpg"), 8, 8, 1, 2, 3);
    refuses("imagefolder", attrs_of("path=@", test.folder), 3, 8, 8,
            "data.train: @: no class folders: it must hold one folder for each class");
    refuses("imagefolder", attrs_of("path=@/no", test.folder), 3, 8, 8,
            "data.train: @/no: cannot open: No such file or directory");
}

static void more_class_folders_than_classes_is_an_error_and_fewer_a_warning(void **state)
{
    (void)state;
    for (int i = 0; i < 11; i++)
        gr_make_plain_jpeg(gr_data_case_path(&test, "in/%02d/x.jpg", i), 8, 8, 1, 2, 3);
    const char *attrs = attrs_of("path=@/in", test.folder);
    refuses("imagefolder", attrs, 3, 8, 8,
            "data.train: @/in: 11 classes, but the model's label has 10: set classes: 11 in the "
            "model, or remove some");
    struct gr_error err = {0};
    const struct gr_shape shape = {3, {3, 8, 8}};
    const char *const transforms[] = {"crop", "size=8"};
    struct gr_dataset *dataset =
        gr_dataset_open(gr_data_case_part(&test, "imagefolder", attrs, transforms, 1), &shape, 12,
                        gr_data_case_log, &test, &err);
    assert_non_null(dataset);
    assert_string_equal(test.warning,
                        "data.train: 11 classes were found, the model's label has 12");
    gr_dataset_free(dataset);
}

static void lists_name_files_with_blanks_and_labels(void **state)
{
    (void)state;
    gr_make_plain_jpeg(gr_data_case_path(&test, "my pictures/a b.jpg"), 8, 8, 9, 90, 200);
    const char *absolute = gr_data_case_path(&test, "c.jpg");
    gr_make_plain_jpeg(absolute, 8, 8, 200, 90, 9);
    const char *text =
        gr_pool_printf(&test.pool, "# a comment\n\nmy pictures/a b.jpg \t 7\r\n%s 0", absolute);
    const char *list = gr_data_case_path(&test, "list.txt");
    gr_data_case_write(list, text, strlen(text));
    const struct gr_shape shape = {3, {3, 8, 8}};
    const char *const transforms[] = {"crop", "size=8"};
    struct gr_error err = {0};
    struct gr_dataset *dataset =
        gr_dataset_open(gr_data_case_part(&test, "list", attrs_of("file=@", list), transforms, 1),
                        &shape, 10, gr_data_case_log, &test, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(gr_dataset_count(dataset), 2);
    assert_int_equal(gr_dataset_label(dataset, 0), 7);
    assert_int_equal(gr_dataset_label(dataset, 1), 0);
    read_good(dataset, 0);
    assert_true(sample[0] < 14 && sample[128] > 195);
    read_good(dataset, 1);
    assert_true(sample[0] > 195);
    gr_dataset_free(dataset);
}

static void wrong_lines_of_a_list_are_named(void **state)
{
    (void)state;
    const struct {
        const char *text, *message;
    } cases[] = {
        {"a.jpg 1\nb.jpg\n", "data.train: @/l:2: not a path and a label: \"b.jpg\""},
        {"a.jpg -1\n", "data.train: @/l:1: not a path and a label: \"a.jpg -1\""},
        {"a.jpg 99999999999\n", "data.train: @/l:1: not a path and a label: \"a.jpg 99999999999\""},
        {"7\n", "data.train: @/l:1: not a path and a label: \"7\""},
        {"\na.jpg 10\n",
         "data.train: @/l:2: label 10, but the model's label has 10 classes, 0 to 9"},
        {"\n", "data.train: @/l: the list is empty: write lines `path label`"},
        {"", "data.train: @/l: the list is empty: write lines `path label`"},
        {"a.jpg 1\n", "data.train: @/a.jpg: cannot open: No such file or directory: it is the "
                      "first file of @/l: check `root`"},
    };
    const char *list = gr_data_case_path(&test, "l");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gr_data_case_write(list, cases[i].text, strlen(cases[i].text));
        refuses("list", attrs_of("file=@", list), 3, 8, 8, cases[i].message);
    }
}

/* ---- JPEG -------------------------------------------------------------------------------- */

/* A list of one file, seen through a resize or crop to 16×16. */
static struct gr_dataset *open_one(const char *file, int64_t channels, const char *transform,
                                   const char *attrs)
{
    const char *list = gr_data_case_path(&test, "one");
    const char *text = gr_pool_printf(&test.pool, "%s 0\n", file);
    gr_data_case_write(list, text, strlen(text));
    const struct gr_shape shape = {3, {channels, 16, 16}};
    const char *const transforms[] = {transform, attrs};
    struct gr_error err = {0};
    struct gr_dataset *dataset =
        gr_dataset_open(gr_data_case_part(&test, "list", attrs_of("file=@", list), transforms, 1),
                        &shape, 10, gr_data_case_log, &test, &err);
    assert_string_equal(err.message, "");
    return dataset;
}

static void is_corrupt(const char *file, const char *message)
{
    const struct gr_draw draw = {0};
    struct gr_error err = {0};
    struct gr_dataset *dataset = open_one(file, 3, "crop", "size=16");
    assert_int_equal(gr_dataset_read(dataset, 0, &draw, scratch, sample, &err), GR_READ_CORRUPT);
    expect(&err, GR_ERR_DATA, message);
    gr_dataset_free(dataset);
}

/* A noisy image, so that its file is long. */
static const char *noisy(const char *name, bool progressive)
{
    uint8_t pixels[32 * 32 * 3];
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
    const char *path = gr_data_case_path(&test, "%s", name);
    assert_true(gr_make_jpeg(path, pixels, 32, 32, 3, 75, progressive));
    return path;
}

static void a_jpeg_that_ends_early_is_corrupt(void **state)
{
    (void)state;
    const char *path = noisy("cut.jpg", false);
    damage(path, 1500, -1, 0);
    is_corrupt(path, "@/cut.jpg: corrupt JPEG: Premature end of JPEG file");
    path = noisy("cut2.jpg", true);
    damage(path, 1500, -1, 0);
    is_corrupt(path, "@/cut2.jpg: corrupt JPEG: Premature end of JPEG file");
}

/* The upper left quarter. */
static bool choose_quarter(void *user, int64_t height, int64_t width, struct gr_window *window,
                           struct gr_error *err)
{
    (void)user, (void)err;
    *window = (struct gr_window){0, 0, height / 2, width / 2};
    return true;
}

/* A crop that needs the upper rows only must not make a file pass whose end is missing. */
static void a_jpeg_that_ends_early_below_the_crop_is_corrupt(void **state)
{
    (void)state;
    const struct gr_source_target target = {.choose = choose_quarter};
    for (int progressive = 0; progressive < 2; progressive++) {
        static uint8_t bytes[1 << 13];
        FILE *file = fopen(noisy("part.jpg", progressive), "rb");
        assert_non_null(file);
        const size_t size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        struct gr_buffer pixels = {0};
        struct gr_view view;
        struct gr_error err = {0};
        assert_true(gr_jpeg_decode(bytes, size, 3, &target, &pixels, &view, &err));
        for (size_t percent = 70; percent < 100; percent += 5) {
            assert_false(
                gr_jpeg_decode(bytes, size * percent / 100, 3, &target, &pixels, &view, &err));
            expect(&err, GR_ERR_DATA, "corrupt JPEG: Premature end of JPEG file");
            err = (struct gr_error){0};
        }
        gr_buffer_release(&pixels);
    }
}

static void a_jpeg_of_too_many_pixels_is_refused_before_decoding(void **state)
{
    (void)state;
    const char *path = noisy("big.jpg", false);
    uint8_t bytes[4096];
    FILE *file = fopen(path, "rb");
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    size_t at = 0; /* of the frame header: FF C0, length, precision, height, width */
    while (at + 9 < size && !(bytes[at] == 0xff && bytes[at + 1] == 0xc0))
        at++;
    assert_true(at + 9 < size);
    bytes[at + 5] = bytes[at + 7] = 0xf0;
    bytes[at + 6] = bytes[at + 8] = 0;
    gr_data_case_write(path, bytes, size);
    is_corrupt(path,
               "@/big.jpg: corrupt JPEG: 61440×61440 pixels are more than the 268435456 allowed");
}

static void an_image_smaller_than_the_crop_says_so(void **state)
{
    (void)state;
    const char *path = gr_data_case_path(&test, "s.jpg");
    gr_make_plain_jpeg(path, 20, 12, 1, 2, 3);
    is_corrupt(path, "@/s.jpg: crop: 16×16 does not fit into an image of 20×12: put a resize "
                     "before the crop");
}

static void near(float value, float expected, float tolerance)
{
    if (!(value >= expected - tolerance && value <= expected + tolerance))
        fail_msg("%g is not within %g of %g", (double)value, (double)tolerance, (double)expected);
}

static void cmyk_is_converted_as_adobe_writes_it(void **state)
{
    (void)state;
    uint8_t pixels[16 * 16 * 4];
    const uint8_t ink[4] = {255, 128, 0, 200}; /* inverted: C none, M half, Y full, K some */
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = ink[i % 4];
    const char *path = gr_data_case_path(&test, "c.jpg");
    assert_true(gr_make_jpeg(path, pixels, 16, 16, 4, 95, false));
    struct gr_dataset *dataset = open_one(path, 3, "crop", "size=16");
    read_good(dataset, 0);
    near(sample[0], 200, 3);
    near(sample[256], 128 * 200 / 255.0f, 3);
    near(sample[512], 0, 3);
    gr_dataset_free(dataset);
    dataset = open_one(path, 1, "crop", "size=16");
    read_good(dataset, 0);
    near(sample[0], 0.299f * 200 + 0.587f * 100.4f, 3);
    gr_dataset_free(dataset);
}

static void grey_files_serve_colour_models_and_colour_files_grey_ones(void **state)
{
    (void)state;
    uint8_t pixels[16 * 16];
    memset(pixels, 77, sizeof pixels);
    const char *grey = gr_data_case_path(&test, "g.jpg"), *red = gr_data_case_path(&test, "r.jpg");
    assert_true(gr_make_jpeg(grey, pixels, 16, 16, 1, 95, false));
    gr_make_plain_jpeg(red, 16, 16, 250, 0, 0);
    struct gr_dataset *dataset = open_one(grey, 3, "crop", "size=16");
    read_good(dataset, 0);
    for (int c = 0; c < 3; c++)
        near(sample[c * 256 + 100], 77, 1);
    gr_dataset_free(dataset);
    dataset = open_one(red, 1, "crop", "size=16");
    read_good(dataset, 0);
    near(sample[0], 0.299f * 250, 2);
    gr_dataset_free(dataset);
}

/* A ramp from left to right survives shrinking by the DCT and by resampling. */
static void large_files_are_shrunk_while_decoding(void **state)
{
    (void)state;
    enum { H = 200, W = 240 };
    uint8_t *pixels = gr_pool_alloc(&test.pool, H * W * 3);
    for (int i = 0; i < H * W * 3; i++)
        pixels[i] = (uint8_t)(i / 3 % W);
    const char *path = gr_data_case_path(&test, "ramp.jpg");
    assert_true(gr_make_jpeg(path, pixels, H, W, 3, 95, true));
    struct gr_dataset *dataset = open_one(path, 3, "resize", "size=16");
    read_good(dataset, 0);
    for (int w = 1; w < 15; w++)
        near(sample[5 * 16 + w], 15.0f * (float)w + 7, 2);
    gr_dataset_free(dataset);
}

/* ---- synthetic, shapes, single images ---------------------------------------------------- */

static void synthetic_images_are_alike_within_a_class_and_across_parts(void **state)
{
    (void)state;
    static float first[3 * 64 * 64];
    struct gr_dataset *train = open_good("synthetic", "count=8;classes=4;noise=8", 1, 32, 32, 4);
    struct gr_dataset *val =
        open_good("synthetic", "count=8;classes=4;noise=8;seed=1", 1, 32, 32, 4);
    read_good(train, 1);
    memcpy(first, sample, sizeof first);
    double distance[3] = {0}; /* same class, same class in the other part, other class */
    for (int k = 0; k < 3; k++) {
        read_good(k == 1 ? val : train, k == 0 ? 5 : k == 1 ? 1 : 2);
        for (int i = 0; i < 1024; i++)
            distance[k] += (double)((sample[i] - first[i]) * (sample[i] - first[i])) / 1024;
    }
    assert_true(distance[0] > 64 && distance[0] < 256); /* 2 × 8² */
    assert_true(distance[1] > 64 && distance[1] < 256);
    assert_true(distance[2] > 1000);
    assert_int_equal(gr_dataset_label(train, 5), 1);
    gr_dataset_free(train);
    gr_dataset_free(val);
}

static void shapes_that_do_not_fit_the_model_are_refused(void **state)
{
    (void)state;
    const char *attrs = gr_data_case_idx(&test, 4, 28, 28, 4);
    refuses("idx", attrs, 1, 32, 32,
            "data.train: samples are 28×28 after the transforms, the model's input is 32×32: add "
            "a resize or a crop");
    refuses("idx", attrs, 3, 28, 28,
            "data.train: samples have 1 channel, the model's input has 3: add grayscale: "
            "{channels: 3}");
    refuses("idx", attrs, 2, 28, 28,
            "data.train: the model's input is 2×28×28, but images are 1×H×W or 3×H×W");
    gr_make_plain_jpeg(gr_data_case_path(&test, "in/a/x.jpg"), 8, 8, 1, 2, 3);
    refuses("imagefolder", attrs_of("path=@/in", test.folder), 3, 8, 8,
            "data.train: images differ in size, the model's input is 8×8: end with crop: {size: "
            "[8, 8]}");
}

static void one_image_passes_a_part_without_its_data(void **state)
{
    (void)state;
    const char *const transforms[] = {"scale", "factor=0.5"};
    const struct gr_data_part *part =
        gr_data_case_part(&test, "idx", "images=none;labels=none", transforms, 1);
    const struct gr_shape shape = {3, {1, 28, 28}};
    const char *path = gr_data_case_path(&test, "p.jpg");
    gr_make_plain_jpeg(path, 100, 60, 80, 80, 80);
    struct gr_error err = {0};
    assert_true(gr_data_part_image(part, &shape, path, sample, &err));
    for (int i = 0; i < 784; i++)
        near(sample[i], 40, 1);
    assert_false(gr_data_part_image(part, &shape, gr_data_case_path(&test, "q.jpg"), sample, &err));
    expect(&err, GR_ERR_DATA, "@/q.jpg: cannot open: No such file or directory");
}

/* Prediction must see exactly what evaluation saw. */
static void one_image_gives_the_bytes_that_the_dataset_gives(void **state)
{
    (void)state;
    static float alone[3 * 16 * 16];
    const char *path = noisy("n.jpg", false);
    struct gr_dataset *dataset = open_one(path, 3, "resize", "size=16");
    const char *const transforms[] = {"resize", "size=16"};
    const struct gr_data_part *part = gr_data_case_part(&test, "list", "file=none", transforms, 1);
    const struct gr_shape shape = {3, {3, 16, 16}};
    read_good(dataset, 0);
    assert_true(gr_data_part_image(part, &shape, path, alone, NULL));
    assert_memory_equal(sample, alone, sizeof alone);
    gr_dataset_free(dataset);
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(idx_files_give_their_pixels_and_labels),
        SENTENCE(gzipped_idx_files_are_unpacked),
        SENTENCE(a_truncated_gzip_file_is_named),
        SENTENCE(a_gzip_file_without_its_checksum_is_named),
        SENTENCE(a_missing_idx_file_is_named),
        SENTENCE(a_truncated_idx_file_is_named_with_its_bytes),
        SENTENCE(an_overlong_idx_file_is_refused),
        SENTENCE(a_wrong_magic_number_is_shown),
        SENTENCE(an_idx_header_that_claims_too_much_allocates_nothing),
        SENTENCE(counts_of_images_and_labels_must_agree),
        SENTENCE(a_label_out_of_range_names_file_and_record),
        SENTENCE(colour_idx_files_may_be_planar_or_interleaved),
        SENTENCE(cifar10_reads_its_five_batches_or_the_test_batch),
        SENTENCE(cifar100_has_fine_and_coarse_labels),
        SENTENCE(damaged_cifar_files_are_refused),
        SENTENCE(folders_are_classes_in_byte_order),
        SENTENCE(an_empty_class_folder_is_an_error),
        SENTENCE(a_folder_without_classes_is_an_error),
        SENTENCE(more_class_folders_than_classes_is_an_error_and_fewer_a_warning),
        SENTENCE(lists_name_files_with_blanks_and_labels),
        SENTENCE(wrong_lines_of_a_list_are_named),
        SENTENCE(a_jpeg_that_ends_early_is_corrupt),
        SENTENCE(a_jpeg_that_ends_early_below_the_crop_is_corrupt),
        SENTENCE(a_jpeg_of_too_many_pixels_is_refused_before_decoding),
        SENTENCE(an_image_smaller_than_the_crop_says_so),
        SENTENCE(cmyk_is_converted_as_adobe_writes_it),
        SENTENCE(grey_files_serve_colour_models_and_colour_files_grey_ones),
        SENTENCE(large_files_are_shrunk_while_decoding),
        SENTENCE(synthetic_images_are_alike_within_a_class_and_across_parts),
        SENTENCE(shapes_that_do_not_fit_the_model_are_refused),
        SENTENCE(one_image_passes_a_part_without_its_data),
        SENTENCE(one_image_gives_the_bytes_that_the_dataset_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
