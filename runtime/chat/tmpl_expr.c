/* SPDX-License-Identifier: MIT */
/*
 * tmpl_expr: expressions, from the loosest to the tightest: a if b else c, or, and, not,
 * comparisons, + -, ~, * / // %, **; and what a value can be assigned to. Operands are in
 * tmpl_operand.c.
 */
#include "chat/tmpl.h"

/* A node of @type whose operands are @a and what is parsed next. */
static struct tmpl_node *binary(struct tmpl *t, enum tmpl_node_type type, struct tmpl_node *a,
				struct tmpl_node *(*operand)(struct tmpl *))
{
	struct tmpl_node *n = tmpl_node(t, type);

	if (!n)
		return NULL;
	n->a = a;
	n->b = operand(t);
	return n;
}

static struct tmpl_node *parse_signed(struct tmpl *t)
{
	return tmpl_parse_unary(t, true);
}

static struct tmpl_node *parse_pow(struct tmpl *t)
{
	struct tmpl_node *n = parse_signed(t);

	while (tmpl_take(t, T_POW))
		n = binary(t, N_POW, n, parse_signed);
	return n;
}

static struct tmpl_node *parse_product(struct tmpl *t)
{
	struct tmpl_node *n = parse_pow(t);

	for (;;) {
		if (tmpl_take(t, '*'))
			n = binary(t, N_MUL, n, parse_pow);
		else if (tmpl_take(t, '/'))
			n = binary(t, N_DIV, n, parse_pow);
		else if (tmpl_take(t, T_FLOORDIV))
			n = binary(t, N_FLOORDIV, n, parse_pow);
		else if (tmpl_take(t, '%'))
			n = binary(t, N_MOD, n, parse_pow);
		else
			return n;
	}
}

static struct tmpl_node *parse_concat(struct tmpl *t)
{
	struct tmpl_node *n = parse_product(t), *all;
	struct tmpl_chain parts;

	if (!tmpl_is(t, '~') || t->rc)
		return n;
	all = tmpl_node(t, N_CONCAT);
	if (!all)
		return NULL;
	tmpl_chain_init(&parts);
	tmpl_chain_add(&parts, n);
	while (tmpl_take(t, '~'))
		tmpl_chain_add(&parts, parse_product(t));
	all->list = parts.first;
	return all;
}

static struct tmpl_node *parse_sum(struct tmpl *t)
{
	struct tmpl_node *n = parse_concat(t);

	for (;;) {
		if (tmpl_take(t, '+'))
			n = binary(t, N_ADD, n, parse_concat);
		else if (tmpl_take(t, '-'))
			n = binary(t, N_SUB, n, parse_concat);
		else
			return n;
	}
}

/* The comparison at hand, taken; 0: there is none. */
static int take_comparison(struct tmpl *t)
{
	int type = tmpl_peek(t)->type;

	if (t->rc)
		return 0;
	if (type == T_EQ || type == T_NE || type == T_LE || type == T_GE || type == '<' ||
	    type == '>') {
		tmpl_next(t);
		return type;
	}
	if (tmpl_take_name(t, "in"))
		return T_IN;
	if (!tmpl_is_name(t, "not") || t->tokens[t->at + 1].type != T_NAME ||
	    !tmpl_str_is(t->tokens[t->at + 1].value, "in"))
		return 0;
	tmpl_next(t);
	tmpl_next(t);
	return T_NOT_IN;
}

static struct tmpl_node *parse_compare(struct tmpl *t)
{
	struct tmpl_node *n = parse_sum(t), *all = NULL, *operand;
	struct tmpl_chain operands;
	int op;

	tmpl_chain_init(&operands);
	while ((op = take_comparison(t))) {
		if (!all)
			all = tmpl_node(t, N_COMPARE);
		operand = tmpl_node(t, N_OPERAND);
		if (!all || !operand)
			return NULL;
		operand->op = op;
		operand->a = parse_sum(t);
		tmpl_chain_add(&operands, operand);
	}
	if (!all)
		return n;
	all->a = n;
	all->list = operands.first;
	return all;
}

static struct tmpl_node *parse_not(struct tmpl *t)
{
	struct tmpl_node *n = NULL;

	if (!tmpl_is_name(t, "not"))
		return parse_compare(t);
	if (tmpl_enter(t, TMPL_DEPTH) && tmpl_take_name(t, "not"))
		n = tmpl_negated(t, parse_not(t));
	tmpl_leave(t);
	return n;
}

static struct tmpl_node *parse_and(struct tmpl *t)
{
	struct tmpl_node *n = parse_not(t);

	while (tmpl_take_name(t, "and"))
		n = binary(t, N_AND, n, parse_not);
	return n;
}

static struct tmpl_node *parse_or(struct tmpl *t)
{
	struct tmpl_node *n = parse_and(t);

	while (tmpl_take_name(t, "or"))
		n = binary(t, N_OR, n, parse_and);
	return n;
}

struct tmpl_node *tmpl_parse_expr(struct tmpl *t)
{
	struct tmpl_node *n = NULL, *choose;

	if (!tmpl_enter(t, TMPL_DEPTH))
		goto out;
	n = parse_or(t);
	while (tmpl_take_name(t, "if")) {
		choose = tmpl_node(t, N_CHOOSE);
		if (!choose)
			break;
		choose->a = n;
		choose->b = parse_or(t);
		if (tmpl_take_name(t, "else"))
			choose->c = tmpl_parse_expr(t);
		n = choose;
	}
out:
	tmpl_leave(t);
	return n;
}

static bool ends_tuple(const struct tmpl *t)
{
	return tmpl_is(t, T_BLOCK_END) || tmpl_is(t, T_PRINT_END) || tmpl_is(t, ')') ||
	       tmpl_is(t, ']') || tmpl_is(t, '=') || tmpl_is_name(t, "in") || tmpl_is(t, T_END);
}

struct tmpl_node *tmpl_parse_tuple(struct tmpl *t, bool choice)
{
	struct tmpl_node *(*one)(struct tmpl *) = choice ? tmpl_parse_expr : parse_or;
	struct tmpl_node *n = one(t), *all;
	struct tmpl_chain items;

	if (!tmpl_is(t, ',') || t->rc)
		return n;
	all = tmpl_node(t, N_TUPLE);
	if (!all)
		return NULL;
	tmpl_chain_init(&items);
	tmpl_chain_add(&items, n);
	while (tmpl_take(t, ',') && !ends_tuple(t))
		tmpl_chain_add(&items, one(t));
	all->list = items.first;
	return all;
}

/* ----------------------------------------------------------------- targets */

static struct tmpl_node *parse_one_target(struct tmpl *t, bool attr)
{
	struct tmpl_node *n = tmpl_node(t, N_NAME);

	if (!n)
		return NULL;
	if (tmpl_take(t, '(')) {
		n = tmpl_parse_target(t, false);
		tmpl_want(t, ')', "')'");
		return n;
	}
	n->value = tmpl_peek(t)->value;
	if (!tmpl_want(t, T_NAME, "a name"))
		return NULL;
	return attr && tmpl_take(t, '.') ? tmpl_parse_attr(t, n) : n;
}

struct tmpl_node *tmpl_parse_target(struct tmpl *t, bool attr)
{
	struct tmpl_node *n = NULL, *all;
	struct tmpl_chain items;

	if (!tmpl_enter(t, TMPL_DEPTH))
		goto out;
	n = parse_one_target(t, attr);
	if (!tmpl_is(t, ',') || t->rc)
		goto out;
	all = tmpl_node(t, N_TUPLE);
	tmpl_chain_init(&items);
	tmpl_chain_add(&items, n);
	while (tmpl_take(t, ',') && !ends_tuple(t))
		tmpl_chain_add(&items, parse_one_target(t, false));
	if (all)
		all->list = items.first;
	n = all;
out:
	tmpl_leave(t);
	return n;
}
