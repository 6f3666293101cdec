/*
 * The sections of a model file other than its nodes: inputs, class names, train, data.
 */
#include "data/files.h"
#include "data/kinds.h"
#include "model/reader.h"
#include "train/schedule.h"

#include <stdlib.h>
#include <string.h>

/* ---- inputs ------------------------------------------------------------------------------ */

struct input_attrs {
    struct gr_ints shape;
    int64_t classes;
    int dtype;
};

static const char *const input_dtypes[] = {"f32", "s32", NULL};
static const enum gr_dtype input_dtype_values[] = {GR_F32, GR_S32};

static const struct gr_attr input_table[] = {
    {.name = "shape",
     .type = GR_ATTR_INTS,
     .offset = offsetof(struct input_attrs, shape),
     .min = 1,
     .max = 1e9,
     .doc = "the dimensions of one sample, without the batch"},
    {.name = "classes",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct input_attrs, classes),
     .min = 1,
     .max = 1e9,
     .doc = "the input holds labels, 0 to classes - 1"},
    {.name = "dtype",
     .type = GR_ATTR_ENUM,
     .offset = offsetof(struct input_attrs, dtype),
     .choices = input_dtypes,
     .doc = "the type of an element"},
    {0},
};

static const struct gr_kind input_kind = {"input", "what is fed before a run", input_table,
                                          sizeof(struct input_attrs)};

static bool read_input(struct gr_reader *reader, const struct gr_doc_pair *pair,
                       struct gr_model_input *input)
{
    const struct gr_doc *doc = pair->value;
    struct gr_doc name = {.mark = pair->mark, .text = pair->key};
    bool ok = true;
    *input = (struct gr_model_input){.name = pair->key, .mark = pair->mark};
    gr_reader_check_name(reader, &name, "an input's name");
    input->bad = !gr_reader_mapping(reader, doc, "an input");
    if (input->bad)
        return true;
    const struct input_attrs *attrs =
        gr_attributes_read(reader, &input_kind, doc, NULL, &name, &ok);
    if (!attrs)
        return false;
    const bool labels = gr_doc_get(doc, "classes"), typed = gr_doc_get(doc, "dtype");
    if (!labels && !gr_doc_get(doc, "shape"))
        gr_reader_error(reader, &name, NULL,
                        "input needs 'shape', or 'classes' if it holds labels");
    if (attrs->shape.count >= GR_MAX_RANK)
        gr_reader_error(reader, gr_doc_get(doc, "shape"), NULL,
                        "'shape' has %d dimensions, %d are possible", attrs->shape.count,
                        GR_MAX_RANK - 1);
    if (labels && typed && input_dtype_values[attrs->dtype] != GR_S32)
        gr_reader_error(reader, gr_doc_get(doc, "dtype"), NULL, "labels have dtype s32");
    input->classes = attrs->classes;
    input->dtype = labels ? GR_S32 : input_dtype_values[attrs->dtype];
    ok = ok && attrs->shape.count < GR_MAX_RANK;
    if (ok)
        input->shape = gr_shape_of(attrs->shape.count, attrs->shape.items);
    input->bad = !ok;
    return true;
}

bool gr_sections_inputs(struct gr_reader *reader)
{
    const struct gr_doc *inputs = gr_doc_get(reader->root, "inputs");
    struct gr_model_file *file = reader->file;
    if (!inputs || !gr_reader_mapping(reader, inputs, "'inputs'"))
        return true;
    if (!inputs->count)
        gr_reader_error(reader, inputs, NULL, "'inputs' is empty");
    file->inputs = gr_pool_array(reader->pool, inputs->count, sizeof *file->inputs);
    if (!file->inputs)
        return gr_reader_failed(reader);
    for (size_t i = 0; i < inputs->count; i++) {
        struct gr_model_input *input = &file->inputs[i];
        if (!read_input(reader, &inputs->pairs[i], input) ||
            !gr_map_put(&reader->input_of, input->name, input))
            return gr_reader_failed(reader);
        file->n_inputs++;
        if (!file->classes)
            file->classes = input->classes;
    }
    return true;
}

/* ---- class names ------------------------------------------------------------------------- */

enum { NAMES_FILE_MAX = GR_DOC_MAX_BYTES };

/* One name a line, into a list like one that was written. */
static struct gr_doc *make_names(struct gr_reader *reader, const char **lines, int64_t count,
                                 const struct gr_doc *where)
{
    struct gr_doc *list = gr_doc_new(&reader->maker, GR_DOC_SEQUENCE, where->mark);
    for (int64_t i = 0; list && i < count; i++) {
        struct gr_doc *item = gr_doc_scalar(&reader->maker, lines[i], where->mark);
        if (item)
            item->plain = false;
        if (!gr_doc_append(&reader->maker, list, item))
            list = NULL;
    }
    return list;
}

/* The file that class_names names, read into the document in its place. */
static bool read_names_file(struct gr_reader *reader, struct gr_doc_pair *pair)
{
    struct gr_doc *doc = pair->value;
    struct gr_error err = {0};
    int64_t count = 0;
    if (!gr_reader_text(reader, doc, "'class_names'"))
        return true;
    const struct gr_doc written = *doc;
    const char *path = gr_reader_path(reader, reader->folder, doc);
    if (!path)
        return false;
    const char **lines = gr_file_lines(path, NAMES_FILE_MAX, reader->pool, &count, &err);
    if (!lines && err.status == GR_ERR_RUNTIME)
        return gr_fail(&reader->trouble, err.status, "%s", err.message);
    if (!lines) {
        *doc = written;
        gr_reader_error(reader, doc, NULL, "class names cannot be read: %s", err.message);
        return true;
    }
    pair->value = make_names(reader, lines, count, &written);
    return pair->value || gr_reader_failed(reader);
}

static bool read_class_names(struct gr_reader *reader)
{
    struct gr_doc_pair *pair = gr_doc_pair(reader->root, "class_names");
    struct gr_model_file *file = reader->file;
    if (!pair || (pair->value->type == GR_DOC_SCALAR && !read_names_file(reader, pair)))
        return !pair;
    const struct gr_doc *list = pair->value;
    if (list->type == GR_DOC_MAPPING)
        gr_reader_error(reader, list, NULL, "'class_names' is a list of names or a path, not %s",
                        gr_doc_describe(reader->pool, list));
    if (list->type != GR_DOC_SEQUENCE)
        return true;
    if (!file->classes)
        gr_reader_error(reader, list, NULL, "there are class names, but no input has 'classes'");
    else if ((int64_t)list->count != file->classes)
        gr_reader_error(reader, list, NULL, "there are %zu class names for %lld classes",
                        list->count, (long long)file->classes);
    file->class_names = gr_pool_array(reader->pool, list->count, sizeof *file->class_names);
    if (!file->class_names)
        return gr_reader_failed(reader);
    for (size_t i = 0; i < list->count; i++) {
        file->class_names[i] = gr_reader_text(reader, list->items[i], "a class name");
        if (file->class_names[i] && !gr_reader_is_utf8(file->class_names[i]))
            gr_reader_error(reader, list, NULL, "class name %zu is not UTF-8 text", i + 1);
        else if (file->class_names[i])
            gr_reader_check_plain(reader, list->items[i], "a class name");
    }
    file->n_class_names = list->count;
    return true;
}

/* ---- train ------------------------------------------------------------------------------- */

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

static bool read_train(struct gr_reader *reader)
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

/* ---- data -------------------------------------------------------------------------------- */

static bool read_source(struct gr_reader *reader, struct gr_doc *doc, const struct gr_doc *where,
                        struct gr_model_part *part)
{
    const struct gr_menu menu = {"data source", gr_data_sources, NULL, NULL};
    struct gr_doc *written = gr_doc_new(&reader->maker, GR_DOC_MAPPING, where->mark);
    if (!written)
        return false;
    for (size_t i = 0; i < doc->count; i++) {
        const struct gr_doc_pair *pair = &doc->pairs[i];
        if (strcmp(pair->key, "transform") != 0 &&
            !gr_doc_put(&reader->maker, written, pair->key, pair->mark, pair->value))
            return false;
    }
    if (written->count != 1) {
        gr_reader_error(reader, where, NULL, "a part of 'data' has one source, not %s",
                        written->count ? "several" : "none");
        return true;
    }
    reader->unset = &part->source_unset;
    part->data.source = gr_choice_read(reader, &menu, written);
    reader->unset = NULL;
    return true;
}

static bool read_transforms(struct gr_reader *reader, struct gr_doc *doc,
                            struct gr_model_part *part)
{
    const struct gr_menu menu = {"transform", gr_data_transforms, NULL, NULL};
    if (doc->type != GR_DOC_SEQUENCE) {
        gr_reader_error(reader, doc, NULL, "'transform' is a list, not %s",
                        gr_doc_describe(reader->pool, doc));
        return true;
    }
    struct gr_choice *transforms = gr_pool_array(reader->pool, doc->count, sizeof *transforms);
    if (!transforms)
        return gr_reader_failed(reader);
    part->data.transforms = transforms;
    reader->unset = &part->transforms_unset;
    for (size_t i = 0; i < doc->count; i++)
        transforms[i] = gr_choice_read(reader, &menu, doc->items[i]);
    reader->unset = NULL;
    part->data.n_transforms = (int)doc->count;
    return true;
}

/* Nothing was wrong with it so far, nor with what it was made of, and nothing is left open. */
static bool is_known(const struct gr_model_part *part)
{
    for (int i = 0; i < part->data.n_transforms; i++)
        if (!part->data.transforms[i].kind)
            return false;
    return part->data.source.kind && !part->source_unset.name && !part->transforms_unset.name;
}

static bool read_part(struct gr_reader *reader, const struct gr_doc_pair *pair,
                      struct gr_model_part *part)
{
    const struct gr_doc key = {.mark = pair->mark, .text = pair->key};
    const size_t noted = reader->diagnostics.count;
    struct gr_doc *transform = gr_doc_get(pair->value, "transform");
    struct gr_error err = {0};
    part->data.name = pair->key;
    if (!gr_reader_check_name(reader, &key, "the name of a part") ||
        !gr_reader_mapping(reader, pair->value, "a part of 'data'"))
        return true;
    if (!read_source(reader, pair->value, &key, part) ||
        (transform && !read_transforms(reader, transform, part)))
        return false;
    if (noted == reader->diagnostics.count && is_known(part) &&
        !gr_data_part_check(&part->data, &err))
        gr_reader_error(reader, &key, NULL, "%s", err.message);
    return true;
}

static bool read_data(struct gr_reader *reader)
{
    const struct gr_doc *data = gr_doc_get(reader->root, "data");
    struct gr_model_file *file = reader->file;
    if (!data || !gr_reader_mapping(reader, data, "'data'"))
        return true;
    file->parts = gr_pool_array(reader->pool, data->count, sizeof *file->parts);
    if (!file->parts)
        return gr_reader_failed(reader);
    for (; file->n_parts < data->count; file->n_parts++)
        if (!read_part(reader, &data->pairs[file->n_parts], &file->parts[file->n_parts]))
            return false;
    return true;
}

bool gr_sections_rest(struct gr_reader *reader)
{
    return read_class_names(reader) && read_train(reader) && read_data(reader);
}
