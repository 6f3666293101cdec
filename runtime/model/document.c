/*
 * libyaml's events -> a tree with marks; see document.h.
 */
#include "model/document.h"

#include <string.h>
#include <yaml.h>

#include "base/map.h"

/* ---- making nodes ------------------------------------------------------------------------ */

struct gr_doc *gr_doc_new(struct gr_doc_maker *maker, enum gr_doc_type type, struct gr_mark mark)
{
    const size_t most = maker->bytes > GR_DOC_MAX_NODES ? maker->bytes : GR_DOC_MAX_NODES;
    if (maker->nodes >= most) {
        if (!maker->full)
            gr_diagnose(maker->diagnostics, mark, NULL, NULL,
                        "the model has more than %zu entries once aliases and blocks are expanded",
                        most);
        maker->full = true;
        return NULL;
    }
    struct gr_doc *doc = gr_pool_alloc(maker->pool, sizeof *doc);
    maker->nodes++;
    maker->failed = maker->failed || !doc;
    if (doc)
        *doc = (struct gr_doc){.type = type, .mark = mark};
    return doc;
}

struct gr_doc *gr_doc_scalar(struct gr_doc_maker *maker, const char *text, struct gr_mark mark)
{
    struct gr_doc *doc = gr_doc_new(maker, GR_DOC_SCALAR, mark);
    if (doc) {
        doc->text = text;
        doc->plain = true;
    }
    return doc;
}

/* Room for one more element of the given size in a pool array. */
static bool reserve(struct gr_doc_maker *maker, struct gr_doc *doc, void **array, size_t size)
{
    if (doc->count < doc->capacity)
        return true;
    const size_t capacity = doc->capacity ? doc->capacity * 2 : 4;
    void *grown = gr_pool_array(maker->pool, capacity, size);
    if (!grown) {
        maker->failed = true;
        return false;
    }
    if (doc->count)
        memcpy(grown, *array, doc->count * size);
    *array = grown;
    doc->capacity = capacity;
    return true;
}

/* Tells once that a bound is met, and fails. */
static bool fill(struct gr_doc_maker *maker, struct gr_mark mark, const char *what, int most)
{
    if (!maker->full)
        gr_diagnose(maker->diagnostics, mark, NULL, NULL, "%s %d", what, most);
    maker->full = true;
    return false;
}

/* A text of ten texts of ten texts, and so on, takes little to write. */
bool gr_doc_count_text(struct gr_doc_maker *maker, size_t bytes, struct gr_mark mark)
{
    maker->text += bytes;
    return maker->text <= GR_DOC_MAX_TEXT ||
           fill(maker, mark,
                "the bytes that aliases, blocks and variables add to the model are more than",
                GR_DOC_MAX_TEXT);
}

/* Aliases, blocks and variables put trees into trees: the whole is no deeper than what is written
 * may be. */
static bool grow(struct gr_doc_maker *maker, struct gr_doc *doc, const struct gr_doc *part)
{
    if (part->height >= doc->height)
        doc->height = part->height + 1;
    return doc->height <= GR_DOC_MAX_DEPTH ||
           fill(maker, doc->mark, "nested deeper than", GR_DOC_MAX_DEPTH);
}

bool gr_doc_append(struct gr_doc_maker *maker, struct gr_doc *sequence, struct gr_doc *item)
{
    if (!item || !grow(maker, sequence, item) ||
        !reserve(maker, sequence, (void **)&sequence->items, sizeof *sequence->items))
        return false;
    sequence->items[sequence->count++] = item;
    return true;
}

bool gr_doc_put(struct gr_doc_maker *maker, struct gr_doc *mapping, const char *key,
                struct gr_mark mark, struct gr_doc *value)
{
    if (!value || !grow(maker, mapping, value))
        return false;
    if (mapping->count == GR_DOC_MAX_KEYS)
        return fill(maker, mark, "the keys of a mapping are more than", GR_DOC_MAX_KEYS);
    if (!reserve(maker, mapping, (void **)&mapping->pairs, sizeof *mapping->pairs))
        return false;
    mapping->pairs[mapping->count++] = (struct gr_doc_pair){key, mark, value};
    return true;
}

struct gr_doc *gr_doc_copy(struct gr_doc_maker *maker, const struct gr_doc *doc)
{
    struct gr_doc *copy = gr_doc_new(maker, doc->type, doc->mark);
    if (!copy || (doc->text && !gr_doc_count_text(maker, strlen(doc->text), doc->mark)))
        return NULL;
    copy->use = doc->use;
    copy->text = doc->text;
    copy->plain = doc->plain;
    copy->broken = doc->broken;
    copy->unset = doc->unset;
    for (size_t i = 0; i < doc->count; i++) {
        const bool ok =
            doc->type == GR_DOC_SEQUENCE
                ? gr_doc_append(maker, copy, gr_doc_copy(maker, doc->items[i]))
                : gr_doc_count_text(maker, strlen(doc->pairs[i].key), doc->pairs[i].mark) &&
                      gr_doc_put(maker, copy, doc->pairs[i].key, doc->pairs[i].mark,
                                 gr_doc_copy(maker, doc->pairs[i].value));
        if (!ok)
            return NULL;
    }
    return copy;
}

/* ---- asking ------------------------------------------------------------------------------ */

struct gr_doc_pair *gr_doc_pair(const struct gr_doc *mapping, const char *key)
{
    if (!mapping || mapping->type != GR_DOC_MAPPING)
        return NULL;
    for (size_t i = 0; i < mapping->count; i++)
        if (strcmp(mapping->pairs[i].key, key) == 0)
            return &mapping->pairs[i];
    return NULL;
}

struct gr_doc *gr_doc_get(const struct gr_doc *mapping, const char *key)
{
    struct gr_doc_pair *pair = gr_doc_pair(mapping, key);
    return pair ? pair->value : NULL;
}

bool gr_doc_is_null(const struct gr_doc *doc)
{
    return doc->type == GR_DOC_SCALAR && doc->plain &&
           (!*doc->text || strcmp(doc->text, "~") == 0 || strcmp(doc->text, "null") == 0);
}

const char *gr_doc_describe(struct gr_pool *pool, const struct gr_doc *doc)
{
    if (doc->type == GR_DOC_SEQUENCE)
        return "a list";
    if (doc->type == GR_DOC_MAPPING)
        return "a mapping";
    if (gr_doc_is_null(doc))
        return "nothing";
    const char *quote = doc->plain ? "'" : "\"";
    const char *text = gr_pool_printf(pool, "%s%.60s%s%s", quote, doc->text,
                                      strlen(doc->text) > 60 ? "..." : "", quote);
    return text ? text : "this";
}

/* ---- parsing ----------------------------------------------------------------------------- */

struct parse {
    struct gr_doc_maker *maker;
    const struct gr_source *source;
    size_t indent;
    yaml_parser_t yaml;
    struct gr_map anchors; /* name -> finished node */
    bool stopped;          /* nothing more can be read */
};

static struct gr_mark mark_at(const struct parse *parse, yaml_mark_t at)
{
    const size_t column = at.column + (at.line == 0 ? parse->indent : 0);
    return (struct gr_mark){parse->source->name, (int)at.line + 1, (int)column + 1};
}

/* Of a byte offset, for the errors of libyaml's reader, which have no line. */
static struct gr_mark mark_of_offset(const struct parse *parse, size_t offset)
{
    struct gr_mark mark = {parse->source->name, 1, 1 + (int)parse->indent};
    for (size_t i = 0; i < offset && i < parse->source->length; i++) {
        const unsigned char byte = (unsigned char)parse->source->text[i];
        if (byte == '\n') {
            mark.line++;
            mark.column = 1;
        } else if ((byte & 0xc0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

static void stop_with_yaml_error(struct parse *parse)
{
    const yaml_parser_t *yaml = &parse->yaml;
    struct gr_diagnostics *diagnostics = parse->maker->diagnostics;
    const char *problem = yaml->problem ? yaml->problem : "not YAML";
    const bool at_end = yaml->problem_mark.index >= parse->source->length - parse->indent;
    parse->stopped = true;
    if (yaml->error == YAML_MEMORY_ERROR)
        parse->maker->failed = true;
    else if (yaml->error == YAML_READER_ERROR)
        gr_diagnose(diagnostics, mark_of_offset(parse, yaml->problem_offset), NULL, NULL, "%s",
                    problem);
    else if (yaml->context)
        gr_diagnose(diagnostics, mark_at(parse, at_end ? yaml->context_mark : yaml->problem_mark),
                    NULL, NULL, "%s %s", problem, yaml->context);
    else
        gr_diagnose(diagnostics, mark_at(parse, yaml->problem_mark), NULL, NULL, "%s", problem);
}

/* The next event, to be deleted by the caller; false when the stream is broken. */
static bool next(struct parse *parse, yaml_event_t *event)
{
    if (parse->stopped)
        return false;
    if (yaml_parser_parse(&parse->yaml, event))
        return true;
    stop_with_yaml_error(parse);
    return false;
}

static struct gr_doc *parse_node(struct parse *parse, const yaml_event_t *event, int depth);

/* A scalar for what was in error, so that reading goes on. */
static struct gr_doc *placeholder(struct parse *parse, struct gr_mark mark)
{
    struct gr_doc *doc = gr_doc_scalar(parse->maker, "", mark);
    if (doc)
        doc->broken = true;
    return doc;
}

static bool check_tag(struct parse *parse, const yaml_event_t *event, const yaml_char_t *tag)
{
    static const char core[] = "tag:yaml.org,2002:";
    if (!tag || !*tag || strcmp((const char *)tag, "!") == 0 ||
        strncmp((const char *)tag, core, sizeof core - 1) == 0)
        return true;
    gr_diagnose(parse->maker->diagnostics, mark_at(parse, event->start_mark), NULL, NULL,
                "tags such as '%s' have no meaning here", (const char *)tag);
    return false;
}

static struct gr_doc *parse_scalar(struct parse *parse, const yaml_event_t *event)
{
    const struct gr_mark mark = mark_at(parse, event->start_mark);
    const char *value = (const char *)event->data.scalar.value;
    const char *tag = (const char *)event->data.scalar.tag;
    const size_t length = event->data.scalar.length;
    check_tag(parse, event, event->data.scalar.tag);
    if (strlen(value) != length) {
        gr_diagnose(parse->maker->diagnostics, mark, NULL, NULL, "a text holds a zero byte");
        return placeholder(parse, mark);
    }
    char *text = gr_pool_strndup(parse->maker->pool, value, length);
    struct gr_doc *doc = text ? gr_doc_scalar(parse->maker, text, mark) : NULL;
    parse->maker->failed = parse->maker->failed || !text;
    if (doc)
        doc->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                     !(tag && strcmp(tag, YAML_STR_TAG) == 0);
    return doc;
}

/* Suggestions for unknown aliases cost more than they help beyond so many mistakes. */
enum { ANCHORS_TOLD = 100 };

static struct gr_doc *parse_alias(struct parse *parse, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct gr_mark mark = mark_at(parse, event->start_mark);
    const struct gr_doc *anchored = gr_map_get(&parse->anchors, name);
    if (anchored)
        return gr_doc_copy(parse->maker, anchored);
    const char **names = NULL;
    size_t count = 0;
    if (parse->maker->diagnostics->count < ANCHORS_TOLD)
        names = gr_pool_array(parse->maker->pool, parse->anchors.count + 1, sizeof *names);
    while (names && count < parse->anchors.count) {
        names[count] = parse->anchors.entries[count].key;
        count++;
    }
    gr_diagnose(parse->maker->diagnostics, mark, NULL,
                names ? gr_nearest(name, names, count) : NULL,
                "no anchor '&%s' comes before this alias", name);
    return placeholder(parse, mark);
}

static struct gr_doc *parse_sequence(struct parse *parse, const yaml_event_t *start, int depth)
{
    struct gr_doc *doc =
        gr_doc_new(parse->maker, GR_DOC_SEQUENCE, mark_at(parse, start->start_mark));
    check_tag(parse, start, start->data.sequence_start.tag);
    for (;;) {
        yaml_event_t event;
        if (!doc || !next(parse, &event))
            return NULL;
        const bool end = event.type == YAML_SEQUENCE_END_EVENT;
        struct gr_doc *item = end ? NULL : parse_node(parse, &event, depth);
        yaml_event_delete(&event);
        if (end)
            return doc;
        if (!gr_doc_append(parse->maker, doc, item))
            return NULL;
    }
}

/* ---- mappings: duplicate keys and merges ------------------------------------------------- */

/* The keys of a mapping under construction; large ones are found through a map. */
struct keys {
    struct gr_map map;
    struct gr_doc *doc;
};

static struct gr_doc_pair *find_key(struct keys *keys, const char *key)
{
    if (keys->doc->count <= 16)
        return gr_doc_pair(keys->doc, key);
    const size_t index = (size_t)(uintptr_t)gr_map_get(&keys->map, key);
    return index ? &keys->doc->pairs[index - 1] : NULL;
}

static bool add_key(struct parse *parse, struct keys *keys, const struct gr_doc_pair *pair)
{
    if (!gr_doc_put(parse->maker, keys->doc, pair->key, pair->mark, pair->value))
        return false;
    if (gr_map_put(&keys->map, pair->key, (void *)(uintptr_t)keys->doc->count))
        return true;
    parse->maker->failed = true;
    return false;
}

/* Takes over the pairs of a merged mapping that are not there yet. */
static bool merge(struct parse *parse, struct keys *keys, const struct gr_doc *from)
{
    if (from->type == GR_DOC_SEQUENCE) {
        for (size_t i = 0; i < from->count; i++) {
            if (from->items[i]->type == GR_DOC_SEQUENCE)
                gr_diagnose(parse->maker->diagnostics, from->items[i]->mark, NULL, NULL,
                            "'<<' merges a mapping or a list of mappings, not lists of lists");
            else if (!merge(parse, keys, from->items[i]))
                return false;
        }
        return true;
    }
    if (from->type == GR_DOC_SCALAR && !from->broken)
        gr_diagnose(parse->maker->diagnostics, from->mark, NULL, NULL,
                    "'<<' merges a mapping or a list of mappings, not %s",
                    gr_doc_describe(parse->maker->pool, from));
    for (size_t i = 0; i < from->count; i++)
        if (!find_key(keys, from->pairs[i].key) && !add_key(parse, keys, &from->pairs[i]))
            return false;
    return true;
}

/* One key with its value. Merges are set aside: written keys win wherever they stand. */
static bool parse_pair(struct parse *parse, const yaml_event_t *event, struct keys *keys,
                       struct gr_doc *merges, int depth)
{
    struct gr_doc_pair pair = {.mark = mark_at(parse, event->start_mark)};
    struct gr_doc *key = parse_node(parse, event, depth);
    yaml_event_t value;
    if (!key || !next(parse, &value))
        return false;
    pair.value = parse_node(parse, &value, depth);
    yaml_event_delete(&value);
    if (!pair.value)
        return false;
    if (key->type != GR_DOC_SCALAR) {
        gr_diagnose(parse->maker->diagnostics, pair.mark, NULL, NULL, "a key is a word, not %s",
                    gr_doc_describe(parse->maker->pool, key));
        return true;
    }
    if (key->plain && strcmp(key->text, "<<") == 0)
        return gr_doc_append(parse->maker, merges, pair.value);
    pair.key = key->text;
    const struct gr_doc_pair *first = find_key(keys, pair.key);
    if (!first)
        return add_key(parse, keys, &pair);
    gr_diagnose(parse->maker->diagnostics, pair.mark, NULL, NULL,
                "'%s' is written twice, first in line %d", pair.key, first->mark.line);
    return true;
}

static struct gr_doc *parse_mapping(struct parse *parse, const yaml_event_t *start, int depth)
{
    const struct gr_mark mark = mark_at(parse, start->start_mark);
    struct gr_doc *doc = gr_doc_new(parse->maker, GR_DOC_MAPPING, mark);
    struct gr_doc *merges = gr_doc_new(parse->maker, GR_DOC_SEQUENCE, mark);
    struct keys keys = {.doc = doc};
    bool ok = doc && merges, end = false;
    check_tag(parse, start, start->data.mapping_start.tag);
    while (ok && !end) {
        yaml_event_t event;
        if (!next(parse, &event)) {
            ok = false;
            break;
        }
        end = event.type == YAML_MAPPING_END_EVENT;
        ok = end || parse_pair(parse, &event, &keys, merges, depth);
        yaml_event_delete(&event);
    }
    for (size_t i = 0; ok && i < merges->count; i++)
        ok = merge(parse, &keys, merges->items[i]);
    gr_map_release(&keys.map);
    return ok ? doc : NULL;
}

static const yaml_char_t *anchor_of(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

static struct gr_doc *parse_node(struct parse *parse, const yaml_event_t *event, int depth)
{
    struct gr_doc *doc = NULL;
    if (depth >= GR_DOC_MAX_DEPTH) {
        gr_diagnose(parse->maker->diagnostics, mark_at(parse, event->start_mark), NULL, NULL,
                    "nested deeper than %d", GR_DOC_MAX_DEPTH);
        parse->stopped = true;
        return NULL;
    }
    if (event->type == YAML_ALIAS_EVENT)
        return parse_alias(parse, event);
    if (event->type == YAML_SCALAR_EVENT)
        doc = parse_scalar(parse, event);
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        doc = parse_sequence(parse, event, depth + 1);
    else if (event->type == YAML_MAPPING_START_EVENT)
        doc = parse_mapping(parse, event, depth + 1);
    const char *anchor = (const char *)anchor_of(event);
    if (!doc || !anchor)
        return doc;
    const char *name = gr_pool_strdup(parse->maker->pool, anchor);
    if (name && gr_map_put(&parse->anchors, name, doc))
        return doc;
    parse->maker->failed = true;
    return NULL;
}

/* Stream start, document start, the root, and then nothing but the end. */
static struct gr_doc *parse_stream(struct parse *parse)
{
    struct gr_doc *root = NULL;
    bool end = false;
    while (!end) {
        yaml_event_t event;
        if (!next(parse, &event))
            return NULL;
        const struct gr_mark mark = mark_at(parse, event.start_mark);
        end = event.type == YAML_STREAM_END_EVENT;
        if (event.type == YAML_DOCUMENT_START_EVENT && root) {
            gr_diagnose(parse->maker->diagnostics, mark, NULL, NULL,
                        "a second document begins; a model file is one document");
            end = true;
        } else if (!end && event.type != YAML_STREAM_START_EVENT &&
                   event.type != YAML_DOCUMENT_START_EVENT &&
                   event.type != YAML_DOCUMENT_END_EVENT) {
            root = parse_node(parse, &event, 0);
            end = !root;
        }
        yaml_event_delete(&event);
    }
    return root;
}

struct gr_doc *gr_doc_parse(struct gr_doc_maker *maker, const struct gr_source *source,
                            size_t indent)
{
    struct parse parse = {.maker = maker, .source = source, .indent = indent};
    if (source->length - indent > GR_DOC_MAX_BYTES) {
        gr_diagnose(maker->diagnostics, (struct gr_mark){source->name, 0, 0}, NULL, NULL,
                    "larger than %d megabytes", GR_DOC_MAX_BYTES >> 20);
        return NULL;
    }
    maker->bytes += source->length - indent;
    if (!yaml_parser_initialize(&parse.yaml)) {
        maker->failed = true;
        return NULL;
    }
    yaml_parser_set_encoding(&parse.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parse.yaml, (const unsigned char *)source->text + indent,
                                 source->length - indent);
    struct gr_doc *root = parse_stream(&parse);
    yaml_parser_delete(&parse.yaml);
    gr_map_release(&parse.anchors);
    return root;
}
