/*
 * Time and memory on a drawing; see dot_profile.h.
 */
#include "graph/dot_profile.h"

#include <math.h>
#include <string.h>

#include "graph/program_private.h"

enum { N_STOPS = 6, N_PHASES = GR_UPDATE + 1 };

static const double thinnest = 0.6, thickest = 6;

struct rgb {
    double red, green, blue;
};

/* From white to a red that black text can still be read on, in steps that look equal. */
static const struct rgb heat[N_STOPS] = {{255, 255, 255}, {254, 236, 222}, {253, 212, 187},
                                         {252, 179, 146}, {249, 138, 103}, {236, 95, 69}};

/* From the grey of a thin line to a strong blue. */
static const struct rgb light_line = {150, 164, 178}, heavy_line = {45, 104, 171};

static struct rgb blend(struct rgb from, struct rgb to, double t)
{
    return (struct rgb){from.red + t * (to.red - from.red),
                        from.green + t * (to.green - from.green),
                        from.blue + t * (to.blue - from.blue)};
}

static void write_colour(struct rgb c, char colour[GR_DOT_COLOUR])
{
    static const char digits[] = "0123456789abcdef";
    const double channels[] = {c.red, c.green, c.blue};
    colour[0] = '#';
    for (int i = 0; i < 3; i++) {
        const unsigned value = (unsigned)(channels[i] + 0.5);
        colour[1 + 2 * i] = digits[value / 16 % 16];
        colour[2 + 2 * i] = digits[value % 16];
    }
    colour[7] = '\0';
}

/* The colour of a time, as a share of the slowest node's. */
static void heat_colour(double t, char colour[GR_DOT_COLOUR])
{
    const double at = (t < 0 ? 0 : t > 1 ? 1 : t) * (N_STOPS - 1);
    const int stop = at < N_STOPS - 1 ? (int)at : N_STOPS - 2;
    write_colour(blend(heat[stop], heat[stop + 1], at - stop), colour);
}

static bool is_on_an_edge(const struct gr_value *value)
{
    return value->kind != GR_VALUE_PARAMETER && value->kind != GR_VALUE_STATE;
}

void gr_dot_scale_init(struct gr_dot_scale *scale, const struct gr_program *program,
                       const struct gr_dot_profile *profile)
{
    *scale = (struct gr_dot_scale){.program = program, .profile = profile};
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_node *node = program->steps[s].node;
        scale->slowest = fmax(scale->slowest, profile->seconds[s]);
        for (int i = 0; i < node->n_inputs; i++)
            if (is_on_an_edge(node->inputs[i]))
                scale->largest =
                    fmax(scale->largest, (double)gr_program_bytes(program, node->inputs[i]));
    }
}

/* ---- text ------------------------------------------------------------------------------ */

void gr_dot_add_html(struct gr_text *out, const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c == '&')
            gr_text_add(out, "&amp;");
        else if (*c == '<')
            gr_text_add(out, "&lt;");
        else if (*c == '>')
            gr_text_add(out, "&gt;");
        else
            gr_text_add(out, "%c", (unsigned char)*c < ' ' ? ' ' : *c);
}

/* ---- nodes ------------------------------------------------------------------------------- */

const char *gr_dot_scale_fill(const struct gr_dot_scale *scale, size_t step,
                              char colour[GR_DOT_COLOUR])
{
    heat_colour(scale->slowest > 0 ? scale->profile->seconds[step] / scale->slowest : 0, colour);
    return colour;
}

/* Three digits: "1204 ms", "12.3 ms", "0.213 ms". */
static void add_milliseconds(struct gr_text *out, double seconds)
{
    const double ms = 1e3 * seconds;
    gr_text_add(out, "%.*f ms", !(ms > 0) ? 0 : ms < 1 ? 3 : ms < 10 ? 2 : ms < 100 ? 1 : 0, ms);
}

static double share_of(const struct gr_dot_scale *scale, double seconds)
{
    return scale->profile->step_seconds > 0 ? 100 * seconds / scale->profile->step_seconds : 0;
}

static void add_time(const struct gr_dot_scale *scale, double seconds, struct gr_text *out)
{
    add_milliseconds(out, seconds);
    gr_text_add(out, " · %.1f %%", share_of(scale, seconds));
}

void gr_dot_scale_add_time(const struct gr_dot_scale *scale, size_t step, struct gr_text *out)
{
    if (scale->profile->seconds[step] > 0)
        add_time(scale, scale->profile->seconds[step], out);
}

/* Bytes that a step reads and writes. */
static double traffic_of(const struct gr_dot_scale *scale, size_t step)
{
    const struct gr_traffic traffic =
        gr_program_traffic(scale->program, &scale->program->steps[step]);
    return (double)traffic.read + (double)traffic.written;
}

void gr_dot_scale_add_figures(const struct gr_dot_scale *scale, size_t step, struct gr_text *out)
{
    const struct gr_node *node = scale->program->steps[step].node;
    const double seconds = scale->profile->seconds[step];
    const double flops = node->op->macs ? 2 * node->op->macs(node) : 0;
    if (!(seconds > 0))
        return;
    gr_text_add(out, "<br/><b>");
    add_time(scale, seconds, out);
    gr_text_add(out, "</b><br/><font point-size=\"8\">");
    if (flops > 0)
        gr_text_add(out, "%.0f GFLOP/s · ", 1e-9 * flops / seconds);
    gr_text_add(out, "%.1f GB/s</font>", 1e-9 * traffic_of(scale, step) / seconds);
}

/* ---- edges ------------------------------------------------------------------------------- */

void gr_dot_add_bytes(struct gr_text *out, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    gr_text_add(out, "%.*f %s", unit && bytes < 99.95 ? 1 : 0, bytes, units[unit]);
}

void gr_dot_scale_add_edge(const struct gr_dot_scale *scale, const struct gr_value *value,
                           bool faint, struct gr_text *out)
{
    const double bytes = (double)gr_program_bytes(scale->program, value);
    const double t = scale->largest > 0 ? sqrt(bytes / scale->largest) : 0;
    char colour[GR_DOT_COLOUR];
    write_colour(blend(light_line, heavy_line, t), colour);
    gr_text_add(out, "penwidth=%.2f, arrowsize=%.2f, ",
                thinnest + t * ((faint ? 0.4 : 1) * thickest - thinnest), 0.6 - 0.25 * t);
    if (!faint)
        gr_text_add(out, "color=\"%s\", ", colour);
}

/* ---- legend ------------------------------------------------------------------------------ */

static void add_scale(const struct gr_dot_scale *scale, struct gr_text *out)
{
    char colour[GR_DOT_COLOUR];
    gr_text_add(out, "<tr>");
    for (int i = 0; i < N_STOPS; i++) {
        const double t = (double)i / (N_STOPS - 1);
        heat_colour(t, colour);
        gr_text_add(out, "<td width=\"58\" border=\"1\" color=\"#c9ced3\" bgcolor=\"%s\">", colour);
        add_milliseconds(out, t * scale->slowest);
        gr_text_add(out, "</td>");
    }
    gr_text_add(out, "</tr>");
}

static void begin_row(struct gr_text *out)
{
    gr_text_add(out, "<tr><td colspan=\"%d\">", N_STOPS);
}

static void end_row(struct gr_text *out)
{
    gr_text_add(out, "</td></tr>");
}

static void add_phases(const struct gr_dot_scale *scale, struct gr_text *out)
{
    static const char *const names[N_PHASES] = {"forward", "backward", "update"};
    double seconds[N_PHASES] = {0};
    for (size_t s = 0; s < scale->program->n_steps; s++)
        if (scale->profile->seconds[s] > 0)
            seconds[scale->program->steps[s].node->phase] += scale->profile->seconds[s];
    if (!(seconds[GR_BACKWARD] > 0))
        return;
    begin_row(out);
    for (int phase = 0; phase < N_PHASES; phase++) {
        gr_text_add(out, "%s%s ", phase ? ",  " : "", names[phase]);
        add_time(scale, seconds[phase], out);
    }
    end_row(out);
}

static void add_memory(const struct gr_dot_scale *scale, struct gr_text *out)
{
    double moved = 0;
    for (size_t s = 0; s < scale->program->n_steps; s++)
        if (scale->profile->seconds[s] > 0)
            moved += traffic_of(scale, s);
    begin_row(out);
    gr_dot_add_bytes(out, moved);
    gr_text_add(out, " read and written,  ");
    gr_dot_add_bytes(out, (double)scale->program->memory.planned);
    gr_text_add(out, " planned;  the thickest line is ");
    gr_dot_add_bytes(out, scale->largest);
    end_row(out);
}

void gr_dot_scale_add_legend(const struct gr_dot_scale *scale, struct gr_text *out)
{
    double sum = 0;
    for (size_t s = 0; s < scale->program->n_steps; s++)
        sum += fmax(scale->profile->seconds[s], 0);
    begin_row(out);
    gr_dot_add_html(out, scale->profile->title);
    end_row(out);
    begin_row(out);
    gr_text_add(out, "a step takes ");
    add_milliseconds(out, scale->profile->step_seconds);
    gr_text_add(out, ",  its nodes ");
    add_time(scale, sum, out);
    end_row(out);
    add_phases(scale, out);
    add_memory(scale, out);
    add_scale(scale, out);
}
