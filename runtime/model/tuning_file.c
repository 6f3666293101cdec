/*
 * Choices of kernels in files; see tuning_file.h.
 */
#include "model/tuning_file.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/replace.h"
#include "base/text.h"
#include "model/model.h"

static const char format_name[] = "graph-runner kernels 1";

enum { FILE_MAX = 1 << 24 };

char *gr_tuning_file_name(const char *folder, const char *machine)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (const char *c = machine; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    struct gr_text path = {0};
    gr_text_add(&path, "%s/kernels-%s-%016llx.json", folder, GR_VERSION, (unsigned long long)hash);
    if (gr_text_ok(&path, NULL))
        return path.data;
    gr_text_release(&path);
    return NULL;
}

static bool record(struct gr_tuning *tuning, json_t *choices, const char *path,
                   struct gr_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(choices, key, value)
    {
        const char *choice = json_string_value(json_object_get(value, "kernel"));
        const json_t *measured = json_object_get(value, "seconds");
        const double known = gr_tuning_seconds(tuning, key);
        const double seconds = measured ? json_number_value(measured) : known < 0 ? 0 : known;
        if (!choice)
            return gr_fail(err, GR_ERR_DATA, "%s: '%s' names no kernel", path, key);
        if (!gr_tuning_record(tuning, key, choice, seconds, GR_TUNING_READ, err))
            return false;
    }
    return true;
}

/* Takes root, what was read of path, or NULL and a problem. */
static bool take(struct gr_tuning *tuning, json_t *root, const json_error_t *problem,
                 const char *path, const char *machine, struct gr_error *err)
{
    if (!root)
        return gr_fail(err, GR_ERR_DATA, "%s:%d: %s", path, problem->line, problem->text);
    const char *format = json_string_value(json_object_get(root, "format"));
    const char *made_on = json_string_value(json_object_get(root, "machine"));
    json_t *choices = json_object_get(root, "choices");
    bool ok = true;
    if (!format || strcmp(format, format_name) != 0 || !made_on || !json_is_object(choices))
        ok = gr_fail(err, GR_ERR_DATA, "%s: not a file of kernel choices", path);
    else if (strcmp(made_on, machine) != 0)
        ok = gr_fail(err, GR_ERR_DATA,
                     "%s: its kernels were chosen on another machine (%s; this is %s)", path,
                     made_on, machine);
    ok = ok && record(tuning, choices, path, err);
    json_decref(root);
    return ok;
}

bool gr_tuning_file_load(struct gr_tuning *tuning, const char *path, const char *machine,
                         struct gr_error *err)
{
    json_error_t problem;
    struct stat status;
    if (stat(path, &status) == 0 && (!S_ISREG(status.st_mode) || status.st_size > FILE_MAX))
        return gr_fail(err, GR_ERR_DATA, "%s: no file of kernel choices, or larger than %d bytes",
                       path, FILE_MAX);
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT || gr_fail_system(err, GR_ERR_DATA, errno, "cannot read", path);
    errno = 0;
    json_t *root = json_loadf(file, JSON_REJECT_DUPLICATES, &problem);
    const int number = ferror(file) ? EIO : errno;
    fclose(file);
    if (number == EIO || number == ENOMEM) {
        json_decref(root);
        return gr_fail_system(err, GR_ERR_RUNTIME, number, "cannot read", path);
    }
    return take(tuning, root, &problem, path, machine, err);
}

bool gr_tuning_parse(struct gr_tuning *tuning, const char *text, const char *path,
                     const char *machine, struct gr_error *err)
{
    json_error_t problem;
    json_t *root = gr_json_parse(text, strlen(text), JSON_REJECT_DUPLICATES, &problem, err);
    return take(tuning, root, &problem, path, machine, err);
}

/* What is to be written, see gr_tuning_file_save; the caller's. NULL: out of memory. */
static json_t *describe(const struct gr_tuning *tuning, const char *machine, bool used, bool timed,
                        struct gr_error *err)
{
    json_t *choices = json_object(), *root = NULL;
    bool ok = choices != NULL;
    for (size_t i = 0; ok && i < gr_tuning_count(tuning); i++) {
        const struct gr_tuning_entry entry = gr_tuning_entry(tuning, i);
        if (used ? !entry.used : entry.origin == GR_TUNING_UNSURE)
            continue;
        json_t *choice = json_pack("{s:s}", "kernel", entry.choice);
        ok = !timed || json_object_set_new(choice, "seconds", json_real(entry.seconds)) == 0;
        ok = json_object_set_new(choices, entry.key, choice) == 0 && ok;
    }
    if (ok)
        root = json_pack("{s:s, s:s, s:O}", "format", format_name, "machine", machine, "choices",
                         choices);
    if (!root)
        gr_fail_memory(err, "the choices of kernels");
    json_decref(choices);
    return root;
}

char *gr_tuning_text(const struct gr_tuning *tuning, const char *machine, bool used,
                     struct gr_error *err)
{
    json_t *root = describe(tuning, machine, used, false, err);
    char *text = root ? gr_json_dump(root, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(root);
    if (!text)
        gr_fail_memory(err, "the choices of kernels");
    return text;
}

bool gr_tuning_file_save(const struct gr_tuning *tuning, const char *path, const char *machine,
                         bool used, struct gr_error *err)
{
    struct gr_replace replace = {0};
    json_t *root = describe(tuning, machine, used, true, err);
    bool ok = root && gr_replace_open(&replace, path, err);
    if (ok) {
        const size_t flags = JSON_INDENT(1) | JSON_REAL_PRECISION(6);
        errno = 0; /* Jansson may leave out what there is no memory for */
        const bool dumped = json_dumpf(root, replace.file, flags) == 0 && errno != ENOMEM;
        fputc('\n', replace.file); /* commit reports a failed write */
        ok = dumped || ferror(replace.file) ? gr_replace_commit(&replace, err)
                                            : gr_fail_memory(err, "the choices of kernels");
    }
    gr_replace_release(&replace);
    json_decref(root);
    return ok;
}

void gr_tuning_keep(struct gr_context *context)
{
    struct gr_error err = {0};
    const char *machine = context->ops->machine ? context->ops->machine(context->backend) : "";
    if (!context->tuning || !context->tuning_file || !gr_tuning_take_news(context->tuning))
        return;
    char *end = strrchr(context->tuning_file, '/');
    if (end) { /* the cache's folder is made when there is something to put into it */
        *end = '\0';
        if (!gr_make_folder(context->tuning_file, &err))
            gr_log(context, GR_LOG_DEBUG, "%s", err.message);
        *end = '/';
    }
    err = (struct gr_error){0};
    if (!gr_tuning_file_save(context->tuning, context->tuning_file, machine, false, &err))
        gr_log(context, GR_LOG_WARNING, "the choice of kernels is not kept: %s", err.message);
}
