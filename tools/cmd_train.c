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
#include "watch.h"

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

/* The options of the command line that a resumed run needs again. */
static void print_again(const struct gr_settings *settings, char *text, size_t size)
{
    const struct {
        const char *name;
        int64_t value; /* 0: not given */
    } numbers[] = {{"epochs", settings->epochs},   {"steps", settings->steps},
                   {"batch", settings->batch},     {"seed", settings->seed},
                   {"keep", settings->kept},       {"watch", settings->watch},
                   {"threads", settings->threads}, {"memory-budget", settings->memory_budget}};
    size_t used = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].value)
            used += (size_t)snprintf(text + used, size - used, " --%s %" PRId64, numbers[i].name,
                                     numbers[i].value);
    snprintf(text + used, size - used, "%s%s",
             settings->precision == GR_PRECISION_BF16 ? " --precision bf16" : "",
             settings->kernels == GR_KERNELS_OPENBLAS ? " --kernels openblas" : "");
}

/* The run folder's model has the overrides in it. */
static void tell_how_to_go_on(const struct gr_settings *settings, int64_t steps, const char *out)
{
    const bool changed = settings->sets.count || settings->freeze.count;
    char options[512]; /* ten numbers and their names are less */
    print_again(settings, options, sizeof options);
    gr_tool_warn("interrupted after %" PRId64 " %s saved; go on with: "
                 "graph-runner train %s%s --resume %s%s%s%s",
                 steps, steps == 1 ? "step, which is" : "steps, which are",
                 changed ? out : settings->operands.items[0], changed ? "/model.yaml" : "", out,
                 options, settings->data ? " --data " : "", settings->data ? settings->data : "");
}

/* Signals become requests here, between two steps. */
static enum gr_request request(void *user)
{
    (void)user;
    if (gr_interrupt_signal())
        return GR_REQUEST_STOP;
    return gr_interrupt_save() ? GR_REQUEST_SAVE : GR_REQUEST_NOTHING;
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
        .keep = settings->kept,
        .request = request,
        .command = command,
        .watch_every = settings->watch,
        .watch = gr_watch_print,
    };
    gr_interrupt_watch();
    gr_interrupt_watch_save();
    const bool ok = gr_train(session->model, &options, &result, &err);
    gr_display_end(&display);
    free(command);
    if (!ok) {
        const int status = gr_tool_error(&err);
        return gr_session_stopped() ? 128 + gr_interrupt_signal() : status;
    }
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
    {.name = "keep",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(kept),
     .value = "N",
     .min = 1,
     .max = 1e6,
     .doc = "checkpoints to keep, the newest (default: 2; and the best)"},
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
    {.name = "watch",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(watch),
     .value = "N",
     .min = 1,
     .max = 1e15,
     .doc =
         "every N steps, show for each layer |w|, the norm of its weight, |dw|, that of what the "
         "step changed, their ratio, and the share of dead ReLUs: channels that are 0 for the "
         "whole batch"},
    GR_MAX_CORRUPT_OPTION,
    GR_MEMORY_BUDGET_OPTION("; validation, decoding, and the copy of the "
                            "state that is being saved come on top"),
    GR_NO_MEMORY_PLAN_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner train models/lenet.yaml --epochs 3 --out runs/first",
     "three epochs, kept in runs/first"},
    {"graph-runner train models/lenet.yaml --resume runs/first --epochs 6",
     "three more, with the rates of epochs 4 to 6 of 6"},
    {"graph-runner train models/lenet.yaml --out runs/watched --watch 100",
     "is the rate right? |dw| / |w| is about 0.001 where it is"},
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
        "TensorBoard, checkpoints, and report.html, written anew after each epoch: curves, "
        "confusion matrix, filters and network as one page for any browser ('graph-runner report' "
        "compares runs).\n\n"
        "A checkpoint is the whole state after a step, step-000001200.safetensors, or "
        "best.safetensors after the best epoch; latest.safetensors is a link to the newest. One is "
        "saved at the start, after each epoch and every half hour; train.checkpoint in the model "
        "changes that: {every: 1, steps: 0, minutes: 30}. --resume goes on from the newest that is "
        "whole, exactly as if nothing had happened, however the run ended.\n\n"
        "Ctrl-C, SIGTERM or a closed terminal finishes the step, saves and stops, a second signal "
        "stops at once; SIGUSR1 "
        "saves and goes on. Where nothing can be written (a full disk) training goes on, warns "
        "once and tries again.",
    .options = options,
    .tunes = true,
    .transfers = true,
    .examples = examples,
    .run = run,
};
