/*
 * Initial weights: moments and bounds of each initialiser, and the same numbers whatever the
 * threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "base/random.h"
#include "graph/initialise.h"

enum { COUNT = 64 * 25 * 9 * 7 + 3, FAN_IN = 225, FAN_OUT = 576, SEED = 5 };

struct fixture {
    struct gr_pool pool;
    struct gr_parameter parameter;
    struct gr_value value;
    float *data; /* [COUNT] */
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    if (!fixture)
        return -1;
    fixture->parameter = (struct gr_parameter){.fan_in = FAN_IN, .fan_out = FAN_OUT};
    fixture->value = (struct gr_value){.name = "conv1.weight",
                                       .shape = {.rank = 1, .dim = {COUNT}},
                                       .parameter = &fixture->parameter};
    fixture->data = malloc(COUNT * sizeof *fixture->data);
    *state = fixture;
    return fixture->data ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    gr_pool_release(&fixture->pool);
    free(fixture->data);
    free(fixture);
    return 0;
}

static void choose(struct fixture *fixture, const char *name)
{
    const struct gr_kind *kind = gr_initialiser_find(name);
    assert_non_null(kind);
    fixture->parameter.init = (struct gr_choice){kind, gr_kind_defaults(kind, &fixture->pool)};
    assert_non_null(fixture->parameter.init.attrs);
}

static void *field(struct fixture *fixture, const char *name)
{
    const struct gr_attr *attr = gr_kind_attr(fixture->parameter.init.kind, name);
    assert_non_null(attr);
    return (char *)fixture->parameter.init.attrs + attr->offset;
}

static void set(struct fixture *fixture, const char *name, double value)
{
    *(double *)field(fixture, name) = value;
}

static void set_mode(struct fixture *fixture, const char *mode)
{
    const struct gr_attr *attr = gr_kind_attr(fixture->parameter.init.kind, "mode");
    assert_non_null(attr);
    int choice = 0;
    while (attr->choices[choice] && strcmp(attr->choices[choice], mode) != 0)
        choice++;
    assert_non_null(attr->choices[choice]);
    *(int *)field(fixture, "mode") = choice;
}

static void draw(struct fixture *fixture)
{
    gr_initialise(&fixture->value, SEED, fixture->data);
}

static void assert_moments(const struct fixture *fixture, double mean, double std)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++)
        sum += (double)fixture->data[i];
    for (int i = 0; i < COUNT; i++) {
        const double difference = (double)fixture->data[i] - mean;
        squares += difference * difference;
    }
    assert_true(fabs(sum / COUNT - mean) < 5 * std / sqrt(COUNT));
    assert_true(fabs(sqrt(squares / COUNT) / std - 1) < 5 / sqrt(COUNT));
}

static void assert_reaches(const struct fixture *fixture, double min, double max)
{
    double least = INFINITY, most = -INFINITY;
    for (int i = 0; i < COUNT; i++) {
        least = fmin(least, (double)fixture->data[i]);
        most = fmax(most, (double)fixture->data[i]);
    }
    const double slack = 1e-6 * (max - min), near = 1e-3 * (max - min);
    assert_true(least >= min - slack && least < min + near);
    assert_true(most <= max + slack && most > max - near);
}

static void the_table_names_five_initialisers(void **state)
{
    (void)state;
    static const char *const names[] = {"constant", "gaussian", "uniform", "xavier", "he"};
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(gr_initialiser_find(names[i]), gr_initialisers[i]);
    assert_null(gr_initialisers[5]);
    assert_null(gr_initialiser_find("glorot"));
}

static void constant_is_the_same_everywhere(void **state)
{
    struct fixture *fixture = *state;
    fixture->parameter.init = gr_initialiser_constant(-1.5, &fixture->pool);
    assert_string_equal(fixture->parameter.init.kind->name, "constant");
    draw(fixture);
    for (int i = 0; i < COUNT; i++)
        assert_true(fixture->data[i] == -1.5f);
}

static void a_value_without_initialiser_is_zero(void **state)
{
    struct fixture *fixture = *state;
    fixture->value.parameter = NULL;
    memset(fixture->data, 1, COUNT * sizeof *fixture->data);
    draw(fixture);
    for (int i = 0; i < COUNT; i++)
        assert_true(fixture->data[i] == 0);
}

static void gaussian_has_its_mean_and_deviation(void **state)
{
    struct fixture *fixture = *state;
    choose(fixture, "gaussian");
    set(fixture, "mean", 0.25);
    set(fixture, "std", 0.01);
    draw(fixture);
    assert_moments(fixture, 0.25, 0.01);
}

static void uniform_fills_its_interval(void **state)
{
    struct fixture *fixture = *state;
    choose(fixture, "uniform");
    set(fixture, "min", -3);
    set(fixture, "max", 1);
    draw(fixture);
    assert_moments(fixture, -1, 4 / sqrt(12));
    assert_reaches(fixture, -3, 1);
}

static void xavier_is_uniform_within_glorots_bound(void **state)
{
    struct fixture *fixture = *state;
    choose(fixture, "xavier");
    draw(fixture);
    double bound = sqrt(6.0 / (FAN_IN + FAN_OUT));
    assert_reaches(fixture, -bound, bound);
    assert_moments(fixture, 0, bound / sqrt(3));

    set_mode(fixture, "fan_in");
    set(fixture, "gain", 2);
    draw(fixture);
    bound = 2 * sqrt(3.0 / FAN_IN);
    assert_reaches(fixture, -bound, bound);
}

static void he_is_normal_with_two_over_fan_in(void **state)
{
    struct fixture *fixture = *state;
    choose(fixture, "he");
    draw(fixture);
    assert_moments(fixture, 0, sqrt(2.0 / FAN_IN));

    set_mode(fixture, "fan_out");
    set(fixture, "gain", 1);
    draw(fixture);
    assert_moments(fixture, 0, sqrt(1.0 / FAN_OUT));
}

static void numbers_are_those_of_the_random_sequence(void **state)
{
    struct fixture *fixture = *state;
    const struct gr_random_key key =
        gr_random_key(SEED, GR_RANDOM_INIT, 0, gr_random_name("conv1.weight"));
    choose(fixture, "gaussian");
    set(fixture, "std", 1);
    draw(fixture);
    for (int i = 0; i < COUNT; i++)
        assert_true(fixture->data[i] == gr_random_normal(&key, (uint64_t)i));
    choose(fixture, "uniform");
    set(fixture, "min", 0);
    set(fixture, "max", 1);
    draw(fixture);
    for (int i = 0; i < COUNT; i++)
        assert_true(fixture->data[i] == gr_random_uniform(&key, (uint64_t)i));
}

static void numbers_depend_on_seed_and_name_alone(void **state)
{
    struct fixture *fixture = *state;
    const size_t bytes = COUNT * sizeof(float);
    float *first = malloc(bytes);
    assert_non_null(first);
    choose(fixture, "he");
    draw(fixture);
    memcpy(first, fixture->data, bytes);
#if defined(_OPENMP)
    const int before = omp_get_max_threads();
    for (int threads = 1; threads <= 5; threads++) {
        omp_set_num_threads(threads);
        memset(fixture->data, 0, bytes);
        draw(fixture);
        assert_memory_equal(first, fixture->data, bytes);
    }
    omp_set_num_threads(before);
#endif
    fixture->value.name = "conv2.weight";
    draw(fixture);
    assert_memory_not_equal(first, fixture->data, bytes);
    fixture->value.name = "conv1.weight";
    gr_initialise(&fixture->value, SEED + 1, fixture->data);
    assert_memory_not_equal(first, fixture->data, bytes);
    draw(fixture);
    assert_memory_equal(first, fixture->data, bytes);
    free(first);
}

static void a_tensor_of_any_length_is_filled_and_no_further(void **state)
{
    struct fixture *fixture = *state;
    choose(fixture, "he");
    for (int64_t count = 1; count < 10; count++) {
        fixture->value.shape.dim[0] = count;
        for (int i = 0; i < 12; i++)
            fixture->data[i] = 99;
        draw(fixture);
        for (int i = 0; i < 12; i++)
            assert_int_equal(fixture->data[i] == 99, i >= count);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_table_names_five_initialisers),
        TEST(constant_is_the_same_everywhere),
        TEST(a_value_without_initialiser_is_zero),
        TEST(gaussian_has_its_mean_and_deviation),
        TEST(uniform_fills_its_interval),
        TEST(xavier_is_uniform_within_glorots_bound),
        TEST(he_is_normal_with_two_over_fan_in),
        TEST(numbers_are_those_of_the_random_sequence),
        TEST(numbers_depend_on_seed_and_name_alone),
        TEST(a_tensor_of_any_length_is_filled_and_no_further),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
