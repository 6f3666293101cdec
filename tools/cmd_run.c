/*
 * graph-runner run: named tensors in, named tensors out. The window for other programs.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "session.h"
#include "terminal.h"

static bool same_shape(const struct gr_shape *a, const struct gr_shape *b)
{
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = a->dim[i] == b->dim[i];
    return same;
}

/* ---- feeding ----------------------------------------------------------------------------- */

static int feed_input(struct gr_plan *plan, const struct gr_tensor *input,
                      const struct gr_tensor_file *file, const char *path)
{
    char ours[GR_SHAPE_TEXT], theirs[GR_SHAPE_TEXT];
    struct gr_error err = {0};
    const struct gr_tensor *tensor = gr_tensor_file_find(file, input->name);
    if (!tensor)
        return gr_tool_fail(GR_ERR_DATA, "%s: there is no tensor '%s' (%s %s), which the run needs",
                            path, input->name, gr_dtype_name(input->dtype),
                            gr_shape_text(&input->shape, ours));
    if (tensor->dtype != input->dtype || !same_shape(&tensor->shape, &input->shape))
        return gr_tool_fail(GR_ERR_DATA, "%s: '%s' is %s %s, but the model takes %s %s", path,
                            input->name, gr_dtype_name(tensor->dtype),
                            gr_shape_text(&tensor->shape, theirs), gr_dtype_name(input->dtype),
                            gr_shape_text(&input->shape, ours));
    const size_t bytes = (size_t)gr_shape_count(&tensor->shape) * gr_dtype_size(tensor->dtype);
    return gr_plan_feed(plan, input->name, tensor->data, bytes, &err)
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
static int feed(struct gr_plan *plan, const struct gr_tensor_file *file, const char *path)
{
    int status = GR_OK;
    for (size_t i = 0; status == GR_OK && i < gr_plan_input_count(plan); i++) {
        const struct gr_tensor input = gr_plan_input(plan, i);
        status = feed_input(plan, &input, file, path);
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

static int train_steps(const struct gr_session *session, const struct gr_tensor_file *file)
{
    const struct gr_settings *settings = session->settings;
    const struct gr_plan_options options = {
        .mode = (enum gr_mode)settings->mode, .batch = batch_of(session, file), .update = true};
    struct gr_error err = {0};
    struct gr_plan *plan = gr_session_plan(session, options, &err);
    int status = plan ? feed(plan, file, settings->inputs) : gr_tool_error(&err);
    if (status == GR_OK)
        gr_plan_set_learning_rate(plan, settings->learning_rate);
    for (int64_t i = 0; status == GR_OK && i < settings->steps; i++)
        if (!gr_plan_run(plan, &err))
            status = gr_tool_error(&err);
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
    int status = plan ? feed(plan, file, settings->inputs) : gr_tool_error(&err);
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
    if (!settings->outputs && !settings->save_weights)
        return gr_tool_fail(GR_ERR_USAGE, "run: --outputs FILE or --save-weights FILE is needed");
    if (!settings->outputs && settings->fetch.count)
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
    GR_MEMORY_BUDGET_OPTION,
    GR_NO_MEMORY_PLAN_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner run m.yaml --inputs in.st --fetch prob,conv1 --outputs out.st",
     "two values of inference"},
    {"graph-runner run m.yaml --inputs in.st --steps 5 --save-weights w.st",
     "the weights after five training steps"},
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
        "values asked for: plain, and in the usual shapes. With --steps, training steps on the "
        "same inputs come first, as the model's optimizer makes them.\n\n"
        "The batch is the first dimension of the first tensor in the file unless --batch says "
        "otherwise. - stands for standard input or output.",
    .options = options,
    .examples = examples,
    .run = run,
};
