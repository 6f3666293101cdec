/*
 * Patterns of names; see pattern.h.
 */
#include "base/pattern.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 512 };

bool gr_pattern_matches(const char *pattern, const char *name)
{
    if (fnmatch(pattern, name, FNM_NOESCAPE) == 0)
        return true;
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
        char head[LONGEST];
        const size_t length = (size_t)(dot - name);
        if (length >= sizeof head)
            break;
        memcpy(head, name, length);
        head[length] = '\0';
        if (fnmatch(pattern, head, FNM_NOESCAPE) == 0)
            return true;
    }
    return false;
}

bool gr_pattern_matches_any(const char *const *patterns, size_t n_patterns, const char *name)
{
    for (size_t i = 0; i < n_patterns; i++)
        if (gr_pattern_matches(patterns[i], name))
            return true;
    return false;
}

/* ---- suggestions ------------------------------------------------------------------------- */

static bool matches_one(const char *pattern, const char *const *names, size_t n_names)
{
    for (size_t i = 0; i < n_names; i++)
        if (gr_pattern_matches(pattern, names[i]))
            return true;
    return false;
}

/*
 * Tries the first length characters of name in the place of the pattern's text before its first
 * wildcard; writes the pattern so made if it is like the old one and matches something.
 */
static bool propose(const char *pattern, const char *name, size_t length, const char *const *names,
                    size_t n_names, char suggestion[LONGEST])
{
    const size_t plain = strcspn(pattern, "*?[");
    char head[LONGEST], start[LONGEST];
    if (!length || length > strlen(name) || plain >= LONGEST || length >= LONGEST)
        return false;
    snprintf(head, sizeof head, "%.*s", (int)plain, pattern);
    snprintf(start, sizeof start, "%.*s", (int)length, name);
    const char *const candidate = start;
    snprintf(suggestion, LONGEST, "%s%s", start, pattern + plain);
    return gr_nearest(head, &candidate, 1) && matches_one(suggestion, names, n_names);
}

/* The pattern that may have been meant; NULL: none. */
static const char *suggest(const char *pattern, const char *const *names, size_t n_names,
                           char suggestion[LONGEST])
{
    const size_t plain = strcspn(pattern, "*?[");
    for (size_t i = 0; i < n_names; i++) {
        const size_t name = strlen(names[i]), node = strcspn(names[i], ".");
        const size_t lengths[] = {plain + 1, plain, plain - 1, node, name};
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
            if ((pattern[plain] || lengths[k] == node || lengths[k] == name) &&
                propose(pattern, names[i], lengths[k], names, n_names, suggestion))
                return suggestion;
    }
    return NULL;
}

bool gr_patterns_check(const char *what, const char *const *patterns, size_t n_patterns,
                       const char *names_are, const char *const *names, size_t n_names,
                       struct gr_error *err)
{
    for (size_t i = 0; i < n_patterns; i++) {
        char text[LONGEST];
        if (matches_one(patterns[i], names, n_names))
            continue;
        const char *near = suggest(patterns[i], names, n_names, text);
        return gr_fail(err, GR_ERR_USAGE, "%s: '%s' matches no %s%s%s%s", what, patterns[i],
                       names_are, near ? "; did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
    }
    return true;
}
