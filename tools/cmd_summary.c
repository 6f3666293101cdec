/*
 * graph-runner summary: the nodes of a model in order, with shapes, parameters and work.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "commands.h"
#include "format.h"
#include "report.h"
#include "session.h"
#include "table.h"

/* A node of the model, not one that the compiler put in to change a layout? */
static bool is_listed(const struct gr_node_info *node)
{
    return strcmp(node->op, "reorder") != 0;
}

struct totals {
    int64_t parameters;
    double macs; /* of a batch */
    size_t bytes;
};

static struct totals add_up(const struct gr_session *session, const struct gr_plan *plan)
{
    struct totals totals = {.parameters = gr_model_parameter_count(session->model)};
    for (size_t i = 0; i < gr_plan_node_count(plan); i++) {
        const struct gr_node_info node = gr_plan_node(plan, i);
        totals.macs += node.macs;
        totals.bytes += is_listed(&node) ? node.output_bytes : 0;
    }
    return totals;
}

/* Adds a number, grouped, or nothing for zero. */
static void add_number(struct gr_table *table, double number)
{
    char text[GR_FIGURE];
    gr_table_add(table, "%s", number != 0 ? gr_grouped_text(llround(number), text) : "");
}

static void add_node(struct gr_table *table, const struct gr_node_info *node, int64_t batch)
{
    char shape[GR_SHAPE_TEXT];
    gr_table_add(table, "%s", node->name);
    gr_table_add(table, "%s", node->op);
    gr_table_add(table, "%s", node->attributes);
    gr_table_add(table, "%s", node->output_bytes ? gr_shape_text(&node->shape, shape) : "");
    add_number(table, (double)node->parameters);
    add_number(table, node->macs / (double)batch);
    add_number(table, (double)node->output_bytes);
}

static int print_table(const struct gr_plan *plan, const struct totals *totals, int64_t batch)
{
    static const struct gr_column columns[] = {
        {"node", GR_LEFT},         {"op", GR_LEFT},          {"attributes", GR_LEFT_CUT},
        {"output", GR_LEFT},       {"parameters", GR_RIGHT}, {"MACs/image", GR_RIGHT},
        {"output bytes", GR_RIGHT}};
    struct gr_table table = {.columns = columns, .n_columns = 7};
    for (size_t i = 0; i < gr_plan_node_count(plan); i++) {
        const struct gr_node_info node = gr_plan_node(plan, i);
        if (is_listed(&node))
            add_node(&table, &node, batch);
    }
    gr_table_rule(&table);
    gr_table_add(&table, "total");
    gr_table_add(&table, "%s", "");
    gr_table_add(&table, "%s", "");
    gr_table_add(&table, "%s", "");
    add_number(&table, (double)totals->parameters);
    add_number(&table, totals->macs / (double)batch);
    add_number(&table, (double)totals->bytes);
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    if (status == GR_OK && batch > 1) {
        char macs[GR_FIGURE];
        printf("a batch of %" PRId64 ": %s MACs\n", batch,
               gr_grouped_text(llround(totals->macs), macs));
    }
    return status;
}

static json_t *shape_json(const struct gr_shape *shape)
{
    json_t *dims = json_array();
    for (int i = 0; i < shape->rank; i++)
        gr_report_add(&dims, json_integer(shape->dim[i]));
    return dims;
}

static int print_json(const struct gr_session *session, const struct gr_plan *plan,
                      const struct totals *totals, int64_t batch)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < gr_plan_node_count(plan); i++) {
        const struct gr_node_info node = gr_plan_node(plan, i);
        if (!is_listed(&node))
            continue;
        gr_report_add(&nodes,
                      json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I}", "name", node.name, "op",
                                node.op, "attributes", node.attributes, "shape",
                                shape_json(&node.shape), "parameters", (json_int_t)node.parameters,
                                "macs_per_image", (json_int_t)llround(node.macs / (double)batch),
                                "output_bytes", (json_int_t)node.output_bytes));
    }
    return gr_report_json(
        json_pack("{s:s, s:I, s:o, s:I, s:I, s:I, s:I}", "model", gr_model_name(session->model),
                  "batch", (json_int_t)batch, "nodes", nodes, "parameters",
                  (json_int_t)totals->parameters, "macs_per_image",
                  (json_int_t)llround(totals->macs / (double)batch), "macs",
                  (json_int_t)llround(totals->macs), "output_bytes", (json_int_t)totals->bytes),
        false);
}

static int summarise(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    const int64_t batch = settings->batch ? settings->batch : 1;
    struct gr_error err = {0};
    struct gr_plan *plan =
        gr_session_plan(session, (struct gr_plan_options){.batch = batch, .reference = true}, &err);
    if (!plan)
        return gr_tool_error(&err);
    const struct totals totals = add_up(session, plan);
    const int status = settings->json ? print_json(session, plan, &totals, batch)
                                      : print_table(plan, &totals, batch);
    gr_plan_free(plan);
    return status;
}

static int run(const struct gr_settings *settings)
{
    return gr_session_run(settings, summarise);
}

static const struct gr_option options[] = {GR_JSON_OPTION, {.name = NULL}};

static const struct gr_example examples[] = {
    {"graph-runner summary models/alexnet.yaml", "the layers, and 60,965,224 parameters"},
    {"graph-runner summary models/alexnet.yaml --batch 128 --json",
     "the same for a batch, as JSON"},
    {.line = NULL},
};

const struct gr_command gr_command_summary = {
    .name = "summary",
    .summary = "shapes, parameters and work, node by node",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description = "Lists the nodes of inference in the order in which they run, with the shape of "
                   "the output, the parameters, the multiply-accumulates (MACs) and the bytes of "
                   "the output. The batch is 1 unless --batch says otherwise.",
    .options = options,
    .examples = examples,
    .run = run,
};
