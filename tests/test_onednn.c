/*
 * What the ops of a context share: layouts, each of which there is once, and memory objects, of
 * which there is one for each descriptor and address as long as a kernel uses it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onednn.h"
#include "ops.h"

enum { SHAPES = 3000 };

static int backend_setup(void **state)
{
    struct gr_error err = {0};
    *state = gr_standard_ops()->backend_new(1, GR_KERNELS_AUTO, &err);
    return *state ? 0 : -1;
}

static int backend_teardown(void **state)
{
    gr_standard_ops()->backend_free(*state);
    return 0;
}

static struct gr_value tensor(int64_t channels)
{
    return (struct gr_value){
        .kind = GR_VALUE_RESULT, .dtype = GR_F32, .shape = {.rank = 4, .dim = {2, channels, 5, 3}}};
}

static const struct gr_layout *layout_of(struct gr_backend *backend, const struct gr_value *value,
                                         dnnl_format_tag_t tag)
{
    struct gr_error err = {0};
    const struct gr_layout *layout = gr_onednn_tagged(backend, value, GR_F32, tag, &err);
    if (!layout)
        fail_msg("%s", err.message);
    return layout;
}

static void equal_layouts_are_one_pointer_among_thousands(void **state)
{
    static const struct gr_layout *first[SHAPES][3];
    static const dnnl_format_tag_t tags[] = {dnnl_acdb, dnnl_aBcd8b, dnnl_aBcd16b};
    for (int round = 0; round < 2; round++)
        for (int64_t c = 0; c < SHAPES; c++) {
            const struct gr_value value = tensor(c + 2);
            for (int t = 0; t < 3; t++) {
                const struct gr_layout *layout = layout_of(*state, &value, tags[t]);
                if (round)
                    assert_ptr_equal(layout, first[c][t]);
                first[c][t] = layout;
                for (int u = 0; u < t; u++)
                    assert_ptr_not_equal(layout, first[c][u]);
                assert_ptr_not_equal(layout, c ? first[c - 1][t] : NULL);
            }
            const size_t blocks = (size_t)(c + 2 + 15) / 16;
            assert_int_equal(first[c][2]->bytes, 2 * blocks * 16 * 5 * 3 * sizeof(float));
            assert_string_equal(first[c][2]->name, "nChw16c");
        }
}

/* The stride of a dimension of one is nobody's business. */
static void a_stride_that_is_never_taken_makes_no_other_layout(void **state)
{
    struct gr_value value = tensor(1);
    value.shape.dim[2] = value.shape.dim[3] = 1;
    assert_ptr_equal(layout_of(*state, &value, dnnl_acdb), &gr_layout_plain);
    value.shape.dim[1] = 16;
    assert_ptr_equal(layout_of(*state, &value, dnnl_aBcd16b),
                     layout_of(*state, &value, dnnl_aBcd16b));
}

static void memory_is_shared_until_all_have_returned_it(void **state)
{
    struct gr_backend *backend = *state;
    const struct gr_value one = tensor(20), other = tensor(21);
    gr_md a = gr_onednn_layout_md(layout_of(backend, &one, dnnl_aBcd16b));
    gr_md b = gr_onednn_layout_md(layout_of(backend, &other, dnnl_aBcd16b));
    static float data[2][2 * 32 * 5 * 3];
    dnnl_memory_t first = gr_onednn_memory_obtain(backend, a, data[0]);
    dnnl_memory_t second = gr_onednn_memory_obtain(backend, a, data[0]);
    dnnl_memory_t elsewhere = gr_onednn_memory_obtain(backend, a, data[1]);
    dnnl_memory_t otherwise = gr_onednn_memory_obtain(backend, b, data[0]);
    assert_non_null(first);
    assert_non_null(elsewhere);
    assert_non_null(otherwise);
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(first, elsewhere);
    assert_ptr_not_equal(first, otherwise);
    assert_int_equal(backend->memories.count, 3);
    gr_onednn_memory_return(backend, first);
    void *handle = NULL;
    assert_int_equal(dnnl_memory_get_data_handle(second, &handle), dnnl_success);
    assert_ptr_equal(handle, data[0]);
    gr_onednn_memory_return(backend, second);
    assert_int_equal(backend->memories.count, 2);
    gr_onednn_memory_return(backend, otherwise);
    gr_onednn_memory_return(backend, elsewhere);
    gr_onednn_memory_return(backend, NULL);
    assert_int_equal(backend->memories.count, 0);
}

/* As many as a deep network has, returned in another order than they were obtained. */
static void thousands_of_memories_come_and_go(void **state)
{
    static float data[SHAPES][64];
    static dnnl_memory_t memories[SHAPES];
    struct gr_backend *backend = *state;
    struct gr_value value = tensor(16);
    value.shape.dim[0] = 1;
    value.shape.dim[2] = value.shape.dim[3] = 2;
    gr_md md = gr_onednn_layout_md(layout_of(backend, &value, dnnl_aBcd16b));
    for (int i = 0; i < SHAPES; i++)
        assert_non_null(memories[i] = gr_onednn_memory_obtain(backend, md, data[i]));
    assert_int_equal(backend->memories.count, SHAPES);
    for (int i = 0; i < SHAPES; i++)
        assert_ptr_equal(gr_onednn_memory_obtain(backend, md, data[i]), memories[i]);
    for (int i = 0; i < 2 * SHAPES; i++)
        gr_onednn_memory_return(backend, memories[(int64_t)i * 7 % SHAPES]);
    assert_int_equal(backend->memories.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_layouts_are_one_pointer_among_thousands),
        cmocka_unit_test(a_stride_that_is_never_taken_makes_no_other_layout),
        cmocka_unit_test(memory_is_shared_until_all_have_returned_it),
        cmocka_unit_test(thousands_of_memories_come_and_go),
    };
    return cmocka_run_group_tests(tests, backend_setup, backend_teardown);
}
