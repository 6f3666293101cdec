/*
 * softmax_cross_entropy: the mean over the labelled rows of log(sum_c exp(x_c)) - x_label, softmax
 * and logarithm in one stable step. A row whose label is -1 counts for nothing; with no labelled
 * row at all the loss is 0.
 *
 * Training keeps each row's logsumexp; the gradient is (exp(x_c - logsumexp) - [c = label]) / rows.
 */
#include "ops.h"

#include <math.h>
#include <string.h>

#include "loops.h"

static double logsumexp(const float *x, int64_t C)
{
    float max = x[0];
    for (int64_t c = 1; c < C; c++)
        max = x[c] > max ? x[c] : max;
    double sum = 0;
    for (int64_t c = 0; c < C; c++)
        sum += (double)expf(x[c] - max);
    return (double)max + log(sum);
}

/* How many rows have a label; false when one is no class. */
static bool count_labels(const struct gr_node *node, const int32_t *labels, int64_t N, int64_t C,
                         int64_t *labelled, struct gr_error *err)
{
    *labelled = 0;
    for (int64_t n = 0; n < N; n++) {
        if (labels[n] < -1 || labels[n] >= C)
            return gr_fail(err, GR_ERR_DATA,
                           "%s: the label of sample %lld is %d, outside -1 (none) to %lld",
                           node->name, (long long)n, (int)labels[n], (long long)(C - 1));
        *labelled += labels[n] >= 0;
    }
    return true;
}

static bool loss_run(const struct gr_kernel *kernel, const struct gr_node *node,
                     const struct gr_buffers *buffers, const struct gr_run *run,
                     struct gr_error *err)
{
    (void)kernel, (void)run;
    const int64_t N = node->inputs[0]->shape.dim[0], C = node->inputs[0]->shape.dim[1];
    const float *logits = buffers->src[0];                                 /* [N, C] */
    const int32_t *labels = buffers->src[1];                               /* [N] */
    float *lse = node->n_outputs > 1 ? buffers->dst[1] : buffers->scratch; /* [N] */
    int64_t labelled;
    if (!count_labels(node, labels, N, C, &labelled, err))
        return false;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < N; n++)
        lse[n] = (float)logsumexp(logits + n * C, C);
    double sum = 0;
    for (int64_t n = 0; n < N; n++)
        if (labels[n] >= 0)
            sum += (double)lse[n] - (double)logits[n * C + labels[n]];
    *(float *)buffers->dst[0] = labelled ? (float)(sum / (double)labelled) : 0;
    return true;
}

static bool gradient_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)kernel, (void)run;
    const int64_t N = node->inputs[1]->shape.dim[0], C = node->inputs[1]->shape.dim[1];
    const float upstream = *(const float *)buffers->src[0];
    const float *logits = buffers->src[1];   /* [N, C] */
    const int32_t *labels = buffers->src[2]; /* [N] */
    const float *lse = buffers->src[3];      /* [N] */
    float *dst = buffers->dst[0];            /* [N, C] */
    int64_t labelled;
    if (!count_labels(node, labels, N, C, &labelled, err))
        return false;
    const float scale = labelled ? (float)((double)upstream / (double)labelled) : 0;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < N; n++) {
        if (labels[n] < 0) {
            memset(dst + n * C, 0, (size_t)C * sizeof *dst);
            continue;
        }
        for (int64_t c = 0; c < C; c++)
            dst[n * C + c] = scale * expf(logits[n * C + c] - lse[n]);
        dst[n * C + labels[n]] -= scale;
    }
    return true;
}

static bool loss_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    gr_loops_plan_plain(planning, loss_run);
    if (planning->node->n_outputs == 1)
        planning->kernel->scratch_bytes =
            (size_t)planning->node->inputs[0]->shape.dim[0] * sizeof(float);
    return true;
}

static bool gradient_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    gr_loops_plan_plain(planning, gradient_run);
    planning->kernel->in_place = 2; /* over the logits */
    return true;
}

static const struct gr_op loss_backward = {
    .kind = {.name = "softmax_cross_entropy_backward",
             .doc = "the gradient of softmax_cross_entropy"},
    .flags = GR_OP_INTERNAL,
    .min_inputs = 4,
    .max_inputs = 4,
    .plan = gradient_plan,
};

static bool loss_infer(struct gr_node *node, struct gr_error *err)
{
    const struct gr_shape scalar = {0};
    return gr_loops_expect_logits(node, err) &&
           gr_node_output(node, NULL, GR_F32, &scalar, err) != NULL;
}

static bool loss_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *lse =
        gr_node_output(node, "logsumexp", GR_F32, &node->inputs[1]->shape, err); /* [N] */
    struct gr_value *inputs[] = {gr_grad_output(grad, 0), node->inputs[0], node->inputs[1], lse};
    return lse && gr_grad_emit(grad, &loss_backward, inputs, 4, (const int[]){0}, 1, err) != NULL;
}

const struct gr_op gr_op_softmax_cross_entropy = {
    .kind = {.name = "softmax_cross_entropy",
             .doc = "the mean cross-entropy of the softmax of scores against labels; rows labelled "
                    "-1 are left out"},
    .category = "loss and metrics",
    .min_inputs = 2,
    .max_inputs = 2,
    .input_doc = "scores [N, C], labels [N]",
    .infer = loss_infer,
    .grad = loss_grad,
    .plan = loss_plan,
};
