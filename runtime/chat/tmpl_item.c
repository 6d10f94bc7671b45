/* SPDX-License-Identifier: MIT */
/*
 * tmpl_item: what is in a value: its items, its attributes and methods, a[b], and slices, with Python's
 * places from the end.
 */
#include "chat/tmpl.h"

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
		hit = tmpl_dict_get(t, v.dict, name);
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
		hit = tmpl_dict_get(t, v.dict, key);
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
