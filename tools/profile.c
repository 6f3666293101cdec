/*
 * The figures of nodes; see profile.h.
 */
#include "profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "report.h"
#include "table.h"

/* ---- recording --------------------------------------------------------------------------- */

/* Each node of each step has a place of its own: no allocation, and no lock between lanes. */
static void note(void *user, const struct gr_timing *timing)
{
    struct gr_profile *profile = user;
    if (profile->step < profile->n_steps)
        profile->spans[profile->step * profile->n_nodes + timing->node] =
            (struct gr_span){timing->start, timing->seconds, timing->lane};
}

bool gr_profile_init(struct gr_profile *profile, struct gr_plan *plan, size_t n_steps,
                     struct gr_error *err)
{
    const size_t n_nodes = gr_plan_node_count(plan);
    *profile = (struct gr_profile){
        .plan = plan,
        .n_nodes = n_nodes,
        .n_steps = n_steps,
        .starts = calloc(n_steps + 1, sizeof *profile->starts),
        .seconds = calloc(n_steps + 1, sizeof *profile->seconds),
        .spans = calloc(n_steps * n_nodes + 1, sizeof *profile->spans),
        .rows = calloc(n_nodes + 1, sizeof *profile->rows),
    };
    if (!profile->starts || !profile->seconds || !profile->spans || !profile->rows) {
        *err = (struct gr_error){GR_ERR_RUNTIME, "out of memory for so many steps"};
        return false;
    }
    gr_plan_trace(plan, note, profile);
    return true;
}

void gr_profile_release(struct gr_profile *profile)
{
    if (profile->plan)
        gr_plan_trace(profile->plan, NULL, NULL);
    free(profile->starts);
    free(profile->seconds);
    free(profile->spans);
    free(profile->rows);
    *profile = (struct gr_profile){0};
}

void gr_profile_add(struct gr_profile *profile, double start, double seconds)
{
    if (profile->step == profile->n_steps)
        return;
    profile->starts[profile->step] = start;
    profile->seconds[profile->step++] = seconds;
}

/* ---- figures ----------------------------------------------------------------------------- */

/* Over a working set of so many bytes, between the sizes that were measured. */
static struct gr_bandwidth bandwidth(const struct gr_peak *peak, double bytes)
{
    int above = 0;
    while (above < GR_PEAK_SIZES && peak->memory[above].bytes < bytes)
        above++;
    if (above == 0 || above == GR_PEAK_SIZES)
        return peak->memory[above ? above - 1 : 0];
    const struct gr_bandwidth *low = &peak->memory[above - 1], *high = &peak->memory[above];
    const double t = log(bytes / low->bytes) / log(high->bytes / low->bytes);
    return (struct gr_bandwidth){bytes, low->read + t * (high->read - low->read),
                                 low->moved + t * (high->moved - low->moved)};
}

/* The least time that the bytes of a node allow: to read what it reads, and to move it all. */
static double memory_seconds(const struct gr_peak *peak, const struct gr_node_info *node)
{
    const double read = (double)node->bytes_read, all = read + (double)node->bytes_written;
    const struct gr_bandwidth b = bandwidth(peak, all);
    return b.read > 0 && b.moved > 0 ? fmax(read / b.read, all / b.moved) : 0;
}

static void compute_row(const struct gr_peak *peak, struct gr_profile_row *row)
{
    const struct gr_node_info *node = &row->node;
    const double flops = 2 * node->macs, rate = peak->flops[node->math];
    const double for_flops = rate > 0 ? flops / rate : 0, for_bytes = memory_seconds(peak, node);
    row->bytes = (double)(node->bytes_read + node->bytes_written);
    if (!(row->seconds > 0))
        return;
    row->gflops = 1e-9 * flops / row->seconds;
    row->gbs = 1e-9 * row->bytes / row->seconds;
    row->memory_bound = for_bytes > for_flops;
    row->peak_share = fmax(for_flops, for_bytes) / row->seconds;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The middle quarter of the steps, rounded up, as bounds of their times. False: out of memory. */
static bool find_middle(const struct gr_profile *profile, double *least, double *most)
{
    const size_t n = profile->step;
    double *sorted = malloc((n + 1) * sizeof *sorted);
    if (!sorted)
        return false;
    memcpy(sorted, profile->seconds, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_value);
    *least = n ? sorted[3 * n / 8] : 0;
    *most = n ? sorted[n - 1 - 3 * n / 8] : 0;
    free(sorted);
    return true;
}

static int earliest_first(const void *a, const void *b)
{
    return by_value(&((const struct gr_span *)a)->start, &((const struct gr_span *)b)->start);
}

/*
 * The time of a step in which any node ran: what ran in lanes at once counts once. Sorts the spans,
 * [n_nodes].
 */
static double covered(struct gr_span *spans, size_t n_nodes)
{
    double seconds = 0, until = 0;
    qsort(spans, n_nodes, sizeof *spans, earliest_first);
    for (size_t i = 0; i < n_nodes; i++) {
        const double end = spans[i].start + spans[i].seconds;
        if (!(spans[i].seconds > 0) || end <= until)
            continue;
        seconds += end - fmax(spans[i].start, until);
        until = end;
    }
    return seconds;
}

/* Reads spans, and may write over `scratch`, [n_nodes]. */
static void average(struct gr_profile *profile, double least, double most, struct gr_span *scratch)
{
    double steps = 0;
    for (size_t s = 0; s < profile->step; s++) {
        if (profile->seconds[s] < least || profile->seconds[s] > most)
            continue;
        steps++;
        profile->step_seconds += profile->seconds[s];
        const struct gr_span *spans = &profile->spans[s * profile->n_nodes];
        for (size_t i = 0; i < profile->n_nodes; i++) {
            profile->rows[i].seconds += spans[i].seconds;
            profile->in_lanes = profile->in_lanes || spans[i].lane > 0;
        }
        memcpy(scratch, spans, profile->n_nodes * sizeof *scratch);
        profile->wall_seconds += covered(scratch, profile->n_nodes);
    }
    profile->wall_seconds /= fmax(steps, 1);
    profile->step_seconds /= fmax(steps, 1);
    for (size_t i = 0; i < profile->n_nodes; i++) {
        profile->rows[i].seconds /= fmax(steps, 1);
        profile->nodes_seconds += profile->rows[i].seconds;
    }
}

bool gr_profile_finish(struct gr_profile *profile, struct gr_context *context, struct gr_error *err)
{
    double least = 0, most = 0;
    struct gr_span *scratch = malloc((profile->n_nodes + 1) * sizeof *scratch);
    const bool enough = scratch && find_middle(profile, &least, &most);
    if (enough)
        average(profile, least, most, scratch);
    free(scratch);
    if (!enough) {
        *err = (struct gr_error){GR_ERR_RUNTIME, "out of memory"};
        return false;
    }
    if (!gr_context_peak(context, &profile->peak, err))
        return false;
    for (size_t i = 0; i < profile->n_nodes; i++) {
        profile->rows[i].node = gr_plan_node(profile->plan, i);
        compute_row(&profile->peak, &profile->rows[i]);
    }
    return true;
}

static int slowest_first(const void *a, const void *b)
{
    const struct gr_profile_row *x = *(const struct gr_profile_row *const *)a,
                                *y = *(const struct gr_profile_row *const *)b;
    if (x->seconds < y->seconds || x->seconds > y->seconds)
        return x->seconds < y->seconds ? 1 : -1;
    return x < y ? -1 : x > y; /* of equal ones, in order of execution */
}

/* The rows, slowest first; freed by the caller. NULL: out of memory. */
static const struct gr_profile_row **sort_rows(const struct gr_profile *profile)
{
    const struct gr_profile_row **sorted =
        malloc((profile->n_nodes + 1) * sizeof(const struct gr_profile_row *));
    for (size_t i = 0; sorted && i < profile->n_nodes; i++)
        sorted[i] = &profile->rows[i];
    if (sorted)
        qsort(sorted, profile->n_nodes, sizeof *sorted, slowest_first);
    return sorted;
}

/* ---- the table --------------------------------------------------------------------------- */

static void add_rate(struct gr_table *table, double rate)
{
    char text[GR_FIGURE];
    gr_table_add(table, "%s", rate > 0 ? gr_rate_text(rate, text) : "");
}

/* From its time to its bound; what did not run has no figures. */
static void add_figures(struct gr_table *table, const struct gr_profile *profile,
                        const struct gr_profile_row *row)
{
    if (!(row->seconds > 0)) {
        for (int i = 0; i < 6; i++)
            gr_table_add(table, "%s", "");
        return;
    }
    gr_table_add(table, "%.3f", 1e3 * row->seconds);
    gr_table_add(table, "%.1f %%", 100 * row->seconds / profile->step_seconds);
    add_rate(table, row->gflops);
    add_rate(table, row->gbs);
    gr_table_add(table, "%.0f %%", 100 * row->peak_share);
    gr_table_add(table, "%s", row->memory_bound ? "memory" : "compute");
}

static void add_row(struct gr_table *table, const struct gr_profile *profile,
                    const struct gr_profile_row *row)
{
    static const char *const phases[][2] = {
        {"forward", "fwd"}, {"backward", "bwd"}, {"update", "upd"}};
    const char *phase = row->node.phase;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        if (strcmp(phase, phases[i][0]) == 0)
            phase = phases[i][1];
    gr_table_add(table, "%s", row->node.name);
    gr_table_add(table, "%s", row->node.constant ? "once" : phase);
    add_figures(table, profile, row);
    gr_table_add(table, "%s", row->node.impl);
    gr_table_add(table, "%s", row->node.layout);
}

/* The figures of all nodes as if they were one, in the time that any of them ran. */
static struct gr_profile_row total_row(const struct gr_profile *profile)
{
    struct gr_profile_row total = {.seconds = profile->wall_seconds};
    double ideal = 0, for_memory = 0;
    for (size_t i = 0; i < profile->n_nodes; i++) {
        const struct gr_profile_row *row = &profile->rows[i];
        const double least = row->peak_share * row->seconds;
        total.gflops += row->gflops * row->seconds;
        total.gbs += row->gbs * row->seconds;
        ideal += least;
        for_memory += row->memory_bound ? least : 0;
    }
    if (total.seconds > 0) {
        total.gflops /= total.seconds;
        total.gbs /= total.seconds;
        total.peak_share = ideal / total.seconds;
    }
    total.memory_bound = for_memory > ideal / 2;
    return total;
}

/* A time without figures. */
static void add_time(struct gr_table *table, const struct gr_profile *profile, const char *name,
                     double seconds)
{
    gr_table_add(table, "%s", name);
    gr_table_add(table, "%s", "");
    gr_table_add(table, "%.3f", 1e3 * seconds);
    gr_table_add(table, "%.1f %%", 100 * seconds / profile->step_seconds);
    for (int i = 0; i < 6; i++)
        gr_table_add(table, "%s", "");
}

/* Where nodes ran beside each other, their sum is more than the time in which any ran. */
static void add_totals(struct gr_table *table, const struct gr_profile *profile)
{
    const struct gr_profile_row total = total_row(profile);
    char sum[64];
    snprintf(sum, sizeof sum, "sum of %zu nodes", profile->n_nodes);
    gr_table_rule(table);
    if (profile->in_lanes)
        add_time(table, profile, sum, profile->nodes_seconds);
    gr_table_add(table, "%s", profile->in_lanes ? "lanes counted once" : sum);
    gr_table_add(table, "%s", "");
    add_figures(table, profile, &total);
    gr_table_add(table, "%s", "");
    gr_table_add(table, "%s", "");
    add_time(table, profile, "step", profile->step_seconds);
}

static void print_bandwidth(const char *where, const struct gr_bandwidth *bandwidth)
{
    char read[GR_FIGURE], moved[GR_FIGURE];
    printf("; %s %s GB/s read, %s mixed", where, gr_rate_text(1e-9 * bandwidth->read, read),
           gr_rate_text(1e-9 * bandwidth->moved, moved));
}

/* One line; mixed: reading and writing. */
static void print_peak(const struct gr_peak *peak)
{
    char text[GR_FIGURE];
    printf("\npeak: %s GFLOP/s", gr_rate_text(1e-9 * peak->flops[GR_F32], text));
    if (peak->flops[GR_BF16] > 0)
        printf(", bf16 %s", gr_rate_text(1e-9 * peak->flops[GR_BF16], text));
    print_bandwidth("memory", &peak->memory[GR_PEAK_SIZES - 1]);
    print_bandwidth("caches", &peak->memory[0]);
    puts("\n");
}

int gr_profile_print(const struct gr_profile *profile)
{
    static const struct gr_column columns[] = {
        {"node", GR_LEFT_CUT}, {"phase", GR_LEFT}, {"ms", GR_RIGHT},   {"share", GR_RIGHT},
        {"GFLOP/s", GR_RIGHT}, {"GB/s", GR_RIGHT}, {"peak", GR_RIGHT}, {"bound", GR_LEFT},
        {"impl", GR_LEFT},     {"layout", GR_LEFT}};
    struct gr_table table = {.columns = columns, .n_columns = sizeof columns / sizeof *columns};
    const struct gr_profile_row **sorted = sort_rows(profile);
    if (!sorted)
        return gr_tool_no_memory();
    for (size_t i = 0; i < profile->n_nodes; i++)
        add_row(&table, profile, sorted[i]);
    free(sorted);
    add_totals(&table, profile);
    print_peak(&profile->peak);
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

/* ---- JSON -------------------------------------------------------------------------------- */

static json_t *peak_json(const struct gr_peak *peak)
{
    json_t *memory = json_array();
    for (int i = 0; i < GR_PEAK_SIZES; i++)
        gr_report_add(&memory, json_pack("{s:f, s:f, s:f}", "bytes", peak->memory[i].bytes,
                                         "read_per_second", peak->memory[i].read,
                                         "moved_per_second", peak->memory[i].moved));
    return json_pack("{s:f, s:f, s:o}", "f32_flops", peak->flops[GR_F32], "bf16_flops",
                     peak->flops[GR_BF16], "memory", memory);
}

static json_t *row_json(const struct gr_profile_row *row)
{
    const struct gr_node_info *node = &row->node;
    return json_pack("{s:s, s:s, s:s, s:f, s:s, s:f, s:f, s:f, s:I, s:f, s:s, s:b, s:s, s:s}",
                     "name", node->name, "op", node->op, "phase", node->phase, "macs", node->macs,
                     "math", gr_dtype_name(node->math), "seconds", row->seconds, "gflops",
                     row->gflops, "gbs", row->gbs, "bytes", (json_int_t)row->bytes, "share_of_peak",
                     row->peak_share, "bound", row->memory_bound ? "memory" : "compute", "constant",
                     node->constant, "impl", node->impl, "layout", node->layout);
}

bool gr_profile_add_json(const struct gr_profile *profile, json_t *object)
{
    const struct gr_profile_row **sorted = sort_rows(profile);
    json_t *nodes = sorted ? json_array() : NULL;
    bool ok = nodes != NULL;
    for (size_t i = 0; ok && i < profile->n_nodes; i++)
        ok = json_array_append_new(nodes, row_json(sorted[i])) == 0;
    free(sorted);
    ok = json_object_set_new(object, "peak", peak_json(&profile->peak)) == 0 && ok;
    ok = json_object_set_new(object, "nodes_seconds", json_real(profile->nodes_seconds)) == 0 && ok;
    ok = json_object_set_new(object, "nodes_wall_seconds", json_real(profile->wall_seconds)) == 0 &&
         ok;
    ok = json_object_set_new(object, "nodes_step_seconds", json_real(profile->step_seconds)) == 0 &&
         ok;
    return json_object_set_new(object, "nodes", nodes) == 0 && ok;
}
