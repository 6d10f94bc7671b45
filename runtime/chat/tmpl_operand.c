/* SPDX-License-Identifier: MIT */
/*
 * tmpl_operand: what operators stand between: names, numbers, strings, lists, dicts, brackets, and all
 * that may stand behind one of them: calls, attributes, indices, slices, filters, tests.
 */
#include "chat/tmpl.h"

static struct tmpl_node *constant(struct tmpl *t, struct tmpl_value v)
{
	struct tmpl_node *n = tmpl_node(t, N_CONST);

	if (n)
		n->value = v;
	return n;
}

static struct tmpl_node *parse_name(struct tmpl *t)
{
	static const struct {
		const char *name;
		struct tmpl_value v;
	} words[] = {
		{ "true", { .kind = TMPL_BOOL, .b = true } },
		{ "True", { .kind = TMPL_BOOL, .b = true } },
		{ "false", { .kind = TMPL_BOOL } },
		{ "False", { .kind = TMPL_BOOL } },
		{ "none", { .kind = TMPL_NONE } },
		{ "None", { .kind = TMPL_NONE } },
	};
	struct tmpl_node *n = constant(t, tmpl_peek(t)->value);

	if (!n)
		return NULL;
	n->type = N_NAME;
	t->seen |= n->value.s == t->template->varargs ? TMPL_SEES_VARARGS :
		   n->value.s == t->template->kwargs  ? TMPL_SEES_KWARGS :
		   n->value.s == t->template->caller  ? TMPL_SEES_CALLER :
							0;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (tmpl_str_is(n->value, words[i].name)) {
			n->type = N_CONST;
			n->value = words[i].v;
			break;
		}
	}
	tmpl_next(t);
	return n;
}

/* Strings that stand side by side are one. */
static struct tmpl_node *parse_string(struct tmpl *t)
{
	struct tmpl_node *n = constant(t, tmpl_peek(t)->value);
	struct tmpl_text text = { 0 };

	tmpl_next(t);
	if (!n || !tmpl_is(t, T_STRING))
		return n;
	tmpl_add(t, &text, n->value.s, n->value.n);
	while (tmpl_is(t, T_STRING) && !t->rc) {
		tmpl_add(t, &text, tmpl_peek(t)->value.s, tmpl_peek(t)->value.n);
		tmpl_next(t);
	}
	n->value = tmpl_text_value(&text);
	return n;
}

static struct tmpl_node *parse_list(struct tmpl *t)
{
	struct tmpl_node *n = tmpl_node(t, N_LIST);
	struct tmpl_chain items;

	if (!n)
		return NULL;
	tmpl_chain_init(&items);
	while (!t->rc && !tmpl_take(t, ']')) {
		tmpl_chain_add(&items, tmpl_parse_expr(t));
		if (!tmpl_is(t, ']'))
			tmpl_want(t, ',', "a comma");
	}
	n->list = items.first;
	return n;
}

static struct tmpl_node *parse_dict(struct tmpl *t)
{
	struct tmpl_node *n = tmpl_node(t, N_DICT);
	struct tmpl_chain items;

	if (!n)
		return NULL;
	tmpl_chain_init(&items);
	while (!t->rc && !tmpl_take(t, '}')) {
		tmpl_chain_add(&items, tmpl_parse_expr(t));
		tmpl_want(t, ':', "a colon");
		tmpl_chain_add(&items, tmpl_parse_expr(t));
		if (!tmpl_is(t, '}'))
			tmpl_want(t, ',', "a comma");
	}
	n->list = items.first;
	return n;
}

static struct tmpl_node *parse_parens(struct tmpl *t)
{
	struct tmpl_node *n;

	if (tmpl_take(t, ')'))
		return tmpl_node(t, N_TUPLE);
	n = tmpl_parse_tuple(t, true);
	tmpl_want(t, ')', "')'");
	return n;
}

static struct tmpl_node *parse_primary(struct tmpl *t)
{
	char buf[64];

	if (t->rc)
		return NULL;
	if (tmpl_is(t, T_NAME))
		return parse_name(t);
	if (tmpl_is(t, T_STRING))
		return parse_string(t);
	if (tmpl_is(t, T_NUMBER)) {
		struct tmpl_node *n = constant(t, tmpl_peek(t)->value);

		tmpl_next(t);
		return n;
	}
	if (tmpl_take(t, '('))
		return parse_parens(t);
	if (tmpl_take(t, '['))
		return parse_list(t);
	if (tmpl_take(t, '{'))
		return parse_dict(t);
	tmpl_fail(t, "a value is missing before %s", tmpl_token_text(tmpl_peek(t), buf));
	return NULL;
}

/* ------------------------------------------------- what stands behind a value */

static struct tmpl_node *parse_arg(struct tmpl *t)
{
	struct tmpl_node *n;

	if (tmpl_is(t, '*') || tmpl_is(t, T_POW)) {
		n = tmpl_node(t, tmpl_is(t, '*') ? N_SPREAD : N_SPREAD_DICT);
		tmpl_next(t);
	} else if (tmpl_is(t, T_NAME) && t->tokens[t->at + 1].type == '=') {
		n = tmpl_node(t, N_KEYWORD);
		if (n)
			n->value = tmpl_peek(t)->value;
		tmpl_next(t);
		tmpl_next(t);
	} else {
		return tmpl_parse_expr(t);
	}
	if (n)
		n->a = tmpl_parse_expr(t);
	return n;
}

void tmpl_parse_args(struct tmpl *t, struct tmpl_chain *c)
{
	while (!t->rc && !tmpl_take(t, ')')) {
		tmpl_chain_add(c, parse_arg(t));
		if (!tmpl_is(t, ')'))
			tmpl_want(t, ',', "a comma");
	}
}

static struct tmpl_node *parse_call(struct tmpl *t, struct tmpl_node *on)
{
	struct tmpl_node *n = tmpl_node(t, N_CALL);
	struct tmpl_chain args;

	if (!n)
		return NULL;
	tmpl_chain_init(&args);
	tmpl_parse_args(t, &args);
	n->a = on;
	n->list = args.first;
	return n;
}

/* a.b, or a.0 */
struct tmpl_node *tmpl_parse_attr(struct tmpl *t, struct tmpl_node *on)
{
	struct tmpl_node *n = tmpl_node(t, N_ATTR);

	if (!n)
		return NULL;
	n->a = on;
	if (tmpl_is(t, T_NUMBER)) {
		n->type = N_INDEX;
		n->b = parse_primary(t);
		return n;
	}
	n->value = tmpl_peek(t)->value;
	tmpl_want(t, T_NAME, "a name");
	return n;
}

static struct tmpl_node *slice_part(struct tmpl *t)
{
	return tmpl_is(t, ':') || tmpl_is(t, ']') ? tmpl_node(t, N_NOTHING) : tmpl_parse_expr(t);
}

/* Behind "[": an index, or from:to:step */
static struct tmpl_node *parse_index(struct tmpl *t, struct tmpl_node *on)
{
	struct tmpl_node *n = tmpl_node(t, N_INDEX), *first;
	struct tmpl_chain parts;

	if (!n)
		return NULL;
	n->a = on;
	first = tmpl_is(t, ':') ? tmpl_node(t, N_NOTHING) : tmpl_parse_tuple(t, true);
	if (tmpl_is(t, ':')) {
		n->type = N_SLICE;
		tmpl_chain_init(&parts);
		tmpl_chain_add(&parts, first);
		while (tmpl_take(t, ':'))
			tmpl_chain_add(&parts, slice_part(t));
		n->list = parts.first;
	} else {
		n->b = first;
	}
	tmpl_want(t, ']', "']'");
	return n;
}

static struct tmpl_node *parse_postfix(struct tmpl *t, struct tmpl_node *n)
{
	while (n && !t->rc) {
		if (tmpl_take(t, '.'))
			n = tmpl_parse_attr(t, n);
		else if (tmpl_take(t, '['))
			n = parse_index(t, n);
		else if (tmpl_take(t, '('))
			n = parse_call(t, n);
		else
			return n;
	}
	return n;
}

static struct tmpl_node *parse_filter(struct tmpl *t, struct tmpl_node *on)
{
	struct tmpl_node *n = tmpl_node(t, N_FILTER);
	struct tmpl_chain args;

	if (!n)
		return NULL;
	n->a = on;
	n->value = tmpl_peek(t)->value;
	if (!tmpl_want(t, T_NAME, "a filter's name"))
		return NULL;
	n->fn = tmpl_find_filter(n->value.s, n->value.n);
	tmpl_chain_init(&args);
	if (tmpl_take(t, '('))
		tmpl_parse_args(t, &args);
	n->list = args.first;
	return n;
}

/* May what comes be the argument of a test without brackets? */
static bool is_test_arg(const struct tmpl *t)
{
	static const char *const no[] = { "else", "or", "and", "is", "in", "not", "if" };

	if (tmpl_is(t, T_NAME)) {
		for (size_t i = 0; i < ARRAY_SIZE(no); i++)
			if (tmpl_is_name(t, no[i]))
				return false;
		return true;
	}
	return tmpl_is(t, T_STRING) || tmpl_is(t, T_NUMBER) || tmpl_is(t, '[') || tmpl_is(t, '{');
}

struct tmpl_node *tmpl_negated(struct tmpl *t, struct tmpl_node *what)
{
	struct tmpl_node *n = tmpl_node(t, N_NOT);

	if (n)
		n->a = what;
	return n;
}

static struct tmpl_node *parse_test(struct tmpl *t, struct tmpl_node *on)
{
	bool negate = tmpl_take_name(t, "not");
	struct tmpl_node *n = tmpl_node(t, N_TEST);
	struct tmpl_chain args;

	if (!n)
		return NULL;
	n->a = on;
	n->value = tmpl_peek(t)->value;
	if (!tmpl_want(t, T_NAME, "a test's name"))
		return NULL;
	n->fn = tmpl_find_fn(tmpl_tests, n->value.s, n->value.n);
	tmpl_chain_init(&args);
	if (tmpl_take(t, '('))
		tmpl_parse_args(t, &args);
	else if (is_test_arg(t))
		tmpl_chain_add(&args, parse_postfix(t, parse_primary(t)));
	n->list = args.first;
	return negate ? tmpl_negated(t, n) : n;
}

struct tmpl_node *tmpl_parse_filters(struct tmpl *t, struct tmpl_node *n)
{
	while (n && !t->rc) {
		if (tmpl_take(t, '|'))
			n = parse_filter(t, n);
		else if (tmpl_take_name(t, "is"))
			n = parse_test(t, n);
		else if (tmpl_take(t, '('))
			n = parse_call(t, n);
		else
			return n;
	}
	return n;
}

struct tmpl_node *tmpl_parse_unary(struct tmpl *t, bool filters)
{
	struct tmpl_node *n = NULL;

	if (tmpl_enter(t, TMPL_DEPTH)) {
		if (tmpl_is(t, '-') || tmpl_is(t, '+')) {
			n = tmpl_node(t, tmpl_is(t, '-') ? N_NEG : N_POS);
			tmpl_next(t);
			if (n)
				n->a = tmpl_parse_unary(t, false);
		} else {
			n = parse_primary(t);
		}
		n = parse_postfix(t, n);
		if (filters)
			n = tmpl_parse_filters(t, n);
	}
	tmpl_leave(t);
	return n;
}
