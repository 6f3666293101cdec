/*
 * The op interface. An op is one const struct in one file: its attributes, its parameters, its
 * shape rule, its gradient rule and its kernels. The runtime knows ops only through this page.
 *
 * The life of a node: the model layer parses the attributes by the table -> infer states the output
 * shapes -> grad, if the loss depends on it, emits backward nodes into the graph -> plan chooses a
 * kernel and the memory layouts -> run executes it each step, allocating nothing.
 */
#ifndef GR_GRAPH_OP_H
#define GR_GRAPH_OP_H

#include "graph/graph.h"

/* ---- layouts ----------------------------------------------------------------------------- */

/*
 * How a tensor lies in memory: the order of its elements, and the type in which they are stored,
 * which may be narrower than the value's own (bf16 for f32). Opaque to the runtime but for its
 * bytes, type, name and identity: a backend interns its layouts, so that equal layouts are one
 * pointer. gr_layout_plain is the row-major dense layout of any shape in the value's own type; its
 * bytes follow from the value.
 */
struct gr_layout {
    size_t bytes;        /* of the whole tensor, padding included; 0 for plain */
    const char *name;    /* "nChw16c", "bf16:nChw16c" */
    enum gr_dtype dtype; /* of the elements in memory; of no meaning for plain */
};

extern const struct gr_layout gr_layout_plain;

/* layout NULL stands for plain. */
size_t gr_layout_bytes(const struct gr_layout *layout, const struct gr_value *value);
enum gr_dtype gr_layout_dtype(const struct gr_layout *layout, const struct gr_value *value);

/* ---- kernels ----------------------------------------------------------------------------- */

/* The memory of one node in execution; inputs of an update node may be written (op->n_updated). */
struct gr_buffers {
    void *const *src; /* [n_inputs] */
    void *const *dst; /* [n_outputs] */
    void *scratch;    /* 64-byte aligned */
};

/* What a run passes to every kernel. */
struct gr_run {
    uint64_t seed, step;
};

/* A chosen kernel: what plan fills in. */
struct gr_kernel {
    const char *impl; /* "jit:avx512_core", "openblas", "plain" */
    size_t scratch_bytes;
    unsigned
        in_place; /* bit i: the first output may take over the buffer of input i (same bytes) */
    void *state;  /* freed by free_state, may be NULL */
    /* Called once when the buffers' addresses are known, and again if they change. May be NULL. */
    bool (*bind)(struct gr_kernel *kernel, const struct gr_buffers *buffers, struct gr_error *err);
    bool (*run)(const struct gr_kernel *kernel, const struct gr_node *node,
                const struct gr_buffers *buffers, const struct gr_run *run, struct gr_error *err);
    void (*free_state)(void *state);
};

/* Frees what it holds and empties it. Zero-initialised is no kernel. */
void gr_kernel_release(struct gr_kernel *kernel);

/* What the ops share while they plan and run: library handles, layouts, thread count. Theirs. */
struct gr_backend;

/* The question put to an op's plan, and its answer. */
struct gr_planning {
    const struct gr_node *node;
    struct gr_backend *backend;
    /*
     * What kernels that have a choice compute in. With bf16 they read and write bf16 and accumulate
     * in f32; parameters, their gradients and states stay f32. Ops without such kernels ignore it.
     */
    enum gr_precision precision;
    const char *choice; /* the candidate to take, of those op->candidates names; NULL: the usual */
    /*
     * [n_inputs] In: the layout each input has now; NULL for a parameter or state that nothing has
     * laid out yet. Out: the layout the kernel reads. Where they differ, the runtime inserts a
     * reorder.
     */
    const struct gr_layout **src;
    /*
     * [n_inputs] Out: where a parameter that nothing has laid out yet is best kept, when that is
     * not where the kernel reads it: a reorder follows. Starts NULL: where it is read, or plain if
     * it is read in another type.
     */
    const struct gr_layout **home;
    const struct gr_layout **dst; /* [n_outputs] Out: the layout the kernel writes; starts plain */
    struct gr_kernel *kernel;     /* out */
    bool no_memory; /* out: for a layout, so that what was planned without it does not count */
};

enum { GR_MAX_CANDIDATES = 8 };

/* ---- the gradient rule's view ------------------------------------------------------------ */

struct gr_grad;

/* The gradient of the loss with respect to the node's i-th output; NULL: the loss does not see it.
 */
struct gr_value *gr_grad_output(struct gr_grad *grad, int output);

/* Does anything need the gradient of the node's i-th input? */
bool gr_grad_wanted(const struct gr_grad *grad, int input);

/*
 * Emits a backward node with the forward node's attributes. Its k-th output is the gradient of the
 * forward node's input targets[k] (with that value's shape), or for targets[k] < 0 none: an output
 * of no use. Returns NULL and sets *err on failure.
 */
struct gr_node *gr_grad_emit(struct gr_grad *grad, const struct gr_op *op,
                             struct gr_value *const *inputs, int n_inputs, const int *targets,
                             int n_targets, struct gr_error *err);

/* Says that `gradient` itself is the gradient of the node's i-th input: nothing to compute. */
bool gr_grad_pass(struct gr_grad *grad, int input, struct gr_value *gradient, struct gr_error *err);

/* Emits a node without outputs that updates its first op->n_updated inputs (running statistics). */
struct gr_node *gr_grad_emit_update(struct gr_grad *grad, const struct gr_op *op,
                                    struct gr_value *const *inputs, int n_inputs,
                                    struct gr_error *err);

/* ---- ops --------------------------------------------------------------------------------- */

enum gr_op_flags {
    GR_OP_VIEW = 1, /* the first output is the first input's memory; there is no kernel to run */
    GR_OP_TRAINING_ONLY = 2, /* the identity when graph->training is off */
    GR_OP_RANDOM = 4,     /* draws random numbers keyed by run->seed, run->step and gr_node_key */
    GR_OP_OPTIMIZER = 8,  /* can stand under train.optimizer */
    GR_OP_INTERNAL = 16,  /* emitted by passes, not written in model files */
    GR_OP_POST_OPS = 32,  /* what it fuses, its primitive takes over as well */
    GR_OP_RECTIFIER = 64, /* its output is zero where its unit is off, and no gradient passes */
};

/* A parameter that a node of this op declares. */
struct gr_param_rule {
    const char *name; /* "weight": the value is NODE.weight, its keys weight_init, weight_lr, ... */
    const char *doc;
    /* The shape from the node's inputs and attributes; false: this node has no such parameter. */
    bool (*shape)(const struct gr_node *node, struct gr_shape *shape);
    const char *init;  /* the default initialiser's name: "xavier" */
    double init_value; /* the constant, where init is "constant" */
    bool statistic;    /* kept by the op: no gradient; read in training by frozen nodes only */
    double decay_mult; /* default multiplier of weight decay: 1 usual */
};

/* Inputs beyond these rows repeat the last one (concat, sum). */
struct gr_op {
    struct gr_kind kind; /* name, doc, attributes */
    /*
     * "convolution", "pooling", ...: groups the op in listings and colours it in drawings. NULL on
     * an internal op: a backward node counts with its forward node's.
     */
    const char *category;
    unsigned flags;
    int min_inputs, max_inputs;         /* data inputs, without parameters; max -1: any number */
    const char *input_doc;              /* "src [N, C, H, W]" */
    const struct gr_param_rule *params; /* ends with name NULL; or NULL */
    int n_updated;                      /* the first inputs that run writes: an update node */

    /*
     * Checks attributes and input shapes and adds the outputs. Errors through gr_node_fail name the
     * inputs and the numbers. NULL for internal ops.
     */
    bool (*infer)(struct gr_node *node, struct gr_error *err);

    /* Emits the gradient of the inputs. NULL: not differentiable (an error if it is needed). */
    bool (*grad)(struct gr_node *node, struct gr_grad *grad, struct gr_error *err);

    /*
     * Takes over the only consumer of this node's first output (ReLU, batch norm or residual add
     * into a convolution): true if it can. It then has given this node what it needs of the
     * consumer's attributes (in a copy from the graph's pool) and inputs (gr_node_set_inputs), may
     * have made it one of another op, and may have emitted one node; the runtime gives this node
     * the consumer's outputs in place of that one. Not both have several. NULL: never.
     */
    bool (*fuse)(struct gr_node *node, const struct gr_node *consumer);

    /*
     * Takes over the update of a parameter whose gradient is this node's first output, which
     * nothing else reads: true if it can. It is then an update node itself (its op one with
     * GR_OP_OPTIMIZER: it reads and writes the parameter and the states first), and that output is
     * gone. NULL: never.
     */
    bool (*fuse_update)(struct gr_node *node, const struct gr_node *update);

    /*
     * Names the kernels that planning->choice may ask for, the usual one first, and returns how
     * many. NULL, or fewer than two: there is nothing to choose.
     */
    int (*candidates)(const struct gr_planning *planning, const char *names[GR_MAX_CANDIDATES]);

    /*
     * Chooses kernel and layouts. NULL for views. A candidate that this machine or shape does not
     * have leaves kernel->run NULL; the usual one is always there.
     */
    bool (*plan)(struct gr_planning *planning, struct gr_error *err);

    /*
     * Plans the one primitive of the library that this node stands for, with what it has fused
     * (GR_OP_POST_OPS), in the layouts that it likes best wherever the inputs lie: to be timed by
     * itself (model/primitives.c), never a step of a program. It may take all its memory from the
     * scratch. kernel->run stays NULL where the library has none but reference loops. NULL: there
     * is none.
     */
    bool (*primitive)(struct gr_planning *planning, struct gr_error *err);

    double (*macs)(const struct gr_node *node); /* multiply-accumulates of a run; NULL: 0 */

    /* Metrics of class scores: how many of the highest count as right. NULL for all others. */
    int64_t (*top_k)(const void *attrs);

    /*
     * Optimizers: how many states (momentum, ...) of the parameter's shape they keep. Their inputs
     * are the parameter, its states, the gradient and the learning rate (a scalar); they write the
     * first 1 + n_states. Their attribute struct starts with struct gr_update_attrs.
     */
    int (*n_states)(const void *attrs);

    /*
     * Optimizers: can an update also write a copy of the parameter in layout `to`, when it lies in
     * `from`? Such copies become the last inputs of the node (gr_node.n_copies). NULL: never.
     */
    bool (*renews)(const struct gr_value *parameter, const struct gr_layout *from,
                   const struct gr_layout *to);
};

/* What the update pass sets for each parameter. */
struct gr_update_attrs {
    double lr_mult, decay_mult;
};

/* The name that keys a node's random numbers: a node that computes again draws the same. */
const char *gr_node_key(const struct gr_node *node);

/*
 * How many of its first inputs a node writes, parameters and states: 0 for all but update nodes,
 * which also write the copies that are their last inputs.
 */
int gr_node_updated(const struct gr_node *node);

/* Does it write its input i, be it a parameter, a state or a copy? */
bool gr_node_writes(const struct gr_node *node, int i);

/* What decides, beside threads and choices, which bits come out. Texts are the backend's. */
struct gr_machine_facts {
    const char *processor; /* "AMD EPYC" */
    const char *isa;       /* the widest instructions in use: "avx512_core_bf16" */
    const char *library;   /* "oneDNN 2.6.3" */
    const char *kernels;   /* "auto", "openblas" */
};

/* A set of ops and what the passes need from it. */
struct gr_registry {
    const struct gr_op *const *ops;
    size_t n_ops;
    const struct gr_op *sum;     /* adds any number of equal shapes: several consumers */
    const struct gr_op *reorder; /* copies between layouts */
    const struct gr_op *fill;    /* attribute value: the gradient of the loss is 1 */

    struct gr_backend *(*backend_new)(int threads, enum gr_kernels kernels, struct gr_error *err);
    void (*backend_free)(struct gr_backend *backend);
    /*
     * For how many threads kernels are planned from now on, by the calling thread; returns what it
     * was. 0 only asks.
     */
    int (*backend_threads)(struct gr_backend *backend, int threads);
    /* A usage error that says what is missing, where the processor cannot compute in precision. */
    bool (*check_precision)(struct gr_backend *backend, enum gr_precision precision,
                            struct gr_error *err);
    /* What kernels were chosen for: processor, libraries, threads. Valid while the backend is. */
    const char *(*machine)(struct gr_backend *backend);
    /* The same in parts, without the threads; NULL: not known. */
    struct gr_machine_facts (*facts)(struct gr_backend *backend);
    /* Copies a tensor between layouts at once, outside any plan (saving, loading). */
    bool (*convert)(struct gr_backend *backend, const struct gr_value *value,
                    const struct gr_layout *from, const void *src, const struct gr_layout *to,
                    void *dst, struct gr_error *err);
    /* Measures what the machine can do (gr_context_peak). */
    bool (*measure)(struct gr_backend *backend, struct gr_peak *peak, struct gr_error *err);
};

/* The op of that name, or NULL. */
const struct gr_op *gr_registry_find(const struct gr_registry *registry, const char *name);

#endif
