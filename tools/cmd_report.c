/*
 * graph-runner report: training runs as a page for a browser.
 */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "terminal.h"

static const char page_name[] = "report.html";

static int write_to(const struct gr_settings *settings, const char *path)
{
    struct gr_error err = {0};
    const struct gr_context_options options = {.threads = 1, .log = gr_tool_log};
    struct gr_context *context = gr_context_new(gr_standard_ops(), &options, &err);
    const bool ok =
        context && gr_report_write(context, (const char *const *)settings->operands.items,
                                   settings->operands.count, path, &err);
    gr_context_free(context);
    if (!ok)
        return gr_tool_error(&err);
    if (strcmp(path, "-") != 0)
        printf("%s\n", path);
    return GR_OK;
}

/* Where asked; of a single run in its folder, of several here. */
static int run(const struct gr_settings *settings)
{
    if (settings->out || settings->operands.count > 1)
        return write_to(settings, settings->out ? settings->out : page_name);
    const char *folder = settings->operands.items[0];
    char *path = malloc(strlen(folder) + 1 + sizeof page_name);
    if (!path)
        return gr_tool_no_memory();
    const size_t length = strlen(folder);
    sprintf(path, "%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/", page_name);
    const int status = write_to(settings, path);
    free(path);
    return status;
}

static const struct gr_option options[] = {
    {.name = "output",
     .letter = 'o',
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(out),
     .value = "FILE",
     .doc = "where to write the page (default: report.html, in the folder of a single run)"},
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner report runs/alexnet", "write runs/alexnet/report.html anew"},
    {"graph-runner report runs/* -o runs.html", "all runs side by side, their curves in one chart"},
    {.line = NULL},
};

const struct gr_command gr_command_report = {
    .name = "report",
    .summary = "draw training runs as a page for a browser, one or several side by side",
    .operands = "DIR...",
    .min_operands = 1,
    .max_operands = 16,
    .description =
        "Makes one page of HTML of what lies in the folders of training runs: figures, curves of "
        "loss, error, learning rate and throughput, the confusion matrix of the best validation, "
        "the filters of the first convolution, the network, and what was run. Several runs are "
        "compared: a table of settings and results, and curves in one chart, a colour a run.\n\n"
        "The page needs neither a network nor other files and opens from disk. 'train' writes that "
        "of its own run after each epoch. Nothing is computed again: neither model nor data need "
        "to be there.",
    .options = options,
    .no_common = true,
    .examples = examples,
    .run = run,
};
