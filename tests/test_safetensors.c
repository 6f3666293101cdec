/*
 * Safetensors: the exact bytes of a file, what is read back, and writing that fails.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* mkdtemp, realpath */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/safetensors.h"
#include "support/bytes.h"
#include "support/folder.h"

static char path[GR_FOLDER_PATH];

static int set_up(void **state)
{
    if (gr_folder_set_up(state) != 0)
        return -1;
    gr_folder_file("t.safetensors", path);
    return 0;
}

static struct gr_tensor_file *read_piped(const struct gr_bytes *bytes, struct gr_error *err)
{
    FILE *stream = gr_bytes_pipe(bytes);
    struct gr_tensor_file *file = gr_tensor_file_read_stream(stream, "pipe", err);
    fclose(stream);
    return file;
}

/* ---- one file, byte by byte -------------------------------------------------------------- */

static float weight[] = {1, -2, 0.5f, 3};
static int32_t label[] = {-7};
static uint16_t half[] = {0x3f80, 0xc000, 0x0000};
static uint8_t image[] = {255, 0, 128};
static const struct gr_tensor tensors[] = {
    {"image", GR_U8, {3, {1, 1, 3}}, image},   {"label", GR_S32, {0, {0}}, label},
    {"z.weight", GR_F32, {2, {2, 2}}, weight}, {"half", GR_BF16, {1, {3}}, half},
    {"a", GR_F32, {1, {1}}, weight},
};
enum { TENSORS = sizeof tensors / sizeof *tensors };
static const char *const metadata[] = {"format", "pt", "note", "größe \"1\"/\n"};

static const char header[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"note\":\"größe \\\"1\\\"/\\n\"},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
    "\"z.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[4,20]},"
    "\"label\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[20,24]},"
    "\"half\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[24,30]},"
    "\"image\":{\"dtype\":\"U8\",\"shape\":[1,1,3],\"data_offsets\":[30,33]}}";
static const unsigned char data[] = {
    0,    0,    0x80, 0x3f,                                                 /* a */
    0,    0,    0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f, 0, 0, 0x40, 0x40, /* z.weight */
    0xf9, 0xff, 0xff, 0xff,                                                 /* label */
    0x80, 0x3f, 0,    0xc0, 0, 0,                                           /* half */
    255,  0,    128,                                                        /* image */
};

static struct gr_bytes expected_file(void)
{
    const size_t length = sizeof header - 1, padded = (length + 7) / 8 * 8;
    struct gr_bytes bytes = gr_bytes_safetensors(padded, header, 0);
    gr_bytes_add(&bytes, "        ", padded - length);
    gr_bytes_add(&bytes, data, sizeof data);
    return bytes;
}

static void assert_is_expected(const struct gr_tensor_file *file)
{
    static const char *const order[] = {"a", "z.weight", "label", "half", "image"};
    assert_int_equal(gr_tensor_file_count(file), TENSORS);
    for (size_t i = 0; i < TENSORS; i++) {
        const struct gr_tensor *got = gr_tensor_file_find(file, tensors[i].name);
        assert_non_null(got);
        assert_string_equal(got->name, tensors[i].name);
        assert_int_equal(got->dtype, tensors[i].dtype);
        assert_int_equal(got->shape.rank, tensors[i].shape.rank);
        assert_memory_equal(got->shape.dim, tensors[i].shape.dim, sizeof got->shape.dim);
        const size_t bytes = (size_t)gr_shape_count(&got->shape) * gr_dtype_size(got->dtype);
        assert_memory_equal(got->data, tensors[i].data, bytes);
        assert_int_equal((uintptr_t)got->data % 64, 0);
        assert_string_equal(gr_tensor_file_get(file, i)->name, order[i]);
    }
    assert_null(gr_tensor_file_get(file, TENSORS));
    assert_null(gr_tensor_file_find(file, "b"));
    assert_string_equal(gr_tensor_file_metadata(file, "note"), metadata[3]);
    assert_string_equal(gr_tensor_file_metadata(file, "format"), "pt");
    assert_null(gr_tensor_file_metadata(file, "other"));
}

static void assert_written(const char *name)
{
    const struct gr_bytes wanted = expected_file(), got = gr_bytes_load(name);
    assert_int_equal(got.length, wanted.length);
    assert_memory_equal(got.data, wanted.data, wanted.length);
}

static void a_file_is_written_to_the_byte(void **state)
{
    (void)state;
    struct gr_error err = {0};
    assert_true(gr_tensor_file_write(path, tensors, TENSORS, metadata, 2, &err));
    assert_written(path);
    assert_int_equal(gr_folder_count(), 1);
}

static void a_file_is_read_to_the_byte(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const struct gr_bytes bytes = expected_file();
    gr_bytes_save(&bytes, path);
    struct gr_tensor_file *file = gr_tensor_file_read(path, &err);
    assert_non_null(file);
    assert_is_expected(file);
    gr_tensor_file_free(file);
    file = read_piped(&bytes, &err);
    assert_non_null(file);
    assert_is_expected(file);
    gr_tensor_file_free(file);
}

static void a_file_may_hold_no_tensors(void **state)
{
    (void)state;
    struct gr_error err = {0};
    assert_true(gr_tensor_file_write(path, NULL, 0, NULL, 0, &err));
    const struct gr_bytes bytes = gr_bytes_load(path);
    assert_int_equal(bytes.length, 16);
    assert_memory_equal(bytes.data, "\10\0\0\0\0\0\0\0{}      ", 16);
    struct gr_tensor_file *file = gr_tensor_file_read(path, &err);
    assert_non_null(file);
    assert_int_equal(gr_tensor_file_count(file), 0);
    gr_tensor_file_free(file);
    gr_tensor_file_free(NULL);
}

/* Wherever they stand, also between the bytes of others, and however large their other sides. */
static void tensors_without_elements_are_left_out(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"
        "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
        "\"c\":{\"dtype\":\"F16\",\"shape\":[4611686018427387904,0,4611686018427387904],"
        "\"data_offsets\":[2,2]},"
        "\"d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}";
    struct gr_error err = {0};
    struct gr_bytes bytes = gr_bytes_safetensors(sizeof text - 1, text, 0);
    gr_bytes_add(&bytes, "xyz", 3);
    gr_bytes_save(&bytes, path);
    struct gr_tensor_file *file = gr_tensor_file_read(path, &err);
    assert_non_null(file);
    assert_int_equal(gr_tensor_file_count(file), 2);
    assert_memory_equal(gr_tensor_file_find(file, "b")->data, "xy", 2);
    assert_memory_equal(gr_tensor_file_find(file, "d")->data, "z", 1);
    assert_null(gr_tensor_file_find(file, "a"));
    gr_tensor_file_free(file);
}

/* Runs with the descriptor standing for the file at path. */
static int redirect(int descriptor, const char *mode)
{
    fflush(stdout);
    const int saved = dup(descriptor);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    assert_int_equal(dup2(fileno(file), descriptor), descriptor);
    fclose(file);
    return saved;
}

static void restore(int descriptor, int saved)
{
    fflush(stdout);
    assert_int_equal(dup2(saved, descriptor), descriptor);
    close(saved);
}

static void a_dash_is_a_standard_stream(void **state)
{
    (void)state;
    struct gr_error err = {0};
    int saved = redirect(STDOUT_FILENO, "wb");
    const bool written = gr_tensor_file_write("-", tensors, TENSORS, metadata, 2, &err);
    restore(STDOUT_FILENO, saved);
    assert_true(written);
    assert_written(path);
    saved = redirect(STDIN_FILENO, "rb");
    struct gr_tensor_file *file = gr_tensor_file_read("-", &err);
    restore(STDIN_FILENO, saved);
    assert_non_null(file);
    assert_is_expected(file);
    gr_tensor_file_free(file);
}

/* ---- types ------------------------------------------------------------------------------- */

static void other_types_become_ours(void **state)
{
    (void)state;
    static const struct {
        const char *dtype;
        size_t bytes;
        uint64_t bits; /* of the element */
        enum gr_dtype becomes;
        double value;
    } rows[] = {
        {"F64", 8, 0x3fe8000000000000, GR_F32, 0.75},
        {"F64", 8, 0x7fefffffffffffff, GR_F32, (double)INFINITY},
        {"F16", 2, 0x3c00, GR_F32, 1},
        {"F16", 2, 0xc500, GR_F32, -5},
        {"F16", 2, 0x7bff, GR_F32, 65504},
        {"F16", 2, 0x0001, GR_F32, 0x1p-24},
        {"F16", 2, 0x03ff, GR_F32, 1023 * 0x1p-24},
        {"F16", 2, 0x0400, GR_F32, 0x1p-14},
        {"F16", 2, 0xfc00, GR_F32, -(double)INFINITY},
        {"I64", 8, 0xffffffff80000000, GR_S32, INT32_MIN},
        {"I64", 8, 0x7fffffff, GR_S32, INT32_MAX},
        {"I16", 2, 0x8000, GR_S32, -32768},
        {"I8", 1, 0xff, GR_S32, -1},
        {"U64", 8, 0x7fffffff, GR_S32, INT32_MAX},
        {"U32", 4, 12, GR_S32, 12},
        {"U16", 2, 0xffff, GR_S32, 65535},
        {"BOOL", 1, 1, GR_U8, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum { COUNT = 400 }; /* more than one buffer's worth of the widest would be 1024 */
        char text[128];
        snprintf(text, sizeof text,
                 "{\"x\":{\"dtype\":\"%s\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", rows[i].dtype,
                 (int)COUNT, (int)(COUNT * rows[i].bytes));
        struct gr_bytes bytes = gr_bytes_safetensors(strlen(text), text, 0);
        for (int k = 0; k < COUNT; k++)
            gr_bytes_add(&bytes, &rows[i].bits, rows[i].bytes);
        struct gr_error err = {0};
        gr_bytes_save(&bytes, path);
        struct gr_tensor_file *file = gr_tensor_file_read(path, &err);
        assert_non_null(file);
        const struct gr_tensor *x = gr_tensor_file_get(file, 0);
        assert_int_equal(x->dtype, rows[i].becomes);
        for (int k = 0; k < COUNT; k++) {
            const double value = x->dtype == GR_F32   ? (double)((const float *)x->data)[k]
                                 : x->dtype == GR_S32 ? ((const int32_t *)x->data)[k]
                                                      : ((const uint8_t *)x->data)[k];
            assert_true(value == rows[i].value);
        }
        gr_tensor_file_free(file);
    }
}

static void a_half_that_is_no_number_stays_one(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_bytes bytes = gr_bytes_safetensors(
        55, "{\"x\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]}}", 0);
    bytes.data[0] = (unsigned char)(bytes.length - 8);
    gr_bytes_add(&bytes, "\x01\x7c", 2);
    gr_bytes_save(&bytes, path);
    struct gr_tensor_file *file = gr_tensor_file_read(path, &err);
    assert_non_null(file);
    assert_true(isnan(*(const float *)gr_tensor_file_get(file, 0)->data));
    gr_tensor_file_free(file);
}

static void a_long_tensor_is_converted_piece_by_piece(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct gr_error err = {0};
    char text[128];
    snprintf(text, sizeof text,
             "{\"x\":{\"dtype\":\"I64\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", (int)COUNT,
             (int)COUNT * 8);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    const uint64_t length = strlen(text);
    fwrite(&length, 8, 1, out);
    fputs(text, out);
    for (int64_t i = 0; i < COUNT; i++)
        fwrite(&(int64_t){i - 2500}, 8, 1, out);
    fclose(out);
    struct gr_tensor_file *file = gr_tensor_file_read(path, &err);
    assert_non_null(file);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(((const int32_t *)gr_tensor_file_get(file, 0)->data)[i], i - 2500);
    gr_tensor_file_free(file);
}

/* ---- reading and writing that fails ------------------------------------------------------ */

static void what_cannot_be_opened_is_named(void **state)
{
    (void)state;
    struct gr_error err = {0};
    char wanted[1200];
    assert_null(gr_tensor_file_read(path, &err));
    snprintf(wanted, sizeof wanted, "%s: cannot open: No such file or directory", path);
    assert_string_equal(err.message, wanted);
    assert_int_equal(err.status, GR_ERR_DATA);

    err = (struct gr_error){0};
    assert_null(gr_tensor_file_read(gr_folder(), &err));
    snprintf(wanted, sizeof wanted, "%s: cannot read: Is a directory", gr_folder());
    assert_string_equal(err.message, wanted);
    assert_int_equal(err.status, GR_ERR_RUNTIME);
}

static void assert_not_written(const struct gr_tensor *list, size_t count, const char *const *pairs,
                               size_t n_pairs, const char *message)
{
    struct gr_error err = {0};
    char wanted[1200];
    assert_false(gr_tensor_file_write(path, list, count, pairs, n_pairs, &err));
    snprintf(wanted, sizeof wanted, "%s: %s", path, message);
    assert_string_equal(err.message, wanted);
    assert_int_equal(err.status, GR_ERR_USAGE);
    assert_int_equal(gr_folder_count(), 0);
}

static void what_no_file_can_hold_is_not_written(void **state)
{
    (void)state;
    const struct gr_tensor twice[] = {tensors[1], tensors[0], tensors[1]};
    assert_not_written(twice, 3, NULL, 0, "two tensors are named 'label'");
    struct gr_tensor bad = {"__metadata__", GR_U8, {1, {3}}, image};
    assert_not_written(&bad, 1, NULL, 0, "a tensor cannot be named '__metadata__'");
    bad.name = "x\xff";
    assert_not_written(&bad, 1, NULL, 0, "a tensor's name is not UTF-8: 'x?'");
    bad.name = "x";
    bad.shape.dim[0] = 0;
    assert_not_written(&bad, 1, NULL, 0, "tensor 'x' is empty or too large");
    static const char *const repeated[] = {"k", "1", "k", "2"};
    assert_not_written(tensors, 1, repeated, 2, "metadata 'k' is given twice");
    static const char *const foreign[] = {"k", "\xc0"};
    assert_not_written(tensors, 1, foreign, 1, "metadata 'k' is not UTF-8");
}

static void a_failed_write_leaves_the_old_file_and_nothing_else(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    struct gr_error err = {0};
    float *large = calloc(COUNT, sizeof *large);
    assert_non_null(large);
    const struct gr_tensor tensor = {"large", GR_F32, {1, {COUNT}}, large};
    assert_true(gr_tensor_file_write(path, tensors, TENSORS, metadata, 2, &err));

    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = (struct rlimit){10000, before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    const bool written = gr_tensor_file_write(path, &tensor, 1, NULL, 0, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    free(large);

    char wanted[1200];
    snprintf(wanted, sizeof wanted, "%s: cannot write: File too large", path);
    assert_false(written);
    assert_string_equal(err.message, wanted);
    assert_int_equal(err.status, GR_ERR_RUNTIME);
    assert_written(path);
    assert_int_equal(gr_folder_count(), 1);
}

static void a_place_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    char wanted[1200], name[GR_FOLDER_PATH];
    struct gr_error err = {0};
    gr_folder_file("absent/x", name);
    assert_false(gr_tensor_file_write(name, tensors, 1, NULL, 0, &err));
    snprintf(wanted, sizeof wanted, "%s: cannot create: No such file or directory", name);
    assert_string_equal(err.message, wanted);

    err = (struct gr_error){0};
    assert_false(gr_tensor_file_write(gr_folder(), tensors, 1, NULL, 0, &err));
    snprintf(wanted, sizeof wanted, "%s: cannot write: Is a directory", gr_folder());
    assert_string_equal(err.message, wanted);

    err = (struct gr_error){0};
    assert_false(gr_tensor_file_write("/dev/full", tensors, 1, NULL, 0, &err));
    assert_string_equal(err.message, "/dev/full: cannot write: No space left on device");
    assert_int_equal(err.status, GR_ERR_RUNTIME);
}

static void a_symbolic_link_goes_on_pointing_to_what_is_written(void **state)
{
    (void)state;
    struct gr_error err = {0};
    char link[GR_FOLDER_PATH];
    struct stat status;
    gr_folder_file("latest", link);
    assert_int_equal(symlink("t.safetensors", link), 0);
    const struct gr_bytes old = gr_bytes_safetensors(2, "{}", 0);
    gr_bytes_save(&old, path);
    assert_true(gr_tensor_file_write(link, tensors, TENSORS, metadata, 2, &err));
    assert_int_equal(lstat(link, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_written(path);
    assert_int_equal(gr_folder_count(), 2);
}

static void a_new_file_has_the_usual_permissions(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct stat status;
    const mode_t mask = umask(027);
    const bool written = gr_tensor_file_write(path, tensors, 1, NULL, 0, &err);
    umask(mask);
    assert_true(written);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_written_to_the_byte),
        TEST(a_file_is_read_to_the_byte),
        TEST(a_file_may_hold_no_tensors),
        TEST(tensors_without_elements_are_left_out),
        TEST(a_dash_is_a_standard_stream),
        TEST(other_types_become_ours),
        TEST(a_half_that_is_no_number_stays_one),
        TEST(a_long_tensor_is_converted_piece_by_piece),
        TEST(what_cannot_be_opened_is_named),
        TEST(what_no_file_can_hold_is_not_written),
        TEST(a_failed_write_leaves_the_old_file_and_nothing_else),
        TEST(a_place_that_cannot_be_written_is_named),
        TEST(a_symbolic_link_goes_on_pointing_to_what_is_written),
        TEST(a_new_file_has_the_usual_permissions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
