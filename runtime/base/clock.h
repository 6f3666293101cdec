/*
 * Time that has passed.
 */
#ifndef GR_BASE_CLOCK_H
#define GR_BASE_CLOCK_H

/* Seconds of a clock that only goes forward, from a start of its own. */
double gr_seconds(void);

#endif
