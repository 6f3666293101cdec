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
#include "profile_file.h"
#include "session.h"
#include "terminal.h"

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

static int show(const char *text, const struct gr_settings *settings)
{
    const struct format *format = settings->out ? find_format(settings->out) : NULL;
    if (format && format->argument)
        return draw(text, format->argument, settings->out);
    if (format)
        return write_text(text, settings->out);
    fputs(text, stdout);
    return GR_OK;
}

/* Without a profile it is empty. */
static int draw_plan(const struct gr_session *session, const struct gr_plan *plan,
                     const struct gr_profile_file *file)
{
    struct gr_error err = {0};
    struct gr_dot_profile profile = {0};
    double *seconds = malloc((gr_plan_node_count(plan) + 1) * sizeof *seconds);
    int status = seconds ? GR_OK : gr_tool_no_memory();
    if (status == GR_OK && file->json)
        status = gr_profile_file_match(file, session, plan, seconds, &profile);
    if (status == GR_OK) {
        char *text = gr_plan_dot(plan, file->json ? &profile : NULL, &err);
        status = text ? show(text, session->settings) : gr_tool_error(&err);
        free(text);
    }
    free(seconds);
    return status;
}

static int export(const struct gr_session *session, const struct gr_profile_file *file)
{
    const struct gr_settings *settings = session->settings;
    const struct gr_plan_options options = {.mode = (enum gr_mode)settings->mode,
                                            .update = settings->mode == GR_TRAIN,
                                            .reference = settings->no_fusion};
    struct gr_error err = {0};
    struct gr_plan *plan = gr_session_plan(session, options, &err);
    const int status = plan ? draw_plan(session, plan, file) : gr_tool_error(&err);
    gr_plan_free(plan);
    return status;
}

/* What is drawn: as said, else as the profile says. The first of the modes is none. */
static const char *const modes[] = {"auto", "infer", "train", NULL};

static int run(const struct gr_settings *original)
{
    struct gr_settings settings = *original;
    struct gr_profile_file profile = {0};
    struct gr_session session = {0};
    int status = GR_OK;
    if (settings.out && strcmp(settings.out, "-") == 0)
        settings.out = NULL;
    if (settings.out && !find_format(settings.out))
        return gr_tool_fail(GR_ERR_USAGE, "dot: '%s' ends in none of .dot, .gv, .svg, .png, .pdf",
                            settings.out);
    settings.mode = settings.mode ? settings.mode - 1 : -1;
    if (settings.profile)
        status = gr_profile_file_open(&profile, settings.profile, &settings);
    if (settings.mode < 0)
        settings.mode = GR_INFER;
    if (status == GR_OK)
        status = gr_session_open(&session, &settings, settings.operands.items[0]);
    if (status == GR_OK)
        status = export(&session, &profile);
    gr_session_close(&session);
    gr_profile_file_close(&profile);
    return status;
}

static const struct gr_option options[] = {
    {.name = "output",
     .letter = 'o',
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(out),
     .value = "FILE",
     .doc = "FILE.dot, or a picture: FILE.svg, FILE.png, FILE.pdf (default: text "
            "on standard output)"},
    {.name = "mode",
     .type = GR_OPTION_CHOICE,
     .offset = GR_FIELD(mode),
     .value = "auto|infer|train",
     .choices = modes,
     .def = "auto",
     .doc = "inference, or a whole training step; auto: as the profile, else inference"},
    {.name = "profile",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(profile),
     .value = "FILE",
     .doc = "colour it by time and memory: what bench --json --nodes printed, or bench --trace "
            "wrote, of the same model"},
    {.name = "no-fusion",
     .type = GR_OPTION_FLAG,
     .offset = GR_FIELD(no_fusion),
     .doc = "each node as written, none taken over by another"},
    GR_MEMORY_BUDGET_OPTION(""),
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner dot models/alexnet.yaml -o alexnet.svg", "a picture of inference"},
    {"graph-runner dot models/lenet.yaml --mode train | less",
     "forward, backward and update as text"},
    {"graph-runner dot models/alexnet.yaml --profile bench.json -o time.svg",
     "where time and memory go"},
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
