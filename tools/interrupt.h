/*
 * Ctrl-C, termination and a closed terminal while there is something to save: the first signal is a
 * request, which the work looks at between two steps; the second ends the process at once.
 */
#ifndef GR_TOOLS_INTERRUPT_H
#define GR_TOOLS_INTERRUPT_H

#include <stdbool.h>

void gr_interrupt_watch(void);

/* The same for SIGUSR1, which asks to save and go on. */
void gr_interrupt_watch_save(void);

/* Has it come since the last call? */
bool gr_interrupt_save(void);

/* The signal that came since, or 0. The exit code is 128 more. */
int gr_interrupt_signal(void);

#endif
