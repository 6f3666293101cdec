/*
 * The context: which ops, how many threads, who hears the log.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/threads.h"
#include "model/model.h"
#include "model/tuning_file.h"

/* A cache that cannot be read is no cache; it is written anew when there is news. */
static bool open_tuning(struct gr_context *context, const struct gr_context_options *options,
                        struct gr_error *err)
{
    struct gr_error damaged = {0};
    if (options->tune == GR_TUNE_OFF || !context->ops->machine)
        return true;
    const char *machine = context->ops->machine(context->backend);
    context->tuning = gr_tuning_new(options->tune == GR_TUNE_MEASURE, err);
    if (!context->tuning)
        return false;
    gr_tuning_set_report(context->tuning, options->measuring, options->log_user);
    if (!options->tuning)
        return true;
    context->tuning_file = gr_tuning_file_name(options->tuning, machine);
    if (!context->tuning_file)
        return gr_fail_memory(err, "a context");
    if (!gr_tuning_file_load(context->tuning, context->tuning_file, machine, &damaged))
        gr_log(context, GR_LOG_WARNING, "kernels are chosen anew: %s", damaged.message);
    return true;
}

struct gr_context *gr_context_new(const struct gr_registry *ops,
                                  const struct gr_context_options *options, struct gr_error *err)
{
    const struct gr_context_options usual = {0};
    if (!options)
        options = &usual;
    struct gr_context *context = calloc(1, sizeof *context);
    if (!context) {
        gr_fail_memory(err, "a context");
        return NULL;
    }
    context->ops = ops;
    context->threads = options->threads > 0 ? options->threads : gr_threads_available();
    context->log = options->log;
    context->log_user = options->log_user;
    context->backend = ops->backend_new(context->threads, options->kernels, err);
    if (!context->backend) {
        free(context);
        return NULL;
    }
    if (!open_tuning(context, options, err)) {
        gr_context_free(context);
        return NULL;
    }
    return context;
}

void gr_context_free(struct gr_context *context)
{
    if (!context)
        return;
    context->ops->backend_free(context->backend);
    gr_tuning_free(context->tuning);
    free(context->tuning_file);
    free(context);
}

int gr_context_threads(const struct gr_context *context)
{
    return context->threads;
}

bool gr_context_peak(struct gr_context *context, struct gr_peak *peak, struct gr_error *err)
{
    return context->ops->measure(context->backend, peak, err);
}

void gr_log(const struct gr_context *context, enum gr_log_level level, const char *format, ...)
{
    char line[1024];
    if (!context->log)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    context->log(context->log_user, level, line);
}
