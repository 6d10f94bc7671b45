/* SPDX-License-Identifier: MIT */
/*
 * tmpl_arith: + - * / // % ** of numbers, and what of these strings and lists have. Whole numbers
 * are 64 bits wide; what goes beyond is refused, since Python's go on.
 */
#include <math.h>
#include "chat/tmpl.h"

static const char *const signs[] = { "+", "-", "*", "/", "//", "%", "**" };

static struct tmpl_value no_such(struct tmpl *t, enum tmpl_node_type op, struct tmpl_value a,
				 struct tmpl_value b)
{
	const char *sign = signs[op - N_ADD];

	if (a.kind == TMPL_UNDEFINED || b.kind == TMPL_UNDEFINED) {
		struct tmpl_value u = a.kind == TMPL_UNDEFINED ? a : b;

		return tmpl_fail(t, "'%.*s' is not there, so there is no %s with it",
				 (int)MIN(u.n, 60u), u.s, sign);
	}
	return tmpl_fail(t, "there is no %s for a %s and a %s", sign, tmpl_type_name(a),
			 tmpl_type_name(b));
}

static struct tmpl_value too_large(struct tmpl *t)
{
	return tmpl_fail(t, "a number is larger than 64 bits can say");
}

static bool power(int64_t base, int64_t n, int64_t *out)
{
	int64_t v = 1;

	while (n) {
		if ((n & 1) && __builtin_mul_overflow(v, base, &v))
			return false;
		n >>= 1;
		if (n && __builtin_mul_overflow(base, base, &base))
			return false;
	}
	*out = v;
	return true;
}

/* Python rounds down, and the remainder has the divisor's sign. */
static struct tmpl_value divide(struct tmpl *t, enum tmpl_node_type op, int64_t a, int64_t b)
{
	int64_t q, r;

	if (!b)
		return tmpl_fail(t, "something is divided by zero");
	if (b == -1)
		return op == N_MOD ? tmpl_int(0) : a == INT64_MIN ? too_large(t) : tmpl_int(-a);
	q = a / b;
	r = a % b;
	if (r && (r < 0) != (b < 0)) {
		q--;
		r += b;
	}
	return tmpl_int(op == N_MOD ? r : q);
}

static struct tmpl_value whole(struct tmpl *t, enum tmpl_node_type op, int64_t a, int64_t b)
{
	int64_t v;

	switch (op) {
	case N_ADD:
		return __builtin_add_overflow(a, b, &v) ? too_large(t) : tmpl_int(v);
	case N_SUB:
		return __builtin_sub_overflow(a, b, &v) ? too_large(t) : tmpl_int(v);
	case N_MUL:
		return __builtin_mul_overflow(a, b, &v) ? too_large(t) : tmpl_int(v);
	case N_POW:
		if (b < 0)
			return tmpl_float(pow((double)a, (double)b));
		return power(a, b, &v) ? tmpl_int(v) : too_large(t);
	default:
		return divide(t, op, a, b);
	}
}

static struct tmpl_value real(struct tmpl *t, enum tmpl_node_type op, double a, double b)
{
	double r;

	if (op >= N_DIV && op <= N_MOD && b == 0)
		return tmpl_fail(t, "something is divided by zero");
	switch (op) {
	case N_ADD:
		return tmpl_float(a + b);
	case N_SUB:
		return tmpl_float(a - b);
	case N_MUL:
		return tmpl_float(a * b);
	case N_DIV:
		return tmpl_float(a / b);
	case N_POW:
		return tmpl_float(pow(a, b));
	default:
		r = fmod(a, b);
		if (r != 0 && (r < 0) != (b < 0))
			r += b;
		return tmpl_float(op == N_MOD ? r : floor((a - r) / b + 0.5));
	}
}

static struct tmpl_value join_strings(struct tmpl *t, struct tmpl_value a, struct tmpl_value b)
{
	bool markup = a.markup || b.markup;
	struct tmpl_text text = { 0 };

	if (markup) {
		a = tmpl_escape(t, a);
		b = tmpl_escape(t, b);
	}
	tmpl_add(t, &text, a.s, a.n);
	tmpl_add(t, &text, b.s, b.n);
	a = tmpl_text_value(&text);
	a.markup = markup;
	return a;
}

static struct tmpl_value join_lists(struct tmpl *t, struct tmpl_value a, struct tmpl_value b)
{
	struct tmpl_value out = tmpl_new_list(t, a.list_kind, a.list->n + b.list->n);

	for (uint32_t i = 0; i < a.list->n && !t->rc; i++)
		tmpl_push(t, out, a.list->v[i]);
	for (uint32_t i = 0; i < b.list->n && !t->rc; i++)
		tmpl_push(t, out, b.list->v[i]);
	return out;
}

static struct tmpl_value repeat_list(struct tmpl *t, struct tmpl_value a, int64_t times)
{
	struct tmpl_value out = tmpl_new_list(t, a.list_kind, 0);

	for (int64_t k = 0; k < times && a.list->n && !t->rc; k++)
		for (uint32_t i = 0; i < a.list->n && !t->rc; i++)
			tmpl_push(t, out, a.list->v[i]);
	return out;
}

static bool is_whole(struct tmpl_value v)
{
	return v.kind == TMPL_INT || v.kind == TMPL_BOOL;
}

static int64_t as_whole(struct tmpl_value v)
{
	return v.kind == TMPL_INT ? v.i : v.b;
}

struct tmpl_value tmpl_arith(struct tmpl *t, enum tmpl_node_type op, struct tmpl_value a,
			     struct tmpl_value b)
{
	if (is_whole(a) && is_whole(b) && op != N_DIV)
		return whole(t, op, as_whole(a), as_whole(b));
	if (tmpl_is_number(a) && tmpl_is_number(b))
		return real(t, op, tmpl_number(a), tmpl_number(b));
	if (op == N_MOD && a.kind == TMPL_STR)
		return tmpl_percent(t, a, b);
	if (op == N_ADD && a.kind == TMPL_STR && b.kind == TMPL_STR)
		return join_strings(t, a, b);
	if (op == N_ADD && a.kind == TMPL_LIST && b.kind == TMPL_LIST &&
	    a.list_kind == b.list_kind && a.list_kind != TMPL_IS_GENERATOR)
		return join_lists(t, a, b);
	if (op == N_MUL && is_whole(a) && !is_whole(b))
		return tmpl_arith(t, op, b, a);
	if (op == N_MUL && a.kind == TMPL_STR && is_whole(b))
		return tmpl_repeat(t, a, as_whole(b));
	if (op == N_MUL && a.kind == TMPL_LIST && is_whole(b))
		return repeat_list(t, a, as_whole(b));
	return no_such(t, op, a, b);
}
