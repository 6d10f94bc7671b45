/* SPDX-License-Identifier: MIT */
/*
 * tmpl_value: what values are to each other, and what they contain.
 */
#include <math.h>
#include "chat/tmpl.h"

/* ------------------------------------------------------------ containers */

struct tmpl_value tmpl_new_list(struct tmpl *t, enum tmpl_list_kind kind, uint32_t room)
{
	struct tmpl_list *l = tmpl_get(t, 1, sizeof(*l));

	if (!l)
		return tmpl_undefined("", 0);
	if (room)
		l->v = tmpl_get(t, room, sizeof(*l->v));
	l->room = l->v ? room : 0;
	return (struct tmpl_value){ .kind = TMPL_LIST, .list_kind = kind, .list = l };
}

struct tmpl_value tmpl_new_dict(struct tmpl *t, enum tmpl_kind kind)
{
	struct tmpl_dict *d = tmpl_get(t, 1, sizeof(*d));

	if (!d)
		return tmpl_undefined("", 0);
	return (struct tmpl_value){ .kind = kind, .dict = d };
}

/* @v [n] with room for one more: what was there moves to twice the room. */
static struct tmpl_value *grow(struct tmpl *t, struct tmpl_value *v, uint32_t n, uint32_t room)
{
	struct tmpl_value *more = tmpl_get(t, room, sizeof(*more));

	if (more && n)
		memcpy(more, v, n * sizeof(*v));
	return more;
}

void tmpl_push(struct tmpl *t, struct tmpl_value list, struct tmpl_value v)
{
	struct tmpl_list *l = list.list;

	if (list.kind != TMPL_LIST || !tmpl_work(t, sizeof(v)))
		return;
	if (l->n == l->room) {
		uint32_t room = l->room ? l->room * 2 : 4;
		struct tmpl_value *more = grow(t, l->v, l->n, room);

		if (!more)
			return;
		l->v = more;
		l->room = room;
	}
	l->v[l->n++] = v;
}

static bool can_be_key(struct tmpl *t, struct tmpl_value key)
{
	if (key.kind <= TMPL_STR || (key.kind == TMPL_LIST && key.list_kind == TMPL_IS_TUPLE))
		return true;
	tmpl_fail(t, "a %s cannot be a key", tmpl_type_name(key));
	return false;
}

static struct tmpl_value *find_key(struct tmpl *t, const struct tmpl_dict *d, struct tmpl_value key)
{
	if (!tmpl_work(t, d->n * 8))
		return NULL;
	for (uint32_t i = 0; i < d->n; i++)
		if (tmpl_equal(t, d->keys[i], key))
			return &d->values[i];
	return NULL;
}

const struct tmpl_value *tmpl_dict_get(struct tmpl *t, const struct tmpl_dict *d,
				       struct tmpl_value key)
{
	return find_key(t, d, key);
}

void tmpl_put(struct tmpl *t, struct tmpl_dict *d, struct tmpl_value key, struct tmpl_value v)
{
	struct tmpl_value *old;

	if (t->rc || !can_be_key(t, key))
		return;
	old = find_key(t, d, key);
	if (old) {
		*old = v;
		return;
	}
	if (d->n == d->room) {
		uint32_t room = d->room ? d->room * 2 : 8;
		struct tmpl_value *keys = grow(t, d->keys, d->n, room);
		struct tmpl_value *values = grow(t, d->values, d->n, room);

		if (!keys || !values)
			return;
		d->keys = keys;
		d->values = values;
		d->room = room;
	}
	d->keys[d->n] = key;
	d->values[d->n++] = v;
}

/* ------------------------------------------------------------- from JSON */

static struct tmpl_value copy_str(struct tmpl *t, const char *s, size_t n)
{
	char *p = tmpl_get(t, n, 1);

	if (p)
		memcpy(p, s, n);
	return tmpl_str(p ? p : "", p ? n : 0);
}

static struct tmpl_value copy_array(struct tmpl *t, const json_t *j)
{
	struct tmpl_value v = tmpl_new_list(t, TMPL_IS_LIST, (uint32_t)json_array_size(j));

	for (size_t i = 0; i < json_array_size(j) && !t->rc; i++)
		tmpl_push(t, v, tmpl_from_json(t, json_array_get(j, i)));
	return v;
}

static struct tmpl_value copy_object(struct tmpl *t, const json_t *j)
{
	struct tmpl_value v = tmpl_new_dict(t, TMPL_DICT);
	const char *key;
	json_t *x;

	json_object_foreach((json_t *)j, key, x) {
		if (t->rc)
			break;
		tmpl_put(t, v.dict, copy_str(t, key, strlen(key)), tmpl_from_json(t, x));
	}
	return v;
}

struct tmpl_value tmpl_from_json(struct tmpl *t, const json_t *j)
{
	struct tmpl_value v = tmpl_none();

	if (!tmpl_enter(t, TMPL_DEPTH)) {
		tmpl_leave(t);
		return v;
	}
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		v = copy_object(t, j);
		break;
	case JSON_ARRAY:
		v = copy_array(t, j);
		break;
	case JSON_STRING:
		v = copy_str(t, json_string_value(j), json_string_length(j));
		break;
	case JSON_INTEGER:
		v = tmpl_int(json_integer_value(j));
		break;
	case JSON_REAL:
		v = tmpl_float(json_real_value(j));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		v = tmpl_bool(json_is_true(j));
		break;
	case JSON_NULL:
		break;
	}
	tmpl_leave(t);
	return v;
}

/* ------------------------------------------------------------- comparing */

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
		const struct tmpl_value *v = find_key(t, b, a->keys[i]);

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
		return find_key(t, in.dict, what) != NULL;
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

/* -------------------------------------------------------------- looking in */

struct tmpl_value tmpl_items(struct tmpl *t, struct tmpl_value v)
{
	struct tmpl_value list;

	if (v.kind == TMPL_LIST)
		return v;
	list = tmpl_new_list(t, TMPL_IS_LIST, v.kind == TMPL_DICT ? v.dict->n : 0);
	if (v.kind == TMPL_STR) {
		for (size_t i = 0; i < v.n && !t->rc; i += tmpl_char(v.s + i))
			tmpl_push(t, list, tmpl_str(v.s + i, tmpl_char(v.s + i)));
	} else if (v.kind == TMPL_DICT) {
		for (uint32_t i = 0; i < v.dict->n; i++)
			tmpl_push(t, list, v.dict->keys[i]);
	} else if (v.kind != TMPL_UNDEFINED) {
		tmpl_fail(t, "a %s has no items to go through", tmpl_type_name(v));
	}
	return list;
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

/* 0 .. n, or -1: outside */
static int64_t place(int64_t i, int64_t n)
{
	i += i < 0 ? n : 0;
	return i < 0 || i >= n ? -1 : i;
}

static struct tmpl_value char_at(struct tmpl *t, struct tmpl_value s, int64_t i)
{
	int64_t at = tmpl_work(t, s.n) ? place(i, (int64_t)tmpl_chars(s)) : -1;
	const char *p = s.s;

	if (at < 0)
		return tmpl_undefined("", 0);
	while (at--)
		p += tmpl_char(p);
	return tmpl_str(p, tmpl_char(p));
}

static struct tmpl_value loop_attr(struct tmpl *t, struct tmpl_loop *l, struct tmpl_value name)
{
	uint32_t n = l->items->n, i = l->at;

	if (tmpl_str_is(name, "index"))
		return tmpl_int((int64_t)i + 1);
	if (tmpl_str_is(name, "index0"))
		return tmpl_int(i);
	if (tmpl_str_is(name, "revindex"))
		return tmpl_int((int64_t)n - i);
	if (tmpl_str_is(name, "revindex0"))
		return tmpl_int((int64_t)n - i - 1);
	if (tmpl_str_is(name, "first"))
		return tmpl_bool(i == 0);
	if (tmpl_str_is(name, "last"))
		return tmpl_bool(i + 1 == n);
	if (tmpl_str_is(name, "length"))
		return tmpl_int(n);
	if (tmpl_str_is(name, "depth"))
		return tmpl_int(l->depth);
	if (tmpl_str_is(name, "depth0"))
		return tmpl_int(l->depth - 1);
	if (tmpl_str_is(name, "previtem"))
		return i ? l->items->v[i - 1] : tmpl_undefined(name.s, name.n);
	if (tmpl_str_is(name, "nextitem"))
		return i + 1 < n ? l->items->v[i + 1] : tmpl_undefined(name.s, name.n);
	return tmpl_method(t, (struct tmpl_value){ .kind = TMPL_LOOP, .loop = l }, name.s, name.n);
}

static struct tmpl_value fail_undefined(struct tmpl *t, struct tmpl_value v, struct tmpl_value name)
{
	return tmpl_fail(t, "'%.*s' is not there, so it has no '%.*s'", (int)MIN(v.n, 60u), v.s,
			 (int)MIN(name.n, 60u), name.s);
}

struct tmpl_value tmpl_attr(struct tmpl *t, struct tmpl_value v, struct tmpl_value name)
{
	const struct tmpl_value *hit = NULL;
	struct tmpl_value method;

	if (v.kind == TMPL_UNDEFINED)
		return fail_undefined(t, v, name);
	if (v.kind == TMPL_LOOP)
		return loop_attr(t, v.loop, name);
	method = tmpl_method(t, v, name.s, name.n);
	if (method.kind != TMPL_UNDEFINED)
		return method;
	if (v.kind == TMPL_DICT || v.kind == TMPL_NAMESPACE)
		hit = find_key(t, v.dict, name);
	if (v.kind == TMPL_MACRO && tmpl_str_is(name, "name"))
		return v.macro->node->value;
	return hit ? *hit : tmpl_undefined(name.s, name.n);
}

/* Undefined, with a name that tells which. */
static struct tmpl_value no_item(struct tmpl *t, struct tmpl_value key)
{
	struct tmpl_text name = { 0 };

	tmpl_add(t, &name, "item ", 5);
	tmpl_add_repr(t, &name, key);
	return tmpl_undefined(name.s, name.n);
}

struct tmpl_value tmpl_index(struct tmpl *t, struct tmpl_value v, struct tmpl_value key)
{
	const struct tmpl_value *hit;
	int64_t i;

	if (v.kind == TMPL_UNDEFINED)
		return fail_undefined(t, v, key.kind == TMPL_STR ? key : no_item(t, key));
	if (v.kind == TMPL_DICT || v.kind == TMPL_NAMESPACE) {
		hit = find_key(t, v.dict, key);
		if (hit)
			return *hit;
	}
	if (key.kind == TMPL_STR)
		return v.kind == TMPL_LOOP ? loop_attr(t, v.loop, key) :
					     tmpl_method(t, v, key.s, key.n);
	if (key.kind != TMPL_INT && key.kind != TMPL_BOOL)
		return no_item(t, key);
	i = key.kind == TMPL_INT ? key.i : key.b;
	if (v.kind == TMPL_STR)
		return char_at(t, v, i);
	i = v.kind == TMPL_LIST ? place(i, v.list->n) : -1;
	return i < 0 ? no_item(t, key) : v.list->v[i];
}

/* Python's slice.indices() for @n items. */
static bool slice_bounds(struct tmpl *t, int64_t n, const struct tmpl_value *from,
			 const struct tmpl_value *to, const struct tmpl_value *step, int64_t b[3])
{
	int64_t by = tmpl_arg_int(t, step, 1), low = by < 0 ? -1 : 0, high = by < 0 ? n - 1 : n;
	int64_t a = tmpl_arg_int(t, from, by < 0 ? n - 1 : 0);
	int64_t z = tmpl_arg_int(t, to, by < 0 ? -1 - n : n);

	if (!by)
		tmpl_fail(t, "a slice cannot go in steps of 0");
	a += a < 0 ? n : 0;
	z += z < 0 ? n : 0;
	b[0] = a < low ? low : a > high ? high : a;
	b[1] = z < low ? low : z > high ? high : z;
	b[2] = by;
	return !t->rc;
}

/* From @i to the next place of a slice; false: there is none. */
static bool next_place(int64_t *i, const int64_t b[3])
{
	return !__builtin_add_overflow(*i, b[2], i) && (b[2] > 0 ? *i < b[1] : *i > b[1]);
}

static bool is_empty(const int64_t b[3])
{
	return b[2] > 0 ? b[0] >= b[1] : b[0] <= b[1];
}

static struct tmpl_value slice_str(struct tmpl *t, struct tmpl_value s, const int64_t b[3])
{
	struct tmpl_value chars;
	struct tmpl_text out = { 0 };
	size_t from = 0, to;
	int64_t i = b[0];

	if (b[2] == 1) {
		for (int64_t k = 0; k < b[0]; k++)
			from += tmpl_char(s.s + from);
		to = from;
		for (; i < b[1]; i++)
			to += tmpl_char(s.s + to);
		return tmpl_str(s.s + from, to - from);
	}
	chars = tmpl_items(t, s);
	if (t->rc || is_empty(b))
		return tmpl_str("", 0);
	do
		tmpl_add(t, &out, chars.list->v[i].s, chars.list->v[i].n);
	while (!t->rc && next_place(&i, b));
	return tmpl_text_value(&out);
}

struct tmpl_value tmpl_slice(struct tmpl *t, struct tmpl_value v, const struct tmpl_value *from,
			     const struct tmpl_value *to, const struct tmpl_value *step)
{
	struct tmpl_value out;
	int64_t b[3], n, i;

	if (v.kind != TMPL_STR && v.kind != TMPL_LIST)
		return v.kind == TMPL_UNDEFINED ? fail_undefined(t, v, tmpl_str("item", 4)) :
						  tmpl_undefined("item", 4);
	n = v.kind == TMPL_STR ? (int64_t)tmpl_chars(v) : v.list->n;
	if (!tmpl_work(t, v.kind == TMPL_STR ? v.n : 0) || !slice_bounds(t, n, from, to, step, b))
		return tmpl_undefined("", 0);
	if (v.kind == TMPL_STR)
		return slice_str(t, v, b);
	out = tmpl_new_list(t, v.list_kind, 0);
	i = b[0];
	if (t->rc || is_empty(b))
		return out;
	do
		tmpl_push(t, out, v.list->v[i]);
	while (!t->rc && next_place(&i, b));
	return out;
}
