/* SPDX-License-Identifier: MIT */
/*
 * tmpl_value: what values are, and what they are to each other: kinds, truth, equality, order.
 */
#include "chat/tmpl.h"

const char *tmpl_type_name(struct tmpl_value v)
{
	static const char *const names[] = { "Undefined", "NoneType", "bool",  "int",
					     "float",	  "str",      "list",  "dict",
					     "namespace", "loop",     "macro", "function" };
	static const char *const lists[] = { "list", "tuple", "generator" };

	return v.kind == TMPL_LIST ? lists[v.list_kind] : names[v.kind];
}

bool tmpl_truth(struct tmpl_value v)
{
	switch ((enum tmpl_kind)v.kind) {
	case TMPL_UNDEFINED:
	case TMPL_NONE:
		return false;
	case TMPL_BOOL:
		return v.b;
	case TMPL_INT:
		return v.i != 0;
	case TMPL_FLOAT:
		return v.f != 0;
	case TMPL_STR:
		return v.n != 0;
	case TMPL_LIST:
		return v.list->n != 0 || v.list_kind == TMPL_IS_GENERATOR;
	case TMPL_DICT:
		return v.dict->n != 0;
	default:
		return true;
	}
}

double tmpl_number(struct tmpl_value v)
{
	return v.kind == TMPL_FLOAT ? v.f : v.kind == TMPL_INT ? (double)v.i : v.b;
}

static bool equal_lists(struct tmpl *t, struct tmpl_value a, struct tmpl_value b)
{
	if (a.list_kind != b.list_kind || a.list->n != b.list->n)
		return false;
	for (uint32_t i = 0; i < a.list->n; i++)
		if (!tmpl_equal(t, a.list->v[i], b.list->v[i]))
			return false;
	return true;
}

static bool equal_dicts(struct tmpl *t, const struct tmpl_dict *a, const struct tmpl_dict *b)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++) {
		const struct tmpl_value *v = tmpl_dict_get(t, b, a->keys[i]);

		if (!v || !tmpl_equal(t, a->values[i], *v))
			return false;
	}
	return true;
}

static bool equal(struct tmpl *t, struct tmpl_value a, struct tmpl_value b)
{
	if (tmpl_is_number(a) && tmpl_is_number(b)) {
		if (a.kind != TMPL_FLOAT && b.kind != TMPL_FLOAT)
			return (a.kind == TMPL_INT ? a.i : a.b) == (b.kind == TMPL_INT ? b.i : b.b);
		return tmpl_number(a) == tmpl_number(b);
	}
	if (a.kind != b.kind)
		return false;
	switch ((enum tmpl_kind)a.kind) {
	case TMPL_STR:
		return a.n == b.n && tmpl_work(t, a.n) && !memcmp(a.s, b.s, a.n);
	case TMPL_LIST:
		return a.list == b.list || equal_lists(t, a, b);
	case TMPL_DICT:
		return a.dict == b.dict || equal_dicts(t, a.dict, b.dict);
	case TMPL_UNDEFINED:
	case TMPL_NONE:
		return true;
	default:
		return a.dict == b.dict;
	}
}

bool tmpl_equal(struct tmpl *t, struct tmpl_value a, struct tmpl_value b)
{
	/* lists may hold each other many times over: each comparison counts */
	bool same = tmpl_enter(t, TMPL_RUN_DEPTH) && tmpl_work(t, 0) && equal(t, a, b);

	tmpl_leave(t);
	return same;
}

static int order_strings(struct tmpl *t, struct tmpl_value a, struct tmpl_value b, bool fold)
{
	int c;

	if (fold) {
		a = tmpl_recase(t, a, TMPL_LOWER);
		b = tmpl_recase(t, b, TMPL_LOWER);
	}
	/* bytes of UTF-8 are in the order of the characters */
	c = tmpl_work(t, MIN(a.n, b.n)) ? memcmp(a.s, b.s, MIN(a.n, b.n)) : 0;
	return c ? c : a.n < b.n ? -1 : a.n > b.n;
}

static int order_lists(struct tmpl *t, struct tmpl_value a, struct tmpl_value b, bool fold)
{
	uint32_t n = MIN(a.list->n, b.list->n);

	for (uint32_t i = 0; i < n; i++)
		if (!tmpl_equal(t, a.list->v[i], b.list->v[i]))
			return tmpl_order(t, a.list->v[i], b.list->v[i], fold);
	return a.list->n < b.list->n ? -1 : a.list->n > b.list->n;
}

int tmpl_order(struct tmpl *t, struct tmpl_value a, struct tmpl_value b, bool fold)
{
	int c = 0;

	if (tmpl_enter(t, TMPL_RUN_DEPTH) && tmpl_work(t, 0)) {
		if (tmpl_is_number(a) && tmpl_is_number(b))
			c = a.kind != TMPL_FLOAT && b.kind != TMPL_FLOAT ?
				    ((a.kind == TMPL_INT ? a.i : a.b) >
				     (b.kind == TMPL_INT ? b.i : b.b)) -
					    ((a.kind == TMPL_INT ? a.i : a.b) <
					     (b.kind == TMPL_INT ? b.i : b.b)) :
				    (tmpl_number(a) > tmpl_number(b)) -
					    (tmpl_number(a) < tmpl_number(b));
		else if (a.kind == TMPL_STR && b.kind == TMPL_STR)
			c = order_strings(t, a, b, fold);
		else if (a.kind == TMPL_LIST && b.kind == TMPL_LIST && a.list_kind == b.list_kind)
			c = order_lists(t, a, b, fold);
		else
			tmpl_fail(t, "a %s and a %s have no order", tmpl_type_name(a),
				  tmpl_type_name(b));
	}
	tmpl_leave(t);
	return c;
}

bool tmpl_contains(struct tmpl *t, struct tmpl_value in, struct tmpl_value what)
{
	if (in.kind == TMPL_STR && what.kind == TMPL_STR)
		return tmpl_find(t, in, what, 0) != SIZE_MAX;
	if (in.kind == TMPL_DICT)
		return tmpl_dict_get(t, in.dict, what) != NULL;
	if (in.kind == TMPL_LIST) {
		for (uint32_t i = 0; i < in.list->n; i++)
			if (tmpl_equal(t, in.list->v[i], what))
				return true;
		return false;
	}
	if (in.kind != TMPL_UNDEFINED)
		tmpl_fail(t, "there is nothing 'in' a %s that could be a %s", tmpl_type_name(in),
			  tmpl_type_name(what));
	return false;
}

int64_t tmpl_arg_int(struct tmpl *t, const struct tmpl_value *v, int64_t missing)
{
	if (!v || v->kind == TMPL_NONE)
		return missing;
	if (v->kind == TMPL_INT)
		return v->i;
	if (v->kind == TMPL_BOOL)
		return v->b;
	tmpl_fail(t, "a %s stands where a whole number should", tmpl_type_name(*v));
	return missing;
}

bool tmpl_arg_bool(const struct tmpl_value *v, bool missing)
{
	return v ? tmpl_truth(*v) : missing;
}
