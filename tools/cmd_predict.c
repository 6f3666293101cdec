/*
 * graph-runner predict: what images show.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "format.h"
#include "report.h"
#include "session.h"
#include "table.h"

/* What was classified: image files, or samples of the data section with their labels. */
struct request {
    const struct gr_session *session;
    size_t count, top;
    char *const *files;         /* [count], or NULL */
    struct gr_sample *samples;  /* [count] where there are no files */
    struct gr_prediction *rows; /* [count, top], best first; index -1 where there is no class */
};

/* Has it no class at all? */
static bool is_unread(const struct request *request, size_t index)
{
    return request->rows[index * request->top].index < 0;
}

static const char *class_text(int64_t index, const char *name, char buffer[GR_FIGURE])
{
    if (name)
        return name;
    snprintf(buffer, GR_FIGURE, "%" PRId64, index);
    return buffer;
}

static const char *item_name(const struct request *request, size_t index)
{
    return request->files ? request->files[index] : request->samples[index].name;
}

/* The same for people: a sample without the folders before it. */
static const char *short_name(const struct request *request, size_t index)
{
    const char *name = item_name(request, index), *slash = strrchr(name, '/');
    return request->samples && slash ? slash + 1 : name;
}

/* ---- as a table -------------------------------------------------------------------------- */

static void add_prediction(struct gr_table *table, const struct request *request, size_t i,
                           size_t k)
{
    char name[GR_FIGURE], share[GR_FIGURE], bar[GR_FIGURE];
    const struct gr_prediction *row = &request->rows[i * request->top + k];
    gr_table_add(table, "%s", k == 0 ? short_name(request, i) : "");
    if (request->samples) {
        const struct gr_sample *sample = &request->samples[i];
        gr_table_add(table, "%s",
                     k == 0 ? class_text(sample->label, sample->label_name, name) : "");
        gr_table_add(table, "%s", row->index == sample->label ? "✓" : "");
    }
    gr_table_add(table, "%s", class_text(row->index, row->class_name, name));
    gr_table_add(table, "%s", gr_percent_text((double)row->probability, share));
    gr_table_add(table, "%s", gr_bar_text((double)row->probability, bar));
}

static int print_table(const struct request *request)
{
    static const struct gr_column of_files[] = {
        {"file", GR_LEFT}, {"class", GR_LEFT}, {"probability", GR_RIGHT}, {"", GR_LEFT}};
    static const struct gr_column of_samples[] = {
        {"sample", GR_LEFT}, {"label", GR_LEFT},        {"", GR_LEFT},
        {"class", GR_LEFT},  {"probability", GR_RIGHT}, {"", GR_LEFT}};
    struct gr_table table = {.columns = of_files, .n_columns = 4};
    size_t right = 0, shown = 0;
    if (request->samples)
        table = (struct gr_table){.columns = of_samples, .n_columns = 6};
    for (size_t i = 0; i < request->count; i++) {
        const struct gr_prediction *rows = &request->rows[i * request->top];
        if (is_unread(request, i))
            continue;
        if (shown++ && request->top > 1)
            gr_table_rule(&table);
        for (size_t k = 0; k < request->top && rows[k].index >= 0; k++)
            add_prediction(&table, request, i, k);
        right += request->samples && rows[0].index == request->samples[i].label;
    }
    const int status = shown ? gr_table_print(&table, stdout) : GR_OK;
    gr_table_release(&table);
    if (status == GR_OK && request->samples && shown)
        printf("\n%zu of %zu are right\n", right, shown);
    return status;
}

/* ---- as JSON ----------------------------------------------------------------------------- */

static json_t *predictions_json(const struct gr_prediction *rows, size_t top)
{
    json_t *list = json_array();
    for (size_t k = 0; k < top && rows[k].index >= 0; k++)
        gr_report_add(&list, json_pack("{s:I, s:s?, s:o}", "index", (json_int_t)rows[k].index,
                                       "class", rows[k].class_name, "probability",
                                       gr_report_number((double)rows[k].probability)));
    return list;
}

static int print_json(const struct request *request)
{
    json_t *list = json_array();
    for (size_t i = 0; i < request->count; i++) {
        const char *name = item_name(request, i);
        json_t *file = json_string(name);
        if (!file) { /* a path is bytes, JSON is UTF-8 */
            gr_tool_warn("%s: this path is not UTF-8; its place in the JSON is null", name);
            file = json_null();
        }
        json_t *predictions =
            is_unread(request, i)
                ? json_null()
                : predictions_json(request->rows + i * request->top, request->top);
        json_t *item = json_pack("{s:o, s:o}", "file", file, "predictions", predictions);
        if (item && request->samples)
            json_object_set_new(item, "label", json_integer(request->samples[i].label));
        gr_report_add(&list, item);
    }
    return gr_report_json(list, false);
}

/* ---- predicting -------------------------------------------------------------------------- */

static int classify(const struct request *request)
{
    const struct gr_settings *settings = request->session->settings;
    struct gr_model *model = request->session->model;
    const struct gr_predict_options options = {
        .top = (int)request->top, .ten_crop = settings->ten_crop, .skip_unreadable = true};
    struct gr_error err = {0};
    const bool ok = request->files
                        ? gr_predict(model, (const char *const *)request->files, request->count,
                                     &options, request->rows, &err)
                        : gr_predict_part(model, settings->part, settings->first, request->count,
                                          &options, request->samples, request->rows, &err);
    if (!ok)
        return gr_tool_error(&err);
    size_t unread = 0;
    for (size_t i = 0; i < request->count; i++)
        unread += is_unread(request, i);
    const int status = settings->json ? print_json(request) : print_table(request);
    if (status != GR_OK || !unread)
        return status;
    return gr_tool_fail(GR_ERR_DATA, "%zu of %zu images could not be read", unread, request->count);
}

static int predict(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    const int64_t classes = gr_model_classes(session->model);
    const size_t files = settings->operands.count - 1;
    struct request request = {
        .session = session,
        .count = files ? files : (size_t)settings->count,
        .top = (size_t)(classes && classes < settings->top ? classes : settings->top),
        .files = files ? settings->operands.items + 1 : NULL,
    };
    request.rows = calloc(request.count * request.top, sizeof *request.rows);
    request.samples = files ? NULL : calloc(request.count, sizeof *request.samples);
    const bool memory = request.rows && (files || request.samples);
    const int status = memory ? classify(&request) : gr_tool_no_memory();
    free(request.samples);
    free(request.rows);
    return status;
}

static int run(const struct gr_settings *settings)
{
    const bool files = settings->operands.count > 1;
    if (files == (settings->count > 0))
        return gr_tool_fail(GR_ERR_USAGE, "predict: %s",
                            files ? "either images or --count, not both"
                                  : "IMAGE is missing, or --count N for samples of the data");
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
    {.name = "count",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(count),
     .value = "N",
     .min = 1,
     .max = 1e6,
     .doc = "classify N samples of the data, not files"},
    {.name = "first",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(first),
     .value = "N",
     .min = 0,
     .max = 1e15,
     .def = "0",
     .doc = "the first of them"},
    {.name = "part",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(part),
     .value = "NAME",
     .doc = "their part of the data (default: test, else val)"},
    GR_TEN_CROP_OPTION,
    GR_JSON_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner predict models/alexnet.yaml --weights w.st cat.jpg dog.jpg",
     "the five likeliest classes of each picture"},
    {"graph-runner predict models/lenet.yaml --weights w.st --count 10 --top 1",
     "ten images of the test data, with what they are"},
    {.line = NULL},
};

const struct gr_command gr_command_predict = {
    .name = "predict",
    .summary = "tell what images show",
    .operands = "MODEL [IMAGE...]",
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .description =
        "Classifies JPEG or PNG files with the preprocessing of the model's data section, or "
        "samples of its data, and prints the likeliest classes of each. An image that cannot be "
        "read is told, left out (null in JSON), and makes the exit code 4.",
    .options = options,
    .examples = examples,
    .run = run,
};
