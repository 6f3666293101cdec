/*
 * What the files that read a model share: one reading of one model file, from the parsed document
 * to the specifications of its nodes. Internal to runtime/model.
 *
 * The steps, in order, each in its file:
 *
 *     document.c     YAML text -> tree with marks
 *     overrides.c    --set KEY=VALUE changes the tree
 *     variables.c    ${VAR} and the $(parameters) of blocks, by expressions.c
 *     blocks.c       nodes and block uses -> one flat list of drafts
 *     nodes.c        drafts -> nodes with attributes, in topological order
 *     sections.c     inputs, class names, data; sections_train.c: train
 *     model_graph.c  nodes -> graph, which checks the shapes
 *     resolved.c     the tree as it is now -> YAML
 *
 * Mistakes go to reader->diagnostics and reading goes on. A function that returns false or NULL ran
 * out of memory or room, unless it says otherwise; the reader knows which.
 */
#ifndef GR_MODEL_READER_H
#define GR_MODEL_READER_H

#include "base/map.h"
#include "graph/op.h"
#include "model/document.h"
#include "model/model_file.h"

/* Where a value is read: the text as written, with the block use around it. */
struct gr_reference {
    const char *name; /* of a node, "node.output" or an input; block prefixes resolved */
    struct gr_mark mark;
    const struct gr_block_use *use;
};

/* A node as written, after blocks are expanded. */
struct gr_draft {
    const char *name;
    struct gr_mark mark; /* of the name */
    const struct gr_block_use *use;
    struct gr_doc *doc; /* its mapping; NULL: in error already, stay silent about what reads it */
    struct gr_reference *inputs;
    size_t n_inputs;
    struct gr_reference share; /* name NULL: none */
};

/* A name that stands for another: a block use for its output, a node left out for its input. */
struct gr_alias {
    struct gr_reference target; /* name NULL: the owner is in error */
};

struct gr_reader {
    struct gr_pool *pool;
    struct gr_diagnostics diagnostics;
    struct gr_doc_maker maker;
    const struct gr_registry *ops;
    const struct gr_model_options *options; /* may be NULL */
    struct gr_model_file *file;
    struct gr_doc *root;
    const char *folder;   /* of the model file */
    const char *data_dir; /* where relative data paths start */

    struct gr_draft *drafts; /* heap */
    size_t n_drafts, drafts_capacity;
    struct gr_map draft_of; /* name -> (void *)(index + 1) */
    struct gr_map alias_of; /* name -> struct gr_alias */
    struct gr_map input_of; /* name -> struct gr_model_input */

    const struct gr_doc *vars; /* mapping of the model's variables; NULL: none */
    bool *vars_used;           /* of each */

    struct gr_override *waiting; /* overrides of nodes inside blocks */

    struct gr_error trouble; /* of the machine, when a file that the model names is read */

    /* While a data part is read: unset variables are noted here, not reported. */
    struct gr_model_unset *unset;
};

/* ---- reader.c ---------------------------------------------------------------------------- */

/*
 * Notes a mistake at a node of the document. Of a scalar with an unset variable it says that; of
 * one that is in error already, nothing.
 */
void gr_reader_error(struct gr_reader *reader, const struct gr_doc *doc, const char *suggestion,
                     const char *format, ...) GR_PRINTF(4, 5);

/* Has nothing been found wrong so far? */
bool gr_reader_is_clean(const struct gr_reader *reader);

/* Memory or room ran out: remembers it, returns false. */
bool gr_reader_failed(struct gr_reader *reader);

/*
 * The scalar's text, or NULL after noting why not (not a text, an unset variable). what: "'name'".
 */
const char *gr_reader_text(struct gr_reader *reader, const struct gr_doc *doc, const char *what);

/* For "did you mean": the nearest of a NULL-terminated list, or of the keys of a mapping or a map.
 */
bool gr_reader_suggests(const struct gr_reader *reader); /* else all these say NULL, at no cost */
const char *gr_reader_nearest(const struct gr_reader *reader, const char *word,
                              const char *const *names);
const char *gr_reader_nearest_key(struct gr_reader *reader, const char *word,
                                  const struct gr_doc *mapping);
const char *gr_reader_nearest_of(struct gr_reader *reader, const char *word,
                                 const struct gr_map *const *maps, size_t n_maps);

/* Is the text UTF-8 throughout, so that it can be written as YAML again? */
bool gr_reader_is_utf8(const char *text);

/* Is doc a mapping? If not, notes "what is a mapping, not ...". */
bool gr_reader_mapping(struct gr_reader *reader, const struct gr_doc *doc, const char *what);

/* May this text name a node, an input or a part? If not, notes it. */
bool gr_reader_check_name(struct gr_reader *reader, const struct gr_doc *doc, const char *what);

/* Notes a text that is shown to people and holds control characters, which terminals obey. */
void gr_reader_check_plain(struct gr_reader *reader, const struct gr_doc *doc, const char *what);

/* Notes every key of a mapping that is not among the NULL-terminated names. */
void gr_reader_check_keys(struct gr_reader *reader, const struct gr_doc *mapping, const char *what,
                          const char *const *names);

/* ---- attributes.c ------------------------------------------------------------------------ */

/*
 * Fills the kind's attribute struct from a mapping (NULL: nothing written) by the kind's table.
 * Keys in `others` (NULL-terminated, may be NULL) belong to someone else. Missing attributes are
 * noted at `where`. *ok becomes false if a mistake was noted. NULL: out of memory.
 */
void *gr_attributes_read(struct gr_reader *reader, const struct gr_kind *kind,
                         const struct gr_doc *mapping, const char *const *others,
                         const struct gr_doc *where, bool *ok);

/* What may be chosen at one place of a model file. */
struct gr_menu {
    const char *what;                   /* "initialiser" */
    const struct gr_kind *const *kinds; /* ends with NULL */
    const char *number_kind;            /* a number alone is this kind */
    const char *number_attr;            /*   with this attribute; or NULL */
};

/* Reads `name`, `{name: {attributes}}` or a number. kind NULL: a mistake was noted. */
struct gr_choice gr_choice_read(struct gr_reader *reader, const struct gr_menu *menu,
                                struct gr_doc *doc);

/* A finite number or an integer from a scalar; false: it is not one (nothing is noted). */
bool gr_scalar_int(const struct gr_doc *doc, int64_t *value);
bool gr_scalar_float(const struct gr_doc *doc, double *value);

/* A path as written -> where to open it, and (for the resolved model) independent of the folder. */
const char *gr_reader_path(struct gr_reader *reader, const char *folder, struct gr_doc *doc);

/* ---- overrides.c ------------------------------------------------------------------------- */

/* Applies the overrides to the document; those that name nodes inside blocks are kept for later. */
bool gr_overrides_apply(struct gr_reader *reader, const struct gr_model_options *options);

/* Applies those that were kept, to the drafts. */
bool gr_overrides_apply_waiting(struct gr_reader *reader);

/* ---- variables.c ------------------------------------------------------------------------- */

/* Replaces ${VAR} and ${VAR:-default} in every scalar below doc. */
bool gr_variables_environment(struct gr_reader *reader, struct gr_doc *doc);

/* The parameters of a block in use: `values` is a mapping name -> document. */
struct gr_block_scope {
    const struct gr_block_use *use;
    const struct gr_doc *values;
};

/*
 * A copy of doc with $(expressions) replaced. scope NULL: outside blocks, where they are of `vars`,
 * or a mistake. NULL: out of memory or room.
 */
struct gr_doc *gr_variables_block(struct gr_reader *reader, const struct gr_doc *doc,
                                  const struct gr_block_scope *scope);

/* Takes the model's `vars`, then notes those that nothing has used: a misspelt --set. */
bool gr_variables_read(struct gr_reader *reader);
void gr_variables_check_used(struct gr_reader *reader);

/* ---- blocks.c ---------------------------------------------------------------------------- */

/* Reads `blocks` and `nodes` into drafts, aliases and their maps. */
bool gr_blocks_expand(struct gr_reader *reader);

/* ---- nodes.c ----------------------------------------------------------------------------- */

/*
 * What a reference stands for, through aliases: the name of a value as the graph has it. *draft
 * becomes the index of the node that makes it, or SIZE_MAX for an input. who: "'conv1' reads", for
 * the message. NULL: unknown (noted, unless what it stands for is in error itself).
 */
const char *gr_nodes_resolve(struct gr_reader *reader, const struct gr_reference *reference,
                             const char *who, size_t *draft);

/* Turns the drafts into file->nodes, in topological order, and the document's nodes into them. */
bool gr_nodes_read(struct gr_reader *reader);

/* A usage error if one of options->freeze matches no node with parameters. */
bool gr_nodes_check_freeze(const struct gr_reader *reader, struct gr_error *err);

/* ---- sections.c, sections_train.c -------------------------------------------------------- */

bool gr_sections_inputs(struct gr_reader *reader);
bool gr_sections_train(struct gr_reader *reader);
bool gr_sections_rest(struct gr_reader *reader); /* class_names, train, data */

/* ---- model_graph.c ----------------------------------------------------------------------- */

/*
 * Builds the graph once to check shapes and what train names, noting mistakes, and finds the
 * outputs. False with *err: memory, or a failure that is not the model's.
 */
bool gr_model_graph_check(struct gr_reader *reader, struct gr_error *err);

/* ---- resolved.c -------------------------------------------------------------------------- */

/* The document as YAML; heap, NULL: out of memory. */
char *gr_resolved_text(const struct gr_doc *root);

#endif
