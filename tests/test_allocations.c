/*
 * Running a program allocates nothing: the allocator is watched while a step runs, and an
 * allocation counts when its caller is our own code, or the C library on its behalf. What oneDNN,
 * OpenBLAS and the OpenMP runtime do inside is theirs.
 *
 * Without sanitizers the allocator is interposed here; with gcc's address sanitizer, whose
 * allocator cannot be, through its hook. Elsewhere (clang's sanitizer) the tests are skipped.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_check.h"
#include "support/small_net.h"

enum { FRAMES = 12, CALLERS = 8 };

static atomic_int watching, n_counted;
static void *callers[CALLERS]; /* the first that were counted */

#ifdef __clang__
#if __has_feature(address_sanitizer)
#define CANNOT_WATCH /* clang's sanitizer is linked into this binary: what is ours cannot be told  \
                      */
#endif
#endif
#if !defined(__GLIBC__) && !defined(CANNOT_WATCH)
#define CANNOT_WATCH
#endif

#ifndef CANNOT_WATCH

/* Is the code at this address in the library of that name? */
static bool lies_in(const void *address, const char *library)
{
    Dl_info info;
    return dladdr(address, &info) && info.dli_fname && strstr(info.dli_fname, library);
}

/* Our code is linked into this very binary. */
static bool is_ours(const void *address)
{
    Dl_info mine, theirs;
    return dladdr(callers, &mine) && dladdr(address, &theirs) && mine.dli_fbase == theirs.dli_fbase;
}

static void count(void *caller)
{
    const int at = atomic_fetch_add(&n_counted, 1);
    if (at < CALLERS)
        callers[at] = caller;
}

#endif

#if defined(__SANITIZE_ADDRESS__) && !defined(CANNOT_WATCH)

typedef void malloc_hook(const volatile void *memory, size_t bytes);
typedef void free_hook(const volatile void *memory);
extern int __sanitizer_install_malloc_and_free_hooks(malloc_hook *on_malloc, free_hook *on_free);

/* The frames: the sanitizer's backtrace, this function, the sanitizer's allocator, its caller. */
static void on_malloc(const volatile void *memory, size_t bytes)
{
    (void)memory, (void)bytes;
    if (!atomic_exchange(&watching, 0))
        return;
    void *frames[FRAMES];
    const int n = backtrace(frames, FRAMES);
    int i = 0;
    while (i < n && !is_ours(frames[i]))
        i++;
    for (i++; i < n && lies_in(frames[i], "libasan");)
        i++;
    if (i < n && (is_ours(frames[i]) || lies_in(frames[i], "/libc.so")))
        count(frames[i]);
    atomic_store(&watching, 1);
}

static void on_free(const volatile void *memory)
{
    (void)memory;
}

static bool can_watch(void)
{
    static bool installed;
    void *frames[FRAMES];
    backtrace(frames, FRAMES); /* the first call loads a library */
    installed = installed || __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) > 0;
    return installed;
}

#elif !defined(CANNOT_WATCH)

/* Not inlined: the return address is to be the caller's. */
#define OUTSIDE __attribute__((noinline))

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);

static void note(void *caller)
{
    if (!atomic_exchange(&watching, 0))
        return;
    if (is_ours(caller) || lies_in(caller, "/libc.so"))
        count(caller);
    atomic_store(&watching, 1);
}

OUTSIDE void *malloc(size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_malloc(bytes);
}

OUTSIDE void *calloc(size_t items, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_calloc(items, bytes);
}

OUTSIDE void *realloc(void *memory, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_realloc(memory, bytes);
}

OUTSIDE void *aligned_alloc(size_t align, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_memalign(align, bytes);
}

OUTSIDE int posix_memalign(void **memory, size_t align, size_t bytes)
{
    note(__builtin_return_address(0));
    *memory = __libc_memalign(align, bytes);
    return *memory ? 0 : ENOMEM;
}

static bool can_watch(void)
{
    return true;
}

#else

static bool can_watch(void)
{
    return false;
}

#endif

static void start_watching(void)
{
    if (!can_watch())
        skip();
    atomic_store(&n_counted, 0);
    atomic_store(&watching, 1);
}

static int stop_watching(void)
{
    atomic_store(&watching, 0);
    return atomic_load(&n_counted);
}

static void count_timing(void *user, const struct gr_timing *timing)
{
    (void)timing;
    ++*(size_t *)user;
}

/* traced: while each execution of a node is told, too. */
static void expect_none(const struct gr_net_options *options, bool traced)
{
    struct gr_net net;
    size_t told = 0;
    gr_net_init(&net, options);
    if (traced)
        gr_program_trace(net.program, count_timing, &told);
    gr_net_run(&net, 0); /* libraries may set themselves up at first */
    start_watching();
    for (uint64_t step = 1; step < 4; step++)
        gr_net_run(&net, step);
    if (stop_watching()) {
        Dl_info info = {0};
        dladdr(callers[0], &info);
        fail_msg("%d allocations, the first from %s+0x%zx", atomic_load(&n_counted),
                 info.dli_fname ? info.dli_fname : "?",
                 (size_t)((char *)callers[0] - (char *)info.dli_fbase));
    }
    assert_int_equal(told > 0, traced);
    gr_net_release(&net);
}

static void expect_none_while_running(const struct gr_net_options *options)
{
    expect_none(options, false);
}

static void the_watch_sees_our_own_allocations(void **state)
{
    (void)state;
    void *volatile memory[3];
    start_watching();
    memory[0] = malloc(100);
    memory[1] = calloc(3, 7);
    memory[2] = aligned_alloc(64, 128);
    const int counted = stop_watching();
    for (int i = 0; i < 3; i++)
        free(memory[i]);
    assert_int_equal(counted, 3);
}

static void a_training_step_allocates_nothing(void **state)
{
    (void)state;
    expect_none_while_running(
        &(struct gr_net_options){.batch = 4, .training = true, .update = true});
}

static void a_training_step_of_the_independent_kernels_allocates_nothing(void **state)
{
    (void)state;
    expect_none_while_running(&(struct gr_net_options){
        .batch = 4, .training = true, .update = true, .kernels = GR_KERNELS_OPENBLAS});
}

static void steps_of_chosen_kernels_and_in_bf16_allocate_nothing(void **state)
{
    (void)state;
    static const char *const choices[] = {"winograd", "winograd 6x6", "flipped"};
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        expect_none_while_running(&(struct gr_net_options){
            .batch = 4, .training = true, .update = true, .program = {.choice = choices[i]}});
    if (gr_check_has_bf16())
        expect_none_while_running(
            &(struct gr_net_options){.batch = 4,
                                     .training = true,
                                     .update = true,
                                     .program = {.precision = GR_PRECISION_BF16}});
}

static void inference_allocates_nothing(void **state)
{
    (void)state;
    expect_none_while_running(&(struct gr_net_options){.batch = 4});
    expect_none_while_running(&(struct gr_net_options){.batch = 4, .kernels = GR_KERNELS_OPENBLAS});
}

/* Lanes of one thread. With more threads OpenMP may start some anew, whether in lanes or not. */
static void lanes_allocate_nothing(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_net_options options = {.batch = 4,
                                     .training = true,
                                     .update = true,
                                     .branching = true,
                                     .threads = 2,
                                     .program.choice = "direct"};
    struct gr_net net;
    struct gr_tuning *tuning = options.program.tuning = gr_tuning_new(true, &err);
    assert_non_null(tuning);
    gr_net_init(&net, &options);
    gr_net_release(&net);
    assert_true(gr_tuning_count(tuning) > 0);
    for (size_t k = 0; k < gr_tuning_count(tuning); k++)
        assert_true(gr_tuning_record(tuning, gr_tuning_entry(tuning, k).key, "lanes:2", 1,
                                     GR_TUNING_MEASURED, &err));
    expect_none_while_running(&options);
    gr_tuning_free(tuning);
}

static void checked_and_poisoned_steps_allocate_nothing(void **state)
{
    (void)state;
    expect_none_while_running(&(struct gr_net_options){
        .batch = 4,
        .training = true,
        .update = true,
        .program = {.check_finite = true, .poison = true, .no_fusion = true}});
}

static void a_traced_step_allocates_nothing(void **state)
{
    (void)state;
    expect_none(&(struct gr_net_options){.batch = 4, .training = true, .update = true}, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_watch_sees_our_own_allocations),
        cmocka_unit_test(a_training_step_allocates_nothing),
        cmocka_unit_test(a_training_step_of_the_independent_kernels_allocates_nothing),
        cmocka_unit_test(steps_of_chosen_kernels_and_in_bf16_allocate_nothing),
        cmocka_unit_test(inference_allocates_nothing),
        cmocka_unit_test(lanes_allocate_nothing),
        cmocka_unit_test(checked_and_poisoned_steps_allocate_nothing),
        cmocka_unit_test(a_traced_step_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
