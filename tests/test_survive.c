/*
 * A training run killed at moments all over it, also while a checkpoint is being written, goes on
 * to the same files as one that was left alone.
 *
 * Most kills are counted: this program has its own write, fwrite, rename and the like, which come
 * before the system's, count what reaches the disk, and end the process at a chosen one, half way
 * through what it writes. The others come from outside at any time. Moments are drawn anew in each
 * run from a seed that is printed; GR_SEED=N draws those of seed N again.
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
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "graphrunner.h"
#include "support/api_case.h"
#include "support/folder.h"
#include "support/run_files.h"

enum { COUNTED = 54, TIMED = 10, CHAIN = 12, MOST_TRIES = 200 };

/* What parent and child share. */
static struct shared {
    atomic_int count;         /* moments so far */
    int die_at;               /* 0: never */
    bool named;               /* files that have no name cannot be had */
    atomic_int in_checkpoint; /* deaths in the thread that writes one */
    atomic_int elsewhere;
} * shared;

static bool counting; /* in a child */

/* A moment: true if this is the one to die at. */
static bool is_last(void)
{
    return counting && ++shared->count == shared->die_at;
}

static void die(void)
{
    ++*(gettid() == getpid() ? &shared->elsewhere : &shared->in_checkpoint);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* ---- the system's functions -------------------------------------------------------------- */

ssize_t write(int fd, const void *data, size_t bytes)
{
    const bool last = is_last();
    const ssize_t done = syscall(SYS_write, fd, data, last ? bytes / 2 : bytes);
    if (last)
        die();
    return done;
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *file)
{
    const bool last = is_last();
    const size_t done = fwrite_unlocked(data, 1, last ? size * count / 2 : size * count, file);
    if (last) {
        fflush(file);
        die();
    }
    return done / (size ? size : 1);
}

/* What was written survives the process, if not the machine: no need to wait for the disk. */
int fsync(int fd)
{
    (void)fd;
    if (is_last())
        die();
    return 0;
}

int fdatasync(int fd)
{
    return fsync(fd);
}

int rename(const char *from, const char *to)
{
    if (is_last())
        die();
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    if (is_last())
        die();
    return (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
}

int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int symlink(const char *to, const char *name)
{
    if (is_last())
        die();
    return symlinkat(to, AT_FDCWD, name);
}

int unlink(const char *name)
{
    if (is_last())
        die();
    return unlinkat(AT_FDCWD, name, 0);
}

int access(const char *name, int mode)
{
    if (counting && shared->named && strcmp(name, "/proc/self/fd") == 0) {
        errno = ENOENT;
        return -1;
    }
    return faccessat(AT_FDCWD, name, mode, 0);
}

/* ---- a run in a process of its own ------------------------------------------------------- */

static const char *const sets[] = {"train.checkpoint={every: 1, steps: 2}", NULL};
static const char *model_file = "zoo.yaml"; /* "nameless.yaml": without names of classes */

static int train(const char *out, bool resume)
{
    struct gr_error err = {0};
    struct gr_train_result result;
    const struct gr_context_options one = {.threads = 1};
    const struct gr_model_options seeded = {.sets = sets, .n_sets = 1, .seed = 1};
    const struct gr_train_options options = {.out = out, .resume = resume ? out : NULL, .keep = 3};
    struct gr_context *context = gr_context_new(gr_standard_ops(), &one, &err);
    struct gr_model *model =
        context ? gr_model_load(context, gr_api_path(model_file), &seeded, &err) : NULL;
    const bool ok = model && gr_train(model, &options, &result, &err);
    if (!ok && err.status != GR_ERR_DATA)
        fprintf(stderr, "%s\n", err.message);
    gr_model_free(model);
    gr_context_free(context);
    return ok ? GR_OK : (int)err.status;
}

static pid_t start(const char *out, bool resume, int die_at)
{
    shared->die_at = die_at;
    shared->count = 0;
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid)
        return pid;
    counting = true;
    _exit(train(out, resume));
}

/* -1: it was killed. */
static int end(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return -1;
    }
    return WEXITSTATUS(status);
}

/* Goes on, or begins anew where the run did not come to a first checkpoint. */
static int go_on(const char *out, int die_at)
{
    int status = end(start(out, true, die_at));
    if (status == GR_ERR_DATA)
        status = end(start(out, false, die_at));
    return status;
}

static const char *reference(int *moments)
{
    const char *out = gr_api_path("whole");
    assert_int_equal(end(start(out, false, 0)), 0);
    *moments = shared->count;
    return out;
}

static void finish_and_compare(const char *whole, const char *out)
{
    assert_int_equal(go_on(out, 0), 0);
    gr_run_files_expect_same(whole, out);
}

static const char *numbered(const char *name, int number)
{
    char text[64];
    snprintf(text, sizeof text, "%s%d", name, number);
    return gr_api_path(text);
}

static int set_up(void **state)
{
    if (gr_folder_set_up(state) != 0)
        return -1;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    gr_api_write("zoo.yaml", gr_api_zoo);
    char *nameless = strdup(gr_api_zoo), *names = strstr(nameless, "class_names");
    memmove(names, strchr(names, '\n') + 1, strlen(strchr(names, '\n')));
    gr_api_write("nameless.yaml", nameless);
    free(nameless);
    return shared == MAP_FAILED ? -1 : 0;
}

/* The seed of this test's moments. */
static void draw_by(unsigned test)
{
    const char *given = getenv("GR_SEED");
    static unsigned seed;
    if (!seed) {
        seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)(time(NULL) ^ getpid() << 16);
        print_message("GR_SEED=%u draws these moments again\n", seed);
    }
    srand(seed + test);
}

/* ---- tests ------------------------------------------------------------------------------- */

/* One random moment in each of so many equal parts of the run. */
static void kill_all_over(const char *whole, int moments, bool named)
{
    shared->named = named;
    for (int i = 0; i < COUNTED / 2; i++) {
        const int part = moments / (COUNTED / 2);
        const int at = 1 + i * part + rand() % part;
        const char *out = numbered(named ? "named" : "nameless", i);
        const int status = end(start(out, false, at));
        assert_true(status == -1 || status == 0); /* the page is not always written as often */
        finish_and_compare(whole, out);
    }
    shared->named = false;
}

static void a_run_killed_at_any_write_goes_on_to_the_same_files(void **state)
{
    (void)state;
    int moments;
    const char *whole = reference(&moments);
    assert_true(moments > 100);
    draw_by(0);
    kill_all_over(whole, moments, false);
    kill_all_over(whole, moments, true);
    print_message("of %d moments, %d in a checkpoint's and %d in the training's thread were hit\n",
                  moments, shared->in_checkpoint, shared->elsewhere);
    assert_true(shared->in_checkpoint + shared->elsewhere >= 50);
    assert_true(shared->in_checkpoint >= COUNTED / 4);
    assert_true(shared->elsewhere > 0); /* about one in seven */
}

static void a_run_killed_from_outside_goes_on_to_the_same_files(void **state)
{
    (void)state;
    int moments;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    const char *whole = reference(&moments);
    clock_gettime(CLOCK_MONOTONIC, &after);
    const double took =
        (double)(after.tv_sec - before.tv_sec) + 1e-9 * (double)(after.tv_nsec - before.tv_nsec);
    draw_by(1);
    int killed = 0;
    for (int i = 0; i < TIMED; i++) {
        const double wait = took * ((double)i + (double)rand() / RAND_MAX) / TIMED;
        const struct timespec time = {(time_t)wait, (long)((wait - (double)(time_t)wait) * 1e9)};
        const char *out = numbered("outside", i);
        const pid_t pid = start(out, false, 0);
        nanosleep(&time, NULL);
        kill(pid, SIGKILL);
        killed += end(pid) < 0;
        finish_and_compare(whole, out);
    }
    print_message("%d of %d were killed before they ended\n", killed, TIMED);
    assert_true(killed > 0);
}

/* Each process comes only a little further than the one before. */
static void a_run_killed_again_and_again_goes_on_to_the_same_files(void **state)
{
    (void)state;
    model_file = "nameless.yaml";
    int moments, tries = 0, status = -1;
    const char *whole = reference(&moments), *out = gr_api_path("chain");
    draw_by(2);
    for (; status && tries < MOST_TRIES; tries++)
        status = go_on(out, moments / CHAIN + rand() % (moments / CHAIN));
    assert_int_equal(status, 0);
    assert_true(tries > 3);
    gr_run_files_expect_same(whole, out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_run_killed_at_any_write_goes_on_to_the_same_files),
        TEST(a_run_killed_from_outside_goes_on_to_the_same_files),
        TEST(a_run_killed_again_and_again_goes_on_to_the_same_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
