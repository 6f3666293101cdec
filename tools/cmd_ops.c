/*
 * graph-runner ops: the registry as documentation.
 */
#include <stdlib.h>

#include "commands.h"
#include "terminal.h"

static int run(const struct gr_settings *settings)
{
    struct gr_error err = {0};
    const char *name = settings->operands.count ? settings->operands.items[0] : NULL;
    char *text = gr_document(gr_standard_ops(), name, &err);
    if (!text)
        return gr_tool_error(&err);
    fputs(text, stdout);
    free(text);
    return GR_OK;
}

static const struct gr_example examples[] = {
    {"graph-runner ops", "everything a model file can name"},
    {"graph-runner ops conv", "one op with its inputs, attributes and parameters"},
    {.line = NULL},
};

const struct gr_command gr_command_ops = {
    .name = "ops",
    .summary = "what a model file can name, with every attribute",
    .operands = "[NAME]",
    .max_operands = 1,
    .description = "Prints the documentation of an op, an initialiser, an optimizer, a "
                   "learning-rate policy, a data source or a transform; without a name, of all.",
    .no_common = true,
    .examples = examples,
    .run = run,
};
