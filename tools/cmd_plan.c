/*
 * graph-runner plan: the memory of a compiled graph, as planned and as measured.
 */
#include <inttypes.h>

#include "commands.h"
#include "format.h"
#include "measure.h"
#include "report.h"
#include "session.h"
#include "table.h"

struct measured {
    size_t resident, peak; /* bytes more than before the plan was made */
};

static size_t more(size_t now, size_t before)
{
    return now > before ? now - before : 0;
}

static size_t total(const struct gr_memory_report *memory)
{
    return memory->planned + memory->parameters + memory->states + memory->constants;
}

static double ratio(const struct gr_memory_report *memory)
{
    return memory->planned ? (double)memory->without_reuse / (double)memory->planned : 1;
}

static void add_bytes(struct gr_table *table, const char *name, size_t bytes, const char *note)
{
    char grouped[GR_FIGURE], text[GR_FIGURE];
    gr_table_add(table, "%s", name);
    gr_table_add(table, "%s", gr_grouped_text((int64_t)bytes, grouped));
    gr_table_add(table, "%s", gr_bytes_text(bytes, text));
    gr_table_add(table, "%s", note);
}

static int print_memory(const struct gr_memory_report *memory, const struct measured *measured,
                        size_t budget)
{
    static const struct gr_column columns[] = {
        {"memory", GR_LEFT}, {"bytes", GR_RIGHT}, {"", GR_RIGHT}, {"", GR_LEFT}};
    struct gr_table table = {.columns = columns, .n_columns = 4};
    char note[GR_FIGURE];
    add_bytes(&table, "without reuse", memory->without_reuse, "each value with memory of its own");
    snprintf(note, sizeof note, "%.2f times less", ratio(memory));
    add_bytes(&table, "planned", memory->planned, note);
    add_bytes(&table, "lower bound", memory->lower_bound, "the most that is live at once");
    gr_table_rule(&table);
    add_bytes(&table, "planned", memory->planned, "values and scratch");
    add_bytes(&table, "parameters", memory->parameters, "weights and statistics");
    add_bytes(&table, "states", memory->states, "of the optimizer");
    add_bytes(&table, "constants", memory->constants, "derived from the weights");
    add_bytes(&table, "total", total(memory), "");
    if (budget) {
        add_bytes(&table, "budget", budget, "");
        snprintf(note, sizeof note, "for about %.1f %% more time", 100 * memory->recompute_share);
        add_bytes(&table, "saved", more(memory->unbudgeted, memory->planned),
                  memory->recomputed ? note : "nothing is computed again");
    }
    gr_table_rule(&table);
    add_bytes(&table, "resident", measured->resident, "measured after one run");
    add_bytes(&table, "peak", measured->peak, "measured, building the plan included");
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

static int print_recomputed(const struct gr_plan *plan)
{
    static const struct gr_column columns[] = {{"computed again", GR_LEFT_CUT},
                                               {"output", GR_LEFT},
                                               {"bytes", GR_RIGHT},
                                               {"time", GR_RIGHT}};
    struct gr_table table = {.columns = columns, .n_columns = 4};
    char shape[GR_SHAPE_TEXT], text[GR_FIGURE];
    for (size_t i = 0; i < gr_plan_node_count(plan); i++) {
        const struct gr_node_info node = gr_plan_node(plan, i);
        if (!node.again)
            continue;
        gr_table_add(&table, "%s", node.again);
        gr_table_add(&table, "%s", gr_shape_text(&node.shape, shape));
        gr_table_add(&table, "%s", gr_grouped_text((int64_t)node.output_bytes, text));
        gr_table_add(&table, "+%.1f %%", 100 * node.again_share);
    }
    putchar('\n');
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

static int print_nodes(const struct gr_plan *plan)
{
    static const struct gr_column columns[] = {
        {"node", GR_LEFT_CUT}, {"phase", GR_LEFT},  {"output", GR_LEFT},  {"layout", GR_LEFT},
        {"offset", GR_RIGHT},  {"bytes", GR_RIGHT}, {"scratch", GR_RIGHT}};
    struct gr_table table = {.columns = columns, .n_columns = 7};
    char shape[GR_SHAPE_TEXT], text[GR_FIGURE];
    for (size_t i = 0; i < gr_plan_node_count(plan); i++) {
        const struct gr_node_info node = gr_plan_node(plan, i);
        gr_table_add(&table, "%s", node.name);
        gr_table_add(&table, "%s", node.phase);
        gr_table_add(&table, "%s", node.output_bytes ? gr_shape_text(&node.shape, shape) : "");
        gr_table_add(&table, "%s", node.layout);
        gr_table_add(&table, "%s", node.offset >= 0 ? gr_grouped_text(node.offset, text) : "");
        gr_table_add(&table, "%s", gr_grouped_text((int64_t)node.output_bytes, text));
        gr_table_add(&table, "%s", gr_grouped_text((int64_t)node.scratch_bytes, text));
    }
    putchar('\n');
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

static json_t *nodes_json(const struct gr_plan *plan)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < gr_plan_node_count(plan); i++) {
        const struct gr_node_info node = gr_plan_node(plan, i);
        gr_report_add(&nodes,
                      json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:I}", "name", node.name, "op",
                                node.op, "phase", node.phase, "layout", node.layout, "offset",
                                node.offset >= 0 ? json_integer(node.offset) : json_null(),
                                "output_bytes", (json_int_t)node.output_bytes, "scratch_bytes",
                                (json_int_t)node.scratch_bytes));
    }
    return nodes;
}

static json_t *recomputed_json(const struct gr_settings *settings, const struct gr_plan *plan,
                               const struct gr_memory_report *memory)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < gr_plan_node_count(plan); i++) {
        const struct gr_node_info node = gr_plan_node(plan, i);
        if (node.again)
            gr_report_add(&nodes,
                          json_pack("{s:s, s:I, s:f}", "name", node.again, "output_bytes",
                                    (json_int_t)node.output_bytes, "share", node.again_share));
    }
    return json_pack("{s:I, s:I, s:f, s:o}", "budget_bytes", (json_int_t)settings->memory_budget,
                     "saved_bytes", (json_int_t)more(memory->unbudgeted, memory->planned), "share",
                     memory->recompute_share, "nodes", nodes);
}

static int print_json(const struct gr_session *session, const struct gr_plan *plan,
                      const struct gr_memory_report *memory, const struct measured *measured)
{
    const struct gr_settings *settings = session->settings;
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I}", "model",
                  gr_model_name(session->model), "mode", gr_modes[settings->mode], "batch",
                  (json_int_t)gr_session_batch(session), "without_reuse_bytes",
                  (json_int_t)memory->without_reuse, "planned_bytes", (json_int_t)memory->planned,
                  "lower_bound_bytes", (json_int_t)memory->lower_bound, "ratio", ratio(memory),
                  "parameters_bytes", (json_int_t)memory->parameters, "states_bytes",
                  (json_int_t)memory->states, "constants_bytes", (json_int_t)memory->constants,
                  "total_bytes", (json_int_t)total(memory), "resident_bytes",
                  (json_int_t)measured->resident, "peak_bytes", (json_int_t)measured->peak);
    if (json && settings->memory_budget)
        json_object_set_new(json, "recomputed", recomputed_json(settings, plan, memory));
    if (json && settings->nodes)
        json_object_set_new(json, "nodes", nodes_json(plan));
    return gr_report_json(json, false);
}

static int report(const struct gr_session *session, const struct gr_plan *plan,
                  const struct measured *measured)
{
    const struct gr_memory_report memory = gr_plan_memory(plan);
    if (session->settings->json)
        return print_json(session, plan, &memory, measured);
    printf("%s, batch %" PRId64 ", %s\n\n", gr_model_name(session->model),
           gr_session_batch(session), gr_modes[session->settings->mode]);
    int status = print_memory(&memory, measured, (size_t)session->settings->memory_budget);
    if (status == GR_OK && memory.recomputed)
        status = print_recomputed(plan);
    return status == GR_OK && session->settings->nodes ? print_nodes(plan) : status;
}

static int work(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    const struct gr_plan_options options = {.mode = (enum gr_mode)settings->mode,
                                            .update = settings->mode == GR_TRAIN};
    struct gr_error err = {0};
    gr_measure_reset_peak();
    const size_t before = gr_measure_resident();
    struct gr_plan *plan = gr_session_plan(session, options, &err);
    int status = GR_OK;
    if (!plan || !gr_session_feed(session, plan, &err) || !gr_plan_run(plan, &err)) {
        status = gr_tool_error(&err);
    } else {
        const struct measured measured = {more(gr_measure_resident(), before),
                                          more(gr_measure_peak(), before)};
        status = report(session, plan, &measured);
    }
    gr_plan_free(plan);
    return status;
}

static int run(const struct gr_settings *settings)
{
    return gr_session_run(settings, work);
}

static const struct gr_option options[] = {
    GR_MODE_OPTION("infer"),
    {.name = "nodes",
     .type = GR_OPTION_FLAG,
     .offset = GR_FIELD(nodes),
     .doc = "list the nodes as well, with where their outputs lie"},
    GR_MEMORY_BUDGET_OPTION(""),
    GR_NO_MEMORY_PLAN_OPTION,
    GR_JSON_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner plan models/alexnet.yaml --mode train --batch 128",
     "what training AlexNet takes"},
    {.line = NULL},
};

const struct gr_command gr_command_plan = {
    .name = "plan",
    .summary = "the memory a model takes, planned and measured",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "Compiles the model, runs it once on random data, and prints its memory: without "
        "reuse, as planned, the lower bound of any plan, and what the system measured.",
    .options = options,
    .examples = examples,
    .run = run,
};
