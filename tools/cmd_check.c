/*
 * graph-runner check: is a model file right?
 */
#include <inttypes.h>

#include "commands.h"
#include "format.h"
#include "session.h"
#include "terminal.h"

static int check(const struct gr_settings *settings, const char *path)
{
    struct gr_session session = {0};
    char parameters[GR_FIGURE];
    const int status = gr_session_open(&session, settings, path);
    if (status == GR_OK)
        printf("%s: ok (%zu nodes, %s parameters)\n", path, gr_model_node_count(session.model),
               gr_grouped_text(gr_model_parameter_count(session.model), parameters));
    gr_session_close(&session);
    return status;
}

static int run(const struct gr_settings *settings)
{
    int worst = GR_OK;
    for (size_t i = 0; i < settings->operands.count; i++) {
        const int status = check(settings, settings->operands.items[i]);
        worst = worst == GR_OK ? status : worst;
    }
    return worst;
}

static const struct gr_example examples[] = {
    {"graph-runner check models/*.yaml", "every model in a folder"},
    {.line = NULL},
};

const struct gr_command gr_command_check = {
    .name = "check",
    .summary = "find the mistakes in model files",
    .operands = "MODEL...",
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .description = "Reads model files and reports every mistake in them, with its place and, where "
                   "there is one, a suggestion. No data are read.",
    .examples = examples,
    .run = run,
};
