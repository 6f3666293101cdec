/*
 * What an evaluation writes besides its figures: a line for each image, how each class fared, the
 * confusion matrix as counts and drawn. All of it is held against the lines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/api_case.h"
#include "support/folder.h"
#include "support/tool.h"

enum { COUNT = 23, CLASSES = 4 };

static const char *const names[] = {"north", "east", "south", "west"};

struct line {
    int index, label, predicted, rank, top[CLASSES];
    double probability, loss;
};

static void read_lines(const char *path, struct line lines[COUNT])
{
    char *text = gr_tool_read(path), *at = strchr(text, '\n');
    static const char header[] = "file,label,predicted,probability,loss,rank,top5\n";
    assert_memory_equal(text, header, strlen(header));
    for (int i = 0; i < COUNT; i++) {
        struct line *l = &lines[i];
        assert_non_null(at);
        assert_int_equal(sscanf(at + 1, "\"synthetic[%d]\",%d,%d,%lf,%lf,%d,%d %d %d %d\n",
                                &l->index, &l->label, &l->predicted, &l->probability, &l->loss,
                                &l->rank, &l->top[0], &l->top[1], &l->top[2], &l->top[3]),
                         10);
        at = strchr(at + 1, '\n');
    }
    assert_string_equal(at, "\n");
    free(text);
}

/* An untrained model errs a lot. */
static void evaluate(struct gr_eval_options options, struct gr_eval_result *result)
{
    struct gr_error err = {0};
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    gr_api_ok(gr_evaluate(model, &options, result, &err), &err);
    gr_model_free(model);
}

static void a_line_tells_the_ranks_of_the_classes(void **state)
{
    (void)state;
    struct line lines[COUNT];
    struct gr_eval_result result;
    const char *csv = gr_api_path("lines.csv");
    double loss = 0, right = 0;
    evaluate((struct gr_eval_options){.csv = csv}, &result);
    read_lines(csv, lines);
    for (int i = 0; i < COUNT; i++) {
        const struct line *l = &lines[i];
        int seen = 0;
        for (int k = 0; k < CLASSES; k++)
            seen |= 1 << l->top[k];
        assert_int_equal(seen, 15);
        assert_int_equal(l->top[0], l->predicted);
        assert_int_equal(l->top[l->rank - 1], l->label);
        loss += l->loss / COUNT;
        right += l->rank == 1;
    }
    assert_true(fabs(loss - result.loss) < 1e-5);
    assert_true(fabs(right / COUNT - result.metrics[0].value) < 1e-6);
}

static void count(const struct line lines[COUNT], int counts[CLASSES][CLASSES])
{
    memset(counts, 0, CLASSES * sizeof *counts);
    for (int i = 0; i < COUNT; i++)
        counts[lines[i].label][lines[i].predicted]++;
}

static void the_confusion_matrix_counts_the_lines(void **state)
{
    (void)state;
    struct line lines[COUNT];
    struct gr_eval_result result;
    int counts[CLASSES][CLASSES];
    const char *csv = gr_api_path("lines.csv"), *matrix = gr_api_path("matrix.csv");
    evaluate((struct gr_eval_options){.csv = csv, .confusion = &matrix, .n_confusion = 1}, &result);
    read_lines(csv, lines);
    count(lines, counts);
    char wanted[1000] = "label,\"north\",\"east\",\"south\",\"west\"\n";
    for (int label = 0; label < CLASSES; label++)
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "\"%s\",%d,%d,%d,%d\n",
                 names[label], counts[label][0], counts[label][1], counts[label][2],
                 counts[label][3]);
    char *text = gr_tool_read(matrix);
    assert_string_equal(text, wanted);
    free(text);
}

static void classes_are_told_with_what_they_are_mistaken_for(void **state)
{
    (void)state;
    struct line lines[COUNT];
    struct gr_eval_result result;
    struct gr_class_result classes[CLASSES];
    int counts[CLASSES][CLASSES];
    const char *csv = gr_api_path("lines.csv");
    evaluate((struct gr_eval_options){.csv = csv, .per_class = classes}, &result);
    read_lines(csv, lines);
    count(lines, counts);
    for (int label = 0; label < CLASSES; label++) {
        int images = 0, most = 0;
        for (int c = 0; c < CLASSES; c++) {
            images += counts[label][c];
            most = c != label && counts[label][c] > most ? counts[label][c] : most;
        }
        assert_string_equal(classes[label].name, names[label]);
        assert_int_equal(classes[label].images, images);
        assert_int_equal(classes[label].right, counts[label][label]);
        assert_int_equal(classes[label].mistaken, most);
        if (most)
            assert_int_equal(counts[label][classes[label].mistaken_for], most);
        else
            assert_int_equal(classes[label].mistaken_for, -1);
    }
}

static int occurrences(const char *text, const char *part)
{
    int found = 0;
    while ((text = strstr(text, part))) {
        found++;
        text++;
    }
    return found;
}

static void the_drawing_has_a_cell_for_each_count_that_is_not_zero(void **state)
{
    (void)state;
    struct line lines[COUNT];
    struct gr_eval_result result;
    int counts[CLASSES][CLASSES], cells = 0;
    const char *csv = gr_api_path("lines.csv"), *picture = gr_api_path("matrix.svg");
    evaluate((struct gr_eval_options){.csv = csv, .confusion = &picture, .n_confusion = 1},
             &result);
    read_lines(csv, lines);
    count(lines, counts);
    char *text = gr_tool_read(picture);
    for (int label = 0; label < CLASSES; label++)
        for (int c = 0; c < CLASSES; c++) {
            char cell[64];
            snprintf(cell, sizeof cell, "M%d %dh1v1h-1z", c, label);
            assert_int_equal(occurrences(text, cell), counts[label][c] > 0);
            cells += counts[label][c] > 0;
        }
    assert_int_equal(occurrences(text, "h1v1h-1z"), cells);
    assert_int_equal(occurrences(text, ">south</text>"), 2);
    assert_int_equal(occurrences(text, "tiny on val: "), 1);
    assert_int_equal(occurrences(text, "</svg>\n"), 1);
    free(text);
}

static void a_picture_of_another_kind_is_refused_before_the_work(void **state)
{
    (void)state;
    const char *paths[] = {gr_api_path("matrix.csv"), "matrix.gif"};
    struct gr_error err = {0};
    struct gr_eval_result result;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    const struct gr_eval_options options = {.confusion = paths, .n_confusion = 2};
    gr_api_refused(gr_evaluate(model, &options, &result, &err), &err, GR_ERR_USAGE,
                   "confusion matrix: 'matrix.gif' ends neither in .csv, for counts, nor in .svg "
                   "or .png, for a picture");
    assert_int_equal(gr_folder_count(), 1); /* the model */
    gr_model_free(model);
}

static bool stop(void *user, const struct gr_progress *progress)
{
    (void)user;
    return progress->step < 2;
}

static void an_evaluation_that_is_stopped_leaves_no_files(void **state)
{
    (void)state;
    const char *matrix = gr_api_path("matrix.csv");
    struct gr_eval_result result;
    evaluate((struct gr_eval_options){.csv = gr_api_path("lines.csv"),
                                      .confusion = &matrix,
                                      .n_confusion = 1,
                                      .progress = stop},
             &result);
    assert_int_equal(result.images, 16);
    assert_int_equal(gr_folder_count(), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_tells_the_ranks_of_the_classes),
        TEST(the_confusion_matrix_counts_the_lines),
        TEST(classes_are_told_with_what_they_are_mistaken_for),
        TEST(the_drawing_has_a_cell_for_each_count_that_is_not_zero),
        TEST(a_picture_of_another_kind_is_refused_before_the_work),
        TEST(an_evaluation_that_is_stopped_leaves_no_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
