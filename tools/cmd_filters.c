/*
 * graph-runner filters: a convolution's weights as a picture.
 */
#include "commands.h"
#include "session.h"
#include "terminal.h"

static int draw(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    struct gr_error err = {0};
    return gr_show_filters(session->model, settings->node, settings->together, settings->out, &err)
               ? GR_OK
               : gr_tool_error(&err);
}

static int run(const struct gr_settings *settings)
{
    return gr_session_run(settings, draw);
}

static const struct gr_option options[] = {
    GR_WEIGHTS_OPTION(true),
    {.name = "node",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(node),
     .value = "NAME",
     .doc = "the convolution (default: the first)"},
    {.name = "together",
     .type = GR_OPTION_FLAG,
     .offset = GR_FIELD(together),
     .doc = "one range of values for all filters, not one for each"},
    {.name = "output",
     .letter = 'o',
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(out),
     .value = "FILE",
     .def = "filters.png",
     .doc = "where to write the picture, as PNG, or JPEG by its name"},
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner filters models/alexnet.yaml --weights w.st -o conv1.png",
     "the paper's figure: what the first layer looks for"},
    {.line = NULL},
};

const struct gr_command gr_command_filters = {
    .name = "filters",
    .summary = "draw a convolution's weights",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description = "Draws the weights of a convolution: filters of three channels in colour, those "
                   "of others as one grey plane a channel, a row a filter. Zero is middle grey, "
                   "the largest magnitude black or white.",
    .options = options,
    .examples = examples,
    .run = run,
};
