/*
 * Patterns of file names; see shards.h.
 */
#define _DEFAULT_SOURCE
#include "data/shards.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATHS_MAX = 1000000, DIGITS_MAX = 9, PATH_BYTES_MAX = 4095 };

struct expansion {
    const char *pattern;
    struct gr_pool *pool;
    struct gr_names *paths;
};

static bool fail_pattern(const struct expansion *x, const char *what, struct gr_error *err)
{
    return gr_fail(err, GR_ERR_DATA, "%s: %s", x->pattern, what);
}

/* A path without braces. */
static bool add(const struct expansion *x, const char *path, struct gr_error *err)
{
    glob_t found = {0};
    bool done = true;
    if (x->paths->count >= PATHS_MAX)
        return fail_pattern(x, "stands for more than a million files", err);
    if (!strpbrk(path, "*?["))
        return gr_names_add(x->paths, x->pool, path) || gr_fail_memory(err, path);
    errno = 0;
    const int status = glob(path, GLOB_ERR, NULL, &found);
    if (status == GLOB_NOSPACE || (status == GLOB_ABORTED && gr_is_shortage(errno)))
        done =
            gr_fail_system(err, GR_ERR_RUNTIME, errno ? errno : ENOMEM, "cannot look there", path);
    else if (status == GLOB_NOMATCH)
        done = gr_fail(err, GR_ERR_DATA, "%s: there is no such file", path);
    else if (status != 0)
        done = gr_fail(err, GR_ERR_DATA, "%s: cannot look there", path);
    for (size_t i = 0; done && i < found.gl_pathc; i++)
        done = gr_names_add(x->paths, x->pool, found.gl_pathv[i]) || gr_fail_memory(err, path);
    globfree(&found);
    return done;
}

/* The number that ends the digits at *text, which moves behind them; -1: none, or too long. */
static long digits_at(const char **text, int *count)
{
    *count = (int)strspn(*text, "0123456789");
    if (!*count || *count > DIGITS_MAX)
        return -1;
    const long number = strtol(*text, NULL, 10);
    *text += *count;
    return number;
}

static bool expand(const struct expansion *x, const char *path, struct gr_error *err);

/* head, a middle and tail make a path, which may have more braces. */
static bool join(const struct expansion *x, const char *path, size_t head, const char *middle,
                 int middle_length, const char *tail, struct gr_error *err)
{
    struct gr_pool scrap = {0};
    const char *joined =
        gr_pool_printf(&scrap, "%.*s%.*s%s", (int)head, path, middle_length, middle, tail);
    const bool done = joined ? expand(x, joined, err) : gr_fail_memory(err, path);
    gr_pool_release(&scrap);
    return done;
}

/* "000..012" between braces. */
static bool expand_range(const struct expansion *x, const char *path, const char *open,
                         const char *close, struct gr_error *err)
{
    const char *at = open + 1;
    int width = 0, last_width = 0;
    const long first = digits_at(&at, &width);
    if (first < 0 || strncmp(at, "..", 2) != 0)
        return fail_pattern(x, "between braces must be a range 000..012 or a choice a,b", err);
    at += 2;
    const long last = digits_at(&at, &last_width);
    if (last < first || at != close)
        return fail_pattern(x, "between braces must be a range 000..012 or a choice a,b", err);
    if (last - first >= PATHS_MAX)
        return fail_pattern(x, "stands for more than a million files", err);
    for (long i = first; i <= last; i++) {
        char number[32];
        const int length = snprintf(number, sizeof number, "%0*ld", width, i);
        if (!join(x, path, (size_t)(open - path), number, length, close + 1, err))
            return false;
    }
    return true;
}

static bool expand_choice(const struct expansion *x, const char *path, const char *open,
                          const char *close, struct gr_error *err)
{
    for (const char *at = open + 1; at <= close;) {
        const size_t length = strcspn(at, ",}");
        if (!join(x, path, (size_t)(open - path), at, (int)length, close + 1, err))
            return false;
        at += length + 1;
    }
    return true;
}

static bool expand(const struct expansion *x, const char *path, struct gr_error *err)
{
    const char *open = strchr(path, '{');
    if (strlen(path) > PATH_BYTES_MAX)
        return gr_fail(err, GR_ERR_DATA, "%.100s...: longer than a path may be, which is %d bytes",
                       path, PATH_BYTES_MAX);
    if (!open)
        return add(x, path, err);
    const char *close = strpbrk(open + 1, "{}");
    if (!close || *close == '{')
        return fail_pattern(
            x, close ? "braces within braces are not understood" : "a brace is not closed", err);
    return memchr(open, ',', (size_t)(close - open)) ? expand_choice(x, path, open, close, err)
                                                     : expand_range(x, path, open, close, err);
}

bool gr_shards_expand(const char *pattern, struct gr_pool *pool, struct gr_names *paths,
                      struct gr_error *err)
{
    const struct expansion x = {pattern, pool, paths};
    return expand(&x, pattern, err);
}
