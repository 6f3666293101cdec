/*
 * graph-runner nearest: the images most similar to others by their features.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "commands.h"
#include "format.h"
#include "report.h"
#include "session.h"
#include "table.h"

static const char *const distances[] = {[GR_COSINE] = "cosine", [GR_EUCLIDEAN] = "euclidean", NULL};

struct request {
    const struct gr_features *features;
    struct gr_nearest_options options;
    struct gr_neighbour *neighbours; /* [queries, count] */
};

static const struct gr_neighbour *neighbours_of(const struct request *request, size_t query)
{
    return request->neighbours + query * request->options.count;
}

/* ---- what was found ---------------------------------------------------------------------- */

static void add_neighbour(struct gr_table *table, const struct request *request, size_t query,
                          size_t k)
{
    const struct gr_features *features = request->features;
    const struct gr_neighbour *near = &neighbours_of(request, query)[k];
    const int64_t label = gr_features_label(features, (size_t)near->index);
    const char *name = gr_features_class_name(features, label);
    gr_table_add(table, "%s", k ? "" : request->options.queries[query]);
    gr_table_add(table, "%zu", k + 1);
    gr_table_add(table, "%.4g", near->distance);
    if (name || label < 0)
        gr_table_add(table, "%s", name ? name : "");
    else
        gr_table_add(table, "%" PRId64, label);
    gr_table_add(table, "%s", gr_features_name(features, (size_t)near->index));
}

static int print_table(const struct request *request)
{
    static const struct gr_column columns[] = {{"query", GR_LEFT},
                                               {"rank", GR_RIGHT},
                                               {"distance", GR_RIGHT},
                                               {"label", GR_LEFT},
                                               {"file", GR_LEFT}};
    struct gr_table table = {.columns = columns, .n_columns = 5};
    for (size_t q = 0; q < request->options.n_queries; q++) {
        if (q)
            gr_table_rule(&table);
        for (size_t k = 0; k < request->options.count; k++)
            if (neighbours_of(request, q)[k].index >= 0)
                add_neighbour(&table, request, q, k);
    }
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

/* A path, which is bytes, where JSON wants UTF-8. */
static json_t *text_json(const char *text)
{
    json_t *json = text ? json_string(text) : NULL;
    return json ? json : json_null();
}

static int print_json(const struct request *request)
{
    const struct gr_features *features = request->features;
    json_t *list = json_array();
    for (size_t q = 0; q < request->options.n_queries; q++) {
        json_t *found = json_array();
        const struct gr_neighbour *near = neighbours_of(request, q);
        for (size_t k = 0; k < request->options.count && near[k].index >= 0; k++) {
            const size_t index = (size_t)near[k].index;
            const int64_t label = gr_features_label(features, index);
            gr_report_add(&found,
                          json_pack("{s:o, s:o, s:I, s:o}", "file",
                                    text_json(gr_features_name(features, index)), "distance",
                                    gr_report_number(near[k].distance), "label", (json_int_t)label,
                                    "class", text_json(gr_features_class_name(features, label))));
        }
        gr_report_add(&list, json_pack("{s:o, s:o}", "query",
                                       text_json(request->options.queries[q]), "nearest", found));
    }
    return gr_report_json(list, false);
}

/* ---- finding it -------------------------------------------------------------------------- */

static int search(const struct gr_session *session, struct request *request)
{
    const struct gr_settings *settings = session->settings;
    struct gr_error err = {0};
    if (!gr_nearest_images(request->features, &request->options, request->neighbours, &err) ||
        (settings->out && !gr_show_nearest(request->features, &request->options,
                                           request->neighbours, settings->out, &err)))
        return gr_tool_error(&err);
    return settings->json ? print_json(request) : print_table(request);
}

static int nearest(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    const size_t queries = settings->operands.count - 1, count = (size_t)settings->top;
    struct gr_error err = {0};
    struct gr_features *features = gr_features_read(settings->operands.items[0], &err);
    struct request request = {
        .features = features,
        .options = {.queries = (const char *const *)settings->operands.items + 1,
                    .n_queries = queries,
                    .count = count,
                    .distance = (enum gr_distance)settings->distance,
                    .model = session->model,
                    .precision = (enum gr_precision)settings->precision},
    };
    if (!features)
        return gr_tool_error(&err);
    request.neighbours = calloc(queries * count, sizeof *request.neighbours);
    const int status = request.neighbours ? search(session, &request) : gr_tool_no_memory();
    free(request.neighbours);
    gr_features_free(features);
    return status;
}

/* Without a model there is a context still: OpenBLAS takes its threads. */
static int run(const struct gr_settings *settings)
{
    struct gr_session session = {.settings = settings};
    struct gr_error err = {0};
    int status = GR_OK;
    if (!settings->model != !settings->weights)
        return gr_tool_fail(GR_ERR_USAGE, "nearest: --model and --weights go together");
    if (settings->model) {
        status = gr_session_open(&session, settings, settings->model);
    } else {
        const struct gr_context_options options = {.threads = (int)settings->threads,
                                                   .log = gr_tool_log};
        session.context = gr_context_new(gr_standard_ops(), &options, &err);
        status = session.context ? GR_OK : gr_tool_error(&err);
    }
    if (status == GR_OK)
        status = nearest(&session);
    gr_session_close(&session);
    return status;
}

static const struct gr_option options[] = {
    {.name = "top",
     .letter = 'k',
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(top),
     .value = "K",
     .min = 1,
     .max = 1000,
     .def = "5",
     .doc = "neighbours of each query"},
    {.name = "distance",
     .type = GR_OPTION_CHOICE,
     .offset = GR_FIELD(distance),
     .value = "cosine|euclidean",
     .choices = distances,
     .def = "cosine",
     .doc = "1 less the cosine of the angle between two rows, or the length of their difference"},
    {.name = "output",
     .letter = 'o',
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(out),
     .value = "FILE",
     .doc = "also draw a contact sheet, as PNG or JPEG: each query and beside it its neighbours"},
    {.name = "model",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(model),
     .value = "MODEL",
     .doc = "the model of the features, for queries that are not among them, and for pictures of "
            "data that are no image files"},
    GR_WEIGHTS_OPTION(false),
    GR_JSON_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner nearest photos.st ash/1.jpg -o sheet.png",
     "the five images most like one of them"},
    {"graph-runner nearest photos.st new.jpg -k 20 --model m.yaml --weights w.st",
     "the twenty most like a new one"},
    {.line = NULL},
};

const struct gr_command gr_command_nearest = {
    .name = "nearest",
    .summary = "find the images most similar to others",
    .operands = "FEATURES QUERY...",
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .description =
        "Compares images by their features, a file that 'features' wrote. A query is the name of "
        "one of its images, or the end of the name, and is not its own neighbour; or an image "
        "file, whose features are computed with --model and --weights.\n\n"
        "On the contact sheet, neighbours of the query's class have a blue frame, others a red "
        "one.",
    .options = options,
    .examples = examples,
    .run = run,
};
