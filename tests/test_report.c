/*
 * Reports of training runs: what `train` and gr_report_write leave is one well-formed page that
 * loads nothing, says what the records say, and shows names as they are. Pages are read by a parser
 * of tags that knows nothing of the writer.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/api_case.h"
#include "support/folder.h"
#include "support/tool.h"

enum { EPOCHS = 3, STEPS = 7 /* an epoch of gr_api_tiny */ };

/* ---- reading pages ----------------------------------------------------------------------- */

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is_void(const char *tag)
{
    static const char *const names[] = {"meta", "img", "br", "hr", "input", "link"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], tag) == 0)
            return true;
    return false;
}

/* Fails unless an "&" begins a reference to a character. */
static void check_reference(const char *at)
{
    const char *end = at + 1;
    while (isalnum((unsigned char)*end) || *end == '#')
        end++;
    if (end == at + 1 || *end != ';')
        fail_msg("a bare & in: %.60s", at);
}

/* An attribute: NAME="VALUE", and nothing that would be loaded. Returns what follows. */
static const char *check_attribute(const char *at)
{
    char name[64] = "";
    const size_t length = strcspn(at, "= \t\n\"'<>/");
    assert_true(length > 0 && length < sizeof name);
    memcpy(name, at, length);
    if (at[length] != '=' || at[length + 1] != '"')
        fail_msg("an attribute without a quoted value: %.60s", at);
    const char *value = at + length + 2, *end = strchr(value, '"');
    assert_non_null(end);
    for (const char *c = value; c < end; c++) {
        assert_true(*c != '<');
        if (*c == '&')
            check_reference(c);
    }
    if (strcmp(name, "src") == 0 && !starts(value, "data:"))
        fail_msg("something is loaded: %.60s", at);
    if (strcmp(name, "href") == 0 || strcmp(name, "xlink:href") == 0 || starts(name, "on"))
        fail_msg("a link or a handler: %.60s", at);
    for (const char *url = value; (url = memmem(url, (size_t)(end - url), "url(", 4)); url += 4)
        assert_true(url[4] == '#');
    return end + 1;
}

/* Takes a tag, which begins at `at`, and returns what follows it. */
static const char *read_tag(const char *at, char tag[32], bool *closed)
{
    const size_t length = strcspn(at + 1, " \t\n/>");
    assert_true(length > 0 && length < 32);
    memcpy(tag, at + 1, length);
    tag[length] = '\0';
    at += 1 + length;
    for (;;) {
        at += strspn(at, " \t\n");
        *closed = starts(at, "/>");
        if (*at == '>' || *closed)
            return at + (*closed ? 2 : 1);
        assert_true(*at);
        at = check_attribute(at);
    }
}

/* The page is well-formed, every tag closed where it should be, and loads nothing. */
static void check_page(const char *page)
{
    char stack[64][32];
    int depth = 0, tags = 0;
    assert_true(starts(page, "<!DOCTYPE html>\n"));
    assert_null(strcasestr(page, "http:"));
    assert_null(strcasestr(page, "https:"));
    assert_null(strcasestr(page, "@import"));
    assert_null(strstr(page, "//cdn"));
    for (const char *at = page + strlen("<!DOCTYPE html>\n"); *at;) {
        if (*at == '&')
            check_reference(at);
        if (*at != '<') {
            at++;
            continue;
        }
        if (at[1] == '/') {
            const size_t length = strcspn(at + 2, ">");
            if (!depth || strlen(stack[depth - 1]) != length ||
                strncmp(stack[depth - 1], at + 2, length) != 0)
                fail_msg("</%.*s> closes <%s>", (int)length, at + 2, depth ? stack[depth - 1] : "");
            depth--;
            at += length + 3;
            continue;
        }
        bool closed;
        assert_true(depth < 64);
        at = read_tag(at, stack[depth], &closed);
        tags++;
        const char *tag = stack[depth];
        if (closed || is_void(tag))
            continue;
        if (strcmp(tag, "script") == 0 || strcmp(tag, "style") == 0) { /* text up to their end */
            char end[40];
            snprintf(end, sizeof end, "</%s>", tag);
            at = strstr(at, end);
            assert_non_null(at);
        }
        depth++;
    }
    assert_int_equal(depth, 0);
    assert_true(tags > 100);
}

/* The data of a chart; the caller's. */
static json_t *chart_data(const char *page, const char *id)
{
    char figure[64];
    snprintf(figure, sizeof figure, "id=\"%s\"", id);
    const char *at = strstr(page, figure);
    if (!at)
        fail_msg("there is no chart '%s'", id);
    at = strstr(at, "class=\"data\">");
    assert_non_null(at);
    at += strlen("class=\"data\">");
    const char *end = strstr(at, "</script>");
    json_error_t error;
    json_t *data = json_loadb(at, (size_t)(end - at), 0, &error);
    if (!data)
        fail_msg("%s: %s", id, error.text);
    return data;
}

/* A row of numbers of a series, borrowed; NULL: there is no such series. */
static const json_t *row(const json_t *chart, const char *series, const char *key)
{
    const json_t *all = json_object_get(chart, "series");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *one = json_array_get(all, i);
        if (strcmp(json_string_value(json_object_get(one, "name")), series) == 0)
            return json_object_get(one, key);
    }
    return NULL;
}

static char *read_page(const char *name)
{
    char *page = gr_tool_read(gr_api_path(name));
    if (!*page)
        fail_msg("%s: is not there", name);
    check_page(page);
    return page;
}

/* ---- runs -------------------------------------------------------------------------------- */

static void train(const char *text, const char *out, const char *resume, int64_t epochs)
{
    struct gr_error err = {0};
    struct gr_train_result result;
    struct gr_model *model = gr_api_load("model", text, 1, NULL);
    const struct gr_train_options options = {
        .out = out, .resume = resume, .epochs = epochs, .command = "graph-runner train <me>"};
    gr_api_ok(gr_train(model, &options, &result, &err), &err);
    gr_model_free(model);
}

static bool report(const char *a, const char *b, const char *path, struct gr_error *err)
{
    const char *const folders[] = {a, b};
    return gr_report_write(gr_api_context(), folders, b ? 2 : 1, path, err);
}

/* A run folder of records alone, with so many steps and epochs. */
static void save_run(const char *name, int steps, int epochs)
{
    char path[64];
    FILE *file;
    assert_int_equal(mkdir(gr_api_path(name), 0700), 0);
    snprintf(path, sizeof path, "%s/steps.jsonl", name);
    file = fopen(gr_api_path(path), "w");
    assert_non_null(file);
    for (int s = 1; s <= steps; s++)
        fprintf(file,
                "{\"stage\":\"step\",\"step\":%d,\"loss\":%g,\"learning_rate\":0.01,\"images\":8,"
                "\"seconds\":0.25,\"wait_seconds\":0.025}\n",
                s, s == steps / 2 ? 55.5 : 2 + sin(s));
    fclose(file);
    snprintf(path, sizeof path, "%s/metrics.jsonl", name);
    file = fopen(gr_api_path(path), "w");
    assert_non_null(file);
    for (int e = 1; e <= epochs; e++)
        for (int val = 0; val < 2; val++)
            fprintf(file,
                    "{\"stage\":\"%s\",\"epoch\":%d,\"step\":%d,\"loss\":%g,\"top1\":%g,"
                    "\"learning_rate\":0.01,\"images_per_second\":32,\"seconds\":2}\n",
                    val ? "val" : "train", e, e * (steps / (epochs ? epochs : 1)), 1.5 / e,
                    1 - 0.5 / e);
    fclose(file);
}

static void append(const char *name, const char *text)
{
    FILE *file = fopen(gr_api_path(name), "a");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* ---- what train leaves ------------------------------------------------------------------- */

/* Each number of a series is that of the records' lines, in their order, under a key. */
static void expect_same(const json_t *numbers, const char *file, const char *stage, const char *key,
                        bool error)
{
    char line[4096];
    size_t at = 0;
    FILE *lines = fopen(gr_api_path(file), "r");
    assert_non_null(lines);
    while (fgets(line, sizeof line, lines)) {
        json_t *object = gr_tool_parse(line);
        if (strcmp(json_string_value(json_object_get(object, "stage")), stage) == 0) {
            const double wanted = gr_tool_number(object, key);
            const double got = json_number_value(json_array_get(numbers, at++));
            if (fabs(got - (error ? 1 - wanted : wanted)) > 1e-8 * fabs(wanted) + 1e-12)
                fail_msg("%s %s %zu: %.9g is shown as %.9g", stage, key, at, wanted, got);
        }
        json_decref(object);
    }
    fclose(lines);
    assert_true(at > 0);
    assert_int_equal(json_array_size(numbers), at);
}

static void expect_charts(const char *page)
{
    json_t *loss = chart_data(page, "loss"), *error = chart_data(page, "error");
    json_t *rate = chart_data(page, "rate"), *wait = chart_data(page, "wait");
    expect_same(row(loss, "training, each step", "y"), "run/steps.jsonl", "step", "loss", false);
    expect_same(row(loss, "training, each step", "x"), "run/steps.jsonl", "step", "step", false);
    expect_same(row(loss, "validation", "y"), "run/metrics.jsonl", "val", "loss", false);
    expect_same(row(loss, "validation", "x"), "run/metrics.jsonl", "val", "step", false);
    expect_same(row(error, "top1, val.", "y"), "run/metrics.jsonl", "val", "top1", true);
    expect_same(row(error, "top1, training", "y"), "run/metrics.jsonl", "train", "top1", true);
    expect_same(row(rate, "learning rate", "y"), "run/steps.jsonl", "step", "learning_rate", false);
    assert_int_equal(json_array_size(row(wait, "waiting, smoothed", "y")), EPOCHS * STEPS);
    json_decref(loss);
    json_decref(error);
    json_decref(rate);
    json_decref(wait);
}

/* Figures in the tables carry all their digits. */
static void expect_tables(const char *page)
{
    char line[4096], wanted[64];
    FILE *lines = fopen(gr_api_path("run/metrics.jsonl"), "r");
    assert_non_null(lines);
    while (fgets(line, sizeof line, lines)) {
        json_t *object = gr_tool_parse(line);
        snprintf(wanted, sizeof wanted, "<td class=\"n\" title=\"%.9g\">",
                 gr_tool_number(object, "loss"));
        gr_tool_contains(page, wanted);
        json_decref(object);
    }
    fclose(lines);
}

/* The last number of each label's line on the diagonal, summed, is the best accuracy. */
static void expect_confusion(double best)
{
    char *csv = gr_tool_read(gr_api_path("run/confusion.csv"));
    int right = 0, all = 0, label = 0;
    for (const char *at = strchr(csv, '\n'); at && at[1]; at = strchr(at + 1, '\n'), label++) {
        int counts[4];
        const char *numbers = strchr(at + 1, ',');
        assert_int_equal(
            sscanf(numbers, ",%d,%d,%d,%d", &counts[0], &counts[1], &counts[2], &counts[3]), 4);
        right += counts[label];
        for (int c = 0; c < 4; c++)
            all += counts[c];
    }
    assert_int_equal(label, 4);
    assert_int_equal(all, 23);
    assert_true(fabs(right / 23.0 - best) < 1e-6);
    free(csv);
}

/* Of a page, up to its footer, what is no number; pictures and empty values go as well. */
static void drop_numbers(char *page)
{
    char *to = page;
    *strstr(page, "<footer>") = '\0';
    for (const char *from = page; *from; from++)
        if (!strchr("0123456789.-+e", *from))
            *to++ = *from;
    *to = '\0';
}

static void training_writes_a_page_that_says_what_its_records_say(void **state)
{
    (void)state;
    struct gr_error err = {0};
    train(gr_api_tiny, gr_api_path("run"), NULL, EPOCHS);
    char *page = read_page("run/report.html");
    expect_charts(page);
    expect_tables(page);
    double best = 0;
    json_t *error = chart_data(page, "error");
    const json_t *errors = row(error, "top1, val.", "y");
    for (size_t i = 0; i < json_array_size(errors); i++)
        best = fmax(best, 1 - json_number_value(json_array_get(errors, i)));
    json_decref(error);
    expect_confusion(best);
    static const char *const parts[] = {"<h1>tiny",
                                        "finished",
                                        "graph-runner train &#60;me&#62;",
                                        ">conv1<",
                                        ">conv 3×3<",
                                        ">8×12×12<",
                                        ">softmax_cross_entropy<",
                                        "src=\"data:image/png;base64,iVBOR",
                                        "taken for",
                                        "threads",
                                        "<pre>format: 1"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        gr_tool_contains(page, parts[i]);
    gr_tool_lacks(page, "backward");

    /* Made again from the folder, it is the same, up to rounding and the time of writing. */
    gr_api_ok(report(gr_api_path("run"), NULL, gr_api_path("again.html"), &err), &err);
    char *again = read_page("again.html");
    expect_charts(again);
    expect_tables(again);
    drop_numbers(page);
    drop_numbers(again);
    assert_string_equal(page, again);
    free(page);
    free(again);
}

static void a_resumed_run_goes_on_with_its_report(void **state)
{
    (void)state;
    const char *run = gr_api_path("run");
    train(gr_api_tiny, run, NULL, 2);
    append("run/steps.jsonl", "{\"stage\":\"step\",\"step\":1"); /* as a crash leaves it */
    append("run/run.jsonl", "{\"event");
    train(gr_api_tiny, run, run, EPOCHS);
    char *page = read_page("run/report.html");
    expect_charts(page);
    gr_tool_contains(page, "<dt>sessions</dt>");
    gr_tool_contains(page, "from step 14 to 21: finished");
    gr_tool_lacks(gr_api_log(), "left out");
    gr_tool_lacks(gr_api_log(), "begins anew");
    free(page);
}

static void a_report_that_cannot_be_written_does_not_stop_training(void **state)
{
    (void)state;
    assert_int_equal(mkdir(gr_api_path("run"), 0700), 0);
    assert_int_equal(mkdir(gr_api_path("run/report.html"), 0700), 0);
    train(gr_api_tiny, gr_api_path("run"), NULL, EPOCHS);
    gr_tool_contains(gr_api_log(), "the report is not written, and training goes on: ");
    gr_tool_contains(gr_api_log(), "report.html");
    assert_int_equal(access(gr_api_path("run/best.safetensors"), R_OK), 0);
}

/* ---- names ------------------------------------------------------------------------------- */

#define EVIL "</script><script>alert(1)</script>"

static void names_are_shown_and_never_obeyed(void **state)
{
    (void)state;
    struct gr_error err = {0};
    char *text = strdup(gr_api_tiny), *names = strstr(text, "class_names: [north, east, south");
    char changed[4096];
    const char *after = strchr(names, '\n');
    *names = '\0';
    snprintf(changed, sizeof changed,
             "%sclass_names: ['" EVIL "', '<img src=x onerror=alert(2)>', \"a \\\"b\\\" & 'c'\", "
             "'{{7*7}}']%s",
             text, after);
    train(changed, gr_api_path("a<i>b"), NULL, EPOCHS);
    gr_api_ok(report(gr_api_path("a<i>b"), NULL, gr_api_path("again.html"), &err), &err);
    for (int again = 0; again < 2; again++) {
        char *page = read_page(again ? "again.html" : "a<i>b/report.html");
        gr_tool_lacks(page, "<script>alert");
        gr_tool_lacks(page, "<img src=x");
        gr_tool_lacks(page, "a<i>b");
        gr_tool_contains(page, "a&#60;i&#62;b");
        gr_tool_contains(page, "&#60;/script&#62;&#60;scri"); /* a name in the matrix is cut */
        gr_tool_contains(page, "a &#34;b&#34; &#38; &#39;c&#39;");
        free(page);
    }
    free(text);
}

/* Of records that others wrote, names in scripts as well. */
static void records_of_others_are_not_obeyed(void **state)
{
    (void)state;
    struct gr_error err = {0};
    save_run("a", 20, 2);
    save_run("b<", 20, 2);
    append("a/metrics.jsonl",
           "{\"stage\":\"val\",\"epoch\":3,\"step\":30,\"loss\":1e308,\"<b>" EVIL "\":0.5}\n");
    append("a/run.jsonl", "{\"event\":\"start\",\"model\":\"" EVIL "\",\"command\":\"\\u0000\"}\n"
                          "{\"event\":\"start\",\"model\":\"" EVIL "\",\"command\":\"" EVIL
                          "\",\"seed\":-5,\"time\":9223372036854775807}\n"
                          "{\"event\":\"end\",\"outcome\":\"<u>\",\"message\":\"" EVIL "\"}\n");
    append("a/confusion.csv", "label,\"" EVIL "\",\"x\"\"y\ny\"\n\"" EVIL "\",3,1\nb,0,4\n");
    gr_api_ok(report(gr_api_path("a"), NULL, gr_api_path("one.html"), &err), &err);
    gr_api_ok(report(gr_api_path("a"), gr_api_path("b<"), gr_api_path("two.html"), &err), &err);
    for (int two = 0; two < 2; two++) {
        char *page = read_page(two ? "two.html" : "one.html");
        gr_tool_lacks(page, "<script>alert");
        gr_tool_lacks(page, "<u>");
        json_t *error = chart_data(page, "error");
        json_decref(error);
        free(page);
    }
}

/* ---- damaged and missing records --------------------------------------------------------- */

static void damaged_lines_are_left_out_with_a_warning(void **state)
{
    (void)state;
    struct gr_error err = {0};
    save_run("run", 40, 4);
    append("run/metrics.jsonl", "{\"stage\":\"train\",\"epoch\":5,\"st");
    append("run/steps.jsonl", "\n[1]\n{\"step\":\"x\"}\n{\"step\":41,\"loss\":null}\n");
    append("run/confusion.csv", "label,a,b\na,1\n");
    gr_api_ok(report(gr_api_path("run"), NULL, gr_api_path("page.html"), &err), &err);
    gr_tool_contains(gr_api_log(),
                     "metrics.jsonl:9: the line is damaged or cut short and is left out\n");
    gr_tool_contains(gr_api_log(),
                     "steps.jsonl: 3 lines are damaged and are left out, the first is line 41\n");
    gr_tool_contains(gr_api_log(), "confusion.csv: not a confusion matrix");
    char *page = read_page("page.html");
    json_t *loss = chart_data(page, "loss");
    assert_int_equal(json_array_size(row(loss, "validation", "y")), 4);
    assert_int_equal(json_array_size(row(loss, "training, each step", "y")), 41);
    assert_true(json_is_null(json_array_get(row(loss, "training, each step", "y"), 40)));
    json_decref(loss);
    gr_tool_lacks(page, "What is taken for what");
    free(page);
}

static void a_folder_without_a_run_is_an_error(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *page = gr_api_path("page.html"), *run = gr_api_path("run");
    gr_api_refused(report(run, NULL, page, &err), &err, GR_ERR_DATA, "%s: there is no such folder",
                   run);
    assert_int_equal(mkdir(run, 0700), 0);
    gr_api_refused(report(run, NULL, page, &err), &err, GR_ERR_DATA,
                   "%s: there is no metrics.jsonl in it: not the folder of a run, as 'train --out' "
                   "makes it",
                   run);
    append("run/metrics.jsonl", "");
    gr_api_refused(report(run, NULL, page, &err), &err, GR_ERR_DATA,
                   "%s/metrics.jsonl: there are no figures in it yet", run);
    assert_int_equal(access(page, F_OK), -1);
    append("run/metrics.jsonl", "{\"stage\":\"val\",\"epoch\":1,\"step\":5,\"loss\":2}\n");
    gr_api_ok(report(run, NULL, page, &err), &err);
    free(read_page("page.html"));
    const char *nowhere = gr_api_path("no/page.html");
    assert_false(report(run, NULL, nowhere, &err));
    assert_int_equal(err.status, GR_ERR_RUNTIME);
    gr_tool_contains(err.message, nowhere);
}

/* ---- size -------------------------------------------------------------------------------- */

static void a_long_run_gives_a_page_of_bounded_size(void **state)
{
    enum { MANY = 100000 };
    (void)state;
    struct gr_error err = {0};
    save_run("short", 2000, 20);
    save_run("long", MANY, 2000);
    gr_api_ok(report(gr_api_path("short"), NULL, gr_api_path("short.html"), &err), &err);
    gr_api_ok(report(gr_api_path("long"), NULL, gr_api_path("long.html"), &err), &err);
    char *small = read_page("short.html"), *large = read_page("long.html");
    assert_true(strlen(large) < 700000);
    assert_true(strlen(large) < 3 * strlen(small));
    json_t *loss = chart_data(large, "loss");
    const json_t *y = row(loss, "training, mean and range", "y");
    const json_t *high = row(loss, "training, mean and range", "high");
    assert_in_range(json_array_size(y), 1000, 2048);
    assert_in_range(json_array_size(row(loss, "validation", "y")), 500, 1000);
    double most = 0;
    for (size_t i = 0; i < json_array_size(high); i++)
        most = fmax(most, json_number_value(json_array_get(high, i)));
    assert_true(most == 55.5); /* the one step that stands out */
    gr_tool_contains(large, "Thinned: 100,000 steps are drawn as ");
    gr_tool_contains(large, "of 2000 epochs, every 2. is drawn");
    gr_tool_lacks(small, "Thinned");
    json_decref(loss);
    free(small);
    free(large);
}

/* ---- many classes, several runs ---------------------------------------------------------- */

static void many_classes_are_scaled_down(void **state)
{
    enum { CLASSES = 1000 };
    (void)state;
    struct gr_error err = {0};
    save_run("run", 10, 1);
    FILE *file = fopen(gr_api_path("run/confusion.csv"), "w");
    fputs("label", file);
    for (int c = 0; c < CLASSES; c++)
        fprintf(file, ",\"class %d\"", c);
    for (int label = 0; label < CLASSES; label++) {
        fprintf(file, "\n\"class %d\"", label);
        for (int c = 0; c < CLASSES; c++)
            fprintf(file, ",%d", c == label ? 45 : c == (label + 500) % CLASSES ? 5 : 0);
    }
    fputs("\n", file);
    fclose(file);
    gr_api_ok(report(gr_api_path("run"), NULL, gr_api_path("page.html"), &err), &err);
    char *page = read_page("page.html");
    gr_tool_contains(page, "a cell is 10 × 10 of the 1000 classes");
    gr_tool_contains(page, "the darkest are 10 % of a row");
    gr_tool_contains(page, "<td>class 0</td><td>class 500</td><td class=\"n\">5</td>"
                           "<td class=\"n\">10.0 %</td>");
    gr_tool_contains(page, "Classes that fare worst");
    assert_true(strlen(page) < 150000);
    free(page);
}

static void runs_are_laid_over_each_other(void **state)
{
    (void)state;
    struct gr_error err = {0};
    save_run("first", 30, 3);
    save_run("second", 5000, 2);
    gr_api_ok(report(gr_api_path("first"), gr_api_path("second"), gr_api_path("page.html"), &err),
              &err);
    char *page = read_page("page.html");
    gr_tool_contains(page, "2 runs side by side");
    json_t *loss = chart_data(page, "loss"), *error = chart_data(page, "error");
    assert_int_equal(json_array_size(json_object_get(loss, "series")), 4);
    assert_int_equal(json_array_size(row(loss, "first, validation", "y")), 3);
    assert_int_equal(json_array_size(row(loss, "second, validation", "y")), 2);
    assert_int_equal(json_array_size(row(error, "first, top1, val.", "y")), 3);
    const json_t *first = json_array_get(json_object_get(loss, "series"), 0);
    const json_t *last = json_array_get(json_object_get(loss, "series"), 3);
    assert_int_equal(json_integer_value(json_object_get(first, "colour")), 0);
    assert_int_equal(json_integer_value(json_object_get(last, "colour")), 1);
    json_decref(loss);
    json_decref(error);
    free(page);
}

static void a_report_is_of_one_to_sixteen_runs(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *folders[17];
    for (int i = 0; i < 17; i++)
        folders[i] = gr_api_path("run");
    gr_api_refused(gr_report_write(gr_api_context(), folders, 17, gr_api_path("p"), &err), &err,
                   GR_ERR_USAGE, "a report is of 1 to 16 runs, not of 17");
    save_run("run", 2000, 3);
    gr_api_ok(gr_report_write(gr_api_context(), folders, 16, gr_api_path("p"), &err), &err);
    free(read_page("p"));
}

/* ---- the tool ---------------------------------------------------------------------------- */

static void the_tool_writes_reports(void **state)
{
    (void)state;
    char path[GR_FOLDER_PATH];
    save_run("run", 20, 2);
    struct gr_outcome outcome = gr_tool_run(0, "report", gr_api_path("run"), NULL);
    snprintf(path, sizeof path, "%s/report.html\n", gr_api_path("run"));
    assert_string_equal(outcome.out, path);
    gr_outcome_release(&outcome);
    free(read_page("run/report.html"));

    outcome = gr_tool_run(0, "report", gr_api_path("run"), gr_api_path("run"), "-o", "-", NULL);
    check_page(outcome.out);
    gr_outcome_release(&outcome);

    outcome = gr_tool_run(4, "report", gr_folder(), NULL);
    gr_tool_contains(outcome.err, "there is no metrics.jsonl in it");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(5, "report", gr_api_path("run"), "-o", "/dev/full", NULL);
    gr_tool_contains(outcome.err, "/dev/full");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(2, "report", NULL);
    gr_outcome_release(&outcome);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(training_writes_a_page_that_says_what_its_records_say),
        CASE(a_resumed_run_goes_on_with_its_report),
        CASE(a_report_that_cannot_be_written_does_not_stop_training),
        CASE(names_are_shown_and_never_obeyed),
        CASE(records_of_others_are_not_obeyed),
        CASE(damaged_lines_are_left_out_with_a_warning),
        CASE(a_folder_without_a_run_is_an_error),
        CASE(a_long_run_gives_a_page_of_bounded_size),
        CASE(many_classes_are_scaled_down),
        CASE(runs_are_laid_over_each_other),
        CASE(a_report_is_of_one_to_sixteen_runs),
        CASE(the_tool_writes_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
