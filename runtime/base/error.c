/*
 * Errors as values; see error.h.
 */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

bool gr_failv(struct gr_error *err, enum gr_status status, const char *format, va_list args)
{
    if (!err || err->status != GR_OK)
        return false;
    err->status = status;
    vsnprintf(err->message, sizeof err->message, format, args);
    gr_plain_text(err->message, false);
    return false;
}

bool gr_fail(struct gr_error *err, enum gr_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    gr_failv(err, status, format, args);
    va_end(args);
    return false;
}

bool gr_fail_memory(struct gr_error *err, const char *what)
{
    return gr_fail(err, GR_ERR_RUNTIME, "out of memory: %s", what);
}

bool gr_is_shortage(int number)
{
    return number == ENOMEM || number == EMFILE || number == ENFILE;
}

bool gr_fail_system(struct gr_error *err, enum gr_status status, int number, const char *what,
                    const char *path)
{
    return gr_fail(err, gr_is_shortage(number) ? GR_ERR_RUNTIME : status, "%s: %s: %s", path, what,
                   strerror(number));
}
