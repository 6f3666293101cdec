/*
 * Programs as a whole: whatever the layouts, the kernels, the fusion and the memory plan, the
 * numbers are the same; nothing is read after its death; constants follow their parameters.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_check.h"
#include "support/small_graph.h"
#include "support/small_net.h"

enum { BATCH = 4 };

/* Every kind of value on the way, and gradients of every kind. */
static const char *const inner[] = {"loss", "prob", "r1", "n1",  "p1",  "cat", "bn", "sum",
                                    "p2",   "flat", "r5", "t2b", "c2b", "f2",  NULL};
static const char *const gradients[] = {"loss",
                                        "grad:c1.weight",
                                        "grad:c1.bias",
                                        "grad:c2a.weight",
                                        "grad:c3.weight",
                                        "grad:bn.weight",
                                        "grad:bn.bias",
                                        "grad:f1.weight",
                                        "grad:f2.bias",
                                        "grad:image",
                                        "grad:cat",
                                        "grad:p1",
                                        NULL};

/* ---- comparing --------------------------------------------------------------------------- */

/* Each target of a equals b's within tolerance, relative to the largest element; 0: bit for bit. */
static void expect_close(const struct gr_net *a, const struct gr_net *b, double tolerance)
{
    for (const char *const *name = a->options.targets; *name; name++) {
        const float *x = gr_net_fetch(a, *name), *y = gr_net_fetch(b, *name);
        const int64_t count = gr_net_count(a, *name);
        double largest = 0;
        for (int64_t i = 0; i < count; i++)
            largest = fmax(largest, fabs((double)y[i]));
        assert_true(largest > 0 && isfinite(largest));
        if (tolerance <= 0 && memcmp(x, y, (size_t)count * sizeof *x) != 0)
            fail_msg("'%s' differs", *name);
        for (int64_t i = 0; i < count; i++)
            if (!(fabs((double)x[i] - (double)y[i]) <= tolerance * largest))
                fail_msg("'%s'[%d]: %.9g and %.9g", *name, (int)i, (double)x[i], (double)y[i]);
    }
}

/* Runs the same `steps` steps in two nets that differ in their options, and compares their targets.
 */
static void expect_same(const struct gr_net_options *one, const struct gr_net_options *two,
                        uint64_t steps, double tolerance)
{
    struct gr_net a, b;
    gr_net_init(&a, one);
    gr_net_init(&b, two);
    for (uint64_t step = 0; step < steps; step++) {
        gr_net_run(&a, step);
        gr_net_run(&b, step);
        expect_close(&a, &b, tolerance);
    }
    if (tolerance <= 0)
        gr_net_expect_same_parameters(&a, &b);
    gr_net_release(&a);
    gr_net_release(&b);
}

static size_t count_steps(const struct gr_net *net, bool (*test)(const struct gr_step *step))
{
    size_t count = 0;
    for (size_t s = 0; s < gr_program_step_count(net->program); s++)
        count += test(gr_program_step(net->program, s));
    return count;
}

static bool is_blocked(const struct gr_step *step)
{
    return step->node->n_outputs && step->dst_layouts[0] != &gr_layout_plain;
}

static bool has_channels_last(const struct gr_step *step)
{
    return is_blocked(step) && strstr(step->dst_layouts[0]->name, "nhwc") != NULL;
}

static bool is_constant(const struct gr_step *step)
{
    return step->constant;
}

/* ---- layouts, fusion, kernels ------------------------------------------------------------ */

static void inference_is_the_same_without_fusion(void **state)
{
    (void)state;
    const struct gr_net_options fused = {.batch = BATCH};
    struct gr_net_options unfused = fused;
    unfused.program.no_fusion = true;
    expect_same(&fused, &unfused, 1, 1e-5);
    struct gr_net a, b;
    gr_net_init(&a, &fused);
    gr_net_init(&b, &unfused);
    assert_true(gr_program_step_count(a.program) < gr_program_step_count(b.program));
    gr_net_release(&a);
    gr_net_release(&b);
}

/* Every convolution in nhwc, and between them LRN, pools, a residual add and a concat. */
static void inference_is_the_same_with_channels_last(void **state)
{
    (void)state;
    const struct gr_net_options usual = {.batch = BATCH};
    struct gr_net_options last = usual;
    last.program.choice = "channels last";
    expect_same(&last, &usual, 1, 1e-5);
    struct gr_net net;
    gr_net_init(&net, &last);
    assert_true(count_steps(&net, has_channels_last) >= 4);
    gr_net_release(&net);
    if (!gr_check_has_bf16())
        return;
    last.program.precision = GR_PRECISION_BF16;
    expect_same(&last, &usual, 1, 0.03);
}

static void training_is_the_same_without_fusion(void **state)
{
    (void)state;
    const struct gr_net_options fused = {.batch = BATCH, .training = true, .targets = gradients};
    struct gr_net_options unfused = fused;
    unfused.program.no_fusion = true;
    expect_same(&fused, &unfused, 1, 1e-4);
}

static void the_independent_kernels_give_the_same_inference(void **state)
{
    (void)state;
    const struct gr_net_options fast = {.batch = BATCH, .targets = inner};
    struct gr_net_options plain = fast;
    plain.kernels = GR_KERNELS_OPENBLAS;
    expect_same(&fast, &plain, 1, 1e-4);
}

static void the_independent_kernels_give_the_same_gradients(void **state)
{
    (void)state;
    const struct gr_net_options fast = {
        .batch = BATCH, .training = true, .no_dropout = true, .targets = gradients};
    struct gr_net_options plain = fast;
    plain.kernels = GR_KERNELS_OPENBLAS;
    expect_same(&fast, &plain, 1, 1e-4);
}

static void the_independent_kernels_keep_everything_plain(void **state)
{
    (void)state;
    const struct gr_net_options options = {
        .batch = BATCH, .training = true, .update = true, .kernels = GR_KERNELS_OPENBLAS};
    struct gr_net net;
    gr_net_init(&net, &options);
    assert_int_equal(count_steps(&net, is_blocked), 0);
    gr_net_release(&net);
}

static void two_threads_give_the_same_numbers(void **state)
{
    (void)state;
    const struct gr_net_options one = {.batch = BATCH, .training = true, .targets = gradients};
    struct gr_net_options two = one;
    two.threads = 2;
    expect_same(&two, &one, 1, 1e-4);
}

/* ---- memory ------------------------------------------------------------------------------ */

static void no_memory_plan_gives_the_same_bits(void **state)
{
    (void)state;
    const struct gr_net_options shapes[] = {
        {.batch = BATCH, .targets = inner},
        {.batch = BATCH},
        {.batch = BATCH, .training = true, .targets = gradients},
        {.batch = BATCH, .training = true, .update = true},
        {.batch = BATCH, .training = true, .update = true, .targets = gradients},
        {.batch = BATCH, .training = true, .update = true, .kernels = GR_KERNELS_OPENBLAS},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct gr_net_options spread = shapes[i];
        spread.program.no_memory_plan = true;
        expect_same(&shapes[i], &spread, 5, 0);
    }
}

static void poisoned_memory_gives_the_same_bits(void **state)
{
    (void)state;
    const struct gr_net_options shapes[] = {
        {.batch = BATCH},
        {.batch = BATCH, .training = true, .targets = gradients},
        {.batch = BATCH, .training = true, .update = true},
        {.batch = BATCH, .training = true, .update = true, .program.no_fusion = true},
        {.batch = BATCH, .training = true, .update = true, .program.no_memory_plan = true},
        {.batch = BATCH, .training = true, .update = true, .kernels = GR_KERNELS_OPENBLAS},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct gr_net_options poisoned = shapes[i];
        poisoned.program.poison = true;
        expect_same(&shapes[i], &poisoned, 5, 0);
    }
}

static void the_plan_is_smaller_than_memory_without_reuse(void **state)
{
    (void)state;
    const struct gr_net_options options = {.batch = BATCH, .training = true, .update = true};
    struct gr_net net;
    gr_net_init(&net, &options);
    const struct gr_memory_report report = gr_program_memory(net.program);
    assert_true(report.planned >= report.lower_bound);
    assert_true(report.planned <= report.lower_bound + report.lower_bound / 20);
    assert_true(report.planned < report.without_reuse / 2);
    size_t parameters = 0, states = 0;
    for (size_t i = 0; i < gr_params_count(net.params); i++) {
        const struct gr_stored *stored = gr_params_at(net.params, i);
        const size_t bytes = gr_layout_bytes(stored->layout, &stored->value);
        *(stored->value.kind == GR_VALUE_STATE ? &states : &parameters) += bytes;
    }
    assert_int_equal(report.parameters, parameters);
    assert_int_equal(report.states, states);
    gr_net_release(&net);
}

/* Fetched together or one at a time: being a target must keep a value, and change nothing else. */
static void targets_stay_readable_to_the_end(void **state)
{
    (void)state;
    const struct gr_net_options all = {
        .batch = BATCH, .targets = inner, .program = {.poison = true, .no_fusion = true}};
    struct gr_net together;
    gr_net_init(&together, &all);
    gr_net_run(&together, 0);
    for (size_t i = 0; inner[i]; i++) {
        const char *const one[] = {inner[i], NULL};
        struct gr_net_options alone = all;
        alone.targets = one;
        struct gr_net single;
        gr_net_init(&single, &alone);
        gr_net_run(&single, 0);
        expect_close(&single, &together, 1e-6);
        gr_net_release(&single);
    }
    gr_net_release(&together);
}

/* ---- running again ----------------------------------------------------------------------- */

static void what_was_fed_once_can_be_run_twice(void **state)
{
    (void)state;
    const struct gr_net_options shapes[] = {
        {.batch = BATCH},
        {.batch = BATCH, .program.poison = true},
        {.batch = BATCH, .training = true, .targets = gradients, .program.poison = true},
    };
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        struct gr_net once, again;
        gr_net_init(&once, &shapes[k]);
        gr_net_init(&again, &shapes[k]);
        gr_net_run(&once, 3);
        for (int i = 0; i < 3; i++)
            gr_net_run(&again, 3);
        expect_close(&once, &again, 0);
        gr_net_release(&once);
        gr_net_release(&again);
    }
}

static void dropout_differs_from_step_to_step_and_is_off_in_inference(void **state)
{
    (void)state;
    for (int training = 0; training < 2; training++) {
        const struct gr_net_options options = {.batch = BATCH, .training = training};
        struct gr_net net;
        gr_net_init(&net, &options);
        gr_net_run(&net, 0);
        const float first = *gr_net_fetch(&net, "loss");
        gr_net_run(&net, 1);
        const float second = *gr_net_fetch(&net, "loss");
        assert_true(training ? first < second || first > second
                             : memcmp(&first, &second, sizeof first) == 0);
        gr_net_release(&net);
    }
}

static void training_steps_reduce_the_loss(void **state)
{
    (void)state;
    const struct gr_net_options options = {
        .batch = BATCH, .training = true, .update = true, .no_dropout = true};
    struct gr_net net;
    gr_net_init(&net, &options);
    gr_net_run(&net, 0);
    const float first = *gr_net_fetch(&net, "loss");
    for (uint64_t step = 1; step < 40; step++)
        gr_net_run(&net, step);
    const float last = *gr_net_fetch(&net, "loss");
    if (!(last < first / 2))
        fail_msg("from %g to %g", (double)first, (double)last);
    gr_net_release(&net);
}

/* ---- parameters and constants ------------------------------------------------------------ */

/* A net for inference whose weights lie plain, so that its kernels read reordered copies. */
static void init_with_plain_weights(struct gr_net *net)
{
    const struct gr_net_options options = {.batch = BATCH};
    struct gr_error err = {0};
    gr_net_build(net, &options);
    for (size_t v = 0; v < net->graph->n_values; v++) {
        const struct gr_value *value = net->graph->values[v];
        if (value->kind != GR_VALUE_PARAMETER)
            continue;
        struct gr_stored *stored = gr_params_obtain(net->params, value, &err);
        gr_check_ok(stored && gr_params_lay_out(net->params, stored, &gr_layout_plain, &err), &err);
    }
    gr_net_compile(net);
    gr_net_feed(net, 1);
    assert_true(count_steps(net, is_constant) > 0);
    assert_true(gr_program_memory(net->program).constants > 0);
}

/* Does a constant step make something of this parameter? */
static bool has_constant(const struct gr_net *net, const char *parameter)
{
    for (size_t s = 0; s < gr_program_step_count(net->program); s++) {
        const struct gr_step *step = gr_program_step(net->program, s);
        if (step->constant && strcmp(step->node->inputs[0]->name, parameter) == 0)
            return true;
    }
    return false;
}

static void constants_follow_a_parameter_that_is_set(void **state)
{
    (void)state;
    static const char *const names[] = {"c1.weight", "c2a.weight", "c3.weight", "f1.weight",
                                        "f2.bias"};
    struct gr_net net;
    size_t constant = 0;
    init_with_plain_weights(&net);
    gr_net_run(&net, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        float *data = gr_net_get(&net, names[i]);
        constant += has_constant(&net, names[i]);
        data[0] += 1;
        gr_net_set(&net, names[i], data);
        gr_net_run(&net, 0);
        struct gr_net fresh;
        gr_net_init(&fresh, &(struct gr_net_options){.batch = BATCH});
        for (size_t k = 0; k <= i; k++) {
            float *copy = gr_net_get(&net, names[k]);
            gr_net_set(&fresh, names[k], copy);
            free(copy);
        }
        gr_net_run(&fresh, 0);
        expect_close(&net, &fresh, 1e-5);
        gr_net_release(&fresh);
        free(data);
    }
    assert_true(constant > 0);
    gr_net_release(&net);
}

/* Inference beside training on the same parameters sees each step's weights. */
static void constants_follow_training_in_another_program(void **state)
{
    (void)state;
    struct gr_net inference, training, fresh;
    init_with_plain_weights(&inference);
    gr_net_run(&inference, 0);
    const float before = *gr_net_fetch(&inference, "loss");
    gr_net_init(&training,
                &(struct gr_net_options){
                    .batch = BATCH + 1, .training = true, .update = true, .share = &inference});
    for (uint64_t step = 0; step < 3; step++) {
        gr_net_run(&training, step);
        gr_net_run(&inference, 0);
        gr_net_init(&fresh, &(struct gr_net_options){.batch = BATCH, .share = &inference});
        gr_net_run(&fresh, 0);
        expect_close(&inference, &fresh, 0);
        gr_net_release(&fresh);
    }
    assert_true(fabsf(*gr_net_fetch(&inference, "loss") - before) > 1e-4f);
    gr_net_release(&training);
    gr_net_release(&inference);
}

static void constants_are_not_recomputed_while_nothing_changes(void **state)
{
    (void)state;
    struct gr_net net;
    init_with_plain_weights(&net);
    gr_net_run(&net, 0);
    gr_program_profile(net.program, true);
    gr_net_run(&net, 0);
    for (size_t s = 0; s < gr_program_step_count(net.program); s++)
        if (gr_program_step(net.program, s)->constant)
            assert_true(gr_program_step(net.program, s)->seconds <= 0);
    gr_net_release(&net);
}

static void programs_of_different_batch_share_parameters(void **state)
{
    (void)state;
    struct gr_net four, seven, training;
    gr_net_init(&four, &(struct gr_net_options){.batch = 4});
    gr_net_init(&seven, &(struct gr_net_options){.batch = 7, .share = &four});
    gr_net_init(&training, &(struct gr_net_options){
                               .batch = 5, .training = true, .update = true, .share = &four});
    for (uint64_t step = 0; step < 3; step++) {
        gr_net_run(&four, 0);
        gr_net_run(&seven, 0);
        const float *a = gr_net_fetch(&four, "prob"), *b = gr_net_fetch(&seven, "prob");
        for (int64_t i = 0; i < gr_net_count(&four, "prob"); i++)
            assert_true(fabsf(a[i] - b[i]) < 1e-5f);
        gr_net_run(&training, step);
    }
    gr_net_release(&training);
    gr_net_release(&seven);
    gr_net_release(&four);
}

static void a_blocked_parameter_comes_back_bit_for_bit(void **state)
{
    (void)state;
    struct gr_net net;
    size_t blocked = 0;
    gr_net_init(&net, &(struct gr_net_options){.batch = BATCH, .training = true, .update = true});
    for (size_t i = 0; i < gr_params_count(net.params); i++) {
        const struct gr_stored *stored = gr_params_at(net.params, i);
        const int64_t count = gr_shape_count(&stored->value.shape);
        float *data = malloc((size_t)count * sizeof *data);
        assert_non_null(data);
        gr_small_draw(data, count, i + 1);
        gr_net_set(&net, stored->value.name, data);
        float *back = gr_net_get(&net, stored->value.name);
        assert_memory_equal(data, back, (size_t)count * sizeof *data);
        free(back);
        free(data);
        blocked += stored->layout != &gr_layout_plain;
    }
    assert_true(blocked > 0);
    gr_net_release(&net);
}

static void a_parameter_is_set_only_with_its_own_count(void **state)
{
    (void)state;
    struct gr_net net;
    struct gr_error get = {0}, set = {0};
    float data[20] = {0};
    gr_net_init(&net, &(struct gr_net_options){.batch = BATCH});
    struct gr_stored *stored = gr_params_find(net.params, "c1.bias");
    assert_non_null(stored);
    const uint64_t version = stored->version;
    assert_false(gr_params_get(net.params, stored, data, 15, &get));
    assert_string_equal(get.message, "'c1.bias' has 16 elements, not 15");
    assert_false(gr_params_set(net.params, stored, data, 17, &set));
    assert_string_equal(set.message, "'c1.bias' has 16 elements, not 17");
    assert_int_equal(stored->version, version);
    gr_net_release(&net);
}

/* The parameter itself as a target: after a step it is the new one, whoever else reads a copy. */
static void a_fetched_parameter_is_the_updated_one(void **state)
{
    (void)state;
    static const char *const targets[] = {"loss", "c1.weight", "c3.weight", "f1.weight", NULL};
    struct gr_net net;
    gr_net_init(&net, &(struct gr_net_options){
                          .batch = BATCH, .training = true, .update = true, .targets = targets});
    for (uint64_t step = 0; step < 3; step++) {
        gr_net_run(&net, step);
        for (size_t i = 1; targets[i]; i++) {
            float *now = gr_net_get(&net, targets[i]);
            assert_memory_equal(now, gr_net_fetch(&net, targets[i]),
                                (size_t)gr_net_count(&net, targets[i]) * sizeof *now);
            free(now);
        }
    }
    gr_net_release(&net);
}

/* The same where another node reads the weight in plain layout before the update. */
static void a_fetched_parameter_is_no_copy_from_before_the_update(void **state)
{
    (void)state;
    static const char *const targets[] = {"loss", "c2a.weight", NULL};
    struct gr_error err = {0};
    struct gr_net net;
    gr_net_build(&net, &(struct gr_net_options){
                           .batch = BATCH, .training = true, .update = true, .targets = targets});
    struct gr_value *weight = gr_graph_value(net.graph, "c2a.weight");
    struct gr_value *inputs[] = {weight, gr_graph_add_value(net.graph, "fixed", GR_VALUE_INPUT,
                                                            GR_F32, &weight->shape, &err)};
    gr_check_ok(inputs[1] != NULL, &err);
    const struct gr_node_spec spec = {
        .name = "penalty", .op = &gr_op_test_dot, .inputs = inputs, .n_inputs = 2};
    struct gr_node *penalty = gr_graph_add_node(net.graph, &spec, &err);
    gr_check_ok(penalty != NULL, &err);
    net.targets[0] = penalty->outputs[0];
    gr_net_compile(&net);
    gr_net_feed(&net, 1);
    gr_net_run(&net, 0);
    float *now = gr_net_get(&net, "c2a.weight");
    assert_memory_equal(now, gr_net_fetch(&net, "c2a.weight"),
                        (size_t)gr_net_count(&net, "c2a.weight") * sizeof *now);
    free(now);
    gr_net_release(&net);
}

/* ---- finite ------------------------------------------------------------------------------ */

static void the_first_node_that_is_not_finite_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *parameter, *node, *op;
        float value;
    } cases[] = {
        {"c1.weight", "c1", "conv", INFINITY},  {"c2b.bias", "c2b", "conv", NAN},
        {"c3.weight", "c3", "conv", -INFINITY}, {"bn.weight", "bn", "batch_norm", NAN},
        {"f2.bias", "f2", "linear", NAN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct gr_net_options options = {
            .batch = BATCH,
            .training = true,
            .update = true,
            .program = {.check_finite = true, .no_fusion = true}};
        struct gr_error err = {0};
        char message[256];
        struct gr_net net;
        gr_net_init(&net, &options);
        gr_net_run(&net, 0);
        float *data = gr_net_get(&net, cases[i].parameter);
        data[0] = cases[i].value;
        gr_net_set(&net, cases[i].parameter, data);
        free(data);
        assert_false(gr_program_run(net.program, &(struct gr_run){.seed = 1, .step = 7}, &err));
        snprintf(message, sizeof message,
                 "'%s', made by node '%s' (%s), holds NaN or infinity in step 7", cases[i].node,
                 cases[i].node, cases[i].op);
        assert_int_equal(err.status, GR_ERR_DIVERGED);
        assert_string_equal(err.message, message);
        gr_net_release(&net);
    }
}

/* ---- which inputs ------------------------------------------------------------------------ */

static void an_input_that_no_target_needs_is_not_there(void **state)
{
    (void)state;
    static const char *const targets[] = {"prob", NULL};
    struct gr_net net;
    gr_net_init(&net, &(struct gr_net_options){.batch = BATCH, .targets = targets});
    assert_true(gr_program_uses(net.program, gr_graph_value(net.graph, "image")));
    assert_false(gr_program_uses(net.program, gr_graph_value(net.graph, "label")));
    assert_null(gr_program_data(net.program, gr_graph_value(net.graph, "label")));
    assert_null(gr_program_data(net.program, gr_graph_value(net.graph, "p1")));
    gr_net_release(&net);
}

/* An input or a parameter may itself be a target, and a target may be asked for twice. */
static void an_input_and_a_value_twice_can_be_targets(void **state)
{
    (void)state;
    static const char *const targets[] = {"image", "prob", "prob", "image", NULL};
    struct gr_net net;
    gr_net_init(
        &net, &(struct gr_net_options){.batch = BATCH, .targets = targets, .program.poison = true});
    float *before = malloc((size_t)gr_net_count(&net, "image") * sizeof *before);
    assert_non_null(before);
    const size_t bytes = (size_t)gr_net_count(&net, "image") * sizeof *before;
    memcpy(before, gr_net_fetch(&net, "image"), bytes);
    gr_net_run(&net, 0);
    assert_memory_equal(before, gr_net_fetch(&net, "image"), bytes);
    double total = 0;
    for (int64_t i = 0; i < gr_net_count(&net, "prob"); i++)
        total += (double)gr_net_fetch(&net, "prob")[i];
    assert_true(fabs(total - BATCH) < 1e-4);
    free(before);
    gr_net_release(&net);
}

/* ---- traffic ----------------------------------------------------------------------------- */

static void an_input_read_twice_is_counted_once_whenever_asked(void **state)
{
    (void)state;
    struct gr_small small;
    gr_small_init(&small, false, 1, GR_KERNELS_AUTO);
    struct gr_value *x = gr_small_input(&small, "x", (struct gr_shape){.rank = 2, .dim = {4, 25}});
    struct gr_value *y = gr_small_input(&small, "y", x->shape);
    struct gr_node *twice = gr_small_node(&small, "add", "twice", NULL, x, x);
    struct gr_node *both = gr_small_node(&small, "mul", "both", NULL, twice->outputs[0], y);
    gr_small_compile(&small, both->outputs, 1, false);
    assert_int_equal(gr_program_step_count(small.program), 2);
    for (int round = 0; round < 2; round++)
        for (size_t s = 0; s < 2; s++) {
            const struct gr_traffic traffic =
                gr_program_traffic(small.program, gr_program_step(small.program, s));
            assert_int_equal(traffic.read, (s + 1) * 100 * sizeof(float));
            assert_int_equal(traffic.written, 100 * sizeof(float));
        }
    gr_small_release(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inference_is_the_same_without_fusion),
        cmocka_unit_test(inference_is_the_same_with_channels_last),
        cmocka_unit_test(training_is_the_same_without_fusion),
        cmocka_unit_test(the_independent_kernels_give_the_same_inference),
        cmocka_unit_test(the_independent_kernels_give_the_same_gradients),
        cmocka_unit_test(the_independent_kernels_keep_everything_plain),
        cmocka_unit_test(two_threads_give_the_same_numbers),
        cmocka_unit_test(no_memory_plan_gives_the_same_bits),
        cmocka_unit_test(poisoned_memory_gives_the_same_bits),
        cmocka_unit_test(the_plan_is_smaller_than_memory_without_reuse),
        cmocka_unit_test(targets_stay_readable_to_the_end),
        cmocka_unit_test(what_was_fed_once_can_be_run_twice),
        cmocka_unit_test(dropout_differs_from_step_to_step_and_is_off_in_inference),
        cmocka_unit_test(training_steps_reduce_the_loss),
        cmocka_unit_test(constants_follow_a_parameter_that_is_set),
        cmocka_unit_test(constants_follow_training_in_another_program),
        cmocka_unit_test(constants_are_not_recomputed_while_nothing_changes),
        cmocka_unit_test(programs_of_different_batch_share_parameters),
        cmocka_unit_test(a_blocked_parameter_comes_back_bit_for_bit),
        cmocka_unit_test(a_parameter_is_set_only_with_its_own_count),
        cmocka_unit_test(a_fetched_parameter_is_the_updated_one),
        cmocka_unit_test(a_fetched_parameter_is_no_copy_from_before_the_update),
        cmocka_unit_test(the_first_node_that_is_not_finite_is_named),
        cmocka_unit_test(an_input_that_no_target_needs_is_not_there),
        cmocka_unit_test(an_input_and_a_value_twice_can_be_targets),
        cmocka_unit_test(an_input_read_twice_is_counted_once_whenever_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
