/*
 * Renaming tensors; see rename.h and struct gr_transfer_options.
 */
#include "model/rename.h"

#include <stdio.h>
#include <string.h>

enum { STARS = 8, LONGEST = 512 };

struct piece {
    const char *text;
    size_t length;
};

/* Matches "a*b" against a name from its beginning to its end, and says what each star stood for. */
static bool match(const char *old, const char *end, const char *name, struct piece *stars)
{
    while (old < end && *old != '*') {
        if (*old++ != *name++)
            return false;
    }
    if (old == end)
        return !*name;
    for (size_t length = 0;; length++) {
        if (match(old + 1, end, name + length, stars + 1)) {
            *stars = (struct piece){name, length};
            return true;
        }
        if (!name[length])
            return false;
    }
}

static size_t count_stars(const char *text, const char *end)
{
    size_t count = 0;
    for (; text < end; text++)
        count += *text == '*';
    return count;
}

/* NEW, with what the stars stood for in the place of its own. */
static const char *fill(const char *new, const struct piece *stars, struct gr_pool *pool)
{
    struct gr_text text = {0};
    for (; *new; new ++) {
        if (*new == '*') {
            gr_text_append(&text, stars->text, stars->length);
            stars++;
        } else {
            gr_text_append(&text, new, 1);
        }
    }
    const char *result = text.failed ? NULL : gr_pool_strdup(pool, text.data ? text.data : "");
    gr_text_release(&text);
    return result;
}

/* Does OLD, which has no star, begin the name: all of it, or up to a dot? */
static bool begins(const char *old, size_t length, const char *name)
{
    return length && strncmp(old, name, length) == 0 &&
           (!name[length] || name[length] == '.' || old[length - 1] == '.');
}

const char *gr_rename(const char *const *renames, size_t n_renames, const char *name, bool *used,
                      struct gr_pool *pool)
{
    for (size_t i = 0; i < n_renames; i++) {
        const char *old = renames[i], *equals = strchr(old, '='), *new = equals + 1;
        const size_t length = (size_t)(equals - old);
        struct piece stars[STARS + 1];
        const bool pattern = count_stars(old, equals) > 0;
        if (pattern ? !match(old, equals, name, stars) : !begins(old, length, name))
            continue;
        used[i] = true;
        return pattern ? fill(new, stars, pool) : gr_pool_printf(pool, "%s%s", new, name + length);
    }
    return name;
}

bool gr_renames_check(const char *const *renames, size_t n_renames, struct gr_error *err)
{
    for (size_t i = 0; i < n_renames; i++) {
        const char *equals = strchr(renames[i], '=');
        if (!equals || equals == renames[i] || strchr(equals + 1, '='))
            return gr_fail(err, GR_ERR_USAGE, "rename: '%s' is not OLD=NEW", renames[i]);
        const size_t old = count_stars(renames[i], equals);
        if (old > STARS || count_stars(equals, equals + strlen(equals)) != old)
            return gr_fail(err, GR_ERR_USAGE,
                           "rename: '%s': OLD and NEW have the same number of '*', at most %d",
                           renames[i], STARS);
    }
    return true;
}
