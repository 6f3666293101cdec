/*
 * graph-runner data: the table of commands about a model's data.
 */
#include "commands.h"

static const struct gr_command *const parts[] = {
    &gr_command_data_check,
    &gr_command_data_pack,
    &gr_command_data_show,
    NULL,
};

const struct gr_command gr_command_data = {
    .name = "data",
    .summary = "look at a model's data, and pack them",
    .parts = parts,
    .operands = "COMMAND ...",
    .description = "What can be done with the data that a model file names.",
    .no_common = true,
};
