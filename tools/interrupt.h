/*
 * Ctrl-C and termination while there is something to save: the first signal is a request, which the
 * work looks at between two steps; the second ends the process at once.
 */
#ifndef GR_TOOLS_INTERRUPT_H
#define GR_TOOLS_INTERRUPT_H

void gr_interrupt_watch(void);

/* The signal that came since, or 0. The exit code is 128 more. */
int gr_interrupt_signal(void);

#endif
