/*
 * A model file read and checked: what the YAML said, understood, as plain structs. The graph is
 * built from it as often as needed, for any batch.
 *
 * The language in short (README.md shows it at length):
 *
 *     format: 1
 *     name: tiny                          # default: the file's name
 *     vars: {width: 8}                    # for $(width), changed by --set vars.width=16
 *     inputs:
 *       image: {shape: [3, 32, 32]}       # without the batch
 *       label: {classes: 10}              # integers, one an image
 *     class_names: [cat, dog, ...]        # or a text file with one a line
 *     blocks:
 *       unit: {params: {channels: required, project: false}, inputs: [x], nodes: [...], output:
 * sum} nodes:
 *       - {name: conv1, op: conv, inputs: image, out_channels: 8, kernel: 3, bias_lr: 2}
 *       - {name: unit1, block: unit, channels: $(2 * width)}
 *     train: {loss: loss, batch: 64, optimizer: sgd, learning_rate: 0.1}
 *     data:
 *       train: {idx: {...}, transform: [{crop: {...}}, flip]}
 *
 * Keys of a node: name, op or block, inputs (default: the node before), freeze, share, when, the
 * op's attributes, and for each of its parameters NAME_init, NAME_lr, NAME_decay. `inputs` names
 * nodes (in any order of writing), their further outputs ("drop1.mask"), or inputs of the model. A
 * block use stands for the block's output; its nodes are named USE.NODE. A node whose `when` is
 * false is left out and its name stands for its first input.
 *
 * $(...) is an expression of whole numbers, of a block's parameters inside it, of `vars`
 * everywhere.
 * ${VAR} and ${VAR:-default} read the environment; quoted, they may still be numbers. $${ and $$(
 * write ${ and $(. Top-level keys that begin with a dot are ignored: a place for anchors.
 */
#ifndef GR_MODEL_MODEL_FILE_H
#define GR_MODEL_MODEL_FILE_H

#include "data/part.h"
#include "graph/graph.h"

struct gr_block_use;

struct gr_model_input {
    const char *name;
    struct gr_shape shape; /* without the batch */
    enum gr_dtype dtype;
    int64_t classes; /* labels: 0 to classes - 1; else 0 */
    bool bad;        /* in error, as are the nodes that read it */
    struct gr_mark mark;
};

/* A node, its inputs by the names of values. */
struct gr_model_node {
    const char *name;
    const struct gr_op *op; /* NULL: in error, and so are the nodes that read it */
    const void *attrs;
    const char **inputs;
    struct gr_mark *input_marks;
    int n_inputs;
    const char *share; /* node whose parameters it takes, or NULL */
    bool frozen;
    const struct gr_parameter_spec *parameters; /* [rows of op->params], or NULL */
    struct gr_mark mark;
    const struct gr_block_use *use;
};

struct gr_model_loss {
    const char *name;
    double weight;
    struct gr_mark mark;
};

/* The first environment variable that was needed and not set; name NULL: none. */
struct gr_model_unset {
    const char *name;
    struct gr_mark mark;
};

struct gr_model_part {
    struct gr_data_part data; /* name "train", "val", "test"; source; transforms */
    struct gr_model_unset source_unset, transforms_unset;
};

struct gr_model_file {
    struct gr_pool pool;
    const char *name, *path;
    const struct gr_registry *ops;

    struct gr_model_input *inputs;
    size_t n_inputs;
    struct gr_model_node *nodes; /* in topological order */
    size_t n_nodes;
    const char **outputs; /* what inference computes unless told otherwise */
    size_t n_outputs;

    int64_t classes; /* of the first label input, or 0 */
    const char **class_names;
    size_t n_class_names; /* 0 or classes */

    bool has_train;
    struct gr_model_loss *losses;
    size_t n_losses;
    const char **metrics;
    size_t n_metrics;
    struct gr_mark *metric_marks;
    int64_t batch;                             /* default 1 */
    int64_t epochs;                            /* default 1 */
    int64_t seed;                              /* -1: not said */
    int64_t checkpoint_every;                  /* epochs between checkpoints, default 1 */
    int64_t checkpoint_steps;                  /* training steps between more of them, or 0 */
    int64_t checkpoint_minutes;                /* and so many, or 0; default 30 */
    const char *monitor;                       /* the figure that decides which is best, or NULL */
    struct gr_choice optimizer, learning_rate; /* kind NULL without a train section */

    struct gr_model_part *parts;
    size_t n_parts;

    char *resolved; /* YAML that reads as the same model, anywhere; owned */
};

/*
 * Reads and checks a model file ("-": standard input). Each mistake goes to log (may be NULL) as
 * one text; *err then says how many. options may be NULL. NULL on failure.
 */
struct gr_model_file *gr_model_file_read(const struct gr_registry *ops, const char *path,
                                         const struct gr_model_options *options, gr_log_fn *log,
                                         void *log_user, struct gr_error *err);

/* The same from memory; name stands in messages, and its folder is where relative paths start. */
struct gr_model_file *gr_model_file_parse(const struct gr_registry *ops, const char *text,
                                          size_t length, const char *name,
                                          const struct gr_model_options *options, gr_log_fn *log,
                                          void *log_user, struct gr_error *err);
void gr_model_file_free(struct gr_model_file *file);

/* A fresh graph for a batch; it borrows from the file, which must outlive it. NULL on failure. */
struct gr_graph *gr_model_file_graph(const struct gr_model_file *file, int64_t batch, bool training,
                                     struct gr_error *err);

/* The data part of that name, or NULL. */
const struct gr_model_part *gr_model_file_part(const struct gr_model_file *file, const char *name);

/* False with a data error if an unset environment variable stands where it is needed now. */
bool gr_model_unset_check(const struct gr_model_unset *unset, struct gr_error *err);

#endif
