/*
 * Signals as requests; see interrupt.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sigaction, SA_RESTART */
#endif
#include "interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t came, save;

static void note(int number)
{
    if (came)
        _exit(128 + number);
    came = number;
}

static void note_save(int number)
{
    save = number;
}

static void watch(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

void gr_interrupt_watch(void)
{
    watch(SIGINT, note);
    watch(SIGTERM, note);
}

void gr_interrupt_watch_save(void)
{
    watch(SIGUSR1, note_save);
}

bool gr_interrupt_save(void)
{
    const bool wanted = save != 0;
    save = 0;
    return wanted;
}

int gr_interrupt_signal(void)
{
    return came;
}
