/*
 * The table of commands; see commands.h.
 */
#include "commands.h"

#include <string.h>

#include "terminal.h"

/* clang-format off */
const struct gr_command *const gr_commands[] = {
    &gr_command_train,
    &gr_command_eval,
    &gr_command_predict,
    &gr_command_report,
    &gr_command_features,
    &gr_command_nearest,
    &gr_command_filters,
    &gr_command_run,
    &gr_command_dot,
    &gr_command_summary,
    &gr_command_plan,
    &gr_command_bench,
    &gr_command_check,
    &gr_command_data,
    &gr_command_gradcheck,
    &gr_command_ops,
    &gr_command_help,
    NULL,
};
/* clang-format on */

enum { MOST_COMMANDS = 32 };

/* The last word of a command's name: "show" of "data show". */
static const char *own_name(const struct gr_command *command)
{
    const char *space = strrchr(command->name, ' ');
    return space ? space + 1 : command->name;
}

/* `of` is the command whose parts the table holds; NULL: it holds all commands. */
static const struct gr_command *find_in(const struct gr_command *const *table, const char *name,
                                        const struct gr_command *of)
{
    const char *names[MOST_COMMANDS];
    size_t count = 0;
    for (; table[count]; count++) {
        names[count] = own_name(table[count]);
        if (strcmp(names[count], name) == 0)
            return table[count];
    }
    const char *near = gr_nearest(name, names, count);
    gr_tool_fail(GR_ERR_USAGE, "%s%sunknown %s '%s'%s%s%s", of ? of->name : "", of ? ": " : "",
                 name[0] == '-' ? "option" : "command", name, near ? "; did you mean '" : "",
                 near ? near : "", near ? "'?" : "");
    fprintf(stderr, "try 'graph-runner %s%s--help'\n", of ? of->name : "", of ? " " : "");
    return NULL;
}

const struct gr_command *gr_command_find(char *const *words, size_t count, size_t *used)
{
    const struct gr_command *command = find_in(gr_commands, words[0], NULL);
    *used = 1;
    if (!command || !command->parts || count < 2 || words[1][0] == '-')
        return command;
    *used = 2;
    return find_in(command->parts, words[1], command);
}
