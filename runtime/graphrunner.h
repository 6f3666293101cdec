/*
 * Graph Runner's public C API: load a network described in YAML, check it, compile it for a batch
 * and a mode, feed it, run it, fetch from it, train it, save it. The graph-runner tool uses nothing
 * else.
 *
 * Ownership: gr_X_new/gr_X_load is ended by gr_X_free; a context outlives its models, a model its
 * plans. `const char *` results are borrowed from the object they were asked of. Functions return
 * false (or NULL) and fill *err on failure; nothing exits, aborts or prints. Objects belong to one
 * thread at a time.
 *
 * A minimal program is in README.md, "Embedding".
 */
#ifndef GRAPHRUNNER_H
#define GRAPHRUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GR_VERSION "0.2.0"

/* ---- errors and log ---------------------------------------------------------------------- */

/* The values are the tool's exit codes. */
enum gr_status {
    GR_OK = 0,
    GR_ERR_USAGE = 2,    /* the caller asked for something that does not exist */
    GR_ERR_MODEL = 3,    /* the model file is wrong */
    GR_ERR_DATA = 4,     /* the data are missing, corrupt or do not fit the model */
    GR_ERR_RUNTIME = 5,  /* I/O, memory, or a library failed */
    GR_ERR_DIVERGED = 6, /* NaN or infinity */
};

/* Zero-initialised is "no error". The message is one line without a trailing newline. */
struct gr_error {
    enum gr_status status;
    char message[2048];
};

enum gr_log_level { GR_LOG_ERROR, GR_LOG_WARNING, GR_LOG_INFO, GR_LOG_DEBUG };

/* Receives complete lines without a newline; the diagnostics of a model file arrive here, each
 * whole. */
typedef void gr_log_fn(void *user, enum gr_log_level level, const char *text);

/* ---- tensors ----------------------------------------------------------------------------- */

enum { GR_MAX_RANK = 6 };

enum gr_dtype { GR_F32, GR_BF16, GR_S32, GR_U8, GR_DTYPE_COUNT };

/* Rank 0 is a scalar: one element. Every dim is at least 1. */
struct gr_shape {
    int rank;
    int64_t dim[GR_MAX_RANK];
};

/* A plain (row-major, dense) named tensor; data is borrowed. */
struct gr_tensor {
    const char *name;
    enum gr_dtype dtype;
    struct gr_shape shape;
    void *data;
};

/* ---- context: ops, threads, log ---------------------------------------------------------- */

struct gr_registry; /* a set of ops */
struct gr_context;

/* The ops that come with Graph Runner. */
const struct gr_registry *gr_standard_ops(void);

enum gr_kernels {
    GR_KERNELS_AUTO,     /* oneDNN where it is fast, else OpenBLAS or our own */
    GR_KERNELS_OPENBLAS, /* im2col and gemm, and plain loops: the independent implementation */
};

/*
 * Convolutions and the like can be computed by several kernels, and which is the fastest depends on
 * the machine; so does whether branches of a model run beside each other. Measured once, a choice
 * is kept in the folder `tuning`.
 */
enum gr_tune {
    GR_TUNE_OFF,     /* the usual kernels */
    GR_TUNE_KNOWN,   /* what was found before, else the usual */
    GR_TUNE_MEASURE, /* what is not known is measured, once a machine */
};

/*
 * Hears of each measurement: before it begins (result NULL), and what came of it. Returning false
 * before one ends the compiling with GR_ERR_RUNTIME; what was found so far is kept.
 */
typedef bool gr_tune_fn(void *user, const char *node, const char *result);

struct gr_context_options {
    int threads; /* 0: the cores that affinity and the cgroup allow */
    enum gr_kernels kernels;
    enum gr_tune tune;
    const char *tuning;    /* folder of choices, made if need be; NULL: they live in the context */
    gr_tune_fn *measuring; /* may be NULL */
    gr_log_fn *log;        /* may be NULL */
    void *log_user;        /* of both */
};

/* options may be NULL. */
struct gr_context *gr_context_new(const struct gr_registry *ops,
                                  const struct gr_context_options *options, struct gr_error *err);
void gr_context_free(struct gr_context *context);
int gr_context_threads(const struct gr_context *context);

/* Bytes a second over a working set. */
struct gr_bandwidth {
    double bytes; /* of the set, which is gone over again and again */
    double read;  /* a second by reading alone */
    double moved; /* a second by the best mix of reading and writing, both counted */
};

enum { GR_PEAK_SIZES = 6 };

/* What the machine can do with the context's threads, as measured. */
struct gr_peak {
    double flops[GR_DTYPE_COUNT]; /* a second, with operands of the type; 0: it cannot */
    struct gr_bandwidth memory[GR_PEAK_SIZES]; /* from what caches hold to what only memory does */
};

/* Measures it, in less than half a second: matrix products and a convolution, reading, copying. */
bool gr_context_peak(struct gr_context *context, struct gr_peak *peak, struct gr_error *err);

/* ---- models ------------------------------------------------------------------------------ */

struct gr_model;

struct gr_model_options {
    const char *const *sets; /* "train.batch=64", applied in turn over the file's keys */
    size_t n_sets;
    /*
     * Nodes whose parameters are not trained, as by their own `freeze: true`: patterns of their
     * names with "*", "?" and "[ab]". Backward nodes that this makes useless are not there.
     */
    const char *const *freeze;
    size_t n_freeze;
    uint64_t seed; /* of initial weights, dropout, shuffling and augmentation */
    const char
        *data_dir; /* overrides where relative data paths start; NULL: the model file's folder */
};

/*
 * Reads and checks a model file ("-": standard input). Every mistake in it goes to the log, one
 * diagnostic each; *err then counts them. options may be NULL.
 */
struct gr_model *gr_model_load(struct gr_context *context, const char *path,
                               const struct gr_model_options *options, struct gr_error *err);
void gr_model_free(struct gr_model *model);

const char *gr_model_name(const struct gr_model *model);
int64_t gr_model_batch(const struct gr_model *model);   /* train.batch, or 1 */
int64_t gr_model_classes(const struct gr_model *model); /* of the first label input, or 0 */

/* [C, H, W] of the image that the data section feeds; a model error where there is none. */
bool gr_model_image_shape(const struct gr_model *model, struct gr_shape *shape,
                          struct gr_error *err);

/* As the model file says, or else the data it was trained on, also once weights are loaded; or
 * NULL. */
const char *gr_model_class_name(const struct gr_model *model, int64_t index);

/* Nodes with blocks expanded, and elements of parameters (running statistics apart), each once. */
size_t gr_model_node_count(const struct gr_model *model);
int64_t gr_model_parameter_count(const struct gr_model *model);

/* The model file with `${VAR}`, overrides, anchors and blocks resolved, as YAML. */
const char *gr_model_resolved(const struct gr_model *model);

/* Weights as safetensors, plain and in the field's usual shapes; written atomically. */
bool gr_model_save_weights(struct gr_model *model, const char *path, struct gr_error *err);

/* By name. Every parameter of the model must be there with its shape; extra tensors are ignored. */
bool gr_model_load_weights(struct gr_model *model, const char *path, struct gr_error *err);

/* What became of a tensor when weights were taken over. */
enum gr_transfer {
    GR_TRANSFER_LOADED,
    GR_TRANSFER_SHAPE,    /* the shapes differ: the parameter keeps its initial values */
    GR_TRANSFER_MISSING,  /* the file has none of that name: the same */
    GR_TRANSFER_LEFT_OUT, /* by only and except: the same */
    GR_TRANSFER_UNUSED,   /* the model has no parameter of that name */
};

struct gr_transfer_row {
    enum gr_transfer outcome;
    const char *name;             /* of the model's parameter; NULL: unused */
    const char *source;           /* of the file's tensor; NULL: missing or left out */
    struct gr_shape ours, theirs; /* of those that there are */
};

/* Patterns are of names with "*", "?" and "[ab]"; "conv1" stands for "conv1.weight" too. */
struct gr_transfer_options {
    const char *const *only; /* parameters of the model to load; none: all */
    size_t n_only;
    const char *const *except; /* but not these */
    size_t n_except;
    /*
     * Names of the file made the model's: "features.0=conv1" renames a tensor and those below it
     * ("features.0.weight"), "module.=" takes a prefix off, "layer*.fc*=fc*.*" by a pattern, each
     * "*" of which stands for the same in both. The first that fits counts.
     */
    const char *const *rename;
    size_t n_rename;
    void (*row)(void *user, const struct gr_transfer_row *row); /* hears of each; may be NULL */
    void *row_user;
};

/*
 * Takes weights over from another model by name: what fits is loaded, the rest keeps its values. A
 * pattern or a renaming that concerns nothing is a usage error with a suggestion, a file of which
 * nothing could be loaded a data error; the model is then as it was.
 */
bool gr_model_transfer_weights(struct gr_model *model, const char *path,
                               const struct gr_transfer_options *options, struct gr_error *err);

/* Copies a parameter out of (in to) the model: plain f32, count elements. */
bool gr_model_get_parameter(struct gr_model *model, const char *name, float *data, size_t count,
                            struct gr_error *err);
bool gr_model_set_parameter(struct gr_model *model, const char *name, const float *data,
                            size_t count, struct gr_error *err);

/* ---- plans: a model compiled for a batch, a mode and targets ----------------------------- */

enum gr_mode { GR_INFER, GR_TRAIN };
enum gr_precision { GR_PRECISION_F32, GR_PRECISION_BF16 };

struct gr_plan_options {
    enum gr_mode mode; /* TRAIN: dropout and batch statistics are on */
    enum gr_precision precision;
    int64_t batch;              /* 0: gr_model_batch */
    const char *const *targets; /* values to fetch; "grad:NAME" is a gradient. None: the model's */
    size_t n_targets;           /*   outputs (infer), or loss and metrics (train) */
    bool update;                /* emit parameter updates: a run is then a training step */
    bool no_memory_plan;        /* every value gets memory of its own */
    /*
     * Bytes for parameters, states and all values together, 0: no bound. What does not fit is
     * computed again in the backward phase, which takes time and gives the same bits. A budget that
     * is too small is a usage error with the least that it could be.
     */
    size_t memory_budget;
    bool check_finite; /* run fails, naming the first node that makes NaN or infinity */
    bool reference;    /* no fusion */
};

struct gr_plan;

struct gr_plan *gr_plan_new(struct gr_model *model, const struct gr_plan_options *options,
                            struct gr_error *err);
void gr_plan_free(struct gr_plan *plan);

/* The inputs and the targets of a plan, in order; data of an input is where its bytes are read. */
size_t gr_plan_input_count(const struct gr_plan *plan);
size_t gr_plan_target_count(const struct gr_plan *plan);
struct gr_tensor gr_plan_input(const struct gr_plan *plan, size_t index);
struct gr_tensor gr_plan_target(const struct gr_plan *plan, size_t index); /* valid after a run */

/* Copies data in: plain, in the input's shape and type (bytes must agree). Labels are checked. */
bool gr_plan_feed(struct gr_plan *plan, const char *name, const void *data, size_t bytes,
                  struct gr_error *err);

/* Copies a target out after a run: plain f32 (s32 for integer values); bytes must agree. */
bool gr_plan_fetch(const struct gr_plan *plan, const char *name, void *data, size_t bytes,
                   struct gr_error *err);

/* Runs once: forward, and what the targets and options ask for. */
bool gr_plan_run(struct gr_plan *plan, struct gr_error *err);

/* The rate of the next updates (times each parameter's multiplier). */
void gr_plan_set_learning_rate(struct gr_plan *plan, double learning_rate);

/* Training steps done, which key the dropout; run increases it when the plan updates. */
uint64_t gr_plan_step(const struct gr_plan *plan);
void gr_plan_set_step(struct gr_plan *plan, uint64_t step);

/* ---- looking into a plan ----------------------------------------------------------------- */

struct gr_memory_report {
    size_t parameters;    /* bytes of weights and statistics */
    size_t states;        /* bytes of momentum and the like */
    size_t constants;     /* bytes derived from the weights and kept between runs */
    size_t without_reuse; /* of all other values and scratch, each with memory of its own */
    size_t planned;       /* of the arena */
    size_t lower_bound;   /* the most that is live at once */
    /* Under a memory budget: */
    size_t unbudgeted;      /* what planned would be with nothing computed again */
    size_t recomputed;      /* nodes that compute again */
    double recompute_share; /* their time, relative to the rest, as estimated */
};

struct gr_memory_report gr_plan_memory(const struct gr_plan *plan);

/* A node of a plan in execution order. */
struct gr_node_info {
    const char *name, *op, *phase, *impl, *attributes;
    const char *layout;               /* of the first output */
    struct gr_shape shape;            /* of the first output */
    int64_t parameters;               /* elements */
    double macs;                      /* multiply-accumulates a batch */
    enum gr_dtype math;               /* what the operands of these are */
    size_t bytes_read, bytes_written; /* by a run: inputs and outputs as they lie */
    size_t output_bytes, scratch_bytes;
    bool constant;      /* depends on parameters alone: runs when they changed, not each time */
    double seconds;     /* total so far, if profiling */
    const char *again;  /* under a memory budget: the node that this one repeats, or NULL */
    double again_share; /* its time, relative to all others, as estimated */
    int64_t offset;     /* of the first output in the arena, or -1 */
};

size_t gr_plan_node_count(const struct gr_plan *plan);
struct gr_node_info gr_plan_node(const struct gr_plan *plan, size_t index);

/* Times each node from now on (or stops), starting at zero. */
void gr_plan_profile(struct gr_plan *plan, bool on);

/* One execution of a node. */
struct gr_timing {
    size_t node;           /* its index in the plan */
    int lane;              /* of those that run beside each other; 0 is the caller's own */
    double start, seconds; /* start is on the clock CLOCK_MONOTONIC */
};

/*
 * Hears of each node that ran, as it ends, from the thread that ran it: nodes of different lanes
 * may come at once. It must not touch the plan.
 */
typedef void gr_timing_fn(void *user, const struct gr_timing *timing);

/* Calls timing during each run from now on; NULL: no more. */
void gr_plan_trace(struct gr_plan *plan, gr_timing_fn *timing, void *user);

/* Where the time went, for a drawing. */
struct gr_dot_profile {
    const double *seconds; /* [gr_plan_node_count] a run; negative: not measured */
    double step_seconds;   /* of the whole run */
    const char *title;     /* what was measured: "train, batch 128, 2 threads" */
};

/*
 * The compiled graph as Graphviz text; free it with free(). With a profile (or NULL) nodes are
 * coloured by their time and edges drawn as thick as the bytes they carry. NULL when memory runs
 * out.
 */
char *gr_plan_dot(const struct gr_plan *plan, const struct gr_dot_profile *profile,
                  struct gr_error *err);

/* ---- primitives: what the library takes for a plan's computations ------------------------ */

/*
 * A node of a plan as the one primitive that the library (oneDNN) has for it: a direct convolution,
 * a fully connected layer, a pooling. By itself, with warm caches and in the layouts that it likes
 * best: no reorders, no updates, nothing of our own.
 */
struct gr_primitive {
    const char *node, *op, *phase;
    const char *impl; /* NULL: there is none, or only reference loops; or nothing measured yet */
    double macs;      /* multiply-accumulates a run */
    double seconds;   /* the best so far; 0 without impl */
};

struct gr_primitives;

/*
 * The nodes of the plan that gr_plan_new would compile of these options, before anything of our own
 * is fused: an activation behind a convolution, a residual add and a folded batch norm are the
 * library's; local response normalisation and pooling, or a weight's gradient and its update, are
 * nodes by themselves. Needs no memory to speak of. The model must outlive it.
 */
struct gr_primitives *gr_primitives_new(struct gr_model *model,
                                        const struct gr_plan_options *options,
                                        struct gr_error *err);
void gr_primitives_free(struct gr_primitives *primitives); /* NULL is allowed */

/*
 * Times each primitive, one after the other on memory of its own that is given back. Each call is
 * one more round, of which the better counts: a machine's speed drifts.
 */
bool gr_primitives_measure(struct gr_primitives *primitives, struct gr_error *err);

/* In order of execution, nodes without a primitive among them. */
size_t gr_primitives_count(const struct gr_primitives *primitives);
struct gr_primitive gr_primitives_get(const struct gr_primitives *primitives, size_t index);

/* ---- training, evaluation, prediction ---------------------------------------------------- */

struct gr_metric {
    const char *name;
    double value;
};

enum { GR_MAX_METRICS = 8 };

struct gr_progress {
    const char *stage;     /* "train", the part evaluated, or "features", which has no figures */
    int64_t epoch, epochs; /* counting from 1; epochs 0: unknown */
    int64_t step, steps;   /* of this stage in this epoch */
    int64_t total_step;    /* training steps since the start */
    double loss;           /* smoothed over the last steps (train), mean so far (val) */
    struct gr_metric metrics[GR_MAX_METRICS];
    int n_metrics;
    double learning_rate;
    double images_per_second;
    double wait_share;   /* of the time, waiting for data */
    double seconds_left; /* to the end of the stage's whole work; negative: unknown */
    bool last;           /* this stage of this epoch is over; figures are its result */
    bool best;           /* with last, of the stage that is monitored: the best epoch so far */
};

/* Returning false asks to stop after the step: the state is saved, err stays clear. */
typedef bool gr_progress_fn(void *user, const struct gr_progress *progress);

/* What is wanted of a training that is under way. */
enum gr_request {
    GR_REQUEST_NOTHING,
    GR_REQUEST_SAVE, /* save the state and go on; the log says where it is, once it is there */
    GR_REQUEST_STOP, /* finish the step, save and return, as when progress returns false */
};

/*
 * Asked after each step, also of validations; the place to look at what a signal handler noted. The
 * library installs no handlers, and its own threads take no signals.
 */
typedef enum gr_request gr_request_fn(void *user);

/* How a layer with weights fared in a training step. */
struct gr_watch_row {
    const char *layer;   /* the node's name */
    double weight;       /* |w|, the root of the sum of squares of its weight after the step */
    double change;       /* |dw|, the same of what the step changed */
    int64_t units, dead; /* of the ReLU behind it: channels, and those that are 0 for the whole
                            batch; units 0: there is no ReLU */
};

struct gr_watch {
    int64_t step; /* counting from 1 */
    double loss, learning_rate;
    const struct gr_watch_row *rows; /* in the order of the model's nodes */
    size_t n_rows;
};

typedef void gr_watch_fn(void *user, const struct gr_watch *watch);

struct gr_train_options {
    /* Run folder: model.yaml, metrics and steps as JSON lines, events of TensorBoard, checkpoints,
     * report.html. */
    const char *out;
    /*
     * Run folder to go on from, or NULL. The newest checkpoint that is whole is taken, with a
     * warning of those that are not. In the same folder the records go on too, as if there had been
     * no end.
     */
    const char *resume;
    int64_t keep;          /* checkpoints, the newest; 0: 2 */
    const char *weights;   /* to start from, or NULL; a run resumed has its own */
    int64_t epochs, steps; /* 0: as the model says; steps bounds the training steps in all */
    int64_t batch;         /* 0: as the model says */
    enum gr_precision precision;
    bool no_memory_plan;
    size_t memory_budget; /* of the training step alone, as in gr_plan_options; 0: no bound */
    int64_t max_corrupt;  /* unreadable images it bears; 0: the usual 100, negative: none */
    gr_progress_fn *progress;
    void *progress_user;
    gr_request_fn *request; /* may be NULL */
    void *request_user;
    const char *command; /* how it was asked for, to be told in the report; or NULL */
    int64_t watch_every; /* steps between calls of watch, 0: none. What is watched is copied */
    gr_watch_fn *watch;
    void *watch_user;
};

struct gr_train_result {
    int64_t epochs, steps;
    double best; /* of the monitored figure */
    const char *monitor;
    bool interrupted;
    bool plateau; /* the plateau after the last drop of the rate ended it */
};

/*
 * Trains. Where a checkpoint or a record cannot be written (a full disk, a removed folder) training
 * goes on, warns once and tries again; if the last state, or a record, is not on the disk at the
 * end, that is an error. A loss or a state with NaN or infinity ends it with GR_ERR_DIVERGED; the
 * checkpoints before stay.
 */
bool gr_train(struct gr_model *model, const struct gr_train_options *options,
              struct gr_train_result *result, struct gr_error *err);

/* How the images of a class fared. */
struct gr_class_result {
    char name[64];         /* "" where neither model nor data have one */
    int64_t images, right; /* top-1 */
    int64_t mistaken_for;  /* the wrong class most often predicted for it, or -1 */
    int64_t mistaken;      /* how often */
};

struct gr_eval_options {
    const char *part; /* of the data section; NULL: "test" if there, else "val" */
    int64_t batch;
    enum gr_precision precision;
    /*
     * As AlexNet was tested: the output, which must be a softmax, is averaged over ten windows of
     * each image, the centre and the four corners and their reflections, in the place of the part's
     * last crop. A batch is then so many windows. Loss and accuracies are of the averages.
     */
    bool ten_crop;
    const char *csv; /* per image: file, label, predicted, probability, loss, rank, top5; or NULL */
    const char *const *confusion;      /* files: confusion matrix as .csv (counts), .svg, .png */
    size_t n_confusion;                /*   of them */
    struct gr_class_result *per_class; /* [gr_model_classes] to fill in, or NULL */
    int64_t max_corrupt;               /* as in gr_train_options */
    gr_progress_fn *progress;
    void *progress_user;
};

struct gr_eval_result {
    const char *part; /* of the data, as in the options or the model */
    int views;        /* of each image: 1, or 10 */
    int64_t images, skipped;
    double seconds, loss;
    struct gr_metric metrics[GR_MAX_METRICS]; /* the model's accuracies */
    int n_metrics;
};

bool gr_evaluate(struct gr_model *model, const struct gr_eval_options *options,
                 struct gr_eval_result *result, struct gr_error *err);

struct gr_prediction {
    int64_t index;
    const char *class_name; /* or NULL */
    float probability;
};

struct gr_predict_options {
    int top;              /* classes for each image, at least 1 */
    bool ten_crop;        /* as in gr_eval_options */
    bool skip_unreadable; /* warn of an unreadable image, whose rows get index -1, and go on */
};

/*
 * Classifies image files (JPEG or PNG) with the preprocessing of the model's data section.
 * `predictions` holds n_images × top rows, best first; those beyond the classes that there are get
 * index -1. An unreadable image is an error that names it, unless skip_unreadable.
 */
bool gr_predict(struct gr_model *model, const char *const *images, size_t n_images,
                const struct gr_predict_options *options, struct gr_prediction *predictions,
                struct gr_error *err);

/* A sample of the data section and what the model makes of it. */
struct gr_sample {
    char name[256]; /* its file, or FILE[INDEX] */
    int64_t label;
    const char *label_name; /* or NULL */
};

/*
 * Classifies `count` samples of a part of the data section (NULL: "test" if there, else "val") from
 * `first` on, as gr_predict does files.
 */
bool gr_predict_part(struct gr_model *model, const char *part, int64_t first, size_t count,
                     const struct gr_predict_options *options, struct gr_sample *samples,
                     struct gr_prediction *predictions, struct gr_error *err);

/* ---- features: a layer's activations as what describes an image -------------------------- */

struct gr_features_options {
    /*
     * A value of the model, as among the targets of a plan: "relu7" is behind the ReLU, "fc7"
     * before it. NULL: the model's representation, what the last layer with weights before the
     * output reads, without dropout.
     */
    const char *layer;
    const char *part;          /* of the data section; NULL: "test" if there, else "val" */
    const char *const *images; /* instead of a part: image files, and folders with any below */
    size_t n_images;
    int64_t batch; /* 0: as the model says */
    enum gr_precision precision;
    int64_t max_corrupt; /* as in gr_train_options */
    gr_progress_fn *progress;
    void *progress_user;
};

struct gr_features_result {
    char layer[512];
    char about[512];       /* where it stands: "relu of fc7, before drop7" */
    struct gr_shape shape; /* of one image's activations, before they are made a row */
    int64_t images, skipped;
    double seconds;
};

/*
 * Writes the layer's activations for every readable image as safetensors, which appear whole or not
 * at all ("-": standard output). They hold
 *
 *     features  F32 [N, D]  a row an image; spatial activations [C, H, W] one after the other
 *     labels    I32 [N]     -1: none
 *     files     U8          the images' names, each ended by a zero byte
 *
 * and as metadata model, layer, shape ("[256,6,6]"), class_names (a list in JSON), part, skipped.
 * Images pass the transforms of evaluation, also those of "train". Those given by path get the
 * label of their folder's name: a class of the model, or, in a folder below a given one, a further
 * class. Stopped by progress it fails without an error. Rows go to the file as they come.
 */
bool gr_features_write(struct gr_model *model, const struct gr_features_options *options,
                       const char *path, struct gr_features_result *result, struct gr_error *err);

/* A file of features, open; texts are borrowed from it, rows stay in it until they are asked for.
 */
struct gr_features;

struct gr_features *gr_features_read(const char *path, struct gr_error *err);
void gr_features_free(struct gr_features *features); /* NULL is allowed */

size_t gr_features_count(const struct gr_features *features);
size_t gr_features_length(const struct gr_features *features); /* of a row */

/* Reads rows first to first + count, which must be there, into rows [count, length]. */
bool gr_features_rows(const struct gr_features *features, size_t first, size_t count, float *rows,
                      struct gr_error *err);

const char *gr_features_layer(const struct gr_features *features); /* "" where it is not said */
const char *gr_features_part(const struct gr_features *features);  /* of the data, or NULL */
const char *gr_features_name(const struct gr_features *features, size_t index);
int64_t gr_features_label(const struct gr_features *features, size_t index);
const char *gr_features_class_name(const struct gr_features *features, int64_t label); /* or NULL */

enum gr_distance {
    GR_COSINE,    /* 1 - cosine of the angle: 0 to 2; 1 where a row is zero */
    GR_EUCLIDEAN, /* length of the difference */
};

struct gr_nearest_options {
    /*
     * Names of images in the features, or the ends of such ("ash/1.jpg"); or image files, whose
     * features are computed by `model`, with its weights loaded.
     */
    const char *const *queries;
    size_t n_queries;
    size_t count; /* neighbours of each, at least 1 */
    enum gr_distance distance;
    struct gr_model *model; /* may be NULL */
    enum gr_precision precision;
};

struct gr_neighbour {
    int64_t index; /* of the features; -1: there are no more */
    double distance;
};

/*
 * The images whose features are the nearest to each query's, the nearest first, without the query
 * itself. neighbours has n_queries × count rows. Names that are neither in the features nor files
 * are usage errors with a suggestion.
 */
bool gr_nearest_images(const struct gr_features *features, const struct gr_nearest_options *options,
                       struct gr_neighbour *neighbours, struct gr_error *err);

/* ---- looking through data ---------------------------------------------------------------- */

/* What an image file can be remarkable for. All but the first are read like any other. */
enum gr_data_trait {
    GR_DATA_UNREADABLE, /* damaged, or neither JPEG nor PNG */
    GR_DATA_DUPLICATE,  /* the same bytes as one before it, in this set or one looked at before */
    GR_DATA_TINY,       /* smaller than the model's input, or than said */
    GR_DATA_DISGUISED,  /* of another format than its name says */
    GR_DATA_TURNED,     /* its EXIF data say to turn it */
    GR_DATA_CMYK,
    GR_DATA_GREY,
    GR_DATA_TRAITS
};

const char *gr_data_trait_name(enum gr_data_trait trait); /* "unreadable" */

struct gr_data_finding {
    enum gr_data_trait trait;
    const char *name; /* of the sample */
    const char *text; /* why it is unreadable, of what it is a duplicate, ...; or NULL */
};

/* One set looked through. Everything belongs to the check. */
struct gr_data_report {
    const char *name;      /* the part, or the path */
    bool has_files;        /* samples are image files; otherwise they are only counted */
    int64_t height, width; /* smaller images are tiny; 0: none is */
    int64_t images, bytes;
    int64_t classes;                        /* that the data know of */
    const int64_t *class_images;            /* [classes] */
    const char *const *class_names;         /* [classes], or NULL */
    int64_t least, median, most;            /* images of a class */
    int64_t empty;                          /* classes without any */
    int64_t traits[GR_DATA_TRAITS];         /* images of each */
    const struct gr_data_finding *findings; /* in the order of samples */
    size_t n_findings;
    double seconds;
};

/* Returning false ends the work; the call that reports it fails without an error. */
typedef bool gr_data_progress_fn(void *user, const char *name, int64_t done, int64_t count,
                                 double seconds_left);

struct gr_data_check;

/* progress, from the caller's thread, may be NULL. The context must outlive it. */
struct gr_data_check *gr_data_check_new(struct gr_context *context, gr_data_progress_fn *progress,
                                        void *user, struct gr_error *err);
void gr_data_check_free(struct gr_data_check *check); /* NULL is allowed */

/*
 * Reads and decodes every image of a part of the model's data section, with the context's threads.
 * Damaged images are findings; a set that cannot be opened is an error, as in training.
 */
bool gr_data_check_part(struct gr_data_check *check, struct gr_model *model, const char *part,
                        struct gr_error *err);

/*
 * The same of a path: class folders, ImageNet's tars or a folder of them, or shards, whose pattern
 * may have braces. Images are tiny that are smaller than height×width; 0: none is.
 */
bool gr_data_check_path(struct gr_data_check *check, const char *path, int64_t height,
                        int64_t width, struct gr_error *err);

size_t gr_data_check_count(const struct gr_data_check *check);
const struct gr_data_report *gr_data_check_report(const struct gr_data_check *check, size_t index);

/* The parts of the model's data section, in order; NULL beyond the last. */
const char *gr_model_part(const struct gr_model *model, size_t index);

/* ---- packing data ------------------------------------------------------------------------ */

/* Of the pixels of training data. Of one channel, the first number of each is in use. */
struct gr_statistics {
    int channels;           /* 1 or 3; 0: nothing is known */
    double mean[3];         /* of pixels from 0 to 255 */
    double covariance[9];   /* of values from 0 to 1; of one channel the variance */
    double eigenvalues[3];  /* of that, the largest first */
    double eigenvectors[9]; /* red, green and blue of the first, of the second, of the third; each
                               with its largest component positive */
};

struct gr_pack_options {
    const char *out;     /* folder of the pack, made if need be */
    int64_t size;        /* of the shorter side; 0: 256 */
    bool whole;          /* keep all of the picture, else its centre, size×size */
    int quality;         /* of JPEG, 1 to 100; 0: 95 */
    int64_t shard_bytes; /* an archive's most; 0: 256 MB */
    bool source_order;   /* keep the order of the source; else images are mixed, once for all */
    int64_t max_corrupt; /* as in gr_train_options */
    gr_data_progress_fn *progress; /* as in gr_data_check_new; may be NULL */
    void *progress_user;
};

struct gr_pack_result {
    int64_t images, skipped; /* in the pack; unreadable and left out */
    int64_t shards, bytes;
    int64_t classes;
    int64_t before; /* images that were packed before this call */
    struct gr_statistics statistics;
    double seconds; /* of this call */
};

/*
 * Makes the images of a part of the model's data small and writes them to archives that training
 * reads in their place: the folder is a source, for `pack`, `imagefolder` and `imagenet`. Called
 * again it goes on where it was interrupted, with the same result; a pack begun with other options
 * or data is a usage error. False, with err clear, when progress ended it.
 */
bool gr_pack_part(struct gr_model *model, const char *part, const struct gr_pack_options *options,
                  struct gr_pack_result *result, struct gr_error *err);

/* The same without a model: what gr_data_check_path takes. Pictures are in colour. */
bool gr_pack_path(struct gr_context *context, const char *path,
                  const struct gr_pack_options *options, struct gr_pack_result *result,
                  struct gr_error *err);

/* ---- pictures: PNG files (JPEG by name), which appear whole or not at all; "-": stdout ------- */

struct gr_show_options {
    const char *part; /* of the data section; NULL: "train" */
    int64_t epoch;    /* counting from 1; 0: the first */
    int64_t count;    /* samples; 0: 32 */
};

/*
 * Writes a contact sheet of the first samples of a part after its transforms, captioned with their
 * classes: those that a training run sees in that epoch with the model's seed, in its order. Values
 * are taken back to pixels, and cut at 0 and 255. *shown, which may be NULL, is how many there are.
 */
bool gr_show_data(struct gr_model *model, const struct gr_show_options *options, const char *path,
                  int64_t *shown, struct gr_error *err);

/*
 * Draws what gr_nearest_images found: a row a query, which stands at the left, its neighbours
 * beside it with class and distance. Pictures are read from the files that the features name;
 * those of images that are no files (in archives, of MNIST) need options->model, whose data section
 * then has them. A grey tile stands for what cannot be read.
 */
bool gr_show_nearest(const struct gr_features *features, const struct gr_nearest_options *options,
                     const struct gr_neighbour *neighbours, const char *path, struct gr_error *err);

/*
 * Draws a convolution's weights (node NULL: the first one's), like the figure of conv1 in AlexNet's
 * paper: filters of three channels in colour, of others one grey plane a channel, a row a filter.
 * Zero is middle grey; the range of each filter is its own largest magnitude, or, together, that of
 * all.
 */
bool gr_show_filters(struct gr_model *model, const char *node, bool together, const char *path,
                     struct gr_error *err);

/* ---- reports ----------------------------------------------------------------------------- */

/*
 * Writes a page of HTML, complete in itself, about the training runs in these folders, 1 to 16:
 * settings, figures, curves, confusion matrices, filters, networks; several side by side. gr_train
 * writes that of its own run, report.html in its folder. Damaged lines of a run's records are left
 * out with a warning; a folder without records of a run is a data error.
 */
bool gr_report_write(struct gr_context *context, const char *const *folders, size_t count,
                     const char *path, struct gr_error *err);

/* ---- checks and documentation ------------------------------------------------------------ */

struct gr_gradcheck_row {
    const char *name; /* of a parameter */
    double numeric, symbolic;
    double error; /* |numeric - symbolic| relative to the larger */
    bool ok;
};

/*
 * Compares, for every trained parameter, the derivative of the loss along the gradient's direction
 * by central differences with the gradient's own value. Calls row for each.
 */
bool gr_gradcheck(struct gr_model *model, int64_t batch, double tolerance,
                  void (*row)(void *user, const struct gr_gradcheck_row *row), void *user,
                  struct gr_error *err);

/* Documentation of one kind by name ("conv", "sgd", "idx"), or of all when name is NULL; free(). */
char *gr_document(const struct gr_registry *ops, const char *name, struct gr_error *err);

/* ---- tensors in files -------------------------------------------------------------------- */

/* A safetensors file read whole; tensors borrow from it. */
struct gr_tensor_file;

struct gr_tensor_file *gr_tensor_file_read(const char *path, struct gr_error *err);
void gr_tensor_file_free(struct gr_tensor_file *file);
size_t gr_tensor_file_count(const struct gr_tensor_file *file);
const struct gr_tensor *gr_tensor_file_get(const struct gr_tensor_file *file, size_t index);
const struct gr_tensor *gr_tensor_file_find(const struct gr_tensor_file *file, const char *name);
const char *gr_tensor_file_metadata(const struct gr_tensor_file *file, const char *key);

/* Written to a temporary file, synced and renamed. metadata: n_metadata key, value pairs. "-"
 * works. */
bool gr_tensor_file_write(const char *path, const struct gr_tensor *tensors, size_t count,
                          const char *const *metadata, size_t n_metadata, struct gr_error *err);

/* ---- small services ---------------------------------------------------------------------- */

enum { GR_SHAPE_TEXT = 128 };

int64_t gr_shape_count(const struct gr_shape *shape);
const char *gr_shape_text(const struct gr_shape *shape, char buffer[GR_SHAPE_TEXT]);
size_t gr_dtype_size(enum gr_dtype dtype);
const char *gr_dtype_name(enum gr_dtype dtype);

/*
 * The candidate nearest to word by edit distance (adjacent swaps count one), for "did you mean";
 * NULL when none is close: at most a third of the word's length, and at least one edit.
 */
/*
 * Puts '?' in the place of control characters, with which names from files could command a
 * terminal, and of bytes that are no UTF-8; with lines, line breaks and tabs stay. Returns text.
 * Messages of errors have passed it.
 */
char *gr_plain_text(char *text, bool lines);

const char *gr_nearest(const char *word, const char *const *candidates, size_t count);

#ifdef __cplusplus
}
#endif

#endif
