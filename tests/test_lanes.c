/*
 * Branches beside each other: how sections are found, that lanes run what they are given, and that
 * a program in lanes computes what it computes one step after the other, in memory of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <omp.h>
#include <stdatomic.h>

#include "base/lanes.h"
#include "graph/memory.h"
#include "graph/program_trial.h"
#include "support/op_check.h"
#include "support/small_net.h"

/* ---- sections: a pure function ----------------------------------------------------------- */

enum { MOST_STEPS = 4000, MOST_EDGES = 16000 };

static double costs[MOST_STEPS];
static size_t firsts[MOST_STEPS + 1];
static int befores[MOST_EDGES], branches[MOST_STEPS], lanes_of[MOST_STEPS];
static struct gr_section sections[MOST_STEPS];
static struct gr_work work;

static void start_work(void)
{
    work = (struct gr_work){0, costs, firsts, befores};
}

/* A step of a millisecond times `cost` behind a and b; -1: behind nothing. */
static int add(double cost, int a, int b)
{
    const int s = work.n_steps++;
    size_t n = firsts[s];
    costs[s] = cost * 1e-3;
    if (a >= 0)
        befores[n++] = a;
    if (b >= 0)
        befores[n++] = b;
    firsts[s + 1] = n;
    return s;
}

static size_t find(void)
{
    struct gr_error err = {0};
    size_t count = 0;
    assert_true(gr_sections_find(&work, sections, &count, branches, &err));
    return count;
}

static void a_fork_and_a_join_make_a_section_of_what_is_between(void **state)
{
    (void)state;
    start_work();
    const int fork = add(1, -1, -1);
    const int left = add(1, add(1, fork, -1), -1), right = add(1, add(1, fork, -1), -1);
    add(1, add(1, left, right), -1);
    assert_int_equal(find(), 1);
    assert_int_equal(sections[0].first, 1);
    assert_int_equal(sections[0].last, 4);
    assert_int_equal(sections[0].branches, 2);
    const int wanted[] = {-1, 0, 0, 1, 1, -1, -1};
    assert_memory_equal(branches, wanted, sizeof wanted);
}

static void branches_may_stand_between_each_other(void **state)
{
    (void)state;
    start_work();
    const int fork = add(1, -1, -1);
    const int a = add(1, fork, -1), b = add(1, fork, -1), c = add(1, a, -1), d = add(1, b, -1);
    add(1, c, d);
    assert_int_equal(find(), 1);
    const int wanted[] = {-1, 0, 1, 0, 1, -1};
    assert_memory_equal(branches, wanted, sizeof wanted);
}

static void a_chain_has_no_section(void **state)
{
    (void)state;
    start_work();
    for (int s = -1; s < 1000;)
        s = add(1, s, -1);
    assert_int_equal(find(), 0);
    assert_int_equal(branches[500], -1);
}

static void a_branch_that_outweighs_the_others_is_left_alone(void **state)
{
    (void)state;
    start_work();
    const int fork = add(1, -1, -1);
    add(1, add(9, fork, -1), add(1, fork, -1));
    assert_int_equal(find(), 0);
}

static void branches_too_short_for_the_effort_are_left_alone(void **state)
{
    (void)state;
    start_work();
    const int fork = add(1e-3, -1, -1);
    add(1e-3, add(1e-3, fork, -1), add(1e-3, fork, -1));
    assert_int_equal(find(), 0);
}

static void a_step_that_must_stand_alone_is_in_no_section(void **state)
{
    (void)state;
    start_work();
    const int fork = add(1, -1, -1), a = add(1, fork, -1);
    const int alone = add(-1, a, -1), b = add(1, fork, -1);
    add(1, alone, b);
    assert_int_equal(find(), 0);
}

static void what_costs_nothing_is_no_branch(void **state)
{
    (void)state;
    start_work();
    const int fork = add(1, -1, -1);
    add(1, add(1, fork, -1), add(0, fork, -1));
    assert_int_equal(find(), 0);
}

static void sections_follow_each_other_and_do_not_overlap(void **state)
{
    (void)state;
    start_work();
    int at = add(1, -1, -1);
    for (int i = 0; i < 700; i++) {
        const int a = add(1, at, -1), b = add(1, at, -1), c = add(1, at, -1);
        at = add(1, add(0, a, b), c);
    }
    assert_int_equal(find(), 700);
    for (size_t k = 0; k < 700; k++) {
        assert_int_equal(sections[k].first, 1 + 5 * k);
        assert_int_equal(sections[k].branches, k ? sections[0].branches : sections[k].branches);
        assert_true(k == 0 || sections[k].first > sections[k - 1].last);
    }
}

static void the_heaviest_branch_gets_a_lane_first(void **state)
{
    (void)state;
    start_work();
    add(1, -1, -1);
    add(2, -1, -1);
    add(4, -1, -1);
    add(2, -1, -1);
    assert_int_equal(find(), 1);
    assert_int_equal(sections[0].branches, 4);
    sections[0].lanes = 2;
    gr_section_spread(&work, &sections[0], branches, lanes_of);
    assert_int_equal(lanes_of[2], 0);
    assert_int_equal(lanes_of[1], 1);
    assert_int_equal(lanes_of[3], 1);
    assert_int_equal(lanes_of[0], 0);
}

/* ---- lanes ------------------------------------------------------------------------------- */

struct visits {
    atomic_int count[8], threads[8];
};

static void visit(void *user, int lane)
{
    struct visits *visits = user;
    atomic_fetch_add(&visits->count[lane], 1);
#pragma omp parallel
    atomic_fetch_add(&visits->threads[lane], 1);
}

static void expect_lanes(int count, int threads)
{
    struct gr_error err = {0};
    struct visits visits = {0};
    struct gr_lanes *lanes = gr_lanes_new(count, threads, &err);
    assert_non_null(lanes);
    for (int i = 1; i <= 200; i++) {
        gr_lanes_run(lanes, visit, &visits);
        for (int l = 0; l < count; l++) {
            assert_int_equal(visits.count[l], i);
            assert_int_equal(visits.threads[l], i * threads);
        }
    }
    gr_lanes_free(lanes);
}

static void every_lane_runs_once_with_its_threads(void **state)
{
    (void)state;
    expect_lanes(2, 1);
    expect_lanes(4, 1);
    expect_lanes(2, 2);
    expect_lanes(3, 2);
}

static void lanes_that_never_run_end_too(void **state)
{
    (void)state;
    struct gr_error err = {0};
    gr_lanes_free(gr_lanes_new(3, 2, &err));
    gr_lanes_free(NULL);
}

/* ---- programs ---------------------------------------------------------------------------- */

enum { BATCH = 3, STEPS = 6 };

static const char *const gradients[] = {
    "loss",           "prob",           "grad:c1.weight", "grad:a1.weight", "grad:b2.weight",
    "grad:u1.weight", "grad:v1.weight", "grad:f2.weight", "grad:image",     NULL};

/* Of kernels the usual, whatever is fastest today: what is compared is lanes. */
static const struct gr_net_options inference = {
    .batch = BATCH, .branching = true, .threads = 2, .program.choice = "direct"};
static const struct gr_net_options differentiated = {.batch = BATCH,
                                                     .training = true,
                                                     .branching = true,
                                                     .threads = 2,
                                                     .targets = gradients,
                                                     .program.choice = "direct"};
static const struct gr_net_options step = {.batch = BATCH,
                                           .training = true,
                                           .update = true,
                                           .branching = true,
                                           .threads = 2,
                                           .program.choice = "direct"};
static const struct gr_net_options plain_step = {
    .batch = BATCH, .training = true, .update = true, .threads = 2, .program.choice = "direct"};

static struct gr_tuning *measured; /* for the names of sections: each net's only once */

/* Choices for all sections known, those of the net among them, all the same. */
static struct gr_tuning *choose(const struct gr_net_options *options, const char *choice)
{
    struct gr_error err = {0};
    struct gr_net net;
    struct gr_net_options measuring = *options;
    struct gr_tuning *tuning = gr_tuning_new(true, &err);
    assert_non_null(tuning);
    measuring.program.tuning = measured;
    gr_net_init(&net, &measuring);
    gr_net_release(&net);
    assert_true(gr_tuning_count(measured) > 0);
    for (size_t i = 0; i < gr_tuning_count(measured); i++)
        assert_true(gr_tuning_record(tuning, gr_tuning_entry(measured, i).key, choice, 1,
                                     GR_TUNING_READ, &err));
    return tuning;
}

static int set_up(void **state)
{
    struct gr_error err = {0};
    (void)state;
    measured = gr_tuning_new(true, &err);
    return measured ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gr_tuning_free(measured);
    return 0;
}

/* A net whose sections all run in lanes, where they have branches enough. */
static void init_in_lanes(struct gr_net *net, const struct gr_net_options *options,
                          const char *choice)
{
    struct gr_net_options chosen = *options;
    chosen.program.tuning = choose(options, choice);
    gr_net_init(net, &chosen);
    gr_tuning_free(chosen.program.tuning);
    net->options.program.tuning = NULL;
    assert_true(net->program->n_sections > 0);
}

static void expect_targets(const struct gr_net *a, const struct gr_net *b, double tolerance)
{
    for (size_t i = 0; i < a->n_targets; i++) {
        const char *name = a->options.targets[i];
        const float *x = gr_net_fetch(a, name), *y = gr_net_fetch(b, name);
        const int64_t count = gr_net_count(a, name);
        double most = 0;
        for (int64_t k = 0; k < count; k++)
            most = fmax(most, fabs((double)y[k]));
        for (int64_t k = 0; k < count; k++)
            if (tolerance > 0 ? fabs((double)(x[k] - y[k])) > tolerance * most : x[k] != y[k])
                fail_msg("%s[%lld] is %.9g, not %.9g", name, (long long)k, (double)x[k],
                         (double)y[k]);
    }
}

/* The program's very steps one after the other, those of a lane on its number of threads. */
static void run_steps_in_order(struct gr_net *net, uint64_t number)
{
    const struct gr_run run = {.seed = 1, .step = number};
    const struct gr_value *rate = gr_graph_value(net->graph, "rate");
    float *place = rate ? gr_program_data(net->program, rate) : NULL;
    if (place)
        *place = 0.05f;
    size_t k = 0;
    for (size_t s = 0; s < net->program->n_steps; s++) {
        struct gr_error err = {0};
        const struct gr_step *one = &net->program->steps[s];
        while (k < net->program->n_sections && net->program->sections[k].last < (int)s)
            k++;
        const int threads = net->options.threads;
        omp_set_num_threads(one->lane ? threads / net->program->sections[k].lanes : threads);
        if (one->kernel.run && !one->kernel.run(&one->kernel, one->node, &one->buffers, &run, &err))
            fail_msg("%s", err.message);
    }
    omp_set_num_threads(net->options.threads);
}

static void expect_lanes_like_order(const struct gr_net_options *options, const char *choice)
{
    struct gr_net lanes, order;
    init_in_lanes(&order, options, choice);
    init_in_lanes(&lanes, options, choice);
    for (uint64_t n = 0; n < 10; n++) {
        run_steps_in_order(&order, n);
        gr_net_run(&lanes, n);
        expect_targets(&lanes, &order, 0);
    }
    gr_net_expect_same_parameters(&lanes, &order);
    gr_net_release(&order);
    gr_net_release(&lanes);
}

static void lanes_give_the_bits_of_their_steps_in_order(void **state)
{
    (void)state;
    const struct gr_net_options *const nets[] = {&inference, &differentiated, &step, &plain_step};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        struct gr_net_options options = *nets[i];
        expect_lanes_like_order(&options, "lanes:2");
        options.kernels = GR_KERNELS_OPENBLAS;
        expect_lanes_like_order(&options, "lanes:2");
    }
}

static void lanes_of_several_threads_give_the_bits_of_their_steps_in_order(void **state)
{
    (void)state;
    struct gr_net_options options = step;
    options.threads = 4;
    expect_lanes_like_order(&options, "lanes:2");
    options = inference;
    options.threads = 4;
    expect_lanes_like_order(&options, "lanes:2");
}

static void sections_run_in_as_many_lanes_as_they_are_told(void **state)
{
    (void)state;
    struct gr_net net;
    struct gr_net_options options = inference;
    options.threads = 4;
    init_in_lanes(&net, &options, "lanes:4");
    assert_int_equal(net.program->sections[0].lanes, 4);
    assert_non_null(net.program->lanes[4]);
    for (int lanes = 0; lanes <= 4; lanes++) { /* no threads wait that nothing is to run on */
        bool used = false;
        for (size_t k = 0; k < net.program->n_sections; k++)
            used = used || net.program->sections[k].lanes == lanes;
        assert_true(used == (net.program->lanes[lanes] != NULL));
    }
    gr_net_release(&net);
    expect_lanes_like_order(&options, "lanes:4");
}

static void lanes_agree_with_running_one_after_the_other(void **state)
{
    (void)state;
    struct gr_net_options options[] = {inference, differentiated, differentiated, step};
    options[2].program.no_fusion = true;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        struct gr_net lanes, serial;
        options[i].no_dropout = true;
        gr_net_init(&serial, &options[i]);
        init_in_lanes(&lanes, &options[i], "lanes:2");
        for (uint64_t n = 0; n < 3; n++) {
            gr_net_run(&serial, n);
            gr_net_run(&lanes, n);
            expect_targets(&lanes, &serial, 1e-4);
        }
        gr_net_release(&serial);
        gr_net_release(&lanes);
    }
}

static void memory_plan_and_poison_do_not_change_a_bit_of_lanes(void **state)
{
    (void)state;
    const struct gr_net_options *const nets[] = {&inference, &differentiated, &step, &plain_step};
    for (size_t i = 0; i < 2 * sizeof nets / sizeof *nets; i++) {
        struct gr_net_options options = *nets[i / 2];
        struct gr_net planned, other;
        init_in_lanes(&planned, &options, "lanes:2");
        options.program.no_memory_plan = i % 2;
        options.program.poison = true;
        init_in_lanes(&other, &options, "lanes:2");
        for (uint64_t n = 0; n < STEPS; n++) {
            gr_net_run(&planned, n);
            gr_net_run(&other, n);
            expect_targets(&planned, &other, 0);
        }
        gr_net_expect_same_parameters(&planned, &other);
        gr_net_release(&planned);
        gr_net_release(&other);
    }
}

static void serial_choices_change_nothing_at_all(void **state)
{
    (void)state;
    struct gr_net plain, chosen;
    struct gr_net_options options = step;
    gr_net_init(&plain, &options);
    options.program.tuning = choose(&options, "serial");
    gr_net_init(&chosen, &options);
    assert_int_equal(chosen.program->n_sections, 0);
    assert_int_equal(gr_program_memory(plain.program).planned,
                     gr_program_memory(chosen.program).planned);
    for (uint64_t n = 0; n < STEPS; n++) {
        gr_net_run(&plain, n);
        gr_net_run(&chosen, n);
    }
    gr_net_expect_same_parameters(&plain, &chosen);
    gr_net_release(&plain);
    gr_net_release(&chosen);
    gr_tuning_free(options.program.tuning);
}

static void measuring_leaves_parameters_and_states_as_they_were(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_net untouched, tried;
    struct gr_net_options options = step;
    gr_net_init(&untouched, &options);
    options.program.tuning = gr_tuning_new(true, &err);
    gr_net_init(&tried, &options);
    assert_true(gr_tuning_count(options.program.tuning) > 0);
    gr_net_expect_same_parameters(&untouched, &tried);
    gr_net_release(&untouched);
    gr_net_release(&tried);
    gr_tuning_free(options.program.tuning);
}

static void a_program_compiled_again_takes_the_choices_of_the_first(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_net first, again;
    struct gr_net_options options = step;
    options.program.choice = NULL; /* kernels are chosen by measuring too */
    options.program.tuning = gr_tuning_new(true, &err);
    gr_net_init(&first, &options);
    const size_t known = gr_tuning_count(options.program.tuning);
    gr_net_init(&again, &options);
    assert_int_equal(gr_tuning_count(options.program.tuning), known);
    assert_int_equal(first.program->n_sections, again.program->n_sections);
    for (size_t s = 0; s < first.program->n_steps; s++)
        assert_int_equal(first.program->steps[s].lane, again.program->steps[s].lane);
    for (uint64_t n = 0; n < STEPS; n++) {
        gr_net_run(&first, n);
        gr_net_run(&again, n);
    }
    gr_net_expect_same_parameters(&first, &again);
    gr_net_release(&first);
    gr_net_release(&again);
    gr_tuning_free(options.program.tuning);
}

static void choices_that_do_not_fit_are_measured_anew(void **state)
{
    (void)state;
    static const char *const wrong[] = {"lanes:7", "lanes:3", "lanes:", "sideways", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct gr_net net;
        struct gr_net_options options = inference;
        options.program.tuning = choose(&options, wrong[i]);
        gr_net_init(&net, &options);
        size_t anew = 0;
        for (size_t k = 0; k < gr_tuning_count(options.program.tuning); k++) {
            const struct gr_tuning_entry now = gr_tuning_entry(options.program.tuning, k);
            anew += now.origin == GR_TUNING_MEASURED;
            assert_true(now.origin == GR_TUNING_READ || strcmp(now.choice, "serial") == 0 ||
                        strcmp(now.choice, "lanes:2") == 0);
        }
        assert_true(anew > 0);
        gr_net_release(&net);
        gr_tuning_free(options.program.tuning);
    }
}

static void one_thread_has_no_lanes(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_net net;
    struct gr_net_options options = step;
    options.threads = 1;
    options.program.tuning = gr_tuning_new(true, &err);
    gr_net_init(&net, &options);
    assert_int_equal(gr_tuning_count(options.program.tuning), 0);
    gr_net_run(&net, 0);
    gr_net_release(&net);
    gr_tuning_free(options.program.tuning);
}

static bool fail_here(const struct gr_kernel *kernel, const struct gr_node *node,
                      const struct gr_buffers *buffers, const struct gr_run *run,
                      struct gr_error *err)
{
    (void)kernel, (void)buffers, (void)run;
    return gr_fail(err, GR_ERR_RUNTIME, "%s failed", node->name);
}

static void a_straight_line_is_not_measured_even_in_training(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const enum gr_precision precisions[] = {GR_PRECISION_F32, GR_PRECISION_BF16};
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
        struct gr_net net;
        struct gr_net_options options = step;
        options.branching = false;
        options.straight = true;
        options.program.precision = precisions[i];
        options.program.tuning = gr_tuning_new(true, &err);
        if (i == 0 || gr_check_has_bf16()) {
            gr_net_init(&net, &options);
            assert_int_equal(gr_tuning_count(options.program.tuning), 0);
            assert_int_equal(net.program->n_sections, 0);
            gr_net_release(&net);
        }
        gr_tuning_free(options.program.tuning);
    }
}

/* ---- trials ------------------------------------------------------------------------------ */

/* What a trial's steps run in, and that they are timed. */
static void a_trial_runs_sections_in_lanes_or_not_as_it_is_told(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_net net;
    struct gr_step_trial trial = {0};
    init_in_lanes(&net, &inference, "lanes:2");
    struct gr_program *program = net.program;
    program->trial = calloc(program->n_steps + 1, sizeof *program->trial);
    assert_non_null(program->trial);
    for (size_t s = 0; s < program->n_steps; s++)
        program->trial[s].run = fail_here; /* in lanes only */
    assert_true(gr_step_trial_begin(&trial, program, &err));
    trial.renew = true;
    assert_true(gr_step_trial_run(&trial, &err));
    assert_true(trial.seconds > 0);
    for (size_t k = 0; k < program->n_sections; k++)
        assert_true(trial.start[k] > 0 && trial.start[k] <= trial.start[k + 1]);
    trial.on[program->n_sections - 1] = true;
    assert_false(gr_step_trial_run(&trial, &err));
    assert_non_null(strstr(err.message, " failed"));
    gr_step_trial_end(&trial);
    free(program->trial);
    program->trial = NULL;
    gr_net_release(&net);
}

static void a_trial_puts_back_what_its_steps_update(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_net tried, untouched;
    struct gr_step_trial trial = {0};
    struct gr_net_options options = step;
    gr_net_init(&tried, &options);
    gr_net_init(&untouched, &options);
    gr_net_run(&tried, 0); /* momentum, so that a step changes weights whatever its rate is */
    gr_net_run(&untouched, 0);
    assert_true(gr_step_trial_begin(&trial, tried.program, &err));
    assert_true(gr_step_trial_run(&trial, &err));
    assert_true(gr_step_trial_run(&trial, &err));
    gr_step_trial_end(&trial);
    gr_net_expect_same_parameters(&tried, &untouched);
    gr_net_release(&tried);
    gr_net_release(&untouched);
}

/* ---- memory of lanes --------------------------------------------------------------------- */

struct region {
    const char *data;
    size_t bytes;
    bool written;
};

/* What a step touches in the arena. */
static int regions_of(const struct gr_program *program, const struct gr_step *one,
                      struct region *regions)
{
    const struct gr_node *node = one->node;
    int n = 0;
    if (!one->kernel.run)
        return 0;
    for (int i = 0; i < node->n_inputs; i++)
        regions[n++] = (struct region){
            one->buffers.src[i],
            gr_layout_bytes(program->slots[node->inputs[i]->id].layout, node->inputs[i]),
            gr_node_writes(node, i)};
    for (int o = 0; o < node->n_outputs; o++)
        regions[n++] = (struct region){
            one->buffers.dst[o], gr_layout_bytes(one->dst_layouts[o], node->outputs[o]), true};
    if (one->kernel.scratch_bytes)
        regions[n++] = (struct region){one->buffers.scratch, one->kernel.scratch_bytes, true};
    return n;
}

static void expect_apart(const struct gr_program *program, const struct gr_step *a,
                         const struct gr_step *b)
{
    struct region x[64], y[64];
    const int nx = regions_of(program, a, x), ny = regions_of(program, b, y);
    for (int i = 0; i < nx; i++)
        for (int k = 0; k < ny; k++)
            if ((x[i].written || y[k].written) && x[i].data < y[k].data + y[k].bytes &&
                y[k].data < x[i].data + x[i].bytes)
                fail_msg("%s and %s share memory", a->node->name, b->node->name);
}

static void steps_beside_each_other_share_no_memory(void **state)
{
    (void)state;
    struct gr_net_options options[] = {inference, differentiated, step, step, step};
    options[3].kernels = GR_KERNELS_OPENBLAS;
    options[4].program.no_fusion = true;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        struct gr_net net;
        init_in_lanes(&net, &options[i], "lanes:2");
        const struct gr_program *program = net.program;
        for (size_t k = 0; k < program->n_sections; k++)
            for (int s = program->sections[k].first; s <= program->sections[k].last; s++)
                for (int t = s + 1; t <= program->sections[k].last; t++)
                    if (program->steps[s].lane != program->steps[t].lane)
                        expect_apart(program, &program->steps[s], &program->steps[t]);
        gr_net_release(&net);
    }
}

/* ---- errors and traces -------------------------------------------------------------------- */

static void of_several_failures_the_first_in_order_is_told(void **state)
{
    (void)state;
    struct gr_net net;
    init_in_lanes(&net, &step, "lanes:2");
    struct gr_program *program = net.program;
    const struct gr_section *section = &program->sections[0];
    const struct gr_run run = {0};
    const char *first = NULL;
    for (int s = section->last; s >= section->first; s--)
        if (program->steps[s].kernel.run) {
            program->steps[s].kernel.run = fail_here;
            first = program->steps[s].node->name;
        }
    for (int n = 0; n < 20; n++) {
        char wanted[512];
        struct gr_error err = {0};
        assert_false(gr_program_run(program, &run, &err));
        snprintf(wanted, sizeof wanted, "%s failed", first);
        assert_string_equal(err.message, wanted);
    }
    gr_net_release(&net);
}

struct heard {
    double start[1024];
    int lane[1024];
};

static void hear(void *user, const struct gr_timing *timing)
{
    struct heard *heard = user;
    if (timing->node >= 1024 || timing->seconds <= 0)
        return;
    heard->start[timing->node] = timing->start;
    heard->lane[timing->node] = timing->lane;
}

static void a_trace_hears_of_every_step_and_its_lane(void **state)
{
    (void)state;
    struct gr_net net;
    static struct heard heard;
    double last[2] = {0};
    init_in_lanes(&net, &step, "lanes:2");
    const struct gr_program *program = net.program;
    assert_true(program->n_steps <= 1024);
    gr_program_trace(net.program, hear, &heard);
    gr_net_run(&net, 0);
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_step *one = &program->steps[s];
        if (!one->kernel.run)
            continue;
        const int lane = one->lane ? one->lane - 1 : 0;
        assert_int_equal(heard.lane[s], lane);
        assert_true(heard.start[s] > 0 && heard.start[s] >= last[lane]); /* a lane keeps order */
        last[lane] = heard.start[s];
    }
    gr_net_release(&net);
}

static void a_store_that_only_knows_measures_nothing(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_net net;
    struct gr_net_options options = step;
    options.program.tuning = gr_tuning_new(false, &err);
    gr_net_init(&net, &options);
    assert_int_equal(gr_tuning_count(options.program.tuning), 0);
    assert_int_equal(net.program->n_sections, 0);
    gr_net_release(&net);
    gr_tuning_free(options.program.tuning);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fork_and_a_join_make_a_section_of_what_is_between),
        cmocka_unit_test(branches_may_stand_between_each_other),
        cmocka_unit_test(a_chain_has_no_section),
        cmocka_unit_test(a_branch_that_outweighs_the_others_is_left_alone),
        cmocka_unit_test(branches_too_short_for_the_effort_are_left_alone),
        cmocka_unit_test(a_step_that_must_stand_alone_is_in_no_section),
        cmocka_unit_test(what_costs_nothing_is_no_branch),
        cmocka_unit_test(sections_follow_each_other_and_do_not_overlap),
        cmocka_unit_test(the_heaviest_branch_gets_a_lane_first),
        cmocka_unit_test(every_lane_runs_once_with_its_threads),
        cmocka_unit_test(lanes_that_never_run_end_too),
        cmocka_unit_test(lanes_give_the_bits_of_their_steps_in_order),
        cmocka_unit_test(lanes_of_several_threads_give_the_bits_of_their_steps_in_order),
        cmocka_unit_test(sections_run_in_as_many_lanes_as_they_are_told),
        cmocka_unit_test(lanes_agree_with_running_one_after_the_other),
        cmocka_unit_test(memory_plan_and_poison_do_not_change_a_bit_of_lanes),
        cmocka_unit_test(serial_choices_change_nothing_at_all),
        cmocka_unit_test(measuring_leaves_parameters_and_states_as_they_were),
        cmocka_unit_test(a_program_compiled_again_takes_the_choices_of_the_first),
        cmocka_unit_test(choices_that_do_not_fit_are_measured_anew),
        cmocka_unit_test(one_thread_has_no_lanes),
        cmocka_unit_test(a_straight_line_is_not_measured_even_in_training),
        cmocka_unit_test(a_trial_runs_sections_in_lanes_or_not_as_it_is_told),
        cmocka_unit_test(a_trial_puts_back_what_its_steps_update),
        cmocka_unit_test(steps_beside_each_other_share_no_memory),
        cmocka_unit_test(of_several_failures_the_first_in_order_is_told),
        cmocka_unit_test(a_trace_hears_of_every_step_and_its_lane),
        cmocka_unit_test(a_store_that_only_knows_measures_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
