/*
 * Watching how the layers fare; see watch.h. Weights are compared as they lie: padding is zero and
 * changes nothing. The outputs of ReLUs are copied when the node that makes them has run, be it the
 * ReLU or a convolution that has taken it over, because their memory has other uses later.
 */
#include "train/watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/arena.h"

/* The output of a ReLU in the plan. */
struct rectified {
    const struct gr_value *value;
    const struct gr_layout *layout;
    void *copy; /* [bytes] as it lies */
    size_t bytes;
};

/* A layer with weights. */
struct layer {
    const char *name;
    const struct gr_stored *weight;
    float *before; /* [bytes] its weight as it lay before the step */
    size_t bytes;
    struct rectified rectified; /* value NULL: there is no ReLU behind it */
};

struct gr_watcher {
    struct gr_plan *plan;
    const struct gr_train_options *options;
    struct gr_pool pool;
    struct layer *layers; /* [count] */
    size_t count;
    struct gr_watch_row *rows; /* [count] */
    struct rectified **of;     /* [n_values] by the id of a value, or NULL */
    size_t n_values;
    float *plain; /* of the largest output */
};

/* ---- which layers ------------------------------------------------------------------------ */

/* The weight of a node, or NULL. */
static const struct gr_value *weight_of(const struct gr_node *node)
{
    for (int i = node->n_data; i < node->n_inputs; i++)
        if (node->inputs[i]->parameter && !node->inputs[i]->parameter->statistic)
            return node->inputs[i];
    return NULL;
}

static struct layer *find_layer(const struct gr_watcher *watcher, const char *name)
{
    for (size_t i = 0; i < watcher->count; i++)
        if (strcmp(watcher->layers[i].name, name) == 0)
            return &watcher->layers[i];
    return NULL;
}

/* A layer for each weight; one that several nodes share is the first one's. */
static bool add_layer(struct gr_watcher *watcher, const struct gr_node *node, struct gr_error *err)
{
    const struct gr_value *weight = weight_of(node);
    const struct gr_stored *stored =
        weight ? gr_params_find(watcher->plan->model->params, weight->name) : NULL;
    for (size_t i = 0; i < watcher->count; i++)
        if (watcher->layers[i].weight == stored)
            return true;
    if (!stored)
        return true;
    struct layer *layer = &watcher->layers[watcher->count++];
    layer->weight = stored;
    layer->name = gr_pool_strdup(&watcher->pool, node->name);
    layer->bytes = gr_layout_bytes(stored->layout, &stored->value);
    layer->before = gr_arena_new(layer->bytes);
    return (layer->name && layer->before) || gr_fail_memory(err, "watching layers");
}

/* The layer that a ReLU stands behind: the nearest before it, by first inputs. */
static struct layer *layer_before(const struct gr_watcher *watcher, const struct gr_node *relu)
{
    const struct gr_node *node = relu;
    struct layer *layer = NULL;
    while (!layer && node->n_inputs && (node = node->inputs[0]->producer))
        layer = find_layer(watcher, node->name);
    return layer;
}

/* ---- ReLUs in the plan ------------------------------------------------------------------- */

/* The layout that a value has when its node has run; NULL: no node makes it. */
static const struct gr_layout *layout_of(const struct gr_program *program,
                                         const struct gr_value *value)
{
    for (size_t s = 0; s < gr_program_step_count(program); s++) {
        const struct gr_step *step = gr_program_step(program, s);
        for (int o = 0; o < step->node->n_outputs; o++)
            if (step->node->outputs[o] == value)
                return step->dst_layouts[o];
    }
    return NULL;
}

static bool add_rectified(struct gr_watcher *watcher, const struct gr_node *relu, size_t *largest,
                          struct gr_error *err)
{
    struct layer *layer = layer_before(watcher, relu);
    const struct gr_value *value = gr_graph_value(watcher->plan->graph, relu->outputs[0]->name);
    const struct gr_layout *layout = value ? layout_of(watcher->plan->program, value) : NULL;
    if (!layer || layer->rectified.value || !layout || value->shape.rank < 2)
        return true;
    const size_t bytes = gr_layout_bytes(layout, value);
    const size_t plain = gr_layout_bytes(NULL, value);
    layer->rectified = (struct rectified){value, layout, gr_arena_new(bytes), bytes};
    *largest = plain > *largest ? plain : *largest;
    watcher->of[value->id] = &layer->rectified;
    return layer->rectified.copy || gr_fail_memory(err, "watching layers");
}

/* ---- opening ----------------------------------------------------------------------------- */

static bool fill(struct gr_watcher *watcher, const struct gr_graph *graph, struct gr_error *err)
{
    size_t largest = 0;
    watcher->n_values = watcher->plan->graph->n_values;
    watcher->layers = gr_pool_array(&watcher->pool, graph->n_nodes + 1, sizeof *watcher->layers);
    watcher->rows = gr_pool_array(&watcher->pool, graph->n_nodes + 1, sizeof *watcher->rows);
    watcher->of = gr_pool_array(&watcher->pool, watcher->n_values + 1, sizeof *watcher->of);
    if (!watcher->layers || !watcher->rows || !watcher->of)
        return gr_fail_memory(err, "watching layers");
    for (size_t n = 0; n < graph->n_nodes; n++)
        if (!add_layer(watcher, graph->nodes[n], err))
            return false;
    for (size_t n = 0; n < graph->n_nodes; n++)
        if ((graph->nodes[n]->op->flags & GR_OP_RECTIFIER) &&
            !add_rectified(watcher, graph->nodes[n], &largest, err))
            return false;
    watcher->plain = gr_arena_new(largest + 1);
    return watcher->plain || gr_fail_memory(err, "watching layers");
}

bool gr_watcher_new(struct gr_watcher **watcher, struct gr_plan *plan,
                    const struct gr_train_options *options, struct gr_error *err)
{
    *watcher = NULL;
    if (options->watch_every <= 0 || !options->watch)
        return true;
    struct gr_watcher *made = calloc(1, sizeof *made);
    /* As the model file has it: in the plan, nodes have been fused. */
    struct gr_graph *graph = made ? gr_model_file_graph(plan->model->file, 1, true, err) : NULL;
    bool ok = graph || gr_fail_memory(err, "watching layers");
    if (made) {
        made->plan = plan;
        made->options = options;
    }
    ok = ok && fill(made, graph, err);
    gr_graph_free(graph);
    if (ok)
        *watcher = made;
    else
        gr_watcher_free(made);
    return ok;
}

void gr_watcher_free(struct gr_watcher *watcher)
{
    if (!watcher)
        return;
    for (size_t i = 0; i < watcher->count; i++) {
        gr_arena_free(watcher->layers[i].before);
        gr_arena_free(watcher->layers[i].rectified.copy);
    }
    gr_arena_free(watcher->plain);
    gr_pool_release(&watcher->pool);
    free(watcher);
}

/* ---- around a step ----------------------------------------------------------------------- */

/* Copies what a step has made, in whatever lane it ran. */
static void copy_outputs(void *user, const struct gr_step *step)
{
    const struct gr_watcher *watcher = user;
    for (int o = 0; o < step->node->n_outputs; o++) {
        const size_t id = (size_t)step->node->outputs[o]->id;
        const struct rectified *rectified = id < watcher->n_values ? watcher->of[id] : NULL;
        if (rectified)
            memcpy(rectified->copy, step->buffers.dst[o], rectified->bytes);
    }
}

static bool is_watched(const struct gr_watcher *watcher, int64_t step)
{
    return watcher && step % watcher->options->watch_every == 0;
}

void gr_watcher_before(struct gr_watcher *watcher, int64_t step)
{
    if (!is_watched(watcher, step))
        return;
    for (size_t i = 0; i < watcher->count; i++)
        memcpy(watcher->layers[i].before, watcher->layers[i].weight->data,
               watcher->layers[i].bytes);
    gr_program_observe(watcher->plan->program, copy_outputs, watcher);
}

static void measure_weight(const struct layer *layer, struct gr_watch_row *row)
{
    const float *now = layer->weight->data, *before = layer->before;
    const int64_t count = (int64_t)(layer->bytes / sizeof *now);
    double weight = 0, change = 0;
#pragma omp parallel for simd reduction(+ : weight, change) if (count > 1 << 16)
    for (int64_t i = 0; i < count; i++) {
        const double w = now[i], d = w - (double)before[i];
        weight += w * w;
        change += d * d;
    }
    row->weight = sqrt(weight);
    row->change = sqrt(change);
}

/* Counts the channels of plain [N, C, inner] that are nowhere above zero. */
static int64_t count_dead(const float *plain, const struct gr_shape *shape)
{
    const int64_t N = shape->dim[0], C = shape->dim[1];
    const int64_t inner = gr_shape_count(shape) / (N * C);
    int64_t dead = 0;
    for (int64_t c = 0; c < C; c++) {
        bool alive = false;
        for (int64_t n = 0; n < N && !alive; n++)
            for (int64_t i = 0; i < inner && !alive; i++)
                alive = plain[(n * C + c) * inner + i] > 0;
        dead += !alive;
    }
    return dead;
}

static bool measure_relu(const struct gr_watcher *watcher, const struct rectified *rectified,
                         struct gr_watch_row *row, struct gr_error *err)
{
    const struct gr_context *context = watcher->plan->model->context;
    const struct gr_value *value = rectified->value;
    if (!value)
        return true;
    if (!context->ops->convert(context->backend, value, rectified->layout, rectified->copy,
                               &gr_layout_plain, watcher->plain, err))
        return false;
    row->units = value->shape.dim[1];
    row->dead = count_dead(watcher->plain, &value->shape);
    return true;
}

bool gr_watcher_after(struct gr_watcher *watcher, int64_t step, double rate, double loss,
                      struct gr_error *err)
{
    if (!is_watched(watcher, step))
        return true;
    gr_program_observe(watcher->plan->program, NULL, NULL);
    for (size_t i = 0; i < watcher->count; i++) {
        const struct layer *layer = &watcher->layers[i];
        watcher->rows[i] = (struct gr_watch_row){.layer = layer->name};
        measure_weight(layer, &watcher->rows[i]);
        if (!measure_relu(watcher, &layer->rectified, &watcher->rows[i], err))
            return false;
    }
    const struct gr_watch watch = {.step = step,
                                   .loss = loss,
                                   .learning_rate = rate,
                                   .rows = watcher->rows,
                                   .n_rows = watcher->count};
    watcher->options->watch(watcher->options->watch_user, &watch);
    return true;
}
