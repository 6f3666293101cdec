/*
 * Learning-rate policies against their closed forms, warm-up, and plateau's memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "train/schedule.h"

static struct gr_pool pool;

static int release(void **state)
{
    (void)state;
    gr_pool_release(&pool);
    return 0;
}

/* A policy with the defaults of its table. */
static struct gr_choice policy(const char *name)
{
    struct gr_choice schedule = {.kind = gr_schedule_find(name)};
    assert_non_null(schedule.kind);
    schedule.attrs = gr_kind_defaults(schedule.kind, &pool);
    assert_non_null(schedule.attrs);
    return schedule;
}

/* Sets an attribute by name, as the model reader does; numbers of the type that the table says. */
static void set(const struct gr_choice *schedule, const char *name, double value)
{
    const struct gr_attr *attr = gr_kind_attr(schedule->kind, name);
    assert_non_null(attr);
    char *field = (char *)schedule->attrs + attr->offset;
    if (attr->type == GR_ATTR_FLOAT)
        *(double *)(void *)field = value;
    else if (attr->type == GR_ATTR_INT)
        *(int64_t *)(void *)field = (int64_t)value;
    else if (attr->type == GR_ATTR_ENUM)
        *(int *)(void *)field = (int)value;
    else
        fail_msg("%s is not a number", name);
}

static void set_times(const struct gr_choice *schedule, const double *times, int count)
{
    const struct gr_attr *attr = gr_kind_attr(schedule->kind, "at");
    assert_non_null(attr);
    *(struct gr_floats *)(void *)((char *)schedule->attrs + attr->offset) =
        (struct gr_floats){count, times};
}

enum { STEPS_PER_EPOCH = 10, EPOCHS = 9 };

static double rate(const struct gr_choice *schedule, int64_t step)
{
    const struct gr_schedule_state start = {0};
    return gr_schedule_rate(schedule, &start, step, STEPS_PER_EPOCH, EPOCHS);
}

static void assert_close(double got, double wanted)
{
    if (!(fabs(got - wanted) <= 1e-12 * fabs(wanted)))
        fail_msg("%.17g is not %.17g", got, wanted);
}

static void every_policy_has_a_name_a_sentence_and_a_required_base(void **state)
{
    (void)state;
    static const char *const names[] = {"fixed", "step",   "multistep", "exp",
                                        "poly",  "cosine", "plateau"};
    size_t count = 0;
    for (; gr_schedules[count]; count++) {
        assert_string_equal(gr_schedules[count]->name, names[count]);
        assert_ptr_equal(gr_schedule_find(names[count]), gr_schedules[count]);
        assert_true(strlen(gr_schedules[count]->doc) > 10);
        const struct gr_attr *base = gr_kind_attr(gr_schedules[count], "base");
        assert_non_null(base);
        assert_true(base->required);
        for (const struct gr_attr *attr = gr_schedules[count]->attrs; attr->name; attr++)
            assert_true(attr->offset < gr_schedules[count]->attrs_size);
    }
    assert_int_equal(count, sizeof names / sizeof *names);
    assert_null(gr_schedule_find("linear"));
}

static void fixed_stays(void **state)
{
    (void)state;
    const struct gr_choice schedule = policy("fixed");
    set(&schedule, "base", 0.02);
    for (int64_t step = 0; step < 200; step++)
        assert_close(rate(&schedule, step), 0.02);
}

static void step_falls_every_so_many_epochs(void **state)
{
    (void)state;
    const struct gr_choice schedule = policy("step");
    set(&schedule, "base", 0.5);
    set(&schedule, "every", 2);
    set(&schedule, "gamma", 0.25);
    for (int64_t step = 0; step < 90; step++)
        assert_close(rate(&schedule, step), 0.5 * pow(0.25, (double)(step / 20)));
}

static void a_fraction_of_an_epoch_is_an_exact_number_of_steps(void **state)
{
    (void)state;
    const struct gr_choice schedule = policy("step");
    set(&schedule, "base", 1);
    set(&schedule, "every", 0.1);
    set(&schedule, "gamma", 0.5);
    for (int64_t step = 0; step < 90; step++)
        assert_close(rate(&schedule, step), pow(0.5, (double)step));
}

static void lengths_may_count_steps(void **state)
{
    (void)state;
    const struct gr_choice schedule = policy("step");
    set(&schedule, "base", 1);
    set(&schedule, "every", 7);
    set(&schedule, "unit", 1);
    for (int64_t step = 0; step < 90; step++)
        assert_close(rate(&schedule, step), pow(0.1, (double)(step / 7)));
}

static void multistep_falls_at_the_given_epochs(void **state)
{
    (void)state;
    static const double times[] = {1, 2.5, 0.7 + 6};
    const struct gr_choice schedule = policy("multistep");
    set(&schedule, "base", 1);
    set(&schedule, "gamma", 0.5);
    set_times(&schedule, times, 3);
    for (int64_t step = 0; step < 90; step++) {
        const double wanted = step < 10 ? 1 : step < 25 ? 0.5 : step < 67 ? 0.25 : 0.125;
        assert_close(rate(&schedule, step), wanted);
    }
}

static void exp_falls_each_step(void **state)
{
    (void)state;
    const struct gr_choice schedule = policy("exp");
    set(&schedule, "base", 0.3);
    set(&schedule, "gamma", 0.9);
    for (int64_t step = 0; step < 90; step++)
        assert_close(rate(&schedule, step), 0.3 * exp(log(0.9) * (double)step / 10));
}

static void poly_ends_at_end_with_the_training(void **state)
{
    (void)state;
    const struct gr_choice schedule = policy("poly");
    set(&schedule, "base", 0.9);
    set(&schedule, "end", 0.1);
    set(&schedule, "power", 2);
    for (int64_t step = 0; step < 90; step++) {
        const double left = 1 - (double)step / 90;
        assert_close(rate(&schedule, step), 0.1 + 0.8 * left * left);
    }
    assert_close(rate(&schedule, 90), 0.1);
    assert_close(rate(&schedule, 1000), 0.1);
}

static void cosine_is_half_a_wave_and_then_flat(void **state)
{
    (void)state;
    const struct gr_choice schedule = policy("cosine");
    set(&schedule, "base", 1);
    set(&schedule, "end", 0.2);
    set(&schedule, "length", 4);
    assert_close(rate(&schedule, 0), 1);
    assert_close(rate(&schedule, 10), 0.2 + 0.8 * (1 + sqrt(0.5)) / 2);
    assert_close(rate(&schedule, 20), 0.6);
    assert_close(rate(&schedule, 30), 0.2 + 0.8 * (1 - sqrt(0.5)) / 2);
    assert_close(rate(&schedule, 40), 0.2);
    assert_close(rate(&schedule, 80), 0.2);
}

static void without_a_known_end_the_rate_stays_at_base(void **state)
{
    (void)state;
    static const char *const names[] = {"poly", "cosine"};
    const struct gr_schedule_state start = {0};
    for (int i = 0; i < 2; i++) {
        const struct gr_choice schedule = policy(names[i]);
        set(&schedule, "base", 0.4);
        assert_close(gr_schedule_rate(&schedule, &start, 12345, 10, 0), 0.4);
    }
}

static void warm_up_rises_linearly_to_the_policy(void **state)
{
    (void)state;
    const struct gr_choice fixed = policy("fixed");
    set(&fixed, "base", 0.5);
    set(&fixed, "warmup_steps", 5);
    set(&fixed, "warmup_from", 0.1);
    for (int64_t step = 0; step < 5; step++)
        assert_close(rate(&fixed, step), 0.1 + 0.4 * (double)(step + 1) / 5);
    assert_close(rate(&fixed, 5), 0.5);

    const struct gr_choice cosine = policy("cosine");
    set(&cosine, "base", 0.5);
    set(&cosine, "warmup_epochs", 1.2);
    for (int64_t step = 0; step < 90; step++) {
        const double wave = 0.25 * (1 + cos(acos(-1) * (double)step / 90));
        assert_close(rate(&cosine, step), step < 12 ? wave * (double)(step + 1) / 12 : wave);
    }
}

static void plateau_drops_then_finishes(void **state)
{
    (void)state;
    const struct gr_choice schedule = policy("plateau");
    set(&schedule, "base", 0.01);
    set(&schedule, "patience", 2);
    set(&schedule, "drops", 2);
    set(&schedule, "threshold", 0.01);
    static const struct {
        double value;
        enum gr_schedule_event event;
        double rate;
    } rows[] = {
        {0.50, GR_SCHEDULE_IMPROVED, 1e-2}, {0.505, GR_SCHEDULE_NONE, 1e-2},
        {0.52, GR_SCHEDULE_IMPROVED, 1e-2}, {0.52, GR_SCHEDULE_NONE, 1e-2},
        {NAN, GR_SCHEDULE_DROPPED, 1e-3},   {0.40, GR_SCHEDULE_NONE, 1e-3},
        {0.60, GR_SCHEDULE_IMPROVED, 1e-3}, {0.60, GR_SCHEDULE_NONE, 1e-3},
        {0.60, GR_SCHEDULE_DROPPED, 1e-4},  {0.60, GR_SCHEDULE_NONE, 1e-4},
        {0.60, GR_SCHEDULE_FINISHED, 1e-4}, {0.99, GR_SCHEDULE_NONE, 1e-4},
    };
    struct gr_schedule_state memory = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(gr_schedule_observe(&schedule, &memory, rows[i].value, true),
                         rows[i].event);
        assert_close(gr_schedule_rate(&schedule, &memory, 0, 10, 9), rows[i].rate);
        assert_int_equal(memory.finished, i >= 10);
    }
}

static void a_loss_improves_downwards(void **state)
{
    (void)state;
    const struct gr_choice schedule = policy("plateau");
    set(&schedule, "base", 1);
    set(&schedule, "patience", 1);
    struct gr_schedule_state memory = {0};
    assert_int_equal(gr_schedule_observe(&schedule, &memory, 2, false), GR_SCHEDULE_IMPROVED);
    assert_int_equal(gr_schedule_observe(&schedule, &memory, 1, false), GR_SCHEDULE_IMPROVED);
    assert_int_equal(gr_schedule_observe(&schedule, &memory, 3, false), GR_SCHEDULE_DROPPED);
    assert_true(memory.best == 1);
}

static void other_policies_do_not_listen(void **state)
{
    (void)state;
    struct gr_schedule_state memory = {0};
    const struct gr_choice schedule = policy("fixed");
    for (int i = 0; i < 50; i++)
        assert_int_equal(gr_schedule_observe(&schedule, &memory, 1, true), GR_SCHEDULE_NONE);
    assert_false(memory.seen || memory.finished || memory.drops || memory.bad);
    assert_null(gr_schedule_monitor(&schedule));
}

static void a_saved_state_goes_on_exactly(void **state)
{
    (void)state;
    const struct gr_choice schedule = policy("plateau");
    set(&schedule, "base", 1);
    set(&schedule, "patience", 3);
    struct gr_schedule_state straight = {0}, resumed = {0};
    for (int i = 0; i < 40; i++) {
        const double value = sin(i * 0.7) / 3;
        char text[GR_SCHEDULE_STATE_TEXT];
        struct gr_error err = {0};
        assert_true(
            gr_schedule_state_parse(&resumed, gr_schedule_state_text(&straight, text), &err));
        assert_memory_equal(&resumed.best, &straight.best, sizeof resumed.best);
        assert_int_equal(gr_schedule_observe(&schedule, &straight, value, true),
                         gr_schedule_observe(&schedule, &resumed, value, true));
        assert_int_equal(straight.bad, resumed.bad);
        assert_int_equal(straight.drops, resumed.drops);
        assert_int_equal(straight.finished, resumed.finished);
    }
    assert_true(straight.finished);
}

static void a_broken_state_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "best",
        "best 0000000000000000 seen 1 bad 0 drops 0",
        "best 0000000000000000 seen 1 bad -1 drops 0 finished 0",
        "best 0000000000000000 seen 1 bad 0 drops -2 finished 0",
        "best 0000000000000000 seen 3 bad 0 drops 0 finished 0",
        "best 0000000000000000 seen 1 bad 0 drops 0 finished 0 more",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct gr_schedule_state memory = {.drops = 7};
        struct gr_error err = {0};
        assert_false(gr_schedule_state_parse(&memory, texts[i], &err));
        assert_int_equal(err.status, GR_ERR_DATA);
        assert_int_equal(memory.drops, 7);
    }
}

static void what_contradicts_itself_is_an_error(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const struct gr_choice fixed = policy("fixed");
    set(&fixed, "base", 1);
    assert_true(gr_schedule_check(&fixed, &err));
    set(&fixed, "warmup_steps", 5);
    set(&fixed, "warmup_epochs", 1);
    assert_false(gr_schedule_check(&fixed, &err));
    assert_string_equal(err.message,
                        "learning_rate: fixed: warmup_epochs and warmup_steps exclude each other");

    static const double times[] = {30, 60, 60};
    err = (struct gr_error){0};
    const struct gr_choice multistep = policy("multistep");
    set(&multistep, "base", 1);
    set_times(&multistep, times, 3);
    assert_false(gr_schedule_check(&multistep, &err));
    assert_string_equal(err.message, "learning_rate: multistep: at: 60 does not rise above 60");

    err = (struct gr_error){0};
    const struct gr_choice poly = policy("poly");
    set(&poly, "base", 0.1);
    set(&poly, "end", 0.2);
    assert_false(gr_schedule_check(&poly, &err));
    assert_string_equal(err.message, "learning_rate: poly: end 0.2 is above base 0.1");
    assert_int_equal(err.status, GR_ERR_MODEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_has_a_name_a_sentence_and_a_required_base),
        cmocka_unit_test(fixed_stays),
        cmocka_unit_test(step_falls_every_so_many_epochs),
        cmocka_unit_test(a_fraction_of_an_epoch_is_an_exact_number_of_steps),
        cmocka_unit_test(lengths_may_count_steps),
        cmocka_unit_test(multistep_falls_at_the_given_epochs),
        cmocka_unit_test(exp_falls_each_step),
        cmocka_unit_test(poly_ends_at_end_with_the_training),
        cmocka_unit_test(cosine_is_half_a_wave_and_then_flat),
        cmocka_unit_test(without_a_known_end_the_rate_stays_at_base),
        cmocka_unit_test(warm_up_rises_linearly_to_the_policy),
        cmocka_unit_test(plateau_drops_then_finishes),
        cmocka_unit_test(a_loss_improves_downwards),
        cmocka_unit_test(other_policies_do_not_listen),
        cmocka_unit_test(a_saved_state_goes_on_exactly),
        cmocka_unit_test(a_broken_state_is_refused_and_changes_nothing),
        cmocka_unit_test(what_contradicts_itself_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
