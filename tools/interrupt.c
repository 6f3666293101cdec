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

static volatile sig_atomic_t came;

static void note(int number)
{
    if (came)
        _exit(128 + number);
    came = number;
}

void gr_interrupt_watch(void)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int gr_interrupt_signal(void)
{
    return came;
}
