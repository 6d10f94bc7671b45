/* SPDX-License-Identifier: MIT */
/*
 * tmpl_method_str: what strings can be asked.
 */
#include <utf8proc.h>
#include "chat/tmpl.h"

#define METHOD(name) TMPL_FN(name, s)

/* An argument that has to be a string. */
static bool want_str(struct tmpl *t, const struct tmpl_value *v)
{
	if (v->kind != TMPL_STR)
		tmpl_fail(t, "a %s stands where a string should", tmpl_type_name(*v));
	return v->kind == TMPL_STR;
}

METHOD(m_strip)
{
	return tmpl_strip(t, s, c->arg[0], TMPL_LEFT | TMPL_RIGHT);
}

METHOD(m_lstrip)
{
	return tmpl_strip(t, s, c->arg[0], TMPL_LEFT);
}

METHOD(m_rstrip)
{
	return tmpl_strip(t, s, c->arg[0], TMPL_RIGHT);
}

METHOD(m_lower)
{
	(void)c;
	return tmpl_recase(t, s, TMPL_LOWER);
}

METHOD(m_upper)
{
	(void)c;
	return tmpl_recase(t, s, TMPL_UPPER);
}

METHOD(m_title)
{
	(void)c;
	return tmpl_recase(t, s, TMPL_TITLE);
}

METHOD(m_capitalize)
{
	(void)c;
	return tmpl_recase(t, s, TMPL_CAPITAL);
}

METHOD(m_replace)
{
	if (!want_str(t, c->arg[0]) || !want_str(t, c->arg[1]))
		return s;
	return tmpl_replace(t, s, *c->arg[0], *c->arg[1], tmpl_arg_int(t, c->arg[2], -1));
}

METHOD(m_format)
{
	return tmpl_format(t, s, c->all);
}

METHOD(m_join)
{
	struct tmpl_value items = tmpl_items(t, *c->arg[0]);
	struct tmpl_text out = { 0 };

	for (uint32_t i = 0; !t->rc && i < items.list->n; i++) {
		if (!want_str(t, &items.list->v[i]))
			break;
		tmpl_add(t, &out, s.s, i ? s.n : 0);
		tmpl_add(t, &out, items.list->v[i].s, items.list->v[i].n);
	}
	return tmpl_text_value(&out);
}

/* --------------------------------------------------------------- splitting */

/* At white space, which is never part of a piece, nor gives an empty one. */
static struct tmpl_value split_space(struct tmpl *t, struct tmpl_value s, int64_t max)
{
	struct tmpl_value out = tmpl_new_list(t, TMPL_IS_LIST, 0);

	for (;;) {
		size_t n = 0;

		s = tmpl_strip(t, s, NULL, TMPL_LEFT);
		if (!s.n || !tmpl_work(t, 0))
			return out;
		if (!max--) {
			tmpl_push(t, out, tmpl_strip(t, s, NULL, TMPL_RIGHT));
			return out;
		}
		while (n < s.n && !tmpl_space(s.s + n, s.n - n))
			n += tmpl_char(s.s + n);
		tmpl_push(t, out, tmpl_str(s.s, n));
		s.s += n;
		s.n -= (uint32_t)n;
	}
}

METHOD(m_split)
{
	int64_t max = tmpl_arg_int(t, c->arg[1], -1);
	struct tmpl_value out;
	size_t at = 0, hit;

	if (!c->arg[0] || c->arg[0]->kind == TMPL_NONE)
		return split_space(t, s, max);
	if (!want_str(t, c->arg[0]))
		return s;
	if (!c->arg[0]->n)
		return tmpl_fail(t, "split() at an empty string");
	out = tmpl_new_list(t, TMPL_IS_LIST, 0);
	while (max-- && (hit = tmpl_find(t, s, *c->arg[0], at)) != SIZE_MAX) {
		tmpl_push(t, out, tmpl_str(s.s + at, hit - at));
		at = hit + c->arg[0]->n;
	}
	tmpl_push(t, out, tmpl_str(s.s + at, s.n - at));
	return out;
}

/* The last place of @what that ends at or before byte @end. */
static size_t find_back(struct tmpl *t, struct tmpl_value s, struct tmpl_value what, size_t end)
{
	if (what.n > end)
		return SIZE_MAX;
	for (size_t i = end - what.n + 1; i-- && tmpl_work(t, what.n);)
		if (!memcmp(s.s + i, what.s, what.n))
			return i;
	return SIZE_MAX;
}

METHOD(m_rsplit)
{
	int64_t max = tmpl_arg_int(t, c->arg[1], -1);
	struct tmpl_value parts, out;
	size_t end = s.n, hit;

	if (!c->arg[0] || c->arg[0]->kind == TMPL_NONE)
		return max < 0 ?
			       split_space(t, s, max) :
			       tmpl_fail(t, "rsplit() at white space, so many times, is not here");
	if (!want_str(t, c->arg[0]))
		return s;
	if (!c->arg[0]->n)
		return tmpl_fail(t, "rsplit() at an empty string");
	parts = tmpl_new_list(t, TMPL_IS_LIST, 0);
	while (max-- && (hit = find_back(t, s, *c->arg[0], end)) != SIZE_MAX) {
		tmpl_push(t, parts, tmpl_str(s.s + hit + c->arg[0]->n, end - hit - c->arg[0]->n));
		end = hit;
	}
	tmpl_push(t, parts, tmpl_str(s.s, end));
	if (t->rc)
		return s;
	out = tmpl_new_list(t, TMPL_IS_LIST, parts.list->n);
	for (uint32_t i = parts.list->n; i--;)
		tmpl_push(t, out, parts.list->v[i]);
	return out;
}

METHOD(m_splitlines)
{
	return tmpl_splitlines(t, s, tmpl_arg_bool(c->arg[0], false));
}

static struct tmpl_value three(struct tmpl *t, struct tmpl_value a, struct tmpl_value b,
			       struct tmpl_value d)
{
	struct tmpl_value out = tmpl_new_list(t, TMPL_IS_TUPLE, 3);

	tmpl_push(t, out, a);
	tmpl_push(t, out, b);
	tmpl_push(t, out, d);
	return out;
}

static struct tmpl_value partition(struct tmpl *t, struct tmpl_value s, struct tmpl_value at,
				   bool back)
{
	struct tmpl_value none = tmpl_str("", 0);
	size_t hit;

	if (!want_str(t, &at))
		return s;
	hit = back ? find_back(t, s, at, s.n) : tmpl_find(t, s, at, 0);
	if (hit == SIZE_MAX)
		return back ? three(t, none, none, s) : three(t, s, none, none);
	return three(t, tmpl_str(s.s, hit), at, tmpl_str(s.s + hit + at.n, s.n - hit - at.n));
}

METHOD(m_partition)
{
	return partition(t, s, *c->arg[0], false);
}

METHOD(m_rpartition)
{
	return partition(t, s, *c->arg[0], true);
}

/* ----------------------------------------------------------------- looking */

static bool has_end(struct tmpl *t, struct tmpl_value s, struct tmpl_value what, bool at_end)
{
	return what.n <= s.n && tmpl_work(t, what.n) &&
	       !memcmp(s.s + (at_end ? s.n - what.n : 0), what.s, what.n);
}

/* @what: a string, or a tuple of which one is enough */
static struct tmpl_value any_end(struct tmpl *t, struct tmpl_value s, struct tmpl_value what,
				 bool at_end)
{
	if (what.kind != TMPL_LIST)
		return tmpl_bool(want_str(t, &what) && has_end(t, s, what, at_end));
	for (uint32_t i = 0; i < what.list->n && want_str(t, &what.list->v[i]); i++)
		if (has_end(t, s, what.list->v[i], at_end))
			return tmpl_bool(true);
	return tmpl_bool(false);
}

METHOD(m_startswith)
{
	return any_end(t, s, *c->arg[0], false);
}

METHOD(m_endswith)
{
	return any_end(t, s, *c->arg[0], true);
}

METHOD(m_removeprefix)
{
	if (!want_str(t, c->arg[0]) || !has_end(t, s, *c->arg[0], false))
		return s;
	return tmpl_str(s.s + c->arg[0]->n, s.n - c->arg[0]->n);
}

METHOD(m_removesuffix)
{
	if (!want_str(t, c->arg[0]) || !has_end(t, s, *c->arg[0], true))
		return s;
	return tmpl_str(s.s, s.n - c->arg[0]->n);
}

/* The place in characters; -1: none. */
static struct tmpl_value place(struct tmpl *t, struct tmpl_value s, struct tmpl_value what,
			       bool back)
{
	size_t hit;

	if (!want_str(t, &what))
		return s;
	hit = back ? find_back(t, s, what, s.n) : tmpl_find(t, s, what, 0);
	return tmpl_int(hit == SIZE_MAX ? -1 : (int64_t)tmpl_chars(tmpl_str(s.s, hit)));
}

METHOD(m_find)
{
	return place(t, s, *c->arg[0], false);
}

METHOD(m_rfind)
{
	return place(t, s, *c->arg[0], true);
}

METHOD(m_index)
{
	struct tmpl_value v = place(t, s, *c->arg[0], false);

	return !t->rc && v.i < 0 ? tmpl_fail(t, "index() does not find what it looks for") : v;
}

METHOD(m_count)
{
	size_t at = 0, hit;
	int64_t n = 0;

	if (!want_str(t, c->arg[0]))
		return s;
	if (!c->arg[0]->n)
		return tmpl_work(t, s.n) ? tmpl_int((int64_t)tmpl_chars(s) + 1) : s;
	while ((hit = tmpl_find(t, s, *c->arg[0], at)) != SIZE_MAX) {
		n++;
		at = hit + c->arg[0]->n;
	}
	return tmpl_int(n);
}

/* Are all characters of a class, and is there one? */
static struct tmpl_value all_are(struct tmpl *t, struct tmpl_value s, bool letters, bool digits)
{
	utf8proc_int32_t c;

	for (size_t i = 0; i < s.n && tmpl_work(t, 0); i += tmpl_char(s.s + i)) {
		utf8proc_category_t k;

		utf8proc_iterate((const uint8_t *)s.s + i, (utf8proc_ssize_t)(s.n - i), &c);
		k = utf8proc_category(c);
		if (!(letters && k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) &&
		    !(digits && k == UTF8PROC_CATEGORY_ND))
			return tmpl_bool(false);
	}
	return tmpl_bool(s.n > 0);
}

METHOD(m_isalpha)
{
	(void)c;
	return all_are(t, s, true, false);
}

METHOD(m_isdigit)
{
	(void)c;
	return all_are(t, s, false, true);
}

METHOD(m_isalnum)
{
	(void)c;
	return all_are(t, s, true, true);
}

METHOD(m_isspace)
{
	(void)c;
	return tmpl_bool(s.n && !tmpl_strip(t, s, NULL, TMPL_LEFT).n);
}

METHOD(m_islower)
{
	(void)c;
	return tmpl_bool(tmpl_equal(t, s, tmpl_recase(t, s, TMPL_LOWER)) &&
			 !tmpl_equal(t, s, tmpl_recase(t, s, TMPL_UPPER)));
}

METHOD(m_isupper)
{
	(void)c;
	return tmpl_bool(tmpl_equal(t, s, tmpl_recase(t, s, TMPL_UPPER)) &&
			 !tmpl_equal(t, s, tmpl_recase(t, s, TMPL_LOWER)));
}

/* ------------------------------------------------------------------ padding */

static struct tmpl_value padded(struct tmpl *t, struct tmpl_value s, const struct tmpl_call *c,
				bool left)
{
	struct tmpl_value fill = c->arg[1] ? *c->arg[1] : tmpl_str(" ", 1);
	int64_t n = MAX(tmpl_arg_int(t, c->arg[0], 0), 0) - (int64_t)tmpl_chars(s);
	struct tmpl_text out = { 0 };

	if (!want_str(t, &fill))
		return s;
	fill = tmpl_repeat(t, fill, n);
	tmpl_add(t, &out, fill.s, left ? fill.n : 0);
	tmpl_add(t, &out, s.s, s.n);
	tmpl_add(t, &out, fill.s, left ? 0 : fill.n);
	return tmpl_text_value(&out);
}

METHOD(m_ljust)
{
	return padded(t, s, c, false);
}

METHOD(m_rjust)
{
	return padded(t, s, c, true);
}

/* Zeros stand behind the sign. */
METHOD(m_zfill)
{
	uint32_t sign = s.n && (s.s[0] == '-' || s.s[0] == '+');
	struct tmpl_value width = tmpl_int(MAX(tmpl_arg_int(t, c->arg[0], 0), 1) - sign);
	struct tmpl_value zero = tmpl_str("0", 1);
	struct tmpl_call call = { .arg = { &width, &zero } };
	struct tmpl_text out = { 0 };

	tmpl_add(t, &out, s.s, sign);
	s = padded(t, tmpl_str(s.s + sign, s.n - sign), &call, true);
	tmpl_add(t, &out, s.s, s.n);
	return tmpl_text_value(&out);
}

const struct tmpl_fn tmpl_str_methods[] = {
	{ "strip", m_strip, "chars", 0 },
	{ "lstrip", m_lstrip, "chars", 0 },
	{ "rstrip", m_rstrip, "chars", 0 },
	{ "lower", m_lower, "", 0 },
	{ "casefold", m_lower, "", 0 },
	{ "upper", m_upper, "", 0 },
	{ "title", m_title, "", 0 },
	{ "capitalize", m_capitalize, "", 0 },
	{ "replace", m_replace, "old,new,count", 2 },
	{ "format", m_format, "*", 0 },
	{ "join", m_join, "iterable", 1 },
	{ "split", m_split, "sep,maxsplit", 0 },
	{ "rsplit", m_rsplit, "sep,maxsplit", 0 },
	{ "splitlines", m_splitlines, "keepends", 0 },
	{ "partition", m_partition, "sep", 1 },
	{ "rpartition", m_rpartition, "sep", 1 },
	{ "startswith", m_startswith, "prefix", 1 },
	{ "endswith", m_endswith, "suffix", 1 },
	{ "removeprefix", m_removeprefix, "prefix", 1 },
	{ "removesuffix", m_removesuffix, "suffix", 1 },
	{ "find", m_find, "sub", 1 },
	{ "rfind", m_rfind, "sub", 1 },
	{ "index", m_index, "sub", 1 },
	{ "count", m_count, "sub", 1 },
	{ "isalpha", m_isalpha, "", 0 },
	{ "isdigit", m_isdigit, "", 0 },
	{ "isnumeric", m_isdigit, "", 0 },
	{ "isdecimal", m_isdigit, "", 0 },
	{ "isalnum", m_isalnum, "", 0 },
	{ "isspace", m_isspace, "", 0 },
	{ "islower", m_islower, "", 0 },
	{ "isupper", m_isupper, "", 0 },
	{ "ljust", m_ljust, "width,fillchar", 1 },
	{ "rjust", m_rjust, "width,fillchar", 1 },
	{ "zfill", m_zfill, "width", 1 },
	{ 0 },
};
