/* SPDX-License-Identifier: MIT */
/*
 * tmpl_eval: what an expression's value is.
 */
#include "chat/tmpl.h"

/* ----------------------------------------------------------------- names */

/* What of @name is in a scope; going through it is work too. */
static struct tmpl_var *find_var(struct tmpl *t, const struct tmpl_scope *s, const char *name)
{
	struct tmpl_var *v = s->vars;
	size_t n = 0;

	for (; v && v->name != name; v = v->next)
		n++;
	return tmpl_work(t, n * sizeof(v)) ? v : NULL;
}

const struct tmpl_value *tmpl_lookup(struct tmpl *t, const char *name)
{
	for (const struct tmpl_scope *s = t->scope; s; s = s->parent) {
		const struct tmpl_var *v = find_var(t, s, name);

		if (v)
			return &v->value;
	}
	return NULL;
}

void tmpl_bind(struct tmpl *t, struct tmpl_scope *s, const char *name, struct tmpl_value value)
{
	struct tmpl_var *v = find_var(t, s, name);

	if (v) {
		v->value = value;
		return;
	}
	v = tmpl_get(t, 1, sizeof(*v));
	if (!v)
		return;
	v->name = name;
	v->value = value;
	v->next = s->vars;
	s->vars = v;
}

static struct tmpl_value eval_name(struct tmpl *t, const struct tmpl_node *n)
{
	const struct tmpl_value *v = tmpl_lookup(t, n->value.s);
	const struct tmpl_fn *fn;
	struct tmpl_func *f;

	if (v)
		return *v;
	fn = tmpl_find_fn(tmpl_globals, n->value.s, n->value.n);
	if (!fn)
		return tmpl_undefined(n->value.s, n->value.n);
	f = tmpl_get(t, 1, sizeof(*f));
	if (!f)
		return tmpl_undefined("", 0);
	f->fn = fn;
	return (struct tmpl_value){ .kind = TMPL_FUNC, .func = f };
}

/* -------------------------------------------------------------- containers */

static struct tmpl_value eval_list(struct tmpl *t, const struct tmpl_node *n,
				   enum tmpl_list_kind kind)
{
	struct tmpl_value list = tmpl_new_list(t, kind, 0);

	for (const struct tmpl_node *i = n->list; i && !t->rc; i = i->next)
		tmpl_push(t, list, tmpl_eval(t, i));
	return list;
}

static struct tmpl_value eval_dict(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_value dict = tmpl_new_dict(t, TMPL_DICT);

	for (const struct tmpl_node *i = n->list; i && i->next && !t->rc; i = i->next->next) {
		struct tmpl_value key = tmpl_eval(t, i), v = tmpl_eval(t, i->next);

		tmpl_put(t, dict.dict, key, v);
	}
	return dict;
}

static struct tmpl_value eval_slice(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_value on = tmpl_eval(t, n->a), part[3];
	const struct tmpl_node *p = n->list;

	for (int i = 0; i < 3; i++, p = p ? p->next : NULL)
		part[i] = p && p->type != N_NOTHING ? tmpl_eval(t, p) : tmpl_none();
	t->line = n->line;
	return t->rc ? on : tmpl_slice(t, on, &part[0], &part[1], &part[2]);
}

/* ------------------------------------------------------------------ calls */

static void spread(struct tmpl *t, struct tmpl_value list, struct tmpl_value v)
{
	struct tmpl_value items = tmpl_items(t, v);

	for (uint32_t i = 0; !t->rc && i < items.list->n; i++)
		tmpl_push(t, list, items.list->v[i]);
}

static void spread_dict(struct tmpl *t, struct tmpl_dict *named, struct tmpl_value v)
{
	if (v.kind != TMPL_DICT) {
		tmpl_fail(t, "** wants a dict, not a %s", tmpl_type_name(v));
		return;
	}
	for (uint32_t i = 0; !t->rc && i < v.dict->n; i++) {
		if (v.dict->keys[i].kind == TMPL_STR)
			tmpl_put(t, named, v.dict->keys[i], v.dict->values[i]);
		else
			tmpl_fail(t, "an argument's name has to be a string");
	}
}

/* The arguments of a call, filter or test. */
static struct tmpl_args eval_args(struct tmpl *t, const struct tmpl_node *list)
{
	struct tmpl_value v, named = { 0 };
	struct tmpl_args args = { 0 };

	if (!list)
		return args;
	v = tmpl_new_list(t, TMPL_IS_LIST, 0);
	for (const struct tmpl_node *i = list; i && !t->rc; i = i->next) {
		if ((i->type == N_KEYWORD || i->type == N_SPREAD_DICT) && !named.dict)
			named = tmpl_new_dict(t, TMPL_DICT);
		if (t->rc)
			break;
		if (i->type == N_KEYWORD)
			tmpl_put(t, named.dict, i->value, tmpl_eval(t, i->a));
		else if (i->type == N_SPREAD)
			spread(t, v, tmpl_eval(t, i->a));
		else if (i->type == N_SPREAD_DICT)
			spread_dict(t, named.dict, tmpl_eval(t, i->a));
		else
			tmpl_push(t, v, tmpl_eval(t, i));
	}
	if (t->rc)
		return args;
	return (struct tmpl_args){ v.list->v, v.list->n, named.dict };
}

static struct tmpl_value eval_call(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_value callee = tmpl_eval(t, n->a);
	struct tmpl_args args = eval_args(t, n->list);

	t->line = n->line;
	return t->rc ? callee : tmpl_call_value(t, callee, &args);
}

/* One that nobody knows fails where it is used, and not where it stands: so does Jinja's. */
static struct tmpl_value eval_filter(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_value on = tmpl_eval(t, n->a);
	struct tmpl_args args = eval_args(t, n->list);

	t->line = n->line;
	if (!n->fn)
		return tmpl_fail_unknown(t, "there is no %s '%.*s'",
					 n->type == N_FILTER ? "filter" : "test",
					 (int)MIN(n->value.n, 60u), n->value.s);
	return t->rc ? on : tmpl_call_fn(t, n->fn, on, &args);
}

/* --------------------------------------------------------------- operators */

static bool compare(struct tmpl *t, int op, struct tmpl_value a, struct tmpl_value b)
{
	switch (op) {
	case T_EQ:
		return tmpl_equal(t, a, b);
	case T_NE:
		return !tmpl_equal(t, a, b);
	case T_IN:
		return tmpl_contains(t, b, a);
	case T_NOT_IN:
		return !tmpl_contains(t, b, a);
	case '<':
		return tmpl_order(t, a, b, false) < 0;
	case '>':
		return tmpl_order(t, a, b, false) > 0;
	case T_LE:
		return tmpl_order(t, a, b, false) <= 0;
	default:
		return tmpl_order(t, a, b, false) >= 0;
	}
}

/* a < b < c: each with its neighbour, until one is false */
static struct tmpl_value eval_compare(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_value a = tmpl_eval(t, n->a), b;

	for (const struct tmpl_node *i = n->list; i && !t->rc; i = i->next) {
		b = tmpl_eval(t, i->a);
		t->line = i->line;
		if (t->rc || !compare(t, i->op, a, b))
			return tmpl_bool(false);
		a = b;
	}
	return tmpl_bool(true);
}

static struct tmpl_value eval_concat(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_text out = { 0 };

	for (const struct tmpl_node *i = n->list; i && !t->rc; i = i->next)
		tmpl_add_str(t, &out, tmpl_eval(t, i));
	return tmpl_text_value(&out);
}

static struct tmpl_value eval_sign(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_value v = tmpl_eval(t, n->a);

	t->line = n->line;
	if (t->rc)
		return v;
	if (!tmpl_is_number(v))
		return tmpl_fail(t, "a %s has no sign", tmpl_type_name(v));
	return n->type == N_POS ? v : tmpl_arith(t, N_MUL, v, tmpl_int(-1));
}

static struct tmpl_value eval_arith(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_value a = tmpl_eval(t, n->a), b = tmpl_eval(t, n->b);

	t->line = n->line;
	return t->rc ? a : tmpl_arith(t, n->type, a, b);
}

static struct tmpl_value eval_attr(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_value on = tmpl_eval(t, n->a), key = n->value;

	if (n->type == N_INDEX)
		key = tmpl_eval(t, n->b);
	t->line = n->line;
	if (t->rc)
		return on;
	return n->type == N_ATTR ? tmpl_attr(t, on, key) : tmpl_index(t, on, key);
}

static struct tmpl_value eval_logic(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_value a = tmpl_eval(t, n->a);

	if (n->type == N_NOT)
		return tmpl_bool(!tmpl_truth(a));
	if (t->rc || tmpl_truth(a) == (n->type == N_OR))
		return a;
	return tmpl_eval(t, n->b);
}

static struct tmpl_value eval_choose(struct tmpl *t, const struct tmpl_node *n)
{
	if (tmpl_truth(tmpl_eval(t, n->b)))
		return tmpl_eval(t, n->a);
	return n->c ? tmpl_eval(t, n->c) : tmpl_undefined("", 0);
}

static struct tmpl_value eval(struct tmpl *t, const struct tmpl_node *n)
{
	t->line = n->line;
	switch (n->type) {
	case N_CONST:
		return n->value;
	case N_NAME:
		return eval_name(t, n);
	case N_TUPLE:
		return eval_list(t, n, TMPL_IS_TUPLE);
	case N_LIST:
		return eval_list(t, n, TMPL_IS_LIST);
	case N_DICT:
		return eval_dict(t, n);
	case N_ATTR:
	case N_INDEX:
		return eval_attr(t, n);
	case N_SLICE:
		return eval_slice(t, n);
	case N_CALL:
		return eval_call(t, n);
	case N_FILTER:
	case N_TEST:
		return eval_filter(t, n);
	case N_BLOCK_TEXT:
		return t->block_text;
	case N_NOT:
	case N_AND:
	case N_OR:
		return eval_logic(t, n);
	case N_NEG:
	case N_POS:
		return eval_sign(t, n);
	case N_CHOOSE:
		return eval_choose(t, n);
	case N_COMPARE:
		return eval_compare(t, n);
	case N_CONCAT:
		return eval_concat(t, n);
	case N_ADD:
	case N_SUB:
	case N_MUL:
	case N_DIV:
	case N_FLOORDIV:
	case N_MOD:
	case N_POW:
		return eval_arith(t, n);
	default:
		return tmpl_fail(t, "this is no expression");
	}
}

struct tmpl_value tmpl_eval(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_value v = tmpl_undefined("", 0);

	if (tmpl_enter(t, TMPL_RUN_DEPTH) && tmpl_work(t, 0))
		v = eval(t, n);
	tmpl_leave(t);
	return v;
}
