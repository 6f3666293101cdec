/*
 * Which of ImageNet's classes has which ID and which words: the development kit's meta.mat, and
 * what is said of one that is damaged.
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

#include "data/mat.h"
#include "data/synsets.h"
#include "support/data_case.h"
#include "support/make_mat.h"

static struct gr_data_case test;

static const struct gr_make_mat_synset kit[] = {
    {1, "n02119789", "kit fox, Vulpes macrotis", 0},
    {300, "n01440764", "tench", 0},
    {2, "n07579787", "cr\xe8me", 0},
    {70000, "n00001740", "entity", 3},
};
enum { COUNT = sizeof kit / sizeof *kit };

static int setup(void **state)
{
    (void)state;
    gr_data_case_init(&test);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_data_case_release(&test);
    return 0;
}

static const char *save(const uint8_t *bytes, size_t size)
{
    const char *path = gr_data_case_path(&test, "meta.mat");
    gr_data_case_write(path, bytes, size);
    return path;
}

static const char *save_kit(bool compressed)
{
    size_t size;
    uint8_t *bytes = gr_make_mat(kit, COUNT, compressed, &size);
    const char *path = save(bytes, size);
    free(bytes);
    return path;
}

static void refuses(const char *path, const char *message)
{
    struct gr_synsets synsets = {0};
    struct gr_error err = {0};
    assert_false(gr_synsets_read(&synsets, path, &test.pool, &err));
    gr_synsets_release(&synsets);
    assert_int_equal(err.status, GR_ERR_DATA);
    assert_string_equal(err.message, gr_pool_printf(&test.pool, "%s%s", path, message));
}

static void the_kit_s_meta_mat_says_which_synset_has_which_id(void **state)
{
    (void)state;
    for (int compressed = 0; compressed < 2; compressed++) {
        struct gr_synsets synsets = {0};
        struct gr_error err = {0};
        const char *path = save_kit(compressed);
        if (!gr_synsets_read(&synsets, path, &test.pool, &err))
            fail_msg("%s", err.message);
        assert_int_equal(synsets.count, 3);
        for (int i = 0; i < 3; i++)
            assert_string_equal(gr_synsets_of_id(&synsets, kit[i].id)->wnid, kit[i].wnid);
        assert_string_equal(gr_synsets_words(&synsets, "n02119789"), kit[0].words);
        assert_string_equal(gr_synsets_words(&synsets, "n07579787"), "cr\xc3\xa8me");
        gr_synsets_release(&synsets);
    }
}

static void inner_nodes_of_the_tree_are_left_out(void **state)
{
    (void)state;
    struct gr_synsets synsets = {0};
    struct gr_error err = {0};
    assert_true(gr_synsets_read(&synsets, save_kit(true), &test.pool, &err));
    assert_null(gr_synsets_of_id(&synsets, 70000));
    assert_string_equal(gr_synsets_words(&synsets, "n00001740"), "n00001740");
    gr_synsets_release(&synsets);
}

static void a_wnid_twice_and_synsets_without_one_are_refused(void **state)
{
    (void)state;
    static const struct gr_make_mat_synset twice[] = {{1, "n1", "a", 0}, {2, "n1", "b", 0}};
    static const struct gr_make_mat_synset nameless[] = {{1, "n1", "a", 0}, {2, "", "b", 0}};
    static const struct gr_make_mat_synset zero[] = {{0, "n1", "a", 0}};
    size_t size;
    uint8_t *bytes = gr_make_mat(twice, 2, true, &size);
    refuses(save(bytes, size), ":2: 'n1' is there for the second time");
    free(bytes);
    bytes = gr_make_mat(nameless, 2, true, &size);
    refuses(save(bytes, size), ":2: not a synset: it lacks ILSVRC2012_ID or WNID");
    free(bytes);
    bytes = gr_make_mat(zero, 1, true, &size);
    refuses(save(bytes, size), ":1: not a synset: it lacks ILSVRC2012_ID or WNID");
    free(bytes);
}

static void files_of_other_versions_and_contents_are_refused(void **state)
{
    (void)state;
    static uint8_t other[256] = "MATLAB 7.3 MAT-file, Platform: GLNXA64";
    refuses(save(other, sizeof other), ": a MATLAB file, but not a little-endian one of version 5");
    memcpy(other, "MATLAB 5.0 MAT-file", 19);
    memcpy(other + 124, "\1\0MI", 4);
    refuses(save(other, sizeof other), ": a MATLAB file, but not a little-endian one of version 5");
    memcpy(other + 124, "\0\1IM", 4);
    refuses(save(other, 128), ": holds no array of structs named 'synsets'");
}

/* Cut anywhere: never taken for whole, never read beyond its end (for the sanitizer to see). */
static void a_meta_mat_cut_short_is_damaged(void **state)
{
    (void)state;
    for (int compressed = 0; compressed < 2; compressed++) {
        size_t size;
        uint8_t *bytes = gr_make_mat(kit, COUNT, compressed, &size);
        const size_t first = 128 + 8 + bytes[128 + 4]; /* behind the number before the structs */
        for (size_t length = first + 1; length < size; length++)
            refuses(save(bytes, length), ": damaged: not a whole MATLAB file: fetch it again");
        refuses(save(bytes, first), ": holds no array of structs named 'synsets'");
        free(bytes);
    }
}

static void a_meta_mat_that_unpacks_to_too_much_is_refused(void **state)
{
    (void)state;
    const size_t zeros = GR_MAT_UNPACKED_MAX + 1;
    uLongf packed = compressBound(zeros);
    uint8_t *plain = calloc(1, zeros), *file = calloc(1, 136 + packed);
    assert_true(plain && file);
    memcpy(file, "MATLAB 5.0 MAT-file", 19);
    memcpy(file + 124, "\0\1IM", 4);
    assert_int_equal(compress(file + 136, &packed, plain, zeros), Z_OK);
    file[128] = 15;
    for (int i = 0; i < 4; i++)
        file[132 + i] = (uint8_t)(packed >> 8 * i);
    refuses(save(file, 136 + packed), ": unpacks to more than the 67108864 bytes allowed");
    free(plain);
    free(file);
}

/* Whatever a byte is changed to, the answer is an error or synsets. */
static void put(FILE *file, size_t at, uint8_t byte)
{
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fputc(byte, file), byte);
    assert_int_equal(fflush(file), 0);
}

static void any_changed_byte_is_borne(void **state)
{
    (void)state;
    static const uint8_t changes[] = {0, 1, 0x7f, 0xff};
    size_t size;
    uint8_t *bytes = gr_make_mat(kit, COUNT, false, &size);
    const char *path = save(bytes, size);
    FILE *file = fopen(path, "r+b"); /* a new file each time would take long */
    assert_non_null(file);
    for (size_t i = 0; i < size * 4; i++) {
        struct gr_synsets synsets = {0};
        struct gr_error err = {0};
        put(file, i / 4, changes[i % 4]);
        if (!gr_synsets_read(&synsets, path, &test.pool, &err))
            assert_true(err.status == GR_ERR_DATA && *err.message);
        gr_synsets_release(&synsets);
        put(file, i / 4, bytes[i / 4]);
    }
    fclose(file);
    free(bytes);
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(the_kit_s_meta_mat_says_which_synset_has_which_id),
        SENTENCE(inner_nodes_of_the_tree_are_left_out),
        SENTENCE(a_wnid_twice_and_synsets_without_one_are_refused),
        SENTENCE(files_of_other_versions_and_contents_are_refused),
        SENTENCE(a_meta_mat_cut_short_is_damaged),
        SENTENCE(a_meta_mat_that_unpacks_to_too_much_is_refused),
        SENTENCE(any_changed_byte_is_borne),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
