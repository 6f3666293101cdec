/*
 * graph-runner eval: loss and metrics over a part of the data.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "classes.h"
#include "commands.h"
#include "format.h"
#include "interrupt.h"
#include "progress.h"
#include "report.h"
#include "session.h"
#include "table.h"

static double rate(const struct gr_eval_result *result)
{
    return result->seconds > 0 ? (double)result->images / result->seconds : 0;
}

static int print_json(const struct gr_session *session, const struct gr_eval_result *result,
                      const struct gr_class_result *classes)
{
    json_t *json =
        json_pack("{s:s, s:s, s:b, s:i, s:o, s:o, s:I, s:I, s:f, s:f}", "model",
                  gr_model_name(session->model), "part", result->part, "ten_crop",
                  result->views > 1, "views", result->views, "loss", gr_report_number(result->loss),
                  "metrics", gr_report_metrics(result->metrics, result->n_metrics), "images",
                  (json_int_t)result->images, "skipped", (json_int_t)result->skipped, "seconds",
                  result->seconds, "images_per_second", rate(result));
    if (json && classes)
        json_object_set_new(json, "classes",
                            gr_classes_json(classes, gr_model_classes(session->model)));
    return gr_report_json(json, false);
}

static int print_table(const struct gr_eval_result *result)
{
    static const struct gr_column columns[] = {{"", GR_LEFT}, {"", GR_RIGHT}};
    struct gr_table table = {.columns = columns, .n_columns = 2};
    char text[GR_FIGURE];
    gr_table_add(&table, "loss");
    gr_table_add(&table, "%.6f", result->loss);
    for (int i = 0; i < result->n_metrics; i++) {
        gr_table_add(&table, "%s", result->metrics[i].name);
        gr_table_add(&table, "%s", gr_percent_text(result->metrics[i].value, text));
    }
    if (result->views > 1) {
        gr_table_add(&table, "views");
        gr_table_add(&table, "%d an image", result->views);
    }
    gr_table_add(&table, "images");
    gr_table_add(&table, "%s", gr_grouped_text(result->images, text));
    gr_table_add(&table, "skipped");
    gr_table_add(&table, "%s", gr_grouped_text(result->skipped, text));
    gr_table_add(&table, "seconds");
    gr_table_add(&table, "%.3f", result->seconds);
    gr_table_add(&table, "images/s");
    gr_table_add(&table, "%s", gr_rate_text(rate(result), text));
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

static int print(const struct gr_session *session, const struct gr_eval_result *result,
                 const struct gr_class_result *classes)
{
    if (session->settings->json)
        return print_json(session, result, classes);
    const int status = print_table(result);
    return status == GR_OK && classes ? gr_classes_print(classes, gr_model_classes(session->model))
                                      : status;
}

/* classes has room for all, or is NULL. */
static int evaluate_with(const struct gr_session *session, struct gr_class_result *classes)
{
    const struct gr_settings *settings = session->settings;
    struct gr_display display = {.quiet = settings->quiet};
    struct gr_eval_result result = {0};
    struct gr_error err = {0};
    const struct gr_eval_options options = {
        .part = settings->part,
        .batch = settings->batch,
        .precision = (enum gr_precision)settings->precision,
        .ten_crop = settings->ten_crop,
        .csv = settings->csv,
        .confusion = (const char *const *)settings->confusion.items,
        .n_confusion = settings->confusion.count,
        .per_class = classes,
        .max_corrupt = settings->max_corrupt ? settings->max_corrupt : -1,
        .progress = gr_display_progress,
        .progress_user = &display,
    };
    gr_interrupt_watch();
    const bool ok = gr_evaluate(session->model, &options, &result, &err);
    gr_display_end(&display);
    if (gr_interrupt_signal())
        return 128 + gr_interrupt_signal();
    return ok ? print(session, &result, classes) : gr_tool_error(&err);
}

static int evaluate(const struct gr_session *session)
{
    struct gr_class_result *classes = NULL;
    if (session->settings->per_class) {
        classes = calloc((size_t)gr_model_classes(session->model) + 1, sizeof *classes);
        if (!classes)
            return gr_tool_no_memory();
    }
    const int status = evaluate_with(session, classes);
    free(classes);
    return status;
}

static int run(const struct gr_settings *settings)
{
    return gr_session_run(settings, evaluate);
}

static const struct gr_option options[] = {
    GR_WEIGHTS_OPTION(true),
    {.name = "part",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(part),
     .value = "NAME",
     .doc = "the part of the data (default: test if the model has one, else val)"},
    {.name = "csv",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(csv),
     .value = "FILE",
     .doc = "also write a line for each image: file, label, predicted class, its probability, "
            "loss, the label's rank, the five likeliest classes"},
    GR_TEN_CROP_OPTION,
    {.name = "per-class",
     .type = GR_OPTION_FLAG,
     .offset = GR_FIELD(per_class),
     .doc = "also show the accuracy of classes, the worst and the best; with --json of all"},
    {.name = "confusion",
     .type = GR_OPTION_WORD,
     .offset = GR_FIELD(confusion),
     .value = "FILE",
     .doc = "also write the confusion matrix: FILE.csv, or drawn as FILE.svg or FILE.png; may be "
            "repeated"},
    GR_MAX_CORRUPT_OPTION,
    GR_JSON_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner eval models/lenet.yaml --weights runs/lenet/best.safetensors",
     "how good the best checkpoint is"},
    {"graph-runner eval models/lenet.yaml --weights w.st --part train --json",
     "on the training images, as JSON"},
    {"graph-runner eval models/lenet.yaml --weights w.st --confusion confusion.svg",
     "with a picture of what is taken for what"},
    {.line = NULL},
};

const struct gr_command gr_command_eval = {
    .name = "eval",
    .summary = "measure loss and accuracy of trained weights",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "Runs the model over a part of its data, each image exactly once whatever the "
        "batch, and prints the loss and the model's metrics.\n\n"
        "With --ten-crop the probabilities of an image are the averages over ten windows "
        "of it, in the place of the last crop among its transforms: the centre, the four "
        "corners, and the reflections of these. A batch is then so many windows.",
    .options = options,
    .examples = examples,
    .run = run,
};
