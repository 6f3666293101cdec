/*
 * Confusion counts and their CSV; see confusion.h.
 */
#include "train/confusion.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/replace.h"

bool gr_confusion_init(struct gr_confusion *confusion, int64_t classes, struct gr_error *err)
{
    *confusion = (struct gr_confusion){.classes = classes};
    if ((uint64_t)classes < SIZE_MAX / sizeof *confusion->counts / (uint64_t)classes)
        confusion->counts = calloc((size_t)classes * (size_t)classes, sizeof *confusion->counts);
    return confusion->counts || gr_fail_memory(err, "a confusion matrix");
}

void gr_confusion_release(struct gr_confusion *confusion)
{
    free(confusion->counts);
    *confusion = (struct gr_confusion){0};
}

static const uint32_t *row_of(const struct gr_confusion *confusion, int64_t label)
{
    return confusion->counts + label * confusion->classes;
}

int64_t gr_confusion_images(const struct gr_confusion *confusion, int64_t label)
{
    int64_t images = 0;
    for (int64_t c = 0; c < confusion->classes; c++)
        images += row_of(confusion, label)[c];
    return images;
}

void gr_confusion_class(const struct gr_confusion *confusion, int64_t label,
                        struct gr_class_result *result)
{
    const uint32_t *row = row_of(confusion, label);
    result->images = gr_confusion_images(confusion, label);
    result->right = row[label];
    result->mistaken_for = -1;
    result->mistaken = 0;
    for (int64_t c = 0; c < confusion->classes; c++)
        if (c != label && row[c] > result->mistaken) {
            result->mistaken_for = c;
            result->mistaken = row[c];
        }
}

/* ---- files ------------------------------------------------------------------------------- */

void gr_csv_quoted(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', file);
        fputc(*text, file);
    }
    fputc('"', file);
}

static void write_name(int64_t index, gr_class_name_fn *name, const void *user, FILE *file)
{
    char text[256];
    if (*name(user, index, text, sizeof text))
        gr_csv_quoted(file, text);
    else
        fprintf(file, "%" PRId64, index);
}

static bool write_csv(const struct gr_confusion *confusion, const char *title,
                      gr_class_name_fn *name, const void *user, FILE *file, const char *path,
                      struct gr_error *err)
{
    (void)title, (void)path, (void)err;
    fputs("label", file);
    for (int64_t c = 0; c < confusion->classes; c++) {
        fputc(',', file);
        write_name(c, name, user, file);
    }
    for (int64_t label = 0; label < confusion->classes; label++) {
        fputc('\n', file);
        write_name(label, name, user, file);
        for (int64_t c = 0; c < confusion->classes; c++)
            fprintf(file, ",%" PRIu32, row_of(confusion, label)[c]);
    }
    fputc('\n', file);
    return true;
}

static bool write_svg(const struct gr_confusion *confusion, const char *title,
                      gr_class_name_fn *name, const void *user, FILE *file, const char *path,
                      struct gr_error *err)
{
    (void)path, (void)err;
    gr_confusion_draw(confusion, title, name, user, file);
    return true;
}

static const struct form {
    const char *ending;
    bool (*write)(const struct gr_confusion *confusion, const char *title, gr_class_name_fn *name,
                  const void *user, FILE *file, const char *path, struct gr_error *err);
} forms[] = {{".csv", write_csv}, {".svg", write_svg}, {".png", gr_confusion_paint}};

static const struct form *form_of(const char *path)
{
    const char *ending = strrchr(path, '.');
    for (size_t i = 0; ending && i < sizeof forms / sizeof *forms; i++)
        if (strcmp(ending, forms[i].ending) == 0)
            return &forms[i];
    return NULL;
}

bool gr_confusion_path_check(const char *path, struct gr_error *err)
{
    return form_of(path) ||
           gr_fail(err, GR_ERR_USAGE,
                   "confusion matrix: '%s' ends neither in .csv, for counts, nor in .svg or "
                   ".png, for a picture",
                   path);
}

bool gr_confusion_write(const struct gr_confusion *confusion, const char *title,
                        gr_class_name_fn *name, const void *name_user, const char *path,
                        struct gr_error *err)
{
    struct gr_replace replace = {0};
    bool ok = gr_confusion_path_check(path, err) && gr_replace_open(&replace, path, err);
    ok = ok && form_of(path)->write(confusion, title, name, name_user, replace.file, path, err) &&
         gr_replace_commit(&replace, err);
    gr_replace_release(&replace);
    return ok;
}
