/*
 * Disks that fill up and folders that vanish while training goes on: what was saved stays, what is
 * missing is made up for when it can be, and the end tells if it could not.
 *
 * This program has its own write, fwrite and open, which say what is wrong with the disk when a
 * test wants that; and where it may mount one, a disk that is really too small.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "graphrunner.h"
#include "support/api_case.h"
#include "support/folder.h"
#include "support/run_files.h"
#include "support/tool.h"

static atomic_int full; /* errno that writes fail with, or 0 */

ssize_t write(int fd, const void *data, size_t bytes)
{
    if (!full || fd <= STDERR_FILENO)
        return syscall(SYS_write, fd, data, bytes);
    if (bytes > 10) /* some of it still fits */
        return syscall(SYS_write, fd, data, 10);
    errno = full;
    return -1;
}

/* As on a full disk: the stream notices, too. */
size_t fwrite(const void *data, size_t size, size_t count, FILE *file)
{
    if (full == ENOSPC && fileno(file) > STDERR_FILENO) {
        const int nowhere = open("/dev/full", O_WRONLY | O_CLOEXEC);
        assert_true(nowhere >= 0 && dup2(nowhere, fileno(file)) >= 0);
        close(nowhere);
    }
    return fwrite_unlocked(data, size, count, file);
}

/* On a disk that can only be read no file is opened to be written. */
int open(const char *name, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, unsigned) : 0;
    va_end(args);
    if (full == EROFS && (flags & O_ACCMODE) != O_RDONLY) {
        errno = EROFS;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, name, flags, mode);
}

/* ---- runs -------------------------------------------------------------------------------- */

/* From this step on, for so many, something is wrong with the disk. */
struct plan {
    int64_t from, until;
    void (*begin)(void), (*end)(void);
};

static bool progress(void *user, const struct gr_progress *p)
{
    const struct plan *plan = user;
    if (strcmp(p->stage, "train") == 0 && p->total_step == plan->from)
        plan->begin();
    if (strcmp(p->stage, "train") == 0 && p->total_step == plan->until)
        plan->end();
    return true;
}

static const char *const sets[] = {"train.checkpoint={steps: 2}", NULL};

static bool train(const char *out, const char *resume, struct plan *plan, struct gr_error *err)
{
    struct gr_train_result result;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, sets);
    const struct gr_train_options options = {
        .out = out, .resume = resume, .progress = plan ? progress : NULL, .progress_user = plan};
    const bool ok = gr_train(model, &options, &result, err);
    full = 0;
    gr_model_free(model);
    return ok;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

static const char *reference(void)
{
    struct gr_error err = {0};
    const char *whole = gr_api_path("whole");
    gr_api_ok(train(whole, NULL, NULL, &err), &err);
    return whole;
}

static void fill_disk(void)
{
    full = ENOSPC;
}

static void lose_disk(void)
{
    full = EROFS;
}

static void mend_disk(void)
{
    full = 0;
}

static void a_disk_full_for_a_while_costs_nothing(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct plan plan = {3, 18, fill_disk, mend_disk};
    const char *whole = reference(), *run = gr_api_path("run");
    gr_api_ok(train(run, NULL, &plan, &err), &err);
    const char *log = gr_api_log();
    gr_tool_contains(log, " is not saved: "); /* of step 4, or 2 if its thread was late */
    gr_tool_contains(log, "No space left on device; training goes on and tries again (");
    gr_tool_contains(log, "run holds step-00000000");
    assert_int_equal(count(log, "tries again"), 1);
    gr_tool_contains(log, "steps.jsonl: cannot write: No space left on device; training goes on, "
                          "and what is missing is written as soon as that can be\n");
    assert_int_equal(count(log, "as soon as that can be"), 1);
    gr_tool_contains(log, "the records of the run are written again\n");
    gr_tool_contains(log, "is saved again: ");
    gr_run_files_expect_same(whole, run); /* the best epoch's state and all lines, too */
}

static void a_disk_full_to_the_end_is_told_at_the_end(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct plan plan = {9, 0, lose_disk, mend_disk};
    const char *whole = reference(), *run = gr_api_path("run");
    assert_false(train(run, NULL, &plan, &err));
    assert_int_equal(err.status, GR_ERR_RUNTIME);
    gr_tool_contains(err.message, "the state after step 21 is not saved: ");
    gr_tool_contains(err.message, "Read-only file system; ");
    gr_tool_contains(err.message, "run holds step-00000000");
    err = (struct gr_error){0};
    gr_api_ok(train(run, run, NULL, &err), &err);
    gr_run_files_expect_same(whole, run);
}

/* ---- the folder -------------------------------------------------------------------------- */

static void move_away(void)
{
    assert_int_equal(rename(gr_api_path("run"), gr_api_path("away")), 0);
}

static void move_back(void)
{
    assert_int_equal(rename(gr_api_path("away"), gr_api_path("run")), 0);
}

static void a_folder_gone_for_a_while_costs_nothing(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct plan plan = {5, 7, move_away, move_back}; /* steps 6 and 8 are saved */
    const char *whole = reference(), *run = gr_api_path("run");
    gr_api_ok(train(run, NULL, &plan, &err), &err);
    gr_tool_contains(gr_api_log(), "is not saved: ");
    gr_tool_contains(gr_api_log(), "No such file or directory; training goes on");
    assert_int_equal(count(gr_api_log(), "tries again"), 1);
    gr_tool_contains(gr_api_log(), "run is gone and will be made anew)\n");
    gr_tool_lacks(gr_api_log(), "is made anew");
    gr_run_files_expect_same(whole, run);
}

static void a_folder_moved_away_for_good_is_made_anew(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct plan plan = {5, 0, move_away, move_back};
    const char *whole = reference(), *run = gr_api_path("run"), *away = gr_api_path("away");
    gr_api_ok(train(run, NULL, &plan, &err), &err);
    gr_tool_contains(gr_api_log(), "run was removed and is made anew; ");
    gr_tool_contains(gr_api_log(), "is saved again: ");
    gr_run_files_expect_same(whole, run);
    gr_api_ok(train(away, away, NULL, &err), &err); /* what was moved can go on, too */
    gr_run_files_expect_same(whole, away);
}

static void remove_run(void)
{
    char command[2 * GR_FOLDER_PATH];
    const char *run = gr_api_path("run"); /* where a checkpoint may appear meanwhile */
    snprintf(command, sizeof command, "while [ -e '%s' ]; do rm -rf '%s'; done", run, run);
    assert_int_equal(system(command), 0);
}

/* A state that was in the folder alone. */
static void bring_back(const char *name)
{
    char whole[64], run[64];
    snprintf(whole, sizeof whole, "whole/%s", name);
    snprintf(run, sizeof run, "run/%s", name);
    if (access(gr_api_path(run), F_OK) != 0)
        assert_int_equal(link(gr_api_path(whole), gr_api_path(run)), 0);
}

/* Lines that were written before are there, too: the file that was removed is still open. */
static void a_removed_folder_is_made_anew(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *whole = reference(), *run = gr_api_path("run");
    for (int64_t step = 3; step <= 21; step += 6) {
        struct plan plan = {step, 0, remove_run, mend_disk};
        gr_api_ok(train(run, NULL, &plan, &err), &err);
        if (step > 7) /* the best epoch may have been before */
            bring_back("best.safetensors");
        if (step > 20)
            bring_back("step-000000020.safetensors");
        gr_run_files_expect_same(whole, run);
        remove_run();
    }
}

static void replace_run(void)
{
    remove_run();
    assert_int_equal(mkdir(gr_api_path("run"), 0700), 0);
    assert_int_equal(symlink(gr_api_path("mine"), gr_api_path("run/steps.jsonl")), 0);
}

/* What a stranger has put there instead is not written through. */
static void no_link_that_came_in_place_of_a_folder_is_followed(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct plan plan = {5, 0, replace_run, mend_disk};
    assert_false(train(gr_api_path("run"), NULL, &plan, &err));
    assert_int_equal(err.status, GR_ERR_RUNTIME);
    gr_tool_contains(err.message, "the state after step 21 is not saved: ");
    gr_tool_contains(err.message, "run/steps.jsonl is a link that leads elsewhere");
    assert_int_not_equal(access(gr_api_path("mine"), F_OK), 0);
}

static void a_run_that_cannot_be_saved_at_all_does_not_begin(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct plan plan = {0, 0, fill_disk, mend_disk};
    full = ENOSPC;
    assert_false(train(gr_api_path("run"), NULL, &plan, &err));
    assert_int_equal(err.status, GR_ERR_RUNTIME);
    gr_tool_contains(err.message, "No space left on device");
}

/* ---- a small disk ------------------------------------------------------------------------ */

static char small[GR_FOLDER_PATH], filler[GR_FOLDER_PATH];

/* Leaves a few bytes. */
static void use_up(void)
{
    static const char block[1024] = "x";
    FILE *file = fopen(filler, "w");
    assert_non_null(file);
    while (fwrite(block, 1, sizeof block, file) == sizeof block && fflush(file) == 0)
        ;
    fclose(file);
}

static void free_some(void)
{
    assert_int_equal(unlink(filler), 0);
}

/* In a process with mounts of its own: 77 where it may have none, 0 if all is well. */
static int train_on_a_small_disk(void)
{
    struct gr_error err = {0};
    struct plan plan = {4, 15, use_up, free_some};
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", small, "tmpfs", 0, "size=256k") != 0)
        return 77;
    if (gr_api_set_up(NULL) != 0)
        return 1;
    const char *whole = reference();
    char run[GR_FOLDER_PATH + 8];
    snprintf(run, sizeof run, "%s/run", small);
    gr_api_ok(train(run, NULL, &plan, &err), &err);
    gr_tool_contains(gr_api_log(), "No space left on device");
    gr_run_files_expect_same(whole, run);
    return gr_api_tear_down(NULL);
}

static void a_disk_that_is_too_small_for_a_while_costs_nothing(void **state)
{
    (void)state;
    int status;
    gr_folder_file("small", small);
    gr_folder_file("small/filler", filler);
    assert_int_equal(mkdir(small, 0700), 0);
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(train_on_a_small_disk());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("nothing can be mounted here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)
#define ALONE(name) cmocka_unit_test_setup_teardown(name, gr_folder_set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALONE(a_disk_that_is_too_small_for_a_while_costs_nothing), /* before there are threads */
        TEST(a_disk_full_for_a_while_costs_nothing),
        TEST(a_disk_full_to_the_end_is_told_at_the_end),
        TEST(a_folder_gone_for_a_while_costs_nothing),
        TEST(a_folder_moved_away_for_good_is_made_anew),
        TEST(a_removed_folder_is_made_anew),
        TEST(no_link_that_came_in_place_of_a_folder_is_followed),
        TEST(a_run_that_cannot_be_saved_at_all_does_not_begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
