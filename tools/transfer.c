/*
 * Taking weights over; see transfer.h.
 */
#include "transfer.h"

#include "commands.h"
#include "table.h"

enum { OUTCOMES = GR_TRANSFER_UNUSED + 1 };

struct account {
    struct gr_table parameters, unused;
    size_t counts[OUTCOMES];
};

static const struct gr_column of_parameters[] = {
    {"parameter", GR_LEFT}, {"shape", GR_LEFT}, {"", GR_LEFT}, {"in the file", GR_LEFT_CUT}};
static const struct gr_column of_unused[] = {{"unused in the file", GR_LEFT}, {"shape", GR_LEFT}};

static void take_row(void *user, const struct gr_transfer_row *row)
{
    static const char *const words[OUTCOMES] = {[GR_TRANSFER_LOADED] = "loaded",
                                                [GR_TRANSFER_SHAPE] = "skipped",
                                                [GR_TRANSFER_MISSING] = "missing",
                                                [GR_TRANSFER_LEFT_OUT] = "left out",
                                                [GR_TRANSFER_UNUSED] = ""};
    struct account *account = user;
    char ours[GR_SHAPE_TEXT], theirs[GR_SHAPE_TEXT];
    account->counts[row->outcome]++;
    if (row->outcome == GR_TRANSFER_UNUSED) {
        gr_table_add(&account->unused, "%s", row->source);
        gr_table_add(&account->unused, "%s", gr_shape_text(&row->theirs, theirs));
        return;
    }
    gr_table_add(&account->parameters, "%s", row->name);
    gr_table_add(&account->parameters, "%s", gr_shape_text(&row->ours, ours));
    gr_table_add(&account->parameters, "%s", words[row->outcome]);
    if (!row->source)
        gr_table_add(&account->parameters, "%s", "");
    else if (row->outcome == GR_TRANSFER_SHAPE)
        gr_table_add(&account->parameters, "%s %s", row->source,
                     gr_shape_text(&row->theirs, theirs));
    else
        gr_table_add(&account->parameters, "%s", row->source);
}

static int tell(const struct account *account, const char *path)
{
    const size_t *n = account->counts;
    int status = gr_table_print(&account->parameters, stderr);
    if (status == GR_OK && n[GR_TRANSFER_UNUSED]) {
        fputc('\n', stderr);
        status = gr_table_print(&account->unused, stderr);
    }
    fprintf(stderr, "\n%zu loaded from %s, %zu skipped, %zu missing, %zu left out\n\n",
            n[GR_TRANSFER_LOADED], path, n[GR_TRANSFER_SHAPE], n[GR_TRANSFER_MISSING],
            n[GR_TRANSFER_LEFT_OUT]);
    return status;
}

int gr_transfer_run(struct gr_model *model, const struct gr_settings *settings)
{
    struct gr_error err = {0};
    struct account account = {.parameters = {.columns = of_parameters, .n_columns = 4},
                              .unused = {.columns = of_unused, .n_columns = 2}};
    const struct gr_transfer_options options = {
        .only = (const char *const *)settings->only.items,
        .n_only = settings->only.count,
        .except = (const char *const *)settings->except.items,
        .n_except = settings->except.count,
        .rename = (const char *const *)settings->rename.items,
        .n_rename = settings->rename.count,
        .row = take_row,
        .row_user = &account,
    };
    int status = GR_OK;
    if (!gr_model_transfer_weights(model, settings->weights, &options, &err))
        status = gr_tool_error(&err);
    else if (!settings->quiet)
        status = tell(&account, settings->weights);
    gr_table_release(&account.parameters);
    gr_table_release(&account.unused);
    return status;
}
