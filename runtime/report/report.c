/*
 * Reports from run folders; see report.h and gr_report_write in graphrunner.h.
 */
#define _POSIX_C_SOURCE 200809L
#include "report/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/replace.h"
#include "graph/graph.h"
#include "graph/op.h"
#include "model/model.h"
#include "train/filters.h"

enum { PATH_SIZE = 4096, NAME_SIZE = 256, PAGE_WIDTH = 1080, MOST_TILES = 2048, MOST_SIDE = 64 };

/* A folder's run, with what belongs to it. */
struct run {
    const char *folder;
    char label[PATH_SIZE];
    struct gr_record record;
    struct gr_model_file *model; /* NULL: not there, or not to be read */
    struct gr_sheet filters;
};

/* ---- filters ----------------------------------------------------------------------------- */

/* The weight [O, I, H, W] among a node's parameters, or NULL. */
static const struct gr_value *filters_of(const struct gr_node *node)
{
    for (int i = node->n_data; i < node->n_inputs; i++) {
        const struct gr_value *value = node->inputs[i];
        const char *dot = strrchr(value->name, '.');
        if (value->shape.rank == 4 && dot && strcmp(dot, ".weight") == 0)
            return value;
    }
    return NULL;
}

bool gr_report_filters_name(const struct gr_model_file *file, char *name, size_t size,
                            struct gr_error *err)
{
    struct gr_graph *graph = gr_model_file_graph(file, 1, false, err);
    *name = '\0';
    for (size_t n = 0; graph && !*name && n < graph->n_nodes; n++) {
        const struct gr_value *value = filters_of(graph->nodes[n]);
        if (value)
            snprintf(name, size, "%s", value->name);
    }
    gr_graph_free(graph);
    return graph != NULL;
}

bool gr_report_filters_draw(struct gr_sheet *sheet, const float *weights,
                            const struct gr_shape *shape, struct gr_error *err)
{
    const int64_t tiles = shape->dim[0] * (shape->dim[1] == 3 ? 1 : shape->dim[1]);
    if (tiles > MOST_TILES || shape->dim[2] > MOST_SIDE || shape->dim[3] > MOST_SIDE)
        return true;
    return gr_filters_draw(sheet, weights, shape, false, PAGE_WIDTH, NULL, err);
}

/* A pipe of that name would keep us waiting for ever. */
static bool is_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* From the latest checkpoint, as `train` itself draws them; else that of the best epoch. */
static struct gr_tensor_file *read_weights(const struct run *run)
{
    static const char *const names[] = {"latest.safetensors", "best.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[PATH_SIZE];
        const int n = snprintf(path, sizeof path, "%s/%s", run->folder, names[i]);
        struct gr_tensor_file *file =
            n > 0 && n < PATH_SIZE && is_file(path) ? gr_tensor_file_read(path, NULL) : NULL;
        if (file)
            return file;
    }
    return NULL;
}

static bool draw_filters(struct run *run, struct gr_error *err)
{
    char name[NAME_SIZE];
    if (!run->model || !gr_report_filters_name(run->model, name, sizeof name, NULL) || !*name)
        return true;
    struct gr_tensor_file *file = read_weights(run);
    const struct gr_tensor *tensor = file ? gr_tensor_file_find(file, name) : NULL;
    const bool ok = !tensor || tensor->dtype != GR_F32 || tensor->shape.rank != 4 ||
                    gr_report_filters_draw(&run->filters, tensor->data, &tensor->shape, err);
    gr_tensor_file_free(file);
    return ok;
}

/* ---- a folder ---------------------------------------------------------------------------- */

static void warn(const struct gr_context *context, const char *path, const struct gr_error *err)
{
    gr_log(context, GR_LOG_WARNING, "%s: the report goes without the network and its filters: %s",
           path, err->message);
}

static bool open_run(struct run *run, struct gr_context *context, const char *folder,
                     struct gr_error *err)
{
    char path[PATH_SIZE];
    struct stat entry;
    run->folder = folder;
    if (stat(folder, &entry) != 0 || !S_ISDIR(entry.st_mode))
        return gr_fail(err, GR_ERR_DATA, "%s: there is no such folder", folder);
    if (!gr_record_read(&run->record, folder, context->log, context->log_user, err))
        return false;
    const int n = snprintf(path, sizeof path, "%s/model.yaml", folder);
    if (n > 0 && n < PATH_SIZE && is_file(path)) {
        struct gr_error failed = {0};
        run->model = gr_model_file_read(context->ops, path, NULL, NULL, NULL, &failed);
        if (!run->model)
            warn(context, path, &failed);
    }
    return draw_filters(run, err);
}

static void close_run(struct run *run)
{
    gr_record_release(&run->record);
    gr_model_file_free(run->model);
    gr_sheet_release(&run->filters);
}

/* The folder's own name, or as given where another run has the same. */
static void name_runs(struct run *runs, size_t count)
{
    for (size_t r = 0; r < count; r++) {
        snprintf(runs[r].label, sizeof runs[r].label, "%s", runs[r].folder);
        for (size_t n = strlen(runs[r].label); n > 1 && runs[r].label[n - 1] == '/'; n--)
            runs[r].label[n - 1] = '\0';
    }
    for (size_t r = 0; r < count; r++) {
        const char *slash = strrchr(runs[r].label, '/'), *own = slash ? slash + 1 : "";
        bool unique = *own && strcmp(own, ".") != 0 && strcmp(own, "..") != 0;
        for (size_t other = 0; other < count; other++) {
            const char *end = strrchr(runs[other].label, '/');
            unique = unique && (other == r || strcmp(end ? end + 1 : runs[other].label, own) != 0);
        }
        if (unique)
            memmove(runs[r].label, own, strlen(own) + 1);
    }
}

/* A page in a run's own folder is not written through a link there. */
static bool check_place(const char *const *folders, size_t count, const char *path,
                        struct gr_error *err)
{
    const char *slash = strrchr(path, '/');
    const size_t length = slash ? (size_t)(slash - path) : 0;
    for (size_t r = 0; slash && r < count; r++) {
        size_t end = strlen(folders[r]);
        while (end > 1 && folders[r][end - 1] == '/')
            end--;
        if (end == length && strncmp(folders[r], path, length) == 0 &&
            !gr_refuse_links(folders[r], err))
            return false;
    }
    return true;
}

bool gr_report_write(struct gr_context *context, const char *const *folders, size_t count,
                     const char *path, struct gr_error *err)
{
    struct gr_page_run pages[GR_PAGE_RUNS];
    if (count < 1 || count > GR_PAGE_RUNS)
        return gr_fail(err, GR_ERR_USAGE, "a report is of 1 to %d runs, not of %zu", GR_PAGE_RUNS,
                       count);
    if (!check_place(folders, count, path, err))
        return false;
    struct run *runs = calloc(count, sizeof *runs);
    bool ok = runs || gr_fail_memory(err, "a report");
    for (size_t r = 0; ok && r < count; r++)
        ok = open_run(&runs[r], context, folders[r], err);
    if (ok) {
        name_runs(runs, count);
        for (size_t r = 0; r < count; r++)
            pages[r] = (struct gr_page_run){
                .label = runs[r].label,
                .folder = runs[r].folder,
                .record = &runs[r].record,
                .model = runs[r].model,
                .model_text = runs[r].model ? runs[r].model->resolved : NULL,
                .filters = runs[r].filters.picture.pixels ? &runs[r].filters.picture : NULL};
        ok = gr_page_write(pages, count, path, err);
    }
    for (size_t r = 0; runs && r < count; r++)
        close_run(&runs[r]);
    free(runs);
    return ok;
}
