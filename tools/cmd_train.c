/*
 * graph-runner train: trains a model on its data.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "format.h"
#include "interrupt.h"
#include "progress.h"
#include "session.h"
#include "terminal.h"

static const char default_folder[] = "runs/";

static void tell_result(const struct gr_session *session, const struct gr_train_result *result,
                        const char *out)
{
    printf("%s: %" PRId64 " epoch%s, %" PRId64 " steps", gr_model_name(session->model),
           result->epochs, result->epochs == 1 ? "" : "s", result->steps);
    if (result->monitor && isfinite(result->best))
        printf(", best %s %.4f", result->monitor, result->best);
    if (result->plateau)
        printf(", ended by the plateau after the last drop");
    printf("; kept in %s\n", out);
}

/* An option of the command line that a resumed run needs again; "" if it was not given. */
static const char *again(const char *name, int64_t value, char text[GR_FIGURE])
{
    text[0] = '\0';
    if (value)
        snprintf(text, GR_FIGURE, " --%s %" PRId64, name, value);
    return text;
}

/* The run folder's model has the overrides in it. */
static void tell_how_to_go_on(const struct gr_settings *settings, int64_t steps, const char *out)
{
    char epochs[GR_FIGURE], to[GR_FIGURE], batch[GR_FIGURE], seed[GR_FIGURE], budget[GR_FIGURE];
    const bool changed = settings->sets.count || settings->freeze.count;
    gr_tool_warn("interrupted after %" PRId64 " steps, which are saved; go on with: "
                 "graph-runner train %s%s --resume %s%s%s%s%s%s%s%s",
                 steps, changed ? out : settings->operands.items[0], changed ? "/model.yaml" : "",
                 out, again("epochs", settings->epochs, epochs),
                 again("steps", settings->steps, to), again("batch", settings->batch, batch),
                 again("seed", settings->seed, seed),
                 again("memory-budget", settings->memory_budget, budget),
                 settings->data ? " --data " : "", settings->data ? settings->data : "");
}

static int train_in(const struct gr_session *session, const char *out)
{
    const struct gr_settings *settings = session->settings;
    struct gr_display display = {.quiet = settings->quiet, .epoch_lines = true};
    struct gr_train_result result = {0};
    struct gr_error err = {0};
    char *command = gr_settings_command_line(settings);
    const struct gr_train_options options = {
        .out = out,
        .resume = settings->resume,
        .epochs = settings->epochs,
        .steps = settings->steps,
        .batch = settings->batch,
        .precision = (enum gr_precision)settings->precision,
        .no_memory_plan = settings->no_memory_plan,
        .memory_budget = (size_t)settings->memory_budget,
        .max_corrupt = settings->max_corrupt ? settings->max_corrupt : -1,
        .progress = gr_display_progress,
        .progress_user = &display,
        .command = command,
    };
    gr_interrupt_watch();
    const bool ok = gr_train(session->model, &options, &result, &err);
    gr_display_end(&display);
    free(command);
    if (!ok)
        return gr_tool_error(&err);
    tell_result(session, &result, out);
    if (!result.interrupted)
        return GR_OK;
    tell_how_to_go_on(settings, result.steps, out);
    return 128 + gr_interrupt_signal();
}

/* In the run folder asked for, that of the run to resume, or runs/NAME. */
static int train(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    if (settings->out || settings->resume)
        return train_in(session, settings->out ? settings->out : settings->resume);
    const char *name = gr_model_name(session->model);
    char *folder = malloc(sizeof default_folder + strlen(name));
    if (!folder)
        return gr_tool_no_memory();
    const int status = train_in(session, strcat(strcpy(folder, default_folder), name));
    free(folder);
    return status;
}

static int run(const struct gr_settings *settings)
{
    if (!settings->weights &&
        (settings->only.count || settings->except.count || settings->rename.count))
        return gr_tool_fail(GR_ERR_USAGE,
                            "train: --only, --except and --rename are about --weights FILE");
    if (settings->weights && settings->resume)
        gr_tool_warn("--resume goes on with the weights of its run: --weights is passed over");
    return gr_session_run(settings, train);
}

static const struct gr_option options[] = {
    {.name = "out",
     .letter = 'o',
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(out),
     .value = "DIR",
     .doc = "the run folder (default: runs/NAME)"},
    {.name = "resume",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(resume),
     .value = "DIR",
     .doc = "go on with the run in this folder"},
    {.name = "weights",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(weights),
     .value = "FILE",
     .doc = "start from the weights of the same name and shape in this file"},
    {.name = "only",
     .type = GR_OPTION_WORDS,
     .offset = GR_FIELD(only),
     .value = "PATTERN,...",
     .doc = "of the weights, load these parameters: 'conv*', fc6, 'fc?.weight'"},
    {.name = "except",
     .type = GR_OPTION_WORDS,
     .offset = GR_FIELD(except),
     .value = "PATTERN,...",
     .doc = "but not these"},
    {.name = "rename",
     .type = GR_OPTION_WORDS,
     .offset = GR_FIELD(rename),
     .value = "OLD=NEW,...",
     .doc = "rename tensors of the file: features.0=conv1, module.=, 'layer*.fc=fc*'"},
    {.name = "freeze",
     .type = GR_OPTION_WORDS,
     .offset = GR_FIELD(freeze),
     .value = "PATTERN,...",
     .doc = "do not train the nodes of these names: 'conv*'"},
    {.name = "epochs",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(epochs),
     .value = "N",
     .min = 1,
     .max = 1e9,
     .doc = "passes over the training data (default: the model's)"},
    {.name = "steps",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(steps),
     .value = "N",
     .min = 1,
     .max = 1e15,
     .doc = "stop after so many training steps in all"},
    GR_MAX_CORRUPT_OPTION,
    GR_MEMORY_BUDGET_OPTION,
    GR_NO_MEMORY_PLAN_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner train models/lenet.yaml --epochs 3 --out runs/first",
     "three epochs, kept in runs/first"},
    {"graph-runner train models/lenet.yaml --resume runs/first --epochs 6",
     "three more, exactly as if they had been asked for at once"},
    {"graph-runner train m.yaml --weights w.st --set vars.classes=9 --freeze conv1",
     "fine-tuning: a last layer of nine classes, and conv1 as it was"},
    {.line = NULL},
};

const struct gr_command gr_command_train = {
    .name = "train",
    .summary = "train a model on its data",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "Trains the model on the part 'train' of its data, and after each epoch validates it on "
        "the part 'val'.\n\n"
        "The run folder receives model.yaml (the model as trained), metrics.jsonl (one JSON object "
        "for each stage of each epoch), steps.jsonl (one for each step), an event file for "
        "TensorBoard, the checkpoints latest.safetensors and best.safetensors, and report.html, "
        "written anew after each epoch: curves, confusion matrix, filters and network as one page "
        "for any browser ('graph-runner report' compares runs). Ctrl-C saves and stops; --resume "
        "goes on from there.",
    .options = options,
    .tunes = true,
    .transfers = true,
    .examples = examples,
    .run = run,
};
