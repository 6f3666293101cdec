/*
 * Recomputation under a memory budget: the same bits with and without, whatever the budget; copies
 * stand where they are needed and no earlier; the cheap is computed again, not the dear; and a
 * budget that is too small is told the least that it could be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "support/api_case.h"
#include "support/op_check.h"
#include "support/small_graph.h"
#include "support/small_net.h"

enum { BATCH = 4, STEPS = 3, TRAINED = 2 };

static const char *const gradients[] = {"loss",         "grad:c1.weight", "grad:c3.weight",
                                        "grad:c1.bias", "grad:bn.weight", "grad:f1.weight",
                                        "grad:image",   "grad:cat",       NULL};

/* ---- helpers ----------------------------------------------------------------------------- */

static size_t total_of(const struct gr_net *net)
{
    const struct gr_memory_report report = gr_program_memory(net->program);
    return report.planned + report.parameters + report.states + report.constants;
}

static size_t total_without_budget(const struct gr_net_options *options)
{
    struct gr_net net;
    gr_net_init(&net, options);
    const size_t total = total_of(&net);
    gr_net_release(&net);
    return total;
}

/* The bytes that the error of a budget of one byte says are possible. */
static size_t least_of(const struct gr_net_options *options)
{
    struct gr_net net;
    struct gr_error err = {0};
    size_t least = 0;
    gr_net_build(&net, options);
    struct gr_program_options budget = options->program;
    budget.run_updates = options->update;
    budget.memory_budget = 1;
    assert_null(gr_program_new(net.graph, net.params, net.backend, net.targets, net.n_targets,
                               &budget, &err));
    assert_int_equal(err.status, GR_ERR_USAGE);
    const char *words = strstr(err.message, "the least possible in all is ");
    if (!words || sscanf(words, "the least possible in all is %zu kB", &least) != 1)
        fail_msg("%s", err.message);
    gr_net_release(&net);
    return least * 1000;
}

static size_t count_again(const struct gr_net *net, const char *op)
{
    size_t count = 0;
    for (size_t s = 0; s < gr_program_step_count(net->program); s++) {
        const struct gr_node *node = gr_program_step(net->program, s)->node;
        count += node->origin && (!op || strcmp(node->op->kind.name, op) == 0);
    }
    return count;
}

static void expect_same_run(const struct gr_net_options *one, const struct gr_net_options *two)
{
    struct gr_net a, b;
    gr_net_init(&a, one);
    gr_net_init(&b, two);
    for (uint64_t step = 0; step < STEPS; step++) {
        gr_net_run(&a, step);
        gr_net_run(&b, step);
        for (const char *const *name = a.options.targets; *name; name++)
            assert_memory_equal(gr_net_fetch(&a, *name), gr_net_fetch(&b, *name),
                                (size_t)gr_net_count(&a, *name) * sizeof(float));
    }
    gr_net_expect_same_parameters(&a, &b);
    gr_net_release(&a);
    gr_net_release(&b);
}

static const struct gr_net_options training = {.batch = BATCH, .training = true, .update = true};

/* A net with the least budget that is possible. */
static void init_least(struct gr_net *net, const struct gr_net_options *options)
{
    struct gr_net_options least = *options;
    least.program.memory_budget = least_of(options);
    gr_net_init(net, &least);
}

/* ---- the same bits ----------------------------------------------------------------------- */

static bool can_compute(enum gr_precision precision)
{
    struct gr_error err = {0};
    struct gr_backend *backend = gr_standard_ops()->backend_new(1, GR_KERNELS_AUTO, &err);
    gr_check_ok(backend != NULL, &err);
    const bool can = gr_standard_ops()->check_precision(backend, precision, &err);
    gr_standard_ops()->backend_free(backend);
    return can;
}

static void any_budget_gives_the_same_bits(void **state)
{
    (void)state;
    const struct gr_net_options shapes[] = {
        {.batch = BATCH, .training = true, .update = true},
        {.batch = BATCH, .training = true, .targets = gradients},
        {.batch = BATCH, .training = true, .update = true, .targets = gradients},
        {.batch = BATCH, .training = true, .update = true, .program.no_fusion = true},
        {.batch = BATCH, .training = true, .update = true, .kernels = GR_KERNELS_OPENBLAS},
        {.batch = BATCH, .training = true, .update = true, .program.precision = GR_PRECISION_BF16},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (!can_compute(shapes[i].program.precision))
            continue;
        const size_t most = total_without_budget(&shapes[i]), least = least_of(&shapes[i]);
        assert_true(least < most);
        for (int part = 0; part <= 4; part++) {
            struct gr_net_options tight = shapes[i];
            tight.program.poison = true;
            tight.program.memory_budget = least + (most - least) * (size_t)part / 4;
            expect_same_run(&shapes[i], &tight);
        }
    }
}

/* ---- budgets ----------------------------------------------------------------------------- */

static void a_program_stays_within_its_budget(void **state)
{
    (void)state;
    const size_t most = total_without_budget(&training), least = least_of(&training);
    size_t last = SIZE_MAX;
    for (int part = 0; part < 8; part++) {
        struct gr_net net;
        struct gr_net_options tight = training;
        tight.program.memory_budget = least + (most - least) * (size_t)part / 8;
        gr_net_init(&net, &tight);
        const struct gr_memory_report report = gr_program_memory(net.program);
        assert_true(total_of(&net) <= tight.program.memory_budget);
        assert_int_equal(report.unbudgeted + report.parameters + report.states, most);
        assert_int_equal(report.recomputed, count_again(&net, NULL));
        assert_true(report.recomputed > 0 && report.recompute_share > 0);
        last = report.recomputed < last ? report.recomputed : last;
        gr_net_release(&net);
    }
    assert_true(last <= 3); /* little is computed again where little is missing */
}

static void a_budget_that_suffices_changes_nothing(void **state)
{
    (void)state;
    struct gr_net net, tight;
    struct gr_net_options options = training;
    gr_net_init(&net, &options);
    options.program.memory_budget = total_of(&net);
    gr_net_init(&tight, &options);
    assert_int_equal(count_again(&tight, NULL), 0);
    assert_int_equal(gr_program_step_count(net.program), gr_program_step_count(tight.program));
    assert_int_equal(total_of(&net), total_of(&tight));
    gr_net_release(&net);
    gr_net_release(&tight);
}

static void a_budget_below_the_least_is_refused(void **state)
{
    (void)state;
    struct gr_net net;
    struct gr_error err = {0};
    struct gr_program_options budget = {.run_updates = true};
    init_least(&net, &training); /* the least itself is possible */
    budget.memory_budget = total_of(&net) - 1001;
    gr_net_release(&net);
    gr_net_build(&net, &training);
    assert_null(gr_program_new(net.graph, net.params, net.backend, net.targets, net.n_targets,
                               &budget, &err));
    assert_int_equal(err.status, GR_ERR_USAGE);
    gr_net_release(&net);
}

static void inference_cannot_compute_again(void **state)
{
    (void)state;
    const struct gr_net_options inference = {.batch = BATCH};
    const size_t most = total_without_budget(&inference), least = least_of(&inference);
    assert_true(least >= most && least - most < 1000);
}

static void a_budget_needs_the_memory_plan(void **state)
{
    (void)state;
    struct gr_net net;
    struct gr_error err = {0};
    const struct gr_program_options options = {.no_memory_plan = true, .memory_budget = 1 << 30};
    gr_net_build(&net, &training);
    assert_null(gr_program_new(net.graph, net.params, net.backend, net.targets, net.n_targets,
                               &options, &err));
    assert_string_equal(err.message, "a memory budget needs the memory plan");
    gr_net_release(&net);
}

/* ---- what is chosen, and where it stands ------------------------------------------------- */

static bool reads(const struct gr_node *reader, const struct gr_node *maker)
{
    for (int i = 0; i < reader->n_inputs; i++)
        if (reader->inputs[i]->producer == maker)
            return true;
    return false;
}

/* Between a copy and its first reader there are other copies at most. */
static void copies_stand_right_before_their_readers(void **state)
{
    (void)state;
    struct gr_net net;
    init_least(&net, &training);
    const size_t count = gr_program_step_count(net.program);
    for (size_t s = 0; s < count; s++) {
        const struct gr_node *node = gr_program_step(net.program, s)->node;
        if (!node->origin)
            continue;
        assert_int_equal(node->phase, GR_BACKWARD);
        assert_null(node->forward);
        size_t at = s + 1;
        while (at < count && !reads(gr_program_step(net.program, at)->node, node)) {
            assert_non_null(gr_program_step(net.program, at)->node->origin);
            at++;
        }
        assert_true(at < count);
    }
    assert_non_null(gr_graph_value(net.graph, "r1@again"));
    gr_net_release(&net);
}

/* ---- chains ------------------------------------------------------------------------------ */

enum { ROWS = 8, WIDTH = 512, LINK = ROWS * WIDTH * 4 };

/*
 * `length` links behind x, and the gradient of a loss at their end: each n(i + 1) = tanh n(i), or
 * with dropout in between, n(i + 1) = d(i) · tanh(d(i)) for d(i) = dropout n(i).
 */
struct chain {
    struct gr_small small;
    struct gr_value *x, *gradient;
};

static void chain_build(struct chain *chain, int length, bool dropout)
{
    gr_small_init(&chain->small, true, 1, GR_KERNELS_OPENBLAS);
    struct gr_value *at = chain->x =
        gr_small_input(&chain->small, "x", (struct gr_shape){2, {ROWS, WIDTH}});
    for (int i = 0; i < length; i++) {
        char name[3][16];
        snprintf(name[0], 16, "d%d", i);
        snprintf(name[1], 16, "n%d", i);
        snprintf(name[2], 16, "m%d", i);
        struct gr_value *dropped = NULL;
        if (dropout)
            at = dropped =
                gr_small_node(&chain->small, "dropout", name[0], NULL, at, NULL)->outputs[0];
        at = gr_small_node(&chain->small, "tanh", name[1], NULL, at, NULL)->outputs[0];
        if (dropout)
            at = gr_small_node(&chain->small, "mul", name[2], NULL, at, dropped)->outputs[0];
    }
    gr_small_differentiate(&chain->small, gr_small_loss(&chain->small, at), chain->x);
    chain->gradient = chain->small.gradients[chain->x->id];
}

static void chain_compile(struct chain *chain, const struct gr_program_options *options)
{
    struct gr_error err = {0};
    struct gr_small *small = &chain->small;
    small->program = gr_program_new(small->graph, small->params, small->backend, &chain->gradient,
                                    1, options, &err);
    gr_check_ok(small->program != NULL, &err);
}

/* Runs on fixed numbers; returns the gradient of x. */
static const float *chain_run(struct chain *chain)
{
    static float numbers[ROWS * WIDTH];
    gr_small_draw(numbers, ROWS * WIDTH, 3);
    gr_small_feed(&chain->small, chain->x, numbers);
    gr_small_feed(&chain->small, gr_graph_value(chain->small.graph, "fixed"), numbers);
    gr_small_run(&chain->small, 1, 2);
    return gr_program_data(chain->small.program, chain->gradient);
}

static size_t chain_bytes(int length, bool dropout)
{
    struct chain chain;
    chain_build(&chain, length, dropout);
    chain_compile(&chain, &(struct gr_program_options){0});
    const size_t bytes = gr_program_memory(chain.small.program).planned;
    gr_small_release(&chain.small);
    return bytes;
}

/* Nodes with an even number are cheap. */
static double even_is_cheap(void *user, const struct gr_step *step)
{
    (void)user;
    const char *name = step->node->name;
    return (name[strlen(name) - 1] - '0') % 2 ? 1 : 1e-3;
}

static void the_cheap_is_computed_again_and_not_the_dear(void **state)
{
    (void)state;
    for (size_t missing = 1; missing <= 3; missing++) {
        struct chain chain;
        chain_build(&chain, 10, false);
        chain_compile(&chain, &(struct gr_program_options){.memory_budget = chain_bytes(10, false) -
                                                                            missing * LINK,
                                                           .step_seconds = even_is_cheap});
        size_t copies = 0;
        for (size_t s = 0; s < gr_program_step_count(chain.small.program); s++) {
            const struct gr_node *node = gr_program_step(chain.small.program, s)->node;
            if (!node->origin)
                continue;
            assert_int_equal((node->origin->name[1] - '0') % 2, 0);
            copies++;
        }
        assert_int_equal(copies, missing);
        gr_small_release(&chain.small);
    }
}

static double dropout_is_cheap(void *user, const struct gr_step *step)
{
    (void)user;
    return strcmp(step->node->op->kind.name, "dropout") == 0 ? 1e-3 : 1;
}

static void dropout_computed_again_drops_the_same(void **state)
{
    (void)state;
    struct chain free_chain, tight;
    chain_build(&free_chain, 6, true);
    chain_build(&tight, 6, true);
    chain_compile(&free_chain, &(struct gr_program_options){0});
    chain_compile(&tight,
                  &(struct gr_program_options){.memory_budget = chain_bytes(6, true) - 2 * LINK,
                                               .poison = true,
                                               .step_seconds = dropout_is_cheap});
    size_t copies = 0;
    for (size_t s = 0; s < gr_program_step_count(tight.small.program); s++) {
        const struct gr_node *node = gr_program_step(tight.small.program, s)->node;
        copies += node->origin && strcmp(node->op->kind.name, "dropout") == 0;
    }
    assert_true(copies > 0);
    assert_memory_equal(chain_run(&free_chain), chain_run(&tight), LINK);
    gr_small_release(&free_chain.small);
    gr_small_release(&tight.small);
}

/* A chain of 5,000 nodes and its backward, in a tenth of its memory. */
static void ten_thousand_nodes_are_planned_in_seconds(void **state)
{
    (void)state;
    enum { LENGTH = 5000 };
    struct chain chain;
    chain_build(&chain, LENGTH, false);
    const clock_t start = clock();
    chain_compile(&chain,
                  &(struct gr_program_options){.memory_budget = (size_t)LINK * LENGTH / 10});
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    print_message("%zu nodes: %.2f s\n", gr_program_step_count(chain.small.program), seconds);
    assert_true(gr_program_memory(chain.small.program).recomputed > LENGTH / 2);
    assert_true(seconds < 60);
    gr_small_release(&chain.small);
}

/* ---- models ------------------------------------------------------------------------------ */

static struct gr_model *load(const char *name, const char *set)
{
    struct gr_error err = {0};
    char path[1024];
    const struct gr_model_options options = {.seed = 5, .sets = &set, .n_sets = set ? 1 : 0};
    snprintf(path, sizeof path, "%s/models/%s.yaml", GR_SOURCE_DIR, name);
    struct gr_model *model = gr_model_load(gr_api_context(), path, &options, &err);
    gr_api_ok(model != NULL, &err);
    return model;
}

static void feed(struct gr_plan *plan)
{
    struct gr_error err = {0};
    for (size_t i = 0; i < gr_plan_input_count(plan); i++) {
        const struct gr_tensor input = gr_plan_input(plan, i);
        const size_t count = (size_t)gr_shape_count(&input.shape);
        float *numbers = calloc(count, sizeof *numbers);
        int32_t *labels = calloc(count, sizeof *labels);
        assert_true(numbers && labels);
        for (size_t k = 0; k < count; k++) {
            labels[k] = (int32_t)(k % 7);
            numbers[k] = (float)((k * 2654435761u >> 8) % 1000) / 500 - 1;
        }
        const void *data = input.dtype == GR_S32 ? (void *)labels : (void *)numbers;
        gr_api_ok(gr_plan_feed(plan, input.name, data, count * 4, &err), &err);
        free(numbers);
        free(labels);
    }
}

/* Three training steps; the weights go to a file. Returns the plan's bytes in all. */
static size_t train(const char *name, const char *set, size_t budget, const char *path)
{
    struct gr_error err = {0};
    struct gr_model *model = load(name, set);
    const struct gr_plan_options options = {
        .mode = GR_TRAIN, .batch = TRAINED, .update = true, .memory_budget = budget};
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_api_ok(plan != NULL, &err);
    gr_plan_set_learning_rate(plan, 0.01);
    feed(plan);
    for (int step = 0; step < STEPS; step++)
        gr_api_ok(gr_plan_run(plan, &err), &err);
    gr_api_ok(gr_model_save_weights(model, path, &err), &err);
    const struct gr_memory_report report = gr_plan_memory(plan);
    gr_plan_free(plan);
    gr_model_free(model);
    assert_true(!budget || report.recomputed > 0);
    return report.planned + report.parameters + report.states + report.constants;
}

/* What the error of a budget of one byte says is possible. */
static size_t least_of_model(const char *name, const char *set)
{
    struct gr_error err = {0};
    struct gr_model *model = load(name, set);
    const struct gr_plan_options options = {
        .mode = GR_TRAIN, .batch = TRAINED, .update = true, .memory_budget = 1};
    char begin[128], unit = 0;
    size_t least = 0;
    assert_null(gr_plan_new(model, &options, &err));
    snprintf(begin, sizeof begin,
             "%s, batch %d: a memory budget of 1 kB is too small: ", gr_model_name(model), TRAINED);
    assert_memory_equal(err.message, begin, strlen(begin));
    const char *words = strstr(err.message, "the least possible in all is ");
    assert_non_null(words);
    assert_int_equal(sscanf(words, "the least possible in all is %zu %c", &least, &unit), 2);
    gr_model_free(model);
    return least * (unit == 'k' ? 1000 : 1000000);
}

static void models_train_to_the_same_weights_under_a_budget(void **state)
{
    (void)state;
    static const char *const models[][2] = {
        {"lenet", NULL},
        {"alexnet-fashion", NULL},
        {"resnet18", "inputs.image.shape=[3, 64, 64]"},
        {"squeezenet", "inputs.image.shape=[3, 96, 96]"},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const char *name = models[i][0], *set = models[i][1];
        const char *free_path = gr_api_path("free"), *tight_path = gr_api_path("tight");
        const size_t most = train(name, set, 0, free_path), least = least_of_model(name, set);
        assert_true(least < most);
        for (size_t part = 0; part < 2; part++) {
            const size_t budget = least + (most - least) * part / 2;
            assert_true(train(name, set, budget, tight_path) <= budget);
            gr_api_expect_same_tensors(free_path, tight_path);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_budget_gives_the_same_bits),
        cmocka_unit_test(dropout_computed_again_drops_the_same),
        cmocka_unit_test(a_program_stays_within_its_budget),
        cmocka_unit_test(a_budget_that_suffices_changes_nothing),
        cmocka_unit_test(a_budget_below_the_least_is_refused),
        cmocka_unit_test(inference_cannot_compute_again),
        cmocka_unit_test(a_budget_needs_the_memory_plan),
        cmocka_unit_test(copies_stand_right_before_their_readers),
        cmocka_unit_test(the_cheap_is_computed_again_and_not_the_dear),
        cmocka_unit_test(ten_thousand_nodes_are_planned_in_seconds),
        cmocka_unit_test_setup_teardown(models_train_to_the_same_weights_under_a_budget,
                                        gr_api_set_up, gr_api_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
