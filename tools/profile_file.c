/*
 * Reading a profile; see profile_file.h.
 */
#include "profile_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "options.h"
#include "terminal.h"

static const char reorder[] = "reorder"; /* the op of nodes that only change a layout */

/* ---- reading ----------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* A whole number from 0 to a million; else 0. */
static int64_t count_of(const json_t *object, const char *key)
{
    const double number = number_of(object, key);
    return number >= 0 && number <= 1e6 ? (int64_t)number : 0;
}

/* The index of a text among choices that end with NULL; -1: none of them. */
static int choice_of(const json_t *object, const char *key, const char *const *choices)
{
    const char *text = text_of(object, key);
    for (int i = 0; choices[i]; i++)
        if (strcmp(choices[i], text) == 0)
            return i;
    return -1;
}

/* Says what is wrong with the file itself. */
static int unreadable(const struct gr_profile_file *file, const char *why)
{
    return gr_tool_fail(GR_ERR_DATA, "cannot read the profile %s: %s", file->path, why);
}

static int load(struct gr_profile_file *file)
{
    json_error_t error;
    FILE *stream = strcmp(file->path, "-") == 0 ? stdin : fopen(file->path, "re");
    if (!stream)
        return unreadable(file, strerror(errno));
    file->json = json_loadf(stream, 0, &error);
    if (stream != stdin)
        fclose(stream);
    if (!file->json)
        return unreadable(file, error.text);
    const json_t *other = json_object_get(file->json, "otherData");
    file->bench = json_object_get(file->json, "traceEvents") ? other : file->json;
    if (!json_is_array(json_object_get(file->bench, "nodes")) ||
        choice_of(file->bench, "mode", gr_modes) < 0 ||
        choice_of(file->bench, "precision", gr_precisions) < 0 ||
        count_of(file->bench, "batch") < 1)
        return unreadable(file, "there are no times of nodes in it; they come from 'graph-runner "
                                "bench MODEL --json --nodes' or '--trace FILE'");
    return GR_OK;
}

/* Says that something else is asked for than was measured. */
static int differs(const struct gr_profile_file *file, const char *option, const char *measured,
                   const char *asked)
{
    return gr_tool_fail(GR_ERR_USAGE, "%s was measured with --%s %s, not %s", file->path, option,
                        measured, asked);
}

/* Every setting is as measured: where it was not said, it becomes so. */
static int complete(const struct gr_profile_file *file, struct gr_settings *settings)
{
    const int mode = choice_of(file->bench, "mode", gr_modes),
              precision = choice_of(file->bench, "precision", gr_precisions),
              kernels = choice_of(file->bench, "kernels", gr_kernel_sets);
    const int64_t batch = count_of(file->bench, "batch");
    char measured[32], asked[32];
    if (settings->mode >= 0 && settings->mode != mode)
        return differs(file, "mode", gr_modes[mode], gr_modes[settings->mode]);
    if (settings->precision != GR_PRECISION_F32 && settings->precision != precision)
        return differs(file, "precision", gr_precisions[precision],
                       gr_precisions[settings->precision]);
    if (settings->batch && settings->batch != batch) {
        snprintf(measured, sizeof measured, "%" PRId64, batch);
        snprintf(asked, sizeof asked, "%" PRId64, settings->batch);
        return differs(file, "batch", measured, asked);
    }
    settings->mode = mode;
    settings->precision = precision;
    settings->batch = batch;
    if (settings->kernels == GR_KERNELS_AUTO && kernels >= 0)
        settings->kernels = kernels;
    if (!settings->threads)
        settings->threads = count_of(file->bench, "threads");
    return GR_OK;
}

int gr_profile_file_open(struct gr_profile_file *file, const char *path,
                         struct gr_settings *settings)
{
    file->path = path;
    const int status = load(file);
    if (status != GR_OK)
        return status;
    const int64_t threads = count_of(file->bench, "threads");
    snprintf(file->title, sizeof file->title, "%s, batch %" PRId64 ", %" PRId64 " thread%s, %s",
             text_of(file->bench, "mode"), count_of(file->bench, "batch"), threads,
             threads > 1 ? "s" : "", text_of(file->bench, "precision"));
    return complete(file, settings);
}

void gr_profile_file_close(struct gr_profile_file *file)
{
    json_decref(file->json);
    *file = (struct gr_profile_file){0};
}

/* ---- matching ---------------------------------------------------------------------------- */

/* The profile's nodes by name; the caller's. NULL: out of memory. */
static json_t *index_nodes(const struct gr_profile_file *file)
{
    json_t *by_name = json_object();
    const json_t *nodes = json_object_get(file->bench, "nodes");
    for (size_t i = 0; by_name && i < json_array_size(nodes); i++) {
        json_t *node = json_array_get(nodes, i);
        if (json_object_set(by_name, text_of(node, "name"), node) != 0) {
            json_decref(by_name);
            return NULL;
        }
    }
    return by_name;
}

/* Says that profile and plan are of different nodes: `name` is missing in one of them. */
static int misfit(const struct gr_profile_file *file, const struct gr_session *session,
                  const char *name, bool in_plan)
{
    const struct gr_settings *settings = session->settings;
    return gr_tool_fail(GR_ERR_USAGE,
                        "%s (%s, %s) does not fit the plan of '%s' (%s, batch %" PRId64
                        "%s): only the %s has a node '%s'",
                        file->path, text_of(file->bench, "model"), file->title,
                        gr_model_name(session->model), gr_modes[settings->mode], settings->batch,
                        settings->no_fusion ? ", without fusion" : "", in_plan ? "plan" : "profile",
                        name);
}

/* What is left of the profile when the plan's nodes are taken out: reorders alone. */
static int check_rest(const struct gr_profile_file *file, const struct gr_session *session,
                      json_t *rest)
{
    for (void *at = json_object_iter(rest); at; at = json_object_iter_next(rest, at))
        if (strcmp(text_of(json_object_iter_value(at), "op"), reorder) != 0)
            return misfit(file, session, json_object_iter_key(at), false);
    if (json_object_size(rest))
        gr_tool_warn("%s has %zu reorders that this plan, which chose other layouts, has not",
                     file->path, json_object_size(rest));
    return GR_OK;
}

int gr_profile_file_match(const struct gr_profile_file *file, const struct gr_session *session,
                          const struct gr_plan *plan, double *seconds,
                          struct gr_dot_profile *profile)
{
    const char *model = text_of(file->bench, "model");
    if (strcmp(model, gr_model_name(session->model)) != 0)
        return gr_tool_fail(GR_ERR_USAGE, "%s was measured on '%s', not on '%s'", file->path, model,
                            gr_model_name(session->model));
    json_t *rest = index_nodes(file);
    int status = rest ? GR_OK : gr_tool_no_memory();
    for (size_t i = 0; status == GR_OK && i < gr_plan_node_count(plan); i++) {
        const struct gr_node_info info = gr_plan_node(plan, i);
        const json_t *node = json_object_get(rest, info.name);
        seconds[i] = node ? number_of(node, "seconds") : -1;
        if (node && fabs(number_of(node, "macs") - info.macs) > 1e-6 * info.macs)
            status =
                gr_tool_fail(GR_ERR_USAGE,
                             "%s was measured on a '%s' whose node '%s' has %.0f MACs; in this "
                             "model it has %.0f",
                             file->path, model, info.name, number_of(node, "macs"), info.macs);
        else if (node)
            json_object_del(rest, info.name);
        else if (strcmp(info.op, reorder) != 0)
            status = misfit(file, session, info.name, true);
    }
    if (status == GR_OK)
        status = check_rest(file, session, rest);
    json_decref(rest);
    *profile = (struct gr_dot_profile){.seconds = seconds,
                                       .step_seconds = number_of(file->bench, "nodes_step_seconds"),
                                       .title = file->title};
    return status;
}
