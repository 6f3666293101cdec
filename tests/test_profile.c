/*
 * Where time and memory go: each execution of a node as the library tells it, the machine's peak,
 * and what the tool makes of them: a table whose nodes sum up to the step, a trace, a drawing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graphrunner.h"
#include "support/api_case.h"
#include "support/folder.h"
#include "support/tool.h"

/* ---- the library ------------------------------------------------------------------------- */

enum { BATCH = 4, MOST_TIMINGS = 256 };

struct heard {
    struct gr_timing timings[MOST_TIMINGS];
    size_t count;
};

static void hear(void *user, const struct gr_timing *timing)
{
    struct heard *heard = user;
    assert_true(heard->count < MOST_TIMINGS);
    heard->timings[heard->count++] = *timing;
}

static struct gr_plan *training_plan(struct gr_model *model)
{
    struct gr_error err = {0};
    static float image[BATCH * 3 * 12 * 12];
    const int32_t label[BATCH] = {0, 1, 2, 3};
    const struct gr_plan_options options = {.mode = GR_TRAIN, .batch = BATCH, .update = true};
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_api_ok(plan != NULL, &err);
    gr_api_ok(gr_plan_feed(plan, "image", image, sizeof image, &err), &err);
    gr_api_ok(gr_plan_feed(plan, "label", label, sizeof label, &err), &err);
    return plan;
}

static void a_run_tells_each_execution_in_order(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct heard heard = {.count = 0};
    struct gr_model *model = gr_api_load("zoo", gr_api_zoo, 1, NULL);
    struct gr_plan *plan = training_plan(model);
    gr_plan_trace(plan, hear, &heard);
    gr_api_ok(gr_plan_run(plan, &err), &err);
    size_t at = 0;
    double end = 0;
    for (size_t i = 0; i < gr_plan_node_count(plan); i++) {
        if (strcmp(gr_plan_node(plan, i).impl, "view") == 0)
            continue;
        const struct gr_timing *timing = &heard.timings[at++];
        assert_int_equal(timing->node, i);
        assert_int_equal(timing->lane, 0);
        assert_true(timing->start >= end && timing->seconds >= 0);
        end = timing->start + timing->seconds;
    }
    assert_int_equal(at, heard.count);
    gr_plan_trace(plan, NULL, NULL);
    gr_api_ok(gr_plan_run(plan, &err), &err);
    assert_int_equal(at, heard.count);
    gr_plan_free(plan);
    gr_model_free(model);
}

static const char folding[] = /* the batch norm goes into the weights, which are constant then */
    "format: 1\n"
    "name: folding\n"
    "inputs: {image: {shape: [3, 12, 12]}}\n"
    "nodes:\n"
    "  - {name: conv1, op: conv, inputs: image, out_channels: 8, kernel: 3}\n"
    "  - {name: bn1, op: batch_norm}\n";

static void a_node_that_depends_on_weights_alone_is_told_when_they_changed(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct heard heard = {.count = 0};
    struct gr_model *model = gr_api_load("folding", folding, 1, NULL);
    struct gr_plan *plan = gr_plan_new(model, &(struct gr_plan_options){.batch = BATCH}, &err);
    gr_api_ok(plan != NULL, &err);
    size_t constants = 0;
    for (size_t i = 0; i < gr_plan_node_count(plan); i++)
        constants += gr_plan_node(plan, i).constant;
    assert_true(constants > 0);
    gr_plan_trace(plan, hear, &heard);
    gr_api_ok(gr_plan_run(plan, &err), &err);
    const size_t first = heard.count;
    gr_api_ok(gr_plan_run(plan, &err), &err);
    assert_int_equal(heard.count - first, first - constants);
    gr_plan_free(plan);
    gr_model_free(model);
}

static void the_peak_falls_with_the_working_set(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_peak peak;
    gr_api_ok(gr_context_peak(gr_api_context(), &peak, &err), &err);
    assert_true(peak.flops[GR_F32] > 1e8);
    assert_true(peak.flops[GR_BF16] >= 0);
    assert_true(peak.flops[GR_S32] <= 0);
    for (int i = 0; i < GR_PEAK_SIZES; i++) {
        assert_true(peak.memory[i].read > 1e7);
        assert_true(peak.memory[i].moved >= peak.memory[i].read);
        assert_true(i == 0 || peak.memory[i].bytes > peak.memory[i - 1].bytes);
        assert_true(i == 0 || peak.memory[i].read <= peak.memory[i - 1].read);
        assert_true(i == 0 || peak.memory[i].moved <= peak.memory[i - 1].moved);
    }
}

/* ---- bench ------------------------------------------------------------------------------- */

static const json_t *node_of(const json_t *bench, const char *name)
{
    const json_t *nodes = json_object_get(bench, "nodes");
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        if (strcmp(json_string_value(json_object_get(node, "name")), name) == 0)
            return node;
    }
    fail_msg("there is no node '%s'", name);
    return NULL;
}

/* Runs bench on a model and saves what it prints as a file of the folder. */
static json_t *bench_json(const char *model, const char *mode, const char *batch, const char *file)
{
    char path[GR_FOLDER_PATH];
    struct gr_outcome outcome =
        gr_tool_run(0, "bench", model, "--mode", mode, "--batch", batch, "--threads", "1",
                    "--kernels", "openblas", "--steps", "9", "--nodes", "--json", NULL);
    gr_tool_save(gr_folder_file(file, path), outcome.out);
    json_t *json = gr_tool_parse(outcome.out);
    gr_outcome_release(&outcome);
    return json;
}

static void bytes_are_those_of_inputs_and_outputs(void **state)
{
    (void)state;
    json_t *json = bench_json(gr_tool_model(), "train", "4", "bench.json");
    /* image [4, 3, 8, 8], weights [8, 3, 3, 3] and bias, result [4, 8, 6, 6] */
    const double conv = 4 * (4 * 3 * 64 + 8 * 27 + 8 + 4 * 8 * 36);
    /* weights [4, 288] and momentum read and written; dy [4, 4], src [4, 288], the rate, db [4] */
    const double update = 4 * (4 * 4 * 288 + 4 * 4 + 4 * 288 + 1 + 4);
    assert_true(fabs(gr_tool_number(node_of(json, "conv1"), "bytes") - conv) < 0.5);
    assert_true(fabs(gr_tool_number(node_of(json, "fc.weight:sgd"), "bytes") - update) < 0.5);
    json_decref(json);
}

static void figures_of_a_node_follow_from_its_time(void **state)
{
    (void)state;
    json_t *json = bench_json(gr_tool_model(), "train", "4", "bench.json");
    const json_t *peak = json_object_get(json, "peak"), *conv = node_of(json, "conv1");
    const double seconds = gr_tool_number(conv, "seconds");
    const double macs = 4.0 * 8 * 36 * 27;
    assert_true(seconds > 0);
    assert_true(fabs(gr_tool_number(conv, "gflops") * seconds / (2e-9 * macs) - 1) < 1e-6);
    assert_true(fabs(gr_tool_number(conv, "gbs") * seconds / gr_tool_number(conv, "bytes") - 1e-9) <
                1e-15);
    assert_true(gr_tool_number(conv, "share_of_peak") * seconds >=
                2 * macs / gr_tool_number(peak, "f32_flops") * (1 - 1e-6));
    assert_true(gr_tool_number(peak, "bf16_flops") >= 0);
    assert_int_equal(json_array_size(json_object_get(peak, "memory")), GR_PEAK_SIZES);
    double last = INFINITY;
    const json_t *nodes = json_object_get(json, "nodes");
    for (size_t i = 0; i < json_array_size(nodes); i++) { /* slowest first */
        const double time = gr_tool_number(json_array_get(nodes, i), "seconds");
        assert_true(time <= last);
        last = time;
    }
    json_decref(json);
}

static bool is_text(const json_t *object, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value && strcmp(value, text) == 0;
}

static void nodes_that_compute_in_bf16_are_held_against_its_peak(void **state)
{
    (void)state;
    json_t *wide = bench_json(gr_tool_model(), "train", "4", "bench.json");
    const bool can = gr_tool_number(json_object_get(wide, "peak"), "bf16_flops") > 0;
    assert_true(is_text(node_of(wide, "conv1"), "math", "f32"));
    json_decref(wide);
    if (!can)
        skip();
    struct gr_outcome outcome =
        gr_tool_run(0, "bench", gr_tool_model(), "--precision", "bf16", "--mode", "infer",
                    "--threads", "1", "--steps", "3", "--nodes", "--json", NULL);
    json_t *json = gr_tool_parse(outcome.out);
    assert_true(is_text(node_of(json, "conv1"), "math", "bf16"));
    assert_true(is_text(node_of(json, "prob"), "math", "f32"));
    json_decref(json);
    gr_outcome_release(&outcome);
}

/* Never more than the step, and within 3 %: in one of a few tries, for a machine that is busy. */
static void the_nodes_sum_up_to_the_step(void **state)
{
    (void)state;
    double best = 0;
    for (int i = 0; i < 5 && best < 0.97; i++) {
        json_t *json = bench_json(GR_SOURCE_DIR "/models/lenet.yaml", "train", "128", "bench.json");
        const json_t *nodes = json_object_get(json, "nodes");
        const double step = gr_tool_number(json, "nodes_step_seconds"),
                     all = gr_tool_number(json, "nodes_seconds"),
                     wall = gr_tool_number(json, "nodes_wall_seconds");
        double sum = 0;
        for (size_t n = 0; n < json_array_size(nodes); n++)
            sum += gr_tool_number(json_array_get(nodes, n), "seconds");
        assert_true(fabs(sum / all - 1) < 1e-6);
        assert_true(all <= step);
        assert_true(fabs(wall / all - 1) < 1e-6); /* one after the other */
        assert_true(step >= gr_tool_number(json, "step_seconds_min") * (1 - 1e-6));
        assert_true(step <= gr_tool_number(json, "step_seconds_max") * (1 + 1e-6));
        best = fmax(best, all / step);
        json_decref(json);
    }
    assert_true(best >= 0.97);
}

static void the_table_ends_with_the_sum_and_the_step(void **state)
{
    (void)state;
    struct gr_outcome outcome =
        gr_tool_run(0, "bench", gr_tool_model(), "--steps", "3", "--nodes", NULL);
    gr_tool_contains(outcome.out, "\npeak: ");
    gr_tool_contains(outcome.out, "GFLOP/s  GB/s  peak  bound");
    gr_tool_contains(outcome.out, "\nsum of ");
    gr_tool_contains(outcome.out, "\nstep ");
    gr_tool_contains(outcome.out, "100.0 %\n");
    gr_outcome_release(&outcome);
}

/* ---- traces ------------------------------------------------------------------------------ */

enum { STEPS = 3 };

static json_t *trace_json(const char *mode, const char *file)
{
    char path[GR_FOLDER_PATH];
    struct gr_outcome outcome =
        gr_tool_run(0, "bench", gr_tool_model(), "--mode", mode, "--steps", "3", "--threads", "1",
                    "--trace", gr_folder_file(file, path), NULL);
    gr_tool_contains(outcome.out, "ui.perfetto.dev");
    gr_outcome_release(&outcome);
    char *text = gr_tool_read(path);
    json_t *json = gr_tool_parse(text);
    free(text);
    return json;
}

static void a_trace_has_an_event_for_each_execution_and_step(void **state)
{
    (void)state;
    json_t *json = trace_json("train", "trace.json");
    const json_t *events = json_object_get(json, "traceEvents");
    double starts[STEPS] = {0}, ends[STEPS] = {0};
    size_t steps = 0, nodes = 0, names = 0, running = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i), *args = json_object_get(event, "args");
        if (is_text(event, "ph", "M")) {
            names++;
            continue;
        }
        assert_true(is_text(event, "ph", "X"));
        const size_t step = (size_t)gr_tool_number(args, "step") - 1;
        const double start = gr_tool_number(event, "ts"),
                     end = start + gr_tool_number(event, "dur");
        assert_true(step < STEPS);
        if (is_text(event, "cat", "step")) {
            starts[step] = start;
            ends[step] = end;
            steps++;
        } else { /* after its step, and within it to the microsecond that times are rounded to */
            nodes++;
            assert_true(start >= starts[step] - 0.01 && end <= ends[step] + 0.01);
            assert_true(gr_tool_number(args, "bytes") > 0);
            assert_non_null(json_object_get(args, "impl"));
        }
    }
    const json_t *list = json_object_get(json_object_get(json, "otherData"), "nodes");
    for (size_t i = 0; i < json_array_size(list); i++)
        running += !is_text(json_array_get(list, i), "impl", "view");
    assert_int_equal(steps, STEPS);
    assert_int_equal(nodes, STEPS * running);
    assert_int_equal(names, 3);
    json_decref(json);
}

static void a_trace_on_standard_output_stands_alone(void **state)
{
    (void)state;
    struct gr_outcome outcome =
        gr_tool_run(0, "bench", gr_tool_model(), "--steps", "1", "--trace", "-", NULL);
    json_t *json = gr_tool_parse(outcome.out);
    assert_true(json_array_size(json_object_get(json, "traceEvents")) > 4);
    json_decref(json);
    gr_outcome_release(&outcome);
    outcome =
        gr_tool_run(5, "bench", gr_tool_model(), "--steps", "1", "--trace", "no/folder/t", NULL);
    gr_tool_contains(outcome.err, "cannot write no/folder/t: No such file or directory");
    gr_outcome_release(&outcome);
}

/* ---- lanes ------------------------------------------------------------------------------- */

static const char towers[] =
    "format: 1\n"
    "name: towers\n"
    "inputs: {image: {shape: [16, 16, 16]}}\n"
    "nodes:\n"
    "  - {name: a1, op: conv, inputs: image, out_channels: 32, kernel: 3, pad: 1}\n"
    "  - {name: a2, op: conv, out_channels: 32, kernel: 3, pad: 1}\n"
    "  - {name: b1, op: conv, inputs: image, out_channels: 32, kernel: 3, pad: 1}\n"
    "  - {name: b2, op: conv, out_channels: 32, kernel: 3, pad: 1}\n"
    "  - {name: both, op: concat, inputs: [a2, b2]}\n";

/* Makes every section in the cache's only file one that runs in two lanes; returns how many. */
static size_t choose_lanes(void)
{
    char folder[GR_FOLDER_PATH];
    glob_t files;
    const char *key;
    json_t *choice;
    size_t sections = 0;
    gr_folder_file("cache/kernels-*.json", folder);
    assert_int_equal(glob(folder, 0, NULL, &files), 0);
    assert_int_equal(files.gl_pathc, 1);
    char *text = gr_tool_read(files.gl_pathv[0]);
    json_t *json = gr_tool_parse(text);
    json_object_foreach(json_object_get(json, "choices"), key, choice)
    {
        if (strncmp(key, "lanes of 2 threads: ", 20) != 0)
            continue;
        json_object_set_new(choice, "kernel", json_string("lanes:2"));
        sections++;
    }
    assert_int_equal(json_dump_file(json, files.gl_pathv[0], 0), 0);
    globfree(&files);
    json_decref(json);
    free(text);
    return sections;
}

/* With OpenBLAS a convolution has one kernel, so that lanes are all that is chosen here. */
static void nodes_in_lanes_have_tracks_of_their_own_and_are_counted_once(void **state)
{
    (void)state;
    char model[GR_FOLDER_PATH], file[GR_FOLDER_PATH];
    size_t nodes[3] = {0}; /* by track; 0: the steps */
    gr_tool_save(gr_folder_file("towers.yaml", model), towers);
    gr_folder_file("trace.json", file);
    struct gr_outcome outcome =
        gr_tool_run(0, "bench", model, "--mode", "infer", "--batch", "4", "--threads", "2",
                    "--kernels", "openblas", "--steps", "1", NULL);
    gr_outcome_release(&outcome);
    assert_int_equal(choose_lanes(), 1);
    outcome =
        gr_tool_run(0, "bench", model, "--mode", "infer", "--batch", "4", "--threads", "2",
                    "--kernels", "openblas", "--steps", "5", "--nodes", "--trace", file, NULL);
    gr_tool_contains(outcome.out, "\nsum of ");
    gr_tool_contains(outcome.out, "\nlanes counted once ");
    gr_outcome_release(&outcome);
    char *text = gr_tool_read(file);
    json_t *json = gr_tool_parse(text);
    const json_t *events = json_object_get(json, "traceEvents");
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        const size_t track = (size_t)gr_tool_number(event, "tid");
        assert_true(track < 3);
        nodes[track] += is_text(event, "ph", "X");
    }
    assert_int_equal(nodes[0], 5);
    assert_true(nodes[1] >= 3 * 5 && nodes[2] >= 2 * 5);
    const json_t *bench = json_object_get(json, "otherData");
    const double wall = gr_tool_number(bench, "nodes_wall_seconds");
    assert_true(wall <= gr_tool_number(bench, "nodes_step_seconds"));
    assert_true(wall <= gr_tool_number(bench, "nodes_seconds"));
    assert_true(2 * wall >= gr_tool_number(bench, "nodes_seconds"));
    json_decref(json);
    free(text);
}

/* ---- drawings ---------------------------------------------------------------------------- */

static void expect_coloured(const char *file, bool training)
{
    char path[GR_FOLDER_PATH];
    struct gr_outcome outcome =
        gr_tool_run(0, "dot", gr_tool_model(), "--profile", gr_folder_file(file, path), NULL);
    gr_tool_contains(outcome.out, "fillcolor=\"#ec5f45\""); /* the slowest */
    gr_tool_contains(outcome.out, "penwidth=6.00");         /* the largest */
    gr_tool_contains(outcome.out, " ms · ");
    gr_tool_contains(outcome.out, "a step takes ");
    gr_tool_contains(outcome.out, " GFLOP/s · ");
    gr_tool_contains(outcome.out,
                     training ? "train, batch 8, 1 thread, f32" : "infer, batch 4, 1 thread, f32");
    assert_int_equal(strstr(outcome.out, "cluster_backward") != NULL, training);
    gr_outcome_release(&outcome);
}

static void a_drawing_takes_mode_and_batch_from_its_profile(void **state)
{
    (void)state;
    json_decref(bench_json(gr_tool_model(), "infer", "4", "bench.json"));
    json_decref(trace_json("train", "trace.json"));
    expect_coloured("bench.json", false);
    expect_coloured("trace.json", true);
}

static void a_profile_that_does_not_fit_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *option, *value, *message;
    } rows[] = {
        {"--mode", "train", "was measured with --mode infer, not train"},
        {"--batch", "5", "was measured with --batch 4, not 5"},
        {"--precision", "bf16", "was measured with --precision f32, not bf16"},
        {"--set", "name=other", "was measured on 'tiny', not on 'other'"},
        {"--set", "nodes.conv1.out_channels=9", "'conv1' has 31104 MACs; in this model it has"},
        {"--set", "nodes.conv1.name=first", "only the plan has a node 'first'"},
        {"--no-fusion", "--quiet", "without fusion): only the plan has a node 'relu1'"},
    };
    char path[GR_FOLDER_PATH];
    json_decref(bench_json(gr_tool_model(), "infer", "4", "bench.json"));
    gr_folder_file("bench.json", path);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gr_outcome outcome = gr_tool_run(2, "dot", gr_tool_model(), "--profile", path,
                                                rows[i].option, rows[i].value, NULL);
        gr_tool_contains(outcome.err, rows[i].message);
        assert_string_equal(outcome.out, "");
        gr_outcome_release(&outcome);
    }
}

static void a_file_that_is_no_profile_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"{}", "there are no times of nodes in it; they come from 'graph-runner bench MODEL"},
        {"{\"traceEvents\": []}", "there are no times of nodes in it"},
        {"[1, 2", "cannot read the profile "},
        {NULL, "No such file or directory"},
    };
    char path[GR_FOLDER_PATH];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gr_folder_file(rows[i].text ? "wrong.json" : "missing.json", path);
        if (rows[i].text)
            gr_tool_save(path, rows[i].text);
        struct gr_outcome outcome = gr_tool_run(4, "dot", gr_tool_model(), "--profile", path, NULL);
        gr_tool_contains(outcome.err, rows[i].message);
        gr_outcome_release(&outcome);
    }
}

#define API(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)
#define TOOL(name) cmocka_unit_test_setup_teardown(name, gr_tool_set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API(a_run_tells_each_execution_in_order),
        API(a_node_that_depends_on_weights_alone_is_told_when_they_changed),
        API(the_peak_falls_with_the_working_set),
        TOOL(bytes_are_those_of_inputs_and_outputs),
        TOOL(figures_of_a_node_follow_from_its_time),
        TOOL(nodes_that_compute_in_bf16_are_held_against_its_peak),
        TOOL(the_nodes_sum_up_to_the_step),
        TOOL(the_table_ends_with_the_sum_and_the_step),
        TOOL(a_trace_has_an_event_for_each_execution_and_step),
        TOOL(a_trace_on_standard_output_stands_alone),
        TOOL(nodes_in_lanes_have_tracks_of_their_own_and_are_counted_once),
        TOOL(a_drawing_takes_mode_and_batch_from_its_profile),
        TOOL(a_profile_that_does_not_fit_is_told),
        TOOL(a_file_that_is_no_profile_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
