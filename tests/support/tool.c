/*
 * The tool run by tests; see tool.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* posix_spawn, posix_openpt */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "folder.h"
#include "tool.h"

extern char **environ;

enum { MOST_ARGUMENTS = 30 };

static char model[GR_FOLDER_PATH];

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

void gr_outcome_release(struct gr_outcome *outcome)
{
    free(outcome->out);
    free(outcome->err);
    *outcome = (struct gr_outcome){0};
}

static void redirect(posix_spawn_file_actions_t *actions, int number, const char *path,
                     const char *usual)
{
    char file[GR_FOLDER_PATH];
    assert_int_equal(
        posix_spawn_file_actions_addopen(actions, number, path ? path : gr_folder_file(usual, file),
                                         O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, 0600),
        0);
}

static pid_t start(const char *const *arguments, const struct gr_tool_streams *streams)
{
    posix_spawn_file_actions_t actions;
    char *copies[MOST_ARGUMENTS + 2] = {NULL};
    pid_t pid = 0;
    for (size_t i = 0; arguments[i]; i++) {
        assert_true(i <= MOST_ARGUMENTS);
        copies[i] = malloc(strlen(arguments[i]) + 1);
        assert_non_null(copies[i]);
        strcpy(copies[i], arguments[i]);
    }
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0), 0);
    redirect(&actions, STDOUT_FILENO, streams ? streams->out : NULL, "stdout");
    redirect(&actions, STDERR_FILENO, streams ? streams->err : NULL, "stderr");
    assert_int_equal(posix_spawn(&pid, copies[0], &actions, NULL, copies, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 0; copies[i]; i++)
        free(copies[i]);
    return pid;
}

char *gr_tool_terminal_read(int terminal)
{
    size_t length = 0;
    enum { CAPACITY = 1 << 20 };
    char *text = malloc(CAPACITY);
    assert_non_null(text);
    for (ssize_t got;
         length < CAPACITY - 1 && (got = read(terminal, text + length, CAPACITY - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = '\0';
    return text;
}

int gr_tool_terminal(unsigned short columns, const char **name)
{
    const struct winsize size = {.ws_row = 24, .ws_col = columns};
    const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0 || grantpt(terminal) || unlockpt(terminal) || !(*name = ptsname(terminal)) ||
        access(*name, R_OK | W_OK)) {
        print_message("no terminal can be had here (%s): is /dev/pts mounted?\n", strerror(errno));
        if (terminal >= 0)
            close(terminal);
        skip();
    }
    assert_int_equal(ioctl(terminal, TIOCSWINSZ, &size), 0);
    return terminal;
}

char *gr_tool_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t length = 0, capacity = 1 << 16;
    char *text = malloc(capacity);
    assert_non_null(text);
    for (size_t got; file && (got = fread(text + length, 1, capacity - length - 1, file)) > 0;) {
        length += got;
        if (capacity - length < 2) {
            capacity *= 2;
            text = realloc(text, capacity);
            assert_non_null(text);
        }
    }
    if (file)
        fclose(file);
    text[length] = '\0';
    return text;
}

static struct gr_outcome end(pid_t pid)
{
    char path[GR_FOLDER_PATH];
    int state = 0;
    assert_int_equal(waitpid(pid, &state, 0), pid);
    return (struct gr_outcome){.status =
                                   WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state),
                               .out = gr_tool_read(gr_folder_file("stdout", path)),
                               .err = gr_tool_read(gr_folder_file("stderr", path))};
}

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

struct gr_outcome gr_tool_end(int status, pid_t pid)
{
    struct gr_outcome outcome = end(pid);
    if (outcome.status != status)
        fail_msg("exit code %d, not %d; output:\n%s%s", outcome.status, status, outcome.out,
                 outcome.err);
    return outcome;
}

pid_t gr_tool_start(const struct gr_tool_streams *streams, ...)
{
    const char *words[MOST_ARGUMENTS + 2];
    va_list args;
    va_start(args, streams);
    fill(words, args);
    va_end(args);
    return start(words, streams);
}

struct gr_outcome gr_tool_run(int status, ...)
{
    const char *words[MOST_ARGUMENTS + 2];
    va_list args;
    va_start(args, status);
    fill(words, args);
    va_end(args);
    return gr_tool_end(status, start(words, NULL));
}

void gr_tool_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("there is no '%s' in:\n%s", part, text);
}

void gr_tool_lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("there is '%s' in:\n%s", part, text);
}

json_t *gr_tool_parse(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("not JSON: %s in:\n%s", error.text, text);
    return json;
}

double gr_tool_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("'%s' is no number", key);
    return json_number_value(value);
}

void gr_tool_save(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

int gr_tool_set_up(void **state)
{
    if (gr_folder_set_up(state) != 0)
        return -1;
    char cache[GR_FOLDER_PATH]; /* of the tests' own, empty at first */
    setenv("GRAPH_RUNNER_CACHE", gr_folder_file("cache", cache), 1);
    gr_tool_save(gr_folder_file("tiny.yaml", model), model_text);
    return 0;
}

const char *gr_tool_model(void)
{
    return model;
}
