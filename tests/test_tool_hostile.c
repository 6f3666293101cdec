/*
 * The graph-runner tool among files of strangers: nothing that they say reaches a terminal as a
 * command, a shell, or a file outside of the folder that was named.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* symlink */
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

#include "support/folder.h"
#include "support/make_jpeg.h"
#include "support/make_tar.h"
#include "support/tool.h"

#define ESCAPE "\033[31m"

/* A path in the test's folder; each of the last eight stays valid. */
static const char *at(const char *name)
{
    static char paths[8][GR_FOLDER_PATH];
    static int next;
    next = (next + 1) % 8;
    return gr_folder_file(name, paths[next]);
}

static void make_link(const char *target, const char *name)
{
    gr_tool_save(target, "mine\n");
    assert_int_equal(symlink(target, name), 0);
}

static void expect_mine(const char *path)
{
    char *text = gr_tool_read(path);
    assert_string_equal(text, "mine\n");
    free(text);
}

/* ---- the terminal ------------------------------------------------------------------------ */

static void names_of_files_command_no_terminal(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(3, "check", at("no" ESCAPE "model.yaml"), NULL);
    gr_tool_contains(outcome.err, "no?[31mmodel.yaml");
    gr_tool_lacks(outcome.err, "\033");
    gr_outcome_release(&outcome);
    gr_tool_save(at("bad.yaml"), "format: 1\nname: \""
                                 "\\e[2J"
                                 "\"\ninputs: {\"\\e[1m\": 3}\n");
    outcome = gr_tool_run(3, "check", at("bad.yaml"), NULL);
    gr_tool_lacks(outcome.err, "\033");
    gr_outcome_release(&outcome);
}

/* A damaged image in an archive, whose name is a command; and classes named by folders. */
static void names_in_archives_and_folders_command_no_terminal(void **state)
{
    (void)state;
    struct gr_make_tar tar = {0};
    gr_make_tar_add(&tar, '0', ESCAPE "a.jpg", "no image", 8);
    gr_make_tar_add(&tar, '0', ESCAPE "a.cls", "1", 1);
    gr_make_tar_end(&tar);
    gr_make_tar_write(&tar, at("shard.tar"));
    gr_make_tar_release(&tar);
    char set[2 * GR_FOLDER_PATH];
    snprintf(set, sizeof set,
             "data={train: {webdataset: {shards: %s}, transform: [crop: {size: 8}]}}",
             at("shard.tar"));
    struct gr_outcome outcome =
        gr_tool_run(4, "data", "check", gr_tool_model(), "--set", set, NULL);
    gr_tool_contains(outcome.out, "?[31ma.jpg");
    gr_tool_lacks(outcome.out, "\033");
    gr_tool_lacks(outcome.err, "\033");
    gr_outcome_release(&outcome);
    assert_int_equal(mkdir(at("photos"), 0700), 0);
    assert_int_equal(mkdir(at("photos/" ESCAPE "ash"), 0700), 0);
    assert_true(gr_make_plain_jpeg(at("photos/" ESCAPE "ash/1.jpg"), 8, 8, 1, 2, 3));
    outcome = gr_tool_run(0, "data", "check", at("photos"), NULL);
    gr_tool_lacks(outcome.out, "\033");
    gr_tool_lacks(outcome.err, "\033");
    gr_outcome_release(&outcome);
}

/* U+009B is ESC [ in one character. In JSON it stays what it is, but a terminal does not see it. */
static void names_with_controls_above_ascii_command_no_terminal(void **state)
{
    (void)state;
    static const char name[] = "photos/a\xc2\x9b"
                               "31msh\xc2\x85×";
    struct gr_tool_streams streams = {0};
    assert_int_equal(mkdir(at("photos"), 0700), 0);
    assert_int_equal(mkdir(at(name), 0700), 0);
    char image[64];
    snprintf(image, sizeof image, "%s/1.jpg", name);
    gr_tool_save(at(image), "no image");
    struct gr_outcome outcome = gr_tool_run(4, "data", "check", at("photos"), NULL);
    gr_tool_contains(outcome.out, "a??31msh??×/1.jpg");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(4, "data", "check", at("photos"), "--json", NULL);
    gr_tool_contains(outcome.out, name);
    gr_tool_lacks(outcome.err, "\xc2\x9b");
    json_decref(gr_tool_parse(outcome.out));
    gr_outcome_release(&outcome);
    const int terminal = gr_tool_terminal(80, &streams.out);
    const pid_t pid = gr_tool_start(&streams, "data", "check", at("photos"), "--json", NULL);
    char *text = gr_tool_terminal_read(terminal);
    outcome = gr_tool_end(4, pid);
    gr_tool_contains(text, "a\\u009B31msh\\u0085\\u00D7/1.jpg");
    gr_tool_lacks(text, "\xc2");
    gr_outcome_release(&outcome);
    close(terminal);
    free(text);
}

/* ---- folders ----------------------------------------------------------------------------- */

static void training_writes_through_no_link_in_its_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"metrics.jsonl", "latest.safetensors", "model.yaml",
                                        "events.out.tfevents.0000000000.graph-runner"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        assert_int_equal(mkdir(at("run"), 0700), 0);
        snprintf(path, sizeof path, "run/%s", names[i]);
        make_link(at("mine"), at(path));
        struct gr_outcome outcome =
            gr_tool_run(2, "train", gr_tool_model(), "--out", at("run"), "--epochs", "1", NULL);
        gr_tool_contains(outcome.err, "is a link that leads elsewhere: what is written");
        gr_outcome_release(&outcome);
        expect_mine(at("mine"));
        assert_int_equal(unlink(at(path)), 0);
        assert_int_equal(rmdir(at("run")), 0);
    }
}

static void a_report_is_not_written_through_a_link_in_the_run(void **state)
{
    (void)state;
    struct gr_outcome outcome =
        gr_tool_run(0, "train", gr_tool_model(), "--out", at("run"), "--epochs", "1", NULL);
    gr_outcome_release(&outcome);
    unlink(at("run/report.html"));
    make_link(at("mine"), at("run/report.html"));
    outcome = gr_tool_run(2, "report", at("run"), NULL);
    gr_tool_contains(outcome.err, "report.html is a link");
    gr_outcome_release(&outcome);
    expect_mine(at("mine"));
    /* a link that the user names is what was named: its target is written */
    outcome = gr_tool_run(0, "report", at("run"), "-o", at("page.html"), NULL);
    gr_outcome_release(&outcome);
    assert_int_equal(symlink(at("page.html"), at("link.html")), 0);
    outcome = gr_tool_run(0, "report", at("run"), "-o", at("link.html"), NULL);
    gr_outcome_release(&outcome);
    struct stat status;
    assert_int_equal(lstat(at("link.html"), &status), 0);
    assert_true(S_ISLNK(status.st_mode));
}

static void no_pipe_in_the_folder_of_a_run_is_waited_for(void **state)
{
    (void)state;
    static const char *const names[] = {"run/model.yaml", "run/best.safetensors"};
    struct gr_outcome outcome =
        gr_tool_run(0, "train", gr_tool_model(), "--out", at("run"), "--epochs", "1", NULL);
    gr_outcome_release(&outcome);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(unlink(at(names[i])), 0);
        assert_int_equal(mkfifo(at(names[i]), 0600), 0);
        outcome = gr_tool_run(0, "report", at("run"), "-o", at("page.html"), NULL);
        gr_outcome_release(&outcome);
        outcome = gr_tool_run(2, "train", gr_tool_model(), "--resume", at("run"), NULL);
        gr_tool_contains(outcome.err, " is no regular file: remove it");
        gr_outcome_release(&outcome);
    }
}

static void a_pack_is_not_written_through_a_link_in_its_folder(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("photos"), 0700), 0);
    assert_int_equal(mkdir(at("photos/ash"), 0700), 0);
    assert_true(gr_make_plain_jpeg(at("photos/ash/1.jpg"), 8, 8, 1, 2, 3));
    assert_int_equal(mkdir(at("pack"), 0700), 0);
    make_link(at("mine"), at("pack/unfinished.jsonl"));
    struct gr_outcome outcome =
        gr_tool_run(2, "data", "pack", at("photos"), "-o", at("pack"), NULL);
    gr_tool_contains(outcome.err, "unfinished.jsonl is a link");
    gr_outcome_release(&outcome);
    expect_mine(at("mine"));
    assert_int_equal(symlink(at("photos"), at("pack/train")), 0);
    outcome = gr_tool_run(2, "data", "pack", gr_tool_model(), "-o", at("pack"), NULL);
    gr_tool_contains(outcome.err, "pack/train is a link: what is written to a folder stays in it");
    gr_outcome_release(&outcome);
    assert_int_not_equal(access(at("photos/unfinished.jsonl"), F_OK), 0);
    assert_int_not_equal(access(at("photos/index.jsonl"), F_OK), 0);
}

/* ---- other programs ---------------------------------------------------------------------- */

/* The name of a picture goes to Graphviz as it is: no shell sees it. */
static void names_of_pictures_are_no_commands(void **state)
{
    (void)state;
    if (system("command -v dot >/dev/null") != 0)
        skip();
    const char *name = at("a;touch b;$(touch c).svg");
    struct gr_outcome outcome = gr_tool_run(0, "dot", gr_tool_model(), "-o", name, NULL);
    gr_outcome_release(&outcome);
    assert_int_equal(access(name, R_OK), 0);
    assert_int_not_equal(access("b", F_OK), 0);
    assert_int_not_equal(access("c", F_OK), 0);
}

/* Texts of a model stay texts in a drawing: no attribute of Graphviz comes of them. */
static void texts_of_a_model_are_only_text_in_a_drawing(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "dot", gr_tool_model(), "--set",
                                            "name='a\", image=\"/etc/passwd\\\" <b>&'", NULL);
    gr_tool_contains(outcome.out, "a\\\", image=\\\"/etc/passwd\\\\\\\" <b>&");
    gr_outcome_release(&outcome);
}

static void figures_of_a_profile_are_bounded(void **state)
{
    (void)state;
    gr_tool_save(at("profile.json"), "{\"model\": \"tiny\", \"mode\": \"infer\", \"batch\": 1e300, "
                                     "\"threads\": 1, \"precision\": \"f32\", \"nodes\": []}");
    struct gr_outcome outcome =
        gr_tool_run(4, "dot", gr_tool_model(), "--profile", at("profile.json"), NULL);
    gr_tool_contains(outcome.err, "there are no times of nodes in it");
    gr_outcome_release(&outcome);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gr_tool_set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_of_files_command_no_terminal),
        TEST(names_in_archives_and_folders_command_no_terminal),
        TEST(names_with_controls_above_ascii_command_no_terminal),
        TEST(training_writes_through_no_link_in_its_folder),
        TEST(a_report_is_not_written_through_a_link_in_the_run),
        TEST(no_pipe_in_the_folder_of_a_run_is_waited_for),
        TEST(a_pack_is_not_written_through_a_link_in_its_folder),
        TEST(names_of_pictures_are_no_commands),
        TEST(texts_of_a_model_are_only_text_in_a_drawing),
        TEST(figures_of_a_profile_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
