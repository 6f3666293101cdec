/*
 * Sources that read archives: ImageNet's tars against the folders they would unpack to, its
 * validation labels, and WebDataset's shards; and what is said when something is wrong with them.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* truncate, seteuid */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/data_case.h"
#include "support/make_jpeg.h"
#include "support/make_tar.h"

static struct gr_data_case test;
static struct gr_scratch *scratch;
static float sample[3 * 8 * 8];

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

/* Attributes with the case's folder in the place of each @. */
static const char *in_folder(const char *text)
{
    struct gr_text out = {0};
    for (; *text; text++)
        if (*text == '@')
            gr_text_add(&out, "%s", test.folder);
        else
            gr_text_append(&out, text, 1);
    const char *copy = gr_pool_strdup(&test.pool, out.data);
    gr_text_release(&out);
    return copy;
}

static struct gr_dataset *open_as(const char *source, const char *attrs, int64_t classes,
                                  struct gr_error *err)
{
    const struct gr_shape shape = {3, {3, 8, 8}};
    const char *const transforms[] = {"crop", "size=8"};
    const struct gr_data_part *part =
        gr_data_case_part(&test, source, in_folder(attrs), transforms, 1);
    return gr_dataset_open(part, &shape, classes, gr_data_case_log, &test, err);
}

static struct gr_dataset *open_good(const char *source, const char *attrs, int64_t classes)
{
    struct gr_error err = {0};
    struct gr_dataset *dataset = open_as(source, attrs, classes, &err);
    assert_string_equal(err.message, "");
    return dataset;
}

static void refuses(const char *source, const char *attrs, const char *message)
{
    struct gr_error err = {0};
    assert_null(open_as(source, attrs, 10, &err));
    assert_string_equal(err.message, in_folder(message));
    assert_int_equal(err.status, GR_ERR_DATA);
}

static void write_text(const char *name, const char *text)
{
    gr_data_case_write(gr_data_case_path(&test, "%s", name), text, strlen(text));
}

/* A picture whose red says which it is. */
static const char *picture(const char *name, int red)
{
    const char *path = gr_data_case_path(&test, "%s", name);
    assert_true(gr_make_plain_jpeg(path, 8, 8, (uint8_t)red, 0, 0));
    return path;
}

static int red_of(const struct gr_dataset *dataset, int64_t index)
{
    const struct gr_draw draw = {0};
    struct gr_error err = {0};
    if (gr_dataset_read(dataset, index, &draw, scratch, sample, &err) != GR_READ_DONE)
        fail_msg("%s", err.message);
    return (int)sample[0];
}

static const char *name_of(const struct gr_dataset *dataset, int64_t index)
{
    static char name[1024];
    return gr_dataset_sample_name(dataset, index, name, sizeof name);
}

/* Adds an archive of the files, `count` of them, to another. */
static void add_class(struct gr_make_tar *outer, const char *name, const char *const *files,
                      int count)
{
    struct gr_make_tar inner = {0};
    for (int i = 0; i < count; i++)
        gr_make_tar_add_file(&inner, strrchr(files[i], '/') + 1,
                             gr_data_case_path(&test, "%s", files[i]));
    gr_make_tar_end(&inner);
    gr_make_tar_add(outer, '0', name, inner.bytes, inner.size);
    gr_make_tar_release(&inner);
}

static void write_tar(struct gr_make_tar *tar, const char *name)
{
    gr_make_tar_end(tar);
    gr_make_tar_write(tar, gr_data_case_path(&test, "%s", name));
    gr_make_tar_release(tar);
}

/* Three classes, as folders in @/train. */
static const char *const fox[] = {"train/n02119789/n02119789_9.JPEG",
                                  "train/n02119789/n02119789_10.JPEG"};
static const char *const tench[] = {"train/n01440764/n01440764_1.JPEG"};
static const char *const dog[] = {"train/n02085620/b.JPEG", "train/n02085620/a.JPEG"};

static void make_pictures(void)
{
    picture(fox[0], 30);
    picture(fox[1], 60);
    picture(tench[0], 90);
    picture(dog[0], 120);
    picture(dog[1], 150);
}

/* ---- training ---------------------------------------------------------------------------- */

static void is_the_folder(const struct gr_dataset *dataset)
{
    struct gr_dataset *folder = open_good("imagefolder", "path=@/train", 3);
    assert_int_equal(gr_dataset_count(dataset), 5);
    assert_int_equal(gr_dataset_count(folder), 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(gr_dataset_label(dataset, i), gr_dataset_label(folder, i));
        assert_int_equal(red_of(dataset, i), red_of(folder, i));
    }
    for (int c = 0; c < 3; c++)
        assert_string_equal(gr_dataset_class_name(dataset, c), gr_dataset_class_name(folder, c));
    gr_dataset_free(folder);
}

static void imagenets_tars_are_the_folders_that_they_unpack_to(void **state)
{
    (void)state;
    make_pictures();
    struct gr_make_tar outer = {0};
    add_class(&outer, "n02119789.tar", fox, 2); /* not in order */
    add_class(&outer, "n01440764.tar", tench, 1);
    gr_make_tar_add(&outer, '0', "readme", "x", 1);
    add_class(&outer, "n02085620.tar", dog, 2);
    write_tar(&outer, "train.tar");
    struct gr_dataset *dataset = open_good("imagenet", "path=@/train.tar", 3);
    is_the_folder(dataset);
    assert_string_equal(name_of(dataset, 0),
                        in_folder("@/train.tar:n01440764.tar:n01440764_1.JPEG"));
    gr_dataset_free(dataset);
}

static void a_folder_of_tars_and_class_folders_do_as_well(void **state)
{
    (void)state;
    make_pictures();
    static const char *const names[] = {"n02119789", "n01440764", "n02085620"};
    static const char *const *const files[] = {fox, tench, dog};
    struct gr_make_tar folders = {0};
    for (int c = 0; c < 3; c++) {
        struct gr_make_tar tar = {0};
        for (int i = 0; i < (c == 1 ? 1 : 2); i++) {
            const char *path = gr_data_case_path(&test, "%s", files[c][i]);
            gr_make_tar_add_file(&tar, strrchr(files[c][i], '/') + 1, path);
            gr_make_tar_add_file(&folders, files[c][i], path);
        }
        write_tar(&tar, gr_pool_printf(&test.pool, "tars/%s.tar", names[c]));
    }
    write_tar(&folders, "folders.tar");
    static const char *const attrs[] = {"path=@/tars", "path=@/folders.tar", "path=@/train"};
    for (int i = 0; i < 3; i++) {
        struct gr_dataset *dataset = open_good("imagenet", attrs[i], 3);
        is_the_folder(dataset);
        gr_dataset_free(dataset);
    }
}

static void synsets_give_classes_their_words(void **state)
{
    (void)state;
    make_pictures();
    write_text("words", "n02119789 kit fox, Vulpes macrotis\n# more\n\nn01440764 tench\n");
    struct gr_dataset *dataset = open_good("imagenet", "path=@/train;synsets=@/words", 3);
    assert_string_equal(gr_dataset_class_name(dataset, 0), "tench");
    assert_string_equal(gr_dataset_class_name(dataset, 1), "n02085620");
    assert_string_equal(gr_dataset_class_name(dataset, 2), "kit fox, Vulpes macrotis");
    gr_dataset_free(dataset);
}

static void archives_with_a_class_missing_or_in_pieces_are_refused(void **state)
{
    (void)state;
    make_pictures();
    struct gr_make_tar outer = {0};
    add_class(&outer, "n01440764.tar", tench, 1);
    add_class(&outer, "n02085620.tar", dog, 0);
    write_tar(&outer, "empty.tar");
    refuses(
        "imagenet", "path=@/empty.tar",
        "data.train: @/empty.tar:n02085620.tar: class \"n02085620\" is empty: its archive holds "
        "no .jpg, .jpeg or .png file");
    gr_make_tar_add_file(&outer, "a.jpg", gr_data_case_path(&test, "%s", dog[1]));
    write_tar(&outer, "flat.tar");
    refuses("imagenet", "path=@/flat.tar",
            "data.train: @/flat.tar: no classes: its images are in no folders; the flat validation "
            "set needs `labels`");
    write_tar(&outer, "nothing.tar");
    refuses("imagenet", "path=@/nothing.tar",
            "data.train: @/nothing.tar: no classes: it must hold a tar or a folder of images for "
            "each class");
    refuses("imagenet", "path=@/none.tar",
            "data.train: @/none.tar: cannot open: No such file or directory");
    gr_make_tar_add(&outer, '0', "n1.tar", "not one", 7);
    write_tar(&outer, "wrong.tar");
    refuses("imagenet", "path=@/wrong.tar",
            "data.train: @/wrong.tar:n1.tar: cut short: the archive of 7 bytes ends within what "
            "begins at offset 0: fetch it again");
    add_class(&outer, "n01440764.tar", tench, 1);
    gr_make_tar_write(&outer, gr_data_case_path(&test, "cut.tar"));
    gr_make_tar_release(&outer);
    struct gr_error err = {0};
    assert_null(open_as("imagenet", "path=@/cut.tar", 10, &err));
    assert_non_null(strstr(err.message, "/cut.tar: cut short: the archive of "));
}

/* Were it read as a folder of classes, each shard would be one. */
static void a_folder_of_shards_without_an_index_is_refused(void **state)
{
    (void)state;
    make_pictures();
    struct gr_make_tar shard = {0};
    gr_make_tar_add_file(&shard, "0.jpg", gr_data_case_path(&test, "%s", dog[0]));
    gr_make_tar_add(&shard, '0', "0.cls", "1", 1);
    write_tar(&shard, "pack/000000.tar");
    refuses(
        "imagenet", "path=@/pack",
        "data.train: @/pack/000000.tar: a shard with labels (0.cls), not a class: of a pack, the "
        "folder must be whole, with its index.jsonl; `webdataset` reads other shards");
}

/* An archive that changes under a run is an unreadable image, not a crash. */
static void an_archive_cut_after_opening_spoils_its_samples_only(void **state)
{
    (void)state;
    make_pictures();
    struct gr_make_tar outer = {0};
    add_class(&outer, "n01440764.tar", tench, 1);
    write_tar(&outer, "train.tar");
    struct gr_dataset *dataset = open_good("imagenet", "path=@/train.tar", 1);
    assert_int_equal(truncate(gr_data_case_path(&test, "train.tar"), 1100), 0);
    const struct gr_draw draw = {0};
    struct gr_error err = {0};
    assert_int_equal(gr_dataset_read(dataset, 0, &draw, scratch, sample, &err), GR_READ_CORRUPT);
    assert_non_null(strstr(err.message, "/train.tar: truncated: it has no "));
    gr_dataset_free(dataset);
}

static void a_folder_without_permission_is_named(void **state)
{
    (void)state;
    make_pictures();
    const char *folder = gr_data_case_path(&test, "train/n01440764");
    assert_int_equal(chmod(folder, 0), 0);
    const bool root = geteuid() == 0; /* who may read everything, unless it is somebody else */
    for (int i = 0; i < 2; i++)
        assert_int_equal(chmod(i ? test.folder : gr_data_case_path(&test, "train"), 0755), 0);
    assert_true(!root || seteuid(65534) == 0);
    refuses("imagefolder", "path=@/train",
            "data.train: @/train/n01440764: cannot open: Permission denied");
    assert_true(!root || seteuid(0) == 0);
    prctl(PR_SET_DUMPABLE, 1); /* for the leak sanitizer */
    assert_int_equal(chmod(folder, 0700), 0);
}

/* ---- validation -------------------------------------------------------------------------- */

/* Three images, as a flat folder and a tar in another order. */
static void make_validation(void)
{
    static const char *const names[] = {"ILSVRC2012_val_00000001.JPEG",
                                        "ILSVRC2012_val_00000002.JPEG",
                                        "ILSVRC2012_val_00000003.JPEG"};
    struct gr_make_tar tar = {0};
    for (int i = 2; i >= 0; i--)
        gr_make_tar_add_file(&tar, names[i],
                             picture(gr_pool_printf(&test.pool, "val/%s", names[i]), 50 * i + 20));
    write_tar(&tar, "val.tar");
}

/* IDs are not labels: ID 1 is n02119789, the last of the sorted wnids. */
static const char id_lines[] = "1 n02119789\n2 n01440764\n3 n02085620\n";

static void validation_labels_are_the_order_of_wnids_not_ids(void **state)
{
    (void)state;
    make_validation();
    write_text("truth", "3\n1\n2\n");
    write_text("synsets", id_lines);
    write_text("clsloc", "n02119789 1 kit_fox\nn01440764 2 tench\nn02085620 3 Chihuahua\n");
    static const char *const attrs[] = {"path=@/val;labels=@/truth;synsets=@/synsets",
                                        "path=@/val.tar;labels=@/truth;synsets=@/synsets",
                                        "path=@/val.tar;labels=@/truth;synsets=@/clsloc"};
    for (int k = 0; k < 3; k++) {
        struct gr_dataset *dataset = open_good("imagenet", attrs[k], 3);
        const int label[] = {1, 2, 0};
        assert_int_equal(gr_dataset_count(dataset), 3);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(gr_dataset_label(dataset, i), label[i]);
            assert_in_range(red_of(dataset, i), 50 * i + 15, 50 * i + 25);
        }
        assert_string_equal(gr_dataset_class_name(dataset, 0), k == 2 ? "tench" : "n01440764");
        gr_dataset_free(dataset);
    }
}

static void validation_labels_may_be_wnids(void **state)
{
    (void)state;
    make_validation();
    write_text("truth", "n02119789\nn02119789\nn01440764\n");
    struct gr_dataset *dataset = open_good("imagenet", "path=@/val.tar;labels=@/truth", 2);
    assert_int_equal(gr_dataset_classes(dataset), 2);
    assert_int_equal(gr_dataset_label(dataset, 0), 1);
    assert_int_equal(gr_dataset_label(dataset, 2), 0);
    gr_dataset_free(dataset);
}

/* The devkit lists 1860 synsets, of which the first 1000 are classes. */
static void inner_nodes_among_the_synsets_are_no_classes(void **state)
{
    (void)state;
    make_validation();
    write_text("truth", "3\n1\n2\n");
    write_text("synsets", "1 n02119789\n2 n01440764\n3 n02085620\n4 n00000001\n");
    struct gr_dataset *dataset =
        open_good("imagenet", "path=@/val.tar;labels=@/truth;synsets=@/synsets", 3);
    assert_string_equal(gr_dataset_class_name(dataset, 0), "n01440764");
    assert_int_equal(gr_dataset_label(dataset, 1), 2);
    gr_dataset_free(dataset);
}

static void wrong_label_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *truth, *synsets, *message;
    } cases[] = {
        {"1\n2\n", id_lines,
         "@/truth: 2 labels, but there are 3 images: give the two that belong together"},
        {"1\n2\n3\n1\n", id_lines,
         "@/truth: 4 labels, but there are 3 images: give the two that belong together"},
        {"1\n2\n4\n", id_lines, "@/truth:3: no synset has the ID 4, of 3 synsets"},
        {"0\n2\n3\n", id_lines, "@/truth:1: '0' is none of the 3 classes of the synsets"},
        {"1\n2\nn3\n", id_lines, "@/truth:3: 'n3' is none of the 3 classes of the synsets"},
        {"1\n\n3\n", id_lines, "@/truth:2: neither an ILSVRC2012_ID nor a wnid: \"\""},
        {"1\n2\n3\n", "n02119789\nn01440764\nn02085620\n",
         "@/truth: holds ILSVRC2012_IDs: give `synsets`, the devkit's meta.mat or a text file of "
         "lines `ID wnid`: labels are the order of wnids, which is not that of IDs"},
        {"1\n2\n3\n", "1 n1\n2\n", "@/synsets:2: not a synset: \"2\": write `ID wnid`"},
        {"1\n2\n3\n", "1 n1\n2 n1\n", "@/synsets:2: 'n1' is there for the second time"},
    };
    make_validation();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text("truth", cases[i].truth);
        write_text("synsets", cases[i].synsets);
        refuses("imagenet", "path=@/val.tar;labels=@/truth;synsets=@/synsets",
                gr_pool_printf(&test.pool, "data.train: %s", cases[i].message));
    }
    refuses("imagenet", "path=@/val.tar;labels=@/none",
            "data.train: @/none: cannot open: No such file or directory");
}

/* ---- shards ------------------------------------------------------------------------------ */

static void add_text(struct gr_make_tar *tar, const char *name, const char *text)
{
    gr_make_tar_add(tar, '0', name, text, strlen(text));
}

/* Two shards of three samples, labels before and behind their images, in numbers and in JSON. */
static void make_shards(void)
{
    struct gr_make_tar tar = {0};
    add_text(&tar, "sub/000.cls", "2");
    gr_make_tar_add_file(&tar, "sub/000.jpg", picture("0.jpg", 30));
    gr_make_tar_add_file(&tar, "sub/001.JPEG", picture("1.jpg", 80));
    add_text(&tar, "sub/001.json", "{\"label\": 0, \"text\": \"x\"}");
    add_text(&tar, "sub/002.json", "{\"label\": 1}");
    write_tar(&tar, "shard-08.tar");
    gr_make_tar_add_file(&tar, "sub/002.jpg", picture("2.jpg", 130));
    add_text(&tar, "sub/002.json", "{\"label\": 3}");
    add_text(&tar, "sub/002.cls", " 1\n");
    write_tar(&tar, "shard-09.tar");
}

static void shards_hold_images_beside_their_labels(void **state)
{
    (void)state;
    make_shards();
    write_text("names", "ash\nbirch\ncedar\n");
    static const char *const attrs[] = {
        "shards=@/shard-{08..09}.tar", "shards=@/shard-*.tar", "shards=@/{shard-08,shard-09}.tar",
        "shards=@/{s,t}hard-0[89].tar", "shards=@/shard-0?.tar;class_names=@/names"};
    for (int k = 0; k < 5; k++) {
        if (k == 3)
            continue; /* below */
        struct gr_dataset *dataset = open_good("webdataset", attrs[k], 3);
        const int label[] = {2, 0, 1}, red[] = {30, 80, 130};
        assert_int_equal(gr_dataset_count(dataset), 3);
        assert_int_equal(gr_dataset_classes(dataset), 3);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(gr_dataset_label(dataset, i), label[i]);
            assert_in_range(red_of(dataset, i), red[i] - 4, red[i] + 4);
        }
        assert_string_equal(name_of(dataset, 1), in_folder("@/shard-08.tar:sub/001.JPEG"));
        if (k == 4)
            assert_string_equal(gr_dataset_class_name(dataset, 2), "cedar");
        else
            assert_null(gr_dataset_class_name(dataset, 2));
        gr_dataset_free(dataset);
    }
    refuses("webdataset", attrs[3], "data.train: @/thard-0[89].tar: there is no such file");
}

static void wrong_patterns_are_explained(void **state)
{
    (void)state;
    make_shards();
    static const struct {
        const char *attrs, *message;
    } cases[] = {
        {"shards=@/shard-{08..10}.tar", "@/shard-10.tar: cannot open: No such file or directory"},
        {"shards=@/shard-{08..}.tar",
         "@/shard-{08..}.tar: between braces must be a range 000..012 or a choice a,b"},
        {"shards=@/shard-{9..8}.tar",
         "@/shard-{9..8}.tar: between braces must be a range 000..012 or a choice a,b"},
        {"shards=@/shard-{08", "@/shard-{08: a brace is not closed"},
        {"shards=@/{a,{b}}", "@/{a,{b}}: braces within braces are not understood"},
        {"shards=@/{000000000..999999999}",
         "@/{000000000..999999999}: stands for more than a million files"},
        {"shards=@/{0000..1001}{000..999}",
         "@/{0000..1001}{000..999}: stands for more than a million files"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuses("webdataset", cases[i].attrs,
                gr_pool_printf(&test.pool, "data.train: %s", cases[i].message));
}

static void wrong_samples_of_a_shard_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text; /* beside 7.jpg */
        const char *message;
    } cases[] = {
        {"7.txt", "3",
         "@/x.tar:7.jpg: has no label: beside it is neither 7.cls nor a \"label\" in 7.json"},
        {"8.cls", "3",
         "@/x.tar:7.jpg: has no label: beside it is neither 7.cls nor a \"label\" in 7.json"},
        {"7.json", "{\"label\": \"cat\"}",
         "@/x.tar:7.jpg: has no label: beside it is neither 7.cls nor a \"label\" in 7.json"},
        {"7.json", "[1]",
         "@/x.tar:7.jpg: has no label: beside it is neither 7.cls nor a \"label\" in 7.json"},
        {"7.json", "{", "@/x.tar:7.json: string or '}' expected near end of file"},
        {"7.cls", "-1", "@/x.tar:7.cls: is no whole number"},
        {"7.cls", "", "@/x.tar:7.cls: is no whole number"},
        {"7.cls", "1 2", "@/x.tar:7.cls: is no whole number"},
        {"7.cls", "99999999999999999999", "@/x.tar:7.cls: is no whole number"},
        {"7.cls", "3000000000", "@/x.tar:7.jpg: label 3000000000 is out of range"},
        {"7.json", "{\"label\": -1}", "@/x.tar:7.jpg: label -1 is out of range"},
        {"7.cls", "10", "@/x.tar:7.jpg: label 10, but the model's label has 10 classes, 0 to 9"},
        {"7.png", "x", "@/x.tar:7.png: is a second image of its sample"},
    };
    const char *path = picture("7.jpg", 7);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gr_make_tar tar = {0};
        gr_make_tar_add_file(&tar, "7.jpg", path);
        add_text(&tar, cases[i].name, cases[i].text);
        write_tar(&tar, "x.tar");
        refuses("webdataset", "shards=@/x.tar",
                gr_pool_printf(&test.pool, "data.train: %s", cases[i].message));
    }
    struct gr_make_tar tar = {0};
    add_text(&tar, "7.cls", "1");
    write_tar(&tar, "x.tar");
    refuses("webdataset", "shards=@/x.tar",
            "data.train: @/x.tar: no samples: an archive holds KEY.jpg with KEY.cls or KEY.json");
}

static void class_names_must_be_enough(void **state)
{
    (void)state;
    make_shards();
    write_text("names", "ash\nbirch\n");
    write_text("list", "0.jpg 1\n1.jpg 0\n");
    refuses("webdataset", "shards=@/shard-*.tar;class_names=@/names",
            "data.train: @/names: 2 class names, but labels go up to 2");
    struct gr_dataset *dataset = open_good("list", "file=@/list;class_names=@/names", 2);
    assert_string_equal(gr_dataset_class_name(dataset, 1), "birch");
    gr_dataset_free(dataset);
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(imagenets_tars_are_the_folders_that_they_unpack_to),
        SENTENCE(a_folder_of_tars_and_class_folders_do_as_well),
        SENTENCE(synsets_give_classes_their_words),
        SENTENCE(archives_with_a_class_missing_or_in_pieces_are_refused),
        SENTENCE(a_folder_of_shards_without_an_index_is_refused),
        SENTENCE(an_archive_cut_after_opening_spoils_its_samples_only),
        SENTENCE(a_folder_without_permission_is_named),
        SENTENCE(validation_labels_are_the_order_of_wnids_not_ids),
        SENTENCE(validation_labels_may_be_wnids),
        SENTENCE(inner_nodes_among_the_synsets_are_no_classes),
        SENTENCE(wrong_label_files_are_refused),
        SENTENCE(shards_hold_images_beside_their_labels),
        SENTENCE(wrong_patterns_are_explained),
        SENTENCE(wrong_samples_of_a_shard_are_named),
        SENTENCE(class_names_must_be_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
