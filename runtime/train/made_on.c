/*
 * What a checkpoint was made on; see made_on.h.
 */
#include "train/made_on.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { PROCESSOR, ISA, THREADS, LIBRARY, KERNELS, PRECISION, BATCH, VERSION };

const char *const gr_made_on_keys[GR_MADE_ON_FACTS] = {
    [PROCESSOR] = "made_on.processor", [ISA] = "made_on.isa",
    [THREADS] = "made_on.threads",     [LIBRARY] = "made_on.library",
    [KERNELS] = "made_on.kernels",     [PRECISION] = "made_on.precision",
    [BATCH] = "made_on.batch",         [VERSION] = "made_on.graph_runner",
};

static void set(struct gr_made_on *made_on, int fact, const char *text)
{
    snprintf(made_on->facts[fact], GR_MADE_ON_TEXT, "%s", text);
}

static void set_number(struct gr_made_on *made_on, int fact, int64_t number)
{
    snprintf(made_on->facts[fact], GR_MADE_ON_TEXT, "%" PRId64, number);
}

void gr_made_on_init(struct gr_made_on *made_on, const struct gr_context *context,
                     const struct gr_plan_options *options)
{
    const struct gr_machine_facts unknown = {"", "", "", ""};
    const struct gr_machine_facts facts =
        context->ops->facts ? context->ops->facts(context->backend) : unknown;
    set(made_on, PROCESSOR, facts.processor);
    set(made_on, ISA, facts.isa);
    set_number(made_on, THREADS, context->threads);
    set(made_on, LIBRARY, facts.library);
    set(made_on, KERNELS, facts.kernels);
    set(made_on, PRECISION, options->precision == GR_PRECISION_BF16 ? "bf16" : "f32");
    set_number(made_on, BATCH, options->batch);
    set(made_on, VERSION, GR_VERSION);
}

bool gr_made_on_compare(const struct gr_tensor_file *file, const struct gr_context *context,
                        const struct gr_plan_options *options)
{
    struct gr_made_on here;
    struct gr_text text = {0};
    gr_made_on_init(&here, context, options);
    for (int i = 0; i < GR_MADE_ON_FACTS; i++) {
        const char *there = gr_tensor_file_metadata(file, gr_made_on_keys[i]);
        if (there && strcmp(there, here.facts[i]) != 0)
            gr_text_add(&text, "%s%s is %s, not %.100s", text.length ? "; " : "",
                        strchr(gr_made_on_keys[i], '.') + 1, here.facts[i], there);
    }
    const bool same = !text.length;
    if (!same)
        gr_log(context, GR_LOG_WARNING,
               "the run goes on in another way than it began, so that last digits may differ: %s",
               text.data);
    gr_text_release(&text);
    return same;
}
