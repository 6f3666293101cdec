/*
 * The source `webdataset`: tar archives in which neighbouring files of one name up to the first dot
 * are a sample: KEY.jpg (or .jpeg, .png) with KEY.cls, a number, or KEY.json, {"label": number}.
 * Samples go archive by archive in the order of the pattern, each from front to back.
 */
#include "base/json.h"
#include "data/files.h"
#include "data/pack_index.h"
#include "data/places.h"
#include "data/shards.h"
#include "data/source_pack.h"
#include "data/tar.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LABEL_FILE_MAX = 1 << 20 };
static const int64_t no_label = INT64_MIN;

struct webdataset_attrs {
    const char *shards, *class_names;
};

static const struct gr_attr webdataset_table[] = {
    {.name = "shards",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct webdataset_attrs, shards),
     .required = true,
     .doc = "the archives: a path with {000000..000012}, {a,b}, * or ?, or the folder of a pack"},
    {.name = "class_names",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct webdataset_attrs, class_names),
     .doc = "text file of class names, one a line in the order of labels"},
    {.name = NULL},
};

/* The sample whose files are being met. */
struct sample {
    char *key; /* heap; NULL: none yet */
    struct gr_place image;
    bool has_image;
    int64_t label;
};

struct finding {
    const struct gr_source_wish *wish;
    struct gr_samples *samples;
    struct gr_places places;
    struct gr_names shards;
    struct gr_buffer text;
    struct sample sample;
    int64_t ignored; /* samples without an image */
};

/* ---- labels ------------------------------------------------------------------------------ */

static bool fail_label(const struct gr_tar_member *member, const char *what, struct gr_error *err)
{
    return gr_fail(err, GR_ERR_DATA, "%s:%s: %s", member->tar->title, member->name, what);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The text of a .cls: a number, maybe blanks around it. */
static bool parse_cls(const char *text, size_t size, int64_t *label)
{
    char number[20];
    while (size && is_blank(text[size - 1]))
        size--;
    for (; size && is_blank(*text); size--)
        text++;
    if (!size || size >= sizeof number)
        return false;
    memcpy(number, text, size);
    number[size] = 0;
    *label = strtoll(number, NULL, 10);
    return strspn(number, "0123456789") == size;
}

static bool take_cls(struct finding *finding, const struct gr_tar_member *member,
                     struct gr_error *err)
{
    if (!gr_tar_read(member, LABEL_FILE_MAX, &finding->text, err))
        return false;
    return parse_cls((const char *)finding->text.data, (size_t)member->size,
                     &finding->sample.label) ||
           fail_label(member, "is no whole number", err);
}

/* JSON may hold all sorts of things, also no label; one in a .cls counts first. */
static bool take_json(struct finding *finding, const struct gr_tar_member *member,
                      struct gr_error *err)
{
    json_error_t wrong;
    if (!gr_tar_read(member, LABEL_FILE_MAX, &finding->text, err))
        return false;
    json_t *json =
        gr_json_parse((const char *)finding->text.data, (size_t)member->size, 0, &wrong, err);
    if (!json)
        return fail_label(member, wrong.text, err);
    const json_t *label = json_object_get(json, "label");
    if (json_is_integer(label) && finding->sample.label == no_label)
        finding->sample.label = json_integer_value(label);
    json_decref(json);
    return true;
}

/* ---- samples ----------------------------------------------------------------------------- */

static bool check_label(const struct finding *finding, struct gr_error *err)
{
    const struct sample *sample = &finding->sample;
    const struct gr_place *image = &sample->image;
    const int64_t classes = finding->wish->classes;
    if (sample->label == no_label)
        return gr_fail(
            err, GR_ERR_DATA,
            "%s:%s: has no label: beside it is neither %s.cls nor a \"label\" in %s.json",
            image->title, image->name, sample->key, sample->key);
    if (sample->label < 0 || sample->label > INT32_MAX)
        return gr_fail(err, GR_ERR_DATA, "%s:%s: label %" PRId64 " is out of range", image->title,
                       image->name, sample->label);
    if (classes && sample->label >= classes)
        return gr_fail(err, GR_ERR_DATA,
                       "%s:%s: label %" PRId64 ", but the model's label has %" PRId64
                       " classes, 0 to %" PRId64,
                       image->title, image->name, sample->label, classes, classes - 1);
    return true;
}

/* Takes the sample that is complete, now that another begins or the archive ends. */
static bool end_sample(struct finding *finding, struct gr_error *err)
{
    struct sample *sample = &finding->sample;
    struct gr_samples *samples = finding->samples;
    bool done = true;
    if (!sample->key)
        return true;
    if (!sample->has_image) {
        finding->ignored++;
    } else if ((done = check_label(finding, err))) {
        sample->image.label = (int32_t)sample->label;
        if (sample->label >= samples->classes)
            samples->classes = sample->label + 1;
        done = gr_places_add(&finding->places, &sample->image, err);
    }
    free(sample->key);
    *sample = (struct sample){.label = no_label};
    return done;
}

static bool take_image(struct finding *finding, const struct gr_tar_member *member,
                       struct gr_error *err)
{
    struct sample *sample = &finding->sample;
    const struct gr_tar *tar = member->tar;
    if (sample->has_image)
        return fail_label(member, "is a second image of its sample", err);
    const char *name = gr_pool_strdup(&finding->samples->pool, member->name);
    if (!name)
        return gr_fail_memory(err, tar->title);
    sample->image = (struct gr_place){tar->path, tar->title, name, member->offset, member->size, 0};
    sample->has_image = true;
    return true;
}

static bool take_member(void *user, const struct gr_tar_member *member, struct gr_error *err)
{
    static const char *const images[] = {".jpg", ".jpeg", ".png"};
    struct finding *finding = user;
    struct sample *sample = &finding->sample;
    const char *base = gr_base_name(member->name), *dot = strchr(base, '.');
    if (!dot || dot == base)
        return true;
    const size_t length = (size_t)(dot - member->name);
    if (!sample->key || strlen(sample->key) != length ||
        memcmp(sample->key, member->name, length) != 0) {
        if (!end_sample(finding, err))
            return false;
        sample->key = calloc(length + 1, 1);
        if (!sample->key)
            return gr_fail_memory(err, member->tar->title);
        memcpy(sample->key, member->name, length);
    }
    for (size_t i = 0; i < sizeof images / sizeof *images; i++)
        if (strcasecmp(dot, images[i]) == 0)
            return take_image(finding, member, err);
    if (strcasecmp(dot, ".cls") == 0)
        return take_cls(finding, member, err);
    return strcasecmp(dot, ".json") != 0 || take_json(finding, member, err);
}

/* ---- the source -------------------------------------------------------------------------- */

/* Shards of a pack that is not finished are fewer than there will be. */
static bool refuse_part(const char *shard, struct gr_error *err)
{
    struct gr_pool scrap = {0};
    const size_t length = (size_t)(gr_base_name(shard) - shard);
    const char *folder = length ? gr_pool_strndup(&scrap, shard, length - (length > 1)) : ".";
    const bool done = folder ? gr_pack_refuse_part(folder, err) : gr_fail_memory(err, shard);
    gr_pool_release(&scrap);
    return done;
}

static bool find(struct finding *finding, const char *pattern, struct gr_error *err)
{
    struct gr_samples *samples = finding->samples;
    if (!gr_shards_expand(pattern, &samples->pool, &finding->shards, err))
        return false;
    for (size_t i = 0; i < finding->shards.count; i++) {
        struct gr_tar tar;
        if (!refuse_part(finding->shards.items[i], err) ||
            !gr_tar_open(finding->shards.items[i], &tar, err) ||
            !gr_tar_scan(&tar, take_member, finding, err) || !end_sample(finding, err))
            return false;
    }
    if (!finding->places.count)
        return gr_fail(err, GR_ERR_DATA,
                       "%s: no samples: an archive holds KEY.jpg with KEY.cls or KEY.json",
                       pattern);
    if (finding->ignored)
        gr_source_log(finding->wish, GR_LOG_INFO,
                      "%s: ignored %" PRId64 " samples without an image", pattern,
                      finding->ignored);
    samples->channels = finding->wish->channels;
    return gr_places_keep(&finding->places, samples, err);
}

static bool webdataset_open(const void *attrs, const struct gr_source_wish *wish,
                            struct gr_samples *samples, struct gr_error *err)
{
    const struct webdataset_attrs *a = attrs;
    if (gr_pack_is(a->shards))
        return gr_pack_open(a->shards, wish, samples, err);
    struct finding finding = {.wish = wish, .samples = samples, .sample.label = no_label};
    const bool done =
        find(&finding, a->shards, err) && gr_samples_read_names(samples, a->class_names, wish, err);
    free(finding.sample.key);
    gr_buffer_release(&finding.text);
    gr_places_release(&finding.places);
    gr_names_release(&finding.shards);
    return done;
}

static bool webdataset_statistics(const void *attrs, struct gr_statistics *statistics,
                                  struct gr_error *err)
{
    const struct webdataset_attrs *a = attrs;
    return gr_pack_statistics(a->shards, statistics, err);
}

const struct gr_source gr_source_webdataset = {
    .kind = {"webdataset", "tar archives of image files beside their labels", webdataset_table,
             sizeof(struct webdataset_attrs)},
    .open = webdataset_open,
    .read = gr_places_read,
    .load = gr_places_load,
    .statistics = webdataset_statistics,
    .name = gr_places_name,
};
