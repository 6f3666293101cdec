/*
 * Prints libFuzzer's dictionary of the model language, from the registry of ops and the other
 * tables, so that a new op or attribute is in it by itself.
 */
#include <stdio.h>

#include "data/kinds.h"
#include "graph/initialise.h"
#include "graph/op.h"
#include "train/schedule.h"

static void print(const char *word, const char *end)
{
    printf("\"%s%s\"\n", word, end);
}

static void print_kind(const struct gr_kind *kind)
{
    print(kind->name, "");
    for (const struct gr_attr *attr = kind->attrs; attr && attr->name; attr++) {
        print(attr->name, ": ");
        for (const char *const *choice = attr->choices; choice && *choice; choice++)
            print(*choice, "");
    }
}

static void print_kinds(const struct gr_kind *const *kinds)
{
    for (; *kinds; kinds++)
        print_kind(*kinds);
}

static void print_ops(const struct gr_registry *ops)
{
    static const char *const ends[] = {"_init: ", "_lr: ", "_decay: "};
    for (size_t i = 0; i < ops->n_ops; i++) {
        const struct gr_op *op = ops->ops[i];
        if (op->flags & GR_OP_INTERNAL)
            continue;
        print_kind(&op->kind);
        for (size_t p = 0; op->params && op->params[p].name; p++)
            for (size_t e = 0; e < sizeof ends / sizeof *ends; e++)
                print(op->params[p].name, ends[e]);
    }
}

/* The keys and signs that no table has. */
static const char *const words[] = {
    "format: 1\\x0a",
    "name: ",
    "description: ",
    "inputs: ",
    "nodes: ",
    "blocks: ",
    "vars: ",
    "class_names: ",
    "train: ",
    "data: ",
    "params: ",
    "output: ",
    "when: ",
    "freeze: ",
    "share: ",
    "block: ",
    "op: ",
    "loss: ",
    "metrics: ",
    "optimizer: ",
    "learning_rate: ",
    "checkpoint: ",
    "batch: ",
    "epochs: ",
    "seed: ",
    "monitor: ",
    "transform: ",
    "shape: [",
    "classes: ",
    "dtype: ",
    "required",
    "image",
    "label",
    "val: ",
    "test: ",
    "true",
    "false",
    "null",
    "~",
    "<<: *",
    "&a ",
    "*a",
    "${GR_FUZZ}",
    "${GR_FUZZ:-1}",
    "${GR_NONE}",
    "$(a)",
    "$(a * 2 - 1)",
    "$$(",
    "$${",
    ", inputs: [",
    "- {name: a, op: ",
    "9223372036854775807",
    "-9223372036854775808",
    "1000000000",
    "4294967296",
    "1e308",
    "0.5",
    "---\\x0a",
    "...\\x0a",
    "%YAML 1.1\\x0a",
    "!!str ",
    "!!int ",
    "\\\"",
    "|\\x0a  ",
    ">-\\x0a  ",
    "\\xe2\\x80\\xa8",
    "? ",
    "- ",
    "nodes.a.",
};

int main(void)
{
    print_ops(gr_standard_ops());
    print_kinds(gr_initialisers);
    print_kinds(gr_data_sources);
    print_kinds(gr_data_transforms);
    print_kinds(gr_schedules);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        printf("\"%s\"\n", words[i]);
    return 0;
}
