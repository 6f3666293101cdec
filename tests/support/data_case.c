/*
 * What the tests of runtime/data share; see data_case.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data_case.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void gr_data_case_init(struct gr_data_case *test)
{
    memset(test, 0, sizeof *test);
    const char *base = getenv("TMPDIR");
    test->folder = gr_pool_printf(&test->pool, "%s/gr_data_XXXXXX", base ? base : "/tmp");
    assert_non_null(test->folder);
    assert_non_null(mkdtemp(test->folder));
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status, (void)type, (void)ftw;
    return remove(path);
}

void gr_data_case_release(struct gr_data_case *test)
{
    assert_int_equal(nftw(test->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    gr_pipeline_scratch_release(&test->scratch);
    gr_pool_release(&test->pool);
}

const char *gr_data_case_path(struct gr_data_case *test, const char *format, ...)
{
    va_list args;
    char name[512];
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    char *path = gr_pool_printf(&test->pool, "%s/%s", test->folder, name);
    assert_non_null(path);
    for (char *p = path + strlen(test->folder) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = 0;
        mkdir(path, 0700);
    }
    return path;
}

void gr_data_case_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void gr_data_case_log(void *user, enum gr_log_level level, const char *text)
{
    struct gr_data_case *test = user;
    if (level > GR_LOG_WARNING)
        return;
    test->n_warnings++;
    snprintf(test->warning, sizeof test->warning, "%s", text);
}

/* A list of numbers as the attribute table wants it. */
static void set_numbers(struct gr_data_case *test, const struct gr_attr *attr, void *field,
                        const char *text)
{
    double *number = gr_pool_array(&test->pool, 64, sizeof *number);
    int count = 0;
    char *end;
    for (const char *p = text; *p && count < 64; p = *end == ',' ? end + 1 : end)
        number[count++] = strtod(p, &end);
    if (attr->type == GR_ATTR_INT)
        *(int64_t *)field = (int64_t)number[0];
    else if (attr->type == GR_ATTR_FLOAT)
        *(double *)field = number[0];
    else if (attr->type == GR_ATTR_BOOL)
        *(bool *)field = number[0] != 0;
    else if (attr->type == GR_ATTR_FLOATS)
        *(struct gr_floats *)field = (struct gr_floats){count, number};
    else if (attr->type == GR_ATTR_SIZE2)
        for (int i = 0; i < 2; i++)
            ((int64_t *)field)[i] = (int64_t)number[count == 1 ? 0 : i];
    else
        fail_msg("%s has a type that the tests do not know", attr->name);
}

static void set_attr(struct gr_data_case *test, const struct gr_attr *attr, void *field, char *text)
{
    if (attr->type == GR_ATTR_PATH || attr->type == GR_ATTR_STRING) {
        *(const char **)field = text;
    } else if (attr->type == GR_ATTR_ENUM) {
        int choice = 0;
        while (attr->choices[choice] && strcmp(attr->choices[choice], text) != 0)
            choice++;
        assert_non_null(attr->choices[choice]);
        *(int *)field = choice;
    } else {
        set_numbers(test, attr, field, text);
    }
}

struct gr_choice gr_data_case_choose(struct gr_data_case *test, const struct gr_kind *const *kinds,
                                     const char *name, const char *attrs)
{
    while (*kinds && strcmp((*kinds)->name, name) != 0)
        kinds++;
    assert_non_null(*kinds);
    struct gr_choice choice = {*kinds, gr_kind_defaults(*kinds, &test->pool)};
    assert_non_null(choice.attrs);
    char *rest = gr_pool_strdup(&test->pool, attrs ? attrs : "");
    for (char *pair; (pair = strsep(&rest, ";")) && *pair;) {
        char *value = strchr(pair, '=');
        assert_non_null(value);
        *value++ = 0;
        const struct gr_attr *attr = gr_kind_attr(*kinds, pair);
        assert_non_null(attr);
        set_attr(test, attr, (char *)choice.attrs + attr->offset, value);
    }
    return choice;
}

struct gr_data_part *gr_data_case_part(struct gr_data_case *test, const char *source,
                                       const char *attrs, const char *const *transforms,
                                       int n_transforms)
{
    struct gr_data_part *part = gr_pool_alloc(&test->pool, sizeof *part);
    struct gr_choice *choices =
        gr_pool_array(&test->pool, (size_t)n_transforms + 1, sizeof *choices);
    assert_non_null(part);
    assert_non_null(choices);
    for (int i = 0; i < n_transforms; i++)
        choices[i] =
            gr_data_case_choose(test, gr_data_transforms, transforms[2 * i], transforms[2 * i + 1]);
    *part =
        (struct gr_data_part){"train", gr_data_case_choose(test, gr_data_sources, source, attrs),
                              choices, n_transforms,
                              false,   NULL};
    return part;
}

void gr_data_case_apply(struct gr_data_case *test, const struct gr_data_part *part,
                        const struct gr_view *view, const struct gr_shape *shape,
                        const struct gr_random_key *key, float *out)
{
    struct gr_pipeline pipeline;
    struct gr_pipeline_run run;
    struct gr_error err = {0};
    const struct gr_extent extent = {view->channels, view->height, view->width,
                                     view->height,   view->width,  NULL};
    gr_pipeline_init(&pipeline, part, &extent, shape, &err);
    assert_string_equal(err.message, "");
    gr_pipeline_start(&run, &pipeline, key, &test->scratch);
    gr_pipeline_finish(&run, view, out, &err);
    assert_string_equal(err.message, "");
}

const char *gr_data_case_idx(struct gr_data_case *test, int count, int height, int width,
                             int classes)
{
    const char *images = gr_data_case_path(test, "images"),
               *labels = gr_data_case_path(test, "labels");
    const size_t pixels = (size_t)count * (size_t)height * (size_t)width;
    uint8_t *bytes = gr_pool_alloc(&test->pool, pixels + 16);
    assert_non_null(bytes);
    const int header[4] = {0x803, count, height, width};
    for (int i = 0; i < 16; i++)
        bytes[i] = (uint8_t)(header[i / 4] >> (24 - i % 4 * 8));
    for (size_t i = 0; i < pixels; i++)
        bytes[16 + i] = (uint8_t)(i % 251);
    gr_data_case_write(images, bytes, pixels + 16);
    bytes[3] = 1;
    for (int i = 0; i < count; i++)
        bytes[8 + i] = (uint8_t)(i % classes);
    gr_data_case_write(labels, bytes, (size_t)count + 8);
    return gr_pool_printf(&test->pool, "images=%s;labels=%s", images, labels);
}

void gr_data_case_run(struct gr_data_case *test, const char *const *transforms, int n_transforms,
                      const struct gr_view *view, int64_t H, int64_t W, uint32_t epoch,
                      uint32_t index, float *out)
{
    const struct gr_shape shape = {3, {view->channels, H, W}};
    const struct gr_random_key key = gr_random_key(5, GR_RANDOM_AUGMENT, epoch, index);
    gr_data_case_apply(test, gr_data_case_part(test, "synthetic", NULL, transforms, n_transforms),
                       view, &shape, &key, out);
}

void gr_data_case_noise(uint8_t *bytes, size_t size)
{
    uint32_t seed = 7;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
}
