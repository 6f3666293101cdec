/*
 * Reading tar archives: what the tar program writes, and what nobody should.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/tar.h"
#include "support/data_case.h"
#include "support/make_tar.h"

static struct gr_data_case test;
static struct gr_make_tar made;

static int setup(void **state)
{
    (void)state;
    gr_data_case_init(&test);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_make_tar_release(&made);
    gr_data_case_release(&test);
    return 0;
}

/* What a scan has met: "name=contents;" for each member. */
static bool note(void *user, const struct gr_tar_member *member, struct gr_error *err)
{
    struct gr_text *seen = user;
    struct gr_buffer bytes = {0};
    if (!gr_tar_read(member, 1 << 16, &bytes, err))
        return false;
    gr_text_add(seen, "%s=", member->name);
    gr_text_append(seen, (const char *)bytes.data, (size_t)member->size);
    gr_text_add(seen, ";");
    gr_buffer_release(&bytes);
    return true;
}

static bool scan(const char *path, struct gr_text *seen, struct gr_error *err)
{
    struct gr_tar tar;
    return gr_tar_open(path, &tar, err) && gr_tar_scan(&tar, note, seen, err);
}

static void holds(const char *path, const char *members)
{
    struct gr_text seen = {0};
    struct gr_error err = {0};
    if (!scan(path, &seen, &err))
        fail_msg("%s", err.message);
    assert_string_equal(seen.data ? seen.data : "", members);
    gr_text_release(&seen);
}

/* Writes what was made, and expects the message, where @ stands for the archive. */
static void refuses(const char *message)
{
    struct gr_text seen = {0}, expected = {0};
    struct gr_error err = {0};
    const char *path = gr_data_case_path(&test, "made.tar");
    gr_make_tar_write(&made, path);
    assert_false(scan(path, &seen, &err));
    for (; *message; message++)
        if (*message == '@')
            gr_text_add(&expected, "%s", path);
        else
            gr_text_append(&expected, message, 1);
    assert_string_equal(err.message, expected.data);
    assert_int_equal(err.status, GR_ERR_DATA);
    gr_text_release(&expected);
    gr_text_release(&seen);
}

static void add(const char *name, const char *contents)
{
    gr_make_tar_add(&made, '0', name, contents, strlen(contents));
}

/* ---- what programs write ----------------------------------------------------------------- */

static void what_the_tar_program_writes_is_read_in_each_of_its_formats(void **state)
{
    (void)state;
    static const char *const formats[] = {"v7", "ustar", "oldgnu", "gnu", "posix"};
    char folder[80], expected[600];
    memset(folder, 'd', sizeof folder - 1);
    folder[sizeof folder - 1] = 0;
    gr_data_case_write(gr_data_case_path(&test, "in/short"), "one", 3);
    gr_data_case_write(gr_data_case_path(&test, "in/empty"), "", 0);
    gr_data_case_write(gr_data_case_path(&test, "in/%s/%s.txt", folder, folder), "long", 4);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const char *long_name = i ? gr_pool_printf(&test.pool, "%s/%s.txt", folder, folder) : "";
        const char *path = gr_data_case_path(&test, "%s.tar", formats[i]);
        const char *command = gr_pool_printf(
            &test.pool,
            "ln -sf short %s/in/link && tar --format=%s -C %s/in -cf %s ./short empty link %s",
            test.folder, formats[i], test.folder, path, long_name);
        assert_int_equal(system(command), 0);
        snprintf(expected, sizeof expected, "short=one;empty=;%s%s", long_name, i ? "=long;" : "");
        holds(path, expected);
    }
}

static void sizes_may_be_binary_and_checksums_signed(void **state)
{
    (void)state;
    const size_t header = gr_make_tar_add(&made, '0', "b\xe4r", "hello", 5);
    memset(made.bytes + header + 124, 0, 12);
    made.bytes[header + 124] = 0x80;
    made.bytes[header + 135] = 5;
    gr_make_tar_seal(&made, header);
    gr_make_tar_end(&made);
    const char *path = gr_data_case_path(&test, "binary.tar");
    gr_make_tar_write(&made, path);
    holds(path, "b\xe4r=hello;");
    /* two bytes of 128 and more: as signed ones, each counts 256 less */
    unsigned sum = 0;
    sscanf((const char *)made.bytes + header + 148, "%o", &sum);
    char text[8];
    snprintf(text, sizeof text, "%06o", (sum - 512) & 0777777);
    memcpy(made.bytes + header + 148, text, 7);
    gr_make_tar_write(&made, path);
    holds(path, "b\xe4r=hello;");
}

static void only_files_are_members(void **state)
{
    (void)state;
    gr_make_tar_add(&made, '5', "folder/", NULL, 0);
    gr_make_tar_add(&made, 0, "folder/", NULL, 0); /* as before ustar */
    gr_make_tar_add(&made, '1', "hard link", NULL, 0);
    gr_make_tar_add(&made, '2', "symbolic link", NULL, 0);
    gr_make_tar_add(&made, '3', "device", NULL, 0);
    gr_make_tar_add(&made, 'g', "global", "19 comment=nothing\n", 19);
    gr_make_tar_add(&made, 'V', "volume", "x", 1);
    add("a", "A");
    gr_make_tar_add(&made, '7', "b", "B", 1);
    gr_make_tar_end(&made);
    const char *path = gr_data_case_path(&test, "kinds.tar");
    gr_make_tar_write(&made, path);
    holds(path, "a=A;b=B;");
}

static void extended_headers_are_of_the_next_member_only(void **state)
{
    (void)state;
    gr_make_tar_add(&made, 'x', "pax", "13 path=long\n10 size=2\n13 mtime=1.5\n", 36);
    const size_t header = gr_make_tar_add(&made, '0', "short", "AB", 2);
    memset(made.bytes + header + 124, '0', 11); /* the header's own size does not count */
    gr_make_tar_seal(&made, header);
    add("next", "C");
    gr_make_tar_add(&made, 'x', "pax", "13 path=gone\n", 13);
    gr_make_tar_add(&made, '5', "folder/", NULL, 0);
    add("last", "D");
    gr_make_tar_end(&made);
    const char *path = gr_data_case_path(&test, "pax.tar");
    gr_make_tar_write(&made, path);
    holds(path, "long=AB;next=C;last=D;");
}

static void an_archive_within_an_archive_is_read_in_place(void **state)
{
    (void)state;
    struct gr_make_tar outer = {0};
    add("x", "inside");
    gr_make_tar_end(&made);
    gr_make_tar_add(&outer, '0', "before", "b", 1);
    const size_t header = gr_make_tar_add(&outer, '0', "in.tar", made.bytes, made.size);
    gr_make_tar_end(&outer);
    const char *path = gr_data_case_path(&test, "outer.tar");
    gr_make_tar_write(&outer, path);
    const struct gr_tar inner = {path, "outer.tar:in.tar", (int64_t)header + 512,
                                 (int64_t)made.size};
    struct gr_text seen = {0};
    assert_true(gr_tar_scan(&inner, note, &seen, NULL));
    assert_string_equal(seen.data, "x=inside;");
    gr_text_release(&seen);
    gr_make_tar_release(&outer);
}

/* ---- what nobody should write ------------------------------------------------------------ */

static void an_archive_cut_short_anywhere_is_an_error(void **state)
{
    (void)state;
    add("a", "the first");
    gr_make_tar_add(&made, 'x', "pax", "13 path=long\n", 13);
    add("b", "the second");
    const size_t end = made.size;
    for (size_t size = 0; size <= end; size += 128) {
        struct gr_text seen = {0};
        struct gr_error err = {0};
        const char *path = gr_data_case_path(&test, "cut.tar");
        gr_data_case_write(path, made.bytes, size);
        assert_false(scan(path, &seen, &err));
        assert_int_equal(err.status, GR_ERR_DATA);
        assert_non_null(strstr(err.message, "cut.tar: cut short: "));
        gr_text_release(&seen);
    }
    made.size = 700;
    refuses("@: cut short: the archive of 700 bytes ends within what begins at offset 0: fetch it "
            "again");
    made.size = 1024;
    refuses("@: cut short: the archive of 1024 bytes ends within what begins at offset 1024: fetch "
            "it again");
}

static void sizes_beyond_the_archive_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        const char *message;
    } cases[] = {
        {"77777777777", "@: cut short: the archive of 2560 bytes ends within what begins at offset "
                        "1024: fetch it again"},
        {"\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
         "@: damaged: the header at offset 1024 has a size that is no number"},
        {"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
         "@: cut short: the archive of 2560 bytes ends within what begins at offset 1024: fetch it "
         "again"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
         "@: damaged: the header at offset 1024 has a size that is no number"},
        {"0000000001x", "@: damaged: the header at offset 1024 has a size that is no number"},
        {"-0000000001", "@: damaged: the header at offset 1024 has a size that is no number"},
    };
    add("a", "A");
    const size_t header = gr_make_tar_add(&made, '0', "b", NULL, 0);
    gr_make_tar_end(&made);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(made.bytes + header + 124, cases[i].field, 12);
        gr_make_tar_seal(&made, header);
        refuses(cases[i].message);
    }
}

static void damaged_headers_are_named_by_their_offset(void **state)
{
    (void)state;
    add("a", "A");
    const size_t header = gr_make_tar_add(&made, '0', "b", "B", 1);
    gr_make_tar_end(&made);
    made.bytes[header]++;
    refuses("@: damaged: the header at offset 1024 has a wrong checksum");
    made.bytes[0]++;
    refuses("@: not a tar archive");
    memcpy(made.bytes, "\x1f\x8b\x08", 3);
    refuses("@: compressed by gzip: unpack it first, to a .tar");
}

static void damaged_pax_records_are_refused(void **state)
{
    (void)state;
    static const char *const lengths[] = {
        "9999999 path=x\n",           "5 p=x\n",  "0 p=x\n", "path=x\n",
        "99999999999999999999 p=x\n", "6 p=xy\n", "3 \n"};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        gr_make_tar_release(&made);
        gr_make_tar_add(&made, 'x', "pax", lengths[i], strlen(lengths[i]));
        add("a", "A");
        gr_make_tar_end(&made);
        refuses(strcmp(lengths[i], "3 \n") == 0
                    ? "@: damaged: the header at offset 0 has pax records without a key"
                    : "@: damaged: the header at offset 0 has pax records of wrong length");
    }
    gr_make_tar_release(&made);
    gr_make_tar_add(&made, 'x', "pax", "10 size=x\n", 10);
    refuses("@: damaged: the header at offset 0 has a size that is no number");
    gr_make_tar_release(&made);
    gr_make_tar_add(&made, 'x', "pax", "31 size=99999999999999999999999\n", 32);
    made.bytes[512 + 1] = '2';
    refuses("@: damaged: the header at offset 0 has a size that is no number");
    gr_make_tar_release(&made);
    gr_make_tar_add(&made, 'x', "pax", "22 GNU.sparse.major=1\n", 22);
    refuses("@: damaged: the header at offset 0 has a sparse file, which is not understood");
}

/* Any byte may be wrong: an error or other members, but nothing worse. */
static void no_changed_byte_does_harm(void **state)
{
    (void)state;
    gr_make_tar_add(&made, 'L', "././@LongLink", "name of the first", 18);
    add("a", "the first");
    gr_make_tar_add(&made, 'x', "pax", "13 path=long\n10 size=3\n", 23);
    add("b", "B");
    gr_make_tar_end(&made);
    const char *path = gr_data_case_path(&test, "changed.tar");
    for (size_t at = 0; at < made.size - 1024; at++) {
        if (at % 512 >= 160 && at % 512 < 257)
            continue; /* nothing reads there */
        const uint8_t sound = made.bytes[at];
        const size_t header = at / 1024 * 1024;
        for (int value = 0; value < 256; value += 37) {
            struct gr_text seen = {0};
            made.bytes[at] = (uint8_t)value;
            if (at % 1024 < 512)
                gr_make_tar_seal(&made, header);
            gr_make_tar_write(&made, path);
            scan(path, &seen, NULL);
            gr_text_release(&seen);
        }
        made.bytes[at] = sound;
        gr_make_tar_seal(&made, header);
    }
}

static void a_missing_archive_is_named(void **state)
{
    (void)state;
    struct gr_tar tar;
    struct gr_error err = {0};
    assert_false(gr_tar_open(gr_data_case_path(&test, "none.tar"), &tar, &err));
    assert_non_null(strstr(err.message, "/none.tar: cannot open: No such file or directory"));
    err = (struct gr_error){0};
    assert_false(gr_tar_open(test.folder, &tar, &err));
    assert_non_null(strstr(err.message, ": cannot open: Is a directory"));
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(what_the_tar_program_writes_is_read_in_each_of_its_formats),
        SENTENCE(sizes_may_be_binary_and_checksums_signed),
        SENTENCE(only_files_are_members),
        SENTENCE(extended_headers_are_of_the_next_member_only),
        SENTENCE(an_archive_within_an_archive_is_read_in_place),
        SENTENCE(an_archive_cut_short_anywhere_is_an_error),
        SENTENCE(sizes_beyond_the_archive_are_refused),
        SENTENCE(damaged_headers_are_named_by_their_offset),
        SENTENCE(damaged_pax_records_are_refused),
        SENTENCE(no_changed_byte_does_harm),
        SENTENCE(a_missing_archive_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
