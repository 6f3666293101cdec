/*
 * Small models for tests of the public API; see api_case.h.
 */
#include "api_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "folder.h"

enum { PATHS = 128 };

#define INPUTS                                                                                     \
    "inputs:\n"                                                                                    \
    "  image: {shape: [3, 12, 12]}\n"                                                              \
    "  label: {classes: 4}\n"                                                                      \
    "class_names: [north, east, south, west]\n"

#define END                                                                                        \
    "  - {name: prob, op: softmax}\n"                                                              \
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc2, label]}\n"                          \
    "  - {name: top1, op: accuracy, inputs: [fc2, label]}\n"                                       \
    "train:\n"                                                                                     \
    "  loss: loss\n"                                                                               \
    "  metrics: top1\n"                                                                            \
    "  batch: 8\n"                                                                                 \
    "  epochs: 3\n"                                                                                \
    "  optimizer: {sgd: {momentum: 0.9, weight_decay: 0.0005}}\n"                                  \
    "  learning_rate: {step: {base: 0.04, gamma: 0.5, every: 1}}\n"                                \
    "data:\n"                                                                                      \
    "  train: {synthetic: {count: 60, seed: 1}, "                                                  \
    "transform: [flip, scale, &centre {normalize: {mean: 0.5, std: 0.25}}]}\n"                     \
    "  val: {synthetic: {count: 23, seed: 2, noise: 60}, transform: [scale, *centre]}\n"

const char gr_api_tiny[] =
    "format: 1\n"
    "name: tiny\n" INPUTS "nodes:\n"
    "  - {name: conv1, op: conv, inputs: image, out_channels: 8, kernel: 3, pad: 1}\n"
    "  - {name: relu1, op: relu}\n"
    "  - {name: pool1, op: max_pool, kernel: 2, stride: 2}\n"
    "  - {name: drop1, op: dropout, p: 0.2}\n"
    "  - {name: fc2, op: linear, out_features: 4}\n" END;

const char gr_api_zoo[] =
    "format: 1\n"
    "name: zoo\n" INPUTS "nodes:\n"
    "  - {name: conv1, op: conv, inputs: image, out_channels: 16, kernel: 3, pad: 1}\n"
    "  - {name: tanh1, op: tanh}\n"
    "  - {name: norm1, op: lrn, size: 5, alpha: 0.1}\n"
    "  - {name: pool1, op: max_pool, kernel: 2, stride: 2}\n"
    "  - {name: left, op: conv, inputs: pool1, out_channels: 8, kernel: 3, pad: 1, groups: 2,\n"
    "     bias: false}\n"
    "  - {name: right, op: conv, inputs: pool1, out_channels: 8, kernel: 1, bias: false}\n"
    "  - {name: both, op: concat, inputs: [left, right]}\n"
    "  - {name: bn, op: batch_norm}\n"
    "  - {name: relu2, op: relu}\n"
    "  - {name: sum, op: add, inputs: [relu2, pool1]}\n"
    "  - {name: pool2, op: avg_pool, kernel: 3, stride: 1, pad: 1}\n"
    "  - {name: drop2, op: dropout}\n"
    "  - {name: pool3, op: global_avg_pool}\n"
    "  - {name: fc2, op: linear, out_features: 4}\n" END;

/* ---- folder, context, log ---------------------------------------------------------------- */

static struct gr_context *context;
static char log_text[1 << 16];

static void log_line(void *user, enum gr_log_level level, const char *text)
{
    const size_t length = strlen(log_text);
    (void)user, (void)level;
    snprintf(log_text + length, sizeof log_text - length, "%s\n", text);
}

int gr_api_set_up(void **state)
{
    const struct gr_context_options options = {.threads = 1, .log = log_line};
    struct gr_error err = {0};
    log_text[0] = '\0';
    if (gr_folder_set_up(state) != 0)
        return -1;
    context = gr_context_new(gr_standard_ops(), &options, &err);
    return context ? 0 : -1;
}

int gr_api_tear_down(void **state)
{
    gr_context_free(context);
    context = NULL;
    return gr_folder_tear_down(state);
}

struct gr_context *gr_api_context(void)
{
    return context;
}

const char *gr_api_log(void)
{
    return log_text;
}

const char *gr_api_path(const char *name)
{
    static char paths[PATHS][GR_FOLDER_PATH];
    static int next;
    next = (next + 1) % PATHS;
    return gr_folder_file(name, paths[next]);
}

void gr_api_write(const char *name, const char *text)
{
    FILE *file = fopen(gr_api_path(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

struct gr_model *gr_api_load(const char *name, const char *text, uint64_t seed,
                             const char *const *sets)
{
    struct gr_error err = {0};
    struct gr_model_options options = {.sets = sets, .seed = seed};
    char file[128];
    while (sets && sets[options.n_sets])
        options.n_sets++;
    snprintf(file, sizeof file, "%s.yaml", name);
    gr_api_write(file, text);
    struct gr_model *model = gr_model_load(context, gr_api_path(file), &options, &err);
    if (!model)
        fail_msg("%s\n%s", err.message, log_text);
    return model;
}

/* ---- errors ------------------------------------------------------------------------------ */

void gr_api_ok(bool ok, const struct gr_error *err)
{
    if (!ok)
        fail_msg("%s\n%s", err->message, log_text);
    assert_int_equal(err->status, GR_OK);
}

void gr_api_refused(bool ok, struct gr_error *err, enum gr_status status, const char *format, ...)
{
    char message[sizeof err->message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    assert_false(ok);
    assert_string_equal(err->message, message);
    assert_int_equal(err->status, status);
    *err = (struct gr_error){0};
}

void gr_api_expect_same_tensors(const char *path_a, const char *path_b)
{
    struct gr_error err = {0};
    struct gr_tensor_file *a = gr_tensor_file_read(path_a, &err);
    gr_api_ok(a != NULL, &err);
    struct gr_tensor_file *b = gr_tensor_file_read(path_b, &err);
    gr_api_ok(b != NULL, &err);
    assert_true(gr_tensor_file_count(a) > 0);
    assert_int_equal(gr_tensor_file_count(a), gr_tensor_file_count(b));
    for (size_t i = 0; i < gr_tensor_file_count(a); i++) {
        const struct gr_tensor *x = gr_tensor_file_get(a, i);
        const struct gr_tensor *y = gr_tensor_file_find(b, x->name);
        if (!y)
            fail_msg("'%s' is only in %s", x->name, path_a);
        const size_t bytes = (size_t)gr_shape_count(&x->shape) * gr_dtype_size(x->dtype);
        assert_int_equal(x->dtype, y->dtype);
        assert_int_equal(gr_shape_count(&x->shape), gr_shape_count(&y->shape));
        if (memcmp(x->data, y->data, bytes) != 0)
            fail_msg("'%s' differs between %s and %s", x->name, path_a, path_b);
    }
    gr_tensor_file_free(a);
    gr_tensor_file_free(b);
}
