/*
 * Reorders between the layouts that kernels ask for, against an element by element copy: over
 * random odd shapes, with every layout padded by up to a block. Whoever does the copying, oneDNN or
 * loops of our own, outside a program or as its op, each element arrives, the padding is zero, and
 * nothing behind it is touched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "graph/arena.h"
#include "onednn.h"
#include "ops.h"
#include "rows.h"
#include "support/op_check.h"
#include "support/small_graph.h"

enum { GUARD = 256, SHAPES = 6 };

/* A layout: its first in a table is plain and f32. */
struct laid {
    dnnl_format_tag_t tag;
    bool bf16;
};

/* A matrix: the weight of linear, and activations of rank 2. */
static const struct laid matrices[] = {
    {dnnl_ab, false},        {dnnl_ab, true},         {dnnl_ba, false},
    {dnnl_AB16b16a, false},  {dnnl_AB16b32a, false},  {dnnl_AB16b64a, false},
    {dnnl_AB8b16a2b, true},  {dnnl_AB8b32a2b, true},  {dnnl_AB8b64a2b, true},
    {dnnl_AB16b16a2b, true}, {dnnl_AB16b32a2b, true},
#if DNNL_VERSION_MAJOR >= 3
    {dnnl_AB16b48a, false},  {dnnl_AB8b8a, false},    {dnnl_AB8b16a, false},
    {dnnl_AB8b24a, false},   {dnnl_AB8b32a, false},   {dnnl_AB8b24a2b, true},
#endif
};

/* An activation of rank 4. */
static const struct laid activations[] = {
    {dnnl_abcd, false},   {dnnl_abcd, true},   {dnnl_acdb, false},    {dnnl_acdb, true},
    {dnnl_aBcd8b, false}, {dnnl_aBcd8b, true}, {dnnl_aBcd16b, false}, {dnnl_aBcd16b, true},
};

/* The weight of a convolution. */
static const struct laid filters[] = {
    {dnnl_abcd, false},       {dnnl_abcd, true},        {dnnl_ABcd8b8a, false},
    {dnnl_ABcd8a8b, false},   {dnnl_ABcd16b16a, false}, {dnnl_ABcd16a16b, false},
    {dnnl_BAcd16a16b, false}, {dnnl_ABcd16b32a, false}, {dnnl_ABcd16b64a, false},
    {dnnl_Acdb8a, false},     {dnnl_Acdb16a, false},    {dnnl_Acdb32a, false},
    {dnnl_Acdb48a, false},    {dnnl_Acdb64a, false},    {dnnl_ABcd8b16a2b, true},
    {dnnl_ABcd8a16b2a, true}, {dnnl_BAcd8a16b2a, true}, {dnnl_AcdB16a2b, true},
    {dnnl_AcdB32a2b, true},   {dnnl_AcdB48a2b, true},   {dnnl_AcdB64a2b, true},
#if DNNL_VERSION_MAJOR >= 3
    {dnnl_Acdb24a, false},    {dnnl_Bcda8b, false},     {dnnl_Bcda16b, false},
    {dnnl_Bcda24b, false},    {dnnl_Bcda32b, false},    {dnnl_Bcda64b, false},
    {dnnl_BcdA16b2a, true},   {dnnl_BcdA32b2a, true},   {dnnl_BcdA64b2a, true},
#endif
};

/* The same in groups. */
static const struct laid grouped[] = {
    {dnnl_abcde, false},       {dnnl_abcde, true},        {dnnl_aBCde8c8b, false},
    {dnnl_aBCde8b8c, false},   {dnnl_aBCde16c16b, false}, {dnnl_aBCde16b16c, false},
    {dnnl_aBdec16b, false},    {dnnl_aBdec32b, false},    {dnnl_aBdec64b, false},
    {dnnl_aBCde8c16b2c, true}, {dnnl_aBCde8b16c2b, true}, {dnnl_aBCde4c8b2c, true},
    {dnnl_aBCde4b8c2b, true},  {dnnl_aBdeC16b2c, true},   {dnnl_aBdeC32b2c, true},
};

/* ---- one reorder ------------------------------------------------------------------------- */

/* Where an element of a tensor in a layout lies: the definition of blocked layouts. */
static int64_t place(const struct gr_onednn_facts *f, const int64_t *position)
{
    int64_t at[DNNL_MAX_NDIMS], offset = 0, stride = 1;
    memcpy(at, position, (size_t)f->rank * sizeof *at);
    for (int b = f->n_blocks; b-- > 0;) {
        const int64_t d = f->indices[b];
        offset += at[d] % f->blocks[b] * stride;
        at[d] /= f->blocks[b];
        stride *= f->blocks[b];
    }
    for (int d = 0; d < f->rank; d++)
        offset += at[d] * f->strides[d];
    return offset;
}

static const struct gr_layout *layout_of(struct gr_backend *backend, const struct gr_value *value,
                                         bool weights, const struct laid *laid,
                                         struct gr_onednn_facts *facts)
{
    struct gr_error err = {0};
    struct gr_desc desc = {0};
    gr_check_ok(gr_desc_tagged(&desc, value->shape.rank, value->shape.dim,
                               laid->bf16 ? GR_BF16 : GR_F32, laid->tag, &err),
                &err);
    gr_onednn_facts(gr_desc_get(&desc), facts);
    const struct gr_layout *layout =
        gr_onednn_layout(backend, value, gr_desc_get(&desc), weights, &err);
    gr_check_ok(layout != NULL, &err);
    gr_desc_release(&desc);
    return layout;
}

static int64_t element_count(const struct gr_layout *layout, const struct gr_value *value,
                             bool bf16)
{
    return (int64_t)(gr_layout_bytes(layout, value) / gr_element_size(bf16));
}

/* The position after this one, row-major; false after the last. */
static bool advance(const struct gr_shape *shape, int64_t *position)
{
    for (int d = shape->rank; d-- > 0;) {
        if (++position[d] < shape->dim[d])
            return true;
        position[d] = 0;
    }
    return false;
}

/* What lies at an element, as bits: padding must be +0 and copies exact. */
static uint32_t bits_at(const void *data, int64_t i, bool bf16)
{
    return bf16 ? ((const uint16_t *)data)[i] : ((const uint32_t *)data)[i];
}

static void put(void *data, int64_t i, bool bf16, float x)
{
    if (bf16)
        ((uint16_t *)data)[i] = gr_to_bf16(x);
    else
        ((float *)data)[i] = x;
}

/* What differs between dst and the copy of src as the definition has it; -1: nothing. */
static int64_t first_wrong(const void *dst, const void *want, int64_t count, bool bf16)
{
    for (int64_t i = 0; i < count; i++)
        if (bits_at(dst, i, bf16) != bits_at(want, i, bf16))
            return i;
    return -1;
}

/* By the op that programs are given. */
static void run_op(struct gr_backend *backend, const struct gr_value *value,
                   const struct gr_layout *from, void *src, const struct gr_layout *to, void *dst)
{
    struct gr_error err = {0};
    struct gr_value ends[] = {*value, *value}, *ends_at[] = {&ends[0], &ends[1]};
    const struct gr_node node = {.name = "w@",
                                 .op = &gr_op_reorder,
                                 .n_inputs = 1,
                                 .n_outputs = 1,
                                 .inputs = ends_at,
                                 .outputs = ends_at + 1};
    struct gr_kernel kernel = {0};
    struct gr_planning planning = {
        .node = &node, .backend = backend, .src = &from, .dst = &to, .kernel = &kernel};
    gr_check_ok(gr_op_reorder.plan(&planning, &err), &err);
    void *scratch = gr_arena_new(kernel.scratch_bytes + 64);
    assert_non_null(scratch);
    const struct gr_buffers buffers = {&src, &dst, scratch};
    gr_check_ok(!kernel.bind || kernel.bind(&kernel, &buffers, &err), &err);
    gr_check_ok(kernel.run(&kernel, &node, &buffers, &(struct gr_run){0}, &err), &err);
    gr_arena_free(scratch);
    gr_kernel_release(&kernel);
}

/* Says so and returns false where the copy is wrong. */
static bool reorder(struct gr_backend *backend, struct gr_shape shape, bool weights, bool as_op,
                    const struct laid *from, const struct laid *to)
{
    struct gr_error err = {0};
    const struct gr_value value = {.name = "w", .dtype = GR_F32, .shape = shape};
    struct gr_onednn_facts f, t;
    const struct gr_layout *in = layout_of(backend, &value, weights, from, &f);
    const struct gr_layout *out = layout_of(backend, &value, weights, to, &t);
    const int64_t n_src = element_count(in, &value, from->bf16);
    const int64_t n_dst = element_count(out, &value, to->bf16);
    void *src = calloc((size_t)n_src, sizeof(float)), *want = calloc((size_t)n_dst, sizeof(float));
    char *dst = malloc((size_t)n_dst * sizeof(float) + GUARD);
    assert_true(src && want && dst);
    memset(dst, 0xff, (size_t)n_dst * sizeof(float) + GUARD);
    int64_t position[GR_MAX_RANK] = {0}, i = 0;
    do {
        /* No two beside each other are equal, nor is any 0; bf16 has no room for more. */
        const float x = from->bf16 || to->bf16 ? 1 + (float)(i++ % 1009) / 1024 : 1 + (float)i++;
        put(src, place(&f, position), from->bf16, x);
        put(want, place(&t, position), to->bf16, from->bf16 ? gr_from_bf16(gr_to_bf16(x)) : x);
    } while (advance(&shape, position));
    if (as_op)
        run_op(backend, &value, in, src, out, dst);
    else
        gr_check_ok(gr_standard_ops()->convert(backend, &value, in, src, out, dst, &err), &err);
    const int64_t wrong = first_wrong(dst, want, n_dst, to->bf16);
    if (wrong >= 0)
        print_error("%s to %s of %lld×%lld×%lld×%lld×%lld: element %lld of %lld is %#x, not %#x\n",
                    in->name, out->name, (long long)shape.dim[0], (long long)shape.dim[1],
                    (long long)shape.dim[2], (long long)shape.dim[3], (long long)shape.dim[4],
                    (long long)wrong, (long long)n_dst, bits_at(dst, wrong, to->bf16),
                    bits_at(want, wrong, to->bf16));
    const size_t end = (size_t)n_dst * gr_element_size(to->bf16);
    for (size_t g = end; g < end + GUARD; g++)
        if (dst[g] != (char)0xff)
            fail_msg("%s to %s wrote %zu bytes behind its end", in->name, out->name, g - end);
    free(src);
    free(want);
    free(dst);
    return wrong < 0;
}

/* ---- the tests --------------------------------------------------------------------------- */

/* From and to plain memory for each layout in several shapes, and between any two of them. */
static void reorder_all(const struct laid *layouts, int n_layouts, bool weights,
                        struct gr_shape most)
{
    struct gr_error err = {0};
    const bool bf16 = gr_check_has_bf16();
    struct gr_backend *backend = gr_standard_ops()->backend_new(2, GR_KERNELS_AUTO, &err);
    gr_check_ok(backend != NULL, &err);
    int wrong = 0;
    for (int k = 0; k < n_layouts * (2 * SHAPES + n_layouts); k++) {
        const struct laid *from = &layouts[0], *to = &layouts[k % n_layouts];
        const int how = k / n_layouts; /* first to plain, then from it, then the pairs */
        if (how >= 2 * SHAPES)
            from = &layouts[how - 2 * SHAPES];
        else if (how % 2)
            from = to, to = &layouts[0];
        struct gr_shape shape = {.rank = most.rank};
        for (int d = 0; d < shape.rank; d++)
            shape.dim[d] = gr_check_int((uint64_t)k, d, 1, most.dim[d]);
        if (bf16 || !(from->bf16 || to->bf16))
            wrong += !reorder(backend, shape, weights, false, from, to) +
                     !reorder(backend, shape, weights, true, from, to);
    }
    gr_standard_ops()->backend_free(backend);
    assert_int_equal(wrong, 0);
}

static void weights_of_linear_keep_every_element(void **state)
{
    (void)state;
    const struct gr_shape most = {2, {200, 150}};
    reorder_all(matrices, sizeof matrices / sizeof *matrices, true, most);
}

static void activations_keep_every_element(void **state)
{
    (void)state;
    const struct gr_shape most = {4, {3, 70, 20, 40}};
    reorder_all(activations, sizeof activations / sizeof *activations, false, most);
}

static void filters_keep_every_element(void **state)
{
    (void)state;
    const struct gr_shape most = {4, {140, 80, 4, 4}};
    reorder_all(filters, sizeof filters / sizeof *filters, true, most);
}

static void filters_in_groups_keep_every_element(void **state)
{
    (void)state;
    const struct gr_shape most = {5, {3, 140, 40, 4, 4}};
    reorder_all(grouped, sizeof grouped / sizeof *grouped, true, most);
}

/* Ties go to the even one, infinities stay, a NaN stays one, the largest f32 becomes infinite. */
static void another_type_rounds_to_the_nearest(void **state)
{
    (void)state;
    static const uint32_t from[] = {0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x80000000,
                                    0x7f800000, 0xff800000, 0x7f7fffff, 0x7f800001, 0xffffffff};
    static const uint16_t to[] = {0x3f80, 0x3f82, 0x3f81, 0x3f80, 0x8000,
                                  0x7f80, 0xff80, 0x7f80, 0x7fc0, 0xffff};
    enum { KINDS = sizeof to / sizeof *to, COUNT = 5003 };
    struct gr_error err = {0};
    struct gr_onednn_facts facts;
    const struct gr_value value = {.name = "w", .dtype = GR_F32, .shape = {2, {1, COUNT}}};
    if (!gr_check_has_bf16())
        skip();
    struct gr_backend *backend = gr_standard_ops()->backend_new(2, GR_KERNELS_AUTO, &err);
    gr_check_ok(backend != NULL, &err);
    const struct gr_layout *wide = layout_of(backend, &value, false, &matrices[0], &facts);
    const struct gr_layout *narrow = layout_of(backend, &value, false, &matrices[1], &facts);
    static uint32_t floats[COUNT], back[COUNT];
    static uint16_t halves[COUNT];
    for (int i = 0; i < COUNT; i++)
        floats[i] = from[i % KINDS];
    run_op(backend, &value, wide, floats, narrow, halves);
    run_op(backend, &value, narrow, halves, wide, back);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(halves[i], to[i % KINDS]);
        assert_int_equal(back[i], (uint32_t)to[i % KINDS] << 16);
    }
    gr_standard_ops()->backend_free(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_of_linear_keep_every_element),
        cmocka_unit_test(activations_keep_every_element),
        cmocka_unit_test(filters_keep_every_element),
        cmocka_unit_test(filters_in_groups_keep_every_element),
        cmocka_unit_test(another_type_rounds_to_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
