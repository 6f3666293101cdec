/*
 * Features of images: rows against plans of our own, what the file says of them, what is left out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/api_case.h"
#include "support/bytes.h"
#include "support/folder.h"
#include "support/make_jpeg.h"
#include "train/batches.h"

enum { POOLED = 8 * 6 * 6 };

/* Row `index` is this, to the bit. */
static void expect_row(const struct gr_features *features, size_t index, const float *want)
{
    const size_t length = gr_features_length(features);
    struct gr_error err = {0};
    float *row = calloc(length, sizeof *row);
    assert_non_null(row);
    gr_api_ok(gr_features_rows(features, index, 1, row, &err), &err);
    assert_memory_equal(row, want, length * sizeof *row);
    free(row);
}

/* ---- a part ------------------------------------------------------------------------------ */

/*
 * The rows of a layer for each image of a part, by a plan of our own; the model's transforms of the
 * part must be those of evaluation.
 */
static void expect_rows(const struct gr_features *features, struct gr_model *model,
                        const char *part, const char *layer)
{
    const struct gr_plan_options options = {
        .mode = GR_INFER, .batch = 8, .targets = &layer, .n_targets = 1};
    const size_t length = gr_features_length(features);
    struct gr_error err = {0};
    struct gr_batches batches;
    struct gr_batch batch = {0};
    size_t index = 0;
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_api_ok(plan != NULL, &err);
    gr_api_ok(gr_batches_open(&batches, model, part, 8, false, 0, &err), &err);
    gr_api_ok(gr_loader_start(batches.loader, 0, 0, &err), &err);
    for (;;) {
        gr_api_ok(gr_batches_next(&batches, plan, &batch, &err), &err);
        if (!batch.count)
            break;
        gr_api_ok(gr_plan_run(plan, &err), &err);
        const float *values = gr_plan_target(plan, 0).data;
        for (int64_t n = 0; n < batch.count; n++, index++) {
            char name[64];
            expect_row(features, index, values + (size_t)n * length);
            assert_int_equal(gr_features_label(features, index), batch.labels[n]);
            gr_dataset_sample_name(batches.dataset, batch.indices[n], name, sizeof name);
            assert_string_equal(gr_features_name(features, index), name);
        }
    }
    assert_int_equal(index, gr_features_count(features));
    gr_batches_close(&batches);
    gr_plan_free(plan);
}

static struct gr_features *write(struct gr_model *model, const struct gr_features_options *options,
                                 struct gr_features_result *result)
{
    struct gr_error err = {0};
    const char *path = gr_api_path("features.st");
    gr_api_ok(gr_features_write(model, options, path, result, &err), &err);
    struct gr_features *features = gr_features_read(path, &err);
    gr_api_ok(features != NULL, &err);
    return features;
}

static void rows_are_the_layers_values_image_by_image(void **state)
{
    (void)state;
    struct gr_features_result result;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    const struct gr_features_options options = {.layer = "relu1"};
    struct gr_features *features = write(model, &options, &result);
    assert_int_equal(gr_features_count(features), 23); /* val: two batches of 8, and 7 */
    assert_int_equal(gr_features_length(features), 8 * 12 * 12);
    assert_string_equal(gr_features_layer(features), "relu1");
    assert_string_equal(gr_features_part(features), "val");
    assert_string_equal(gr_features_class_name(features, 2), "south");
    assert_null(gr_features_class_name(features, 4));
    assert_string_equal(result.about, "relu of conv1, before pool1");
    assert_int_equal(result.images, 23);
    assert_int_equal(result.skipped, 0);
    expect_rows(features, model, "val", "relu1");
    gr_features_free(features);
    gr_model_free(model);
}

static void without_a_name_it_is_what_the_last_layer_reads(void **state)
{
    (void)state;
    struct gr_features_result result;
    const struct gr_features_options options = {.layer = NULL};
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    struct gr_features *features = write(model, &options, &result);
    assert_string_equal(result.layer, "pool1"); /* below drop1, which only training knows */
    assert_string_equal(result.about, "max_pool of relu1, before drop1");
    assert_int_equal(result.shape.rank, 3);
    assert_int_equal(gr_features_length(features), POOLED);
    expect_rows(features, model, "val", "pool1");
    gr_features_free(features);
    gr_model_free(model);
    model = gr_api_load("zoo", gr_api_zoo, 3, NULL);
    features = write(model, &options, &result);
    assert_string_equal(result.layer, "pool3");
    assert_int_equal(gr_features_length(features), 16);
    gr_features_free(features);
    gr_model_free(model);
}

/* The training part's own transforms flip at random; what is evaluated does not. */
static void the_training_part_is_prepared_as_for_evaluation(void **state)
{
    (void)state;
    struct gr_features_result result;
    static const char *const as_val[] = {
        "data.train.transform=[scale, {normalize: {mean: 0.5, std: 0.25}}]", NULL};
    const struct gr_features_options options = {.part = "train"};
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    struct gr_features *features = write(model, &options, &result);
    struct gr_model *other = gr_api_load("other", gr_api_tiny, 3, as_val);
    assert_int_equal(gr_features_count(features), 60);
    expect_rows(features, other, "train", "pool1");
    gr_features_free(features);
    gr_model_free(other);
    gr_model_free(model);
}

static void the_image_itself_can_be_the_layer(void **state)
{
    (void)state;
    struct gr_features_result result;
    const struct gr_features_options options = {.layer = "image"};
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    struct gr_features *features = write(model, &options, &result);
    assert_string_equal(result.about, "what the model is fed, before conv1");
    expect_rows(features, model, "val", "image");
    gr_features_free(features);
    gr_model_free(model);
}

/* ---- files ------------------------------------------------------------------------------- */

static void picture(const char *name, uint8_t red)
{
    char path[GR_FOLDER_PATH];
    gr_folder_file(name, path);
    for (char *p = path + strlen(gr_folder()) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = 0;
        mkdir(path, 0700);
    }
    assert_true(gr_make_plain_jpeg(path, 12, 12, red, 100, 50));
}

static void expect_image(const struct gr_features *features, size_t index, const char *name,
                         int64_t label)
{
    assert_string_equal(gr_features_name(features, index), gr_api_path(name));
    assert_int_equal(gr_features_label(features, index), label);
}

static void images_given_have_the_classes_of_their_folders(void **state)
{
    (void)state;
    struct gr_features_result result;
    picture("photos/south/b.jpg", 10);
    picture("photos/south/a.JPG", 20);
    picture("photos/larch/1.jpg", 30);
    picture("photos/north/deep/2.jpg", 40);
    picture("photos/loose.jpg", 50);
    picture("east/single.jpg", 60);
    gr_api_write("photos/south/broken.png", "this is no picture");
    gr_api_write("photos/south/notes.txt", "not an image either");
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    const char *images[] = {gr_api_path("photos/"), gr_api_path("east/single.jpg")};
    const struct gr_features_options options = {.images = images, .n_images = 2};
    struct gr_features *features = write(model, &options, &result);
    assert_int_equal(gr_features_count(features), 6);
    assert_int_equal(result.images, 6);
    assert_int_equal(result.skipped, 1);
    assert_non_null(strstr(gr_api_log(), "photos/south/broken.png: neither JPEG nor PNG"));
    assert_non_null(strstr(gr_api_log(), "ignored 1 that is no image file"));
    expect_image(features, 0, "photos/loose.jpg", -1);
    expect_image(features, 1, "photos/larch/1.jpg", 4); /* beyond the model's four */
    expect_image(features, 2, "photos/north/deep/2.jpg", 5);
    expect_image(features, 3, "photos/south/a.JPG", 2);
    expect_image(features, 4, "photos/south/b.jpg", 2);
    expect_image(features, 5, "east/single.jpg", 1);
    assert_string_equal(gr_features_class_name(features, 4), "larch");
    assert_string_equal(gr_features_class_name(features, 5), "deep");
    assert_string_equal(gr_features_class_name(features, 1), "east");
    assert_null(gr_features_part(features));
    gr_features_free(features);
    gr_model_free(model);
}

/* An image by itself, prepared as predict does, through a plan of our own. */
static void a_file_gives_the_row_that_prediction_would_see(void **state)
{
    (void)state;
    struct gr_features_result result;
    struct gr_error err = {0};
    picture("red.jpg", 200);
    const char *path = gr_api_path("red.jpg"), *layer = "pool1";
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    const struct gr_features_options options = {.images = &path, .n_images = 1};
    struct gr_features *features = write(model, &options, &result);
    const struct gr_plan_options one = {
        .mode = GR_INFER, .batch = 1, .targets = &layer, .n_targets = 1};
    float image[3 * 144], row[POOLED];
    const struct gr_model_part *part = gr_batches_preprocessing(model, &err);
    gr_api_ok(gr_data_part_image(&part->data, &model->file->inputs[0].shape, path, image, &err),
              &err);
    struct gr_plan *plan = gr_plan_new(model, &one, &err);
    gr_api_ok(plan != NULL, &err);
    gr_api_ok(gr_plan_feed(plan, "image", image, sizeof image, &err), &err);
    gr_api_ok(gr_plan_run(plan, &err), &err);
    gr_api_ok(gr_plan_fetch(plan, layer, row, sizeof row, &err), &err);
    expect_row(features, 0, row);
    gr_plan_free(plan);
    gr_features_free(features);
    gr_model_free(model);
}

/* A reader that knows the layout and nothing of ours: [begin, end) of a tensor behind the header.
 */
static const uint8_t *tensor_at(const uint8_t *data, const json_t *header, const char *name,
                                const char *dtype, size_t *bytes)
{
    const json_t *entry = json_object_get(header, name);
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_int_t begin = json_integer_value(json_array_get(offsets, 0));
    assert_string_equal(json_string_value(json_object_get(entry, "dtype")), dtype);
    *bytes = (size_t)(json_integer_value(json_array_get(offsets, 1)) - begin);
    return data + begin;
}

static uint32_t little_endian(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* What it finds is what the features are, of which the tests above hold each number to a plan. */
static void expect_same(const uint8_t *data, const json_t *header,
                        const struct gr_features *features)
{
    const size_t count = gr_features_count(features), length = gr_features_length(features);
    size_t row_bytes, label_bytes, name_bytes;
    const uint8_t *rows = tensor_at(data, header, "features", "F32", &row_bytes);
    const uint8_t *labels = tensor_at(data, header, "labels", "I32", &label_bytes);
    const char *names = (const char *)tensor_at(data, header, "files", "U8", &name_bytes);
    struct gr_error err = {0};
    assert_int_equal(row_bytes, count * length * 4);
    assert_int_equal(label_bytes, count * 4);
    for (size_t i = 0; i < count; i++) {
        float row[POOLED];
        assert_true(length <= POOLED);
        gr_api_ok(gr_features_rows(features, i, 1, row, &err), &err);
        for (size_t k = 0; k < length; k++) {
            const uint32_t bits = little_endian(rows + (i * length + k) * 4);
            assert_memory_equal(&bits, &row[k], sizeof bits);
        }
        assert_int_equal((int32_t)little_endian(labels + 4 * i), gr_features_label(features, i));
        assert_string_equal(names, gr_features_name(features, i));
        names += strlen(names) + 1;
    }
}

/* The headers of other readers: JSON in exactly the bytes that the prefix says, tensors behind. */
static void the_file_is_safetensors_to_the_byte(void **state)
{
    (void)state;
    struct gr_features_result result;
    static uint8_t bytes[1 << 20];
    json_error_t problem;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    const struct gr_features_options options = {.layer = NULL};
    struct gr_features *features = write(model, &options, &result);
    FILE *file = fopen(gr_api_path("features.st"), "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    const size_t length = little_endian(bytes);
    assert_int_equal(little_endian(bytes + 4), 0);
    assert_int_equal(length % 8, 0);
    json_t *header = json_loadb((const char *)bytes + 8, length, 0, &problem);
    assert_non_null(header);
    const json_t *metadata = json_object_get(header, "__metadata__");
    assert_string_equal(json_string_value(json_object_get(metadata, "shape")), "[8,6,6]");
    assert_string_equal(json_string_value(json_object_get(metadata, "skipped")), "0");
    assert_string_equal(json_string_value(json_object_get(metadata, "model")), "tiny");
    assert_string_equal(json_string_value(json_object_get(metadata, "class_names")),
                        "[\"north\",\"east\",\"south\",\"west\"]");
    const json_t *files = json_object_get(header, "files");
    const json_t *end = json_array_get(json_object_get(files, "data_offsets"), 1);
    assert_int_equal(8 + length + (size_t)json_integer_value(end), size);
    assert_string_equal((const char *)bytes + size - sizeof "synthetic[22]", "synthetic[22]");
    expect_same(bytes + 8 + length, header, features);
    json_decref(header);
    gr_features_free(features);
    gr_model_free(model);
}

/* ---- what goes wrong --------------------------------------------------------------------- */

static void refuses(struct gr_model *model, const struct gr_features_options *options,
                    enum gr_status status, const char *message)
{
    struct gr_error err = {0};
    struct gr_features_result result;
    const char *path = gr_api_path("features.st");
    const int before = gr_folder_count();
    gr_api_refused(gr_features_write(model, options, path, &result, &err), &err, status, "%s",
                   message);
    assert_int_equal(gr_folder_count(), before);
}

static void mistakes_are_told_and_leave_nothing(void **state)
{
    (void)state;
    char message[GR_FOLDER_PATH + 128];
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    const struct {
        const char *layer, *message;
    } cases[] = {
        {"relu2", "the model 'tiny' has no layer 'relu2'; did you mean 'relu1'?"},
        {"fc2.weight", "'fc2.weight' of the model 'tiny' is 4×288, which has no row for each "
                       "image: not a layer"},
        {"loss", "'loss' of the model 'tiny' is scalar, which has no row for each image: not a "
                 "layer"},
        {"label", "'label' of the model 'tiny' is 2, which has no row for each image: not a "
                  "layer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuses(model, &(struct gr_features_options){.layer = cases[i].layer}, GR_ERR_USAGE,
                cases[i].message);
    const char *missing[] = {gr_api_path("missing.jpg")}, *empty[] = {gr_api_path("empty")};
    mkdir(empty[0], 0700);
    snprintf(message, sizeof message, "%s: cannot open: No such file or directory", missing[0]);
    refuses(model, &(struct gr_features_options){.images = missing, .n_images = 1}, GR_ERR_DATA,
            message);
    snprintf(message, sizeof message, "%s: there is no .jpg, .jpeg or .png file in it", empty[0]);
    refuses(model, &(struct gr_features_options){.images = empty, .n_images = 1}, GR_ERR_DATA,
            message);
    snprintf(message, sizeof message, "%s: the data section has no part 'vla'",
             gr_api_path("model.yaml"));
    refuses(model, &(struct gr_features_options){.part = "vla"}, GR_ERR_MODEL, message);
    gr_model_free(model);
}

static void too_many_damaged_images_end_the_work(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_features_result result;
    const char *path[] = {gr_api_path("photos")};
    picture("photos/a.jpg", 1);
    gr_api_write("photos/b.jpg", "");
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    const int before = gr_folder_count();
    assert_false(gr_features_write(
        model, &(struct gr_features_options){.images = path, .n_images = 1, .max_corrupt = -1},
        gr_api_path("features.st"), &result, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    assert_non_null(strstr(err.message, "photos/b.jpg: an empty file"));
    assert_int_equal(gr_folder_count(), before);
    gr_model_free(model);
}

static bool stop(void *user, const struct gr_progress *progress)
{
    int *calls = user;
    assert_string_equal(progress->stage, "features");
    assert_int_equal(progress->steps, 3);
    assert_int_equal(progress->step, ++*calls);
    assert_true(progress->seconds_left >= 0);
    return *calls < 2;
}

static void stopped_it_leaves_nothing(void **state)
{
    (void)state;
    int calls = 0;
    struct gr_error err = {0};
    struct gr_features_result result;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    const struct gr_features_options options = {.progress = stop, .progress_user = &calls};
    const int before = gr_folder_count();
    assert_false(gr_features_write(model, &options, gr_api_path("features.st"), &result, &err));
    assert_int_equal(err.status, GR_OK);
    assert_int_equal(calls, 2);
    assert_int_equal(gr_folder_count(), before);
    gr_model_free(model);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_features_result result;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    const struct gr_features_options options = {.layer = NULL};
    gr_api_refused(gr_features_write(model, &options, "/dev/full", &result, &err), &err,
                   GR_ERR_RUNTIME, "/dev/full: cannot write: No space left on device");
    gr_model_free(model);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_are_the_layers_values_image_by_image),
        TEST(without_a_name_it_is_what_the_last_layer_reads),
        TEST(the_training_part_is_prepared_as_for_evaluation),
        TEST(the_image_itself_can_be_the_layer),
        TEST(images_given_have_the_classes_of_their_folders),
        TEST(a_file_gives_the_row_that_prediction_would_see),
        TEST(the_file_is_safetensors_to_the_byte),
        TEST(mistakes_are_told_and_leave_nothing),
        TEST(too_many_damaged_images_end_the_work),
        TEST(stopped_it_leaves_nothing),
        TEST(a_full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
