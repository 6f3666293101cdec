/*
 * The runtime's base: errors, pool, arrays that grow, map, text, nearest word, shapes, kinds,
 * threads.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_setaffinity */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/kind.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/shape.h"
#include "base/text.h"
#include "base/threads.h"

/* ---- errors ------------------------------------------------------------------------------ */

static void the_first_error_wins(void **state)
{
    (void)state;
    struct gr_error err = {0};
    assert_false(gr_fail(&err, GR_ERR_MODEL, "conv%d: %s", 2, "first"));
    assert_false(gr_fail(&err, GR_ERR_DATA, "second"));
    assert_int_equal(err.status, GR_ERR_MODEL);
    assert_string_equal(err.message, "conv2: first");
    assert_false(gr_fail(NULL, GR_ERR_DATA, "nobody listens"));
}

static void a_system_error_names_path_deed_and_reason(void **state)
{
    (void)state;
    struct gr_error err = {0};
    assert_false(gr_fail_system(&err, GR_ERR_RUNTIME, ENOENT, "cannot open", "a.bin"));
    assert_string_equal(err.message, "a.bin: cannot open: No such file or directory");
}

static void a_long_message_is_cut_not_overrun(void **state)
{
    (void)state;
    struct gr_error err = {0};
    gr_fail(&err, GR_ERR_MODEL, "%5000d", 1);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

/* ---- pool -------------------------------------------------------------------------------- */

static void pool_memory_is_zero_aligned_and_apart(void **state)
{
    (void)state;
    struct gr_pool pool = {0};
    unsigned char *blocks[500];
    for (size_t i = 0; i < 500; i++) {
        const size_t bytes = i * 37 % 900;
        blocks[i] = gr_pool_alloc(&pool, bytes);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < bytes; k++)
            assert_int_equal(blocks[i][k], 0);
        memset(blocks[i], (int)(i % 255) + 1, bytes);
    }
    for (size_t i = 0; i < 500; i++)
        for (size_t k = 0; k < i * 37 % 900; k++)
            assert_int_equal(blocks[i][k], (int)(i % 255) + 1);
    gr_pool_release(&pool);
    assert_null(pool.chunks);
}

static void pool_serves_a_block_larger_than_a_chunk_and_goes_on(void **state)
{
    (void)state;
    struct gr_pool pool = {0};
    char *large = gr_pool_alloc(&pool, 3 << 20);
    char *small = gr_pool_alloc(&pool, 8);
    assert_non_null(large);
    assert_non_null(small);
    memset(large, 1, 3 << 20);
    assert_int_equal(small[0], 0);
    gr_pool_release(&pool);
}

static void pool_refuses_what_overflows(void **state)
{
    (void)state;
    struct gr_pool pool = {0};
    assert_null(gr_pool_alloc(&pool, SIZE_MAX));
    assert_null(gr_pool_alloc(&pool, SIZE_MAX - 64));
    assert_null(gr_pool_array(&pool, SIZE_MAX / 8 + 1, 8));
    assert_null(gr_pool_strndup(&pool, "", SIZE_MAX));
    assert_non_null(gr_pool_array(&pool, 0, 8));
    assert_non_null(gr_pool_alloc(&pool, 16));
    gr_pool_release(&pool);
}

static void pool_copies_and_prints_strings(void **state)
{
    (void)state;
    struct gr_pool pool = {0};
    assert_string_equal(gr_pool_strdup(&pool, "conv1"), "conv1");
    assert_string_equal(gr_pool_strndup(&pool, "conv1.weight", 5), "conv1");
    assert_string_equal(gr_pool_printf(&pool, "%s.%d", "conv", 12), "conv.12");
    assert_string_equal(gr_pool_printf(&pool, "%s", ""), "");
    assert_int_equal(strlen(gr_pool_printf(&pool, "%9000d", 1)), 9000);
    gr_pool_release(&pool);
}

static void an_array_grows_and_keeps_its_elements(void **state)
{
    (void)state;
    int *numbers = NULL;
    size_t capacity = 0;
    for (size_t count = 0; count < 1000; count++) {
        void *array = numbers;
        assert_true(gr_grow(&array, &capacity, count, sizeof *numbers));
        numbers = array;
        assert_true(capacity > count);
        numbers[count] = (int)count;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i);
    void *array = numbers;
    size_t huge = SIZE_MAX / 2 + 1;
    assert_false(gr_grow(&array, &huge, huge, 1));
    assert_ptr_equal(array, numbers);
    free(numbers);
}

/* ---- map --------------------------------------------------------------------------------- */

static void a_map_finds_what_was_put_and_nothing_else(void **state)
{
    (void)state;
    static int values[3000];
    struct gr_map map = {0};
    struct gr_pool pool = {0};
    assert_null(gr_map_get(&map, "absent"));
    for (int i = 0; i < 3000; i++)
        assert_true(gr_map_put(&map, gr_pool_printf(&pool, "node%d", i), &values[i]));
    assert_int_equal(map.count, 3000);
    for (int i = 0; i < 3000; i++)
        assert_ptr_equal(gr_map_get(&map, gr_pool_printf(&pool, "node%d", i)), &values[i]);
    assert_null(gr_map_get(&map, "node3000"));
    assert_null(gr_map_get(&map, ""));
    assert_true(gr_map_put(&map, gr_pool_printf(&pool, "node%d", 7), &values[8]));
    assert_int_equal(map.count, 3000);
    assert_ptr_equal(gr_map_get(&map, "node7"), &values[8]);
    for (int i = 0; i < 3000; i++) /* the entries are in the order of their coming */
        assert_string_equal(map.entries[i].key, gr_pool_printf(&pool, "node%d", i));
    gr_map_release(&map);
    assert_null(gr_map_get(&map, "node1"));
    gr_pool_release(&pool);
}

static void putting_a_key_again_replaces_its_value(void **state)
{
    (void)state;
    int first, second;
    struct gr_map map = {0};
    assert_true(gr_map_put(&map, "x", &first));
    assert_true(gr_map_put(&map, "x", &second));
    assert_int_equal(map.count, 1);
    assert_ptr_equal(gr_map_get(&map, "x"), &second);
    gr_map_release(&map);
}

/* ---- text -------------------------------------------------------------------------------- */

static void text_grows_as_it_is_added_to(void **state)
{
    (void)state;
    struct gr_text text = {0};
    struct gr_error err = {0};
    gr_text_append(&text, NULL, 0);
    for (int i = 0; i < 2000; i++)
        gr_text_add(&text, "%d,", i % 10);
    gr_text_append(&text, "end-and-more", 3);
    gr_text_add(&text, "%s", "");
    assert_true(gr_text_ok(&text, &err));
    assert_int_equal(text.length, 4003);
    assert_int_equal(strlen(text.data), 4003);
    assert_string_equal(text.data + 3996, "8,9,end");
    gr_text_release(&text);
    assert_null(text.data);
}

static void text_that_failed_says_so_at_the_end(void **state)
{
    (void)state;
    struct gr_text text = {0};
    struct gr_error err = {0};
    gr_text_add(&text, "kept");
    gr_text_append(&text, "", SIZE_MAX / 2);
    gr_text_add(&text, "lost");
    assert_string_equal(text.data, "kept");
    assert_false(gr_text_ok(&text, &err));
    assert_int_equal(err.status, GR_ERR_RUNTIME);
    gr_text_release(&text);
}

static void the_nearest_word_is_suggested_or_none(void **state)
{
    (void)state;
    static const char *const words[] = {"kernel", "stride",   "pad",         "groups",
                                        "bias",   "dilation", "out_channels"};
    static const struct {
        const char *word, *nearest;
    } rows[] = {
        {"kernal", "kernel"},
        {"kernle", "kernel"},
        {"stirde", "stride"},
        {"group", "groups"},
        {"padd", "pad"},
        {"pda", "pad"},
        {"dilatoin", "dilation"},
        {"out_chanels", "out_channels"},
        {"momentum", NULL},
        {"", NULL},
        {"xyz", NULL},
        {"bais", "bias"},
        {"a word far longer than any attribute could be, sixty-four characters", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *nearest = gr_nearest(rows[i].word, words, sizeof words / sizeof *words);
        if (rows[i].nearest)
            assert_string_equal(nearest, rows[i].nearest);
        else
            assert_null(nearest);
    }
    assert_null(gr_nearest("kernel", words, 0));
}

/* ---- shapes ------------------------------------------------------------------------------ */

static void shapes_count_compare_and_print(void **state)
{
    (void)state;
    const struct gr_shape scalar = {0};
    const struct gr_shape image = gr_shape_of(4, (const int64_t[]){128, 96, 55, 55});
    struct gr_shape other = image;
    char text[GR_SHAPE_TEXT];
    assert_int_equal(gr_shape_count(&scalar), 1);
    assert_int_equal(gr_shape_count(&image), 37171200);
    assert_string_equal(gr_shape_text(&scalar, text), "scalar");
    assert_string_equal(gr_shape_text(&image, text), "128×96×55×55");
    assert_true(gr_shape_equal(&image, &other));
    other.dim[3] = 54;
    assert_false(gr_shape_equal(&image, &other));
    other = image;
    other.rank = 3;
    assert_false(gr_shape_equal(&image, &other));
    for (int i = 0; i < GR_MAX_RANK; i++)
        other.dim[i] = INT64_MAX;
    other.rank = GR_MAX_RANK;
    assert_int_equal(strlen(gr_shape_text(&other, text)), 6 * 19 + 5 * strlen("×"));
}

static void shapes_too_large_or_empty_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct gr_shape shape;
        bool good;
    } rows[] = {
        {{0, {0}}, true},
        {{1, {1}}, true},
        {{1, {0}}, false},
        {{2, {4, -1}}, false},
        {{1, {INT64_C(1) << 59}}, true},
        {{1, {(INT64_C(1) << 59) + 1}}, false},
        {{2, {INT64_C(1) << 40, INT64_C(1) << 19}}, true},
        {{2, {INT64_C(1) << 40, INT64_C(1) << 20}}, false},
        {{6, {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(gr_shape_check(&rows[i].shape), rows[i].good);
}

static void element_types_have_sizes_and_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t size;
    } rows[GR_DTYPE_COUNT] = {
        [GR_F32] = {"f32", 4}, [GR_BF16] = {"bf16", 2}, [GR_S32] = {"s32", 4}, [GR_U8] = {"u8", 1}};
    for (enum gr_dtype dtype = 0; dtype < GR_DTYPE_COUNT; dtype++) {
        assert_string_equal(gr_dtype_name(dtype), rows[dtype].name);
        assert_int_equal(gr_dtype_size(dtype), rows[dtype].size);
    }
}

/* ---- kinds ------------------------------------------------------------------------------- */

struct attrs {
    int64_t count, size[2], pad[4];
    double rate;
    bool ceil;
    int method;
    struct gr_ints axes;
    struct gr_floats mean;
    const char *name, *path;
};

static const char *const methods[] = {"max", "average", NULL};
static const struct gr_attr attr_rows[] = {
    {.name = "count",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct attrs, count),
     .required = true},
    {.name = "size", .type = GR_ATTR_SIZE2, .offset = offsetof(struct attrs, size), .def = 1},
    {.name = "pad", .type = GR_ATTR_PAD4, .offset = offsetof(struct attrs, pad), .def = 2},
    {.name = "rate", .type = GR_ATTR_FLOAT, .offset = offsetof(struct attrs, rate), .def = 0.5},
    {.name = "ceil", .type = GR_ATTR_BOOL, .offset = offsetof(struct attrs, ceil), .def = 1},
    {.name = "method",
     .type = GR_ATTR_ENUM,
     .offset = offsetof(struct attrs, method),
     .def = 1,
     .choices = methods},
    {.name = "axes", .type = GR_ATTR_INTS, .offset = offsetof(struct attrs, axes)},
    {.name = "mean", .type = GR_ATTR_FLOATS, .offset = offsetof(struct attrs, mean)},
    {.name = "name", .type = GR_ATTR_STRING, .offset = offsetof(struct attrs, name)},
    {.name = "path", .type = GR_ATTR_PATH, .offset = offsetof(struct attrs, path)},
    {.name = NULL}};
static const struct gr_kind kind = {"pool", "a kind", attr_rows, sizeof(struct attrs)};

static void a_kind_finds_attributes_and_sets_every_default(void **state)
{
    (void)state;
    struct gr_pool pool = {0};
    assert_ptr_equal(gr_kind_attr(&kind, "rate"), &attr_rows[3]);
    assert_null(gr_kind_attr(&kind, "rates"));
    assert_null(gr_kind_attr(&(const struct gr_kind){.name = "bare"}, "rate"));
    const struct attrs *attrs = gr_kind_defaults(&kind, &pool);
    assert_non_null(attrs);
    assert_int_equal(attrs->count, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(attrs->size[i], 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(attrs->pad[i], 2);
    assert_true(attrs->rate == 0.5 && attrs->ceil && attrs->method == 1);
    assert_true(attrs->axes.count == 0 && attrs->mean.count == 0 && !attrs->name && !attrs->path);
    gr_pool_release(&pool);
}

static void a_kind_describes_what_differs_from_default(void **state)
{
    (void)state;
    struct gr_pool pool = {0};
    struct gr_text text = {0};
    struct attrs *attrs = gr_kind_defaults(&kind, &pool);
    assert_non_null(attrs);
    gr_kind_describe(&kind, attrs, 9, false, &text);
    assert_string_equal(text.data, "count 0");
    gr_text_release(&text);

    attrs->count = 7;
    attrs->size[0] = attrs->size[1] = 3;
    attrs->pad[0] = 0;
    attrs->rate = 1e-4;
    attrs->ceil = false;
    attrs->method = 0;
    attrs->axes = (struct gr_ints){2, (const int64_t[]){1, -1}};
    attrs->mean = (struct gr_floats){1, (const double[]){0.25}};
    attrs->name = "n";
    attrs->path = "p/q";
    gr_kind_describe(&kind, attrs, 99, true, &text);
    assert_string_equal(text.data,
                        "count: 7, size: 3, pad: [0, 2, 2, 2], rate: 0.0001, ceil: false, "
                        "method: max, axes: [1, -1], mean: [0.25], name: n, path: p/q");
    gr_text_release(&text);
    gr_kind_describe(&kind, attrs, 2, false, &text);
    assert_string_equal(text.data, "count 7, size 3");
    gr_text_release(&text);
    gr_pool_release(&pool);
}

static void a_kind_without_attributes_describes_nothing(void **state)
{
    (void)state;
    struct gr_text text = {0};
    gr_kind_describe(&(const struct gr_kind){.name = "relu"}, NULL, 9, false, &text);
    assert_null(text.data);
}

/* ---- threads ----------------------------------------------------------------------------- */

static void threads_follow_the_affinity(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_in_range(gr_threads_available(), 1, CPU_COUNT(&before));
    size_t core = 0;
    while (!CPU_ISSET(core, &before))
        core++;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    const int threads = gr_threads_available();
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(threads, 1);
}

static void *keep_mask(void *user)
{
    pthread_sigmask(SIG_SETMASK, NULL, user);
    return NULL;
}

static void a_thread_of_the_library_leaves_signals_to_the_program(void **state)
{
    (void)state;
    pthread_t thread;
    sigset_t before, theirs, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(sigismember(&before, SIGTERM), 0);
    assert_int_equal(gr_thread_start(&thread, keep_mask, &theirs), 0);
    pthread_join(thread, NULL);
    assert_int_equal(sigismember(&theirs, SIGTERM), 1);
    assert_int_equal(sigismember(&theirs, SIGUSR1), 1);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGTERM), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_wins),
        cmocka_unit_test(a_system_error_names_path_deed_and_reason),
        cmocka_unit_test(a_long_message_is_cut_not_overrun),
        cmocka_unit_test(pool_memory_is_zero_aligned_and_apart),
        cmocka_unit_test(pool_serves_a_block_larger_than_a_chunk_and_goes_on),
        cmocka_unit_test(pool_refuses_what_overflows),
        cmocka_unit_test(pool_copies_and_prints_strings),
        cmocka_unit_test(an_array_grows_and_keeps_its_elements),
        cmocka_unit_test(a_map_finds_what_was_put_and_nothing_else),
        cmocka_unit_test(putting_a_key_again_replaces_its_value),
        cmocka_unit_test(text_grows_as_it_is_added_to),
        cmocka_unit_test(text_that_failed_says_so_at_the_end),
        cmocka_unit_test(the_nearest_word_is_suggested_or_none),
        cmocka_unit_test(shapes_count_compare_and_print),
        cmocka_unit_test(shapes_too_large_or_empty_are_refused),
        cmocka_unit_test(element_types_have_sizes_and_names),
        cmocka_unit_test(a_kind_finds_attributes_and_sets_every_default),
        cmocka_unit_test(a_kind_describes_what_differs_from_default),
        cmocka_unit_test(a_kind_without_attributes_describes_nothing),
        cmocka_unit_test(threads_follow_the_affinity),
        cmocka_unit_test(a_thread_of_the_library_leaves_signals_to_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
