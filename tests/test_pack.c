/*
 * graph-runner data pack: the same bytes whatever happens on the way, and what it says when it
 * cannot go on.
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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/make_png.h"
#include "support/pack_case.h"

/* What an uninterrupted run makes, in "whole"; how many shards that is. */
static int make_whole(void)
{
    struct gr_outcome outcome = gr_pack_run(0, "whole", "--json", NULL);
    json_t *packs = gr_tool_parse(outcome.out);
    const int shards = (int)gr_tool_number(json_array_get(packs, 0), "shards");
    assert_true(shards > 3);
    json_decref(packs);
    gr_outcome_release(&outcome);
    return shards;
}

static void finish(const char *out)
{
    struct gr_outcome outcome = gr_pack_run(0, out, NULL, NULL);
    gr_outcome_release(&outcome);
    gr_pack_expect_same("whole", out);
}

static void append(const char *name, const char *text)
{
    FILE *file = fopen(gr_pack_at(name), "ab");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* Runs until unfinished.jsonl has that many shards, and sends a signal; how it ended. */
static int stop_after(const char *out, int shards, int number)
{
    int status = 0;
    const struct gr_tool_streams streams = {"/dev/null", "/dev/null"};
    const pid_t pid =
        gr_tool_start(&streams, "data", "pack", gr_pack_at("photos"), "-o", gr_pack_at(out),
                      "--size", "48", "--shard-size", "64K", "--threads", "1", NULL);
    for (int i = 0; i < 100000 && gr_pack_lines(out) < shards; i++) {
        char index[64];
        snprintf(index, sizeof index, "%s/index.jsonl", out);
        if (access(gr_pack_at(index), F_OK) == 0)
            break; /* it was faster */
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    kill(pid, number);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/*
 * The state that a run killed after so many shards leaves: the whole pack's, less what comes later,
 * and half an archive under its temporary name.
 */
static void leave_part(const char *out, int shards)
{
    char from[64], to[64];
    FILE *index = fopen(gr_pack_at("whole/index.jsonl"), "rb");
    assert_non_null(index);
    assert_int_equal(mkdir(gr_pack_at(out), 0700), 0);
    snprintf(to, sizeof to, "%s/unfinished.jsonl", out);
    FILE *lines = fopen(gr_pack_at(to), "wb");
    assert_non_null(lines);
    char *line = NULL;
    size_t room = 0;
    for (int i = 0; i <= shards && getline(&line, &room, index) > 0; i++)
        fputs(line, lines); /* the head has what is looked for */
    free(line);
    fclose(index);
    assert_int_equal(fclose(lines), 0);
    for (int i = 0; i < shards; i++) {
        snprintf(from, sizeof from, "whole/%06d.tar", i);
        snprintf(to, sizeof to, "%s/%06d.tar", out, i);
        gr_pack_copy_file(from, to);
    }
    snprintf(to, sizeof to, "%s/%06d.tar.123-0.tmp", out, shards);
    append(to, "half an archive");
}

static void threads_do_not_show(void **state)
{
    (void)state;
    make_whole();
    static const char *const threads[] = {"1", "3", "9"};
    for (int i = 0; i < 3; i++) {
        struct gr_outcome outcome = gr_pack_run(0, threads[i], "--threads", threads[i]);
        gr_outcome_release(&outcome);
        gr_pack_expect_same("whole", threads[i]);
    }
}

static void a_run_goes_on_after_any_shard(void **state)
{
    (void)state;
    const int shards = make_whole();
    for (int i = 0; i <= shards; i++) {
        char out[32];
        snprintf(out, sizeof out, "part%d", i);
        leave_part(out, i);
        finish(out);
    }
}

static void a_run_that_was_killed_goes_on(void **state)
{
    (void)state;
    const int shards = make_whole();
    for (int i = 0; i < shards; i++) {
        char out[32];
        snprintf(out, sizeof out, "killed%d", i);
        stop_after(out, i, SIGKILL);
        finish(out);
    }
}

static void a_run_that_was_asked_to_stop_goes_on(void **state)
{
    (void)state;
    make_whole();
    const int status = stop_after("stopped", 1, SIGTERM);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 143 || WEXITSTATUS(status) == 0); /* it may be faster */
    finish("stopped");
}

static void what_was_cut_short_is_made_again(void **state)
{
    (void)state;
    make_whole();
    leave_part("line", 2);
    append("line/unfinished.jsonl", "{\"shard\":\"000002.tar\",\"bytes\":");
    finish("line");
    leave_part("head", 0);
    assert_int_equal(truncate(gr_pack_at("head/unfinished.jsonl"), 40), 0);
    finish("head");
    leave_part("shard", 3);
    assert_int_equal(truncate(gr_pack_at("shard/000001.tar"), 1000), 0);
    finish("shard");
    leave_part("gone", 3);
    assert_int_equal(unlink(gr_pack_at("gone/000002.tar")), 0);
    finish("gone");
}

/* Killed between the index and the end of unfinished.jsonl. */
static void an_index_makes_it_whole(void **state)
{
    (void)state;
    make_whole();
    append("whole/unfinished.jsonl", "{");
    struct gr_outcome outcome = gr_pack_run(0, "whole", NULL, NULL);
    gr_tool_contains(outcome.err, "packed already");
    gr_outcome_release(&outcome);
    assert_int_equal(gr_pack_lines("whole"), -1);
}

/* ---- out of space ------------------------------------------------------------------------ */

/* Files may have no more bytes than that; the tool is told so by an error, not a signal. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_DFL); /* the tool is to see to it itself */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void without_room_for_a_shard_it_says_so_and_goes_on_later(void **state)
{
    (void)state;
    make_whole();
    limit_files(30000);
    struct gr_outcome outcome = gr_pack_run(5, "full", NULL, NULL);
    limit_files(0);
    gr_tool_contains(outcome.err, "full/000000.tar: cannot write: File too large; no shard is "
                                  "whole yet: the same command begins anew");
    gr_outcome_release(&outcome);
    assert_int_equal(gr_pack_lines("full"), 0);
    assert_int_not_equal(access(gr_pack_at("full/000000.tar"), F_OK), 0);
    finish("full");
}

/* A whole shard fits, what is said of it does not: it is taken back, and made again. */
static void without_room_for_a_line_it_says_so_and_goes_on_later(void **state)
{
    (void)state;
    make_whole();
    leave_part("full", 2);
    struct stat status;
    assert_int_equal(stat(gr_pack_at("full/unfinished.jsonl"), &status), 0);
    char padding[70001];
    memset(padding, ' ', sizeof padding - 1);
    padding[sizeof padding - 1] = 0;
    /* The head is made long, as that of many classes may be, so that the file is at its limit. */
    char *text = gr_tool_read(gr_pack_at("full/unfinished.jsonl"));
    FILE *file = fopen(gr_pack_at("full/unfinished.jsonl"), "wb");
    fprintf(file, "{%s%s", padding, text + 1);
    fclose(file);
    free(text);
    limit_files((rlim_t)status.st_size + 70000 + 20);
    struct gr_outcome outcome = gr_pack_run(5, "full", NULL, NULL);
    limit_files(0);
    gr_tool_contains(outcome.err, "full/unfinished.jsonl: cannot write: File too large; what is "
                                  "packed so far, 2 shards, is kept");
    gr_outcome_release(&outcome);
    assert_int_equal(gr_pack_lines("full"), 2);
    finish("full");
}

/* ---- what must not be ------------------------------------------------------------------- */

static void another_setting_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *option, *value, *says;
    } cases[] = {{"--quality", "90", "was begun with quality 95, not 90"},
                 {"--keep", "whole", "was begun with keep \"center\", not \"whole\""},
                 {"--order", "source", "was begun with order \"mixed\", not \"source\""}};
    make_whole();
    leave_part("part", 2);
    for (int whole = 0; whole < 2; whole++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const char *out = whole ? "whole" : "part";
            struct gr_outcome outcome = gr_pack_run(2, out, cases[i].option, cases[i].value);
            gr_tool_contains(outcome.err, cases[i].says);
            gr_outcome_release(&outcome);
        }
    assert_int_equal(gr_pack_lines("part"), 2);
    assert_int_equal(unlink(gr_pack_at("photos/ash/ash_000.png")), 0);
    struct gr_outcome outcome = gr_pack_run(2, "part", NULL, NULL);
    gr_tool_contains(outcome.err, "was begun with other data: their images or labels differ");
    gr_outcome_release(&outcome);
}

static void one_process_at_a_time_packs_into_a_folder(void **state)
{
    (void)state;
    make_whole();
    leave_part("part", 1);
    const int file = open(gr_pack_at("part/unfinished.jsonl"), O_RDWR | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(flock(file, LOCK_EX), 0);
    struct gr_outcome outcome = gr_pack_run(5, "part", NULL, NULL);
    gr_tool_contains(outcome.err, "/part: another process is packing there");
    gr_outcome_release(&outcome);
    close(file);
    finish("part");
}

static void other_archives_are_not_written_over(void **state)
{
    (void)state;
    assert_int_equal(mkdir(gr_pack_at("theirs"), 0700), 0);
    append("theirs/000000.tar", "precious");
    struct gr_outcome outcome = gr_pack_run(2, "theirs", NULL, NULL);
    gr_tool_contains(outcome.err, "/theirs: there are archives of something else");
    gr_outcome_release(&outcome);
    char *text = gr_tool_read(gr_pack_at("theirs/000000.tar"));
    assert_string_equal(text, "precious");
    free(text);
    outcome = gr_pack_run(5, "theirs/000000.tar/below", NULL, NULL);
    gr_tool_contains(outcome.err, "cannot make the folder: Not a directory");
    gr_outcome_release(&outcome);
}

static void a_folder_that_cannot_be_written_is_told(void **state)
{
    (void)state;
    assert_int_equal(mkdir(gr_pack_at("locked"), 0500), 0);
    assert_int_equal(mkdir(gr_pack_at("photos/secret"), 0000), 0);
    if (geteuid() != 0) { /* to root, nothing is forbidden: there its class is only empty */
        struct gr_outcome outcome = gr_pack_run(4, "out", NULL, NULL);
        gr_tool_contains(outcome.err, "photos/secret: cannot open: Permission denied");
        gr_outcome_release(&outcome);
        assert_int_equal(rmdir(gr_pack_at("photos/secret")), 0);
        outcome = gr_pack_run(5, "locked", NULL, NULL);
        gr_tool_contains(outcome.err, "locked/unfinished.jsonl: cannot create: Permission denied");
        gr_outcome_release(&outcome);
    } else {
        struct gr_outcome outcome = gr_pack_run(4, "out", NULL, NULL);
        gr_tool_contains(outcome.err, "class \"secret\" is empty");
        gr_outcome_release(&outcome);
    }
}

/* ---- images that cannot be read ---------------------------------------------------------- */

static void damaged_images_are_skipped_counted_and_listed(void **state)
{
    (void)state;
    append("photos/birch/birch_damaged.jpg", "damaged");
    append("photos/ash/ash_empty.png", "");
    struct gr_outcome outcome = gr_pack_run(4, "out", "--max-corrupt", "1");
    gr_tool_contains(outcome.err, "more than 1 images cannot be read (--max-corrupt); the last is");
    gr_outcome_release(&outcome);
    outcome = gr_pack_run(0, "out", "--json", NULL);
    json_t *packs = gr_tool_parse(outcome.out);
    assert_int_equal(gr_tool_number(json_array_get(packs, 0), "skipped"), 2);
    assert_int_equal(gr_tool_number(json_array_get(packs, 0), "images"), GR_PACK_PICTURES);
    json_decref(packs);
    gr_tool_contains(outcome.err, "photos/birch/birch_damaged.jpg: neither JPEG nor PNG");
    gr_tool_contains(outcome.err, "photos/ash/ash_empty.png: an empty file");
    gr_outcome_release(&outcome);
    char *index = gr_tool_read(gr_pack_at("out/index.jsonl"));
    gr_tool_contains(index, "birch_damaged.jpg: neither JPEG nor PNG");
    free(index);
}

static void pictures_that_JPEG_has_no_room_for_are_skipped(void **state)
{
    static const uint8_t pixels[2 * 600 * 3];
    (void)state;
    assert_true(gr_make_rgb_png(gr_pack_at("photos/ash/ash_long.png"), pixels, 2, 600));
    struct gr_outcome outcome =
        gr_tool_run(0, "data", "pack", gr_pack_at("photos"), "-o", gr_pack_at("out"), "--size",
                    "256", "--keep", "whole", NULL);
    gr_tool_contains(outcome.err,
                     "photos/ash/ash_long.png: 256×76800 pixels: a side of JPEG has at "
                     "most 65500");
    gr_outcome_release(&outcome);
}

static void data_without_a_readable_image_make_no_pack(void **state)
{
    (void)state;
    assert_int_equal(mkdir(gr_pack_at("bad"), 0700), 0);
    assert_int_equal(mkdir(gr_pack_at("bad/ash"), 0700), 0);
    append("bad/ash/1.jpg", "damaged");
    struct gr_outcome outcome =
        gr_tool_run(4, "data", "pack", gr_pack_at("bad"), "-o", gr_pack_at("out"), NULL);
    gr_tool_contains(outcome.err, "none of its images can be read");
    gr_outcome_release(&outcome);
    assert_int_not_equal(access(gr_pack_at("out/index.jsonl"), F_OK), 0);
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, gr_pack_set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(threads_do_not_show),
        SENTENCE(a_run_goes_on_after_any_shard),
        SENTENCE(a_run_that_was_killed_goes_on),
        SENTENCE(a_run_that_was_asked_to_stop_goes_on),
        SENTENCE(what_was_cut_short_is_made_again),
        SENTENCE(an_index_makes_it_whole),
        SENTENCE(without_room_for_a_shard_it_says_so_and_goes_on_later),
        SENTENCE(without_room_for_a_line_it_says_so_and_goes_on_later),
        SENTENCE(another_setting_is_told),
        SENTENCE(one_process_at_a_time_packs_into_a_folder),
        SENTENCE(other_archives_are_not_written_over),
        SENTENCE(a_folder_that_cannot_be_written_is_told),
        SENTENCE(damaged_images_are_skipped_counted_and_listed),
        SENTENCE(pictures_that_JPEG_has_no_room_for_are_skipped),
        SENTENCE(data_without_a_readable_image_make_no_pack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
