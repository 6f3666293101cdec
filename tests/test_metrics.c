/*
 * The metrics file: exact lines, appending after a crash, and errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/folder.h"
#include "train/metrics.h"

static char path[GR_FOLDER_PATH];

static int set_up(void **state)
{
    if (gr_folder_set_up(state) != 0)
        return -1;
    gr_folder_file("metrics.jsonl", path);
    return 0;
}

static void put(const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_holds(const char *wanted)
{
    static char text[20000];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(text, wanted);
}

static struct gr_metrics *open_metrics(bool append)
{
    struct gr_error err = {0};
    struct gr_metrics *metrics = gr_metrics_open(path, append ? -1 : 0, &err);
    assert_non_null(metrics);
    return metrics;
}

/* Writes {"stage":"val","epoch":EPOCH}. */
static void write_epoch(struct gr_metrics *metrics, double epoch)
{
    struct gr_error err = {0};
    assert_true(gr_metrics_write(metrics, "val", &(struct gr_metric){"epoch", epoch}, 1, &err));
}

static void close_metrics(struct gr_metrics *metrics)
{
    struct gr_error err = {0};
    assert_true(gr_metrics_close(metrics, &err));
}

static void a_line_holds_the_stage_and_the_numbers_in_order(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_metrics *metrics = open_metrics(false);
    const struct gr_metric pairs[] = {
        {"step", 1e15},
        {"loss", 0.1},
        {"rate", 1e-7},
        {"third", -1.0 / 3},
        {"zero", 0},
        {"nan", (double)NAN},
        {"inf", -(double)INFINITY},
        {"huge", 1e300},
        {"a \"name\"", 2},
    };
    assert_true(gr_metrics_write(metrics, "train", pairs, sizeof pairs / sizeof *pairs, &err));
    close_metrics(metrics);
    assert_holds("{\"stage\":\"train\",\"step\":1000000000000000,\"loss\":0.1,\"rate\":1e-7,"
                 "\"third\":-0.333333333,\"zero\":0,\"nan\":null,\"inf\":null,\"huge\":1e300,"
                 "\"a \\\"name\\\"\":2}\n");
}

static void a_line_can_be_read_before_the_file_is_closed(void **state)
{
    (void)state;
    struct gr_metrics *metrics = open_metrics(false);
    write_epoch(metrics, 1);
    assert_holds("{\"stage\":\"val\",\"epoch\":1}\n");
    write_epoch(metrics, 2);
    assert_holds("{\"stage\":\"val\",\"epoch\":1}\n{\"stage\":\"val\",\"epoch\":2}\n");
    close_metrics(metrics);
}

static void a_new_record_replaces_the_old_unless_appended(void **state)
{
    (void)state;
    put("old\n");
    struct gr_metrics *metrics = open_metrics(true);
    write_epoch(metrics, 3);
    close_metrics(metrics);
    assert_holds("old\n{\"stage\":\"val\",\"epoch\":3}\n");
    metrics = open_metrics(false);
    write_epoch(metrics, 4);
    close_metrics(metrics);
    assert_holds("{\"stage\":\"val\",\"epoch\":4}\n");
}

static void appending_drops_a_line_cut_short(void **state)
{
    (void)state;
    static char before[12000], wanted[12100];
    static const char *const starts[] = {"", "{\"epoch\":1}\n", "a\nb\n"};
    static const size_t rests[] = {0, 1, 5, 4094, 4095, 4096, 4097, 9000};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        for (size_t k = 0; k < sizeof rests / sizeof *rests; k++) {
            strcpy(before, starts[i]);
            const size_t length = strlen(before);
            memset(before + length, 'x', rests[k]);
            before[length + rests[k]] = '\0';
            put(before);
            struct gr_metrics *metrics = open_metrics(true);
            write_epoch(metrics, 7);
            close_metrics(metrics);
            snprintf(wanted, sizeof wanted, "%s{\"stage\":\"val\",\"epoch\":7}\n", starts[i]);
            assert_holds(wanted);
        }
}

static void appending_to_nothing_begins_the_file(void **state)
{
    (void)state;
    struct gr_metrics *metrics = open_metrics(true);
    write_epoch(metrics, 1);
    close_metrics(metrics);
    assert_holds("{\"stage\":\"val\",\"epoch\":1}\n");
}

static void a_file_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    struct gr_error err = {0};
    char wanted[1200], name[GR_FOLDER_PATH];
    gr_folder_file("absent/metrics.jsonl", name);
    assert_null(gr_metrics_open(name, -1, &err));
    snprintf(wanted, sizeof wanted, "%s: cannot open for writing: No such file or directory", name);
    assert_string_equal(err.message, wanted);
    assert_int_equal(err.status, GR_ERR_RUNTIME);

    err = (struct gr_error){0};
    struct gr_metrics *full = gr_metrics_open("/dev/full", 0, &err);
    assert_non_null(full);
    assert_false(gr_metrics_write(full, "val", NULL, 0, &err));
    assert_string_equal(err.message, "/dev/full: cannot write: No space left on device");
    gr_metrics_close(full, NULL);
    assert_true(gr_metrics_close(NULL, &err));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_holds_the_stage_and_the_numbers_in_order),
        TEST(a_line_can_be_read_before_the_file_is_closed),
        TEST(a_new_record_replaces_the_old_unless_appended),
        TEST(appending_drops_a_line_cut_short),
        TEST(appending_to_nothing_begins_the_file),
        TEST(a_file_that_cannot_be_written_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
