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

#include "base/replace.h"
#include "base/text.h"
#include "model/model.h"

static const char format_name[] = "graph-runner kernels 1";

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
        const double seconds = json_number_value(json_object_get(value, "seconds"));
        if (!choice)
            return gr_fail(err, GR_ERR_DATA, "%s: '%s' names no kernel", path, key);
        if (!gr_tuning_record(tuning, key, choice, seconds, false, err))
            return false;
    }
    return true;
}

bool gr_tuning_file_load(struct gr_tuning *tuning, const char *path, const char *machine,
                         struct gr_error *err)
{
    json_error_t problem;
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT || gr_fail_system(err, GR_ERR_DATA, errno, "cannot read", path);
    errno = 0;
    json_t *root = json_loadf(file, JSON_REJECT_DUPLICATES, &problem);
    const int number = ferror(file) ? EIO : errno;
    fclose(file);
    if (!root && (number == EIO || number == ENOMEM))
        return gr_fail_system(err, GR_ERR_RUNTIME, number, "cannot read", path);
    if (!root)
        return gr_fail(err, GR_ERR_DATA, "%s:%d: %s", path, problem.line, problem.text);
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

bool gr_tuning_file_save(const struct gr_tuning *tuning, const char *path, const char *machine,
                         bool used, struct gr_error *err)
{
    struct gr_replace replace = {0};
    json_t *choices = json_object(), *root = NULL;
    bool ok = choices != NULL;
    for (size_t i = 0; ok && i < gr_tuning_count(tuning); i++) {
        const struct gr_tuning_entry entry = gr_tuning_entry(tuning, i);
        if (used && !entry.used)
            continue;
        ok = json_object_set_new(
                 choices, entry.key,
                 json_pack("{s:s, s:f}", "kernel", entry.choice, "seconds", entry.seconds)) == 0;
    }
    if (ok)
        root = json_pack("{s:s, s:s, s:O}", "format", format_name, "machine", machine, "choices",
                         choices);
    if (!root)
        ok = gr_fail_memory(err, "the choices of kernels");
    ok = ok && gr_replace_open(&replace, path, err);
    if (ok) {
        const size_t flags = JSON_INDENT(1) | JSON_REAL_PRECISION(6);
        errno = 0; /* Jansson may leave out what there is no memory for */
        const bool dumped = json_dumpf(root, replace.file, flags) == 0 && errno != ENOMEM;
        fputc('\n', replace.file); /* commit reports a failed write */
        ok = dumped || ferror(replace.file) ? gr_replace_commit(&replace, err)
                                            : gr_fail_memory(err, "the choices of kernels");
    }
    gr_replace_release(&replace);
    json_decref(choices);
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
