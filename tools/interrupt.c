/*
 * Signals as requests; see interrupt.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sigaction, SA_RESTART */
#endif
#include "interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

/* A handler may run in any thread, beside the one that asks. */
static atomic_int came;
static atomic_bool save;
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_BOOL_LOCK_FREE == 2, "a handler takes no lock");

static void note(int number)
{
    if (atomic_exchange(&came, number))
        _exit(128 + number);
}

static void note_save(int number)
{
    (void)number;
    atomic_store(&save, true);
}

static void watch(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* The terminal is closed; nohup has it ignored. */
static void watch_hangup(void)
{
    struct sigaction before;
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        watch(SIGHUP, note);
}

void gr_interrupt_watch(void)
{
    watch(SIGINT, note);
    watch(SIGTERM, note);
    watch_hangup();
}

void gr_interrupt_watch_save(void)
{
    watch(SIGUSR1, note_save);
}

bool gr_interrupt_save(void)
{
    return atomic_exchange(&save, false);
}

int gr_interrupt_signal(void)
{
    return atomic_load(&came);
}
