/*
 * The machine's peak, measured on the spot. Arithmetic: the best of a few inner products and a
 * convolution whose operands stay in the caches, by the same library that runs the models. Memory:
 * the best of reading, copying and scaling in place, over working sets from what the cores' own
 * caches hold up to what only memory does, since a small tensor that was written just now is read
 * faster than memory could.
 */
#include "machine.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "graph/arena.h"
#include "onednn.h"
#include "vector_clones.h"

enum { RUNS = 3, TRIALS = 6, VECTOR = 16, AT_ONCE = 8 * VECTOR };

static const double product_seconds = 0.02, sweep_seconds = 0.025;
static const size_t largest_set = (size_t)256 << 20, least_swept = (size_t)64 << 20; /* a trial */

/* ---- arithmetic -------------------------------------------------------------------------- */

/* A product in question; N stands for one thread's share. */
struct product {
    bool conv;
    int64_t n, c, o, size; /* [N, c, size, size] by [o, c, 3, 3], or [N, c] by [o, c] */
};

static const struct product products[] = {
    {.n = 256, .c = 512, .o = 512},
    {.n = 256, .c = 1024, .o = 1024},
    {.conv = true, .n = 4, .c = 256, .o = 256, .size = 14},
};

static double flops_of(const struct product *p, int threads)
{
    const double each = p->conv ? 9.0 * (double)(p->size * p->size) : 1;
    return 2 * each * (double)(p->n * threads) * (double)p->c * (double)p->o;
}

/* The primitive descriptor; NULL: this machine has none. */
static dnnl_primitive_desc_t describe(const struct gr_backend *backend, const struct product *p,
                                      enum gr_dtype dtype)
{
    const int rank = p->conv ? 4 : 2;
    const int64_t n = p->n * backend->threads;
    const int64_t src[] = {n, p->c, p->size, p->size}, weights[] = {p->o, p->c, 3, 3},
                  dst[] = {n, p->o, p->size, p->size};
    const dnnl_dims_t one = {1, 1}, zero = {0, 0};
    struct gr_desc s = {0}, w = {0}, d = {0};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_out_of_memory;
    if (gr_desc_init(&s, rank, src, dtype, GR_FORMAT_ANY, NULL) &&
        gr_desc_init(&w, rank, weights, dtype, GR_FORMAT_ANY, NULL) &&
        gr_desc_init(&d, rank, dst, dtype, GR_FORMAT_ANY, NULL))
        status = p->conv ? gr_onednn_conv(&pd, backend->engine, dnnl_forward_inference,
                                          dnnl_convolution_direct, gr_desc_get(&s), gr_desc_get(&w),
                                          NULL, gr_desc_get(&d), one, zero, one, one, NULL)
                         : gr_onednn_linear(&pd, backend->engine, dnnl_forward_inference,
                                            gr_desc_get(&s), gr_desc_get(&w), NULL, gr_desc_get(&d),
                                            NULL);
    gr_desc_release(&s);
    gr_desc_release(&w);
    gr_desc_release(&d);
    return status == dnnl_success ? pd : NULL;
}

/* Makes the arguments of the primitive in memory of its own; false: out of memory. */
static bool make_arguments(const struct gr_backend *backend, const_dnnl_primitive_desc_t pd,
                           dnnl_exec_arg_t *args, void **data, int count)
{
    for (int i = 0; i < count; i++) {
        gr_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, args[i].arg);
        const size_t bytes = dnnl_memory_desc_get_size(md);
        data[i] = gr_arena_new(bytes);
        if (!data[i] ||
            dnnl_memory_create(&args[i].memory, md, backend->engine, data[i]) != dnnl_success)
            return false;
        memset(data[i], 0x3f, bytes); /* about 0.75 in f32 and bf16 */
    }
    return true;
}

/* The fastest execution; 0: it failed. */
static double time_primitive(const struct gr_backend *backend, dnnl_primitive_t primitive,
                             const dnnl_exec_arg_t *args, int count)
{
    const double begin = gr_seconds();
    double best = 0;
    for (int run = 0; run < RUNS || gr_seconds() - begin < product_seconds; run++) {
        const double start = gr_seconds();
        if (dnnl_primitive_execute(primitive, backend->stream, count, args) != dnnl_success ||
            dnnl_stream_wait(backend->stream) != dnnl_success)
            return 0;
        const double seconds = gr_seconds() - start;
        best = run && best < seconds ? best : seconds;
    }
    return best;
}

/* Raises *rate to what the product reaches; a product that the machine cannot do changes nothing.
 */
static bool measure_product(const struct gr_backend *backend, const struct product *product,
                            enum gr_dtype dtype, double *rate, struct gr_error *err)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_WEIGHTS, NULL}, {DNNL_ARG_DST, NULL}};
    void *data[3] = {NULL};
    dnnl_primitive_t primitive = NULL;
    dnnl_primitive_desc_t pd = describe(backend, product, dtype);
    if (!pd)
        return true;
    const bool ok = dnnl_primitive_create(&primitive, pd) == dnnl_success &&
                    make_arguments(backend, pd, args, data, 3);
    const double seconds = ok ? time_primitive(backend, primitive, args, 3) : 0;
    if (seconds > 0 && *rate < flops_of(product, backend->threads) / seconds)
        *rate = flops_of(product, backend->threads) / seconds;
    for (int i = 0; i < 3; i++) {
        if (args[i].memory)
            dnnl_memory_destroy(args[i].memory);
        gr_arena_free(data[i]);
    }
    if (primitive)
        dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(pd);
    return ok || gr_fail_memory(err, "measuring the machine");
}

static bool measure_flops(const struct gr_backend *backend, struct gr_peak *peak,
                          struct gr_error *err)
{
    /* Where the processor itself multiplies bf16; oneDNN would also emulate it. */
    const bool bf16 = gr_onednn_has_isa(dnnl_cpu_isa_avx512_core_bf16);
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof products / sizeof *products; i++)
        ok = measure_product(backend, &products[i], GR_F32, &peak->flops[GR_F32], err) &&
             (!bf16 || measure_product(backend, &products[i], GR_BF16, &peak->flops[GR_BF16], err));
    return ok;
}

/* ---- memory ------------------------------------------------------------------------------ */

/* A pass of one thread over its share: memory [count], count a multiple of 2 × AT_ONCE. */
typedef void sweep_fn(float *memory, size_t count);

/* A vector in the compiler's own language, so that the sums stay in registers. */
typedef float vector __attribute__((vector_size(VECTOR * sizeof(float)), may_alias));

GR_VECTOR_CLONES static void sweep_reading(float *memory, size_t count)
{
    const vector *data = (const vector *)memory;
    vector a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i < count / VECTOR; i += 4) {
        a += data[i];
        b += data[i + 1];
        c += data[i + 2];
        d += data[i + 3];
    }
    *(volatile float *)memory = (a + b + (c + d))[0] * 0 + memory[0];
}

static void sweep_copying(float *memory, size_t count)
{
    memcpy(memory + count / 2, memory, count / 2 * sizeof *memory);
}

GR_VECTOR_CLONES static void sweep_scaling(float *memory, size_t count)
{
    vector *data = (vector *)memory;
    volatile float one = 1; /* or the compiler sees that nothing changes */
    const float factor = one;
    for (size_t i = 0; i < count / VECTOR; i++)
        data[i] *= factor;
}

/* Bytes a second, all threads making so many passes over their shares of [count]. */
static double sweep_rate(const struct gr_backend *backend, sweep_fn *run, float *memory,
                         size_t count, size_t passes)
{
    const size_t threads = (size_t)backend->threads,
                 share = count / threads / (2 * AT_ONCE) * (2 * AT_ONCE);
    const double start = gr_seconds();
#pragma omp parallel for num_threads(backend->threads) schedule(static, 1)
    for (size_t t = 0; t < threads; t++)
        for (size_t pass = 0; pass < passes; pass++)
            run(memory + t * share, share);
    return (double)(passes * threads * share * sizeof *memory) / (gr_seconds() - start);
}

/* The most bytes a second over a working set of so many, each byte of it counted once a pass. */
static double best_rate(const struct gr_backend *backend, sweep_fn *run, float *memory,
                        size_t bytes)
{
    const size_t passes = bytes < least_swept ? least_swept / bytes : 1;
    const double begin = gr_seconds();
    double best = 0;
    for (int trial = 0; trial < TRIALS && gr_seconds() - begin < sweep_seconds; trial++) {
        const double rate = sweep_rate(backend, run, memory, bytes / sizeof *memory, passes);
        best = best < rate ? rate : best;
    }
    return best;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static bool measure_memory(const struct gr_backend *backend, struct gr_peak *peak,
                           struct gr_error *err)
{
    float *memory = gr_arena_new(largest_set);
    if (!memory)
        return gr_fail_memory(err, "measuring the machine");
    sweep_rate(backend, sweep_scaling, memory, largest_set / sizeof *memory, 1); /* first touch */
    size_t bytes = largest_set;
    for (int i = GR_PEAK_SIZES; i-- > 0; bytes /= 4) {
        struct gr_bandwidth *b = &peak->memory[i];
        b->bytes = (double)bytes;
        b->read = best_rate(backend, sweep_reading, memory, bytes);
        b->moved = larger(best_rate(backend, sweep_copying, memory, bytes), b->read);
        b->moved = larger(2 * best_rate(backend, sweep_scaling, memory, bytes), b->moved);
        if (i + 1 < GR_PEAK_SIZES) { /* less is never slower, but for noise */
            b->read = larger(b->read, b[1].read);
            b->moved = larger(b->moved, b[1].moved);
        }
    }
    gr_arena_free(memory);
    return true;
}

bool gr_machine_measure(struct gr_backend *backend, struct gr_peak *peak, struct gr_error *err)
{
    *peak = (struct gr_peak){0};
    return measure_flops(backend, peak, err) && measure_memory(backend, peak, err);
}
