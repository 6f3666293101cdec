/*
 * Drawing a program; see dot.h.
 *
 * Graphviz ranks nodes from top to bottom along the edges. Edges within the forward phase point
 * down as they are; edges within the backward phase are written the wrong way round with their
 * arrowhead at the other end, so that backward stands upside down beside forward. Edges between
 * phases do not take part in the ranking; instead each node that starts a layer's backward is put
 * on the rank of that layer's forward node, and each update on the rank of the node that made its
 * gradient.
 */
#include "graph/dot.h"

#include <stdlib.h>
#include <string.h>

#include "graph/dot_profile.h"
#include "graph/passes.h"
#include "graph/program_private.h"

enum { N_PHASES = GR_UPDATE + 1, ATTRIBUTES_SHOWN = 4, PAGE_STEPS = 40 };

/* What the functions below share. */
struct drawing {
    const struct gr_program *program;
    struct gr_text *out;
    int *step_of;           /* [n_nodes] index of the node's step, or -1 */
    enum gr_phase *phase;   /* [n_steps] the cluster that the step is drawn in */
    enum gr_phase *read_in; /* [n_values] the first phase that reads the value */
    bool *chained;          /* [n_steps] a backward step that another backward step reads */
    size_t n_forward;       /* steps of the forward phase: the height of the picture */
    bool training;          /* there is more than a forward phase */
    const struct gr_dot_scale *scale; /* of time and memory; NULL: drawn without */
};

/* ---- text -------------------------------------------------------------------------------- */

/* Into a quoted string. */
static void add_quoted(struct gr_text *out, const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c == '"' || *c == '\\')
            gr_text_add(out, "\\%c", *c);
        else
            gr_text_add(out, "%c", (unsigned char)*c < ' ' || *c == 0x7f ? ' ' : *c);
}

/* 60965224 -> "61.0 M" */
static void add_count(struct gr_text *out, double count)
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P"};
    size_t unit = 0;
    while (count >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        count /= 1000;
        unit++;
    }
    gr_text_add(out, "%.*f%s",
                unit == 0 || count >= 99.95 ? 0
                : count >= 9.995            ? 1
                                            : 2,
                count, units[unit]);
}

/* ---- colours ----------------------------------------------------------------------------- */

struct colour {
    const char *category, *fill, *border;
};

static const struct colour colours[] = {
    {"convolution", "#cfe2f9", "#4a7dbd"},      {"linear", "#dcd5f5", "#7862b8"},
    {"pooling", "#cdeee0", "#3f9a76"},          {"normalisation", "#fdeec2", "#bf9526"},
    {"activation", "#ffe0cc", "#cc7a3d"},       {"regularisation", "#f0f2f4", "#9aa4ae"},
    {"arithmetic", "#e3f1c9", "#7e9a3a"},       {"data movement", "#f0f2f4", "#9aa4ae"},
    {"loss and metrics", "#f9d3da", "#c0566b"}, {"optimizer", "#d8ecef", "#4f949e"},
};

/* For categories that are not in the table. */
static const struct colour others[] = {
    {NULL, "#e8e0d5", "#95815f"}, {NULL, "#d9e5dc", "#658d70"}, {NULL, "#efdcee", "#9c629a"},
    {NULL, "#dfe3ee", "#66749c"}, {NULL, "#f2e3da", "#a8745a"},
};

static const char *category_of(const struct gr_node *node)
{
    if (!node->op->category && node->forward)
        node = node->forward;
    return node->op->category ? node->op->category : node->op->kind.name;
}

static const struct colour *colour_of(const struct gr_node *node)
{
    const char *category = category_of(node);
    for (size_t i = 0; i < sizeof colours / sizeof *colours; i++)
        if (strcmp(colours[i].category, category) == 0)
            return &colours[i];
    unsigned hash = 5381;
    for (const char *c = category; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    return &others[hash % (sizeof others / sizeof *others)];
}

/* ---- nodes ------------------------------------------------------------------------------- */

static bool is_reorder(const struct gr_node *node)
{
    return node->op == node->graph->ops->reorder;
}

static bool is_target(const struct drawing *drawing, const struct gr_node *node)
{
    for (size_t t = 0; t < drawing->program->n_targets; t++)
        if (drawing->program->plain[t]->producer == node)
            return true;
    return false;
}

static bool is_persistent(const struct gr_value *value)
{
    return value->kind == GR_VALUE_PARAMETER || value->kind == GR_VALUE_STATE;
}

/* Elements of the parameters that a forward node brings, or that an update changes. */
static int64_t count_parameters(const struct gr_node *node)
{
    const int n = node->phase == GR_UPDATE ? gr_node_updated(node) : node->n_inputs;
    int64_t count = 0;
    for (int i = 0; node->phase != GR_BACKWARD && i < n; i++)
        if (node->inputs[i]->kind == GR_VALUE_PARAMETER)
            count += gr_shape_count(&node->inputs[i]->shape);
    return count;
}

/* "conv1 → relu1": the node, and the one that was fused into it and gave the output its name. */
static void add_heading(const struct gr_node *node, struct gr_text *out)
{
    const char *name = node->name;
    if (node->phase == GR_BACKWARD && node->forward)
        name = node->forward->name;
    else if (node->phase == GR_UPDATE && node->n_inputs > 0)
        name = node->inputs[0]->name;
    gr_dot_add_html(out, name);
    if (node->phase == GR_FORWARD && node->n_outputs > 0 &&
        strcmp(node->outputs[0]->name, node->name) != 0) {
        gr_text_add(out, " → ");
        gr_dot_add_html(out, node->outputs[0]->name);
    }
}

/* "34.9 k parameters · 13.5 G MACs" on a line of its own, if there is anything to say. */
static void add_figures(const struct gr_node *node, struct gr_text *out)
{
    const int64_t parameters = count_parameters(node);
    const double macs = node->op->macs ? node->op->macs(node) : 0;
    if (parameters == 0 && !(macs > 0))
        return;
    gr_text_add(out, "<br/><font point-size=\"8\" color=\"#5f6b76\">");
    if (parameters)
        add_count(out, (double)parameters);
    if (parameters)
        gr_text_add(out, " parameter%s", parameters == 1 ? "" : "s");
    if (parameters && macs > 0)
        gr_text_add(out, " · ");
    if (macs > 0)
        add_count(out, macs);
    gr_text_add(out, "%s</font>", macs > 0 ? " MACs" : "");
}

/* The attributes of forward nodes; those of an update are the same for all and go to its tooltip.
 */
static void add_attributes(const struct gr_node *node, struct gr_text *out)
{
    struct gr_text attributes = {0};
    if (node->phase == GR_FORWARD)
        gr_kind_describe(&node->op->kind, node->attrs, ATTRIBUTES_SHOWN, false, &attributes);
    if (attributes.length) {
        gr_text_add(out, "<br/><font point-size=\"8\">");
        gr_dot_add_html(out, attributes.data);
        gr_text_add(out, "</font>");
    }
    out->failed = out->failed || attributes.failed;
    gr_text_release(&attributes);
}

/* Shown by browsers over a node of an SVG: all attributes and the kernel. */
static void add_tooltip(const struct drawing *drawing, size_t index)
{
    const struct gr_step *step = &drawing->program->steps[index];
    struct gr_text text = {0}, *out = drawing->out;
    gr_text_add(&text, "%s: %s", step->node->name, step->node->op->kind.name);
    if (step->node->op->kind.attrs) {
        gr_text_add(&text, ", ");
        gr_kind_describe(&step->node->op->kind, step->node->attrs, 64, false, &text);
    }
    if (step->kernel.impl)
        gr_text_add(&text, " [%s]", step->kernel.impl);
    if (drawing->scale)
        gr_text_add(&text, " ");
    if (drawing->scale)
        gr_dot_scale_add_time(drawing->scale, index, &text);
    gr_text_add(out, ", tooltip=\"");
    add_quoted(out, text.data ? text.data : "");
    gr_text_add(out, "\"");
    out->failed = out->failed || text.failed;
    gr_text_release(&text);
}

/* The colour of a node: of its time, or of its kind. */
static const char *fill_of(const struct drawing *drawing, size_t index, const char *kind,
                           char colour[GR_DOT_COLOUR])
{
    return drawing->scale ? gr_dot_scale_fill(drawing->scale, index, colour) : kind;
}

static void add_reorder(const struct drawing *drawing, size_t index)
{
    struct gr_text *out = drawing->out;
    char colour[GR_DOT_COLOUR];
    gr_text_add(out, "    n%zu [label=\"reorder", index);
    if (drawing->scale && drawing->scale->profile->seconds[index] > 0) {
        gr_text_add(out, "  ");
        gr_dot_scale_add_time(drawing->scale, index, out);
    }
    gr_text_add(out,
                "\", fontsize=7, fontcolor=\"%s\", height=0.14, margin=\"0.05,0.01\", "
                "fillcolor=\"%s\", color=\"#b8c0c8\"",
                drawing->scale ? "#000000" : "#7b8794", fill_of(drawing, index, "#f7f8f9", colour));
    add_tooltip(drawing, index);
    gr_text_add(out, "];\n");
}

static void add_node(const struct drawing *drawing, size_t index)
{
    const struct gr_step *step = &drawing->program->steps[index];
    const struct gr_node *node = step->node;
    const struct colour *colour = colour_of(node);
    struct gr_text *out = drawing->out;
    char fill[GR_DOT_COLOUR];
    gr_text_add(out, "    n%zu [label=<<b>", index);
    add_heading(node, out);
    gr_text_add(out, "</b>  <font point-size=\"8\" color=\"%s\">",
                drawing->scale ? "#303840" : "#5f6b76");
    gr_dot_add_html(out, node->op->kind.name);
    gr_text_add(out, "</font>");
    add_attributes(node, out);
    if (drawing->scale)
        gr_dot_scale_add_figures(drawing->scale, index, out);
    else
        add_figures(node, out);
    gr_text_add(out, ">, fillcolor=\"%s\", color=\"%s\"",
                fill_of(drawing, index, colour->fill, fill), colour->border);
    if (gr_node_is_view(node))
        gr_text_add(out, ", style=\"rounded,filled,dashed\"");
    if (is_target(drawing, node))
        gr_text_add(out, ", peripheries=2");
    if (drawing->chained[index]) /* keeps the backward column straight */
        gr_text_add(out, ", group=backward");
    add_tooltip(drawing, index);
    gr_text_add(out, "];\n");
}

static void add_input(const struct drawing *drawing, const struct gr_value *value)
{
    char shape[GR_SHAPE_TEXT];
    struct gr_text *out = drawing->out;
    gr_text_add(out, "    v%d [label=<<b>", value->id);
    gr_dot_add_html(out, value->name);
    gr_text_add(out, "</b><br/><font point-size=\"8\" color=\"#5f6b76\">%s %s</font>>, ",
                gr_shape_text(&value->shape, shape), gr_dtype_name(value->dtype));
    gr_text_add(out, "shape=ellipse, style=filled, fillcolor=\"#ffffff\", color=\"#5f6b76\", "
                     "tooltip=\"input\"];\n");
}

/* ---- edges ------------------------------------------------------------------------------- */

static void add_edge_label(const struct drawing *drawing, const struct gr_value *value,
                           const char *attribute, bool html)
{
    const struct gr_layout *layout = drawing->program->slots[value->id].layout;
    const bool blocked = layout && layout != &gr_layout_plain;
    struct gr_text *out = drawing->out;
    const char *clear = drawing->scale ? "&#160;&#160;" : ""; /* of a thick line */
    char shape[GR_SHAPE_TEXT];
    gr_text_add(out, "%s=%s%s%s", attribute, html ? "< " : "\"", html ? clear : "",
                gr_shape_text(&value->shape, shape));
    if (drawing->scale) {
        gr_text_add(out, " · ");
        gr_dot_add_bytes(out, (double)gr_program_bytes(drawing->program, value));
    }
    if (blocked && html) {
        gr_text_add(out, " <font color=\"#a3adb7\">");
        gr_dot_add_html(out, layout->name);
        gr_text_add(out, "</font>");
    } else if (blocked) {
        gr_text_add(out, " ");
        add_quoted(out, layout->name);
    }
    gr_text_add(out, "%s", html ? ">" : "\"");
}

/* What one node reads of another, or of an input. */
static void add_edge(const struct drawing *drawing, const struct gr_value *value, size_t reader)
{
    struct gr_text *out = drawing->out;
    const enum gr_phase to = drawing->phase[reader];
    const int maker = value->producer ? drawing->step_of[value->producer->id] : -1;
    const enum gr_phase from = maker >= 0 ? drawing->phase[maker] : drawing->read_in[value->id];
    const bool upwards = from == GR_BACKWARD && to == GR_BACKWARD;
    char source[32] = "";
    struct gr_text name = {0};
    gr_text_add(&name, maker >= 0 ? "n%d" : "v%d", maker >= 0 ? maker : value->id);
    if (name.data && name.length < sizeof source)
        memcpy(source, name.data, name.length + 1);
    out->failed = out->failed || name.failed;
    gr_text_release(&name);
    if (upwards)
        gr_text_add(out, "  n%zu -> %s [dir=back, ", reader, source);
    else
        gr_text_add(out, "  %s -> n%zu [", source, reader);
    if (drawing->scale)
        gr_dot_scale_add_edge(drawing->scale, value, from != to, out);
    if (from != to)
        gr_text_add(out, "constraint=false, style=dashed, color=\"#c3cad1\", ");
    else if (!is_reorder(drawing->program->steps[reader].node)) {
        add_edge_label(drawing, value, "label", true);
        gr_text_add(out, ", ");
    }
    add_edge_label(drawing, value, "edgetooltip", false);
    gr_text_add(out, "];\n");
}

/* The learning rate: an edge to every update would say little and hide much. */
static bool is_for_updates(const struct drawing *drawing, const struct gr_value *value)
{
    return value->kind == GR_VALUE_INPUT && drawing->read_in[value->id] == GR_UPDATE;
}

static void add_edges(const struct drawing *drawing)
{
    const struct gr_program *program = drawing->program;
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_node *node = program->steps[s].node;
        for (int i = 0; i < node->n_inputs; i++)
            if (!is_persistent(node->inputs[i]) && !is_for_updates(drawing, node->inputs[i]))
                add_edge(drawing, node->inputs[i], s);
    }
}

/* ---- the page ---------------------------------------------------------------------------- */

/* A reorder of a parameter has no place of its own: it belongs to the phase that reads it. */
static void find_phases(struct drawing *drawing)
{
    const struct gr_program *program = drawing->program;
    for (size_t v = 0; v < program->graph->n_values; v++)
        drawing->read_in[v] = GR_UPDATE;
    for (size_t s = program->n_steps; s-- > 0;) {
        const struct gr_node *node = program->steps[s].node;
        drawing->phase[s] = node->phase;
        if (is_reorder(node) && is_persistent(node->inputs[0]))
            drawing->phase[s] = drawing->read_in[node->outputs[0]->id];
        for (int i = 0; i < node->n_inputs; i++)
            if (drawing->phase[s] < drawing->read_in[node->inputs[i]->id])
                drawing->read_in[node->inputs[i]->id] = drawing->phase[s];
        for (int o = 0; o < node->n_outputs && drawing->phase[s] == GR_BACKWARD; o++)
            if (drawing->read_in[node->outputs[o]->id] == GR_BACKWARD && !is_reorder(node) &&
                !node->origin)
                drawing->chained[s] = true;
        drawing->n_forward += drawing->phase[s] == GR_FORWARD;
        drawing->training = drawing->training || node->phase != GR_FORWARD;
    }
}

static void add_phase(const struct drawing *drawing, enum gr_phase phase)
{
    static const char *const names[N_PHASES] = {"forward", "backward", "update"};
    const struct gr_program *program = drawing->program;
    if (drawing->training)
        gr_text_add(drawing->out,
                    "  subgraph cluster_%s {\n    label=\"%s\"; labeljust=l; fontsize=11; "
                    "fontcolor=\"#7b8794\"; color=\"#d5dade\"; style=rounded; margin=12;\n",
                    names[phase], names[phase]);
    for (size_t i = 0; i < program->n_inputs; i++)
        if (drawing->read_in[program->inputs[i]->id] == phase)
            add_input(drawing, program->inputs[i]);
    for (size_t s = 0; s < program->n_steps; s++)
        if (drawing->phase[s] == phase && is_reorder(program->steps[s].node))
            add_reorder(drawing, s);
        else if (drawing->phase[s] == phase)
            add_node(drawing, s);
    if (drawing->training)
        gr_text_add(drawing->out, "  }\n");
}

/* The step that step s is drawn beside: its forward node's, or that of its gradient; or -1. */
static int find_beside(const struct drawing *drawing, size_t s)
{
    const struct gr_node *node = drawing->program->steps[s].node, *beside = NULL;
    if (drawing->phase[s] == GR_BACKWARD && node->forward && node->forward->n_outputs)
        beside = node->forward->outputs[0]->producer;
    for (int i = 0; drawing->phase[s] == GR_UPDATE && i < node->n_inputs && !beside; i++)
        beside = is_persistent(node->inputs[i]) ? NULL : node->inputs[i]->producer;
    return beside ? drawing->step_of[beside->id] : -1;
}

/* Backward beside forward, updates beside backward; several updates one below the other. */
static bool add_ranks(const struct drawing *drawing, struct gr_error *err)
{
    const struct gr_program *program = drawing->program;
    size_t *last = calloc(program->n_steps + 1, sizeof *last); /* 1 + the step put beside, or 0 */
    if (!last)
        return gr_fail_memory(err, "drawing a graph");
    for (size_t s = 0; s < program->n_steps; s++) {
        const int at = find_beside(drawing, s);
        if (at < 0)
            continue;
        if (last[at] == 0)
            gr_text_add(drawing->out, "  {rank=same; n%d; n%zu;}\n", at, s);
        else if (drawing->phase[s] == GR_UPDATE)
            gr_text_add(drawing->out, "  n%zu -> n%zu [style=invis];\n", last[at] - 1, s);
        if (last[at] == 0 || drawing->phase[s] == GR_UPDATE)
            last[at] = s + 1;
    }
    free(last);
    return true;
}

/* The heading of a drawing with a profile: a table. */
static void add_legend(const struct drawing *drawing, const char *title)
{
    struct gr_text *out = drawing->out;
    gr_text_add(out, ", labelloc=t, fontsize=9, label=<<table border=\"0\" cellspacing=\"0\" "
                     "cellpadding=\"3\"><tr><td colspan=\"6\"><b><font point-size=\"14\">");
    gr_dot_add_html(out, title ? title : "");
    gr_text_add(out, "</font></b></td></tr>");
    gr_dot_scale_add_legend(drawing->scale, out);
    gr_text_add(out, "</table>>");
}

static void add_page(const struct drawing *drawing, const char *title)
{
    struct gr_text *out = drawing->out;
    gr_text_add(out, "digraph program {\n  graph [rankdir=TB, newrank=true, ranksep=0.16, "
                     "nodesep=0.22, fontname=\"Helvetica\", bgcolor=white");
    if (drawing->n_forward <= PAGE_STEPS) /* a larger one is for looking into, not printing */
        gr_text_add(out, ", size=\"7.5,10.9\"");
    if (drawing->scale)
        add_legend(drawing, title);
    else if (title) {
        gr_text_add(out, ", labelloc=t, fontsize=14, label=\"");
        add_quoted(out, title);
        gr_text_add(out, "\"");
    }
    gr_text_add(out, "];\n  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", "
                     "fontsize=10, height=0.3, margin=\"0.12,0.05\"];\n"
                     "  edge [fontname=\"Helvetica\", fontsize=8, fontcolor=\"#5f6b76\", "
                     "color=\"#7b8794\", arrowsize=0.6];\n");
    for (int phase = 0; phase < N_PHASES; phase++)
        if (drawing->training || phase == GR_FORWARD)
            add_phase(drawing, (enum gr_phase)phase);
}

bool gr_program_dot(const struct gr_program *program, const char *title,
                    const struct gr_dot_profile *profile, struct gr_text *out, struct gr_error *err)
{
    const struct gr_graph *graph = program->graph;
    struct gr_dot_scale scale;
    struct drawing drawing = {
        .program = program,
        .out = out,
        .step_of = malloc((graph->n_nodes + 1) * sizeof *drawing.step_of),
        .phase = calloc(program->n_steps + 1, sizeof *drawing.phase),
        .read_in = calloc(graph->n_values + 1, sizeof *drawing.read_in),
        .chained = calloc(program->n_steps + 1, sizeof *drawing.chained),
    };
    bool ok = drawing.step_of && drawing.phase && drawing.read_in && drawing.chained;
    if (!ok) {
        gr_fail_memory(err, "drawing a graph");
        goto out;
    }
    if (profile) {
        gr_dot_scale_init(&scale, program, profile);
        drawing.scale = &scale;
    }
    for (size_t n = 0; n < graph->n_nodes; n++)
        drawing.step_of[n] = -1;
    for (size_t s = 0; s < program->n_steps; s++)
        drawing.step_of[program->steps[s].node->id] = (int)s;
    find_phases(&drawing);
    add_page(&drawing, title);
    add_edges(&drawing);
    ok = !drawing.training || add_ranks(&drawing, err);
    gr_text_add(out, "}\n");
    ok = ok && gr_text_ok(out, err);
out:
    free(drawing.step_of);
    free(drawing.phase);
    free(drawing.read_in);
    free(drawing.chained);
    return ok;
}
