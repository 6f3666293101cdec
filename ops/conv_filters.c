/*
 * Transformed filters; see conv_filters.h.
 */
#include "conv_filters.h"

#include <stdlib.h>
#include <string.h>

enum { LANES = GR_TILE_LANES };

/* ---- the transform ------------------------------------------------------------------------- */

/* The points of conv_tiles_avx512.c, infinity aside. */
static const double points_6[] = {0, 0.75, -0.75, 1.5, -1.5},
                    points_8[] = {0, 1, -1, 2, -2, 0.5, -0.5};

/* G: powers of each point over the product of its distances to the others. */
void gr_conv_filters_init(struct gr_tile_grid *grid)
{
    const double *points = grid->size == 6 ? points_6 : points_8;
    const int64_t taps = grid->size + 1 - grid->m;
    for (int64_t i = 0; i < grid->size - 1; i++) {
        double value = 1;
        for (int64_t j = 0; j < grid->size - 1; j++)
            value /= j == i ? 1 : points[i] - points[j];
        for (int64_t k = 0; k < taps; k++, value *= points[i])
            grid->filter[i][k] = (float)value;
    }
    grid->filter[grid->size - 1][taps - 1] = 1;
}

int64_t gr_conv_filters_spread(int64_t floats)
{
    return (floats / LANES | 1) * LANES;
}

int64_t gr_conv_filters_block(const struct gr_tile_grid *grid)
{
    return LANES * gr_tile_words(grid->rounded ? GR_TILE_PAIRS : GR_TILE_F32, 1);
}

int64_t gr_conv_filters_position(const struct gr_tile_grid *grid)
{
    return gr_conv_filters_spread(grid->in * gr_conv_filters_block(grid) * grid->out);
}

int64_t gr_conv_filters_count(const struct gr_tile_grid *grid)
{
    return grid->groups * grid->size * grid->size * gr_conv_filters_position(grid);
}

void gr_conv_filters_transform(const struct gr_tile_grid *grid, bool turned, const float *weights,
                               float *u)
{
    const int64_t in = grid->in, out = grid->out, positions = grid->size * grid->size;
    const int64_t edge = grid->size + 1 - grid->m, taps = edge * edge;
    const int64_t position = gr_conv_filters_position(grid);
#pragma omp parallel for collapse(3) schedule(static)
    for (int64_t g = 0; g < grid->groups; g++)
        for (int64_t o = 0; o < out; o++)
            for (int64_t i = 0; i < in; i++) {
                const int64_t block = turned ? (g * in + i) * out + o : (g * out + o) * in + i;
                const float *w = weights + block * taps * LANES * LANES;
                float *to =
                    u + g * positions * position + (o * in + i) * gr_conv_filters_block(grid);
                for (int64_t c = 0; c < LANES; c++)
                    gr_tiles_avx512_filter(grid, w + c * LANES, (int64_t)LANES * LANES, turned, c,
                                           to, position);
            }
}

/* ---- layouts ------------------------------------------------------------------------------- */

const struct gr_layout *gr_conv_filters_blocked(struct gr_backend *backend,
                                                const struct gr_value *weights,
                                                const struct gr_tile_grid *grid, bool turned,
                                                struct gr_error *err)
{
    static const dnnl_format_tag_t tags[2][2] = {{dnnl_OIhw16i16o, dnnl_gOIhw16i16o},
                                                 {dnnl_OIhw16o16i, dnnl_gOIhw16o16i}};
    const int64_t *dim = weights->shape.dim, g = grid->groups;
    const int64_t dims[] = {g, dim[0] / g, dim[1], dim[2], dim[3]};
    struct gr_desc desc = {0};
    if (!gr_desc_tagged(&desc, g > 1 ? 5 : 4, g > 1 ? dims : dims + 1, GR_F32, tags[turned][g > 1],
                        err))
        return NULL;
    const struct gr_layout *layout =
        gr_onednn_layout(backend, weights, gr_desc_get(&desc), true, err);
    gr_desc_release(&desc);
    return layout;
}

const struct gr_layout *gr_conv_filters_layout(struct gr_backend *backend,
                                               const struct gr_tile_grid *grid,
                                               struct gr_error *err)
{
    const int64_t dims[] = {grid->groups, grid->size * grid->size, gr_conv_filters_position(grid)};
    struct gr_desc desc = {0};
    if (!gr_desc_init(&desc, 3, dims, GR_F32, GR_FORMAT_PLAIN, err))
        return NULL;
    const struct gr_layout *layout = gr_onednn_named(backend, gr_desc_get(&desc),
                                                     grid->rounded     ? "bf16:winograd6x6"
                                                     : grid->size == 6 ? "winograd6x6"
                                                                       : "winograd8x8",
                                                     err);
    gr_desc_release(&desc);
    return layout;
}

/* [G, size², position]: of weights, which have four dimensions or five, no other layout has three.
 */
static bool filters_of(const struct gr_value *value, const struct gr_layout *layout,
                       struct gr_tile_grid *grid)
{
    struct gr_desc desc = {0};
    struct gr_onednn_facts facts;
    if (value->shape.rank != 4 || !layout || layout == &gr_layout_plain ||
        !gr_desc_in(&desc, value, layout, NULL))
        return false;
    gr_onednn_facts(gr_desc_get(&desc), &facts);
    gr_desc_release(&desc);
    if (facts.rank != 3)
        return false;
    *grid = (struct gr_tile_grid){.size = facts.dims[1] == 36 ? 6 : 8,
                                  .groups = facts.dims[0],
                                  .in = value->shape.dim[1] / LANES,
                                  .out = value->shape.dim[0] / facts.dims[0] / LANES};
    grid->m = grid->size + 1 - value->shape.dim[2];
    grid->rounded = facts.dims[2] != gr_conv_filters_position(grid);
    gr_conv_filters_init(grid);
    return true;
}

bool gr_conv_filters_are(const struct gr_value *value, const struct gr_layout *layout)
{
    struct gr_tile_grid grid;
    return filters_of(value, layout, &grid);
}

/* ---- the reorder ---------------------------------------------------------------------------- */

/* What lies otherwise is brought to blocks in the scratch first. */
struct filters_state {
    struct gr_tile_grid grid;
    struct gr_onednn_call *blocks; /* or NULL */
    size_t bytes;                  /* of the blocks */
};

static void free_state(void *pointer)
{
    struct filters_state *s = pointer;
    gr_onednn_call_free(s->blocks);
    free(s);
}

static bool filters_bind(struct gr_kernel *kernel, const struct gr_buffers *buffers,
                         struct gr_error *err)
{
    const struct filters_state *s = kernel->state;
    const struct gr_buffers inner = {buffers->src, &buffers->scratch,
                                     (char *)buffers->scratch + s->bytes};
    return !s->blocks || gr_onednn_call_bind(s->blocks, &inner, err);
}

static bool filters_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run;
    const struct filters_state *s = kernel->state;
    if (s->blocks && !gr_onednn_call_run(s->blocks, node, err))
        return false;
    gr_conv_filters_transform(&s->grid, false, s->blocks ? buffers->scratch : buffers->src[0],
                              buffers->dst[0]);
    return true;
}

static bool make_blocks(struct gr_planning *planning, struct filters_state *s,
                        const struct gr_layout *blocked, struct gr_error *err)
{
    static const struct gr_onednn_arg args[] = {{DNNL_ARG_FROM, 0}, {DNNL_ARG_TO, GR_DST(0)}};
    const struct gr_value *value = planning->node->inputs[0];
    dnnl_primitive_desc_t pd;
    if (!gr_onednn_ok(gr_onednn_reorder(&pd, planning->backend, value, planning->src[0], blocked),
                      planning->node, err))
        return false;
    s->blocks = gr_onednn_call_new(planning->backend, pd, args, 2, err);
    s->bytes = (gr_layout_bytes(blocked, value) + 63) / 64 * 64;
    dnnl_primitive_desc_destroy(pd);
    return s->blocks != NULL;
}

bool gr_conv_filters_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_value *value = planning->node->inputs[0];
    struct filters_state *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "a kernel");
    filters_of(value, planning->dst[0], &s->grid);
    const struct gr_layout *blocked =
        gr_conv_filters_blocked(planning->backend, value, &s->grid, false, err);
    if (!blocked || (planning->src[0] != blocked && !make_blocks(planning, s, blocked, err))) {
        free_state(s);
        return false;
    }
    *planning->kernel = (struct gr_kernel){
        .impl = "avx512:winograd",
        .scratch_bytes = s->blocks ? s->bytes + gr_onednn_call_scratch(s->blocks) : 0,
        .state = s,
        .bind = filters_bind,
        .run = filters_run,
        .free_state = free_state};
    return true;
}
