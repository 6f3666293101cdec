/*
 * README.md holds what it says: its files are written, its commands run, what they print compared,
 * its C example built as a newcomer would, by pkg-config and by CMake, from an installed tree.
 *
 * The fences say what is tested:
 *
 *     ```yaml file=NAME     the block is saved as NAME (any language)
 *     ```sh test            the commands must succeed
 *     ```console test       each line "$ COMMAND" must succeed and print the lines that follow it;
 *                           "…" stands for anything
 *
 * Commands run in a folder of their own, which is HOME too, with `models` and `build` beside them
 * as in a checkout, and with `graph-runner` and `cc`, the compiler of this build, on the path.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* symlink, chmod */
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
#include <unistd.h>

#include "graphrunner.h"
#include "support/folder.h"
#include "support/make_jpeg.h"
#include "support/tool.h"

#define COMPILE GR_C_COMPILER GR_C_FLAGS

enum { MOST_BLOCKS = 64, MOST_WORDS = 4096 };

/* A fenced block: what follows the fence's backquotes, its text, the "## " heading it is under. */
struct block {
    char *info, *text;
    const char *section; /* up to its line's end */
    bool done;
};

static char *readme;
static struct block blocks[MOST_BLOCKS];
static size_t n_blocks;

/* ---- reading ----------------------------------------------------------------------------- */

static const char *next_line(const char *line)
{
    const char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static char *copy(const char *from, const char *to)
{
    char *text = strndup(from, (size_t)(to - from));
    assert_non_null(text);
    return text;
}

static void read_blocks(void)
{
    const char *section = "";
    for (const char *line = readme; *line; line = next_line(line)) {
        if (starts(line, "## "))
            section = line + 3;
        if (!starts(line, "```"))
            continue;
        const char *text = next_line(line), *end = text;
        while (*end && !starts(end, "```"))
            end = next_line(end);
        assert_true(n_blocks < MOST_BLOCKS);
        blocks[n_blocks++] =
            (struct block){copy(line + 3, text - 1), copy(text, end), section, false};
        line = end;
    }
}

/* ---- the folder -------------------------------------------------------------------------- */

static void link_to(const char *target, const char *name)
{
    char path[GR_FOLDER_PATH];
    assert_int_equal(symlink(target, gr_folder_file(name, path)), 0);
}

/* What the README's users of `run` have: eight images and their labels. */
static void save_inputs(void)
{
    static float image[8 * 3 * 32 * 32];
    static int32_t label[8] = {0, 1, 2, 3, 0, 1, 2, 3};
    const struct gr_tensor tensors[] = {{"image", GR_F32, {4, {8, 3, 32, 32}}, image},
                                        {"label", GR_S32, {1, {8}}, label}};
    char path[GR_FOLDER_PATH];
    struct gr_error err = {0};
    for (size_t i = 0; i < sizeof image / sizeof *image; i++)
        image[i] = (float)(i * 7919 % 1000) / 500 - 1;
    assert_true(
        gr_tensor_file_write(gr_folder_file("in.safetensors", path), tensors, 2, NULL, 0, &err));
}

static int set_up(void **state)
{
    char path[GR_FOLDER_PATH];
    if (gr_folder_set_up(state) != 0)
        return -1;
    readme = gr_tool_read(GR_SOURCE_DIR "/README.md");
    read_blocks();
    link_to(GR_SOURCE_DIR "/models", "models");
    link_to(GR_BINARY_DIR, "build");
    assert_int_equal(mkdir(gr_folder_file("bin", path), 0700), 0);
    link_to(GR_BINARY_DIR "/graph-runner", "bin/graph-runner");
    gr_tool_save(gr_folder_file("bin/cc", path), "#!/bin/sh\nexec " COMPILE " \"$@\"\n");
    assert_int_equal(chmod(path, 0700), 0);
    save_inputs();
    assert_true(gr_make_plain_jpeg(gr_folder_file("ash.jpg", path), 375, 500, 90, 120, 60));
    return 0;
}

static int tear_down(void **state)
{
    for (size_t b = 0; b < n_blocks; b++) {
        free(blocks[b].info);
        free(blocks[b].text);
    }
    free(readme);
    return gr_folder_tear_down(state);
}

/* ---- running ----------------------------------------------------------------------------- */

/* Fails, showing two texts of any length. */
static void tell(const char *of_one, const char *one, const char *of_other, const char *other)
{
    fprintf(stderr, "%s\n%s%s\n%s", of_one, one, of_other, other);
    fail();
}

/* Runs commands in the folder and returns what they print; they must succeed. The caller's. */
static char *run(const char *commands)
{
    char script[GR_FOLDER_PATH], output[GR_FOLDER_PATH], line[3 * GR_FOLDER_PATH];
    FILE *file = fopen(gr_folder_file("script.sh", script), "w");
    assert_non_null(file);
    fprintf(file,
            "cd '%s'\n"
            "unset CC CFLAGS LDFLAGS DESTDIR PKG_CONFIG_PATH\n"
            "export HOME='%s' PATH='%s/bin':\"$PATH\"\n"
            "%s",
            gr_folder(), gr_folder(), gr_folder(), commands);
    assert_int_equal(fclose(file), 0);
    snprintf(line, sizeof line, "sh '%s' > '%s' 2>&1 < /dev/null", script,
             gr_folder_file("output", output));
    const int status = system(line);
    char *printed = gr_tool_read(output);
    if (status != 0)
        tell("README.md asks for this, which fails:", commands, "it prints:", printed);
    return printed;
}

/* Is text what the pattern says, "…" standing for anything? */
static bool matches(const char *pattern, const char *text)
{
    static const char any[] = "…";
    const char *gap = strstr(pattern, any);
    const size_t head = gap ? (size_t)(gap - pattern) : strlen(pattern);
    if (strncmp(pattern, text, head) != 0)
        return false;
    if (!gap)
        return !text[head];
    for (text += head;; text++) {
        if (matches(gap + sizeof any - 1, text))
            return true;
        if (!*text)
            return false;
    }
}

static void run_console(const char *text)
{
    while (*text) {
        assert_true(starts(text, "$ "));
        const char *shown = next_line(text), *end = shown;
        while (*end && !starts(end, "$ "))
            end = next_line(end);
        char *command = copy(text + 2, shown), *expected = copy(shown, end);
        char *printed = run(command);
        if (!matches(expected, printed))
            tell("README.md says that this prints:", expected, "but it prints:", printed);
        free(command);
        free(expected);
        free(printed);
        text = end;
    }
}

static void do_block(struct block *block)
{
    const char *file = strstr(block->info, " file=");
    const char *test = strstr(block->info, " test");
    char path[GR_FOLDER_PATH];
    block->done = true;
    if (file) {
        gr_tool_save(gr_folder_file(file + strlen(" file="), path), block->text);
    } else if (test && starts(block->info, "console")) {
        run_console(block->text);
    } else if (test) {
        char *commands = NULL;
        assert_true(asprintf(&commands, "set -e\n%s", block->text) > 0);
        free(run(commands));
        free(commands);
    }
}

/* Does what the blocks of a section say; there must be some to test. */
static void do_section(const char *name)
{
    int tested = 0;
    for (size_t b = 0; b < n_blocks; b++)
        if (starts(blocks[b].section, name) && blocks[b].section[strlen(name)] == '\n') {
            tested += strchr(blocks[b].info, ' ') != NULL;
            do_block(&blocks[b]);
        }
    assert_true(tested > 0);
}

/* ---- tests ------------------------------------------------------------------------------- */

static void the_first_model_trains_evaluates_and_predicts(void **state)
{
    (void)state;
    do_section("A first model");
}

static void the_examples_of_the_language_are_models(void **state)
{
    (void)state;
    do_section("The model language");
}

static void the_commands_do_what_it_shows(void **state)
{
    (void)state;
    do_section("Commands");
}

static void the_data_can_be_looked_at(void **state)
{
    (void)state;
    do_section("Data");
}

static void training_goes_on(void **state)
{
    (void)state;
    do_section("Training");
}

static void fine_tuning_takes_weights_over(void **state)
{
    (void)state;
    do_section("Fine-tuning");
}

static void evaluation_writes_what_it_says(void **state)
{
    static const char *const files[] = {"images.csv", "confusion.csv", "confusion.svg",
                                        "confusion.png"};
    char path[GR_FOLDER_PATH];
    (void)state;
    do_section("Evaluation");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_int_equal(access(gr_folder_file(files[i], path), F_OK), 0);
}

static void similar_images_are_found(void **state)
{
    static const char *const files[] = {"val.safetensors", "photos.safetensors", "nearest.png"};
    char path[GR_FOLDER_PATH];
    (void)state;
    do_section("Similar images");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_int_equal(access(gr_folder_file(files[i], path), F_OK), 0);
}

/* The program prints a loss every five steps, and training makes it fall. */
static void expect_falling_loss(const char *command)
{
    char *printed = run(command);
    const char *line = printed;
    double last = 10;
    for (int step = 5; step <= 20; step += 5, line = next_line(line)) {
        int at = 0;
        double loss = 0;
        assert_int_equal(sscanf(line, "step %d loss %lf", &at, &loss), 2);
        assert_int_equal(at, step);
        assert_true(loss < last && loss > 0);
        last = loss;
    }
    assert_string_equal(line, "");
    free(printed);
}

static void the_example_of_the_api_builds_from_an_installed_tree_and_trains(void **state)
{
    char path[GR_FOLDER_PATH];
    (void)state;
    do_section("Embedding");
    do_section("Installing");
    expect_falling_loss("./train models/lenet.yaml\n");
    expect_falling_loss("train-build/train models/lenet.yaml\n");
    assert_int_equal(access(gr_folder_file("lenet.safetensors", path), F_OK), 0);
    assert_int_equal(access(gr_folder_file(".local/bin/graph-runner", path), X_OK), 0);
    free(run(".local/bin/graph-runner check .local/share/graph-runner/models/*.yaml\n"));
}

static void the_op_that_the_developers_readme_adds_compiles(void **state)
{
    static const char fence[] = "```c file=square.c\n";
    char path[GR_FOLDER_PATH];
    (void)state;
    char *text = gr_tool_read(GR_SOURCE_DIR "/runtime/README.md");
    const char *begin = strstr(text, fence);
    assert_non_null(begin);
    begin += sizeof fence - 1;
    char *code = copy(begin, strstr(begin, "```"));
    gr_tool_save(gr_folder_file("square.c", path), code);
    free(run("cc -std=c17 -fopenmp -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Werror "
             "-I '" GR_SOURCE_DIR "/runtime' -I '" GR_SOURCE_DIR "/ops' square.c\n"));
    free(code);
    free(text);
}

static void no_block_to_be_tested_was_left_out(void **state)
{
    (void)state;
    for (size_t b = 0; b < n_blocks; b++)
        if (strchr(blocks[b].info, ' ') && !blocks[b].done)
            tell("no test runs this block of README.md:", blocks[b].text, "of info",
                 blocks[b].info);
}

/* Fails unless the path is there: from the root, or from one of the code's folders. */
static void expect_path(const char *path, const char *from, const char *document)
{
    static const char *const bases[] = {"/",     "/runtime/", "/runtime/graph/", "/runtime/train/",
                                        "/ops/", "/tests/"};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        char name[GR_FOLDER_PATH];
        snprintf(name, sizeof name, GR_SOURCE_DIR "%s%s", from ? from : bases[i], path);
        if (access(name, F_OK) == 0)
            return;
    }
    fail_msg("%s names '%s', which is not there", document, path);
}

/* Every link and picture of a document leads to a file, from its folder. */
static void expect_links(const char *document, const char *folder)
{
    char path[GR_FOLDER_PATH];
    snprintf(path, sizeof path, GR_SOURCE_DIR "/%s", document);
    char *text = gr_tool_read(path);
    int links = 0;
    for (const char *at = text; (at = strstr(at, "](")); links++) {
        at += 2;
        char *target = copy(at, at + strcspn(at, ")#"));
        if (*target && !strstr(target, "://"))
            expect_path(target, folder, document);
        free(target);
    }
    for (const char *at = text; (at = strstr(at, "src=\"")); links++) {
        at += strlen("src=\"");
        char *target = copy(at, at + strcspn(at, "\""));
        expect_path(target, folder, document);
        free(target);
    }
    assert_true(links > 0);
    free(text);
}

static void links_lead_somewhere(void **state)
{
    (void)state;
    expect_links("README.md", "/");
    expect_links("runtime/README.md", "/runtime/");
    expect_links("models/README.md", "/models/");
}

/* Is the word the name of a source file? */
static bool is_file_name(const char *word)
{
    static const char *const ends[] = {".c", ".h", ".sh", ".py", ".yaml"};
    const size_t length = strlen(word);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (length > strlen(ends[i]) && strcmp(word + length - strlen(ends[i]), ends[i]) == 0)
            return !strpbrk(word, " *{}<>()NX");
    return false;
}

/* Files in backquotes exist; names in capitals and patterns are examples. */
static void the_files_that_the_developers_readme_names_are_there(void **state)
{
    int files = 0;
    (void)state;
    char *text = gr_tool_read(GR_SOURCE_DIR "/runtime/README.md");
    for (const char *at = text; (at = strchr(at, '`'));) {
        const char *end = strchr(++at, '`');
        assert_non_null(end);
        char *word = copy(at, end);
        if (is_file_name(word)) {
            expect_path(word, NULL, "runtime/README.md");
            files++;
        }
        free(word);
        at = end + 1;
    }
    assert_true(files > 20);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_model_trains_evaluates_and_predicts),
        cmocka_unit_test(the_examples_of_the_language_are_models),
        cmocka_unit_test(the_commands_do_what_it_shows),
        cmocka_unit_test(the_data_can_be_looked_at),
        cmocka_unit_test(training_goes_on),
        cmocka_unit_test(fine_tuning_takes_weights_over),
        cmocka_unit_test(evaluation_writes_what_it_says),
        cmocka_unit_test(similar_images_are_found),
        cmocka_unit_test(the_example_of_the_api_builds_from_an_installed_tree_and_trains),
        cmocka_unit_test(the_op_that_the_developers_readme_adds_compiles),
        cmocka_unit_test(no_block_to_be_tested_was_left_out),
        cmocka_unit_test(links_lead_somewhere),
        cmocka_unit_test(the_files_that_the_developers_readme_names_are_there),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
