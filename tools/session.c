/*
 * Opening a model and feeding a plan; see session.h.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "terminal.h"
#include "transfer.h"

/* ---- the choice of kernels ---------------------------------------------------------------- */

/* Where choices are kept between runs; "" when the environment names no place. */
static void tuning_folder(char *path, size_t size)
{
    const char *own = getenv("GRAPH_RUNNER_CACHE"), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    path[0] = '\0';
    if (own && *own)
        snprintf(path, size, "%s", own);
    else if (cache && *cache)
        snprintf(path, size, "%s/graph-runner", cache);
    else if (home && *home)
        snprintf(path, size, "%s/.cache/graph-runner", home);
}

static enum gr_tune tune_of(const struct gr_settings *settings)
{
    switch ((enum gr_tune_setting)settings->tune) {
    case GR_TUNE_SET_OFF:
        return GR_TUNE_OFF;
    case GR_TUNE_SET_MEASURE:
        return GR_TUNE_MEASURE;
    case GR_TUNE_SET_KNOWN:
        return GR_TUNE_KNOWN;
    case GR_TUNE_AUTO:
        break;
    }
    return settings->command->tunes ? GR_TUNE_MEASURE : GR_TUNE_KNOWN;
}

static bool stopped;

bool gr_session_stopped(void)
{
    return stopped;
}

/* Until a signal asks to stop. */
static bool measure_on(void *user, const char *node, const char *result)
{
    (void)user, (void)node;
    stopped = stopped || (!result && gr_interrupt_signal());
    return !stopped;
}

static bool show_measuring(void *user, const char *node, const char *result)
{
    char line[160];
    if (result) {
        snprintf(line, sizeof line, "%s: %s", node, result);
        gr_tool_log(NULL, GR_LOG_DEBUG, line);
    } else if (gr_is_terminal(stderr)) {
        snprintf(line, sizeof line, "choosing kernels, once for this machine: %s", node);
        gr_status_show(line);
    }
    return measure_on(user, node, result);
}

int gr_session_open(struct gr_session *session, const struct gr_settings *settings,
                    const char *path)
{
    struct gr_error err = {0};
    char folder[4096];
    tuning_folder(folder, sizeof folder);
    const struct gr_context_options context = {.threads = (int)settings->threads,
                                               .kernels = (enum gr_kernels)settings->kernels,
                                               .tune = tune_of(settings),
                                               .tuning = *folder ? folder : NULL,
                                               .measuring =
                                                   settings->quiet ? measure_on : show_measuring,
                                               .log = gr_tool_log};
    const struct gr_model_options model = {.sets = (const char *const *)settings->sets.items,
                                           .n_sets = settings->sets.count,
                                           .freeze = (const char *const *)settings->freeze.items,
                                           .n_freeze = settings->freeze.count,
                                           .seed = (uint64_t)settings->seed,
                                           .data_dir = settings->data};
    session->settings = settings;
    session->context = gr_context_new(gr_standard_ops(), &context, &err);
    if (session->context)
        session->model = gr_model_load(session->context, path, &model, &err);
    if (!session->model)
        return gr_tool_error(&err);
    if (!settings->weights || settings->resume) /* a run that goes on has its own */
        return GR_OK;
    if (settings->command->transfers)
        return gr_transfer_run(session->model, settings);
    return gr_model_load_weights(session->model, settings->weights, &err) ? GR_OK
                                                                          : gr_tool_error(&err);
}

void gr_session_close(struct gr_session *session)
{
    gr_model_free(session->model);
    gr_context_free(session->context);
    *session = (struct gr_session){0};
}

int gr_session_run(const struct gr_settings *settings,
                   int (*work)(const struct gr_session *session))
{
    struct gr_session session = {0};
    int status = gr_session_open(&session, settings, settings->operands.items[0]);
    if (status == GR_OK)
        status = work(&session);
    gr_session_close(&session);
    return status;
}

bool gr_session_is_model(const char *path)
{
    const char *dot = strrchr(path, '.');
    return strcmp(path, "-") == 0 ||
           (dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0));
}

int gr_session_run_data(const struct gr_settings *settings,
                        int (*work)(const struct gr_session *session))
{
    if (gr_session_is_model(settings->operands.items[0]))
        return gr_session_run(settings, work);
    struct gr_error err = {0};
    const struct gr_context_options options = {.threads = (int)settings->threads,
                                               .log = gr_tool_log};
    struct gr_session session = {.settings = settings,
                                 .context = gr_context_new(gr_standard_ops(), &options, &err)};
    const int status = session.context ? work(&session) : gr_tool_error(&err);
    gr_session_close(&session);
    return status;
}

int64_t gr_session_batch(const struct gr_session *session)
{
    return session->settings->batch ? session->settings->batch : gr_model_batch(session->model);
}

struct gr_plan *gr_session_plan(const struct gr_session *session, struct gr_plan_options options,
                                struct gr_error *err)
{
    options.precision = (enum gr_precision)session->settings->precision;
    options.no_memory_plan = session->settings->no_memory_plan;
    options.memory_budget = (size_t)session->settings->memory_budget;
    if (!options.batch)
        options.batch = gr_session_batch(session);
    struct gr_plan *plan = gr_plan_new(session->model, &options, err);
    gr_status_clear();
    return plan;
}

/* ---- random inputs ----------------------------------------------------------------------- */

/* splitmix64: what is fed needs to look random, no more. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static bool no_memory(struct gr_error *err)
{
    *err = (struct gr_error){GR_ERR_RUNTIME, "out of memory while making up inputs"};
    return false;
}

static bool feed_numbers(struct gr_plan *plan, const struct gr_tensor *input, uint64_t *state,
                         struct gr_error *err)
{
    const size_t count = (size_t)gr_shape_count(&input->shape);
    const float width = 3.4641016f; /* of a uniform distribution with unit variance */
    float *data = malloc(count * sizeof *data);
    if (!data)
        return no_memory(err);
    for (size_t i = 0; i < count; i++)
        data[i] = ((float)(draw(state) >> 40) / 16777216.0f - 0.5f) * width;
    const bool ok = gr_plan_feed(plan, input->name, data, count * sizeof *data, err);
    free(data);
    return ok;
}

static bool feed_integers(struct gr_plan *plan, const struct gr_tensor *input, int64_t bound,
                          uint64_t *state, struct gr_error *err)
{
    const size_t count = (size_t)gr_shape_count(&input->shape);
    int32_t *data = calloc(count, sizeof *data);
    if (!data)
        return no_memory(err);
    for (size_t i = 0; i < count && bound > 0; i++)
        data[i] = (int32_t)(draw(state) % (uint64_t)bound);
    const bool ok = gr_plan_feed(plan, input->name, data, count * sizeof *data, err);
    free(data);
    return ok;
}

bool gr_session_feed(const struct gr_session *session, struct gr_plan *plan, struct gr_error *err)
{
    uint64_t state = (uint64_t)session->settings->seed + 1;
    int64_t classes = gr_model_classes(session->model);
    bool ok = true;
    for (size_t i = 0; ok && i < gr_plan_input_count(plan); i++) {
        const struct gr_tensor input = gr_plan_input(plan, i);
        if (input.dtype == GR_F32) {
            ok = feed_numbers(plan, &input, &state, err);
        } else if (input.dtype == GR_S32) {
            ok = feed_integers(plan, &input, classes, &state, err);
            classes = 0;
        }
    }
    return ok;
}
