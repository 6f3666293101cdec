/*
 * Between the functions that can fail (faults_calls.c) and what decides (faults.c).
 */
#ifndef GR_TESTS_FAULTS_DECIDE_H
#define GR_TESTS_FAULTS_DECIDE_H

#include "faults.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

/* Is this kind armed, on this thread? */
bool gr_faults_armed(enum gr_fault kind);

/* Counts a call, where the caller's calls count; is it to fail? */
bool gr_faults_decide(enum gr_fault kind, const void *caller);

void gr_faults_allocated(const void *memory, const void *caller);
void gr_faults_freed(const void *memory);

#endif
