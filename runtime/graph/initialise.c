/*
 * Initial weights; see initialise.h. Every initialiser is a shift and a scale of one of three
 * draws, so that a row of the table only says which. Large tensors are drawn by all threads, in
 * vectors; a number depends on its index alone.
 */
#include "graph/initialise.h"

#include <math.h>
#include <string.h>

#include "base/random.h"

/* shift + scale · draw; the draws are 0, uniform in [0, 1), or N(0, 1). */
struct recipe {
    enum { CONSTANT, UNIFORM, NORMAL } draw;
    double shift, scale;
};

/* The kind comes first, so that a choice's kind leads to its initialiser. */
struct initialiser {
    struct gr_kind kind;
    struct recipe (*recipe)(const void *attrs, const struct gr_parameter *parameter);
};

struct constant {
    double value;
};

struct gaussian {
    double mean, std;
};

struct uniform {
    double min, max;
};

struct scaled {
    double gain;
    int mode;
};

enum mode { FAN_IN, FAN_OUT, AVERAGE };
static const char *const modes[] = {"fan_in", "fan_out", "average", NULL};

/* The connections that the mode counts; a parameter that says nothing of them has one. */
static double fan(int mode, const struct gr_parameter *parameter)
{
    const double in = (double)parameter->fan_in, out = (double)parameter->fan_out;
    const double count = mode == FAN_IN ? in : mode == FAN_OUT ? out : (in + out) / 2;
    return count > 1 ? count : 1;
}

static struct recipe constant_recipe(const void *attrs, const struct gr_parameter *parameter)
{
    (void)parameter;
    return (struct recipe){CONSTANT, ((const struct constant *)attrs)->value, 0};
}

static const struct initialiser constant = {
    {"constant", "the same number everywhere",
     (const struct gr_attr[]){
         {"value", GR_ATTR_FLOAT, offsetof(struct constant, value), .doc = "the number"},
         {.name = NULL}},
     sizeof(struct constant)},
    constant_recipe};

static struct recipe gaussian_recipe(const void *attrs, const struct gr_parameter *parameter)
{
    (void)parameter;
    const struct gaussian *gaussian = attrs;
    return (struct recipe){NORMAL, gaussian->mean, gaussian->std};
}

static const struct initialiser gaussian = {
    {"gaussian", "normally distributed, N(mean, std)",
     (const struct gr_attr[]){
         {"mean", GR_ATTR_FLOAT, offsetof(struct gaussian, mean), .doc = "mean"},
         {"std", GR_ATTR_FLOAT, offsetof(struct gaussian, std), .def = 0.01, .max = 1e9,
          .doc = "standard deviation"},
         {.name = NULL}},
     sizeof(struct gaussian)},
    gaussian_recipe};

static struct recipe uniform_recipe(const void *attrs, const struct gr_parameter *parameter)
{
    (void)parameter;
    const struct uniform *uniform = attrs;
    return (struct recipe){UNIFORM, uniform->min, uniform->max - uniform->min};
}

static const struct initialiser uniform = {
    {"uniform", "uniformly distributed from min to max",
     (const struct gr_attr[]){{"min", GR_ATTR_FLOAT, offsetof(struct uniform, min),
                               .required = true, .doc = "the least number"},
                              {"max", GR_ATTR_FLOAT, offsetof(struct uniform, max),
                               .required = true, .doc = "the largest number"},
                              {.name = NULL}},
     sizeof(struct uniform)},
    uniform_recipe};

static struct recipe xavier_recipe(const void *attrs, const struct gr_parameter *parameter)
{
    const struct scaled *xavier = attrs;
    const double bound = xavier->gain * sqrt(3 / fan(xavier->mode, parameter));
    return (struct recipe){UNIFORM, -bound, 2 * bound};
}

static const struct initialiser xavier = {
    {"xavier", "uniform within gain · sqrt(3 / fan) of 0 (Glorot and Bengio 2010)",
     (const struct gr_attr[]){{"gain", GR_ATTR_FLOAT, offsetof(struct scaled, gain), .def = 1,
                               .max = 1e9, .doc = "factor for the activation that follows"},
                              {"mode", GR_ATTR_ENUM, offsetof(struct scaled, mode), .def = AVERAGE,
                               .choices = modes,
                               .doc = "which connections fan counts: in, out, or their average"},
                              {.name = NULL}},
     sizeof(struct scaled)},
    xavier_recipe};

static struct recipe he_recipe(const void *attrs, const struct gr_parameter *parameter)
{
    const struct scaled *he = attrs;
    return (struct recipe){NORMAL, 0, he->gain / sqrt(fan(he->mode, parameter))};
}

static const struct initialiser he = {
    {"he", "normal with standard deviation gain / sqrt(fan) (He and others 2015)",
     (const struct gr_attr[]){
         {"gain", GR_ATTR_FLOAT, offsetof(struct scaled, gain), .def = 1.4142135623730951,
          .max = 1e9, .doc = "factor for the activation that follows; sqrt(2) suits ReLU"},
         {"mode", GR_ATTR_ENUM, offsetof(struct scaled, mode), .def = FAN_IN, .choices = modes,
          .doc = "which connections fan counts: in, out, or their average"},
         {.name = NULL}},
     sizeof(struct scaled)},
    he_recipe};

const struct gr_kind *const gr_initialisers[] = {&constant.kind, &gaussian.kind, &uniform.kind,
                                                 &xavier.kind,   &he.kind,       NULL};

const struct gr_kind *gr_initialiser_find(const char *name)
{
    for (const struct gr_kind *const *kind = gr_initialisers; *kind; kind++)
        if (strcmp((*kind)->name, name) == 0)
            return *kind;
    return NULL;
}

struct gr_choice gr_initialiser_constant(double value, struct gr_pool *pool)
{
    struct constant *attrs = gr_kind_defaults(&constant.kind, pool);
    if (!attrs)
        return (struct gr_choice){0};
    attrs->value = value;
    return (struct gr_choice){&constant.kind, attrs};
}

typedef void draw_fn(const struct gr_random_key *key, uint64_t first, int64_t count, float *out);

enum { PIECE = 256 }; /* blocks of four numbers: they stay in the first cache */

static void fill(float *data, int64_t count, draw_fn *draw, const struct gr_random_key *key,
                 float shift, float scale)
{
    const int64_t blocks = count / 4, pieces = (blocks + PIECE - 1) / PIECE;
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) if (pieces > 8)
#endif
    for (int64_t piece = 0; piece < pieces; piece++) {
        const int64_t first = piece * PIECE, left = blocks - first;
        const int64_t n = left < PIECE ? left : PIECE;
        float *out = data + 4 * first;
        draw(key, (uint64_t)first, n, out);
        for (int64_t i = 0; i < 4 * n; i++)
            out[i] = shift + scale * out[i];
    }
    float rest[4];
    draw(key, (uint64_t)blocks, 1, rest);
    for (int64_t i = 4 * blocks; i < count; i++)
        data[i] = shift + scale * rest[i % 4];
}

void gr_initialise(const struct gr_value *value, uint64_t seed, float *data)
{
    const int64_t count = gr_shape_count(&value->shape);
    const struct gr_choice *init = value->parameter ? &value->parameter->init : NULL;
    struct recipe recipe = {CONSTANT, 0, 0};
    if (init && init->kind) {
        const struct initialiser *initialiser = (const void *)init->kind;
        recipe = initialiser->recipe(init->attrs, value->parameter);
    }
    const float shift = (float)recipe.shift, scale = (float)recipe.scale;
    if (recipe.draw == CONSTANT) {
        for (int64_t i = 0; i < count; i++)
            data[i] = shift;
        return;
    }
    const struct gr_random_key key =
        gr_random_key(seed, GR_RANDOM_INIT, 0, gr_random_name(value->name));
    fill(data, count, recipe.draw == NORMAL ? gr_random_normal_blocks : gr_random_uniform_blocks,
         &key, shift, scale);
}
