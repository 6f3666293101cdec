/*
 * graph-runner: finds the command, reads its options, runs it. The exit codes are those of enum
 * gr_status, and 128 plus the signal when one ended the work.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "terminal.h"

static int run_command(const struct gr_command *command, char **arguments, size_t count)
{
    struct gr_settings settings = {
        .command = command, .arguments = arguments, .n_arguments = count};
    int status = GR_ERR_USAGE;
    if (!gr_options_parse(&settings, arguments, count))
        goto out;
    gr_tool_log_level(settings.quiet     ? GR_LOG_WARNING
                      : settings.verbose ? GR_LOG_DEBUG
                                         : GR_LOG_INFO);
    if (settings.help) {
        gr_help_print(stdout, command);
        status = GR_OK;
    } else {
        status = command->run(&settings);
    }
out:
    gr_settings_release(&settings);
    return status;
}

/* A command that is a table of others, without the name of one. */
static int run_parts(const struct gr_command *command, char **arguments, size_t count)
{
    if (count && (strcmp(arguments[0], "--help") == 0 || strcmp(arguments[0], "-h") == 0)) {
        gr_help_print(stdout, command);
        return GR_OK;
    }
    if (count)
        gr_tool_fail(GR_ERR_USAGE, "%s: unknown option '%s'", command->name, arguments[0]);
    else
        gr_tool_fail(GR_ERR_USAGE, "%s: COMMAND is missing", command->name);
    fprintf(stderr, "try 'graph-runner %s --help'\n", command->name);
    return GR_ERR_USAGE;
}

static int run(int argc, char **argv)
{
    size_t used;
    if (argc < 2) {
        gr_help_print(stderr, NULL);
        return GR_ERR_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("graph-runner %s\n", GR_VERSION);
        return GR_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        gr_help_print(stdout, NULL);
        return GR_OK;
    }
    const size_t words = (size_t)argc - 1;
    const struct gr_command *command = gr_command_find(argv + 1, words, &used);
    if (!command)
        return GR_ERR_USAGE;
    return (command->parts ? run_parts : run_command)(command, argv + 1 + used, words - used);
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "C.UTF-8"); /* for the width of texts only */
    signal(SIGXFSZ, SIG_IGN);       /* beyond a limit on files, writing fails as on a full disk */
    const int status = run(argc, argv);
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        return gr_tool_fail(GR_ERR_RUNTIME, "cannot write to standard output: %s",
                            strerror(errno ? errno : EIO));
    return status;
}
