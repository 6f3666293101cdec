/*
 * The graph-runner tool from outside: its pages, wrong command lines, and the commands that look
 * into a model.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setenv, strdup */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graphrunner.h"
#include "support/folder.h"
#include "support/tool.h"

/* conv1: 8 filters [3, 3, 3] and biases; fc: [4, 8 × 6 × 6] and biases. */
enum { PARAMETERS = 8 * 27 + 8 + 4 * 288 + 4, MACS = 8 * 27 * 36 + 4 * 288 };

/* ---- pages and usage --------------------------------------------------------------------- */

static const char *const commands[] = {"train",     "eval", "predict", "run",   "dot",
                                       "summary",   "plan", "bench",   "check", "data",
                                       "gradcheck", "ops",  "help"};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void without_a_command_the_list_goes_to_standard_error(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(2, NULL);
    assert_string_equal(outcome.out, "");
    gr_tool_contains(outcome.err, "Usage: graph-runner COMMAND");
    gr_outcome_release(&outcome);
}

static void help_lists_every_command(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "--help", NULL);
    assert_string_equal(outcome.err, "");
    for (size_t i = 0; i < COMMANDS; i++) {
        char row[64];
        snprintf(row, sizeof row, "\n  %s ", commands[i]);
        gr_tool_contains(outcome.out, row);
    }
    gr_tool_contains(outcome.out, "Exit codes:");
    gr_outcome_release(&outcome);
}

static void every_command_has_a_page_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < COMMANDS; i++) {
        char usage[64];
        snprintf(usage, sizeof usage, "Usage: graph-runner %s", commands[i]);
        struct gr_outcome page = gr_tool_run(0, commands[i], "--help", NULL);
        struct gr_outcome same = gr_tool_run(0, "help", commands[i], NULL);
        gr_tool_contains(page.out, usage);
        gr_tool_contains(page.out, "Exit codes:");
        assert_string_equal(page.out, same.out);
        assert_string_equal(page.err, "");
        gr_outcome_release(&page);
        gr_outcome_release(&same);
    }
}

static void commands_of_a_command_have_pages_too(void **state)
{
    (void)state;
    struct gr_outcome table = gr_tool_run(0, "data", "--help", NULL);
    struct gr_outcome page = gr_tool_run(0, "data", "show", "--help", NULL);
    struct gr_outcome same = gr_tool_run(0, "help", "data", "show", NULL);
    gr_tool_contains(table.out, "\n  data show ");
    gr_tool_contains(page.out, "Usage: graph-runner data show MODEL");
    assert_string_equal(page.out, same.out);
    gr_outcome_release(&table);
    gr_outcome_release(&page);
    gr_outcome_release(&same);
}

static void every_page_fits_eighty_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < COMMANDS; i++) {
        struct gr_outcome page = gr_tool_run(0, "help", commands[i], NULL);
        for (const char *at = page.out; *at; at += strcspn(at, "\n"), at += *at == '\n')
            if (strcspn(at, "\n") > 80)
                fail_msg("%s: %.*s", commands[i], (int)strcspn(at, "\n"), at);
        gr_outcome_release(&page);
    }
}

static void the_version_is_printed(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "--version", NULL);
    assert_string_equal(outcome.out, "graph-runner " GR_VERSION "\n");
    gr_outcome_release(&outcome);
}

static void a_wrong_command_line_exits_with_2_and_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *arguments[6], *message;
    } rows[] = {
        {{"trian"}, "unknown command 'trian'; did you mean 'train'?"},
        {{"--verison"}, "unknown option '--verison'"},
        {{"data"}, "data: COMMAND is missing"},
        {{"data", "shwo", "m"}, "data: unknown command 'shwo'; did you mean 'show'?"},
        {{"data", "--shwo"}, "data: unknown option '--shwo'"},
        {{"data", "show"}, "data show: MODEL is missing: graph-runner data show MODEL"},
        {{"data", "show", "m", "--epoch", "0"}, "data show: --epoch: 0 is not within 1 to"},
        {{"help", "data", "shwo"}, "data: unknown command 'shwo'; did you mean 'show'?"},
        {{"help", "plan", "show"}, "help: 'show' is one argument too many"},
        {{"help", "evla"}, "unknown command 'evla'; did you mean 'eval'?"},
        {{"train", "m", "--epoch", "3"},
         "train: unknown option '--epoch'; did you mean '--epochs'?"},
        {{"train", "m", "--o=d"}, "train: unknown option '--o'"},
        {{"train", "m", "-x"}, "train: unknown option '-x'"},
        {{"bench", "m", "--batch", "12x"}, "bench: --batch: '12x' is not an integer"},
        {{"bench", "m", "--batch=1.5"}, "bench: --batch: '1.5' is not an integer"},
        {{"bench", "m", "--batch="}, "bench: --batch: '' is not an integer"},
        {{"bench", "m", "--batch", "0"}, "bench: --batch: 0 is not within 1 to 1000000"},
        {{"bench", "m", "--batch", "-1"}, "bench: --batch: -1 is not within 1 to 1000000"},
        {{"bench", "m", "--batch"}, "bench: --batch needs a value: --batch N"},
        {{"bench", "m", "--batch", "--json"}, "bench: --batch needs a value: --batch N"},
        {{"bench", "m", "--steps", "99999999999999999999"}, "is not an integer"},
        {{"bench", "m", "--json=yes"}, "bench: --json takes no value"},
        {{"bench", "m", "--mode", "trai"},
         "bench: --mode: 'trai' is not one of infer|train; did you mean 'train'?"},
        {{"gradcheck", "m", "--tolerance", "nan"}, "'nan' is not a number"},
        {{"train"}, "train: MODEL is missing: graph-runner train MODEL"},
        {{"train", "a", "b"}, "train: 'b' is one argument too many"},
        {{"predict", "m", "--weights", "w"}, "predict: IMAGE is missing, or --count N"},
        {{"filters", "m"}, "filters: --weights FILE is needed"},
        {{"eval", "m"}, "eval: --weights FILE is needed"},
        {{"eval", "m", "--weights="}, "eval: --weights: the value is empty"},
        {{"run", "m", "--inputs", "i", "--fetch=a,,b"}, "run: --fetch: a name is empty"},
        {{"run", "m", "--inputs", "i"}, "run: --outputs FILE or --save-weights FILE is needed"},
        {{"dot", "m", "-o", "m.jpg"}, "dot: 'm.jpg' ends in none of .dot, .gv, .svg, .png, .pdf"},
        {{"ops", "--batch", "1"}, "ops: unknown option '--batch'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *const *a = rows[i].arguments;
        struct gr_outcome outcome = gr_tool_run(2, a[0], a[1], a[2], a[3], a[4], NULL);
        assert_string_equal(outcome.out, "");
        assert_memory_equal(outcome.err, "graph-runner: ", 14);
        gr_tool_contains(outcome.err, rows[i].message);
        gr_outcome_release(&outcome);
    }
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(3, "check", "--quiet", "--", "--verbose", NULL);
    gr_tool_lacks(outcome.err, "option");
    gr_tool_contains(outcome.err, "--verbose");
    gr_outcome_release(&outcome);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    const struct gr_tool_streams streams = {.out = "/dev/full"};
    struct gr_outcome outcome = gr_tool_end(5, gr_tool_start(&streams, "--help", NULL));
    gr_tool_contains(outcome.err, "graph-runner: cannot write to standard output: No space left");
    gr_outcome_release(&outcome);
}

/* ---- looking into a model ---------------------------------------------------------------- */

static void check_counts_nodes_and_parameters(void **state)
{
    (void)state;
    char expected[GR_FOLDER_PATH + 64];
    struct gr_outcome outcome = gr_tool_run(0, "check", gr_tool_model(), NULL);
    snprintf(expected, sizeof expected, "%s: ok (6 nodes, 1,380 parameters)\n", gr_tool_model());
    assert_string_equal(outcome.out, expected);
    assert_string_equal(outcome.err, "");
    gr_outcome_release(&outcome);
}

static void check_reports_each_mistake_and_goes_on_with_the_next_file(void **state)
{
    (void)state;
    char bad[GR_FOLDER_PATH], place[GR_FOLDER_PATH + 64];
    gr_tool_save(gr_folder_file("bad.yaml", bad),
                 "format: 1\nname: bad\n"
                 "inputs: {image: {shape: [3, 8, 8]}}\n"
                 "nodes:\n"
                 "  - {name: a, op: relo, inputs: image}\n"
                 "  - {name: b, op: conv, inputs: image, kernel: 3}\n");
    struct gr_outcome outcome = gr_tool_run(3, "check", bad, gr_tool_model(), NULL);
    snprintf(place, sizeof place, "%s:5:19: error: ", bad);
    assert_memory_equal(outcome.err, place, strlen(place));
    gr_tool_contains(outcome.err, "did you mean 'relu'?");
    gr_tool_contains(outcome.err, "bad.yaml:6:");
    gr_tool_contains(outcome.err, "graph-runner: ");
    gr_tool_contains(outcome.err, ": 2 errors");
    gr_tool_contains(outcome.out, "tiny.yaml: ok");
    gr_outcome_release(&outcome);
}

static void summary_adds_up_parameters_and_work(void **state)
{
    (void)state;
    struct gr_outcome table = gr_tool_run(0, "summary", gr_tool_model(), NULL);
    gr_tool_contains(table.out, "1×8×6×6");
    gr_tool_contains(table.out, "out_channels 8, kernel 3");
    gr_tool_contains(table.out, "1,380");
    gr_outcome_release(&table);
    struct gr_outcome outcome =
        gr_tool_run(0, "summary", gr_tool_model(), "--batch", "4", "--json", NULL);
    json_t *json = gr_tool_parse(outcome.out);
    assert_true(gr_tool_number(json, "parameters") == PARAMETERS);
    assert_true(gr_tool_number(json, "macs_per_image") == MACS);
    assert_true(gr_tool_number(json, "macs") == 4 * MACS);
    const json_t *conv = json_array_get(json_object_get(json, "nodes"), 0);
    assert_string_equal(json_string_value(json_object_get(conv, "name")), "conv1");
    assert_true(gr_tool_number(conv, "parameters") == 8 * 27 + 8);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(conv, "shape"), 0)), 4);
    json_decref(json);
    gr_outcome_release(&outcome);
}

static void set_overrides_a_key(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "check", "--set", "nodes.conv1.out_channels=4",
                                            "--set=nodes.fc.bias=false", gr_tool_model(), NULL);
    gr_tool_contains(outcome.out, "688 parameters"); /* 4 × 27 + 4 + 4 × 144 */
    gr_outcome_release(&outcome);
}

static void a_memory_budget_is_kept_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double bytes;
    } sizes[] = {{"900M", 9e8},           {"1.5GiB", 1.5 * 1024 * 1024 * 1024},
                 {"2000000", 2e6},        {"20MB", 2e7},
                 {"4000Ki", 4000 * 1024}, {"1g", 1e9}};
    static const char *const wrong[] = {"12Q", "M", "-5", "1.5.2", "0", "9KiBs"};
    struct gr_outcome outcome;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        outcome = gr_tool_run(0, "plan", gr_tool_model(), "--mode", "train", "--memory-budget",
                              sizes[i].text, "--json", NULL);
        json_t *json = gr_tool_parse(outcome.out);
        const json_t *recomputed = json_object_get(json, "recomputed");
        assert_true(gr_tool_number(recomputed, "budget_bytes") == sizes[i].bytes);
        assert_true(gr_tool_number(json, "total_bytes") <= sizes[i].bytes);
        json_decref(json);
        gr_outcome_release(&outcome);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        outcome = gr_tool_run(2, "bench", gr_tool_model(), "--memory-budget", wrong[i], NULL);
        gr_tool_contains(outcome.err, "is not a number of bytes, such as 900M or 1.5GiB");
        gr_outcome_release(&outcome);
    }
    outcome = gr_tool_run(2, "train", gr_tool_model(), "--memory-budget", "1K", NULL);
    gr_tool_contains(outcome.err, "tiny, batch 8: a memory budget of 1 kB is too small: parameters "
                                  "and states take ");
    gr_outcome_release(&outcome);
}

/* In the least memory that an error names. */
static void what_is_computed_again_is_listed(void **state)
{
    (void)state;
    static const char model[] = GR_SOURCE_DIR "/models/lenet.yaml", least[] = "possible in all is ";
    char budget[16];
    struct gr_outcome outcome = gr_tool_run(2, "plan", model, "--mode", "train", "--batch", "256",
                                            "--memory-budget", "1M", NULL);
    gr_tool_contains(outcome.err, least);
    snprintf(budget, sizeof budget, "%dM", atoi(strstr(outcome.err, least) + strlen(least)));
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "plan", model, "--mode", "train", "--batch", "256", "--memory-budget",
                          budget, NULL);
    gr_tool_contains(outcome.out, "\nbudget ");
    gr_tool_contains(outcome.out, "more time\n");
    gr_tool_contains(outcome.out, "computed again");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "plan", model, "--mode", "train", "--batch", "256", "--memory-budget",
                          budget, "--json", "--nodes", NULL);
    json_t *json = gr_tool_parse(outcome.out);
    const json_t *again = json_object_get(json, "recomputed");
    const json_t *nodes = json_object_get(again, "nodes");
    assert_true(gr_tool_number(json, "total_bytes") <= gr_tool_number(again, "budget_bytes"));
    assert_true(gr_tool_number(again, "saved_bytes") > 0);
    assert_true(json_array_size(nodes) > 0);
    for (size_t i = 0; i < json_array_size(nodes); i++)
        assert_true(gr_tool_number(json_array_get(nodes, i), "output_bytes") > 0);
    assert_true(json_array_size(json_object_get(json, "nodes")) > json_array_size(nodes));
    json_decref(json);
    gr_outcome_release(&outcome);
}

static void plan_lies_between_the_lower_bound_and_no_reuse(void **state)
{
    (void)state;
    struct gr_outcome outcome =
        gr_tool_run(0, "plan", gr_tool_model(), "--mode", "train", "--json", NULL);
    json_t *json = gr_tool_parse(outcome.out);
    const double planned = gr_tool_number(json, "planned_bytes");
    assert_true(gr_tool_number(json, "lower_bound_bytes") <= planned);
    assert_true(planned < gr_tool_number(json, "without_reuse_bytes"));
    assert_true(gr_tool_number(json, "parameters_bytes") >= PARAMETERS * sizeof(float));
    assert_true(gr_tool_number(json, "resident_bytes") > 0);
    assert_true(gr_tool_number(json, "batch") == 8);
    json_decref(json);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "plan", gr_tool_model(), "--mode", "train", "--no-memory-plan",
                          "--json", NULL);
    json = gr_tool_parse(outcome.out);
    assert_true(planned < gr_tool_number(json, "planned_bytes"));
    json_decref(json);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "plan", gr_tool_model(), "--nodes", NULL);
    gr_tool_contains(outcome.out, "without reuse");
    gr_tool_contains(outcome.out, "conv1");
    gr_outcome_release(&outcome);
}

static void bench_prints_one_object_on_one_line(void **state)
{
    (void)state;
    static const char *const modes[] = {"train", "infer"};
    for (size_t i = 0; i < 2; i++) {
        struct gr_outcome outcome =
            gr_tool_run(0, "bench", gr_tool_model(), "--mode", modes[i], "--batch=4", "--threads",
                        "1", "--steps", "5", "--json", NULL);
        assert_ptr_equal(strchr(outcome.out, '\n'), outcome.out + strlen(outcome.out) - 1);
        json_t *json = gr_tool_parse(outcome.out);
        const double median = gr_tool_number(json, "step_seconds_median");
        assert_true(median > 0);
        assert_true(fabs(gr_tool_number(json, "images_per_second") * median / 4 - 1) < 1e-6);
        assert_true(gr_tool_number(json, "peak_rss_bytes") > gr_tool_number(json, "planned_bytes"));
        assert_true(gr_tool_number(json, "planned_bytes") > 0);
        assert_true(gr_tool_number(json, "batch") == 4);
        assert_true(gr_tool_number(json, "threads") == 1);
        assert_string_equal(json_string_value(json_object_get(json, "precision")), "f32");
        assert_string_equal(json_string_value(json_object_get(json, "mode")), modes[i]);
        json_decref(json);
        gr_outcome_release(&outcome);
    }
    struct gr_outcome table =
        gr_tool_run(0, "bench", gr_tool_model(), "--steps", "3", "--nodes", NULL);
    gr_tool_contains(table.out, "images/s");
    gr_tool_contains(table.out, "GFLOP/s");
    gr_outcome_release(&table);
}

static void gradcheck_passes_and_can_fail(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "gradcheck", gr_tool_model(), NULL);
    gr_tool_contains(outcome.out, "conv1.weight");
    gr_tool_contains(outcome.out, "fc.bias");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(5, "gradcheck", gr_tool_model(), "--tolerance", "1e-9", NULL);
    gr_tool_contains(outcome.out, "FAILED");
    gr_tool_contains(outcome.err, "gradients are beyond the tolerance of 1e-09");
    gr_outcome_release(&outcome);
}

static void ops_documents_what_exists(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "ops", "conv", NULL);
    gr_tool_contains(outcome.out, "out_channels");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "ops", NULL);
    gr_tool_contains(outcome.out, "max_pool");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(2, "ops", "nothing", NULL);
    gr_tool_contains(outcome.err, "'nothing'");
    assert_string_equal(outcome.out, "");
    gr_outcome_release(&outcome);
}

static void dot_writes_text_and_pictures(void **state)
{
    (void)state;
    char path[GR_FOLDER_PATH];
    struct gr_outcome outcome = gr_tool_run(0, "dot", gr_tool_model(), "--mode", "train", NULL);
    gr_tool_contains(outcome.out, "digraph");
    gr_tool_contains(outcome.out, "conv1");
    struct gr_outcome same = gr_tool_run(0, "dot", gr_tool_model(), "--mode=train", "-o",
                                         gr_folder_file("m.dot", path), NULL);
    assert_string_equal(same.out, "");
    char *text = gr_tool_read(path);
    assert_string_equal(text, outcome.out);
    free(text);
    gr_outcome_release(&same);
    gr_outcome_release(&outcome);
    if (system("command -v dot >/dev/null") == 0) {
        outcome = gr_tool_run(0, "dot", gr_tool_model(), "-o", gr_folder_file("m.svg", path), NULL);
        text = gr_tool_read(path);
        gr_tool_contains(text, "<svg");
        free(text);
        gr_outcome_release(&outcome);
    }
}

static void without_graphviz_a_picture_says_what_to_install(void **state)
{
    (void)state;
    char path[GR_FOLDER_PATH];
    char *search = getenv("PATH"), *before = search ? strdup(search) : NULL;
    setenv("PATH", gr_folder(), 1);
    struct gr_outcome outcome =
        gr_tool_run(5, "dot", gr_tool_model(), "-o", gr_folder_file("m.png", path), NULL);
    if (before)
        setenv("PATH", before, 1);
    free(before);
    gr_tool_contains(outcome.err, "install Graphviz");
    gr_outcome_release(&outcome);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gr_tool_set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_command_the_list_goes_to_standard_error),
        TEST(help_lists_every_command),
        TEST(every_command_has_a_page_of_its_own),
        TEST(commands_of_a_command_have_pages_too),
        TEST(every_page_fits_eighty_columns),
        TEST(the_version_is_printed),
        TEST(a_wrong_command_line_exits_with_2_and_says_why),
        TEST(two_dashes_end_the_options),
        TEST(a_full_disk_is_an_error),
        TEST(check_counts_nodes_and_parameters),
        TEST(check_reports_each_mistake_and_goes_on_with_the_next_file),
        TEST(summary_adds_up_parameters_and_work),
        TEST(set_overrides_a_key),
        TEST(a_memory_budget_is_kept_or_refused),
        TEST(what_is_computed_again_is_listed),
        TEST(plan_lies_between_the_lower_bound_and_no_reuse),
        TEST(bench_prints_one_object_on_one_line),
        TEST(gradcheck_passes_and_can_fail),
        TEST(ops_documents_what_exists),
        TEST(dot_writes_text_and_pictures),
        TEST(without_graphviz_a_picture_says_what_to_install),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
