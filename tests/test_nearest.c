/*
 * Nearest images: against distances by definition, and what a query may be.
 */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "model/safetensors.h"
#include "support/api_case.h"
#include "support/make_jpeg.h"

enum { ROWS = 2500, LENGTH = 37, QUERIES = 7, COUNT = 9, NAME = 16 };

static float rows[ROWS * LENGTH];
static char names[ROWS * NAME];
static size_t name_bytes;

/* Writes features with these rows, names "dir/N.jpg" and labels N % 4. */
static struct gr_features *make(const char *path)
{
    static int32_t labels[ROWS];
    struct gr_error err = {0};
    name_bytes = 0;
    for (int i = 0; i < ROWS; i++) {
        labels[i] = i % 4;
        name_bytes += (size_t)snprintf(names + name_bytes, NAME, "dir/%d.jpg", i) + 1;
    }
    const struct gr_tensor tensors[] = {{"features", GR_F32, {2, {ROWS, LENGTH}}, rows},
                                        {"labels", GR_S32, {1, {ROWS}}, labels},
                                        {"files", GR_U8, {1, {(int64_t)name_bytes}}, names}};
    const char *const metadata[] = {"class_names", "[\"ash\",null,\"cedar\"]", "layer", "relu7"};
    gr_api_ok(gr_tensor_file_write(path, tensors, 3, metadata, 2, &err), &err);
    struct gr_features *features = gr_features_read(path, &err);
    gr_api_ok(features != NULL, &err);
    return features;
}

static void draw(double mean, double scale)
{
    const struct gr_random_key key = gr_random_key(5, GR_RANDOM_AUGMENT, 0, 0);
    for (int i = 0; i < ROWS * LENGTH; i++)
        rows[i] = (float)(mean + scale * (double)gr_random_normal(&key, (uint64_t)i));
}

static double definition(enum gr_distance distance, int a, int b)
{
    long double dot = 0, aa = 0, bb = 0, square = 0;
    for (int i = 0; i < LENGTH; i++) {
        const long double x = rows[a * LENGTH + i], y = rows[b * LENGTH + i];
        dot += x * y;
        aa += x * x;
        bb += y * y;
        square += (x - y) * (x - y);
    }
    if (distance == GR_EUCLIDEAN)
        return (double)sqrtl(square);
    return aa > 0 && bb > 0 ? (double)(1 - dot / sqrtl(aa * bb)) : 1;
}

/* How many images are nearer to a than `distance`, by more than rounding. */
static int nearer(enum gr_distance kind, int a, double distance)
{
    int count = 0;
    for (int i = 0; i < ROWS; i++)
        count += i != a && definition(kind, a, i) < distance - 1e-12 * (1 + distance);
    return count;
}

static void check_against_definition(enum gr_distance kind)
{
    static const int asked[QUERIES] = {0, 1, 17, 1023, 1024, 2048, ROWS - 1};
    static char texts[QUERIES][NAME];
    const char *queries[QUERIES];
    struct gr_neighbour found[QUERIES * COUNT];
    struct gr_error err = {0};
    struct gr_features *features = make(gr_api_path("f.st"));
    for (int q = 0; q < QUERIES; q++) {
        snprintf(texts[q], NAME, "dir/%d.jpg", asked[q]);
        queries[q] = texts[q];
    }
    const struct gr_nearest_options options = {
        .queries = queries, .n_queries = QUERIES, .count = COUNT, .distance = kind};
    gr_api_ok(gr_nearest_images(features, &options, found, &err), &err);
    for (int q = 0; q < QUERIES; q++)
        for (int k = 0; k < COUNT; k++) {
            const struct gr_neighbour *near = &found[q * COUNT + k];
            const double want = definition(kind, asked[q], (int)near->index);
            assert_true(near->index >= 0 && near->index != asked[q]);
            assert_true(fabs(near->distance - want) <= 1e-12 * (1 + want));
            assert_true(k == 0 || near->distance >= near[-1].distance);
            assert_true(k == 0 || near->index != near[-1].index);
            assert_true(nearer(kind, asked[q], want) <= k);
        }
    gr_features_free(features);
}

static void neighbours_are_the_nearest_by_definition(void **state)
{
    (void)state;
    draw(0, 1);
    for (int i = 0; i < LENGTH; i++) {
        rows[17 * LENGTH + i] = 0;                         /* no direction */
        rows[2000 * LENGTH + i] = rows[1024 * LENGTH + i]; /* a twin */
        rows[9 * LENGTH + i] = 3 * rows[1 * LENGTH + i];   /* the same direction */
    }
    check_against_definition(GR_COSINE);
    check_against_definition(GR_EUCLIDEAN);
}

/* In f32, squares of such rows differ by more than the distances do. */
static void small_differences_of_large_rows_are_not_lost(void **state)
{
    (void)state;
    draw(1000, 0.01);
    check_against_definition(GR_EUCLIDEAN);
    check_against_definition(GR_COSINE);
}

static void there_are_no_more_neighbours_than_images(void **state)
{
    (void)state;
    enum { MANY = ROWS + 5 };
    static struct gr_neighbour found[MANY];
    const char *query = "dir/3.jpg";
    const struct gr_nearest_options options = {.queries = &query, .n_queries = 1, .count = MANY};
    struct gr_error err = {0};
    draw(0, 1);
    struct gr_features *features = make(gr_api_path("f.st"));
    gr_api_ok(gr_nearest_images(features, &options, found, &err), &err);
    bool met[ROWS] = {false};
    for (int k = 0; k < ROWS - 1; k++) {
        assert_false(met[found[k].index]);
        met[found[k].index] = true;
    }
    assert_false(met[3]);
    for (int k = ROWS - 1; k < MANY; k++)
        assert_int_equal(found[k].index, -1);
    gr_features_free(features);
}

static void rows_that_are_no_numbers_come_last(void **state)
{
    (void)state;
    const char *query = "dir/3.jpg";
    static struct gr_neighbour found[ROWS];
    const struct gr_nearest_options options = {
        .queries = &query, .n_queries = 1, .count = ROWS, .distance = GR_EUCLIDEAN};
    struct gr_error err = {0};
    draw(0, 1);
    rows[40 * LENGTH + 1] = (float)NAN;
    rows[41 * LENGTH] = (float)INFINITY;
    struct gr_features *features = make(gr_api_path("f.st"));
    gr_api_ok(gr_nearest_images(features, &options, found, &err), &err);
    assert_int_equal(found[ROWS - 3].index + found[ROWS - 2].index, 81);
    assert_true(isinf(found[ROWS - 3].distance) && isinf(found[ROWS - 2].distance));
    assert_true(isfinite(found[ROWS - 4].distance));
    gr_features_free(features);
}

static struct gr_neighbour ask(const struct gr_features *features, const char *query, bool ok,
                               struct gr_error *err)
{
    struct gr_neighbour found = {-1, 0};
    const struct gr_nearest_options options = {.queries = &query, .n_queries = 1, .count = 1};
    const bool done = gr_nearest_images(features, &options, &found, err);
    if (ok)
        gr_api_ok(done, err);
    else
        assert_false(done);
    return found;
}

/* In several blocks, so that no block may forget those before it. */
static void equally_near_images_come_in_the_order_of_the_file(void **state)
{
    (void)state;
    enum { MANY = 40 };
    const char *query = "dir/1100.jpg";
    struct gr_neighbour found[MANY];
    struct gr_error err = {0};
    for (int kind = GR_COSINE; kind <= GR_EUCLIDEAN; kind++) {
        const struct gr_nearest_options options = {
            .queries = &query, .n_queries = 1, .count = MANY, .distance = (enum gr_distance)kind};
        draw(0, 1);
        for (int i = 0; i < ROWS; i += 25)
            memcpy(rows + i * LENGTH, rows + 1100 * LENGTH, LENGTH * sizeof *rows);
        struct gr_features *features = make(gr_api_path("f.st"));
        gr_api_ok(gr_nearest_images(features, &options, found, &err), &err);
        for (int k = 0; k < MANY; k++) {
            assert_int_equal(found[k].index, 25 * k);
            assert_true(fabs(found[k].distance) < 1e-12);
        }
        gr_features_free(features);
    }
}

/* ---- files larger than memory ------------------------------------------------------------ */

/* Writes features of zeros, most of them a hole in the file, with a few rows that are none. */
static void make_large(const char *path, int64_t count, int64_t length, const float *values,
                       const int64_t *at, int n_values)
{
    struct gr_error err = {0};
    unsigned char prefix[8];
    const struct gr_tensor tensors[] = {{"features", GR_F32, {2, {count, length}}, NULL},
                                        {"labels", GR_S32, {1, {count}}, NULL},
                                        {"files", GR_U8, {1, {8 * count}}, NULL}};
    char *header = gr_safetensors_header(path, tensors, 3, NULL, 0, &err);
    gr_api_ok(header != NULL, &err);
    const long start = (long)(sizeof prefix + strlen(header));
    const long rest = start + (long)(count * length) * (long)sizeof(float);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    gr_safetensors_prefix(strlen(header), prefix);
    fwrite(prefix, 1, sizeof prefix, file);
    fputs(header, file);
    for (int i = 0; i < n_values; i++) {
        fseek(file, start + (long)(at[i] * length) * (long)sizeof(float), SEEK_SET);
        fwrite(values + i * length, sizeof *values, (size_t)length, file);
    }
    fseek(file, rest + (long)count * (long)sizeof(int32_t), SEEK_SET);
    for (int64_t i = 0; i < count; i++) {
        fprintf(file, "%07d", (int)i);
        putc(0, file);
    }
    assert_int_equal(fclose(file), 0);
    free(header);
}

static long peak_kilobytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* Rows of 400 kB, 300 MB in all, of which a block holds 41. */
static void what_is_in_memory_does_not_grow_with_the_file(void **state)
{
    (void)state;
    enum { WIDE = 100000, IMAGES = 750, GIVEN = 4, MOST_KILOBYTES = 100000 };
    static float values[GIVEN * WIDE];
    static const int64_t at[GIVEN] = {40, 41, 300, IMAGES - 1};
    const char *queries[] = {"0000300", "0000000"};
    struct gr_neighbour found[2 * 5];
    struct gr_error err = {0};
    for (int i = 0; i < GIVEN * WIDE; i++)
        values[i] = (float)(i % WIDE % 7) + 10 * (float)(i / WIDE) * (float)(i % 2);
    const char *path = gr_api_path("large.st");
    make_large(path, IMAGES, WIDE, values, at, GIVEN);
    const long before = peak_kilobytes();
    struct gr_features *features = gr_features_read(path, &err);
    gr_api_ok(features != NULL, &err);
    const struct gr_nearest_options options = {
        .queries = queries, .n_queries = 2, .count = 5, .distance = GR_EUCLIDEAN};
    gr_api_ok(gr_nearest_images(features, &options, found, &err), &err);
    assert_true(peak_kilobytes() - before < MOST_KILOBYTES);
    const int64_t near[] = {IMAGES - 1, 41}; /* to the third: 10 away from either in every other */
    assert_true(found[0].index == near[0] || found[0].index == near[1]);
    assert_true(found[1].index == near[0] || found[1].index == near[1]);
    assert_true(fabs(found[0].distance - 10 * sqrt(WIDE / 2.0)) < 1e-6);
    for (int k = 0; k < 5; k++) /* to a row of zeros: the other such, from the first on */
        assert_int_equal(found[5 + k].index, k + 1);
    gr_features_free(features);
}

static void a_file_that_shrinks_meanwhile_is_an_error(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *path = gr_api_path("f.st");
    draw(0, 1);
    struct gr_features *features = make(path);
    assert_int_equal(truncate(path, 100000), 0);
    ask(features, "dir/77.jpg", false, &err);
    assert_int_equal(err.status, GR_ERR_DATA);
    assert_non_null(strstr(err.message, "has become shorter since it was opened"));
    gr_features_free(features);
}

/* ---- queries ----------------------------------------------------------------------------- */

static void a_query_may_be_the_end_of_a_name(void **state)
{
    (void)state;
    struct gr_error err = {0};
    draw(0, 1);
    struct gr_features *features = make(gr_api_path("f.st"));
    const struct gr_neighbour whole = ask(features, "dir/77.jpg", true, &err);
    const struct gr_neighbour end = ask(features, "77.jpg", true, &err);
    assert_int_equal(whole.index, end.index);
    ask(features, "7.jp", false, &err);
    assert_non_null(strstr(err.message, "'7.jp' is neither an image of the features nor a file"));
    assert_int_equal(err.status, GR_ERR_USAGE);
    err = (struct gr_error){0};
    ask(features, "777.jpe", false, &err);
    assert_non_null(strstr(err.message, "; did you mean '777.jpg'?"));
    gr_features_free(features);
}

static void an_end_of_two_names_is_refused(void **state)
{
    (void)state;
    struct gr_error err = {0};
    float two[2] = {1, 2};
    int32_t labels[2] = {0, 0};
    char files[] = "a/1.jpg\0b/1.jpg";
    const struct gr_tensor tensors[] = {{"features", GR_F32, {2, {2, 1}}, two},
                                        {"labels", GR_S32, {1, {2}}, labels},
                                        {"files", GR_U8, {1, {sizeof files}}, files}};
    const char *path = gr_api_path("two.st");
    gr_api_ok(gr_tensor_file_write(path, tensors, 3, NULL, 0, &err), &err);
    struct gr_features *features = gr_features_read(path, &err);
    gr_api_ok(features != NULL, &err);
    ask(features, "1.jpg", false, &err);
    assert_string_equal(err.message,
                        "'1.jpg' can be 'a/1.jpg' or 'b/1.jpg': give more of the name");
    assert_int_equal(gr_features_label(features, 1), 0);
    assert_null(gr_features_class_name(features, 0));
    gr_features_free(features);
}

static void a_file_that_is_no_image_of_the_features_needs_a_model(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *path = gr_api_path("new.jpg");
    assert_true(gr_make_plain_jpeg(path, 12, 12, 1, 2, 3));
    draw(0, 1);
    struct gr_features *features = make(gr_api_path("f.st"));
    ask(features, path, false, &err);
    assert_non_null(strstr(err.message, "takes the model and its weights"));
    gr_features_free(features);
}

/* ---- files that are no features ---------------------------------------------------------- */

static void refuses(const struct gr_tensor *tensors, size_t count, const char *why)
{
    struct gr_error err = {0};
    char message[512];
    const char *path = gr_api_path("bad.st");
    gr_api_ok(gr_tensor_file_write(path, tensors, count, NULL, 0, &err), &err);
    snprintf(message, sizeof message, "%s: not a file of features: %s", path, why);
    gr_api_refused(gr_features_read(path, &err) != NULL, &err, GR_ERR_DATA, "%s", message);
}

static void a_file_that_does_not_hold_features_is_refused(void **state)
{
    (void)state;
    float two[2] = {1, 2};
    int32_t labels[2] = {0, 0};
    char files[] = "a\0b\0c";
    const struct gr_tensor row = {"features", GR_F32, {2, {2, 1}}, two};
    const struct gr_tensor label = {"labels", GR_S32, {1, {2}}, labels};
    refuses(&label, 1, "it has no tensor 'features' of f32 with 2 dimensions");
    refuses((struct gr_tensor[]){row, {"labels", GR_F32, {1, {2}}, two}}, 2,
            "it has no tensor 'labels' of s32 with 1 dimension");
    refuses((struct gr_tensor[]){row,
                                 {"labels", GR_S32, {1, {1}}, labels},
                                 {"files", GR_U8, {1, {4}}, files}},
            3, "it has not one label for each row");
    refuses((struct gr_tensor[]){row, label, {"files", GR_U8, {1, {6}}, files}}, 3,
            "it has not one file name for each row");
    refuses((struct gr_tensor[]){row, label, {"files", GR_U8, {1, {2}}, files}}, 3,
            "it has not one file name for each row");
    refuses((struct gr_tensor[]){row, label, {"files", GR_U8, {1, {3}}, files}}, 3,
            "its last file name does not end");
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(neighbours_are_the_nearest_by_definition),
        TEST(small_differences_of_large_rows_are_not_lost),
        TEST(there_are_no_more_neighbours_than_images),
        TEST(rows_that_are_no_numbers_come_last),
        TEST(equally_near_images_come_in_the_order_of_the_file),
        TEST(what_is_in_memory_does_not_grow_with_the_file),
        TEST(a_file_that_shrinks_meanwhile_is_an_error),
        TEST(a_query_may_be_the_end_of_a_name),
        TEST(an_end_of_two_names_is_refused),
        TEST(a_file_that_is_no_image_of_the_features_needs_a_model),
        TEST(a_file_that_does_not_hold_features_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
