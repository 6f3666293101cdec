/*
 * Shapes and element types; see shape.h.
 */
#include "base/shape.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[GR_DTYPE_COUNT] = {
    [GR_F32] = {"f32", 4}, [GR_BF16] = {"bf16", 2}, [GR_S32] = {"s32", 4}, [GR_U8] = {"u8", 1}};

size_t gr_dtype_size(enum gr_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *gr_dtype_name(enum gr_dtype dtype)
{
    return dtypes[dtype].name;
}

struct gr_shape gr_shape_of(int rank, const int64_t *dims)
{
    assert(rank >= 0 && rank <= GR_MAX_RANK);
    struct gr_shape shape = {.rank = rank};
    for (int i = 0; i < rank; i++)
        shape.dim[i] = dims[i];
    return shape;
}

bool gr_shape_equal(const struct gr_shape *a, const struct gr_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

int64_t gr_shape_count(const struct gr_shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++)
        count *= shape->dim[i];
    return count;
}

bool gr_shape_check(const struct gr_shape *shape)
{
    int64_t room = (INT64_C(1) << 62) / 8;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] < 1 || shape->dim[i] > room)
            return false;
        room /= shape->dim[i];
    }
    return true;
}

const char *gr_shape_text(const struct gr_shape *shape, char buffer[GR_SHAPE_TEXT])
{
    size_t used = 0;
    if (shape->rank == 0)
        return strcpy(buffer, "scalar");
    for (int i = 0; i < shape->rank; i++) {
        int n = snprintf(buffer + used, GR_SHAPE_TEXT - used, "%s%" PRId64, i ? "×" : "",
                         shape->dim[i]);
        if (n < 0 || (size_t)n >= GR_SHAPE_TEXT - used)
            break;
        used += (size_t)n;
    }
    return buffer;
}
