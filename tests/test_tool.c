/*
 * The graph-runner tool from outside: exit codes, what goes to which stream, and a small model
 * trained, evaluated, asked and looked into.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* posix_openpt, nanosleep */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "graphrunner.h"
#include "support/command.h"
#include "support/folder.h"
#include "support/make_jpeg.h"

static const char model_text[] =
    "format: 1\n"
    "name: tiny\n"
    "inputs:\n"
    "  image: {shape: [3, 8, 8]}\n"
    "  label: {classes: 4}\n"
    "class_names: [ash, birch, cedar, dogwood]\n"
    "nodes:\n"
    "  - {name: conv1, op: conv, inputs: image, out_channels: 8, kernel: 3}\n"
    "  - {name: relu1, op: relu}\n"
    "  - {name: fc, op: linear, out_features: 4}\n"
    "  - {name: prob, op: softmax}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
    "  - {name: top1, op: accuracy, inputs: [fc, label]}\n"
    "train:\n"
    "  loss: loss\n"
    "  metrics: [top1]\n"
    "  batch: 8\n"
    "  epochs: 3\n"
    "  optimizer: {sgd: {momentum: 0.9}}\n"
    "  learning_rate: 0.05\n"
    "data:\n"
    "  train: {synthetic: {count: 64}, transform: [{scale: {factor: 0.004}}]}\n"
    "  val: {synthetic: {count: 61, seed: 1}, transform: [{scale: {factor: 0.004}}]}\n";

/* conv1: 8 filters [3, 3, 3] and biases; fc: [4, 8 × 6 × 6] and biases. */
enum { PARAMETERS = 8 * 27 + 8 + 4 * 288 + 4, MACS = 8 * 27 * 36 + 4 * 288 };

/* Paths in the test's folder that several tests use. */
static char model[GR_FOLDER_PATH], run_folder[GR_FOLDER_PATH], best[GR_FOLDER_PATH],
    inputs[GR_FOLDER_PATH], outputs[GR_FOLDER_PATH];

static void save(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    if (gr_folder_set_up(state) != 0)
        return -1;
    gr_folder_file("tiny.yaml", model);
    gr_folder_file("run", run_folder);
    gr_folder_file("run/best.safetensors", best);
    gr_folder_file("in.safetensors", inputs);
    gr_folder_file("out.safetensors", outputs);
    save(model, model_text);
    return 0;
}

enum { MOST_ARGUMENTS = 30 };

/* The command line "graph-runner ARGUMENT...", the arguments ended by NULL. */
static void fill(const char *words[MOST_ARGUMENTS + 2], va_list args)
{
    size_t count = 0;
    words[count++] = GR_BINARY_DIR "/graph-runner";
    do
        words[count] = va_arg(args, const char *);
    while (words[count] && ++count <= MOST_ARGUMENTS);
    words[count] = NULL;
}

static struct gr_outcome tool(int placeholder, ...)
{
    const char *words[MOST_ARGUMENTS + 2];
    va_list args;
    va_start(args, placeholder);
    fill(words, args);
    va_end(args);
    return gr_command_end(gr_command_start(words, NULL));
}

static pid_t start_tool(const struct gr_command_streams *streams, ...)
{
    const char *words[MOST_ARGUMENTS + 2];
    va_list args;
    va_start(args, streams);
    fill(words, args);
    va_end(args);
    return gr_command_start(words, streams);
}

/* Runs the tool with the arguments, which must end with this status. */
#define TOOL(expected, ...) expect(tool(0, __VA_ARGS__, NULL), expected)

static struct gr_outcome expect(struct gr_outcome outcome, int status)
{
    if (outcome.status != status)
        fail_msg("exit code %d, not %d; output:\n%s%s", outcome.status, status, outcome.out,
                 outcome.err);
    return outcome;
}

static void contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("there is no '%s' in:\n%s", part, text);
}

static void lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("there is '%s' in:\n%s", part, text);
}

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("not JSON: %s in:\n%s", error.text, text);
    return json;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("'%s' is no number", key);
    return json_number_value(value);
}

/* ---- pages and usage ---- */

static const char *const commands[] = {"train", "eval",  "predict", "run",       "dot", "summary",
                                       "plan",  "bench", "check",   "gradcheck", "ops", "help"};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void without_a_command_the_list_goes_to_standard_error(void **state)
{
    (void)state;
    struct gr_outcome outcome = expect(tool(0, (const char *)NULL), 2);
    assert_string_equal(outcome.out, "");
    contains(outcome.err, "Usage: graph-runner COMMAND");
    gr_outcome_release(&outcome);
}

static void help_lists_every_command(void **state)
{
    (void)state;
    struct gr_outcome outcome = TOOL(0, "--help");
    assert_string_equal(outcome.err, "");
    for (size_t i = 0; i < COMMANDS; i++) {
        char row[64];
        snprintf(row, sizeof row, "\n  %s ", commands[i]);
        contains(outcome.out, row);
    }
    contains(outcome.out, "Exit codes:");
    gr_outcome_release(&outcome);
}

static void every_command_has_a_page_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < COMMANDS; i++) {
        char usage[64];
        snprintf(usage, sizeof usage, "Usage: graph-runner %s", commands[i]);
        struct gr_outcome page = TOOL(0, commands[i], "--help");
        struct gr_outcome same = TOOL(0, "help", commands[i]);
        contains(page.out, usage);
        contains(page.out, "Exit codes:");
        assert_string_equal(page.out, same.out);
        assert_string_equal(page.err, "");
        gr_outcome_release(&page);
        gr_outcome_release(&same);
    }
}

static void a_page_fits_eighty_columns(void **state)
{
    (void)state;
    struct gr_outcome page = TOOL(0, "bench", "--help");
    for (const char *line = page.out; *line; line += strcspn(line, "\n"), line += *line == '\n')
        assert_true(strcspn(line, "\n") <= 80);
    gr_outcome_release(&page);
}

static void the_version_is_printed(void **state)
{
    (void)state;
    struct gr_outcome outcome = TOOL(0, "--version");
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
        {{"help", "evla"}, "unknown command 'evla'; did you mean 'eval'?"},
        {{"train", "m", "--epoch", "3"}, "train: unknown option '--epoch'; did you mean '--epochs'?"},
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
        {{"predict", "m", "--weights", "w"}, "predict: IMAGE is missing"},
        {{"eval", "m"}, "eval: --weights FILE is needed"},
        {{"eval", "m", "--weights="}, "eval: --weights: the value is empty"},
        {{"run", "m", "--inputs", "i", "--fetch=a,,b"}, "run: --fetch: a name is empty"},
        {{"run", "m", "--inputs", "i"}, "run: --outputs FILE or --save-weights FILE is needed"},
        {{"dot", "m", "-o", "m.jpg"}, "dot: 'm.jpg' ends in none of .dot, .gv, .svg, .png, .pdf"},
        {{"ops", "--batch", "1"}, "ops: unknown option '--batch'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *const *a = rows[i].arguments;
        struct gr_outcome outcome = TOOL(2, a[0], a[1], a[2], a[3], a[4]);
        assert_string_equal(outcome.out, "");
        assert_memory_equal(outcome.err, "graph-runner: ", 14);
        contains(outcome.err, rows[i].message);
        gr_outcome_release(&outcome);
    }
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    struct gr_outcome outcome = TOOL(2, "check", "--quiet", "--", "--verbose");
    lacks(outcome.err, "option");
    contains(outcome.err, "--verbose");
    gr_outcome_release(&outcome);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    const struct gr_command_streams streams = {.out = "/dev/full"};
    struct gr_outcome outcome = expect(gr_command_end(start_tool(&streams, "--help", NULL)), 5);
    contains(outcome.err, "graph-runner: cannot write to standard output: No space left");
    gr_outcome_release(&outcome);
}
