/*
 * The table of `train --watch`; see watch.h.
 */
#include "watch.h"

#include <inttypes.h>

#include "format.h"
#include "table.h"

static void add_row(struct gr_table *table, const struct gr_watch_row *row)
{
    char share[GR_FIGURE];
    gr_table_add(table, "%s", row->layer);
    gr_table_add(table, "%.4g", row->weight);
    gr_table_add(table, "%.3g", row->change);
    if (row->weight > 0)
        gr_table_add(table, "%.2e", row->change / row->weight);
    else
        gr_table_add(table, "-");
    if (row->units)
        gr_table_add(table, "%s", gr_percent_text((double)row->dead / (double)row->units, share));
    else
        gr_table_add(table, "-");
    if (row->units)
        gr_table_add(table, "%" PRId64 " of %" PRId64, row->dead, row->units);
    else
        gr_table_add(table, "%s", "");
}

void gr_watch_print(void *user, const struct gr_watch *watch)
{
    static const struct gr_column columns[] = {{"layer", GR_LEFT},       {"|w|", GR_RIGHT},
                                               {"|dw|", GR_RIGHT},       {"|dw|/|w|", GR_RIGHT},
                                               {"dead ReLUs", GR_RIGHT}, {"", GR_RIGHT}};
    struct gr_table table = {.columns = columns, .n_columns = sizeof columns / sizeof *columns};
    (void)user;
    for (size_t i = 0; i < watch->n_rows; i++)
        add_row(&table, &watch->rows[i]);
    gr_status_clear();
    fprintf(stderr, "step %" PRId64 "  loss %.4g  lr %.4g\n", watch->step, watch->loss,
            watch->learning_rate);
    gr_table_print(&table, stderr);
    fputc('\n', stderr);
    gr_table_release(&table);
}
