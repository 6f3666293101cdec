/*
 * Models and tensors that ask for too much, or are not what they seem: each limit has its message,
 * and what is within it goes on working.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* mkfifo */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/map.h"
#include "base/text.h"
#include "model/document.h"
#include "model/model_file.h"
#include "model/safetensors.h"
#include "support/folder.h"
#include "support/security.h"

static const char *at(const char *name)
{
    static char path[GR_FOLDER_PATH];
    return gr_folder_file(name, path);
}

static void save(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(at(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* ---- models ------------------------------------------------------------------------------ */

static char told[4096]; /* the first diagnostic */

static void keep_first(void *user, enum gr_log_level level, const char *text)
{
    (void)user, (void)level;
    if (!*told)
        snprintf(told, sizeof told, "%s", text);
}

/* A model file that is refused, with a message that holds the part. */
static void refuses_model(const char *text, const char *set, const char *part)
{
    struct gr_error err = {0};
    const struct gr_model_options options = {.sets = &set, .n_sets = set ? 1 : 0};
    const char *path = at("m.yaml");
    *told = '\0';
    assert_null(gr_model_file_parse(gr_standard_ops(), text, strlen(text), path, &options,
                                    keep_first, NULL, &err));
    gr_expect_contains(told, part);
}

#define HEAD "format: 1\ninputs: {image: {shape: [1, 4, 4]}, label: {classes: 2}}\n"
#define NODES "nodes:\n  - {name: fc, op: linear, inputs: image, out_features: 2}\n"

/* Each anchor holds the one before it 60 levels down: 120 levels with two. */
static void aliases_within_aliases_are_no_deeper_than_what_is_written(void **state)
{
    (void)state;
    struct gr_text text = {0};
    gr_text_add(&text, HEAD NODES);
    for (int anchor = 0; anchor < 3; anchor++) {
        gr_text_add(&text, ".a%d: &a%d ", anchor, anchor);
        for (int i = 0; i < 25; i++)
            gr_text_add(&text, "[");
        gr_text_add(&text, anchor ? "*a%d" : "x", anchor - 1);
        for (int i = 0; i < 25; i++)
            gr_text_add(&text, "]");
        gr_text_add(&text, "\n");
    }
    refuses_model(text.data, NULL, "nested deeper than 64");
    gr_text_release(&text);
}

static void keys_of_a_mapping_and_parts_of_an_override_are_bounded(void **state)
{
    (void)state;
    struct gr_text text = {0}, key = {0};
    gr_text_add(&text, HEAD NODES "vars:\n");
    for (int i = 0; i <= GR_DOC_MAX_KEYS; i++)
        gr_text_add(&text, "  v%d: 1\n", i);
    refuses_model(text.data, NULL, "the keys of a mapping are more than 1024");
    gr_text_release(&text);
    for (int i = 0; i < GR_DOC_MAX_DEPTH; i++)
        gr_text_add(&key, "a.");
    gr_text_add(&key, "a=1");
    refuses_model(HEAD NODES, key.data, "the key has more than 64 parts");
    gr_text_release(&key);
}

static const char too_much[] =
    "the bytes that aliases, blocks and variables add to the model are more than 67108864";

/* A text of ten texts of ten texts: ten levels would be 10^10 of them. */
static void texts_of_texts_are_bounded(void **state)
{
    (void)state;
    struct gr_text text = {0};
    gr_text_add(&text, HEAD NODES "vars:\n  v0: 0123456789\n");
    for (int level = 1; level <= 10; level++) {
        gr_text_add(&text, "  v%d: '", level);
        for (int i = 0; i < 10; i++)
            gr_text_add(&text, "$(v%d)", level - 1);
        gr_text_add(&text, "'\n");
    }
    refuses_model(text.data, NULL, too_much);
    gr_text_release(&text);
}

static void a_long_text_is_not_repeated_for_ever(void **state)
{
    (void)state;
    struct gr_text alias = {0}, environment = {0};
    char *value = malloc(100001);
    assert_non_null(value);
    memset(value, 'x', 100000);
    value[100000] = '\0';
    gr_text_add(&alias, HEAD NODES ".a: &a %s\n.b: [*a", value);
    gr_text_add(&environment, HEAD NODES "name: '");
    for (int i = 0; i < 700; i++) {
        gr_text_add(&alias, ", *a");
        gr_text_add(&environment, "${GR_TEST_LONG}");
    }
    gr_text_add(&alias, "]\n");
    gr_text_add(&environment, "'\n");
    assert_int_equal(setenv("GR_TEST_LONG", value, 1), 0);
    refuses_model(alias.data, NULL, too_much);
    refuses_model(environment.data, NULL, too_much);
    unsetenv("GR_TEST_LONG");
    gr_text_release(&alias);
    gr_text_release(&environment);
    free(value);
}

/* Suggestions are looked for among all names: for each mistake that was once all of them again. */
static void mistakes_without_number_are_told_soon(void **state)
{
    (void)state;
    enum { NODES_MADE = 20000 };
    const clock_t start = clock();
    struct gr_text text = {0};
    gr_text_add(&text, HEAD "nodes:\n");
    for (int i = 0; i < NODES_MADE; i++)
        gr_text_add(&text, "  - {name: n%d, op: relu, inputs: none%d}\n", i, i);
    refuses_model(text.data, NULL, "which no node or input is named");
    gr_text_release(&text);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 30); /* a tenth, without sanitizers */
}

enum { LOW = 20, LEVELS = 16, BLOCK = 4 }; /* 2^16 names of 64 letters with 20 bits in common */

/* FNV-1a, without a secret: its low bits depend on low bits alone. */
static uint32_t fnv(uint32_t hash, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT32_C(16777619);
    return hash & ((1 << LOW) - 1);
}

static void write_block(char block[BLOCK + 1], uint32_t n)
{
    for (int i = 0; i < BLOCK; i++)
        block[i] = (char)('a' + (n >> 4 * i) % 16);
}

/* Two blocks of letters that lead from a hash to the same one, which is returned. */
static uint32_t collide(uint32_t from, char pair[2][BLOCK + 1])
{
    static uint32_t seen[1 << LOW];
    memset(seen, 0, sizeof seen);
    for (uint32_t n = 1;; n++) {
        write_block(pair[1], n);
        const uint32_t to = fnv(from, pair[1], BLOCK);
        if (seen[to]) {
            write_block(pair[0], seen[to]);
            return to;
        }
        seen[to] = n;
    }
}

/* Whoever knows where names meet can make searching for each a walk along all the others. */
static void names_made_to_meet_in_a_table_cost_no_more_than_others(void **state)
{
    (void)state;
    static char pairs[LEVELS][2][BLOCK + 1], names[1 << LEVELS][LEVELS * BLOCK + 1];
    struct gr_map map = {0};
    uint32_t hash = fnv(UINT32_C(2166136261), "", 0);
    for (int level = 0; level < LEVELS; level++)
        hash = collide(hash, pairs[level]);
    for (int i = 0; i < 1 << LEVELS; i++) {
        for (int level = 0; level < LEVELS; level++)
            strcat(names[i], pairs[level][i >> level & 1]);
        assert_int_equal(fnv(UINT32_C(2166136261), names[i], LEVELS * BLOCK), hash);
    }
    const clock_t start = clock();
    for (int i = 0; i < 1 << LEVELS; i++)
        assert_true(gr_map_put(&map, names[i], names[i]));
    assert_int_equal(map.count, 1 << LEVELS);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 3); /* a hundredth; once 12 s */
    gr_map_release(&map);
}

static void names_in_a_model_hold_no_control_characters(void **state)
{
    (void)state;
    refuses_model(HEAD NODES "name: \"a\\e[2Jb\"\n", NULL,
                  "'name' holds control characters: 'a?[2Jb'");
    refuses_model(HEAD NODES "name: \"a\\Nb\"\n", NULL, "'name' holds control characters");
    refuses_model(HEAD NODES "class_names: [ash, \"b\\e]0;x\\a\"]\n", NULL,
                  "a class name holds control characters: 'b?]0;x?'");
}

static void a_name_deep_in_blocks_is_bounded(void **state)
{
    (void)state;
    struct gr_text text = {0};
    char name[200];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    gr_text_add(&text,
                HEAD "blocks:\n  b0: {inputs: [x], nodes: [{name: r, op: relu, inputs: x}]}\n");
    for (int i = 1; i < 6; i++)
        gr_text_add(&text, "  b%d: {inputs: [x], nodes: [{name: %s, block: b%d, inputs: x}]}\n", i,
                    name, i - 1);
    gr_text_add(&text, "nodes:\n  - {name: a, block: b5, inputs: image}\n");
    refuses_model(text.data, NULL, "with the names of its blocks it is longer than 900 bytes");
    gr_text_release(&text);
}

/* What class_names names: a text file, and no more of it than a model may be large. */
static void class_names_come_from_text_files_only(void **state)
{
    (void)state;
    const char *fifo = at("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    save("zeros", "ash\nbi\0rch\n", 11);
    FILE *large = fopen(at("large"), "w");
    assert_non_null(large);
    assert_int_equal(ftruncate(fileno(large), (off_t)GR_DOC_MAX_BYTES + 1), 0);
    fclose(large);
    refuses_model(HEAD NODES "class_names: fifo\n", NULL, "class names cannot be read: ");
    refuses_model(HEAD NODES "class_names: /dev/zero\n", NULL, "class names cannot be read: ");
    refuses_model(HEAD NODES "class_names: zeros\n", NULL, ":2: a zero byte: not a text file");
    refuses_model(HEAD NODES "class_names: large\n", NULL,
                  "bytes are more than the 16777216 allowed");
}

/* ---- tensors ----------------------------------------------------------------------------- */

/* A file of tensors with that header, which has no data. */
static void refuses_header(const char *header, const char *part)
{
    struct gr_error err = {0};
    const size_t length = strlen(header);
    const char *path = at("t.safetensors");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        putc((int)(length >> (8 * i) & 255), file);
    fwrite(header, 1, length, file);
    assert_int_equal(fclose(file), 0);
    assert_null(gr_tensor_file_read(path, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    gr_expect_contains(err.message, part);
}

static void the_header_of_tensors_is_bounded_in_what_it_holds(void **state)
{
    (void)state;
    struct gr_text text = {0};
    gr_text_add(&text, "{\"a\":[");
    for (int i = 0; i < GR_SAFETENSORS_VALUES_MAX; i++)
        gr_text_append(&text, "[],", 3);
    gr_text_add(&text, "0]}");
    refuses_header(text.data, "more than the 3200000 allowed");
    text.length = 0;
    for (int i = 0; i < GR_SAFETENSORS_TENSORS_MAX + 2; i++)
        gr_text_add(&text, "%c\"%d\":0", i ? ',' : '{', i);
    gr_text_add(&text, "}");
    refuses_header(text.data, "tensors, more than the 100000 allowed");
    text.length = 0;
    gr_text_add(&text, "{\"");
    for (int i = 0; i <= GR_SAFETENSORS_NAME_MAX; i++)
        gr_text_append(&text, "n", 1);
    gr_text_add(&text, "\":{}}");
    refuses_header(text.data, "its name has 1025 bytes, more than the 1024 allowed");
    gr_text_release(&text);
}

/* Signs within texts are no values: a checkpoint's metadata hold the model. */
static void commas_within_texts_of_a_header_do_not_count(void **state)
{
    (void)state;
    struct gr_text text = {0};
    struct gr_error err = {0};
    gr_text_add(&text, "\\\"[,\n");
    for (int i = 0; i < GR_SAFETENSORS_VALUES_MAX; i++)
        gr_text_append(&text, ",", 1);
    const char *const metadata[] = {"k", text.data};
    int32_t number = 5;
    const struct gr_tensor tensor = {"t", GR_S32, {0}, &number};
    const char *path = at("commas.safetensors");
    assert_true(gr_tensor_file_write(path, &tensor, 1, metadata, 1, &err));
    struct gr_tensor_file *file = gr_tensor_file_read(path, &err);
    assert_string_equal(err.message, "");
    assert_string_equal(gr_tensor_file_metadata(file, "k"), text.data);
    gr_tensor_file_free(file);
    gr_text_release(&text);
}

/* ---- control characters ------------------------------------------------------------------ */

static void messages_of_errors_hold_no_control_characters(void **state)
{
    (void)state;
    struct gr_error err = {0};
    char text[] = "a\033[2J\tb\n\xc2\x9b"
                  "c\xff"
                  "d\x7f"
                  "×";
    gr_fail(&err, GR_ERR_DATA, "%s", text);
    assert_string_equal(err.message, "a?[2J?b???c?d?×");
    assert_string_equal(gr_plain_text(text, true), "a?[2J\tb\n??c?d?×");
}

/* ---- the table --------------------------------------------------------------------------- */

static void the_limits_that_are_documented_are_those_of_the_code(void **state)
{
    (void)state;
    gr_security_expect("bytes of a model file", GR_DOC_MAX_BYTES);
    gr_security_expect("entries of a model file", GR_DOC_MAX_NODES);
    gr_security_expect("nesting in a model file", GR_DOC_MAX_DEPTH);
    gr_security_expect("keys of a mapping", GR_DOC_MAX_KEYS);
    gr_security_expect("bytes that aliases, blocks and variables add to a model", GR_DOC_MAX_TEXT);
    gr_security_expect("bytes of a header of tensors", GR_SAFETENSORS_HEADER_MAX);
    gr_security_expect("JSON values in a header of tensors", GR_SAFETENSORS_VALUES_MAX);
    gr_security_expect("tensors in a file", GR_SAFETENSORS_TENSORS_MAX);
    gr_security_expect("bytes of a tensor's name", GR_SAFETENSORS_NAME_MAX);
    gr_security_expect("dimensions of a tensor", GR_MAX_RANK);
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, gr_folder_set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(aliases_within_aliases_are_no_deeper_than_what_is_written),
        SENTENCE(keys_of_a_mapping_and_parts_of_an_override_are_bounded),
        SENTENCE(texts_of_texts_are_bounded),
        SENTENCE(a_long_text_is_not_repeated_for_ever),
        SENTENCE(mistakes_without_number_are_told_soon),
        SENTENCE(names_made_to_meet_in_a_table_cost_no_more_than_others),
        SENTENCE(names_in_a_model_hold_no_control_characters),
        SENTENCE(a_name_deep_in_blocks_is_bounded),
        SENTENCE(class_names_come_from_text_files_only),
        SENTENCE(the_header_of_tensors_is_bounded_in_what_it_holds),
        SENTENCE(commas_within_texts_of_a_header_do_not_count),
        SENTENCE(messages_of_errors_hold_no_control_characters),
        SENTENCE(the_limits_that_are_documented_are_those_of_the_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
