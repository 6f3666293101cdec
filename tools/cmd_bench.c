/*
 * graph-runner bench: steady steps on data that are in memory already.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "format.h"
#include "measure.h"
#include "primitives.h"
#include "profile.h"
#include "report.h"
#include "session.h"
#include "table.h"

enum { FEWEST_STEPS = 3, MOST_STEPS = 50, ROUNDS = 2, LONGEST_TITLE = 512 };

static const double usual_seconds = 3, learning_rate = 0.001;

struct bench {
    const struct gr_session *session;
    struct gr_plan *plan;
    int64_t batch, steps;
    double *seconds; /* [steps], sorted at the end */
    size_t peak_rss;
    struct gr_profile profile;     /* with --nodes or --trace */
    struct gr_yardstick yardstick; /* with --primitives */
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

static bool is_profiled(const struct gr_settings *settings)
{
    return settings->nodes || settings->trace;
}

static double median(const double *sorted, int64_t count)
{
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

/* Steps first to last - 1, and sorts them. */
static bool measure_steps(struct bench *bench, int64_t first, int64_t last, struct gr_error *err)
{
    for (int64_t i = first; i < last; i++) {
        const double start = gr_measure_seconds();
        if (!time_step(bench->plan, &bench->seconds[i], err))
            return false;
        if (is_profiled(bench->session->settings))
            gr_profile_add(&bench->profile, start, bench->seconds[i]);
    }
    qsort(bench->seconds + first, (size_t)(last - first), sizeof *bench->seconds, by_value);
    return true;
}

/*
 * With --primitives the steps are measured in two rounds, each with one of the primitives behind
 * it, since a machine's speed drifts. A step that is not counted brings the plan's memory back.
 */
static bool measure_rounds(struct bench *bench, struct gr_error *err)
{
    const bool primitives = bench->yardstick.primitives != NULL;
    const int64_t rounds = primitives && bench->steps > 1 ? ROUNDS : 1;
    double unused;
    for (int64_t r = 0; r < rounds; r++) {
        const int64_t first = bench->steps * r / rounds, last = bench->steps * (r + 1) / rounds;
        if ((r > 0 && !time_step(bench->plan, &unused, err)) ||
            !measure_steps(bench, first, last, err))
            return false;
        if (r == 0)
            bench->peak_rss = gr_measure_peak();
        if (primitives && !gr_yardstick_measure(&bench->yardstick,
                                                median(bench->seconds + first, last - first), err))
            return false;
    }
    qsort(bench->seconds, (size_t)bench->steps, sizeof *bench->seconds, by_value);
    return true;
}

static bool measure(struct bench *bench, struct gr_error *err)
{
    const struct gr_settings *settings = bench->session->settings;
    const bool profiled = is_profiled(settings);
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
    if (profiled && !gr_profile_init(&bench->profile, bench->plan, (size_t)bench->steps, err))
        return false;
    return measure_rounds(bench, err) &&
           (!profiled || gr_profile_finish(&bench->profile, bench->session->context, err));
}

/* ---- reporting --------------------------------------------------------------------------- */

/* The result as an object; NULL: out of memory. */
static json_t *bench_json(const struct bench *bench)
{
    const struct gr_settings *settings = bench->session->settings;
    const double step = median(bench->seconds, bench->steps);
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:i, s:I, s:f, s:f, s:f, s:f, s:I, s:I}", "model",
        gr_model_name(bench->session->model), "mode", gr_modes[settings->mode], "precision",
        gr_precisions[settings->precision], "kernels", gr_kernel_sets[settings->kernels], "batch",
        (json_int_t)bench->batch, "threads", gr_context_threads(bench->session->context), "steps",
        (json_int_t)bench->steps, "images_per_second", (double)bench->batch / step,
        "step_seconds_median", step, "step_seconds_min", bench->seconds[0], "step_seconds_max",
        bench->seconds[bench->steps - 1], "peak_rss_bytes", (json_int_t)bench->peak_rss,
        "planned_bytes", (json_int_t)gr_plan_memory(bench->plan).planned);
    if (json && ((is_profiled(settings) && !gr_profile_add_json(&bench->profile, json)) ||
                 (bench->yardstick.primitives &&
                  !gr_yardstick_add_json(&bench->yardstick, settings->nodes, json)))) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* "alexnet, train, batch 128, 2 threads, f32" */
static const char *title(const struct bench *bench, char *text, size_t size)
{
    const struct gr_settings *settings = bench->session->settings;
    const int threads = gr_context_threads(bench->session->context);
    snprintf(text, size, "%s, %s, batch %" PRId64 ", %d thread%s, %s",
             gr_model_name(bench->session->model), gr_modes[settings->mode], bench->batch, threads,
             threads == 1 ? "" : "s", gr_precisions[settings->precision]);
    return text;
}

static int print_table(const struct bench *bench)
{
    static const struct gr_column columns[] = {{"", GR_LEFT}, {"", GR_RIGHT}, {"", GR_LEFT}};
    const struct gr_settings *settings = bench->session->settings;
    struct gr_table table = {.columns = columns, .n_columns = 3};
    const double step = median(bench->seconds, bench->steps);
    char text[GR_FIGURE], heading[LONGEST_TITLE];
    printf("%s\n\n", title(bench, heading, sizeof heading));
    gr_table_add(&table, "images/s");
    gr_table_add(&table, "%s", gr_rate_text((double)bench->batch / step, text));
    gr_table_add(&table, "%s", "");
    gr_table_add(&table, "step");
    gr_table_add(&table, "%.2f ms", 1e3 * step);
    gr_table_add(&table, "median of %" PRId64 ", %.2f to %.2f ms", bench->steps,
                 1e3 * bench->seconds[0], 1e3 * bench->seconds[bench->steps - 1]);
    gr_table_add(&table, "peak memory");
    gr_table_add(&table, "%s", gr_bytes_text(bench->peak_rss, text));
    gr_table_add(&table, "of the process");
    gr_table_add(&table, "planned");
    gr_table_add(&table, "%s", gr_bytes_text(gr_plan_memory(bench->plan).planned, text));
    gr_table_add(&table, "for values and scratch");
    if (settings->trace) {
        gr_table_add(&table, "trace");
        gr_table_add(&table, "%s", "");
        gr_table_add(&table, "%s, for ui.perfetto.dev or chrome://tracing", settings->trace);
    }
    if (bench->yardstick.primitives)
        gr_yardstick_add_rows(&bench->yardstick, &table);
    int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    if (status == GR_OK && settings->nodes)
        status = gr_profile_print(&bench->profile);
    if (status == GR_OK && settings->nodes && bench->yardstick.primitives)
        status = gr_yardstick_print(&bench->yardstick);
    return status;
}

static int write_trace(const struct bench *bench)
{
    char text[LONGEST_TITLE];
    json_t *summary = bench_json(bench);
    const int status = gr_trace_write(&bench->profile, title(bench, text, sizeof text), summary,
                                      bench->session->settings->trace);
    json_decref(summary);
    return status;
}

/* A trace on standard output stands alone. */
static int report(const struct bench *bench)
{
    const struct gr_settings *settings = bench->session->settings;
    const int status = settings->trace ? write_trace(bench) : GR_OK;
    if (status != GR_OK || (settings->trace && strcmp(settings->trace, "-") == 0))
        return status;
    return settings->json ? gr_report_json(bench_json(bench), true) : print_table(bench);
}

static int work(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    const struct gr_plan_options options = {.mode = (enum gr_mode)settings->mode,
                                            .precision = (enum gr_precision)settings->precision,
                                            .batch = gr_session_batch(session),
                                            .update = settings->mode == GR_TRAIN};
    struct bench bench = {.session = session, .batch = gr_session_batch(session)};
    struct gr_error err = {0};
    int status;
    bench.plan = gr_session_plan(session, options, &err);
    if (bench.plan)
        gr_plan_set_learning_rate(bench.plan, learning_rate);
    if (bench.plan && settings->primitives)
        bench.yardstick.primitives = gr_primitives_new(session->model, &options, &err);
    if (!bench.plan || err.status != GR_OK || !gr_session_feed(session, bench.plan, &err) ||
        !measure(&bench, &err))
        status = gr_tool_error(&err);
    else
        status = report(&bench);
    gr_profile_release(&bench.profile);
    gr_yardstick_release(&bench.yardstick);
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
     .doc = "time each node as well, slowest first, against the machine's peak"},
    {.name = "primitives",
     .type = GR_OPTION_FLAG,
     .offset = GR_FIELD(primitives),
     .doc = "compare with the sum of the library's own primitives, each timed alone"},
    {.name = "trace",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(trace),
     .value = "FILE",
     .doc = "write when each node ran, for Perfetto or chrome://tracing"},
    GR_MEMORY_BUDGET_OPTION(""),
    GR_NO_MEMORY_PLAN_OPTION,
    GR_JSON_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner bench models/alexnet.yaml --batch 64", "training steps a second"},
    {"graph-runner bench models/alexnet.yaml --mode infer --batch 1 --nodes",
     "where the time of a single image goes"},
    {"graph-runner bench models/resnet18.yaml --batch 32 --primitives",
     "steps by what their primitives take"},
    {"graph-runner bench models/alexnet.yaml --steps 5 --trace trace.json",
     "five steps on a time line"},
    {.line = NULL},
};

const struct gr_command gr_command_bench = {
    .name = "bench",
    .summary = "time steps on random data",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description = "Times steady steps (forward, backward and update with --mode train) on random "
                   "data that are in memory already. With --json the result is one line.\n\n"
                   "The figures of nodes are means over the quarter of the steps around the "
                   "median, so that they sum up to the step's; those of branches that ran beside "
                   "each other overlap, and are also counted once. The peak is that of all "
                   "threads, measured on the spot; a node's share of it is the least time that "
                   "its arithmetic and its bytes allow, by the time it took.\n\n"
                   "--primitives times what each node stands for as oneDNN's plain primitive "
                   "(direct convolution, fully connected layer, pooling, ...) by itself, with warm "
                   "caches and in the layouts that it likes best: no reorders, no updates, nothing "
                   "of our own. A rate of 1 is what a program of these primitives would reach with "
                   "nothing between them. Nodes that are no primitive (updates, dropout, the loss) "
                   "are not in the sum. With --nodes the primitives are listed. Steps and "
                   "primitives are timed in two rounds in turn and each counts with its better "
                   "one; a rate still needs a quiet machine.",
    .options = options,
    .tunes = true,
    .examples = examples,
    .run = run,
};
