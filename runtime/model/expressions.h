/*
 * The expressions in $(...): integers with + - * / %, comparisons and parentheses, of the
 * parameters of a block and the model's `vars`. Parsed by recursive descent; the first mistake is
 * noted and stops it.
 */
#ifndef GR_MODEL_EXPRESSIONS_H
#define GR_MODEL_EXPRESSIONS_H

#include "model/reader.h"

/* What a name begins with, and what it is made of. */
extern const char gr_name_letters[], gr_name_word[];

struct gr_expression {
    struct gr_reader *reader;
    const struct gr_doc *doc;           /* where it is written */
    const struct gr_block_scope *scope; /* NULL: outside blocks */
    const char *at;                     /* what is read next */
    int depth;
    bool failed;
    bool truth; /* the value is a comparison's or a true/false */
};

/* The value of the whole expression at e->at; 0 where it fails. */
int64_t gr_expression_value(struct gr_expression *e);

/* Goes past the token, and spaces before it, if it is next. */
bool gr_expression_accept(struct gr_expression *e, const char *token);

/* Notes a mistake, unless there was one; returns 0. */
int64_t gr_expression_fail(struct gr_expression *e, const char *message);

/* What a name stands for: in a block its parameter, else one of `vars`, which is used then. */
const struct gr_doc *gr_variables_look_up(struct gr_reader *reader,
                                          const struct gr_block_scope *scope, const char *name);

/* The same; NULL is a mistake, noted with the nearest name. */
const struct gr_doc *gr_expression_parameter(struct gr_expression *e, const char *name);

#endif
