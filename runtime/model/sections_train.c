/*
 * The section `train` of a model file: losses, metrics, optimizer, learning rate, checkpoints.
 */
#include "model/reader.h"
#include "train/schedule.h"

#include <string.h>

struct train_attrs {
    int64_t batch, epochs, seed;
    const char *monitor;
};

static const struct gr_attr train_table[] = {
    {.name = "batch",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct train_attrs, batch),
     .def = 1,
     .min = 1,
     .max = 1e6,
     .doc = "samples a step"},
    {.name = "epochs",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct train_attrs, epochs),
     .def = 1,
     .min = 1,
     .max = 1e9,
     .doc = "passes over the training data"},
    {.name = "seed",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct train_attrs, seed),
     .def = -1,
     .min = 0,
     .max = 4294967295.0,
     .doc = "of initial weights, dropout, shuffling, augmentation"},
    {.name = "monitor",
     .type = GR_ATTR_STRING,
     .offset = offsetof(struct train_attrs, monitor),
     .doc = "the figure that decides which epoch is best: a metric, or loss"},
    {0},
};

static const struct gr_kind train_kind = {"train", "how the model is trained", train_table,
                                          sizeof(struct train_attrs)};

struct checkpoint_attrs {
    int64_t every, steps, minutes;
};

static const struct gr_attr checkpoint_table[] = {
    {.name = "every",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct checkpoint_attrs, every),
     .def = 1,
     .min = 1,
     .max = 1e9,
     .doc = "epochs between checkpoints"},
    {.name = "steps",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct checkpoint_attrs, steps),
     .def = 0,
     .min = 0,
     .max = 1e15,
     .doc = "training steps between more of them within an epoch; 0: none"},
    {.name = "minutes",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct checkpoint_attrs, minutes),
     .def = 30,
     .min = 0,
     .max = 1e6,
     .doc = "minutes after which one is made within an epoch; 0: none"},
    {0},
};

static const struct gr_kind checkpoint_kind = {"checkpoint", "when the state is saved",
                                               checkpoint_table, sizeof(struct checkpoint_attrs)};

/* A name in `train`, resolved; *text, in the document, becomes what it stands for. */
static const char *resolve_figure(struct gr_reader *reader, const struct gr_doc *doc,
                                  const char *who, const char **text)
{
    const struct gr_reference reference = {*text, doc->mark, doc->use};
    size_t draft;
    const char *name = gr_nodes_resolve(reader, &reference, who, &draft);
    if (name && draft == SIZE_MAX)
        gr_reader_error(reader, doc, NULL, "%s '%s', which is an input", who, name);
    if (name)
        *text = name;
    return name && draft != SIZE_MAX ? name : NULL;
}

static void add_loss(struct gr_reader *reader, const struct gr_doc *doc, const char **text,
                     double weight)
{
    struct gr_model_file *file = reader->file;
    const char *name = resolve_figure(reader, doc, "'loss' names", text);
    if (name)
        file->losses[file->n_losses++] = (struct gr_model_loss){name, weight, doc->mark};
}

/* `loss: a`, `loss: [a, b]` or `loss: {a: 1, b: 0.3}`. */
static bool read_losses(struct gr_reader *reader, struct gr_doc *doc)
{
    const size_t most = doc->type == GR_DOC_SCALAR ? 1 : doc->count;
    reader->file->losses = gr_pool_array(reader->pool, most, sizeof *reader->file->losses);
    if (!reader->file->losses)
        return gr_reader_failed(reader);
    if (!most)
        gr_reader_error(reader, doc, NULL, "'loss' is empty");
    for (size_t i = 0; i < most; i++) {
        double weight = 1;
        if (doc->type == GR_DOC_MAPPING) {
            struct gr_doc_pair *pair = &doc->pairs[i];
            const struct gr_doc key = {.mark = pair->mark, .use = doc->use};
            if (!gr_scalar_float(pair->value, &weight))
                gr_reader_error(reader, pair->value, NULL,
                                "the weight of a loss is a number, not %s",
                                gr_doc_describe(reader->pool, pair->value));
            add_loss(reader, &key, &pair->key, weight);
            continue;
        }
        struct gr_doc *item = doc->type == GR_DOC_SCALAR ? doc : doc->items[i];
        if (gr_reader_text(reader, item, "'loss'"))
            add_loss(reader, item, &item->text, weight);
    }
    return true;
}

static bool read_metrics(struct gr_reader *reader, struct gr_doc *doc)
{
    struct gr_model_file *file = reader->file;
    if (doc->type == GR_DOC_MAPPING) {
        gr_reader_error(reader, doc, NULL, "'metrics' is a name or a list of names, not a mapping");
        return true;
    }
    const size_t most = doc->type == GR_DOC_SCALAR ? 1 : doc->count;
    file->metrics = gr_pool_array(reader->pool, most, sizeof *file->metrics);
    file->metric_marks = gr_pool_array(reader->pool, most, sizeof *file->metric_marks);
    if (!file->metrics || !file->metric_marks)
        return gr_reader_failed(reader);
    if (most > GR_MAX_METRICS)
        gr_reader_error(reader, doc, NULL, "there are %zu metrics, %d are possible", most,
                        GR_MAX_METRICS);
    for (size_t i = 0; i < most; i++) {
        struct gr_doc *item = doc->type == GR_DOC_SCALAR ? doc : doc->items[i];
        if (!gr_reader_text(reader, item, "a metric"))
            continue;
        const char *name = resolve_figure(reader, item, "'metrics' names", &item->text);
        file->metric_marks[file->n_metrics] = item->mark;
        if (name)
            file->metrics[file->n_metrics++] = name;
    }
    return true;
}

/* A figure that is watched: a metric of the model, or the loss. */
static void check_monitor(struct gr_reader *reader, const struct gr_doc *doc)
{
    const struct gr_model_file *file = reader->file;
    const char *names[GR_MAX_METRICS + 2] = {"loss"};
    bool known = strcmp(doc->text, names[0]) == 0;
    for (size_t i = 0; i < file->n_metrics && i < GR_MAX_METRICS; i++) {
        names[i + 1] = file->metrics[i];
        known = known || strcmp(doc->text, names[i + 1]) == 0;
    }
    if (!known)
        gr_reader_error(reader, doc, gr_reader_nearest(reader, doc->text, names),
                        "'monitor' is 'loss' or one of the metrics, not '%s'", doc->text);
}

/* The optimizers of the registry, as a menu's table. */
static const struct gr_kind *const *optimizer_table(struct gr_reader *reader)
{
    const struct gr_registry *ops = reader->ops;
    const struct gr_kind **kinds = gr_pool_array(reader->pool, ops->n_ops + 1, sizeof *kinds);
    size_t count = 0;
    for (size_t i = 0; kinds && i < ops->n_ops; i++)
        if (ops->ops[i]->flags & GR_OP_OPTIMIZER)
            kinds[count++] = &ops->ops[i]->kind;
    return kinds;
}

static bool read_choices(struct gr_reader *reader, const struct gr_doc *train)
{
    struct gr_model_file *file = reader->file;
    struct gr_doc *optimizer = gr_doc_get(train, "optimizer");
    struct gr_doc *rate = gr_doc_get(train, "learning_rate");
    const struct gr_menu optimizers = {"optimizer", optimizer_table(reader), NULL, NULL};
    const struct gr_menu policies = {"learning-rate policy", gr_schedules, "fixed", "base"};
    struct gr_error err = {0};
    if (!optimizers.kinds)
        return gr_reader_failed(reader);
    if (optimizer)
        file->optimizer = gr_choice_read(reader, &optimizers, optimizer);
    if (rate)
        file->learning_rate = gr_choice_read(reader, &policies, rate);
    if (file->learning_rate.kind && !gr_schedule_check(&file->learning_rate, &err))
        gr_reader_error(reader, rate, NULL, "%s", err.message);
    const bool chosen = file->learning_rate.kind && rate->type == GR_DOC_MAPPING;
    const struct gr_doc *monitor = chosen ? gr_doc_get(rate->pairs[0].value, "monitor") : NULL;
    if (monitor)
        check_monitor(reader, monitor);
    return true;
}

bool gr_sections_train(struct gr_reader *reader)
{
    static const char *const others[] = {"loss",          "metrics",    "optimizer",
                                         "learning_rate", "checkpoint", NULL};
    static const char *const needed[] = {"loss", "optimizer", "learning_rate"};
    const struct gr_doc_pair *pair = gr_doc_pair(reader->root, "train");
    struct gr_model_file *file = reader->file;
    bool ok = true;
    if (!pair || !gr_reader_mapping(reader, pair->value, "'train'"))
        return true;
    const struct gr_doc *train = pair->value, key = {.mark = pair->mark};
    const struct train_attrs *attrs =
        gr_attributes_read(reader, &train_kind, train, others, &key, &ok);
    if (!attrs)
        return false;
    file->has_train = true;
    if (ok) { /* else the defaults stand, so that shapes can be checked */
        file->batch = attrs->batch;
        file->epochs = attrs->epochs;
        file->seed = attrs->seed;
        file->monitor = attrs->monitor;
    }
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!gr_doc_get(train, needed[i]))
            gr_reader_error(reader, &key, NULL, "train needs '%s'", needed[i]);
    struct gr_doc *loss = gr_doc_get(train, "loss"), *metrics = gr_doc_get(train, "metrics");
    if ((loss && !read_losses(reader, loss)) || (metrics && !read_metrics(reader, metrics)))
        return false;
    if (file->monitor)
        check_monitor(reader, gr_doc_get(train, "monitor"));
    const struct gr_doc *checkpoint = gr_doc_get(train, "checkpoint");
    if (checkpoint && gr_reader_mapping(reader, checkpoint, "'checkpoint'")) {
        const struct checkpoint_attrs *saving =
            gr_attributes_read(reader, &checkpoint_kind, checkpoint, NULL, checkpoint, &ok);
        if (!saving)
            return false;
        file->checkpoint_every = saving->every;
        file->checkpoint_steps = saving->steps;
        file->checkpoint_minutes = saving->minutes;
    }
    return read_choices(reader, train);
}
