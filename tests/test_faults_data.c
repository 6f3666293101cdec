/*
 * Every source of data, looking data through and packing them, while the allocator, files or
 * threads fail: a clean error, no leak, no crash, nothing half-written. See faults/trial.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "faults/trial.h"
#include "support/data_case.h"
#include "support/folder.h"
#include "support/make_jpeg.h"
#include "support/make_mat.h"
#include "support/make_png.h"
#include "support/make_tar.h"

enum { SIDE = 20, IMAGES = 6, CLASSES = 2 };

static const char network[] =
    "format: 1\n"
    "name: net\n"
    "inputs: {image: {shape: [3, 16, 16]}, label: {classes: 10}}\n"
    "nodes:\n"
    "  - {name: fc, op: linear, inputs: image, out_features: 10}\n"
    "  - {name: prob, op: softmax}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
    "  - {name: top1, op: accuracy, inputs: [fc, label]}\n"
    "train: {loss: loss, metrics: top1, batch: 4, epochs: 1, optimizer: {sgd: {}},\n"
    "        learning_rate: 0.01}\n"
    "data:\n"
    "  train:\n"
    "    synthetic: {count: 8}\n"
    "    transform: [{resize: {shortest: 18}}, {crop: {size: 16, mode: random}}, flip, mean]\n";

/* ---- the work ---------------------------------------------------------------------------- */

static const char *source; /* of the trial under way: a setting for data.train */

/* Opens the source and reads an epoch of it with two threads. */
static bool show(struct gr_context *context, struct gr_error *err)
{
    const struct gr_model_options options = {.sets = &source, .n_sets = 1};
    struct gr_model *model = gr_model_load(context, gr_trial_path("net.yaml"), &options, err);
    int64_t shown = 0;
    const bool done = model && gr_show_data(model, &(struct gr_show_options){.count = IMAGES},
                                            gr_trial_out("sheet.png"), &shown, err);
    gr_trial_note(&shown, sizeof shown);
    gr_model_free(model);
    return done;
}

static bool evaluate(struct gr_context *context, struct gr_error *err)
{
    const struct gr_model_options options = {.sets = &source, .n_sets = 1};
    struct gr_model *model = gr_model_load(context, gr_trial_path("net.yaml"), &options, err);
    struct gr_eval_result result = {0};
    const bool done =
        model && gr_evaluate(model, &(struct gr_eval_options){.part = "train"}, &result, err);
    gr_trial_note(&result.loss, sizeof result.loss);
    gr_model_free(model);
    return done;
}

static bool check(struct gr_context *context, struct gr_error *err)
{
    struct gr_data_check *check = gr_data_check_new(context, NULL, NULL, err);
    const bool done = check && gr_data_check_path(check, gr_trial_path("photos"), 16, 16, err) &&
                      gr_data_check_path(check, gr_trial_path("shard.tar"), 0, 0, err);
    for (size_t i = 0; done && i < gr_data_check_count(check); i++) {
        const struct gr_data_report *report = gr_data_check_report(check, i);
        gr_trial_note(report->traits, sizeof report->traits);
        gr_trial_note(&report->images, sizeof report->images);
    }
    gr_data_check_free(check);
    return done;
}

static bool pack(struct gr_context *context, struct gr_error *err)
{
    const struct gr_pack_options options = {.out = gr_trial_out("pack"), .size = 16};
    struct gr_pack_result result = {0};
    const bool done = gr_pack_path(context, gr_trial_path("photos"), &options, &result, err);
    gr_trial_note(&result.statistics, sizeof result.statistics);
    return done;
}

/* ---- trials ------------------------------------------------------------------------------ */

#define AT "data.train={"
#define TRANSFORMS                                                                                 \
    ", transform: [{resize: {shortest: 18}}, {crop: {size: 16, mode: random}}, flip]}"

static const struct {
    const char *name, *source;
} sources[] = {
    {"IDX",
     AT "idx: {images: idx-images.gz, labels: idx-labels}, transform: [{crop: {size: 16}}]}"},
    {"CIFAR", AT "cifar10: {path: cifar}" TRANSFORMS},
    {"a folder of photos", AT "imagefolder: {path: photos}" TRANSFORMS},
    {"a list", AT "list: {file: list.txt, class_names: classes.txt}" TRANSFORMS},
    {"a tar", AT "webdataset: {shards: \"shard*.tar\", class_names: classes.txt}" TRANSFORMS},
    {"ImageNet's tars", AT "imagenet: {path: imagenet.tar}" TRANSFORMS},
    {"ImageNet's flat set",
     AT "imagenet: {path: flat.tar, labels: truth.txt, synsets: meta.mat}" TRANSFORMS},
    {"a pack", AT "pack: {path: packed}, transform: [flip, mean, scale, pca_lighting]}"},
    {"augmented photos",
     AT "imagefolder: {path: photos}, transform: [{random_resized_crop: {size: 16}}, "
        "color_jitter, {grayscale: {channels: 3}}]}"},
};

static void try_all(void **state)
{
    const enum gr_fault kind = *(const enum gr_fault *)*state;
    static const struct gr_trial others[] = {
        {.name = "evaluating photos", .work = evaluate},
        {.name = "checking", .work = check, .judges = true},
        {.name = "packing", .work = pack, .leaves = "pack/unfinished.jsonl"},
        {.name = "packing on", .work = pack, .before = "begun", .leaves = "pack/unfinished.jsonl"},
    };
    size_t bad = 0;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        source = sources[i].source;
        bad += gr_trial_run(&(struct gr_trial){.name = sources[i].name, .work = show}, kind);
    }
    source = AT "imagefolder: {path: photos}" TRANSFORMS;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        bad += gr_trial_run(&others[i], kind);
    assert_int_equal(bad, 0);
}

/* ---- data -------------------------------------------------------------------------------- */

static void make_pictures(void)
{
    static uint8_t pixels[SIDE * SIDE * 3];
    mkdir(gr_trial_path("photos"), 0700);
    mkdir(gr_trial_path("photos/ash"), 0700);
    mkdir(gr_trial_path("photos/birch"), 0700);
    for (int i = 0; i < IMAGES; i++) {
        char name[64];
        for (size_t k = 0; k < sizeof pixels; k++)
            pixels[k] = (uint8_t)((k * (size_t)(i + 3)) % 253);
        snprintf(name, sizeof name, "photos/%s/%d.%s", i % CLASSES ? "birch" : "ash", i,
                 i % 3 ? "jpg" : "png");
        const char *path = gr_trial_path(name);
        assert_true(i % 3 ? gr_make_jpeg(path, pixels, SIDE, SIDE, i == 4 ? 1 : 3, 90, i == 5)
                          : gr_make_rgb_png(path, pixels, SIDE, SIDE));
    }
}

static void make_lists(void)
{
    gr_trial_write("list.txt", "photos/ash/0.png 0\nphotos/birch/1.jpg 1\nphotos/ash/2.jpg 0\n");
    gr_trial_write("classes.txt", "ash\nbirch\n");
}

static void add_inner(struct gr_make_tar *outer, const char *name, const char *folder, int first)
{
    struct gr_make_tar inner = {0};
    for (int i = first; i < IMAGES; i += CLASSES) {
        char path[64], member[64];
        snprintf(path, sizeof path, "photos/%s/%d.%s", folder, i, i % 3 ? "jpg" : "png");
        snprintf(member, sizeof member, "%s_%d.JPEG", folder, i);
        gr_make_tar_add_file(&inner, member, gr_trial_path(path));
    }
    gr_make_tar_end(&inner);
    gr_make_tar_add(outer, '0', name, inner.bytes, inner.size);
    gr_make_tar_release(&inner);
}

static void make_archives(void)
{
    struct gr_make_tar shard = {0}, imagenet = {0};
    gr_make_tar_add_file(&shard, "one.jpg", gr_trial_path("photos/birch/1.jpg"));
    gr_make_tar_add(&shard, '0', "one.cls", "1", 1);
    gr_make_tar_add_file(&shard, "two.png", gr_trial_path("photos/ash/0.png"));
    gr_make_tar_add(&shard, '0', "two.json", "{\"label\": 0}", 12);
    gr_make_tar_end(&shard);
    gr_make_tar_write(&shard, gr_trial_path("shard.tar"));
    gr_make_tar_release(&shard);
    add_inner(&imagenet, "n00000001.tar", "ash", 0);
    add_inner(&imagenet, "n00000002.tar", "birch", 1);
    gr_make_tar_end(&imagenet);
    gr_make_tar_write(&imagenet, gr_trial_path("imagenet.tar"));
    gr_make_tar_release(&imagenet);
}

static void make_flat_set(void)
{
    static const struct gr_make_mat_synset kit[] = {{1, "n2", "birch", 0}, {2, "n1", "ash", 0}};
    struct gr_make_tar flat = {0};
    size_t size;
    uint8_t *mat = gr_make_mat(kit, CLASSES, true, &size);
    gr_data_case_write(gr_trial_path("meta.mat"), mat, size);
    free(mat);
    gr_trial_write("truth.txt", "1\n2\n");
    gr_make_tar_add_file(&flat, "val_1.JPEG", gr_trial_path("photos/birch/1.jpg"));
    gr_make_tar_add_file(&flat, "val_2.JPEG", gr_trial_path("photos/ash/2.jpg"));
    gr_make_tar_end(&flat);
    gr_make_tar_write(&flat, gr_trial_path("flat.tar"));
    gr_make_tar_release(&flat);
}

static void make_arrays(void)
{
    static uint8_t images[16 + IMAGES * SIDE * SIDE * 3] = {0, 0,      8, 4, 0, 0,
                                                            0, IMAGES, 0, 0, 0, SIDE};
    static uint8_t labels[8 + IMAGES] = {0, 0, 8, 1, 0, 0, 0, IMAGES};
    static uint8_t header[] = {0, 0,    8, 4, 0, 0,    0, IMAGES, 0, 0,
                               0, SIDE, 0, 0, 0, SIDE, 0, 0,      0, 3};
    static uint8_t record[3073];
    memset(images, 9, sizeof images);
    gzFile packed = gzopen(gr_trial_path("idx-images.gz"), "wb");
    assert_non_null(packed);
    assert_int_equal(gzwrite(packed, header, sizeof header), sizeof header);
    assert_int_equal(gzwrite(packed, images, IMAGES * SIDE * SIDE * 3), IMAGES * SIDE * SIDE * 3);
    assert_int_equal(gzclose(packed), Z_OK);
    FILE *file = fopen(gr_trial_path("idx-labels"), "wb");
    assert_int_equal(fwrite(labels, 1, sizeof labels, file), sizeof labels);
    assert_int_equal(fclose(file), 0);
    mkdir(gr_trial_path("cifar"), 0700);
    for (int batch = 1; batch <= 5; batch++) {
        char name[64];
        snprintf(name, sizeof name, "cifar/data_batch_%d.bin", batch);
        file = fopen(gr_trial_path(name), "wb");
        record[0] = (uint8_t)batch;
        for (int i = 0; i < 3; i++)
            assert_int_equal(fwrite(record, 1, sizeof record, file), sizeof record);
        assert_int_equal(fclose(file), 0);
    }
}

/* "packed", whole, and "begun", of which nothing but the lines of its first shard remain. */
static void make_packs(void)
{
    struct gr_error err = {0};
    struct gr_pack_result result;
    const struct gr_pack_options options = {.out = gr_trial_path("packed"), .size = 16};
    gr_trial_ok(gr_pack_path(gr_trial_context(), gr_trial_path("photos"), &options, &result, &err),
                &err);
    mkdir(gr_trial_path("begun"), 0700);
    mkdir(gr_trial_path("begun/pack"), 0700);
    gr_trial_write("begun/pack/photos-000007.tar.1-0.tmp", "left over");
}

static int set_up(void **state)
{
    if (gr_trial_set_up(state) != 0)
        return -1;
    gr_trial_write("net.yaml", network);
    make_pictures();
    make_lists();
    make_archives();
    make_flat_set();
    make_arrays();
    make_packs();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        gr_fault_test(try_all, GR_FAULT_MEMORY), gr_fault_test(try_all, GR_FAULT_OPEN),
        gr_fault_test(try_all, GR_FAULT_READ),   gr_fault_test(try_all, GR_FAULT_WRITE),
        gr_fault_test(try_all, GR_FAULT_THREAD), gr_fault_test(try_all, GR_FAULT_SHORT),
    };
    return cmocka_run_group_tests(tests, set_up, gr_trial_tear_down);
}
