/*
 * Patterns of names: "*" is any text, "?" any character, "[ab]" one of these. Names are dotted, and
 * a pattern that matches one up to a dot matches it: "conv1" and "conv*" both match
 * "conv1.weight".
 */
#ifndef GR_BASE_PATTERN_H
#define GR_BASE_PATTERN_H

#include "base/error.h"

#include <stddef.h>

bool gr_pattern_matches(const char *pattern, const char *name);
bool gr_pattern_matches_any(const char *const *patterns, size_t n_patterns, const char *name);

/*
 * A usage error unless each pattern matches a name: "freeze: 'cnov*' matches no node of the model;
 * did you mean 'conv*'?". what: "freeze"; names_are: "node of the model".
 */
bool gr_patterns_check(const char *what, const char *const *patterns, size_t n_patterns,
                       const char *names_are, const char *const *names, size_t n_names,
                       struct gr_error *err);

#endif
