/*
 * The graph-runner tool under signals: what it saves, what it leaves behind, how it ends.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nanosleep, kill */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/folder.h"
#include "support/tool.h"

static char run_folder[GR_FOLDER_PATH], best[GR_FOLDER_PATH];

static int set_up(void **state)
{
    if (gr_tool_set_up(state) != 0)
        return -1;
    gr_folder_file("run", run_folder);
    gr_folder_file("run/best.safetensors", best);
    return 0;
}

static void sleep_a_little(void)
{
    const struct timespec time = {.tv_nsec = 20000000};
    nanosleep(&time, NULL);
}

/* Waits until standard error has the text that often; half a minute at most. */
static void wait_for(const char *wanted, int times)
{
    char path[GR_FOLDER_PATH];
    gr_folder_file("stderr", path);
    for (int i = 0; i < 1500; i++) {
        int n = 0;
        char *text = gr_tool_read(path);
        for (const char *at = text; (at = strstr(at, wanted)); at++)
            n++;
        free(text);
        if (n >= times)
            return;
        sleep_a_little();
    }
    fail_msg("standard error does not say '%s'", wanted);
}

static void an_interrupted_run_is_saved_and_goes_on(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    static const char *const folders[] = {"first", "second", "third"};
    for (size_t i = 0; i < 3; i++) {
        char folder[GR_FOLDER_PATH];
        gr_folder_file(folders[i], folder);
        const pid_t pid = gr_tool_start(NULL, "train", gr_tool_model(), "--out", folder, "--epochs",
                                        "1000000", "--threads", "1", "--kernels", "openblas", NULL);
        wait_for("epoch ", 1);
        assert_int_equal(kill(pid, signals[i]), 0);
        struct gr_outcome outcome = gr_tool_end(128 + signals[i], pid);
        gr_tool_contains(outcome.err, "which are saved; go on with: graph-runner train ");
        gr_tool_contains(outcome.err, " --epochs 1000000 --threads 1 --kernels openblas\n");
        gr_outcome_release(&outcome);
        outcome =
            gr_tool_run(0, "train", gr_tool_model(), "--resume", folder, "--steps", "1", NULL);
        gr_tool_contains(outcome.out, "kept in ");
        gr_outcome_release(&outcome);
    }
}

static void a_run_asked_to_save_says_where_and_goes_on(void **state)
{
    (void)state;
    const pid_t pid = gr_tool_start(NULL, "train", gr_tool_model(), "--out", run_folder, "--epochs",
                                    "1000000", NULL);
    wait_for("epoch ", 1);
    for (int i = 1; i <= 2; i++) {
        assert_int_equal(kill(pid, SIGUSR1), 0);
        wait_for(" is saved: ", i);
    }
    assert_int_equal(kill(pid, SIGTERM), 0);
    struct gr_outcome outcome = gr_tool_end(128 + SIGTERM, pid);
    gr_tool_contains(outcome.err, "run/step-0");
    gr_outcome_release(&outcome);
}

/* There is nothing to save yet but what was measured. */
static void a_signal_ends_the_choice_of_kernels(void **state)
{
    (void)state;
    static const char many[] =
        "format: 1\n"
        "name: many\n"
        "inputs: {image: {shape: [3, 64, 64]}, label: {classes: 2}}\n"
        "nodes:\n"
        "  - {name: c1, op: conv, inputs: image, out_channels: 64, kernel: 3, pad: 1}\n"
        "  - {name: c2, op: conv, out_channels: 64, kernel: 5, pad: 2}\n"
        "  - {name: c3, op: conv, out_channels: 64, kernel: 7, pad: 3}\n"
        "  - {name: c4, op: conv, out_channels: 64, kernel: 9, pad: 4}\n"
        "  - {name: fc, op: linear, out_features: 2, weight_init: {gaussian: {std: 0.01}}}\n"
        "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
        "train: {loss: loss, batch: 32, optimizer: {sgd: {}}, learning_rate: 0.01}\n"
        "data: {train: {synthetic: {count: 64}, transform: [scale]}}\n";
    char model[GR_FOLDER_PATH], cache[GR_FOLDER_PATH];
    glob_t files;
    gr_tool_save(gr_folder_file("many.yaml", model), many);
    const pid_t pid =
        gr_tool_start(NULL, "train", model, "--out", run_folder, "--threads", "1", "-v", NULL);
    wait_for(": direct", 1);
    assert_int_equal(kill(pid, SIGTERM), 0);
    struct gr_outcome outcome = gr_tool_end(128 + SIGTERM, pid);
    gr_tool_contains(outcome.err, "stopped while kernels were chosen, before '");
    gr_tool_lacks(outcome.err, "epoch 1");
    gr_outcome_release(&outcome);
    assert_int_equal(access(best, F_OK), -1);
    gr_folder_file("cache/kernels-*.json", cache);
    assert_int_equal(glob(cache, 0, NULL, &files), 0);
    globfree(&files);
    outcome = gr_tool_run(0, "train", model, "--out", run_folder, "--threads", "1", "--tune",
                          "known", "--steps", "1", NULL);
    gr_outcome_release(&outcome);
}

/* Stopped while it is in the middle of something, it does not wait for the end of that. */
static void a_second_signal_ends_the_tool_at_once(void **state)
{
    (void)state;
    int status;
    char path[GR_FOLDER_PATH];
    const pid_t pid = gr_tool_start(NULL, "train", gr_tool_model(), "--out", run_folder, "--epochs",
                                    "1000000", NULL);
    wait_for("epoch ", 1);
    assert_int_equal(kill(pid, SIGSTOP), 0); /* so that both come before the step ends */
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(kill(pid, SIGINT), 0);
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid); /* which of them came second is not said */
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 128 + SIGINT || WEXITSTATUS(status) == 128 + SIGTERM);
    char *text = gr_tool_read(gr_folder_file("stderr", path));
    gr_tool_lacks(text, "interrupted after");
    free(text);
    struct gr_outcome outcome =
        gr_tool_run(0, "train", gr_tool_model(), "--resume", run_folder, "--steps", "1", NULL);
    gr_outcome_release(&outcome);
}

/* Whatever the signal: the result is there whole or not at all, and nothing lies beside it. */
static void other_commands_leave_nothing_half_written(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGKILL};
    struct gr_outcome outcome =
        gr_tool_run(0, "train", gr_tool_model(), "--out", run_folder, "--epochs", "1", NULL);
    gr_outcome_release(&outcome);
    char csv[GR_FOLDER_PATH], features[GR_FOLDER_PATH];
    gr_folder_file("half.csv", csv);
    gr_folder_file("half.safetensors", features);
    for (size_t i = 0; i < 2 * sizeof signals / sizeof *signals; i++) {
        const int number = signals[i / 2];
        const int before = gr_folder_count();
        const pid_t pid =
            i % 2 ? gr_tool_start(NULL, "features", gr_tool_model(), "--weights", best, "-o",
                                  features, "--set", "data.val.synthetic.count=100000000", NULL)
                  : gr_tool_start(NULL, "eval", gr_tool_model(), "--weights", best, "--csv", csv,
                                  "--set", "data.val.synthetic.count=100000000", NULL);
        for (int wait = 0; wait < 25; wait++)
            sleep_a_little();
        assert_int_equal(kill(pid, number), 0);
        outcome = gr_tool_end(128 + number, pid);
        gr_outcome_release(&outcome);
        assert_int_equal(gr_folder_count(), before);
    }
}

static void layers_are_watched(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "train", gr_tool_model(), "--out", run_folder,
                                            "--epochs", "1", "--watch", "4", NULL);
    gr_tool_contains(outcome.err, "step 4  loss ");
    gr_tool_contains(outcome.err, "step 8  loss ");
    gr_tool_lacks(outcome.err, "step 5  loss ");
    gr_tool_contains(outcome.err, "|dw|/|w|  dead ReLUs\n");
    gr_tool_contains(outcome.err, "conv1  ");
    gr_tool_contains(outcome.err, " of 8\n");
    gr_outcome_release(&outcome);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_interrupted_run_is_saved_and_goes_on),
        TEST(a_run_asked_to_save_says_where_and_goes_on),
        TEST(a_signal_ends_the_choice_of_kernels),
        TEST(a_second_signal_ends_the_tool_at_once),
        TEST(other_commands_leave_nothing_half_written),
        TEST(layers_are_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
