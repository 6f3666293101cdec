/*
 * Checking and running the transforms of a part; see pipeline.h and part.h.
 */
#include "data/pipeline.h"

#include <assert.h>
#include <inttypes.h>

static const struct gr_transform *transform_of(const struct gr_choice *choice)
{
    return (const struct gr_transform *)(const void *)choice->kind;
}

/* Changes what the written values are, not the pixels. */
static bool is_of_values(const struct gr_transform *transform)
{
    return transform->values || transform->shift;
}

/* Puts "data.train: " before what a transform or source said. */
static bool fail_part(const struct gr_data_part *part, const struct gr_error *inner,
                      struct gr_error *err)
{
    return gr_fail(err, inner->status, "data.%s: %s", part->name, inner->message);
}

bool gr_data_part_check(const struct gr_data_part *part, struct gr_error *err)
{
    struct gr_error inner = {0};
    const char *values = NULL; /* the first transform of values met */
    if (part->n_transforms > GR_TRANSFORMS_MAX)
        return gr_fail(err, GR_ERR_MODEL, "data.%s: %d transforms are more than the %d possible",
                       part->name, part->n_transforms, GR_TRANSFORMS_MAX);
    for (int i = 0; i < part->n_transforms; i++) {
        const struct gr_choice *choice = &part->transforms[i];
        const struct gr_transform *transform = transform_of(choice);
        if (transform->check && !transform->check(choice->attrs, &inner))
            return fail_part(part, &inner, err);
        if (values && !is_of_values(transform))
            return gr_fail(err, GR_ERR_MODEL,
                           "data.%s: %s comes after %s: put scale, mean, normalize and "
                           "pca_lighting last",
                           part->name, choice->kind->name, values);
        if (is_of_values(transform))
            values = choice->kind->name;
    }
    return true;
}

bool gr_data_part_has(const struct gr_data_part *part, const struct gr_transform *transform)
{
    for (int i = 0; i < part->n_transforms; i++)
        if (part->transforms[i].kind == &transform->kind)
            return true;
    return false;
}

int gr_data_part_channels(const struct gr_data_part *part, const struct gr_shape *sample_shape)
{
    return sample_shape->dim[0] == 1 && !gr_data_part_has(part, &gr_transform_grayscale) ? 1 : 3;
}

struct gr_source_target gr_data_part_target(const struct gr_data_part *part)
{
    struct gr_source_target target = {0};
    const struct gr_choice *first = part->transforms;
    if (part->n_transforms && transform_of(first)->target)
        transform_of(first)->target(first->attrs, &target);
    return target;
}

bool gr_data_part_fits(const struct gr_data_part *part, const struct gr_shape *sample_shape,
                       struct gr_error *err)
{
    char text[GR_SHAPE_TEXT];
    if (sample_shape->rank == 3 && (sample_shape->dim[0] == 1 || sample_shape->dim[0] == 3))
        return true;
    return gr_fail(err, GR_ERR_DATA,
                   "data.%s: the model's input is %s, but images are 1×H×W or 3×H×W", part->name,
                   gr_shape_text(sample_shape, text));
}

/* Compares the end of the pipeline with the model's input. */
static bool check_end(const struct gr_data_part *part, const struct gr_extent *end,
                      const struct gr_shape *shape, struct gr_error *err)
{
    const int64_t C = shape->dim[0], H = shape->dim[1], W = shape->dim[2];
    if (end->channels != C)
        return gr_fail(err, GR_ERR_DATA,
                       "data.%s: samples have %d channel%s, the model's input has %" PRId64
                       ": add grayscale: {channels: %" PRId64 "}",
                       part->name, end->channels, end->channels == 1 ? "" : "s", C, C);
    if (!end->height)
        return gr_fail(err, GR_ERR_DATA,
                       "data.%s: images differ in size, the model's input is %" PRId64 "×%" PRId64
                       ": end with crop: {size: [%" PRId64 ", %" PRId64 "]}",
                       part->name, H, W, H, W);
    if (end->height != H || end->width != W)
        return gr_fail(err, GR_ERR_DATA,
                       "data.%s: samples are %" PRId64 "×%" PRId64
                       " after the transforms, the model's input is %" PRId64 "×%" PRId64
                       ": add a resize or a crop",
                       part->name, end->height, end->width, H, W);
    return true;
}

static void set_values(struct gr_pipeline *pipeline, int channels)
{
    for (int c = 0; c < channels; c++) {
        double scale = 1, offset = 0;
        for (int i = 0; i < pipeline->count; i++) {
            const struct gr_choice *choice = &pipeline->transforms[i];
            if (transform_of(choice)->values)
                transform_of(choice)->values(choice->attrs, pipeline->statistics, c, &scale,
                                             &offset);
        }
        pipeline->scale[c] = (float)scale;
        pipeline->offset[c] = (float)offset;
    }
}

bool gr_pipeline_init(struct gr_pipeline *pipeline, const struct gr_data_part *part,
                      const struct gr_extent *extent, const struct gr_shape *sample_shape,
                      struct gr_error *err)
{
    struct gr_error inner = {0};
    struct gr_extent end = *extent;
    *pipeline = (struct gr_pipeline){.transforms = part->transforms,
                                     .count = part->n_transforms,
                                     .shape = *sample_shape,
                                     .statistics = part->statistics};
    end.statistics = part->statistics;
    if (!gr_data_part_check(part, err))
        return false;
    for (int i = 0; i < part->n_transforms; i++) {
        const struct gr_choice *choice = &part->transforms[i];
        const struct gr_transform *transform = transform_of(choice);
        if (transform->infer && !transform->infer(choice->attrs, &end, &inner))
            return fail_part(part, &inner, err);
        if (part->ten_crop && transform == &gr_transform_crop)
            pipeline->ten_crop = (struct gr_ten_crop){i, end.height, end.width};
    }
    if (part->ten_crop && !pipeline->ten_crop.height)
        return gr_fail(err, GR_ERR_MODEL,
                       "data.%s: ten views of an image need a crop among the transforms, whose "
                       "place they take",
                       part->name);
    if (!check_end(part, &end, sample_shape, err))
        return false;
    pipeline->target = gr_data_part_target(part);
    set_values(pipeline, end.channels);
    return true;
}

/* ---- a sample ---------------------------------------------------------------------------- */

/* Goes on as long as transforms only change the placement. */
static bool place(struct gr_pipeline_run *run, struct gr_error *err)
{
    for (; run->next < run->end; run->next++) {
        const struct gr_choice *choice = &run->pipeline->transforms[run->next];
        const struct gr_transform *transform = transform_of(choice);
        if (is_of_values(transform))
            continue;
        if (!transform->place)
            return true;
        run->sample.block = (uint64_t)run->next * GR_TRANSFORM_BLOCKS;
        const enum gr_placing placing = transform->place(choice->attrs, &run->sample, err);
        run->sample.laters += placing == GR_PLACING_LATER;
        if (placing != GR_PLACING_DONE)
            return placing == GR_PLACING_LATER;
        run->sample.laters = 0;
    }
    return true;
}

static bool choose(void *user, int64_t height, int64_t width, struct gr_window *window,
                   struct gr_error *err)
{
    struct gr_pipeline_run *run = user;
    run->sample.placement = gr_placement_whole(height, width);
    if (!place(run, err))
        return false;
    run->chosen = true;
    *window = gr_placement_needs(&run->sample.placement);
    return true;
}

void gr_pipeline_start(struct gr_pipeline_run *run, const struct gr_pipeline *pipeline,
                       const struct gr_random_key *key, struct gr_pipeline_scratch *scratch)
{
    *run = (struct gr_pipeline_run){
        .pipeline = pipeline, .scratch = scratch, .sample.key = *key, .target = pipeline->target};
    run->end = pipeline->ten_crop.height ? pipeline->ten_crop.at : pipeline->count;
    run->target.choose = choose;
    run->target.user = run;
}

/* Moves the pixels; buffer i holds those that transform i would make. */
static bool settle(struct gr_pipeline_run *run, struct gr_error *err)
{
    struct gr_draft *sample = &run->sample;
    return gr_image_place(&sample->view, &sample->placement, &run->scratch->resize,
                          &run->scratch->placed[run->next], err);
}

/* The transform that stopped the placing, if there is one, on pixels in place. */
static bool apply(struct gr_pipeline_run *run, struct gr_error *err)
{
    struct gr_draft *sample = &run->sample;
    const struct gr_choice *choice = &run->pipeline->transforms[run->next];
    const struct gr_transform *transform = transform_of(choice);
    sample->block = (uint64_t)run->next * GR_TRANSFORM_BLOCKS;
    sample->buffer = &run->scratch->made[run->next];
    if (transform->apply && !transform->apply(choice->attrs, sample, err))
        return false;
    if (transform->apply) { /* else it is placed next */
        run->next++;
        sample->laters = 0;
    }
    sample->placement = gr_placement_whole(sample->view.height, sample->view.width);
    if (!place(run, err))
        return false;
    const struct gr_window needs = gr_placement_needs(&sample->placement);
    sample->view = gr_view_window(&sample->view, needs.top, needs.left, needs.height, needs.width);
    return true;
}

/* Writes the values, moved by what the transforms draw for this sample. */
static void write_values(const struct gr_pipeline_run *run, float *out)
{
    const struct gr_pipeline *pipeline = run->pipeline;
    double shift[GR_CHANNELS_MAX] = {0};
    float offset[GR_CHANNELS_MAX] = {0};
    for (int i = 0; i < pipeline->count; i++) {
        const struct gr_choice *choice = &pipeline->transforms[i];
        const uint64_t block = (uint64_t)i * GR_TRANSFORM_BLOCKS;
        if (transform_of(choice)->shift)
            transform_of(choice)->shift(choice->attrs, pipeline->statistics, &run->sample.key,
                                        block, shift);
    }
    for (int c = 0; c < run->sample.view.channels; c++)
        offset[c] = (float)(pipeline->offset[c] + pipeline->scale[c] * shift[c]);
    gr_view_write(&run->sample.view, pipeline->scale, offset, out);
}

/* The transforms up to run->end, once the pixels are there. */
static bool complete(struct gr_pipeline_run *run, struct gr_error *err)
{
    if (!settle(run, err))
        return false;
    while (run->next < run->end)
        if (!apply(run, err) || !settle(run, err))
            return false;
    return true;
}

/* A data set may promise images of one size, as a pack's index does, and not keep it. */
static bool write_out(const struct gr_pipeline_run *run, float *out, struct gr_error *err)
{
    const struct gr_shape *shape = &run->pipeline->shape;
    const struct gr_view *view = &run->sample.view;
    assert(view->channels == shape->dim[0]);
    if (view->height != shape->dim[1] || view->width != shape->dim[2])
        return gr_fail(err, GR_ERR_DATA,
                       "the image is not as large as its data set says: after the transforms it is "
                       "%" PRId64 "×%" PRId64 ", not %" PRId64 "×%" PRId64,
                       view->height, view->width, shape->dim[1], shape->dim[2]);
    write_values(run, out);
    return true;
}

/* Each of the ten views through the transforms that follow the crop. */
static bool finish_views(struct gr_pipeline_run *run, float *out, struct gr_error *err)
{
    const struct gr_ten_crop *crop = &run->pipeline->ten_crop;
    const struct gr_view image = run->sample.view;
    struct gr_draft *sample = &run->sample;
    for (int k = 0; k < GR_TEN_CROP_VIEWS; k++) {
        if (!gr_ten_crop_view(crop, &image, k, &sample->view, err))
            return false;
        sample->placement = gr_placement_whole(sample->view.height, sample->view.width);
        run->next = crop->at + 1;
        run->end = run->pipeline->count;
        if (!place(run, err) || !complete(run, err))
            return false;
        if (!write_out(run, out + k * gr_shape_count(&run->pipeline->shape), err))
            return false;
    }
    return true;
}

bool gr_pipeline_place(struct gr_pipeline_run *run, const struct gr_view *view,
                       struct gr_view *placed, struct gr_error *err)
{
    struct gr_window window = {0};
    run->sample.view = *view;
    if (!run->chosen) {
        if (!choose(run, view->height, view->width, &window, err))
            return false;
        run->sample.view =
            gr_view_window(view, window.top, window.left, window.height, window.width);
    }
    if (!complete(run, err))
        return false;
    *placed = run->sample.view;
    return true;
}

bool gr_pipeline_finish(struct gr_pipeline_run *run, const struct gr_view *view, float *out,
                        struct gr_error *err)
{
    struct gr_view placed;
    if (!gr_pipeline_place(run, view, &placed, err))
        return false;
    if (run->pipeline->ten_crop.height)
        return finish_views(run, out, err);
    return write_out(run, out, err);
}

void gr_pipeline_pixels(const struct gr_pipeline *pipeline, const float *values, uint8_t *pixels)
{
    const int64_t plane = pipeline->shape.dim[1] * pipeline->shape.dim[2];
    for (int64_t c = 0; c < pipeline->shape.dim[0]; c++)
        for (int64_t i = 0; i < plane; i++) {
            const float scale = pipeline->scale[c]; /* 0 leaves nothing to see */
            const float value = scale != 0 ? (*values - pipeline->offset[c]) / scale : 0;
            *pixels++ = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value + 0.5f);
            values++;
        }
}

void gr_pipeline_scratch_release(struct gr_pipeline_scratch *scratch)
{
    for (int i = 0; i <= GR_TRANSFORMS_MAX; i++) {
        gr_buffer_release(&scratch->placed[i]);
        gr_buffer_release(&scratch->made[i]);
    }
    gr_buffer_release(&scratch->fitted);
    gr_buffer_release(&scratch->resize.rows);
    gr_buffer_release(&scratch->resize.columns);
    gr_buffer_release(&scratch->resize.lines);
}
