/*
 * Element types of safetensors; see safetensors_types.h.
 */
#include "model/safetensors_types.h"

#include <math.h>
#include <string.h>

#include "model/safetensors.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they lie in memory, which must be little-endian"
#endif

static uint64_t load(const unsigned char *src, size_t bytes)
{
    uint64_t word = 0;
    for (size_t i = 0; i < bytes; i++)
        word |= (uint64_t)src[i] << (8 * i);
    return word;
}

static size_t from_double(const unsigned char *src, size_t bytes, size_t count, void *dst)
{
    float *out = dst;
    for (size_t i = 0; i < count; i++) {
        double number;
        memcpy(&number, src + i * bytes, sizeof number);
        out[i] = (float)number; /* what is too large becomes infinity */
    }
    return count;
}

/* IEEE half precision: 1 sign, 5 exponent, 10 mantissa bits. */
static size_t from_half(const unsigned char *src, size_t bytes, size_t count, void *dst)
{
    float *out = dst;
    for (size_t i = 0; i < count; i++) {
        const unsigned half = (unsigned)load(src + i * bytes, bytes);
        const int exponent = half >> 10 & 31, mantissa = half & 1023;
        float number = ldexpf((float)(mantissa + 1024), exponent - 25);
        if (exponent == 0)
            number = ldexpf((float)mantissa, -24);
        else if (exponent == 31)
            number = mantissa ? NAN : INFINITY;
        out[i] = half >> 15 ? -number : number;
    }
    return count;
}

static size_t from_signed(const unsigned char *src, size_t bytes, size_t count, void *dst)
{
    int32_t *out = dst;
    const uint64_t sign = UINT64_C(1) << (8 * bytes - 1);
    for (size_t i = 0; i < count; i++) {
        const int64_t number = (int64_t)((load(src + i * bytes, bytes) ^ sign) - sign);
        if (number < INT32_MIN || number > INT32_MAX)
            return i;
        out[i] = (int32_t)number;
    }
    return count;
}

static size_t from_unsigned(const unsigned char *src, size_t bytes, size_t count, void *dst)
{
    int32_t *out = dst;
    for (size_t i = 0; i < count; i++) {
        const uint64_t number = load(src + i * bytes, bytes);
        if (number > INT32_MAX)
            return i;
        out[i] = (int32_t)number;
    }
    return count;
}

static const struct gr_safetensors_type types[] = {
    {"F32", 4, GR_F32, NULL},          {"BF16", 2, GR_BF16, NULL},
    {"I32", 4, GR_S32, NULL},          {"U8", 1, GR_U8, NULL},
    {"F64", 8, GR_F32, from_double},   {"F16", 2, GR_F32, from_half},
    {"I64", 8, GR_S32, from_signed},   {"I16", 2, GR_S32, from_signed},
    {"I8", 1, GR_S32, from_signed},    {"U64", 8, GR_S32, from_unsigned},
    {"U32", 4, GR_S32, from_unsigned}, {"U16", 2, GR_S32, from_unsigned},
    {"BOOL", 1, GR_U8, NULL},
};

const struct gr_safetensors_type *gr_safetensors_type(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

/* Each of ours has a row that needs no conversion, before any other with its type. */
const char *gr_safetensors_dtype(enum gr_dtype dtype)
{
    size_t i = 0;
    while (types[i].dtype != dtype)
        i++;
    return types[i].name;
}
