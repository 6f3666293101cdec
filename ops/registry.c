/*
 * The standard ops: one row each, and the backend they share.
 */
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "onednn.h"
#include "ops.h"

/* "AMD EPYC, isa 0x7f, oneDNN 2.6.3, 2 threads" */
static void name_machine(struct gr_backend *backend)
{
    const dnnl_version_t *version = dnnl_version();
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    strcpy(backend->processor, "unknown processor");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "model name : %127[^\n]", backend->processor) == 1)
            break;
    if (file)
        fclose(file);
    snprintf(backend->library, sizeof backend->library, "oneDNN %d.%d.%d", version->major,
             version->minor, version->patch);
    snprintf(backend->machine, sizeof backend->machine, "%s, isa 0x%x, %s, %d thread%s",
             backend->processor, (unsigned)dnnl_get_effective_cpu_isa(), backend->library,
             backend->threads, backend->threads == 1 ? "" : "s");
}

static struct gr_backend *backend_new(int threads, enum gr_kernels kernels, struct gr_error *err)
{
    struct gr_backend *backend = calloc(1, sizeof *backend);
    if (!backend) {
        gr_fail_memory(err, "the backend");
        return NULL;
    }
    backend->kernels = kernels;
    backend->threads = threads;
    name_machine(backend);
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
    gr_onednn_memories_release(backend);
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

static bool check_precision(struct gr_backend *backend, enum gr_precision precision,
                            struct gr_error *err)
{
    if (precision == GR_PRECISION_F32)
        return true;
    if (backend->kernels == GR_KERNELS_OPENBLAS)
        return gr_fail(err, GR_ERR_USAGE, "the openblas kernels compute in f32 only, not in bf16");
    if (gr_onednn_has_isa(dnnl_cpu_isa_avx512_core_bf16))
        return true;
    return gr_fail(err, GR_ERR_USAGE,
                   "this processor (%s) has no bf16 instructions (avx512_core_bf16 or AMX); use "
                   "precision f32",
                   backend->machine);
}

static const char *machine(struct gr_backend *backend)
{
    return backend->machine;
}

/* The widest set that it has, of those that make kernels differ. */
static const char *isa_name(void)
{
    static const struct {
        dnnl_cpu_isa_t isa;
        const char *name;
    } sets[] = {
        {dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx"},
        {dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"},
        {dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"},
        {dnnl_cpu_isa_avx512_core, "avx512_core"},
        {dnnl_cpu_isa_avx2_vnni, "avx2_vnni"},
        {dnnl_cpu_isa_avx2, "avx2"},
        {dnnl_cpu_isa_avx, "avx"},
        {dnnl_cpu_isa_sse41, "sse41"},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (gr_onednn_has_isa(sets[i].isa))
            return sets[i].name;
    return "plain";
}

static struct gr_machine_facts facts(struct gr_backend *backend)
{
    return (struct gr_machine_facts){
        .processor = backend->processor,
        .isa = isa_name(),
        .library = backend->library,
        .kernels = backend->kernels == GR_KERNELS_OPENBLAS ? "openblas" : "auto",
    };
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
        .check_precision = check_precision,
        .machine = machine,
        .facts = facts,
        .convert = gr_onednn_convert,
        .measure = gr_machine_measure,
    };
    return &registry;
}
