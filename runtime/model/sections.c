/*
 * The sections of a model file other than its nodes and `train`: inputs, class names, data.
 */
#include "data/files.h"
#include "data/kinds.h"
#include "model/reader.h"

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
    return read_class_names(reader) && gr_sections_train(reader) && read_data(reader);
}
