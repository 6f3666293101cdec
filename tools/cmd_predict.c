/*
 * graph-runner predict: what images show.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "commands.h"
#include "format.h"
#include "report.h"
#include "session.h"
#include "table.h"

static const char *class_text(const struct gr_prediction *row, char buffer[GR_FIGURE])
{
    if (row->class_name)
        return row->class_name;
    snprintf(buffer, GR_FIGURE, "%" PRId64, row->index);
    return buffer;
}

/* rows is [images, top]; there is no class where the index is negative. */
static int print_table(const struct gr_words *images, const struct gr_prediction *rows, size_t top)
{
    static const struct gr_column columns[] = {
        {"file", GR_LEFT}, {"class", GR_LEFT}, {"probability", GR_RIGHT}, {"", GR_LEFT}};
    struct gr_table table = {.columns = columns, .n_columns = 4};
    char name[GR_FIGURE], share[GR_FIGURE], bar[GR_FIGURE];
    for (size_t i = 0; i < images->count; i++) {
        if (i && top > 1)
            gr_table_rule(&table);
        for (size_t k = 0; k < top && rows[i * top + k].index >= 0; k++) {
            const struct gr_prediction *row = &rows[i * top + k];
            gr_table_add(&table, "%s", k == 0 ? images->items[i] : "");
            gr_table_add(&table, "%s", class_text(row, name));
            gr_table_add(&table, "%s", gr_percent_text((double)row->probability, share));
            gr_table_add(&table, "%s", gr_bar_text((double)row->probability, bar));
        }
    }
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

static json_t *predictions_json(const struct gr_prediction *rows, size_t top)
{
    json_t *list = json_array();
    for (size_t k = 0; k < top && rows[k].index >= 0; k++)
        json_array_append_new(list,
                              json_pack("{s:I, s:s?, s:o}", "index", (json_int_t)rows[k].index,
                                        "class", rows[k].class_name, "probability",
                                        gr_report_number((double)rows[k].probability)));
    return list;
}

static int print_json(const struct gr_words *images, const struct gr_prediction *rows, size_t top)
{
    json_t *list = json_array();
    for (size_t i = 0; i < images->count; i++) {
        json_t *file = json_string(images->items[i]);
        if (!file) { /* a path is bytes, JSON is UTF-8 */
            gr_tool_warn("%s: this path is not UTF-8; its place in the JSON is null",
                         images->items[i]);
            file = json_null();
        }
        json_array_append_new(list, json_pack("{s:o, s:o}", "file", file, "predictions",
                                              predictions_json(rows + i * top, top)));
    }
    return gr_report_json(list, false);
}

static int predict(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    const struct gr_words images = {settings->operands.items + 1, settings->operands.count - 1};
    const int64_t classes = gr_model_classes(session->model);
    const size_t top = (size_t)(classes && classes < settings->top ? classes : settings->top);
    struct gr_error err = {0};
    struct gr_prediction *rows = calloc(images.count * top, sizeof *rows);
    if (!rows)
        return gr_tool_no_memory();
    int status;
    if (!gr_predict(session->model, (const char *const *)images.items, images.count, (int)top, rows,
                    &err))
        status = gr_tool_error(&err);
    else if (settings->json)
        status = print_json(&images, rows, top);
    else
        status = print_table(&images, rows, top);
    free(rows);
    return status;
}

static int run(const struct gr_settings *settings)
{
    return gr_session_run(settings, predict);
}

static const struct gr_option options[] = {
    GR_WEIGHTS_OPTION(true),
    {.name = "top",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(top),
     .value = "K",
     .min = 1,
     .max = 1000,
     .def = "5",
     .doc = "classes to show for each image"},
    GR_JSON_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner predict models/alexnet.yaml --weights best.safetensors cat.jpg dog.jpg",
     "the five likeliest classes of each picture"},
    {.line = NULL},
};

const struct gr_command gr_command_predict = {
    .name = "predict",
    .summary = "tell what JPEG images show",
    .operands = "MODEL IMAGE...",
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .description = "Classifies JPEG files with the preprocessing of the model's data section, and "
                   "prints the likeliest classes of each.",
    .options = options,
    .examples = examples,
    .run = run,
};
