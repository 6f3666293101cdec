/*
 * graph-runner features: a layer's activations for many images, as safetensors.
 */
#include <inttypes.h>
#include <string.h>

#include "commands.h"
#include "format.h"
#include "interrupt.h"
#include "progress.h"
#include "report.h"
#include "session.h"
#include "table.h"

static double rate(const struct gr_features_result *result)
{
    return result->seconds > 0 ? (double)result->images / result->seconds : 0;
}

static int print_json(const struct gr_features_result *result, const char *path)
{
    return gr_report_json(
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:s}", "layer", result->layer, "about",
                  result->about, "length", (json_int_t)gr_shape_count(&result->shape), "images",
                  (json_int_t)result->images, "skipped", (json_int_t)result->skipped, "seconds",
                  result->seconds, "images_per_second", rate(result), "file", path),
        false);
}

static int print_table(const struct gr_features_result *result, const char *path)
{
    static const struct gr_column columns[] = {{"", GR_LEFT}, {"", GR_RIGHT}, {"", GR_LEFT}};
    struct gr_table table = {.columns = columns, .n_columns = 3};
    char text[GR_FIGURE], shape[GR_SHAPE_TEXT];
    const struct {
        const char *name, *about;
        int64_t value;
    } rows[] = {{"images", "", result->images},
                {"skipped", "", result->skipped},
                {"values", result->shape.rank > 1 ? gr_shape_text(&result->shape, shape) : "",
                 gr_shape_count(&result->shape)}};
    gr_table_add(&table, "layer");
    gr_table_add(&table, "%s", result->layer);
    gr_table_add(&table, "%s", result->about);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gr_table_add(&table, "%s", rows[i].name);
        gr_table_add(&table, "%s", gr_grouped_text(rows[i].value, text));
        gr_table_add(&table, "%s", rows[i].about);
    }
    gr_table_add(&table, "images/s");
    gr_table_add(&table, "%s", gr_rate_text(rate(result), text));
    gr_table_add(&table, "%s", "");
    gr_table_add(&table, "file");
    gr_table_add(&table, "%s", "");
    gr_table_add(&table, "%s", path);
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

static int compute(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    struct gr_display display = {.quiet = settings->quiet};
    struct gr_features_result result = {.images = 0};
    struct gr_error err = {0};
    const struct gr_features_options options = {
        .layer = settings->layer,
        .part = settings->part,
        .images = (const char *const *)settings->operands.items + 1,
        .n_images = settings->operands.count - 1,
        .batch = settings->batch,
        .precision = (enum gr_precision)settings->precision,
        .max_corrupt = settings->max_corrupt ? settings->max_corrupt : -1,
        .progress = gr_display_progress,
        .progress_user = &display,
    };
    gr_interrupt_watch();
    const bool ok = gr_features_write(session->model, &options, settings->out, &result, &err);
    gr_display_end(&display);
    if (gr_interrupt_signal())
        return 128 + gr_interrupt_signal();
    if (!ok)
        return gr_tool_error(&err);
    if (strcmp(settings->out, "-") == 0) /* the features are the output */
        return GR_OK;
    return settings->json ? print_json(&result, settings->out)
                          : print_table(&result, settings->out);
}

static int run(const struct gr_settings *settings)
{
    if (settings->part && settings->operands.count > 1)
        return gr_tool_fail(GR_ERR_USAGE, "features: either images or --part, not both");
    return gr_session_run(settings, compute);
}

static const struct gr_option options[] = {
    GR_WEIGHTS_OPTION(true),
    {.name = "layer",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(layer),
     .value = "NAME",
     .doc = "a value of the model, as for run --fetch: relu7 is behind the ReLU, fc7 before it "
            "(default: what the last layer with weights reads, without dropout)"},
    {.name = "part",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(part),
     .value = "NAME",
     .doc = "the part of the data (default: test if the model has one, else val)"},
    {.name = "output",
     .letter = 'o',
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(out),
     .value = "FILE",
     .def = "features.safetensors",
     .doc = "where to write them"},
    GR_MAX_CORRUPT_OPTION,
    GR_JSON_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner features models/alexnet.yaml --weights w.st photos -o photos.st",
     "4096 numbers for each picture in a folder and those in it"},
    {"graph-runner features models/alexnet.yaml --weights w.st --part train",
     "of the training images"},
    {"graph-runner features models/alexnet.yaml --weights w.st --layer pool5 cat.jpg",
     "256 planes of 6 by 6, one after the other"},
    {.line = NULL},
};

const struct gr_command gr_command_features = {
    .name = "features",
    .summary = "write a layer's activations for images",
    .operands = "MODEL [IMAGE|FOLDER...]",
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .description =
        "Writes the activations of a layer, a row an image, for image files and folders or a part "
        "of the model's data, prepared as for evaluation. The file holds the tensors features "
        "[N, D], labels [N] and files (the names, each ended by a zero byte), and in its metadata "
        "layer, shape, class_names and more. 'nearest' searches it.\n\n"
        "In a folder, all image files count and those of folders in it; the name of an image's "
        "folder is its class. Images that cannot be read are named and left out.",
    .options = options,
    .examples = examples,
    .run = run,
};
