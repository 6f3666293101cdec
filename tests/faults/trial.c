/*
 * Work tried with failing calls; see trial.h.
 */
#define _GNU_SOURCE
#include "trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "support/folder.h"
#include "trial_files.h"

enum { PATHS = 100, WAYS = 1 << 16, MOST_CALLS = 1 << 17, LOG = 1 << 14 };

static char log_text[LOG];
static int warnings;
static uint64_t digest;
static struct gr_context *context;

/* ---- what work sees ---------------------------------------------------------------------- */

void gr_trial_note(const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        digest = (digest ^ ((const unsigned char *)data)[i]) * 1099511628211u;
}

void gr_trial_note_text(const char *text)
{
    gr_trial_note(text ? text : "(none)", text ? strlen(text) + 1 : 1);
}

const char *gr_trial_path(const char *name)
{
    static char paths[PATHS][GR_FOLDER_PATH];
    static int next;
    next = (next + 1) % PATHS;
    return gr_folder_file(name, paths[next]);
}

const char *gr_trial_out(const char *name)
{
    char inside[GR_FOLDER_PATH / 2];
    snprintf(inside, sizeof inside, "out%s%s", *name ? "/" : "", name);
    return gr_trial_path(inside);
}

static void log_line(void *user, enum gr_log_level level, const char *text)
{
    const size_t length = strlen(log_text);
    (void)user;
    warnings += level <= GR_LOG_WARNING;
    snprintf(log_text + length, sizeof log_text - length, "%s\n", text);
}

static struct gr_context *context_new(struct gr_error *err)
{
    const struct gr_context_options options = {.threads = 1, .log = log_line};
    return gr_context_new(gr_standard_ops(), &options, err);
}

struct CMUnitTest gr_fault_test(void (*try_all)(void **state), enum gr_fault kind)
{
    static enum gr_fault kinds[GR_FAULT_KINDS];
    kinds[kind] = kind;
    return (struct CMUnitTest){
        .name = gr_fault_name(kind), .test_func = try_all, .initial_state = &kinds[kind]};
}

int gr_trial_set_up(void **state)
{
    struct gr_error err = {0};
    if (gr_folder_set_up(state) != 0)
        return -1;
    context = context_new(&err);
    return context ? 0 : -1;
}

int gr_trial_tear_down(void **state)
{
    gr_context_free(context);
    return gr_folder_tear_down(state);
}

struct gr_context *gr_trial_context(void)
{
    return context;
}

void gr_trial_write(const char *name, const char *text)
{
    FILE *file = fopen(gr_trial_path(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

void gr_trial_ok(bool ok, const struct gr_error *err)
{
    if (!ok)
        fail_msg("%s\n%s", err->message, log_text);
}

/* ---- one run ----------------------------------------------------------------------------- */

static int entries_of(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

/* What a run came to. */
struct run {
    bool done;
    int warnings;
    struct gr_error err;
    uint64_t digest;
    struct gr_faults_seen seen;
    int descriptors, threads; /* more than before */
};

static void reset(const struct gr_trial *trial)
{
    gr_trial_files_reset(gr_trial_out(""), trial->before ? gr_trial_path(trial->before) : NULL);
}

static struct run run_once(const struct gr_trial *trial, enum gr_fault kind, size_t nth,
                           bool onwards)
{
    struct run run = {0};
    reset(trial);
    digest = 1469598103934665603u;
    warnings = 0;
    log_text[0] = '\0';
    const int descriptors = entries_of("/proc/self/fd"), threads = entries_of("/proc/self/task");
    gr_faults_arm(kind, nth, onwards);
    struct gr_context *own = context_new(&run.err);
    run.done = own && trial->work(own, &run.err);
    gr_context_free(own);
    run.seen = gr_faults_disarm();
    run.digest = digest;
    run.warnings = warnings;
    run.descriptors = entries_of("/proc/self/fd") - descriptors;
    for (int i = 0; i < 100 && (run.threads = entries_of("/proc/self/task") - threads) > 0; i++)
        nanosleep(&(struct timespec){0, 1000000},
                  NULL); /* one that was joined may still be listed */
    return run;
}

/* ---- judging ----------------------------------------------------------------------------- */

struct trying {
    const struct gr_trial *trial;
    enum gr_fault kind;
    struct run usual;
    struct gr_trial_files *usual_files, *before;
    const struct gr_faults_seen *seen;
    size_t nth, failures, n_bad;
    bool onwards;
};

/* Where in this program the failed call was made, for addr2line. */
static void print_way(const struct gr_faults_seen *seen)
{
    for (int i = 0; i < GR_FAULT_FRAMES && seen->failed[i]; i++) {
        Dl_info info = {0};
        dladdr(seen->failed[i], &info);
        const char *slash = info.dli_fname ? strrchr(info.dli_fname, '/') : NULL;
        fprintf(stderr, " %s+0x%zx", slash ? slash + 1 : "?",
                (size_t)((const char *)seen->failed[i] - (const char *)info.dli_fbase));
    }
    fputc('\n', stderr);
}

static void bad(struct trying *trying, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void bad(struct trying *trying, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s, %s %zu%s: ", trying->trial->name, gr_fault_name(trying->kind), trying->nth,
            trying->onwards ? " and all after" : "");
    vfprintf(stderr, format, args);
    fputs("\n   ", stderr);
    va_end(args);
    print_way(trying->seen);
    trying->n_bad++;
}

/* How a failure must be told, for each kind: one of these texts. */
static const char *const reasons[GR_FAULT_KINDS][3] = {
    [GR_FAULT_MEMORY] = {"out of memory", "annot allocate memory", "not enough memory"},
    [GR_FAULT_OPEN] = {"Too many open files"},
    [GR_FAULT_READ] = {"Input/output error"},
    [GR_FAULT_WRITE] = {"No space left", "Input/output error"},
    [GR_FAULT_THREAD] = {"temporarily unavailable"},
    [GR_FAULT_MAP] = {"out of memory", "annot allocate memory"},
    [GR_FAULT_ONEDNN] = {"out of memory"},
    [GR_FAULT_SHORT] = {""},
};

static bool tells(enum gr_fault kind, const char *message)
{
    for (int i = 0; i < 3 && reasons[kind][i]; i++)
        if (strstr(message, reasons[kind][i]))
            return true;
    return false;
}

/* A file that cannot be read may be the model's or the data's fault, all else is the machine's. */
static bool is_status(enum gr_fault kind, enum gr_status status)
{
    return status == GR_ERR_RUNTIME ||
           (kind == GR_FAULT_READ && (status == GR_ERR_DATA || status == GR_ERR_MODEL));
}

static void judge(struct trying *trying, const struct run *run)
{
    trying->seen = &run->seen;
    const bool told = run->warnings > trying->usual.warnings;
    const enum gr_status expected = trying->trial->fails;
    if (run->done && (run->err.status || expected))
        bad(trying, "done, but with an error: %s", run->err.message);
    const bool judged = trying->trial->judges && trying->kind == GR_FAULT_READ;
    if (run->done && run->digest != trying->usual.digest && !told && !judged)
        bad(trying, "other results than usual, without a word");
    if (!run->done && run->err.status == GR_OK)
        bad(trying, "failed without an error");
    if (!run->done && run->err.status && !(expected && run->err.status == expected) &&
        !(is_status(trying->kind, run->err.status) &&
          (tells(trying->kind, run->err.message) || tells(trying->kind, log_text))))
        bad(trying, "wrong error %d: %s", (int)run->err.status, run->err.message);
    if (run->seen.live) {
        Dl_info info = {0};
        dladdr(run->seen.live_caller, &info);
        bad(trying, "%zu allocations left, one by %s+0x%zx", run->seen.live,
            info.dli_fname ? info.dli_fname : "?",
            (size_t)((const char *)run->seen.live_caller - (const char *)info.dli_fbase));
    }
    if (run->descriptors || run->threads)
        bad(trying, "%d descriptors and %d threads left", run->descriptors, run->threads);
    const char *wrong = gr_trial_files_compare(trying->usual_files, trying->before,
                                               gr_trial_out(""), trying->trial->leaves,
                                               !run->done ? GR_TRIAL_FAILED
                                               : told     ? GR_TRIAL_WARNED
                                                          : GR_TRIAL_DONE);
    if (wrong)
        bad(trying, "%s", wrong);
    trying->failures += !run->done;
}

/* ---- which calls ------------------------------------------------------------------------- */

static uint64_t known[WAYS]; /* ways to calls that were tried, of all trials */

static bool is_new(uint64_t way)
{
    size_t i = way % WAYS;
    while (known[i] && known[i] != way)
        i = (i + 1) % WAYS;
    if (known[i])
        return false;
    known[i] = way;
    return true;
}

/* The calls to try, at most MOST_CALLS. */
static size_t choose(size_t calls, size_t *chosen)
{
    const char *wish = getenv("GR_FAULTS");
    const bool all = wish && strcmp(wish, "all") == 0;
    const size_t most = wish && !all ? strtoul(wish, NULL, 10) : MOST_CALLS;
    size_t n = 0;
    for (size_t i = 1; i <= calls && n < MOST_CALLS; i++)
        if (all || is_new(gr_faults_way(i)))
            chosen[n++] = i;
    if (n > most) { /* these in even steps */
        for (size_t i = 0; i < most; i++)
            chosen[i] = chosen[i * n / most];
        n = most;
    }
    return n;
}

/* What the work does without faults. */
static void try_usual(struct trying *trying)
{
    static struct gr_trial_files usual, before;
    const struct gr_trial *trial = trying->trial;
    usual.count = before.count = 0;
    trying->usual_files = &usual;
    trying->before = &before;
    reset(trial);
    gr_trial_files_list(&before, gr_trial_out(""));
    /* To arm these calls without a number has an effect, to arm all others has none. */
    const enum gr_fault kind = trying->kind == GR_FAULT_SHORT ? GR_FAULT_READ : trying->kind;
    run_once(trial, kind, 0, false); /* libraries may set themselves up at first */
    gr_trial_files_list(&usual, gr_trial_out(""));
    trying->usual = run_once(trial, kind, 0, false);
    gr_trial_files_list(&usual, gr_trial_out(""));
    if (trying->usual.err.status != trial->fails || trying->usual.done != !trial->fails)
        fail_msg("%s: %s\n%s", trial->name, trying->usual.err.message, log_text);
    judge(trying, &trying->usual);
    trying->failures = 0;
}

/* All reads and writes are short or interrupted at once, and all comes out as usual. */
static size_t try_short(struct trying *trying)
{
    const struct run run = run_once(trying->trial, GR_FAULT_SHORT, 0, false);
    judge(trying, &run);
    if (run.done != trying->usual.done || run.warnings > trying->usual.warnings)
        bad(trying, "short calls are told as faults: %s\n%s", run.err.message, log_text);
    print_message("           %s, short: %s\n", trying->trial->name, run.done ? "done" : "failed");
    return trying->n_bad;
}

size_t gr_trial_run(const struct gr_trial *trial, enum gr_fault kind)
{
    static size_t chosen[MOST_CALLS];
    struct trying trying = {.trial = trial, .kind = kind};
    try_usual(&trying);
    if (kind == GR_FAULT_SHORT)
        return try_short(&trying);
    const size_t n = choose(trying.usual.seen.calls, chosen);
    for (size_t i = 0; i < n; i++)
        for (int onwards = 0; onwards < 2; onwards++) {
            trying.nth = chosen[i];
            trying.onwards = onwards;
            const struct run run = run_once(trial, kind, chosen[i], onwards);
            judge(&trying, &run);
        }
    print_message("           %s, %s: %zu calls, %zu tried; %zu of %zu runs failed\n", trial->name,
                  gr_fault_name(kind), trying.usual.seen.calls, n, trying.failures, 2 * n);
    return trying.n_bad;
}
