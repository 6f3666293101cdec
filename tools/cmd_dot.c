/*
 * graph-runner dot: the compiled graph as Graphviz text, or as a picture where Graphviz is
 * installed.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe2 */
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "session.h"
#include "terminal.h"

extern char **environ;

/* What the end of a file's name asks for; argument NULL: the text itself. */
static const struct format {
    const char *end, *argument;
} formats[] = {
    {".dot", NULL}, {".gv", NULL}, {".svg", "-Tsvg"}, {".png", "-Tpng"}, {".pdf", "-Tpdf"}};

static const struct format *find_format(const char *path)
{
    const size_t length = strlen(path);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const size_t end = strlen(formats[i].end);
        if (length > end && strcmp(path + length - end, formats[i].end) == 0)
            return &formats[i];
    }
    return NULL;
}

static int write_text(const char *text, const char *path)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return gr_tool_fail(GR_ERR_RUNTIME, "cannot write %s: %s", path, strerror(errno));
    bool ok = fputs(text, file) >= 0;
    ok = fclose(file) == 0 && ok;
    return ok ? GR_OK : gr_tool_fail(GR_ERR_RUNTIME, "cannot write %s: %s", path, strerror(errno));
}

/* Starts `dot argument -o path` reading from a pipe; *input is the pipe's other end. */
static int start(const char *argument, const char *path, pid_t *child, int *input)
{
    /* Pixels enough to read on a screen; Graphviz's own 96 an inch are not. */
    char words[][16] = {"dot", "-o", "-Gdpi=144"}, type[16];
    char *copy = malloc(strlen(path) + 1);
    int ends[2] = {-1, -1}, failure = copy ? 0 : ENOMEM;
    posix_spawn_file_actions_t actions;
    if (!failure && pipe2(ends, O_CLOEXEC) != 0)
        failure = errno;
    if (!failure && !(failure = posix_spawn_file_actions_init(&actions))) {
        snprintf(type, sizeof type, "%s", argument);
        char *const arguments[] = {words[0],
                                   type,
                                   words[1],
                                   strcpy(copy, path),
                                   strcmp(type, "-Tpng") == 0 ? words[2] : NULL,
                                   NULL};
        failure = posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
        if (!failure)
            failure = posix_spawnp(child, "dot", &actions, NULL, arguments, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    free(copy);
    if (ends[0] >= 0)
        close(ends[0]);
    if (failure && ends[1] >= 0)
        close(ends[1]);
    *input = ends[1];
    return failure;
}

static bool write_all(int file, const char *text)
{
    for (size_t left = strlen(text); left;) {
        const ssize_t written = write(file, text, left);
        if (written < 0 && errno != EINTR)
            return false;
        text += written > 0 ? written : 0;
        left -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

static int draw(const char *text, const char *argument, const char *path)
{
    pid_t child = 0;
    int input = -1, state = 0;
    const int failure = start(argument, path, &child, &input);
    if (failure == ENOENT)
        return gr_tool_fail(GR_ERR_RUNTIME,
                            "%s needs the program dot: install Graphviz (Debian: apt install "
                            "graphviz), or ask for a .dot file",
                            path);
    if (failure)
        return gr_tool_fail(GR_ERR_RUNTIME, "cannot start dot: %s", strerror(failure));
    signal(SIGPIPE, SIG_IGN); /* if dot ends early, its exit code tells */
    const bool written = write_all(input, text);
    close(input);
    while (waitpid(child, &state, 0) < 0 && errno == EINTR)
        continue;
    if (!written || !WIFEXITED(state) || WEXITSTATUS(state) != 0)
        return gr_tool_fail(GR_ERR_RUNTIME, "dot could not write %s", path);
    return GR_OK;
}

static int export(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    const struct gr_plan_options options = {.mode = (enum gr_mode)settings->mode,
                                            .update = settings->mode == GR_TRAIN,
                                            .reference = settings->no_fusion};
    const struct format *format = settings->out ? find_format(settings->out) : NULL;
    struct gr_error err = {0};
    struct gr_plan *plan = gr_session_plan(session, options, &err);
    char *text = plan ? gr_plan_dot(plan, &err) : NULL;
    gr_plan_free(plan);
    int status = GR_OK;
    if (!text)
        status = gr_tool_error(&err);
    else if (!format)
        fputs(text, stdout);
    else if (format->argument)
        status = draw(text, format->argument, settings->out);
    else
        status = write_text(text, settings->out);
    free(text);
    return status;
}

static int run(const struct gr_settings *original)
{
    struct gr_settings settings = *original;
    if (settings.out && strcmp(settings.out, "-") == 0)
        settings.out = NULL;
    if (settings.out && !find_format(settings.out))
        return gr_tool_fail(GR_ERR_USAGE, "dot: '%s' ends in none of .dot, .gv, .svg, .png, .pdf",
                            settings.out);
    return gr_session_run(&settings, export);
}

static const struct gr_option options[] = {
    {.name = "output",
     .letter = 'o',
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(out),
     .value = "FILE",
     .doc = "FILE.dot, or a picture: FILE.svg, FILE.png, FILE.pdf (default: text "
            "on standard output)"},
    GR_MODE_OPTION("infer"),
    {.name = "no-fusion",
     .type = GR_OPTION_FLAG,
     .offset = GR_FIELD(no_fusion),
     .doc = "each node as written, none taken over by another"},
    GR_MEMORY_BUDGET_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner dot models/alexnet.yaml -o alexnet.svg", "a picture of inference"},
    {"graph-runner dot models/lenet.yaml --mode train | less",
     "forward, backward and update as text"},
    {.line = NULL},
};

const struct gr_command gr_command_dot = {
    .name = "dot",
    .summary = "draw the graph",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description = "Writes the graph as it is run, for Graphviz: nodes with their attributes, "
                   "parameters and MACs, edges with their shapes.",
    .options = options,
    .examples = examples,
    .run = run,
};
