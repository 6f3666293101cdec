/*
 * graph-runner bench: steady steps on data that are in memory already.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "commands.h"
#include "format.h"
#include "measure.h"
#include "report.h"
#include "session.h"
#include "table.h"

enum { FEWEST_STEPS = 3, MOST_STEPS = 50 };

static const double usual_seconds = 3, learning_rate = 0.001;

struct bench {
    const struct gr_session *session;
    struct gr_plan *plan;
    int64_t batch, steps;
    double *seconds; /* [steps], sorted at the end */
};

/* ---- measuring --------------------------------------------------------------------------- */

static bool time_step(struct gr_plan *plan, double *seconds, struct gr_error *err)
{
    const double start = gr_measure_seconds();
    const bool ok = gr_plan_run(plan, err);
    *seconds = gr_measure_seconds() - start;
    return ok;
}

static int64_t usual_steps(double seconds)
{
    const double steps = seconds > 0 ? usual_seconds / seconds : 0;
    return steps < FEWEST_STEPS ? FEWEST_STEPS : steps > MOST_STEPS ? MOST_STEPS : (int64_t)steps;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool measure(struct bench *bench, struct gr_error *err)
{
    const struct gr_settings *settings = bench->session->settings;
    double last = 0;
    for (int64_t i = 0; i < settings->warmup; i++)
        if (!time_step(bench->plan, &last, err))
            return false;
    bench->steps = settings->steps ? settings->steps : usual_steps(last);
    bench->seconds = calloc((size_t)bench->steps, sizeof *bench->seconds);
    if (!bench->seconds) {
        *err = (struct gr_error){GR_ERR_RUNTIME, "out of memory for so many steps"};
        return false;
    }
    if (settings->nodes)
        gr_plan_profile(bench->plan, true);
    for (int64_t i = 0; i < bench->steps; i++)
        if (!time_step(bench->plan, &bench->seconds[i], err))
            return false;
    qsort(bench->seconds, (size_t)bench->steps, sizeof *bench->seconds, by_value);
    return true;
}

static double median(const struct bench *bench)
{
    const double low = bench->seconds[(bench->steps - 1) / 2];
    return (low + bench->seconds[bench->steps / 2]) / 2;
}

/* ---- nodes ------------------------------------------------------------------------------- */

static int slowest_first(const void *a, const void *b)
{
    const struct gr_node_info *x = a, *y = b;
    return (y->seconds > x->seconds) - (y->seconds < x->seconds);
}

/* The nodes, slowest first; freed by the caller. NULL: out of memory. */
static struct gr_node_info *sorted_nodes(const struct gr_plan *plan, size_t count)
{
    struct gr_node_info *nodes = calloc(count + 1, sizeof *nodes);
    for (size_t i = 0; nodes && i < count; i++)
        nodes[i] = gr_plan_node(plan, i);
    if (nodes)
        qsort(nodes, count, sizeof *nodes, slowest_first);
    return nodes;
}

static double gflops(const struct gr_node_info *node, double seconds)
{
    return seconds > 0 ? 2e-9 * node->macs / seconds : 0;
}

static int print_nodes(const struct bench *bench)
{
    static const struct gr_column columns[] = {{"node", GR_LEFT_CUT}, {"ms", GR_RIGHT},
                                               {"share", GR_RIGHT},   {"GFLOP/s", GR_RIGHT},
                                               {"impl", GR_LEFT},     {"layout", GR_LEFT}};
    struct gr_table table = {.columns = columns, .n_columns = 6};
    const size_t count = gr_plan_node_count(bench->plan);
    struct gr_node_info *nodes = sorted_nodes(bench->plan, count);
    double total = 0;
    if (!nodes)
        return gr_tool_no_memory();
    for (size_t i = 0; i < count; i++)
        total += nodes[i].seconds;
    for (size_t i = 0; i < count; i++) {
        const double seconds = nodes[i].seconds / (double)bench->steps;
        gr_table_add(&table, "%s", nodes[i].name);
        gr_table_add(&table, "%.3f", 1e3 * seconds);
        gr_table_add(&table, "%.1f %%", total > 0 ? 100 * nodes[i].seconds / total : 0);
        if (nodes[i].macs > 0)
            gr_table_add(&table, "%.1f", gflops(&nodes[i], seconds));
        else
            gr_table_add(&table, "%s", "");
        gr_table_add(&table, "%s", nodes[i].impl);
        gr_table_add(&table, "%s", nodes[i].layout);
    }
    free(nodes);
    putchar('\n');
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

static json_t *nodes_json(const struct bench *bench)
{
    json_t *list = json_array();
    const size_t count = gr_plan_node_count(bench->plan);
    struct gr_node_info *nodes = sorted_nodes(bench->plan, count);
    for (size_t i = 0; nodes && i < count; i++) {
        const double seconds = nodes[i].seconds / (double)bench->steps;
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:f, s:f, s:s, s:s}", "name",
                                        nodes[i].name, "op", nodes[i].op, "phase", nodes[i].phase,
                                        "seconds", seconds, "gflops", gflops(&nodes[i], seconds),
                                        "impl", nodes[i].impl, "layout", nodes[i].layout));
    }
    free(nodes);
    return list;
}

/* ---- reporting --------------------------------------------------------------------------- */

static int print_json(const struct bench *bench)
{
    const struct gr_settings *settings = bench->session->settings;
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:I, s:i, s:I, s:f, s:f, s:f, s:f, s:I, s:I}", "model",
        gr_model_name(bench->session->model), "mode", gr_modes[settings->mode], "precision",
        gr_precisions[settings->precision], "batch", (json_int_t)bench->batch, "threads",
        gr_context_threads(bench->session->context), "steps", (json_int_t)bench->steps,
        "images_per_second", (double)bench->batch / median(bench), "step_seconds_median",
        median(bench), "step_seconds_min", bench->seconds[0], "step_seconds_max",
        bench->seconds[bench->steps - 1], "peak_rss_bytes", (json_int_t)gr_measure_peak(),
        "planned_bytes", (json_int_t)gr_plan_memory(bench->plan).planned);
    if (json && settings->nodes)
        json_object_set_new(json, "nodes", nodes_json(bench));
    return gr_report_json(json, true);
}

static int print_table(const struct bench *bench)
{
    static const struct gr_column columns[] = {{"", GR_LEFT}, {"", GR_RIGHT}, {"", GR_LEFT}};
    const struct gr_settings *settings = bench->session->settings;
    struct gr_table table = {.columns = columns, .n_columns = 3};
    char text[GR_FIGURE];
    printf("%s, %s, batch %" PRId64 ", %d thread%s, %s\n\n", gr_model_name(bench->session->model),
           gr_modes[settings->mode], bench->batch, gr_context_threads(bench->session->context),
           gr_context_threads(bench->session->context) == 1 ? "" : "s",
           gr_precisions[settings->precision]);
    gr_table_add(&table, "images/s");
    gr_table_add(&table, "%s", gr_rate_text((double)bench->batch / median(bench), text));
    gr_table_add(&table, "%s", "");
    gr_table_add(&table, "step");
    gr_table_add(&table, "%.2f ms", 1e3 * median(bench));
    gr_table_add(&table, "median of %" PRId64 ", %.2f to %.2f ms", bench->steps,
                 1e3 * bench->seconds[0], 1e3 * bench->seconds[bench->steps - 1]);
    gr_table_add(&table, "peak memory");
    gr_table_add(&table, "%s", gr_bytes_text(gr_measure_peak(), text));
    gr_table_add(&table, "of the process");
    gr_table_add(&table, "planned");
    gr_table_add(&table, "%s", gr_bytes_text(gr_plan_memory(bench->plan).planned, text));
    gr_table_add(&table, "for values and scratch");
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status == GR_OK && settings->nodes ? print_nodes(bench) : status;
}

static int work(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    const struct gr_plan_options options = {.mode = (enum gr_mode)settings->mode,
                                            .update = settings->mode == GR_TRAIN};
    struct bench bench = {.session = session, .batch = gr_session_batch(session)};
    struct gr_error err = {0};
    int status;
    bench.plan = gr_session_plan(session, options, &err);
    if (bench.plan)
        gr_plan_set_learning_rate(bench.plan, learning_rate);
    if (!bench.plan || !gr_session_feed(session, bench.plan, &err) || !measure(&bench, &err))
        status = gr_tool_error(&err);
    else
        status = settings->json ? print_json(&bench) : print_table(&bench);
    free(bench.seconds);
    gr_plan_free(bench.plan);
    return status;
}

static int run(const struct gr_settings *settings)
{
    return gr_session_run(settings, work);
}

static const struct gr_option options[] = {
    GR_MODE_OPTION("train"),
    {.name = "steps",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(steps),
     .value = "N",
     .min = 1,
     .max = 1e6,
     .doc = "steps to measure (default: about three seconds)"},
    {.name = "warmup",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(warmup),
     .value = "N",
     .min = 0,
     .max = 1e6,
     .def = "2",
     .doc = "steps before that"},
    {.name = "nodes",
     .type = GR_OPTION_FLAG,
     .offset = GR_FIELD(nodes),
     .doc = "time each node as well, slowest first"},
    GR_MEMORY_BUDGET_OPTION,
    GR_NO_MEMORY_PLAN_OPTION,
    GR_JSON_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner bench models/alexnet.yaml --batch 64", "training steps a second"},
    {"graph-runner bench models/alexnet.yaml --mode infer --batch 1 --nodes",
     "where the time of a single image goes"},
    {.line = NULL},
};

const struct gr_command gr_command_bench = {
    .name = "bench",
    .summary = "time steps on random data",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description = "Times steady steps (forward, backward and update with --mode train) on random "
                   "data that are in memory already. With --json the result is one line.",
    .options = options,
    .examples = examples,
    .run = run,
};
