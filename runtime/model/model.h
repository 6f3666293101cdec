/*
 * Inside of the public objects: context, model, plan. For runtime/model and runtime/train only.
 */
#ifndef GR_MODEL_MODEL_H
#define GR_MODEL_MODEL_H

#include "graph/autodiff.h"
#include "graph/program.h"
#include "model/class_names.h"
#include "model/model_file.h"

struct gr_context {
    const struct gr_registry *ops;
    struct gr_backend *backend;
    int threads;
    struct gr_tuning *tuning; /* choices that its plans take and record; NULL: none */
    char *tuning_file;        /* of this machine; NULL: none */
    gr_log_fn *log;           /* may be NULL */
    void *log_user;
};

/* What data being trained on, or else weights, say of their colours. */
struct gr_known_colours {
    struct gr_statistics statistics; /* channels 0: nothing is known */
    bool of_training, of_weights;    /* who has said so, or that there is nothing to know */
};

struct gr_model {
    struct gr_context *context;
    struct gr_model_file *file;
    struct gr_params *params;
    uint64_t seed;
    int64_t n_trained;                 /* elements of the trained parameters */
    struct gr_class_names class_names; /* of data or weights; those of the file count first */
    struct gr_known_colours colours;   /* of the training data */
};

struct gr_plan {
    struct gr_model *model;
    struct gr_pool pool;
    struct gr_plan_options options; /* batch filled in; targets not kept */
    struct gr_graph *graph;
    struct gr_program *program;
    struct gr_value **inputs; /* read by the program, the learning rate apart */
    size_t n_inputs;
    struct gr_value **targets;
    const char **target_names; /* as asked for: "grad:conv1.weight" */
    size_t n_targets;
    struct gr_value *rate; /* NULL without updates */
    struct gr_node_info *infos;
    double learning_rate;
    uint64_t step;
};

/*
 * The first half of gr_plan_new: the graph, differentiated and with updates as the options say, and
 * the targets. There is no program; gr_plan_free ends it.
 */
struct gr_plan *gr_plan_draft(struct gr_model *model, const struct gr_plan_options *options,
                              struct gr_error *err);

/* "forward", "backward", "update". */
const char *gr_phase_name(enum gr_phase phase);

/* Logs a line. */
void gr_log(const struct gr_context *context, enum gr_log_level level, const char *format, ...)
    GR_PRINTF(3, 4);

/* Makes every parameter of the model exist in its store, also those that no plan has used. */
bool gr_model_materialise(struct gr_model *model, struct gr_error *err);

/*
 * Reads what a snapshot (model/snapshot.h) wrote. Every parameter must be in the file; with states,
 * whatever states are there come too.
 */
bool gr_model_read(struct gr_model *model, const struct gr_tensor_file *file, const char *path,
                   bool states, struct gr_error *err);

#endif
