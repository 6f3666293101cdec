/*
 * The commands. Each is one file that ends in a const struct gr_command; the table in commands.c
 * lists them in the order of the help page. A command may be a table of further ones ("data show").
 */
#ifndef GR_TOOLS_COMMANDS_H
#define GR_TOOLS_COMMANDS_H

#include <stdio.h>

#include "options.h"

struct gr_example {
    const char *line, *doc;
};

struct gr_command {
    const char *name, *summary;
    const struct gr_command *const *parts; /* further commands, NULL-terminated; or NULL */
    const char *operands;                  /* "MODEL IMAGE..." */
    size_t min_operands, max_operands;
    const char *description;           /* paragraphs, separated by an empty line */
    const struct gr_option *options;   /* its own, or NULL */
    bool transfers;                    /* takes --weights over by name as far as they fit */
    bool tunes;                        /* runs so long that kernels are measured for it */
    bool no_common;                    /* gr_common_options mean nothing to it */
    const struct gr_example *examples; /* ends with line NULL */
    int (*run)(const struct gr_settings *settings); /* returns the exit code */
};

/* Ends with NULL. */
extern const struct gr_command *const gr_commands[];

/*
 * The command that the first word names, or the first two; *used says how many did. It has parts
 * where a second word is missing or an option. NULL after saying that there is none of that name.
 */
const struct gr_command *gr_command_find(char *const *words, size_t count, size_t *used);

/* The help pages (help.c). command NULL: the one about all of them. */
void gr_help_print(FILE *file, const struct gr_command *command);

extern const struct gr_command gr_command_bench, gr_command_check, gr_command_data,
    gr_command_data_check, gr_command_data_pack, gr_command_data_show, gr_command_dot,
    gr_command_eval, gr_command_features, gr_command_filters, gr_command_gradcheck, gr_command_help,
    gr_command_nearest, gr_command_ops, gr_command_plan, gr_command_predict, gr_command_report,
    gr_command_run, gr_command_summary, gr_command_train;

#endif
