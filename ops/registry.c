/*
 * The standard ops: one row each, and the backend they share.
 */
#include <cblas.h>
#include <omp.h>
#include <stdlib.h>

#include "onednn.h"
#include "ops.h"

static struct gr_backend *backend_new(int threads, enum gr_kernels kernels, struct gr_error *err)
{
    struct gr_backend *backend = calloc(1, sizeof *backend);
    if (!backend) {
        gr_fail_memory(err, "the backend");
        return NULL;
    }
    backend->kernels = kernels;
    backend->threads = threads;
    omp_set_num_threads(threads);
    openblas_set_num_threads(threads);
    const bool ok = gr_onednn_ok(dnnl_engine_create(&backend->engine, dnnl_cpu, 0), NULL, err) &&
                    gr_onednn_ok(dnnl_stream_create(&backend->stream, backend->engine,
                                                    dnnl_stream_default_flags),
                                 NULL, err) &&
                    gr_onednn_ok(dnnl_primitive_attr_create(&backend->attr), NULL, err) &&
                    gr_onednn_ok(dnnl_primitive_attr_set_scratchpad_mode(backend->attr,
                                                                         dnnl_scratchpad_mode_user),
                                 NULL, err);
    if (ok)
        return backend;
    gr_standard_ops()->backend_free(backend);
    return NULL;
}

static void backend_free(struct gr_backend *backend)
{
    if (!backend)
        return;
    gr_onednn_layouts_release(backend);
    if (backend->attr)
        dnnl_primitive_attr_destroy(backend->attr);
    if (backend->stream)
        dnnl_stream_destroy(backend->stream);
    if (backend->engine)
        dnnl_engine_destroy(backend->engine);
    free(backend);
}

/* oneDNN fixes the threads of a primitive when it is created: what OpenMP would give it then. */
static int backend_threads(struct gr_backend *backend, int threads)
{
    const int before = backend->threads;
    if (threads) {
        backend->threads = threads;
        omp_set_num_threads(threads);
    }
    return before;
}

/* Written in model files, in the order `graph-runner ops` prints them. */
static const struct gr_op *const ops[] = {
    &gr_op_conv,
    &gr_op_linear,
    &gr_op_max_pool,
    &gr_op_avg_pool,
    &gr_op_global_avg_pool,
    &gr_op_lrn,
    &gr_op_batch_norm,
    &gr_op_relu,
    &gr_op_leaky_relu,
    &gr_op_elu,
    &gr_op_sigmoid,
    &gr_op_tanh,
    &gr_op_gelu,
    &gr_op_silu,
    &gr_op_dropout,
    &gr_op_add,
    &gr_op_mul,
    &gr_op_concat,
    &gr_op_flatten,
    &gr_op_reshape,
    &gr_op_softmax,
    &gr_op_softmax_cross_entropy,
    &gr_op_accuracy,
    &gr_op_sgd,
};

const struct gr_registry *gr_standard_ops(void)
{
    static const struct gr_registry registry = {
        .ops = ops,
        .n_ops = sizeof ops / sizeof *ops,
        .sum = &gr_op_sum,
        .reorder = &gr_op_reorder,
        .fill = &gr_op_fill,
        .backend_new = backend_new,
        .backend_free = backend_free,
        .backend_threads = backend_threads,
        .convert = gr_onednn_convert,
    };
    return &registry;
}
