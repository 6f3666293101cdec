/*
 * Safetensors files that are wrong: every one is refused, and the message says what is the matter.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fmemopen */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

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

/* Two tensors and metadata. */
static struct gr_bytes good_file(void)
{
    struct gr_error err = {0};
    float weight[6] = {1, 2, 3, 4, 5, 6};
    uint8_t image[3] = {7, 8, 9};
    const struct gr_tensor tensors[] = {{"weight", GR_F32, {2, {2, 3}}, weight},
                                        {"image", GR_U8, {1, {3}}, image}};
    static const char *const metadata[] = {"format", "pt"};
    assert_true(gr_tensor_file_write(path, tensors, 2, metadata, 1, &err));
    return gr_bytes_load(path);
}

#define ENTRY(name, dtype, shape, begin, end)                                                      \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end   \
    "]}"

static const struct wrong {
    const char *header;
    size_t data;
    const char *message; /* after "PATH: " */
    const char *piped;   /* where a stream without a size gives another; else NULL */
} wrong[] = {
    {"hello!", 0, "header does not begin with '{': not a safetensors file", NULL},
    {" {}", 0, "header does not begin with '{': not a safetensors file", NULL},
    {"{", 0, "header of 1 bytes does not fit the file", NULL},
    {"{]", 0, "header is not valid JSON: string or '}' expected near ']' (byte 2)", NULL},
    {"{} x", 0, "header is not valid JSON: end of file expected near 'x' (byte 4)", NULL},
    {"{\"\\u0000\":1}", 0,
     "header is not valid JSON: NUL byte in object key not supported near '\"\\u0000\"' (byte 9)",
     NULL},
    {"{\"a\xff\":1}", 0, "header is not valid JSON: unable to decode byte 0xff near '\"a' (byte 3)",
     NULL},
    {"{" ENTRY("a", "U8", "[]", "0", "1") "," ENTRY("a", "U8", "[]", "1", "2") "}", 2,
     "header is not valid JSON: duplicate object key near '\"a\"' (byte 55)", NULL},
    {"{\"a\":1}", 0, "tensor 'a': is not an object", NULL},
    {"{\"a\\nb\":[]}", 0, "tensor 'a?b': is not an object", NULL},
    {"{\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "bcdefghijk\":0}",
     0,
     "tensor "
     "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...': "
     "is not an object",
     NULL},
    {"{\"__metadata__\":\"pt\"}", 0, "__metadata__ is not an object", NULL},
    {"{\"__metadata__\":{\"epoch\":1}}", 0, "metadata 'epoch' is not a string", NULL},
    {"{\"a\":{\"shape\":[],\"data_offsets\":[0,1]}}", 1,
     "tensor 'a': dtype is missing or not a string", NULL},
    {"{\"a\":{\"dtype\":3,\"shape\":[],\"data_offsets\":[0,1]}}", 1,
     "tensor 'a': dtype is missing or not a string", NULL},
    {"{" ENTRY("a", "F8_E4M3", "[]", "0", "1") "}", 1,
     "tensor 'a': dtype 'F8_E4M3' is not supported", NULL},
    {"{" ENTRY("a", "f32", "[]", "0", "4") "}", 4, "tensor 'a': dtype 'f32' is not supported",
     NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1,
     "tensor 'a': shape is missing or not a list", NULL},
    {"{" ENTRY("a", "U8", "5", "0", "1") "}", 1, "tensor 'a': shape is missing or not a list",
     NULL},
    {"{" ENTRY("a", "U8", "[1,1,1,1,1,1,1]", "0", "1") "}", 1,
     "tensor 'a': has 7 dimensions, more than the 6 supported", NULL},
    {"{" ENTRY("a", "U8", "[1,-1]", "0", "1") "}", 1,
     "tensor 'a': dimension 1 is not a whole number", NULL},
    {"{" ENTRY("a", "U8", "[1.0]", "0", "1") "}", 1,
     "tensor 'a': dimension 0 is not a whole number", NULL},
    {"{" ENTRY("a", "U8", "[2,0]", "0", "1") "}", 1,
     "tensor 'a': data_offsets span 1 bytes, but 2×0 of U8 take 0", NULL},
    {"{" ENTRY("a", "U8", "[4294967296,4294967296]", "0", "1") "}", 1,
     "tensor 'a': shape is too large", NULL},
    {"{" ENTRY("a", "U8", "[9223372036854775807]", "0", "1") "}", 1,
     "tensor 'a': shape is too large", NULL},
    {"{" ENTRY("a", "U8", "[99999999999999999999]", "0", "1") "}", 1,
     "header is not valid JSON: too big integer near '99999999999999999999' (byte 48)", NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1,
     "tensor 'a': data_offsets is not a list of two whole numbers", NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1,
     "tensor 'a': data_offsets is not a list of two whole numbers", NULL},
    {"{" ENTRY("a", "U8", "[1]", "0", "1.5") "}", 1,
     "tensor 'a': data_offsets is not a list of two whole numbers", NULL},
    {"{" ENTRY("a", "U8", "[1]", "-1", "0") "}", 1,
     "tensor 'a': data_offsets -1 to 0 are not a range", NULL},
    {"{" ENTRY("a", "U8", "[1]", "2", "1") "}", 1,
     "tensor 'a': data_offsets 2 to 1 are not a range", NULL},
    {"{" ENTRY("a", "F32", "[2,3]", "0", "20") "}", 20,
     "tensor 'a': data_offsets span 20 bytes, but 2×3 of F32 take 24", NULL},
    {"{" ENTRY("a", "U8", "[1]", "1", "2") "}", 2,
     "tensor 'a': data begin at byte 1, leaving a hole from byte 0", NULL},
    {"{" ENTRY("b", "U8", "[2]", "5", "7") "," ENTRY("a", "U8", "[4]", "0", "4") "}", 7,
     "tensor 'b': data begin at byte 5, leaving a hole from byte 4", NULL},
    {"{" ENTRY("b", "U8", "[2]", "3", "5") "," ENTRY("a", "U8", "[4]", "0", "4") "}", 5,
     "tensor 'b': data begin at byte 3, overlapping those of tensor 'a'", NULL},
    {"{" ENTRY("a", "U8", "[4]", "0", "4") "}", 5,
     "tensors take 4 bytes, but 5 bytes follow the header", "bytes follow the last tensor"},
    {"{" ENTRY("a", "U8", "[4]", "0", "4") "}", 3,
     "tensors take 4 bytes, but 3 bytes follow the header", "tensor 'a': the file ends inside it"},
    {"{" ENTRY("a", "F16", "[4]", "0", "8") "}", 7,
     "tensors take 8 bytes, but 7 bytes follow the header", "tensor 'a': the file ends inside it"},
    {"{" ENTRY("a", "I64", "[2]", "0", "16") "}", 16,
     "tensor 'a': element 0 of I64 does not fit s32", NULL},
    {"{" ENTRY("a", "U32", "[4]", "0", "16") "," ENTRY("b", "U64", "[1]", "16", "24") "}", 24,
     "tensor 'b': element 0 of U64 does not fit s32", NULL},
};

static void assert_refused(struct gr_tensor_file *file, const struct gr_error *err,
                           const char *name, const char *message)
{
    char wanted[1200];
    snprintf(wanted, sizeof wanted, "%s: %s", name, message);
    assert_null(file);
    assert_string_equal(err->message, wanted);
    assert_int_equal(err->status, GR_ERR_DATA);
}

static void a_wrong_file_is_refused_by_name_and_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct gr_bytes bytes =
            gr_bytes_safetensors(strlen(wrong[i].header), wrong[i].header, wrong[i].data);
        struct gr_error err = {0};
        gr_bytes_save(&bytes, path);
        assert_refused(gr_tensor_file_read(path, &err), &err, path, wrong[i].message);
        err = (struct gr_error){0};
        assert_refused(read_piped(&bytes, &err), &err, "pipe",
                       wrong[i].piped ? wrong[i].piped : wrong[i].message);
    }
}

static void a_header_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t length;
        const char *message;
    } rows[] = {
        {3, "header of 3 bytes does not fit the file"},
        {100000000, "header of 100000000 bytes does not fit the file"},
        {100000001, "header of 100000001 bytes is longer than the 100000000 allowed"},
        {UINT64_MAX, "header of 18446744073709551615 bytes is longer than the 100000000 allowed"},
        {0, "header of 0 bytes does not fit the file"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct gr_bytes bytes = gr_bytes_safetensors(rows[i].length, "{}", 0);
        struct gr_error err = {0};
        gr_bytes_save(&bytes, path);
        assert_refused(gr_tensor_file_read(path, &err), &err, path, rows[i].message);
        err = (struct gr_error){0};
        assert_refused(read_piped(&bytes, &err), &err, "pipe", rows[i].message);
    }
}

static void a_large_claim_takes_no_memory(void **state)
{
    (void)state;
    static const char text[] = "{" ENTRY("a", "F32", "[1000000000000]", "0", "4000000000000") "}";
    const struct gr_bytes bytes = gr_bytes_safetensors(strlen(text), text, 8);
    struct gr_error err = {0};
    gr_bytes_save(&bytes, path);
    assert_refused(gr_tensor_file_read(path, &err), &err, path,
                   "tensors take 4000000000000 bytes, but 8 bytes follow the header");
}

static void every_shortened_file_is_refused(void **state)
{
    (void)state;
    struct gr_bytes bytes = good_file();
    while (bytes.length-- > 0) {
        struct gr_error err = {0};
        gr_bytes_save(&bytes, path);
        assert_null(gr_tensor_file_read(path, &err));
        assert_int_equal(err.status, GR_ERR_DATA);
        if (bytes.length < 8)
            assert_non_null(strstr(err.message, "too short for a safetensors file"));
        err = (struct gr_error){0};
        assert_null(read_piped(&bytes, &err));
        assert_int_equal(err.status, GR_ERR_DATA);
    }
}

static void a_file_with_a_changed_byte_is_read_or_refused(void **state)
{
    (void)state;
    static const unsigned char changes[] = {0, '0', '9', '-', '"', '}', 0x80, 0xff};
    const struct gr_bytes good = good_file();
    int refused = 0;
    for (size_t at = 0; at < good.length; at++)
        for (size_t i = 0; i < sizeof changes; i++) {
            struct gr_bytes bytes = good;
            struct gr_error err = {0};
            bytes.data[at] = changes[i];
            FILE *stream = fmemopen(bytes.data, bytes.length, "rb");
            assert_non_null(stream);
            struct gr_tensor_file *file = gr_tensor_file_read_stream(stream, "memory", &err);
            fclose(stream);
            assert_int_equal(file == NULL, err.status != GR_OK);
            refused += !file;
            gr_tensor_file_free(file);
        }
    assert_true(refused > 1000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_wrong_file_is_refused_by_name_and_reason),
        TEST(a_header_that_does_not_fit_is_refused),
        TEST(a_large_claim_takes_no_memory),
        TEST(every_shortened_file_is_refused),
        TEST(a_file_with_a_changed_byte_is_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
