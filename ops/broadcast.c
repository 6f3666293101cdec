/*
 * Broadcasting and its gradient, reduce_like; see broadcast.h.
 */
#include "broadcast.h"

#include <stdlib.h>
#include <string.h>

#include "loops.h"
#include "onednn.h"
#include "ops.h"

/* Where the second operand's elements go, with neighbouring dimensions merged as far as they can.
 */
struct broadcast {
    enum gr_broadcast_kind kind;
    int rank;                    /* at least 1 */
    int64_t dim[GR_MAX_RANK];    /* of the result */
    int64_t stride[GR_MAX_RANK]; /* of the second operand in elements; 0: repeated */
    int64_t outer;               /* product of all dims but the last */
};

/* False: b does not fit a. */
static bool broadcast_init(struct broadcast *broadcast, const struct gr_shape *a,
                           const struct gr_shape *b)
{
    int64_t stride[GR_MAX_RANK] = {0}, step = 1;
    if (b->rank > a->rank)
        return false;
    for (int i = a->rank - 1, j = b->rank - 1; j >= 0; i--, j--) {
        if (b->dim[j] != a->dim[i] && b->dim[j] != 1)
            return false;
        stride[i] = b->dim[j] == 1 ? 0 : step;
        step *= b->dim[j];
    }
    /* A dimension merges into the one before it when both repeat or both walk contiguously. */
    memset(broadcast, 0, sizeof *broadcast);
    for (int i = 0; i < a->rank; i++) {
        const int last = broadcast->rank - 1;
        if (a->dim[i] == 1)
            continue;
        if (last >= 0 && broadcast->stride[last] == stride[i] * a->dim[i]) {
            broadcast->dim[last] *= a->dim[i];
            broadcast->stride[last] = stride[i];
        } else {
            broadcast->dim[broadcast->rank] = a->dim[i];
            broadcast->stride[broadcast->rank++] = stride[i];
        }
    }
    if (broadcast->rank == 0)
        broadcast->dim[broadcast->rank++] = 1;
    broadcast->outer = 1;
    for (int i = 0; i < broadcast->rank - 1; i++)
        broadcast->outer *= broadcast->dim[i];
    return true;
}

/* The offset of the second operand's element at the start of the outer-th row of the result. */
static int64_t row_offset(const struct broadcast *broadcast, int64_t outer)
{
    int64_t offset = 0;
    for (int i = broadcast->rank - 2; i >= 0; i--) {
        offset += outer % broadcast->dim[i] * broadcast->stride[i];
        outer /= broadcast->dim[i];
    }
    return offset;
}

bool gr_broadcast_expect(const struct gr_node *node, struct gr_error *err)
{
    const struct gr_value *a = node->inputs[0], *b = node->inputs[1];
    struct broadcast broadcast;
    char text[GR_SHAPE_TEXT], other[GR_SHAPE_TEXT];
    if (broadcast_init(&broadcast, &a->shape, &b->shape))
        return true;
    return gr_node_fail(node, err, "'%s' is %s and does not fit '%s', which is %s", b->name,
                        gr_shape_text(&b->shape, text), a->name, gr_shape_text(&a->shape, other));
}

static void broadcast_row(enum gr_broadcast_kind kind, const float *a, const float *b,
                          int64_t stride, float *dst, int64_t n)
{
    if (kind == GR_BROADCAST_ADD)
        for (int64_t i = 0; i < n; i++)
            dst[i] = a[i] + b[i * stride];
    else
        for (int64_t i = 0; i < n; i++)
            dst[i] = a[i] * b[i * stride];
}

static bool broadcast_run(const struct gr_kernel *kernel, const struct gr_node *node,
                          const struct gr_buffers *buffers, const struct gr_run *run,
                          struct gr_error *err)
{
    (void)node, (void)run, (void)err;
    const struct broadcast *broadcast = kernel->state;
    const int64_t inner = broadcast->dim[broadcast->rank - 1];
    const int64_t stride = broadcast->stride[broadcast->rank - 1]; /* 0 or 1 */
    const float *a = buffers->src[0];                              /* [outer, inner] */
    const float *b = buffers->src[1];
    float *dst = buffers->dst[0]; /* [outer, inner] */
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < broadcast->outer; o++)
        broadcast_row(broadcast->kind, a + o * inner, b + row_offset(broadcast, o), stride,
                      dst + o * inner, inner);
    return true;
}

bool gr_broadcast_plan(struct gr_planning *planning, enum gr_broadcast_kind kind,
                       struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    struct broadcast *broadcast = calloc(1, sizeof *broadcast);
    if (!broadcast)
        return gr_fail_memory(err, "a broadcast");
    gr_loops_plan_plain(planning, broadcast_run);
    planning->kernel->state = broadcast;
    planning->kernel->free_state = free;
    planning->kernel->in_place = 1;
    if (!broadcast_init(broadcast, &node->inputs[0]->shape, &node->inputs[1]->shape))
        return gr_node_fail(node, err, "the second input does not fit the first");
    broadcast->kind = kind;
    return true;
}

bool gr_broadcast_primitive(struct gr_planning *planning, enum gr_broadcast_kind kind,
                            struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_backend *backend = planning->backend;
    const enum gr_dtype type = gr_planning_dtype(planning);
    /* The second operand in as many dimensions as the first. */
    struct gr_value second = *node->inputs[1];
    const int more = node->inputs[0]->shape.rank - second.shape.rank;
    for (int i = node->inputs[0]->shape.rank; i-- > 0;)
        second.shape.dim[i] = i < more ? 1 : node->inputs[1]->shape.dim[i - more];
    second.shape.rank += more;
    dnnl_primitive_desc_t pd = NULL;
    struct gr_desc a = {0}, b = {0};
    bool ok =
        gr_desc_blocked(&a, node->inputs[0], type, err) && gr_desc_blocked(&b, &second, type, err);
    if (ok) {
        const dnnl_status_t status = gr_onednn_binary(
            &pd, backend->engine, kind == GR_BROADCAST_ADD ? dnnl_binary_add : dnnl_binary_mul,
            gr_desc_get(&a), gr_desc_get(&b), gr_desc_get(&a), backend->attr);
        ok = gr_onednn_alone(planning, status, pd, err);
    }
    gr_desc_release(&a);
    gr_desc_release(&b);
    return ok;
}

/* ---- reduce_like ------------------------------------------------------------------------- */

/* The dimensions of the source split in those that the result keeps and those summed away. */
struct axes {
    int rank;
    int64_t dim[GR_MAX_RANK], stride[GR_MAX_RANK]; /* of the source */
    int64_t count;
};

struct reduce {
    struct axes kept, summed;
};

static void add_axis(struct axes *axes, int64_t dim, int64_t stride)
{
    axes->dim[axes->rank] = dim;
    axes->stride[axes->rank++] = stride;
    axes->count *= dim;
}

static int64_t offset_of(const struct axes *axes, int64_t index)
{
    int64_t offset = 0;
    for (int i = axes->rank - 1; i >= 0; i--) {
        offset += index % axes->dim[i] * axes->stride[i];
        index /= axes->dim[i];
    }
    return offset;
}

static struct reduce *reduce_new(const struct broadcast *broadcast)
{
    struct reduce *reduce = calloc(1, sizeof *reduce);
    if (!reduce)
        return NULL;
    int64_t stride[GR_MAX_RANK], step = 1;
    for (int i = broadcast->rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= broadcast->dim[i];
    }
    reduce->kept.count = reduce->summed.count = 1;
    for (int i = 0; i < broadcast->rank; i++)
        add_axis(broadcast->stride[i] ? &reduce->kept : &reduce->summed, broadcast->dim[i],
                 stride[i]);
    return reduce;
}

/* The sum of a (times b unless NULL) over the summed axes, the last of them in the inner loop. */
static double sum_over(const struct axes *axes, const float *a, const float *b)
{
    const int64_t inner = axes->rank ? axes->dim[axes->rank - 1] : 1;
    const int64_t stride = axes->rank ? axes->stride[axes->rank - 1] : 1;
    double sum = 0;
    for (int64_t outer = 0; outer < axes->count; outer += inner) {
        const int64_t at = offset_of(axes, outer);
        if (b)
            for (int64_t i = 0; i < inner; i++)
                sum += (double)a[at + i * stride] * (double)b[at + i * stride];
        else
            for (int64_t i = 0; i < inner; i++)
                sum += (double)a[at + i * stride];
    }
    return sum;
}

static bool reduce_run(const struct gr_kernel *kernel, const struct gr_node *node,
                       const struct gr_buffers *buffers, const struct gr_run *run,
                       struct gr_error *err)
{
    (void)run, (void)err;
    const struct reduce *reduce = kernel->state;
    const float *a = buffers->src[0];                             /* the source's shape */
    const float *b = node->n_inputs > 1 ? buffers->src[1] : NULL; /* the same */
    float *dst = buffers->dst[0];                                 /* [kept.count] */
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < reduce->kept.count; k++) {
        const int64_t at = offset_of(&reduce->kept, k);
        dst[k] = (float)sum_over(&reduce->summed, a + at, b ? b + at : NULL);
    }
    return true;
}

static bool reduce_plan(struct gr_planning *planning, struct gr_error *err)
{
    struct broadcast broadcast;
    if (!broadcast_init(&broadcast, &planning->node->inputs[0]->shape,
                        &planning->node->outputs[0]->shape))
        return gr_node_fail(planning->node, err, "the output does not fit the input");
    gr_loops_plan_plain(planning, reduce_run);
    planning->kernel->state = reduce_new(&broadcast);
    planning->kernel->free_state = free;
    return planning->kernel->state || gr_fail_memory(err, "a kernel");
}

const struct gr_op gr_op_reduce_like = {
    .kind = {.name = "reduce_like", .doc = "the gradient of a broadcast operand"},
    .flags = GR_OP_INTERNAL,
    .min_inputs = 1,
    .max_inputs = 2,
    .plan = reduce_plan,
};
