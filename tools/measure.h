/*
 * What the process uses: time and memory.
 */
#ifndef GR_TOOLS_MEASURE_H
#define GR_TOOLS_MEASURE_H

#include <stddef.h>

/* Of a clock that never goes back. */
double gr_measure_seconds(void);

/* Resident memory now, and the most since the start or the last reset; 0 where /proc says nothing.
 */
size_t gr_measure_resident(void);
size_t gr_measure_peak(void);

/* Forgets the peak, where the system allows it. */
void gr_measure_reset_peak(void);

#endif
