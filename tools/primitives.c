/*
 * Steps against primitives; see primitives.h.
 */
#include "primitives.h"

#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "report.h"
#include "terminal.h"

/* Of all that have a primitive. */
struct total {
    size_t count;
    double seconds, macs;
};

void gr_yardstick_release(struct gr_yardstick *yardstick)
{
    gr_primitives_free(yardstick->primitives);
    *yardstick = (struct gr_yardstick){0};
}

bool gr_yardstick_measure(struct gr_yardstick *yardstick, double step_seconds, struct gr_error *err)
{
    if (!(yardstick->step_seconds > 0) || step_seconds < yardstick->step_seconds)
        yardstick->step_seconds = step_seconds;
    return gr_primitives_measure(yardstick->primitives, err);
}

static struct total total_of(const struct gr_yardstick *yardstick)
{
    struct total total = {0};
    for (size_t i = 0; i < gr_primitives_count(yardstick->primitives); i++) {
        const struct gr_primitive row = gr_primitives_get(yardstick->primitives, i);
        total.count += row.impl != NULL;
        total.seconds += row.seconds;
        total.macs += row.impl ? row.macs : 0;
    }
    return total;
}

static double gflops(double macs, double seconds)
{
    return seconds > 0 ? 2e-9 * macs / seconds : 0;
}

/*
 * How many nodes of this op have no primitive, if the one at index is the first of them; else 0.
 */
static size_t count_without(const struct gr_yardstick *yardstick, size_t index)
{
    const struct gr_primitives *all = yardstick->primitives;
    const struct gr_primitive first = gr_primitives_get(all, index);
    size_t count = 0;
    for (size_t i = 0; !first.impl && i < gr_primitives_count(all); i++) {
        const struct gr_primitive row = gr_primitives_get(all, i);
        if (row.impl || strcmp(row.op, first.op) != 0)
            continue;
        if (i < index)
            return 0;
        count++;
    }
    return count;
}

/* ---- tables ------------------------------------------------------------------------------ */

/* The kinds of nodes without a primitive, four to a row. */
static void add_without(const struct gr_yardstick *yardstick, struct gr_table *table)
{
    enum { A_ROW = 4 };
    const size_t count = gr_primitives_count(yardstick->primitives);
    const size_t without = count - total_of(yardstick).count;
    char text[256];
    size_t length = 0, kinds = 0;
    for (size_t i = 0; i <= count && without; i++) {
        const size_t same = i < count ? count_without(yardstick, i) : 0;
        if (kinds && (i == count ? length > 0 : same && kinds % A_ROW == 0)) {
            if (kinds <= A_ROW) {
                gr_table_add(table, "without");
                gr_table_add(table, "%zu node%s", without, without > 1 ? "s" : "");
            } else {
                gr_table_add(table, "%s", "");
                gr_table_add(table, "%s", "");
            }
            gr_table_add(table, "%s", text);
            length = 0;
        }
        if (same && length < sizeof text) {
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%zu %s",
                                       length ? ", " : "", same,
                                       gr_primitives_get(yardstick->primitives, i).op);
            kinds++;
        }
    }
}

void gr_yardstick_add_rows(const struct gr_yardstick *yardstick, struct gr_table *table)
{
    const struct total total = total_of(yardstick);
    gr_table_add(table, "primitives");
    if (total.count) {
        gr_table_add(table, "%.2f ms", 1e3 * total.seconds);
        gr_table_add(table, "sum of %zu, each alone", total.count);
        gr_table_add(table, "rate");
        gr_table_add(table, "%.2f ×", total.seconds / yardstick->step_seconds);
        gr_table_add(table, "the sum of its primitives, by a step of %.2f ms",
                     1e3 * yardstick->step_seconds);
    } else {
        gr_table_add(table, "none");
        gr_table_add(table, "no node has a primitive to compare with");
    }
    add_without(yardstick, table);
}

static void add_row(struct gr_table *table, const char *name, const char *phase, double seconds,
                    double macs, const char *impl)
{
    char text[GR_FIGURE];
    gr_table_add(table, "%s", name);
    gr_table_add(table, "%s", phase);
    gr_table_add(table, "%.3f", 1e3 * seconds);
    gr_table_add(table, "%s", macs > 0 ? gr_rate_text(gflops(macs, seconds), text) : "");
    gr_table_add(table, "%s", impl);
}

int gr_yardstick_print(const struct gr_yardstick *yardstick)
{
    static const struct gr_column columns[] = {{"primitive of", GR_LEFT_CUT},
                                               {"phase", GR_LEFT},
                                               {"ms", GR_RIGHT},
                                               {"GFLOP/s", GR_RIGHT},
                                               {"impl", GR_LEFT}};
    struct gr_table table = {.columns = columns, .n_columns = sizeof columns / sizeof *columns};
    const struct total total = total_of(yardstick);
    char name[64];
    if (!total.count)
        return GR_OK;
    for (size_t i = 0; i < gr_primitives_count(yardstick->primitives); i++) {
        const struct gr_primitive row = gr_primitives_get(yardstick->primitives, i);
        if (row.impl)
            add_row(&table, row.node, row.phase, row.seconds, row.macs, row.impl);
    }
    gr_table_rule(&table);
    snprintf(name, sizeof name, "sum of %zu primitives", total.count);
    add_row(&table, name, "", total.seconds, total.macs, "");
    puts("");
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

/* ---- JSON -------------------------------------------------------------------------------- */

/* {"sgd": 16, "dropout": 2} */
static json_t *without_json(const struct gr_yardstick *yardstick)
{
    json_t *json = json_object();
    for (size_t i = 0; i < gr_primitives_count(yardstick->primitives); i++) {
        const size_t count = count_without(yardstick, i);
        if (count)
            json_object_set_new(json, gr_primitives_get(yardstick->primitives, i).op,
                                json_integer((json_int_t)count));
    }
    return json;
}

static json_t *rows_json(const struct gr_yardstick *yardstick)
{
    json_t *json = json_array();
    for (size_t i = 0; i < gr_primitives_count(yardstick->primitives); i++) {
        const struct gr_primitive row = gr_primitives_get(yardstick->primitives, i);
        if (row.impl)
            gr_report_add(&json, json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:f}", "name", row.node,
                                           "op", row.op, "phase", row.phase, "impl", row.impl,
                                           "macs", row.macs, "seconds", row.seconds, "gflops",
                                           gflops(row.macs, row.seconds)));
    }
    return json;
}

bool gr_yardstick_add_json(const struct gr_yardstick *yardstick, bool rows, json_t *object)
{
    const struct total total = total_of(yardstick);
    json_t *ratio = total.count ? json_real(total.seconds / yardstick->step_seconds) : json_null();
    json_t *all = json_pack("{s:f, s:f, s:o, s:I, s:o}", "primitives_seconds", total.seconds,
                            "primitives_step_seconds", yardstick->step_seconds, "primitives_ratio",
                            ratio, "primitives_count", (json_int_t)total.count, "primitives_none",
                            without_json(yardstick));
    bool ok = all && (!rows || json_object_set_new(all, "primitives", rows_json(yardstick)) == 0) &&
              json_object_update(object, all) == 0;
    json_decref(all);
    return ok;
}
