/*
 * Files that appear whole or not at all.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* getcwd */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "support/folder.h"

static char path[GR_FOLDER_PATH];

static int set_up(void **state)
{
    if (gr_folder_set_up(state) != 0)
        return -1;
    gr_folder_file("file", path);
    return 0;
}

static void start(struct gr_replace *replace, const char *text)
{
    struct gr_error err = {0};
    assert_true(gr_replace_open(replace, path, &err));
    assert_true(fputs(text, replace->file) >= 0);
}

static void finish(struct gr_replace *replace)
{
    struct gr_error err = {0};
    assert_true(gr_replace_commit(replace, &err));
    gr_replace_release(replace);
}

static void assert_holds(const char *wanted)
{
    char text[100];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(text, wanted);
}

static void the_file_appears_with_commit(void **state)
{
    (void)state;
    struct gr_replace replace;
    start(&replace, "new");
    assert_int_not_equal(access(path, F_OK), 0);
    finish(&replace);
    assert_holds("new");
    assert_int_equal(gr_folder_count(), 1);
}

static void the_old_file_stays_until_commit_and_without_it(void **state)
{
    (void)state;
    struct gr_replace replace;
    start(&replace, "old");
    finish(&replace);
    start(&replace, "abandoned");
    assert_holds("old");
    gr_replace_release(&replace);
    assert_holds("old");
    assert_int_equal(gr_folder_count(), 1);
    start(&replace, "new");
    finish(&replace);
    assert_holds("new");
}

static void two_writers_do_not_meet(void **state)
{
    (void)state;
    struct gr_replace first, second;
    start(&first, "first, and long");
    start(&second, "second");
    finish(&second);
    assert_holds("second");
    finish(&first);
    assert_holds("first, and long");
    assert_int_equal(gr_folder_count(), 1);
}

static void a_file_named_without_folder_is_in_the_current_one(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_replace replace;
    char *before = getcwd(NULL, 0);
    assert_non_null(before);
    assert_int_equal(chdir(gr_folder()), 0);
    const bool opened = gr_replace_open(&replace, "file", &err);
    const bool done =
        opened && fputs("here", replace.file) >= 0 && gr_replace_commit(&replace, &err);
    gr_replace_release(&replace);
    assert_int_equal(chdir(before), 0);
    free(before);
    assert_true(done);
    assert_holds("here");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_file_appears_with_commit),
        TEST(the_old_file_stays_until_commit_and_without_it),
        TEST(two_writers_do_not_meet),
        TEST(a_file_named_without_folder_is_in_the_current_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
