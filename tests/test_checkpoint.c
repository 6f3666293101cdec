/*
 * Checkpoints from outside: the bytes of the file as another reader takes them, what damage is
 * found, what a run goes on from where the newest is damaged, and which are kept.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "graphrunner.h"
#include "support/api_case.h"
#include "support/folder.h"
#include "support/run_files.h"
#include "support/tool.h"

enum { STEPS = 7 /* an epoch */, DAMAGES = 300 };

static const char *const every_three[] = {"train.checkpoint={steps: 3}", NULL};

static bool try_train(const char *out, const char *resume, int64_t epochs, int64_t keep,
                      struct gr_error *err)
{
    struct gr_train_result result;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, every_three);
    const struct gr_train_options options = {
        .out = out, .resume = resume, .epochs = epochs, .keep = keep};
    const bool ok = gr_train(model, &options, &result, err);
    gr_model_free(model);
    return ok;
}

static void train(const char *out, const char *resume, int64_t epochs, int64_t keep)
{
    struct gr_error err = {0};
    gr_api_ok(try_train(out, resume, epochs, keep, &err), &err);
}

/* ---- the file ---------------------------------------------------------------------------- */

/* CRC-32 bit by bit. */
static uint32_t crc32_of(const unsigned char *bytes, size_t length)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* The header as the format's page describes it: JSON of so many bytes, padded with spaces. */
static json_t *read_header(const char *bytes, size_t length, size_t *data)
{
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | (unsigned char)bytes[i];
    assert_true(n + 8 <= length && n % 8 == 0 && bytes[8] == '{');
    *data = (size_t)n + 8;
    size_t end = *data;
    while (bytes[end - 1] == ' ')
        end--;
    assert_true(bytes[end - 1] == '}' && *data - end < 8);
    json_t *header = json_loadb(bytes + 8, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_object(header));
    return header;
}

/* Tensors are F32, in the order of their names, and lie one behind the other to the end. */
static void check_tensors(const json_t *header, size_t bytes)
{
    const char *name, *before = "";
    json_t *tensor;
    json_int_t end = 0;
    size_t count = 0;
    json_object_foreach((json_t *)(uintptr_t)header, name, tensor)
    {
        json_int_t elements = 1;
        if (strcmp(name, "__metadata__") == 0)
            continue;
        const json_t *shape = json_object_get(tensor, "shape");
        const json_t *offsets = json_object_get(tensor, "data_offsets");
        for (size_t i = 0; i < json_array_size(shape); i++)
            elements *= json_integer_value(json_array_get(shape, i));
        assert_string_equal(json_string_value(json_object_get(tensor, "dtype")), "F32");
        assert_int_equal(json_integer_value(json_array_get(offsets, 0)), end);
        end += 4 * elements;
        assert_int_equal(json_integer_value(json_array_get(offsets, 1)), end);
        assert_true(strcmp(before, name) < 0);
        before = name;
        count++;
    }
    assert_int_equal(end, bytes);
    assert_int_equal(count, 8); /* weights and biases of two layers, and their momentum */
}

static void check_metadata(const json_t *metadata)
{
    static const char *const keys[] = {"format",
                                       "model",
                                       "resolved",
                                       "seed",
                                       "epoch",
                                       "batch",
                                       "step",
                                       "best",
                                       "means",
                                       "schedule",
                                       "smoothed",
                                       "records",
                                       "class_names",
                                       "made_on.isa",
                                       "made_on.processor",
                                       "made_on.threads",
                                       "made_on.library",
                                       "made_on.kernels",
                                       "made_on.precision",
                                       "made_on.graph_runner",
                                       "made_on.batch"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
        assert_true(json_is_string(value));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_object_get(metadata, keys[i]))
            fail_msg("there is no %s", keys[i]);
    assert_string_equal(json_string_value(json_object_get(metadata, "step")), "14");
    assert_string_equal(json_string_value(json_object_get(metadata, "epoch")), "2");
    assert_string_equal(json_string_value(json_object_get(metadata, "records")),
                        "steps 14 metrics 4 events 4");
    assert_string_equal(json_string_value(json_object_get(metadata, "made_on.threads")), "1");
}

static void a_checkpoint_is_what_other_readers_expect(void **state)
{
    (void)state;
    static const char key[] = "\"graph-runner.crc32\":\"";
    size_t length, data;
    unsigned sum;
    train(gr_api_path("run"), NULL, 2, 0);
    char *bytes = gr_run_files_read(gr_api_path("run/latest.safetensors"), &length);
    json_t *header = read_header(bytes, length, &data);
    check_tensors(header, length - data);
    check_metadata(json_object_get(header, "__metadata__"));
    json_decref(header);
    char *digits = memmem(bytes, data, key, sizeof key - 1);
    assert_non_null(digits);
    digits += sizeof key - 1;
    assert_int_equal(sscanf(digits, "%8x\"", &sum), 1);
    memset(digits, '0', 8);
    assert_int_equal(crc32_of((const unsigned char *)bytes, length), sum);
    free(bytes);
}

/* ---- damage ------------------------------------------------------------------------------ */

static void save(const char *path, const char *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* Turns some bits of a byte. */
static void damage(const char *path, size_t at, char bits)
{
    size_t length;
    char *bytes = gr_run_files_read(path, &length);
    bytes[at % length] ^= bits;
    save(path, bytes, length);
    free(bytes);
}

static void damage_and_cuts_are_found(void **state)
{
    (void)state;
    size_t length;
    char alone[GR_FOLDER_PATH];
    train(gr_api_path("run"), NULL, 1, 1);
    char *bytes = gr_run_files_read(gr_api_path("run/step-000000007.safetensors"), &length);
    assert_int_equal(mkdir(gr_api_path("alone"), 0700), 0);
    gr_folder_file("alone/step-000000007.safetensors", alone);
    srand(3);
    for (int i = 0; i < DAMAGES; i++) {
        struct gr_error err = {0};
        const size_t at = (size_t)rand() % length;
        const char bits = (char)(1 + rand() % 255);
        bytes[at] ^= bits;
        save(alone, bytes, i % 10 ? length : at);
        bytes[at] ^= bits;
        assert_false(try_train(gr_api_path("out"), gr_api_path("alone"), 2, 0, &err));
        if (err.status != GR_ERR_DATA || !strstr(err.message, alone))
            fail_msg("byte %zu turned by %d: %s", at, bits, err.message);
    }
    save(alone, bytes, length);
    train(gr_api_path("out"), gr_api_path("alone"), 2, 0);
    free(bytes);
}

static void a_damaged_newest_checkpoint_is_passed_over(void **state)
{
    (void)state;
    const char *whole = gr_api_path("whole"), *run = gr_api_path("run");
    const char *newest = gr_api_path("run/step-000000014.safetensors");
    train(whole, NULL, 3, 2);
    train(run, NULL, 2, 2);
    damage(newest, 5000, 4);
    train(run, run, 3, 2);
    gr_tool_contains(gr_api_log(), newest);
    gr_tool_contains(gr_api_log(), ": the checksum of its bytes is ");
    gr_tool_contains(gr_api_log(), ": passed over; going on from ");
    gr_tool_contains(gr_api_log(), "run/step-000000012.safetensors\n");
    gr_run_files_expect_same(whole, run);
}

static void a_run_without_a_whole_checkpoint_says_so(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *run = gr_api_path("run");
    train(run, NULL, 1, 2);
    damage(gr_api_path("run/step-000000006.safetensors"), 100, 1);
    assert_int_equal(truncate(gr_api_path("run/step-000000007.safetensors"), 3000), 0);
    assert_false(try_train(run, run, 3, 0, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    gr_tool_contains(err.message, "run: no checkpoint in it can be read: ");
    gr_tool_contains(err.message, "step-000000006.safetensors: ");
    gr_tool_contains(err.message, "step-000000007.safetensors: ");
    err = (struct gr_error){0};
    assert_int_equal(mkdir(gr_api_path("empty"), 0700), 0);
    gr_api_refused(try_train(gr_api_path("empty"), gr_api_path("empty"), 1, 0, &err), &err,
                   GR_ERR_DATA,
                   "%s: there is no checkpoint in it to go on from; without --resume the run "
                   "begins anew",
                   gr_api_path("empty"));
}

/* ---- which are kept ---------------------------------------------------------------------- */

static bool is_there(const char *folder, int64_t step)
{
    char path[200];
    snprintf(path, sizeof path, "%s/step-%09d.safetensors", folder, (int)step);
    return access(gr_api_path(path), F_OK) == 0;
}

static void the_newest_are_kept(void **state)
{
    (void)state;
    char link[200] = "";
    for (int keep = 1; keep <= 4; keep++) {
        static const int64_t steps[] = {14, 12, 9, 7, 6, 3, 0}; /* saved, the newest first */
        char folder[16];
        snprintf(folder, sizeof folder, "keep%d", keep);
        train(gr_api_path(folder), NULL, 2, keep);
        for (int i = 0; i < 7; i++)
            assert_int_equal(is_there(folder, steps[i]), i < keep);
    }
    assert_true(readlink(gr_api_path("keep1/latest.safetensors"), link, sizeof link - 1) > 0);
    assert_string_equal(link, "step-000000014.safetensors");
}

static void a_folder_belongs_to_one_process(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *run = gr_api_path("run");
    train(run, NULL, 1, 0);
    const int other = open(gr_api_path("run/run.jsonl"), O_RDWR);
    assert_int_equal(flock(other, LOCK_EX), 0);
    gr_api_refused(try_train(run, run, 2, 0, &err), &err, GR_ERR_USAGE,
                   "%s: another process is training in this folder", run);
    close(other);
    train(run, run, 2, 0);
}

static void what_a_run_began_on_is_compared(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_train_result result;
    static const char *const twice[] = {"train.batch=16", NULL};
    const char *run = gr_api_path("run");
    train(run, NULL, 1, 0);
    train(run, run, 2, 0);
    gr_tool_lacks(gr_api_log(), "may differ");
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, twice);
    const struct gr_train_options options = {.out = run, .resume = run, .epochs = 3};
    gr_api_ok(gr_train(model, &options, &result, &err), &err);
    gr_model_free(model);
    gr_tool_contains(gr_api_log(), "the run goes on in another way than it began, so that last "
                                   "digits may differ: batch is 16, not 8\n");
}

/* Going on with a run that is over makes nothing, and so changes nothing of what it was made on. */
static void a_run_that_is_over_keeps_its_checkpoint(void **state)
{
    (void)state;
    struct stat before, after;
    const char *run = gr_api_path("run"), *last = gr_api_path("run/step-000000014.safetensors");
    train(run, NULL, 2, 0);
    assert_int_equal(stat(last, &before), 0);
    train(run, run, 2, 0);
    assert_int_equal(stat(last, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

/* Stops after four steps of the first epoch and goes on with a changed model. */
static bool go_on_within_an_epoch(const char *run, const char *set, struct gr_error *err)
{
    struct gr_train_result result;
    const char *const sets[] = {set, NULL};
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
    struct gr_train_options options = {.out = run, .steps = 4};
    gr_api_ok(gr_train(model, &options, &result, err), err);
    gr_model_free(model);
    model = gr_api_load("model", gr_api_tiny, 1, sets);
    options = (struct gr_train_options){.out = run, .resume = run};
    const bool ok = gr_train(model, &options, &result, err);
    gr_model_free(model);
    return ok;
}

static void a_place_within_an_epoch_is_of_one_batch_and_data(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *batch = gr_api_path("batch"), *data = gr_api_path("data");
    gr_api_refused(go_on_within_an_epoch(batch, "train.batch=16", &err), &err, GR_ERR_USAGE,
                   "%s/step-000000004.safetensors stands within an epoch, after 4 batches of 8 "
                   "images; give --batch 8, not 16",
                   batch);
    gr_api_refused(go_on_within_an_epoch(data, "data.train.synthetic.count=24", &err), &err,
                   GR_ERR_DATA,
                   "%s/step-000000004.safetensors stands within an epoch, after 4 batches, but "
                   "data.train now has 3: are the same images there?",
                   data);
}

static void more_epochs_are_told_where_the_rate_spans_them(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_train_result result;
    static const char *const cosine[] = {"train.learning_rate={cosine: {base: 0.01}}", NULL};
    static const char told[] = "'cosine' spreads the learning rate over all epochs, of which there "
                               "are 3 now and were 2: what was trained before had other rates\n";
    const char *run = gr_api_path("run"), *other = gr_api_path("other");
    for (int epochs = 2; epochs <= 3; epochs++) {
        struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, cosine);
        const struct gr_train_options options = {
            .out = run, .resume = epochs == 3 ? run : NULL, .epochs = epochs};
        gr_tool_lacks(gr_api_log(), "spreads");
        gr_api_ok(gr_train(model, &options, &result, &err), &err);
        gr_model_free(model);
    }
    gr_tool_contains(gr_api_log(), told);
    train(other, NULL, 2, 0); /* each epoch its own rate */
    train(other, other, 3, 0);
    assert_null(strstr(strstr(gr_api_log(), told) + strlen(told), "spreads the learning rate"));
}

static bool go_on_with(const char *run, const char *text, const char *const *sets,
                       struct gr_error *err)
{
    struct gr_train_result result;
    struct gr_model *model = gr_api_load("model", text, 1, sets);
    const struct gr_train_options options = {.out = run, .resume = run, .epochs = 2};
    const bool ok = gr_train(model, &options, &result, err);
    gr_model_free(model);
    return ok;
}

static void a_model_that_changed_is_told_by_its_keys(void **state)
{
    (void)state;
    struct gr_error err = {0};
    static const char *const sets[] = {"train.learning_rate={cosine: {base: 0.01}}",
                                       "nodes.drop1.p=0.5",
                                       "train.optimizer.sgd.nesterov=true",
                                       "data.train.transform=[scale]",
                                       "class_names=[n, e, s, w]",
                                       NULL};
    static const char *const other_times[] = {"train.checkpoint={steps: 2}", NULL};
    const char *run = gr_api_path("run");
    train(run, NULL, 1, 0);
    gr_api_ok(go_on_with(run, gr_api_tiny, other_times, &err), &err);
    gr_tool_lacks(gr_api_log(), "another model");
    gr_api_ok(go_on_with(run, gr_api_tiny, sets, &err), &err);
    gr_tool_contains(
        gr_api_log(),
        "the run goes on with another model than it was trained with: class_names is another list; "
        "nodes.drop1.p is 0.5, not 0.2; train.optimizer.sgd.nesterov is new; and 3 more\n");
}

/* Nodes that are gone would otherwise not be missed: what they learned is in the file alone. */
static void a_model_of_other_shapes_does_not_go_on(void **state)
{
    (void)state;
    struct gr_error err = {0};
    static const char *const wider[] = {"nodes.conv1.out_channels=16", NULL};
    static const char *const fewer[] = {"nodes.relu1.op=tanh", NULL};
    const char *run = gr_api_path("run");
    train(run, NULL, 1, 0);
    assert_false(go_on_with(run, gr_api_tiny, wider, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    gr_tool_contains(err.message, "'conv1.weight' is 8×3×3×3, but the model's is 16×3×3×3");
    gr_tool_contains(gr_api_log(), "trained with: nodes.conv1.out_channels is 16, not 8\n");
    gr_api_ok(go_on_with(run, gr_api_tiny, fewer, (err = (struct gr_error){0}, &err)), &err);
    gr_tool_contains(gr_api_log(), "trained with: nodes.relu1.op is tanh, not relu\n");
}

/* ---- times ------------------------------------------------------------------------------- */

/* Of the lines of a file with that stage and steps from..to: the sum of a figure. */
static double sum_of(const char *path, const char *stage, int64_t from, int64_t to, const char *key)
{
    size_t length;
    double sum = 0;
    char *text = gr_run_files_read(path, &length);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *json = gr_tool_parse(line);
        const double step = gr_tool_number(json, "step");
        if (strcmp(json_string_value(json_object_get(json, "stage")), stage) == 0 &&
            step >= (double)from && step <= (double)to)
            sum += gr_tool_number(json, key);
        json_decref(json);
    }
    free(text);
    return sum;
}

static void an_epoch_in_two_parts_is_timed_whole(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_train_result result;
    const char *run = gr_api_path("run");
    const char *metrics = gr_api_path("run/metrics.jsonl"), *steps = gr_api_path("run/steps.jsonl");
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
    const struct gr_train_options options = {.out = run, .steps = STEPS + 4};
    gr_api_ok(gr_train(model, &options, &result, &err), &err);
    gr_model_free(model);
    assert_int_equal(result.steps, STEPS + 4);
    train(run, run, 3, 0);
    for (int64_t epoch = 1; epoch <= 3; epoch++) {
        const int64_t from = (epoch - 1) * STEPS + 1, to = epoch * STEPS;
        const double seconds = sum_of(metrics, "train", to, to, "seconds");
        const double rate = sum_of(metrics, "train", to, to, "images_per_second");
        const double in_steps = sum_of(steps, "step", from, to, "seconds");
        assert_true(fabs(rate * seconds - STEPS * 8) < 1e-3);
        assert_true(seconds > 0.999 * in_steps && in_steps > 0);
    }
}

/* ---- divergence -------------------------------------------------------------------------- */

/* The update spoils a weight after the last loss that is looked at. */
static enum gr_request spoil(void *user)
{
    struct gr_error err = {0};
    struct gr_model *model = *(struct gr_model **)user;
    static int calls;
    float bias[8] = {1, 1, 1, 1, 1, 1, 1, 0.0f / 0.0f};
    if (++calls % 5 == 0)
        gr_api_ok(gr_model_set_parameter(model, "conv1.bias", bias, 8, &err), &err);
    return calls % 5 == 0 ? GR_REQUEST_STOP : GR_REQUEST_NOTHING;
}

static void a_state_with_nan_never_becomes_a_checkpoint(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_train_result result;
    const char *run = gr_api_path("run");
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, every_three);
    const struct gr_train_options options = {.out = run, .request = spoil, .request_user = &model};
    assert_false(gr_train(model, &options, &result, &err));
    gr_model_free(model);
    assert_int_equal(err.status, GR_ERR_DIVERGED);
    gr_tool_contains(err.message, "diverged in step 5 at learning rate 0.04: 'conv1.bias', "
                                  "updated by node ");
    gr_tool_contains(err.message, "run/step-000000003.safetensors");
    assert_false(is_there("run", 5));
    err = (struct gr_error){0};
    train(run, run, 1, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_checkpoint_is_what_other_readers_expect),
        TEST(damage_and_cuts_are_found),
        TEST(a_damaged_newest_checkpoint_is_passed_over),
        TEST(a_run_without_a_whole_checkpoint_says_so),
        TEST(the_newest_are_kept),
        TEST(a_folder_belongs_to_one_process),
        TEST(what_a_run_began_on_is_compared),
        TEST(a_run_that_is_over_keeps_its_checkpoint),
        TEST(a_place_within_an_epoch_is_of_one_batch_and_data),
        TEST(more_epochs_are_told_where_the_rate_spans_them),
        TEST(a_model_that_changed_is_told_by_its_keys),
        TEST(a_model_of_other_shapes_does_not_go_on),
        TEST(an_epoch_in_two_parts_is_timed_whole),
        TEST(a_state_with_nan_never_becomes_a_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
