/*
 * Kernels on a processor with AVX2 and its VNNI extension but without AVX-512, which every other
 * test leaves out where the machine has more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <oneapi/dnnl/dnnl.h>
#include <string.h>

#include "support/small_graph.h"

/* Blocks of 8 channels, as AVX2's kernels have them: of 16, only reference loops would do. */
static void pooling_lies_in_blocks_that_its_kernel_knows(void **state)
{
    (void)state;
    struct gr_small small;
    gr_small_init(&small, false, 1, GR_KERNELS_AUTO);
    if (dnnl_get_effective_cpu_isa() != dnnl_cpu_isa_avx2_vnni) {
        gr_small_release(&small);
        skip();
    }
    const struct gr_check_attr attrs[] = {{"kernel", 1, {2}}, {0}};
    struct gr_value *src = gr_small_input(&small, "x", (struct gr_shape){4, {2, 32, 8, 8}});
    struct gr_node *pool = gr_small_node(&small, "max_pool", "pool", attrs, src, NULL);
    gr_small_compile(&small, pool->outputs, 1, false);
    size_t found = 0;
    for (size_t s = 0; s < gr_program_step_count(small.program); s++) {
        const struct gr_step *step = gr_program_step(small.program, s);
        if (step->node != pool)
            continue;
        assert_string_equal(step->dst_layouts[0]->name, "nChw8c");
        assert_string_not_equal(step->kernel.impl, "plain");
        found++;
    }
    assert_int_equal(found, 1);
    gr_small_release(&small);
}

/* In the same blocks, without a reorder, by the kernel for such vectors. */
static void normalisation_runs_by_vectors_of_eight_channels(void **state)
{
    (void)state;
    struct gr_small small;
    gr_small_init(&small, true, 1, GR_KERNELS_AUTO);
    const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    if (isa != dnnl_cpu_isa_avx2_vnni && isa != dnnl_cpu_isa_avx2) {
        gr_small_release(&small);
        skip();
    }
    const struct gr_check_attr attrs[] = {{"out_channels", 1, {32}}, {"kernel", 1, {1}}, {0}};
    struct gr_value *src = gr_small_input(&small, "x", (struct gr_shape){4, {2, 32, 8, 8}});
    struct gr_node *conv = gr_small_node(&small, "conv", "conv", attrs, src, NULL);
    struct gr_node *norm = gr_small_node(&small, "batch_norm", "bn", NULL, conv->outputs[0], NULL);
    struct gr_node *relu = gr_small_node(&small, "relu", "relu", NULL, norm->outputs[0], NULL);
    struct gr_value *loss = gr_small_loss(&small, relu->outputs[0]);
    gr_small_differentiate(&small, loss, NULL);
    gr_small_compile(&small, &small.gradients[conv->inputs[1]->id], 1, false);
    size_t found = 0;
    for (size_t s = 0; s < gr_program_step_count(small.program); s++) {
        const struct gr_step *step = gr_program_step(small.program, s);
        if (!strstr(step->node->op->kind.name, "batch_norm"))
            continue;
        assert_string_equal(step->dst_layouts[0]->name, "nChw8c");
        assert_string_equal(step->kernel.impl, "avx2:runs");
        found++;
    }
    assert_int_equal(found, 2);
    gr_small_release(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooling_lies_in_blocks_that_its_kernel_knows),
        cmocka_unit_test(normalisation_runs_by_vectors_of_eight_channels),
    };
    dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2_vnni);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
