/*
 * Packing data: a part of a model's data section, or what is at a path.
 */
#include <inttypes.h>

#include "data/pack.h"
#include "data/pipeline.h"
#include "data/source_at.h"
#include "train/batches.h"

enum { USUAL_SIZE = 256, USUAL_QUALITY = 95, USUAL_CORRUPT = 100, LEAST_SHARD = 10000 };
static const int64_t usual_shard = 256000000, most_shard = INT64_C(1) << 40;

static bool check(const struct gr_packing *packing, struct gr_error *err)
{
    if (packing->size < 1 || packing->size > 1 << 14)
        return gr_fail(err, GR_ERR_USAGE, "a size of %" PRId64 " is not from 1 to %d",
                       packing->size, 1 << 14);
    if (packing->quality < 1 || packing->quality > 100)
        return gr_fail(err, GR_ERR_USAGE, "a quality of %d is not from 1 to 100", packing->quality);
    if (packing->shard_bytes < LEAST_SHARD || packing->shard_bytes > most_shard)
        return gr_fail(err, GR_ERR_USAGE, "shards of %" PRId64 " bytes are not from %d to 2^40",
                       packing->shard_bytes, LEAST_SHARD);
    return true;
}

/* A source with its attributes, and what is wanted of it. */
static bool pack(const struct gr_context *context, const char *name, const struct gr_choice *choice,
                 const struct gr_source_wish *wish, const struct gr_pack_options *options,
                 struct gr_pack_result *result, struct gr_error *err)
{
    struct gr_samples samples = {0};
    const struct gr_source *source = (const struct gr_source *)(const void *)choice->kind;
    const struct gr_packing packing = {
        .source = source,
        .samples = &samples,
        .name = name,
        .folder = options->out,
        .mixed = !options->source_order,
        .size = options->size ? options->size : USUAL_SIZE,
        .whole = options->whole,
        .quality = options->quality ? options->quality : USUAL_QUALITY,
        .shard_bytes = options->shard_bytes ? options->shard_bytes : usual_shard,
        .max_corrupt = options->max_corrupt == 0  ? USUAL_CORRUPT
                       : options->max_corrupt < 0 ? 0
                                                  : options->max_corrupt,
        .threads = context->threads,
        .progress = options->progress,
        .progress_user = options->progress_user,
        .log = context->log,
        .log_user = context->log_user};
    bool done = check(&packing, err) && source->open(choice->attrs, wish, &samples, err);
    if (done && (samples.count < 1 || samples.count > UINT32_MAX))
        done = gr_fail(err, GR_ERR_DATA, "%" PRId64 " samples; 1 to %" PRIu32 " are possible",
                       samples.count, UINT32_MAX);
    done = done && gr_pack(&packing, result, err);
    gr_samples_release(&samples);
    return done;
}

bool gr_pack_part(struct gr_model *model, const char *part, const struct gr_pack_options *options,
                  struct gr_pack_result *result, struct gr_error *err)
{
    const struct gr_model_part *found = gr_model_file_part(model->file, part);
    const struct gr_model_input *image, *label;
    struct gr_error inner = {0};
    if (!found)
        return gr_fail(err, GR_ERR_MODEL, "%s: the data section has no part '%s'",
                       model->file->path, part);
    if (!gr_batches_inputs(model, &image, &label, err) ||
        !gr_model_unset_check(&found->source_unset, err))
        return false;
    const struct gr_source_wish wish = {.channels =
                                            gr_data_part_channels(&found->data, &image->shape),
                                        .height = image->shape.dim[1],
                                        .width = image->shape.dim[2],
                                        .classes = label ? label->classes : 0,
                                        .log = model->context->log,
                                        .log_user = model->context->log_user};
    if (pack(model->context, part, &found->data.source, &wish, options, result, &inner))
        return true;
    return inner.status && gr_fail(err, inner.status, "data.%s: %s", part, inner.message);
}

bool gr_pack_path(struct gr_context *context, const char *path,
                  const struct gr_pack_options *options, struct gr_pack_result *result,
                  struct gr_error *err)
{
    const struct gr_source_wish wish = {
        .channels = 3, .log = context->log, .log_user = context->log_user};
    struct gr_pool pool = {0};
    struct gr_choice choice;
    const bool done = gr_source_at(path, &pool, &choice, err) &&
                      pack(context, path, &choice, &wish, options, result, err);
    gr_pool_release(&pool);
    return done;
}
