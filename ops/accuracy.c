/*
 * accuracy: the share of the labelled rows whose label is among the k highest scores. Of equal
 * scores the lower class ranks first, and NaN ranks above every number. Not differentiable.
 */
#include "ops.h"

#include "loops.h"

struct accuracy_attrs {
    int64_t k;
};

static const struct gr_attr accuracy_table[] = {
    {.name = "k",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct accuracy_attrs, k),
     .def = 1,
     .min = 1,
     .max = 1e9,
     .doc = "a row is right when its label is among the k highest scores"},
    {0},
};

/* How many classes rank before the label: those not below it, and of equals the earlier ones. */
static int64_t rank_of(const float *scores, int64_t C, int64_t label)
{
    const float mine = scores[label];
    int64_t rank = 0;
    for (int64_t c = 0; c < C; c++)
        rank += !(scores[c] <= mine) || (scores[c] >= mine && c < label);
    return rank;
}

static bool accuracy_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)kernel, (void)run;
    const struct accuracy_attrs *attrs = node->attrs;
    const int64_t N = node->inputs[0]->shape.dim[0], C = node->inputs[0]->shape.dim[1];
    const float *scores = buffers->src[0];   /* [N, C] */
    const int32_t *labels = buffers->src[1]; /* [N] */
    int64_t right = 0, labelled = 0, outside = N;
#pragma omp parallel for schedule(static) reduction(+ : right, labelled) reduction(min : outside)
    for (int64_t n = 0; n < N; n++) {
        if (labels[n] < -1 || labels[n] >= C) {
            outside = n < outside ? n : outside;
        } else if (labels[n] >= 0) {
            labelled++;
            right += rank_of(scores + n * C, C, labels[n]) < attrs->k;
        }
    }
    if (outside < N)
        return gr_fail(err, GR_ERR_DATA,
                       "%s: the label of sample %lld is %d, outside -1 (none) to %lld", node->name,
                       (long long)outside, (int)labels[outside], (long long)(C - 1));
    *(float *)buffers->dst[0] = labelled ? (float)((double)right / (double)labelled) : 0;
    return true;
}

static bool accuracy_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    gr_loops_plan_plain(planning, accuracy_run);
    return true;
}

static bool accuracy_infer(struct gr_node *node, struct gr_error *err)
{
    const struct accuracy_attrs *attrs = node->attrs;
    const struct gr_shape scalar = {0};
    if (!gr_loops_expect_logits(node, err))
        return false;
    if (attrs->k > node->inputs[0]->shape.dim[1])
        return gr_node_fail(node, err, "k %lld is more than the %lld classes of '%s'",
                            (long long)attrs->k, (long long)node->inputs[0]->shape.dim[1],
                            node->inputs[0]->name);
    return gr_node_output(node, NULL, GR_F32, &scalar, err) != NULL;
}

static int64_t accuracy_top_k(const void *attrs)
{
    return ((const struct accuracy_attrs *)attrs)->k;
}

const struct gr_op gr_op_accuracy = {
    .kind = {.name = "accuracy",
             .doc = "the share of rows whose label is among the k highest scores; rows labelled -1 "
                    "are left out",
             .attrs = accuracy_table,
             .attrs_size = sizeof(struct accuracy_attrs)},
    .category = "loss and metrics",
    .min_inputs = 2,
    .max_inputs = 2,
    .input_doc = "scores [N, C], labels [N]",
    .infer = accuracy_infer,
    .plan = accuracy_plan,
    .top_k = accuracy_top_k,
};
