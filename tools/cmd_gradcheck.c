/*
 * graph-runner gradcheck: numeric against symbolic gradients of a whole model.
 */
#include "commands.h"
#include "session.h"
#include "table.h"

struct rows {
    struct gr_table table;
    size_t count, failed;
};

static void add_row(void *user, const struct gr_gradcheck_row *row)
{
    struct rows *rows = user;
    gr_table_add(&rows->table, "%s", row->name);
    gr_table_add(&rows->table, "%.6e", row->numeric);
    gr_table_add(&rows->table, "%.6e", row->symbolic);
    gr_table_add(&rows->table, "%.1e", row->error);
    gr_table_add(&rows->table, "%s", row->ok ? "ok" : "FAILED");
    rows->count++;
    rows->failed += !row->ok;
}

static int check(const struct gr_session *session)
{
    static const struct gr_column columns[] = {{"parameter", GR_LEFT},
                                               {"numeric", GR_RIGHT},
                                               {"symbolic", GR_RIGHT},
                                               {"error", GR_RIGHT},
                                               {"", GR_LEFT}};
    const struct gr_settings *settings = session->settings;
    struct rows rows = {.table = {.columns = columns, .n_columns = 5}};
    struct gr_error err = {0};
    const bool ok = gr_gradcheck(session->model, settings->batch ? settings->batch : 2,
                                 settings->tolerance, add_row, &rows, &err);
    int status = rows.count ? gr_table_print(&rows.table, stdout) : GR_OK;
    gr_table_release(&rows.table);
    if (status != GR_OK)
        return status;
    if (!ok && err.status != GR_OK)
        return gr_tool_error(&err);
    if (rows.failed)
        return gr_tool_fail(GR_ERR_RUNTIME, "%zu of %zu gradients are beyond the tolerance of %g",
                            rows.failed, rows.count, settings->tolerance);
    return GR_OK;
}

static int run(const struct gr_settings *settings)
{
    return gr_session_run(settings, check);
}

static const struct gr_option options[] = {
    {.name = "tolerance",
     .type = GR_OPTION_NUMBER,
     .offset = GR_FIELD(tolerance),
     .value = "X",
     .min = 1e-9,
     .max = 1,
     .def = "0.01",
     .doc = "the largest relative error that passes"},
    GR_WEIGHTS_OPTION(false),
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner gradcheck models/lenet.yaml", "every parameter, on a batch of two"},
    {.line = NULL},
};

const struct gr_command gr_command_gradcheck = {
    .name = "gradcheck",
    .summary = "hold the gradients against finite differences",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description = "For each trained parameter, compares the gradient that the graph computes with "
                   "central differences of the loss along its direction, on random inputs. The "
                   "batch is 2 unless --batch says otherwise. Exits with 5 if one fails.",
    .options = options,
    .examples = examples,
    .run = run,
};
