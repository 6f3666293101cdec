/*
 * graph-runner data show: a contact sheet of samples as training sees them.
 */
#include <inttypes.h>

#include "commands.h"
#include "session.h"
#include "terminal.h"

static int show(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    const struct gr_show_options options = {
        .part = settings->part, .epoch = settings->epochs, .count = settings->count};
    struct gr_error err = {0};
    int64_t shown = 0;
    if (!gr_show_data(session->model, &options, settings->out, &shown, &err))
        return gr_tool_error(&err);
    if (shown < options.count)
        gr_tool_warn("there are %" PRId64 " samples, not %" PRId64, shown, options.count);
    return GR_OK;
}

static int run(const struct gr_settings *settings)
{
    return gr_session_run(settings, show);
}

static const struct gr_option options[] = {
    {.name = "part",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(part),
     .value = "NAME",
     .def = "train",
     .doc = "the part of the data"},
    {.name = "count",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(count),
     .value = "N",
     .min = 1,
     .max = 10000,
     .def = "32",
     .doc = "samples to show"},
    {.name = "epoch",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(epochs),
     .value = "N",
     .min = 1,
     .max = 1e9,
     .def = "1",
     .doc = "as in this epoch of training, counting from 1"},
    {.name = "output",
     .letter = 'o',
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(out),
     .value = "FILE",
     .def = "sheet.png",
     .doc = "where to write the picture, as PNG, or JPEG by its name"},
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner data show models/alexnet.yaml -o sheet.png",
     "the first 32 images of training, cropped, mirrored and coloured"},
    {"graph-runner data show models/alexnet.yaml --part val --count 100",
     "the first hundred of validation"},
    {.line = NULL},
};

const struct gr_command gr_command_data_show = {
    .name = "data show",
    .summary = "a contact sheet of samples as training sees them",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "Writes a picture of the first samples of a part of the data, after its transforms, with "
        "their classes. Those of train are in the order of the epoch and changed at random as in "
        "a training run with the same --seed; only scaling to the network's values is undone, "
        "and what lies beyond 0 to 255 then is cut.",
    .options = options,
    .examples = examples,
    .run = run,
};
