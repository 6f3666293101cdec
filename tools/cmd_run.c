/*
 * graph-runner run: named tensors in, named tensors out. The window for other programs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "session.h"
#include "terminal.h"

/* How many batches of the shape `batch` lie in one of the shape `all`, one behind the other; or 0.
 */
static int64_t batches_in(const struct gr_shape *all, const struct gr_shape *batch)
{
    bool same = all->rank == batch->rank;
    for (int i = 1; same && i < all->rank; i++)
        same = all->dim[i] == batch->dim[i];
    if (!same || all->rank == 0)
        return same;
    return all->dim[0] % batch->dim[0] == 0 ? all->dim[0] / batch->dim[0] : 0;
}

/* ---- feeding ----------------------------------------------------------------------------- */

/* Batch `step` of those in the file, which come again in turn. */
static int feed_input(struct gr_plan *plan, const struct gr_tensor *input,
                      const struct gr_tensor_file *file, const char *path, int64_t step)
{
    char ours[GR_SHAPE_TEXT], theirs[GR_SHAPE_TEXT];
    struct gr_error err = {0};
    const struct gr_tensor *tensor = gr_tensor_file_find(file, input->name);
    if (!tensor)
        return gr_tool_fail(GR_ERR_DATA, "%s: there is no tensor '%s' (%s %s), which the run needs",
                            path, input->name, gr_dtype_name(input->dtype),
                            gr_shape_text(&input->shape, ours));
    const int64_t batches = batches_in(&tensor->shape, &input->shape);
    if (tensor->dtype != input->dtype || !batches)
        return gr_tool_fail(GR_ERR_DATA, "%s: '%s' is %s %s, but the model takes %s %s", path,
                            input->name, gr_dtype_name(tensor->dtype),
                            gr_shape_text(&tensor->shape, theirs), gr_dtype_name(input->dtype),
                            gr_shape_text(&input->shape, ours));
    const size_t bytes = (size_t)gr_shape_count(&input->shape) * gr_dtype_size(input->dtype);
    const char *data = (const char *)tensor->data + (size_t)(step % batches) * bytes;
    return gr_plan_feed(plan, input->name, data, bytes, &err)
               ? GR_OK
               : gr_tool_fail(err.status, "%s: %s", path, err.message);
}

static bool is_read(const struct gr_plan *plan, const char *name)
{
    for (size_t i = 0; i < gr_plan_input_count(plan); i++)
        if (strcmp(gr_plan_input(plan, i).name, name) == 0)
            return true;
    return false;
}

/*
 * Feeds each input of the plan. Further tensors in the file may be inputs of the model that this
 * run does not read; any others are mistakes.
 */
static int feed(struct gr_plan *plan, const struct gr_tensor_file *file, const char *path,
                int64_t step)
{
    int status = GR_OK;
    for (size_t i = 0; status == GR_OK && i < gr_plan_input_count(plan); i++) {
        const struct gr_tensor input = gr_plan_input(plan, i);
        status = feed_input(plan, &input, file, path, step);
    }
    for (size_t i = 0; status == GR_OK && i < gr_tensor_file_count(file); i++) {
        const struct gr_tensor *tensor = gr_tensor_file_get(file, i);
        struct gr_error err = {0};
        if (!is_read(plan, tensor->name) &&
            !gr_plan_feed(plan, tensor->name, tensor->data,
                          (size_t)gr_shape_count(&tensor->shape) * gr_dtype_size(tensor->dtype),
                          &err))
            status = gr_tool_fail(GR_ERR_DATA, "%s: %s", path, err.message);
    }
    return status;
}

/* --batch, or the first dimension of the first tensor in the file that has one. */
static int64_t batch_of(const struct gr_session *session, const struct gr_tensor_file *file)
{
    for (size_t i = 0; !session->settings->batch && i < gr_tensor_file_count(file); i++) {
        const struct gr_tensor *tensor = gr_tensor_file_get(file, i);
        if (tensor->shape.rank > 0)
            return tensor->shape.dim[0];
    }
    return gr_session_batch(session);
}

/* ---- running ----------------------------------------------------------------------------- */

/* Those of the step's targets that are one number. */
static void print_step(const struct gr_plan *plan, int64_t step, FILE *to)
{
    bool any = false;
    for (size_t i = 0; i < gr_plan_target_count(plan); i++) {
        const struct gr_tensor target = gr_plan_target(plan, i);
        if (gr_shape_count(&target.shape) != 1 || target.dtype != GR_F32)
            continue;
        if (!any)
            fprintf(to, "step %" PRId64, step + 1);
        fprintf(to, "  %s %.9g", target.name, (double)*(const float *)target.data);
        any = true;
    }
    if (any)
        putc('\n', to);
}

static int train_steps(const struct gr_session *session, const struct gr_tensor_file *file)
{
    const struct gr_settings *settings = session->settings;
    const struct gr_plan_options options = {.mode = (enum gr_mode)settings->mode,
                                            .batch = batch_of(session, file),
                                            .targets = (const char *const *)settings->fetch.items,
                                            .n_targets = settings->fetch.count,
                                            .update = true};
    FILE *to = settings->outputs && strcmp(settings->outputs, "-") == 0 ? stderr : stdout;
    struct gr_error err = {0};
    struct gr_plan *plan = gr_session_plan(session, options, &err);
    int status = plan ? GR_OK : gr_tool_error(&err);
    if (status == GR_OK)
        gr_plan_set_learning_rate(plan, settings->learning_rate);
    for (int64_t i = 0; status == GR_OK && i < settings->steps; i++) {
        status = feed(plan, file, settings->inputs, i);
        if (status == GR_OK && !gr_plan_run(plan, &err))
            status = gr_tool_error(&err);
        if (status == GR_OK && settings->fetch.count)
            print_step(plan, i, to);
    }
    gr_plan_free(plan);
    return status;
}

static int write_targets(const struct gr_session *session, const struct gr_plan *plan)
{
    struct gr_error err = {0};
    const char *const metadata[] = {"format", "graph-runner", "model",
                                    gr_model_name(session->model)};
    const size_t count = gr_plan_target_count(plan);
    struct gr_tensor *tensors = calloc(count + 1, sizeof *tensors);
    if (!tensors)
        return gr_tool_no_memory();
    for (size_t i = 0; i < count; i++)
        tensors[i] = gr_plan_target(plan, i);
    const bool ok =
        gr_tensor_file_write(session->settings->outputs, tensors, count, metadata, 2, &err);
    free(tensors);
    return ok ? GR_OK : gr_tool_error(&err);
}

static int fetch(const struct gr_session *session, const struct gr_tensor_file *file)
{
    const struct gr_settings *settings = session->settings;
    const struct gr_plan_options options = {.mode = (enum gr_mode)settings->mode,
                                            .batch = batch_of(session, file),
                                            .targets = (const char *const *)settings->fetch.items,
                                            .n_targets = settings->fetch.count};
    struct gr_error err = {0};
    struct gr_plan *plan = gr_session_plan(session, options, &err);
    int status = plan ? feed(plan, file, settings->inputs, settings->steps) : gr_tool_error(&err);
    if (status == GR_OK)
        gr_plan_set_step(plan, (uint64_t)settings->steps);
    if (status == GR_OK && !gr_plan_run(plan, &err))
        status = gr_tool_error(&err);
    if (status == GR_OK)
        status = write_targets(session, plan);
    gr_plan_free(plan);
    return status;
}

static int work(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    struct gr_error err = {0};
    struct gr_tensor_file *file = gr_tensor_file_read(settings->inputs, &err);
    int status = file ? GR_OK : gr_tool_error(&err);
    if (status == GR_OK && settings->steps)
        status = train_steps(session, file);
    if (status == GR_OK && settings->save_weights &&
        !gr_model_save_weights(session->model, settings->save_weights, &err))
        status = gr_tool_error(&err);
    if (status == GR_OK && settings->outputs)
        status = fetch(session, file);
    gr_tensor_file_free(file);
    return status;
}

static int run(const struct gr_settings *settings)
{
    const bool prints = settings->steps && settings->fetch.count;
    if (!settings->outputs && !settings->save_weights && !prints)
        return gr_tool_fail(GR_ERR_USAGE, "run: --outputs FILE or --save-weights FILE is needed");
    if (!settings->outputs && settings->fetch.count && !prints)
        return gr_tool_fail(GR_ERR_USAGE, "run: --fetch needs --outputs FILE to write to");
    return gr_session_run(settings, work);
}

static const struct gr_option options[] = {
    {.name = "inputs",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(inputs),
     .value = "FILE",
     .required = true,
     .doc = "safetensors with each input by name"},
    {.name = "fetch",
     .type = GR_OPTION_WORDS,
     .offset = GR_FIELD(fetch),
     .value = "NAME,...",
     .doc = "values to compute; grad:NAME is a gradient (default: the outputs; with --mode train, "
            "loss and metrics)"},
    {.name = "outputs",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(outputs),
     .value = "FILE",
     .doc = "where to write them, as safetensors"},
    GR_WEIGHTS_OPTION(false),
    {.name = "mode",
     .type = GR_OPTION_CHOICE,
     .offset = GR_FIELD(mode),
     .value = "infer|train",
     .choices = gr_modes,
     .def = "infer",
     .doc = "train: dropout on, statistics of the batch"},
    {.name = "steps",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(steps),
     .value = "N",
     .min = 0,
     .max = 1e9,
     .def = "0",
     .doc = "training steps to make first"},
    {.name = "learning-rate",
     .type = GR_OPTION_NUMBER,
     .offset = GR_FIELD(learning_rate),
     .value = "X",
     .min = 0,
     .max = 1e6,
     .def = "0.01",
     .doc = "of these steps"},
    {.name = "save-weights",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(save_weights),
     .value = "FILE",
     .doc = "write the weights, as they are after the steps"},
    GR_MEMORY_BUDGET_OPTION(""),
    GR_NO_MEMORY_PLAN_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner run m.yaml --inputs in.st --fetch prob,conv1 --outputs out.st",
     "two values of inference"},
    {"graph-runner run m.yaml --inputs in.st --steps 5 --save-weights w.st",
     "the weights after five training steps"},
    {"graph-runner run m.yaml --inputs in.st --batch 8 --steps 9 --fetch loss",
     "the losses of nine training steps on as many batches"},
    {.line = NULL},
};

const struct gr_command gr_command_run = {
    .name = "run",
    .summary = "feed tensors, fetch any value or gradient",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "Feeds tensors from a safetensors file to the model's inputs, runs it once, and writes the "
        "values asked for: plain, and in the usual shapes. With --steps, training steps come "
        "first, as the model's optimizer makes them, and print those of the values that are one "
        "number, such as the loss.\n\n"
        "The batch is the first dimension of the first tensor in the file unless --batch says "
        "otherwise; of several batches in the file, each step takes the next. - stands for "
        "standard input or output.",
    .options = options,
    .examples = examples,
    .run = run,
};
