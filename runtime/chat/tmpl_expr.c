/* SPDX-License-Identifier: MIT */
/*
 * tmpl_expr: expressions, from the loosest to the tightest: a if b else c, or, and, not,
 * comparisons, + -, ~, * / // %, **, signs, filters and tests, and what stands behind a value.
 */
#include "chat/tmpl.h"

static struct tmpl_node *parse_or(struct tmpl *t);

/* ---------------------------------------------------------------- tokens */

struct tmpl_node *tmpl_node(struct tmpl *t, enum tmpl_node_type type)
{
	struct tmpl_node *n = tmpl_get(t, 1, sizeof(*n));

	if (!n)
		return NULL;
	n->type = type;
	n->line = tmpl_peek(t)->line;
	return n;
}

const struct tmpl_token *tmpl_peek(const struct tmpl *t)
{
	return &t->tokens[t->at];
}

bool tmpl_is(const struct tmpl *t, int type)
{
	return tmpl_peek(t)->type == type;
}

bool tmpl_is_name(const struct tmpl *t, const char *name)
{
	return tmpl_is(t, T_NAME) && tmpl_str_is(tmpl_peek(t)->value, name);
}

static void next(struct tmpl *t)
{
	if (t->at + 1 < t->n_tokens)
		t->at++;
	t->line = tmpl_peek(t)->line;
}

bool tmpl_take(struct tmpl *t, int type)
{
	if (t->rc || !tmpl_is(t, type))
		return false;
	next(t);
	return true;
}

bool tmpl_take_name(struct tmpl *t, const char *name)
{
	if (t->rc || !tmpl_is_name(t, name))
		return false;
	next(t);
	return true;
}

const char *tmpl_token_text(const struct tmpl_token *k, char buf[64])
{
	static const char *const names[] = {
		"text", "{{", "}}", "{%", "%}", NULL, "a string", "a number",	       "==",
		"!=",	"<=", ">=", "//", "**", "in", "not in",	  "the template's end"
	};

	if (k->type == T_NAME)
		snprintf(buf, 64, "'%.*s'", (int)MIN(k->value.n, 40u), k->value.s);
	else if (k->type < 256)
		snprintf(buf, 64, "'%c'", k->type);
	else
		snprintf(buf, 64, "%s", names[k->type - 256]);
	return buf;
}

bool tmpl_want(struct tmpl *t, int type, const char *what)
{
	char buf[64];

	if (tmpl_take(t, type))
		return true;
	tmpl_fail(t, "%s is missing before %s", what, tmpl_token_text(tmpl_peek(t), buf));
	return false;
}

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

/* --------------------------------------------------------------- operands */

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
	next(t);
	return n;
}

/* Strings that stand side by side are one. */
static struct tmpl_node *parse_string(struct tmpl *t)
{
	struct tmpl_node *n = constant(t, tmpl_peek(t)->value);
	struct tmpl_text text = { 0 };

	next(t);
	if (!n || !tmpl_is(t, T_STRING))
		return n;
	tmpl_add(t, &text, n->value.s, n->value.n);
	while (tmpl_is(t, T_STRING) && !t->rc) {
		tmpl_add(t, &text, tmpl_peek(t)->value.s, tmpl_peek(t)->value.n);
		next(t);
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

		next(t);
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
		next(t);
	} else if (tmpl_is(t, T_NAME) && t->tokens[t->at + 1].type == '=') {
		n = tmpl_node(t, N_KEYWORD);
		if (n)
			n->value = tmpl_peek(t)->value;
		next(t);
		next(t);
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
static struct tmpl_node *parse_attr(struct tmpl *t, struct tmpl_node *on)
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
			n = parse_attr(t, n);
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

static struct tmpl_node *negated(struct tmpl *t, struct tmpl_node *what)
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
	return negate ? negated(t, n) : n;
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

/* -------------------------------------------------------------- operators */

struct tmpl_node *tmpl_parse_unary(struct tmpl *t, bool filters)
{
	struct tmpl_node *n = NULL;

	if (tmpl_enter(t, TMPL_DEPTH)) {
		if (tmpl_is(t, '-') || tmpl_is(t, '+')) {
			n = tmpl_node(t, tmpl_is(t, '-') ? N_NEG : N_POS);
			next(t);
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
		next(t);
		return type;
	}
	if (tmpl_take_name(t, "in"))
		return T_IN;
	if (!tmpl_is_name(t, "not") || t->tokens[t->at + 1].type != T_NAME ||
	    !tmpl_str_is(t->tokens[t->at + 1].value, "in"))
		return 0;
	next(t);
	next(t);
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
		n = negated(t, parse_not(t));
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
	return attr && tmpl_take(t, '.') ? parse_attr(t, n) : n;
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
