/*
 * The loader: what an epoch holds, that threads and restarts do not change it, and what becomes of
 * images that cannot be read.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nanosleep */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/loader_private.h"
#include "support/data_case.h"
#include "support/make_jpeg.h"

enum { SIDE = 6, SIZE = SIDE * SIDE, MOST = 300 };

static struct gr_data_case test;
static struct gr_dataset *dataset;

static int setup(void **state)
{
    (void)state;
    gr_data_case_init(&test);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_dataset_free(dataset);
    dataset = NULL;
    gr_data_case_release(&test);
    return 0;
}

static void open_part(const char *source, const char *attrs, const char *const *transforms, int n)
{
    const struct gr_shape shape = {3, {1, SIDE, SIDE}};
    struct gr_error err = {0};
    dataset = gr_dataset_open(gr_data_case_part(&test, source, attrs, transforms, n), &shape, 10,
                              gr_data_case_log, &test, &err);
    assert_string_equal(err.message, "");
}

/* Random crops and flips of 8×8 images. */
static void open_augmented(int count)
{
    static const char *const transforms[] = {
        "crop", "size=6;mode=random;pad=1", "flip", NULL, "scale", NULL};
    open_part("idx", gr_data_case_idx(&test, count, 8, 8, 10), transforms, 3);
}

static struct gr_loader *loader_of(const struct gr_loader_options *options)
{
    struct gr_error err = {0};
    struct gr_loader *loader = gr_loader_new(dataset, options, &err);
    assert_string_equal(err.message, "");
    return loader;
}

static bool next(struct gr_loader *loader, struct gr_batch *batch)
{
    struct gr_error err = {0};
    const bool done = gr_loader_next(loader, batch, &err);
    assert_string_equal(err.message, "");
    return done && batch->count > 0;
}

static void start(struct gr_loader *loader, int64_t epoch, int64_t batch)
{
    struct gr_error err = {0};
    gr_loader_start(loader, epoch, batch, &err);
    assert_string_equal(err.message, "");
}

/* FNV-1a of all that a batch says, rows beyond the count included. */
static uint64_t digest(const struct gr_batch *batch, int64_t rows)
{
    const struct {
        const void *data;
        size_t size;
    } parts[] = {{batch->images, (size_t)rows * SIZE * sizeof(float)},
                 {batch->labels, (size_t)rows * sizeof(int32_t)},
                 {batch->indices, (size_t)rows * sizeof(int64_t)},
                 {&batch->count, sizeof batch->count},
                 {&batch->index, sizeof batch->index}};
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
        for (size_t i = 0; i < parts[p].size; i++)
            hash = (hash ^ ((const uint8_t *)parts[p].data)[i]) * UINT64_C(1099511628211);
    return hash;
}

/* The digests of an epoch's batches from `first` on; returns how many there are. */
static int epoch_digests(struct gr_loader *loader, int64_t epoch, int64_t first, int64_t rows,
                         uint64_t *digests)
{
    struct gr_batch batch;
    int n = 0;
    start(loader, epoch, first);
    while (next(loader, &batch)) {
        assert_int_equal(batch.index, first + n);
        digests[n++] = digest(&batch, rows);
    }
    return n;
}

static void every_sample_comes_exactly_once_an_epoch(void **state)
{
    (void)state;
    open_augmented(103);
    const struct gr_loader_options options = {
        .batch = 10, .threads = 3, .seed = 1, .shuffle = true};
    struct gr_loader *loader = loader_of(&options);
    int64_t first[2];
    assert_int_equal(gr_loader_batches(loader), 11);
    for (int epoch = 0; epoch < 2; epoch++) {
        int seen[103] = {0};
        struct gr_batch batch;
        start(loader, epoch, 0);
        while (next(loader, &batch))
            for (int64_t i = 0; i < batch.count; i++) {
                seen[batch.indices[i]]++;
                assert_int_equal(batch.labels[i], batch.indices[i] % 10);
                first[epoch] = batch.indices[i];
            }
        for (int i = 0; i < 103; i++)
            assert_int_equal(seen[i], 1);
    }
    assert_int_not_equal(first[0], first[1]); /* another order each epoch; holds for this seed */
    gr_loader_free(loader);
}

static void without_shuffling_the_order_is_the_datasets(void **state)
{
    (void)state;
    open_augmented(20);
    const struct gr_loader_options options = {.batch = 7, .threads = 2};
    struct gr_loader *loader = loader_of(&options);
    struct gr_batch batch;
    int64_t index = 0;
    start(loader, 0, 0);
    while (next(loader, &batch))
        for (int64_t i = 0; i < batch.count; i++)
            assert_int_equal(batch.indices[i], index++);
    assert_int_equal(index, 20);
    gr_loader_free(loader);
}

static void the_rest_of_a_partial_batch_is_blank(void **state)
{
    (void)state;
    open_augmented(10);
    const struct gr_loader_options options = {.batch = 8};
    struct gr_loader *loader = loader_of(&options);
    struct gr_batch batch;
    start(loader, 0, 1);
    assert_true(next(loader, &batch));
    assert_int_equal(batch.count, 2);
    for (int i = 2; i < 8; i++) {
        assert_int_equal(batch.labels[i], -1);
        assert_int_equal(batch.indices[i], -1);
    }
    for (int i = 2 * SIZE; i < 8 * SIZE; i++)
        assert_true(batch.images[i] == 0);
    assert_false(next(loader, &batch));
    assert_int_equal(batch.count, 0);
    assert_false(next(loader, &batch)); /* and stays at the end */
    gr_loader_free(loader);
}

static void a_last_batch_that_is_not_full_can_be_dropped(void **state)
{
    (void)state;
    open_augmented(23);
    const struct gr_loader_options options = {.batch = 5, .drop_last = true};
    struct gr_loader *loader = loader_of(&options);
    struct gr_batch batch;
    int batches = 0;
    assert_int_equal(gr_loader_batches(loader), 4);
    start(loader, 0, 0);
    for (; next(loader, &batch); batches++)
        assert_int_equal(batch.count, 5);
    assert_int_equal(batches, 4);
    gr_loader_free(loader);
}

static void threads_and_ring_do_not_change_a_byte(void **state)
{
    (void)state;
    uint64_t wanted[MOST], got[MOST];
    open_augmented(211);
    struct gr_loader_options options = {.batch = 50, .threads = 1, .seed = 9, .shuffle = true};
    struct gr_loader *loader = loader_of(&options);
    const int n = epoch_digests(loader, 3, 0, 50, wanted);
    assert_int_equal(n, 5);
    gr_loader_free(loader);
    for (options.threads = 1; options.threads <= 4; options.threads++)
        for (options.ahead = 1; options.ahead <= 4; options.ahead++) {
            loader = loader_of(&options);
            assert_int_equal(epoch_digests(loader, 3, 0, 50, got), n);
            assert_memory_equal(got, wanted, (size_t)n * sizeof *got);
            gr_loader_free(loader);
        }
    options.seed = 10;
    loader = loader_of(&options);
    epoch_digests(loader, 3, 0, 50, got);
    assert_true(got[0] != wanted[0]);
    gr_loader_free(loader);
}

static void an_epoch_entered_in_the_middle_gives_the_same_batches(void **state)
{
    (void)state;
    uint64_t wanted[MOST], got[MOST];
    open_augmented(100);
    const struct gr_loader_options options = {.batch = 7, .threads = 2, .seed = 4, .shuffle = true};
    struct gr_loader *loader = loader_of(&options);
    const int n = epoch_digests(loader, 2, 0, 7, wanted);
    for (int first = 0; first <= n; first++) {
        assert_int_equal(epoch_digests(loader, 2, first, 7, got), n - first);
        assert_memory_equal(got, wanted + first, (size_t)(n - first) * sizeof *got);
    }
    struct gr_error err = {0};
    assert_false(gr_loader_start(loader, 2, n + 1, &err));
    assert_string_equal(err.message, "loader: epoch 2, batch 16 of 15");
    gr_loader_free(loader);
}

static void a_loader_can_be_freed_at_any_time(void **state)
{
    (void)state;
    open_augmented(200);
    for (int taken = -1; taken < 5; taken++) {
        const struct gr_loader_options options = {.batch = 3, .threads = 4, .ahead = 3};
        struct gr_loader *loader = loader_of(&options);
        struct gr_batch batch;
        if (taken >= 0)
            start(loader, 0, 0);
        for (int i = 0; i < taken; i++)
            assert_true(next(loader, &batch));
        gr_loader_free(loader);
    }
    gr_loader_free(NULL);
}

static void before_its_start_a_loader_is_at_the_end(void **state)
{
    (void)state;
    open_augmented(5);
    const struct gr_loader_options options = {.batch = 2};
    struct gr_loader *loader = loader_of(&options);
    struct gr_batch batch;
    assert_false(next(loader, &batch));
    gr_loader_free(loader);
}

static int images_held(const struct gr_loader *loader)
{
    int held = 0;
    for (int64_t i = 0; i < loader->depth; i++)
        held += loader->slots[i].images != NULL;
    return held;
}

/* So that training and validation, which take turns, need no more memory than one of them. */
static void memory_for_images_is_held_from_the_start_of_an_epoch_to_its_end(void **state)
{
    (void)state;
    open_augmented(40);
    const struct gr_loader_options options = {.batch = 8, .threads = 2};
    struct gr_loader *loader = loader_of(&options);
    struct gr_batch batch;
    assert_int_equal(images_held(loader), 0);
    for (int epoch = 0; epoch < 3; epoch++) {
        start(loader, epoch, epoch);
        assert_int_equal(images_held(loader), loader->depth);
        while (next(loader, &batch))
            assert_int_equal(images_held(loader), loader->depth);
        assert_int_equal(images_held(loader), 0);
        assert_false(next(loader, &batch));
    }
    gr_loader_free(loader);
}

static void options_without_sense_are_refused(void **state)
{
    (void)state;
    open_augmented(5);
    const struct gr_loader_options options = {.batch = 0, .threads = 2};
    struct gr_error err = {0};
    assert_null(gr_loader_new(dataset, &options, &err));
    assert_string_equal(err.message, "loader: a batch of 0, 2 threads, 0 ahead");
    const struct gr_loader_options huge = {.batch = INT64_MAX};
    err = (struct gr_error){0};
    assert_null(gr_loader_new(dataset, &huge, &err));
    assert_string_equal(err.message, "out of memory: loading data");
}

static void waiting_is_measured_and_loading_ahead_needs_none(void **state)
{
    (void)state;
    open_part("synthetic", "count=40", NULL, 0);
    const struct gr_loader_options options = {.batch = 4, .threads = 1, .ahead = 3};
    struct gr_loader *loader = loader_of(&options);
    struct gr_batch batch;
    assert_true(gr_loader_wait_seconds(loader) == 0);
    start(loader, 0, 0);
    assert_true(next(loader, &batch));
    const double once = gr_loader_wait_seconds(loader);
    assert_true(once >= 0 && once < 60);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    assert_true(next(loader, &batch)); /* long since there */
    assert_true(gr_loader_wait_seconds(loader) - once < 0.1);
    gr_loader_free(loader);
}

/* ---- images that cannot be read ---------------------------------------------------------- */

/* A list of count JPEG files in which those with bad[i] are damaged. */
static void open_files(int count, const bool *bad)
{
    static const char *const transforms[] = {"resize", "shortest=6", "crop", "size=6"};
    struct gr_text list = {0};
    for (int i = 0; i < count; i++) {
        const char *path = gr_data_case_path(&test, "%03d.jpg", i);
        if (bad[i])
            gr_data_case_write(path, "damaged", 7);
        else
            gr_make_plain_jpeg(path, 9, 8, (uint8_t)(2 * i), (uint8_t)(2 * i), (uint8_t)(2 * i));
        gr_text_add(&list, "%03d.jpg %d\n", i, i % 10);
    }
    const char *path = gr_data_case_path(&test, "list");
    gr_data_case_write(path, list.data, list.length);
    gr_text_release(&list);
    open_part("list", gr_pool_printf(&test.pool, "file=%s", path), transforms, 2);
}

static struct gr_loader_options logging(int64_t batch, int threads, bool train, int64_t most)
{
    return (struct gr_loader_options){.batch = batch,
                                      .threads = threads,
                                      .seed = 3,
                                      .shuffle = train,
                                      .replace_corrupt = train,
                                      .max_corrupt = most,
                                      .log = gr_data_case_log,
                                      .log_user = &test};
}

static void evaluation_counts_every_readable_image_once(void **state)
{
    (void)state;
    bool bad[40] = {[3] = true, [8] = true, [9] = true, [10] = true, [11] = true, [39] = true};
    open_files(40, bad);
    for (int threads = 1; threads <= 4; threads++) {
        const struct gr_loader_options options = logging(4, threads, false, 6);
        struct gr_loader *loader = loader_of(&options);
        struct gr_batch batch;
        test.n_warnings = 0;
        for (int epoch = 0; epoch < 2; epoch++) {
            int64_t expected = 0;
            start(loader, epoch, 0);
            while (next(loader, &batch)) /* batch 2 is bad as a whole, and passed over */
                for (int64_t i = 0; i < batch.count; i++, expected++) {
                    while (bad[expected])
                        expected++;
                    assert_int_equal(batch.indices[i], expected);
                    assert_int_equal(batch.labels[i], expected % 10);
                    assert_in_range((int)batch.images[i * SIZE] + 3, 2 * expected,
                                    2 * expected + 6);
                }
            assert_int_equal(expected, 39);
        }
        assert_int_equal(gr_loader_skipped(loader), 6);
        assert_int_equal(test.n_warnings, 6); /* once each, not once an epoch */
        gr_loader_free(loader);
    }
    const char *wanted = gr_pool_printf(&test.pool,
                                        "skipped: %s/039.jpg: neither JPEG nor PNG: "
                                        "starts with 0x64 0x61",
                                        test.folder);
    assert_string_equal(test.warning, wanted);
}

static void training_batches_stay_full_and_the_same_for_any_threads(void **state)
{
    (void)state;
    bool bad[40] = {[3] = true, [8] = true, [9] = true, [10] = true, [11] = true, [39] = true};
    uint64_t wanted[MOST], got[MOST];
    open_files(40, bad);
    for (int threads = 1; threads <= 4; threads++) {
        const struct gr_loader_options options = logging(8, threads, true, 6);
        struct gr_loader *loader = loader_of(&options);
        struct gr_batch batch;
        int seen[40] = {0};
        start(loader, 0, 0);
        while (next(loader, &batch)) {
            assert_int_equal(batch.count, 8);
            for (int i = 0; i < 8; i++)
                seen[batch.indices[i]]++;
        }
        for (int i = 0; i < 40; i++)
            assert_true(bad[i] ? seen[i] == 0 : seen[i] >= 1);
        assert_int_equal(gr_loader_skipped(loader), 6);
        /* The second time the damaged files are known; batches entered late are the same too. */
        assert_int_equal(epoch_digests(loader, 0, 0, 8, threads == 1 ? wanted : got), 5);
        if (threads > 1)
            assert_memory_equal(got, wanted, 5 * sizeof *got);
        gr_loader_free(loader);
        loader = loader_of(&options);
        assert_int_equal(epoch_digests(loader, 0, 2, 8, got), 3);
        assert_memory_equal(got, wanted + 2, 3 * sizeof *got);
        gr_loader_free(loader);
    }
}

static void too_many_damaged_files_end_the_run_naming_the_last(void **state)
{
    (void)state;
    bool bad[40] = {[3] = true, [8] = true, [9] = true};
    open_files(40, bad);
    const char *wanted = gr_pool_printf(&test.pool,
                                        "3 unreadable images, more than max_corrupt (2) allows; "
                                        "the last: %s/009.jpg: neither JPEG nor PNG: "
                                        "starts with 0x64 0x61",
                                        test.folder);
    for (int threads = 1; threads <= 4; threads++) {
        const struct gr_loader_options options = logging(4, threads, false, 2);
        struct gr_loader *loader = loader_of(&options);
        struct gr_batch batch;
        struct gr_error err = {0};
        start(loader, 0, 0);
        assert_true(next(loader, &batch));
        assert_true(next(loader, &batch));
        assert_false(gr_loader_next(loader, &batch, &err));
        assert_int_equal(err.status, GR_ERR_DATA);
        assert_string_equal(err.message, wanted);
        assert_false(gr_loader_next(loader, &batch, NULL)); /* and goes on failing */
        gr_loader_free(loader);
    }
}

static void a_dataset_of_damaged_files_alone_is_an_error(void **state)
{
    (void)state;
    const bool bad[5] = {true, true, true, true, true};
    open_files(5, bad);
    for (int train = 0; train < 2; train++) {
        const struct gr_loader_options options = logging(2, 2, train, 100);
        struct gr_loader *loader = loader_of(&options);
        struct gr_batch batch;
        struct gr_error err = {0};
        start(loader, 0, 0);
        assert_false(gr_loader_next(loader, &batch, &err));
        assert_string_equal(err.message, "none of the 5 images can be read");
        gr_loader_free(loader);
    }
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(every_sample_comes_exactly_once_an_epoch),
        SENTENCE(without_shuffling_the_order_is_the_datasets),
        SENTENCE(the_rest_of_a_partial_batch_is_blank),
        SENTENCE(a_last_batch_that_is_not_full_can_be_dropped),
        SENTENCE(threads_and_ring_do_not_change_a_byte),
        SENTENCE(an_epoch_entered_in_the_middle_gives_the_same_batches),
        SENTENCE(a_loader_can_be_freed_at_any_time),
        SENTENCE(before_its_start_a_loader_is_at_the_end),
        SENTENCE(memory_for_images_is_held_from_the_start_of_an_epoch_to_its_end),
        SENTENCE(options_without_sense_are_refused),
        SENTENCE(waiting_is_measured_and_loading_ahead_needs_none),
        SENTENCE(evaluation_counts_every_readable_image_once),
        SENTENCE(training_batches_stay_full_and_the_same_for_any_threads),
        SENTENCE(too_many_damaged_files_end_the_run_naming_the_last),
        SENTENCE(a_dataset_of_damaged_files_alone_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
