/*
 * Reading a model file from beginning to end; see reader.h for the steps and model_file.h for the
 * result.
 */
#define _POSIX_C_SOURCE 200809L
#include "model/model_file.h"
#include "model/reader.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the top level ----------------------------------------------------------------------- */

static const char *const sections[] = {"format", "name",  "description", "vars",
                                       "inputs", "nodes", "blocks",      "class_names",
                                       "train",  "data",  NULL};

static void check_format(struct gr_reader *reader)
{
    const struct gr_doc *format = gr_doc_get(reader->root, "format");
    int64_t number = 0;
    if (!format)
        gr_reader_error(reader, reader->root, NULL, "a model file needs 'format: 1'");
    else if (!gr_scalar_int(format, &number) || number != 1)
        gr_reader_error(reader, format, NULL, "'format' is 1, not %s",
                        gr_doc_describe(reader->pool, format));
}

static void check_top_level(struct gr_reader *reader)
{
    struct gr_doc shown = *reader->root; /* without the keys that begin with a dot */
    static const char *const needed[] = {"inputs", "nodes"};
    struct gr_doc_pair *pairs = gr_pool_array(reader->pool, shown.count, sizeof *pairs);
    size_t kept = 0;
    for (size_t i = 0; pairs && i < shown.count; i++)
        if (shown.pairs[i].key[0] != '.')
            pairs[kept++] = shown.pairs[i];
    if (!pairs) {
        gr_reader_failed(reader);
        return;
    }
    shown.pairs = pairs;
    shown.count = kept;
    check_format(reader);
    gr_reader_check_keys(reader, &shown, "a model file", sections);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!gr_doc_get(&shown, needed[i]))
            gr_reader_error(reader, reader->root, NULL, "a model file needs '%s'", needed[i]);
}

/* "models/lenet.yaml" -> "lenet". */
static const char *stem(struct gr_pool *pool, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    return gr_pool_strndup(pool, base, dot && dot != base ? (size_t)(dot - base) : strlen(base));
}

static void read_name(struct gr_reader *reader)
{
    struct gr_doc_pair *pair = gr_doc_pair(reader->root, "name");
    struct gr_model_file *file = reader->file;
    const struct gr_doc *description = gr_doc_get(reader->root, "description");
    if (pair)
        file->name = gr_reader_text(reader, pair->value, "'name'");
    if (pair && file->name)
        gr_reader_check_plain(reader, pair->value, "'name'");
    if (!pair)
        file->name = stem(reader->pool, file->path);
    if (description)
        gr_reader_text(reader, description, "'description'");
    if (pair || !file->name)
        return;
    const struct gr_mark mark = reader->root->mark;
    struct gr_doc *name = gr_doc_scalar(&reader->maker, file->name, mark);
    if (!gr_doc_put(&reader->maker, reader->root, "name", mark, name))
        return;
    struct gr_doc_pair *pairs = reader->root->pairs; /* as the second key: a copy keeps the name */
    const struct gr_doc_pair last = pairs[reader->root->count - 1];
    for (size_t i = reader->root->count - 1; i > 1; i--)
        pairs[i] = pairs[i - 1];
    pairs[reader->root->count > 1] = last;
}

/* Everything but `nodes`, `blocks` and the places for anchors: $(variables), and `$$(` becomes
 * `$(`. */
static bool settle_sections(struct gr_reader *reader)
{
    for (size_t i = 0; i < reader->root->count; i++) {
        struct gr_doc_pair *pair = &reader->root->pairs[i];
        if (pair->key[0] == '.' || strcmp(pair->key, "nodes") == 0 ||
            strcmp(pair->key, "blocks") == 0 || strcmp(pair->key, "vars") == 0)
            continue;
        pair->value = gr_variables_block(reader, pair->value, NULL);
        if (!pair->value)
            return false;
    }
    return true;
}

/* The steps. False: memory or room ran out, or *err is set. */
static bool read_document(struct gr_reader *reader, const struct gr_source *source,
                          const struct gr_model_options *options, struct gr_error *err)
{
    reader->root = gr_doc_parse(&reader->maker, source, 0);
    if (!reader->root) {
        if (!reader->diagnostics.count && !reader->maker.failed)
            gr_diagnose(&reader->diagnostics, (struct gr_mark){source->name, 0, 0}, NULL, NULL,
                        "the file is empty");
        return false;
    }
    if (!gr_reader_mapping(reader, reader->root, "a model file") ||
        !gr_overrides_apply(reader, options) || !gr_variables_environment(reader, reader->root))
        return false;
    if (!gr_variables_read(reader) || !settle_sections(reader))
        return false;
    check_top_level(reader);
    read_name(reader);
    if (!gr_sections_inputs(reader) || !gr_blocks_expand(reader))
        return false;
    gr_variables_check_used(reader);
    return gr_overrides_apply_waiting(reader) && gr_nodes_read(reader) &&
           gr_sections_rest(reader) && !reader->maker.failed && gr_model_graph_check(reader, err) &&
           gr_nodes_check_freeze(reader, err);
}

/* ---- beginning and end ------------------------------------------------------------------- */

static const char *folder_of(struct gr_pool *pool, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return ".";
    return slash == path ? "/" : gr_pool_strndup(pool, path, (size_t)(slash - path));
}

/* Delivers the mistakes and says how many; true if there are none. */
static bool conclude(struct gr_reader *reader, bool finished, gr_log_fn *log, void *log_user,
                     struct gr_error *err)
{
    struct gr_diagnostics *all = &reader->diagnostics;
    if (reader->trouble.status)
        return gr_fail(err, reader->trouble.status, "%s", reader->trouble.message);
    if (reader->maker.failed)
        gr_fail_memory(err, "reading a model file");
    if (!gr_diagnostics_deliver(all, log, log_user, err) || (err && err->status != GR_OK))
        return false;
    if (all->count)
        return gr_fail(err, GR_ERR_MODEL, "%s: %zu error%s", reader->file->path,
                       all->count + all->dropped, all->count + all->dropped == 1 ? "" : "s");
    if (!finished)
        return gr_fail(err, GR_ERR_RUNTIME, "%s: the model could not be read", reader->file->path);
    reader->file->resolved = gr_resolved_text(reader->root);
    return reader->file->resolved || gr_fail_memory(err, "the resolved model");
}

static void reader_release(struct gr_reader *reader)
{
    gr_diagnostics_release(&reader->diagnostics);
    free(reader->drafts);
    gr_map_release(&reader->draft_of);
    gr_map_release(&reader->alias_of);
    gr_map_release(&reader->input_of);
}

/* All of it, in the C locale: numbers have a point whatever the program's language. */
static bool parse(struct gr_model_file *file, const char *text, size_t length,
                  const struct gr_model_options *options, gr_log_fn *log, void *log_user,
                  struct gr_error *err)
{
    struct gr_reader reader = {
        .pool = &file->pool, .ops = file->ops, .options = options, .file = file};
    struct gr_error own = {0};
    reader.diagnostics.pool = reader.maker.pool = reader.pool;
    reader.maker.diagnostics = &reader.diagnostics;
    reader.folder = folder_of(reader.pool, file->path);
    reader.data_dir = options && options->data_dir ? options->data_dir : reader.folder;
    char *kept = gr_pool_strndup(reader.pool, text, length); /* marks outlive the caller's text */
    const struct gr_source *source =
        kept ? gr_diagnostics_source(&reader.diagnostics, file->path, kept, length) : NULL;
    bool ok = (source && reader.folder && reader.data_dir) || gr_reader_failed(&reader);
    ok = ok && read_document(&reader, source, options, &own);
    ok = conclude(&reader, ok, log, log_user, &own);
    if (!ok)
        gr_fail(err, own.status, "%s", own.message);
    reader_release(&reader);
    return ok;
}

struct gr_model_file *gr_model_file_parse(const struct gr_registry *ops, const char *text,
                                          size_t length, const char *name,
                                          const struct gr_model_options *options, gr_log_fn *log,
                                          void *log_user, struct gr_error *err)
{
    struct gr_model_file *file = calloc(1, sizeof *file);
    const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    bool ok = file && plain;
    if (ok) {
        file->ops = ops;
        file->path = gr_pool_strdup(&file->pool, name);
        file->batch = file->epochs = file->checkpoint_every = 1, file->checkpoint_minutes = 30;
        file->seed = -1;
        ok = file->path != NULL;
    }
    if (ok) {
        const locale_t before = uselocale(plain);
        ok = parse(file, text, length, options, log, log_user, err);
        uselocale(before);
    } else {
        gr_fail_memory(err, "a model file");
    }
    if (plain)
        freelocale(plain);
    if (ok)
        return file;
    gr_model_file_free(file);
    return NULL;
}

/* Reads to the end, or one byte more than a model file may have. */
static bool read_all(FILE *stream, struct gr_text *out)
{
    char buffer[16384];
    size_t count;
    while (out->length <= GR_DOC_MAX_BYTES && (count = fread(buffer, 1, sizeof buffer, stream)) > 0)
        gr_text_append(out, buffer, count);
    return !ferror(stream);
}

struct gr_model_file *gr_model_file_read(const struct gr_registry *ops, const char *path,
                                         const struct gr_model_options *options, gr_log_fn *log,
                                         void *log_user, struct gr_error *err)
{
    const bool standard = strcmp(path, "-") == 0;
    FILE *stream = standard ? stdin : fopen(path, "re");
    struct gr_text text = {0};
    struct gr_model_file *file = NULL;
    if (!stream || !read_all(stream, &text))
        gr_fail_system(err, GR_ERR_MODEL, errno, "cannot read the model", path);
    else if (gr_text_ok(&text, err))
        file = gr_model_file_parse(ops, text.data ? text.data : "", text.length,
                                   standard ? "<stdin>" : path, options, log, log_user, err);
    if (stream && !standard)
        fclose(stream);
    gr_text_release(&text);
    return file;
}

void gr_model_file_free(struct gr_model_file *file)
{
    if (!file)
        return;
    free(file->resolved);
    gr_pool_release(&file->pool);
    free(file);
}

const struct gr_model_part *gr_model_file_part(const struct gr_model_file *file, const char *name)
{
    for (size_t i = 0; i < file->n_parts; i++)
        if (strcmp(file->parts[i].data.name, name) == 0)
            return &file->parts[i];
    return NULL;
}

bool gr_model_unset_check(const struct gr_model_unset *unset, struct gr_error *err)
{
    if (!unset->name)
        return true;
    return gr_fail(err, GR_ERR_DATA, "%s:%d:%d: environment variable '%s' is not set",
                   unset->mark.file, unset->mark.line, unset->mark.column, unset->name);
}
