/*
 * Every model in tests/bad_models is refused with exactly the diagnostics of its .expected file:
 * the texts as they reach the log, then the message of the error. A first line "# --set KEY=VALUE"
 * is an override. Then damage by the thousand: whatever a file holds, reading it ends in an answer.
 *
 * After a wanted change of wording, GR_WRITE_EXPECTED=1 in the environment writes the .expected
 * files anew, to be read before they are kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "model/model_file.h"

enum { PATH_ROOM = 1024, FEWEST_BAD_MODELS = 70 };
static const char folder[] = GR_SOURCE_DIR "/tests/bad_models";

static void read_whole(const char *path, struct gr_text *out)
{
    char buffer[4096];
    size_t count;
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s", path);
    gr_text_append(out, "", 0);
    while ((count = fread(buffer, 1, sizeof buffer, file)) > 0)
        gr_text_append(out, buffer, count);
    fclose(file);
    assert_false(out->failed);
}

static void note(void *user, enum gr_log_level level, const char *text)
{
    assert_int_equal(level, GR_LOG_ERROR);
    gr_text_add(user, "%s\n", text);
}

/* Reads a bad model and returns what was said about it. */
static void complaints(const char *name, struct gr_text *said)
{
    char path[PATH_ROOM], set[PATH_ROOM];
    const char *const sets[] = {set};
    struct gr_text text = {0};
    struct gr_error err = {0};
    struct gr_model_options options = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    read_whole(path, &text);
    if (sscanf(text.data, "# --set %1000[^\n]", set) == 1) {
        options.sets = sets;
        options.n_sets = 1;
    }
    struct gr_model_file *file = gr_model_file_parse(gr_standard_ops(), text.data, text.length,
                                                     name, &options, note, said, &err);
    gr_text_release(&text);
    if (file)
        print_error("%s was accepted\n", name);
    assert_null(file);
    assert_int_equal(err.status, GR_ERR_MODEL);
    gr_text_add(said, "%s\n", err.message);
    assert_false(said->failed);
}

static void write_expected(const char *path, const struct gr_text *said)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(said->data, 1, said->length, file), said->length);
    assert_int_equal(fclose(file), 0);
}

/* Is what was said about the model what its .expected file holds? */
static bool agrees(const char *name)
{
    char path[PATH_ROOM];
    struct gr_text said = {0}, expected = {0};
    snprintf(path, sizeof path, "%s/%.*s.expected", folder, (int)(strlen(name) - strlen(".yaml")),
             name);
    complaints(name, &said);
    if (getenv("GR_WRITE_EXPECTED"))
        write_expected(path, &said);
    read_whole(path, &expected);
    const bool same = strcmp(said.data, expected.data) == 0;
    if (!same)
        print_error("%s: expected\n%sbut got\n%s\n", name, expected.data, said.data);
    gr_text_release(&said);
    gr_text_release(&expected);
    return same;
}

static void each_bad_model_gets_exactly_its_messages(void **state)
{
    (void)state;
    DIR *models = opendir(folder);
    int count = 0, wrong = 0;
    assert_non_null(models);
    for (const struct dirent *entry = readdir(models); entry; entry = readdir(models)) {
        const size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 5, ".yaml") != 0)
            continue;
        count++;
        wrong += !agrees(entry->d_name);
    }
    closedir(models);
    assert_int_equal(wrong, 0);
    assert_true(count >= FEWEST_BAD_MODELS);
}

static const char whole_model[] =
    "format: 1\n"
    ".common: &common {weight_init: {gaussian: {std: 0.01}}, bias_init: 0, bias_lr: 2}\n"
    "inputs: {image: {shape: [3, 8, 8]}, label: {classes: 4}}\n"
    "blocks:\n"
    "  unit:\n"
    "    params: {channels: required, stride: 1, project: $(stride != 1)}\n"
    "    inputs: [x]\n"
    "    output: out\n"
    "    nodes:\n"
    "      - {name: conv, op: conv, out_channels: $(channels), kernel: 3, pad: 1, stride: "
    "$(stride)}\n"
    "      - {name: down, when: $(project), op: conv, inputs: x, out_channels: $(channels * 1),\n"
    "         kernel: 1, stride: $(stride)}\n"
    "      - {name: out, op: add, inputs: [conv, down]}\n"
    "nodes:\n"
    "  - {name: c, op: conv, inputs: image, out_channels: 4, kernel: 3, <<: *common}\n"
    "  - {name: u1, block: unit, channels: 4}\n"
    "  - {name: u2, block: unit, channels: 8, stride: 2}\n"
    "  - {name: fc, op: linear, out_features: \"${GR_TEST_UNSET:-4}\", share: fc2}\n"
    "  - {name: fc2, op: linear, inputs: u2, out_features: 4}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
    "train: {loss: {loss: 0.5}, optimizer: {sgd: {momentum: 0.9}}, learning_rate: 0.1, batch: 2}\n"
    "data:\n"
    "  train: {imagefolder: {path: \"${GR_TEST_UNSET}/a\"}, transform: [{crop: {size: 8}}, "
    "flip]}\n";

/* An answer is a model that can be built and read again, or an error with a message. */
static bool gives_an_answer(const char *text, size_t length)
{
    struct gr_error err = {0};
    struct gr_model_file *file = gr_model_file_parse(gr_standard_ops(), text, length,
                                                     "damaged.yaml", NULL, NULL, NULL, &err);
    bool ok = file || (err.status == GR_ERR_MODEL && err.message[0]);
    if (file) {
        struct gr_model_file *again =
            gr_model_file_parse(gr_standard_ops(), file->resolved, strlen(file->resolved),
                                "again.yaml", NULL, NULL, NULL, &err);
        ok = again && strcmp(file->resolved, again->resolved) == 0;
        gr_model_file_free(again);
    }
    gr_model_file_free(file);
    return ok;
}

static void damaged_models_end_in_an_answer(void **state)
{
    (void)state;
    static const char pieces[] = "{}[]:,&*$()\"'#-!|>%@~<. \n\t\x01\xc3\xff"
                                 "0919az";
    char text[sizeof whole_model + 16];
    assert_true(gives_an_answer(whole_model, strlen(whole_model)));
    for (uint32_t round = 0; round < 3000; round++) {
        const struct gr_random_key key = gr_random_key(1, GR_RANDOM_CHECK, round, 0);
        size_t length = strlen(whole_model);
        memcpy(text, whole_model, length);
        const uint64_t edits = 1 + gr_random_below(&key, 0, 3);
        for (uint64_t e = 0; e < edits; e++) {
            const size_t at = (size_t)gr_random_below(&key, 1 + e * 4, length);
            const size_t from = (size_t)gr_random_below(&key, 2 + e * 4, length);
            const char piece = pieces[gr_random_below(&key, 3 + e * 4, sizeof pieces - 1)];
            const uint64_t what = gr_random_below(&key, 4 + e * 4, 4);
            if (what == 0)
                text[at] = piece;
            else if (what == 1)
                memmove(text + at, text + at + 1, --length - at);
            else if (what == 2 && length - at > 12 && length - from > 12)
                memmove(text + at, text + from, 12);
            else if (e == 0 && round % 8 == 0)
                length = at + 1;
        }
        if (!gives_an_answer(text, length))
            fail_msg("no answer to\n%.*s", (int)length, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bad_model_gets_exactly_its_messages),
        cmocka_unit_test(damaged_models_end_in_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
