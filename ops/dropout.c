/*
 * dropout: in training sets each element to zero with probability p and scales the others by
 * 1 / (1 - p); otherwise the identity.
 *
 * One block of random words gives eight 16-bit pieces, so block i decides elements 8i to 8i + 7,
 * and the mask is one bit an element, byte i for block i. A piece below p · 65536 drops its
 * element. Elements are counted in memory order, so the draw depends on the layout but not on the
 * threads.
 */
#include "ops.h"

#include <assert.h>

#include "base/random.h"
#include "elementwise.h"
#include "vector_clones.h"

struct dropout_attrs {
    double p;
};

static const struct gr_attr dropout_table[] = {
    {.name = "p",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct dropout_attrs, p),
     .def = 0.5,
     .min = 0,
     .max = 0.999,
     .doc = "the probability of dropping an element; the others are scaled by 1 / (1 - p)"},
    {0},
};

enum { CHUNK = 64 }; /* blocks drawn at a time: 512 elements */

/* keep[i] is all ones where piece i keeps its element, else 0; two pieces a word. */
GR_VECTOR_CLONES
static void find_kept(const uint32_t *words, int32_t *keep, int64_t n_words, uint32_t threshold)
{
    for (int64_t w = 0; w < n_words; w++) {
        keep[2 * w] = -(int32_t)((words[w] & 0xffffu) >= threshold);
        keep[2 * w + 1] = -(int32_t)((words[w] >> 16) >= threshold);
    }
}

/* The same from the mask's bits. */
GR_VECTOR_CLONES
static void read_mask(const uint8_t *mask, int32_t *keep, int64_t blocks)
{
    for (int64_t b = 0; b < blocks; b++)
        for (int i = 0; i < 8; i++)
            keep[8 * b + i] = -(int32_t)(mask[b] >> i & 1);
}

static void write_mask(const int32_t *keep, uint8_t *mask, int64_t blocks)
{
    for (int64_t b = 0; b < blocks; b++) {
        uint32_t bits = 0;
        for (int i = 0; i < 8; i++)
            bits |= (uint32_t)keep[8 * b + i] & 1u << i;
        mask[b] = (uint8_t)bits;
    }
}

/* dst = src · scale where keep says so, else 0. */
GR_VECTOR_CLONES
static void apply(const float *src, float *dst, const int32_t *keep, int64_t n, float scale)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dst[i] = keep[i] ? src[i] * scale : 0;
}

/* To elements at to at + n - 1 of the first input. */
static void apply_block(const struct gr_kernel *kernel, const struct gr_buffers *buffers,
                        const int32_t *keep, int64_t at, int64_t n, float scale)
{
    float read[8 * CHUNK], made[8 * CHUNK];
    const float *src = gr_elementwise_read(kernel, buffers, 0, at, n, read);
    float *dst = gr_elementwise_place(kernel, buffers, at, made);
    apply(src, dst, keep, n, scale);
    gr_elementwise_write(kernel, buffers, at, n, dst);
}

static float scale_of(const struct gr_node *node)
{
    return (float)(1 / (1 - ((const struct dropout_attrs *)node->attrs)->p));
}

static bool dropout_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)err;
    const struct gr_random_key key = gr_random_key(
        run->seed, GR_RANDOM_DROPOUT, (uint32_t)run->step, gr_random_name(gr_node_key(node)));
    const double p = ((const struct dropout_attrs *)node->attrs)->p;
    const uint32_t threshold = (uint32_t)(p * 65536 + 0.5);
    const float scale = scale_of(node);
    const int64_t count = gr_elementwise_count(kernel), blocks = (count + 7) / 8;
    uint8_t *mask = node->n_outputs > 1 ? buffers->dst[1] : NULL; /* [blocks] */
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b += CHUNK) {
        const int64_t drawn = blocks - b < CHUNK ? blocks - b : CHUNK, left = count - 8 * b;
        uint32_t words[4 * CHUNK];
        int32_t keep[8 * CHUNK];
        gr_random_word_blocks(&key, (uint64_t)b, drawn, words);
        find_kept(words, keep, 4 * drawn, threshold);
        apply_block(kernel, buffers, keep, 8 * b, left < 8 * drawn ? left : 8 * drawn, scale);
        if (mask)
            write_mask(keep, mask + b, drawn);
    }
    return true;
}

static bool gradient_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)run, (void)err;
    const float scale = scale_of(node);
    const int64_t count = gr_elementwise_count(kernel), blocks = (count + 7) / 8;
    const uint8_t *mask = buffers->src[1]; /* [blocks] */
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b += CHUNK) {
        const int64_t read = blocks - b < CHUNK ? blocks - b : CHUNK, left = count - 8 * b;
        int32_t keep[8 * CHUNK];
        read_mask(mask + b, keep, read);
        apply_block(kernel, buffers, keep, 8 * b, left < 8 * read ? left : 8 * read, scale);
    }
    return true;
}

/*
 * The order to draw in. The mask has a bit for each element without padding, so only a dense one
 * will do; and vectors per sample are plain, so that the backward needs not ask (see dropout_grad).
 */
static const struct gr_layout *drawing_order(struct gr_planning *planning,
                                             const struct gr_layout *layout,
                                             const struct gr_value *value)
{
    if (layout && value->shape.rank > 2)
        layout = gr_elementwise_order(planning, value, layout, GR_F32);
    const bool dense = layout && value->shape.rank > 2 &&
                       gr_layout_bytes(layout, value) == gr_layout_bytes(&gr_layout_plain, value);
    return dense ? layout : &gr_layout_plain;
}

static bool dropout_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_value *src = planning->node->inputs[0];
    assert(planning->node->graph->training); /* else the runtime passes the input on */
    return gr_elementwise_plan_loop(planning, 1, drawing_order(planning, planning->src[0], src),
                                    dropout_run, err);
}

static bool gradient_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_layout *drawn = node->n_inputs > 2 ? planning->src[2] : &gr_layout_plain;
    if (!gr_elementwise_plan_loop(planning, 1, drawing_order(planning, drawn, node->outputs[0]),
                                  gradient_run, err))
        return false;
    if (node->n_inputs > 2)
        planning->src[2] = drawn; /* it tells its layout and is not read */
    return true;
}

static const struct gr_op dropout_backward = {
    .kind = {.name = "dropout_backward",
             .doc = "the gradient of dropout",
             .attrs = dropout_table,
             .attrs_size = sizeof(struct dropout_attrs)},
    .flags = GR_OP_INTERNAL,
    .min_inputs = 2,
    .max_inputs = 3,
    .plan = gradient_plan,
};

static bool dropout_infer(struct gr_node *node, struct gr_error *err)
{
    return gr_loops_expect_f32(node, 0, err) &&
           gr_node_output(node, NULL, GR_F32, &node->inputs[0]->shape, err) != NULL;
}

/* The mask is in memory order: where layouts vary, the output goes along to tell which it was. */
static bool dropout_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    if (!node->graph->training)
        return gr_grad_pass(grad, 0, gr_grad_output(grad, 0), err);
    const int64_t blocks = (gr_shape_count(&node->inputs[0]->shape) + 7) / 8;
    const struct gr_shape shape = gr_shape_of(1, &blocks);
    struct gr_value *mask = gr_node_output(node, "mask", GR_U8, &shape, err);
    struct gr_value *inputs[] = {gr_grad_output(grad, 0), mask, node->outputs[0]};
    const int n_inputs = node->inputs[0]->shape.rank > 2 ? 3 : 2;
    return mask &&
           gr_grad_emit(grad, &dropout_backward, inputs, n_inputs, (const int[]){0}, 1, err);
}

const struct gr_op gr_op_dropout = {
    .kind = {.name = "dropout",
             .doc = "in training drops elements at random; the identity otherwise",
             .attrs = dropout_table,
             .attrs_size = sizeof(struct dropout_attrs)},
    .category = "regularisation",
    .flags = GR_OP_TRAINING_ONLY | GR_OP_RANDOM,
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src",
    .infer = dropout_infer,
    .grad = dropout_grad,
    .plan = dropout_plan,
};
