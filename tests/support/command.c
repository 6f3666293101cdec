/*
 * Programs run by tests; see command.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* posix_spawn */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "folder.h"

extern char **environ;

enum { MOST_ARGUMENTS = 32 };

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
    assert_int_equal(posix_spawn_file_actions_addopen(
                         actions, number, path ? path : gr_folder_file(usual, file),
                         O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, 0600),
                     0);
}

pid_t gr_command_start(const char *const *arguments, const struct gr_command_streams *streams)
{
    posix_spawn_file_actions_t actions;
    char *copies[MOST_ARGUMENTS + 1] = {NULL};
    pid_t pid = 0;
    for (size_t i = 0; arguments[i]; i++) {
        assert_true(i < MOST_ARGUMENTS);
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

char *gr_command_read(const char *path)
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

struct gr_outcome gr_command_end(pid_t pid)
{
    char path[GR_FOLDER_PATH];
    int state = 0;
    assert_int_equal(waitpid(pid, &state, 0), pid);
    return (struct gr_outcome){
        .status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state),
        .out = gr_command_read(gr_folder_file("stdout", path)),
        .err = gr_command_read(gr_folder_file("stderr", path))};
}
