/*
 * The table of commands; see commands.h.
 */
#include "commands.h"

#include <string.h>

#include "terminal.h"

const struct gr_command *const gr_commands[] = {
    &gr_command_train,
    &gr_command_eval,
    &gr_command_predict,
    &gr_command_run,
    &gr_command_dot,
    &gr_command_summary,
    &gr_command_plan,
    &gr_command_bench,
    &gr_command_check,
    &gr_command_gradcheck,
    &gr_command_ops,
    &gr_command_help,
    NULL,
};

enum { COMMANDS = sizeof gr_commands / sizeof *gr_commands - 1 };

const struct gr_command *gr_command_find(const char *name)
{
    const char *names[COMMANDS];
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(gr_commands[i]->name, name) == 0)
            return gr_commands[i];
        names[i] = gr_commands[i]->name;
    }
    const char *near = gr_nearest(name, names, COMMANDS);
    gr_tool_fail(GR_ERR_USAGE, "unknown %s '%s'%s%s%s", name[0] == '-' ? "option" : "command", name,
                 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    fputs("try 'graph-runner --help'\n", stderr);
    return NULL;
}
