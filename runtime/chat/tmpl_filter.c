/* SPDX-License-Identifier: MIT */
/*
 * tmpl_filter: filters of one value: texts, numbers, JSON. Those of lists are in tmpl_list.c.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include "chat/tmpl.h"

#define FILTER(name) TMPL_FN(name, self)

/* ----------------------------------------------------------------- texts */

FILTER(f_trim)
{
	return tmpl_strip(t, tmpl_to_str(t, self), c->arg[0], TMPL_LEFT | TMPL_RIGHT);
}

FILTER(f_upper)
{
	(void)c;
	return tmpl_recase(t, tmpl_to_str(t, self), TMPL_UPPER);
}

FILTER(f_lower)
{
	(void)c;
	return tmpl_recase(t, tmpl_to_str(t, self), TMPL_LOWER);
}

FILTER(f_capitalize)
{
	(void)c;
	return tmpl_recase(t, tmpl_to_str(t, self), TMPL_CAPITAL);
}

/* Jinja's words begin behind white space and - ( { [ <, not behind every sign as Python's do. */
FILTER(f_title)
{
	struct tmpl_value s = tmpl_to_str(t, self), word;
	struct tmpl_text out = { 0 };
	size_t from = 0, i = 0;

	(void)c;
	while (i <= s.n && tmpl_work(t, 0)) {
		bool border = i == s.n || tmpl_space(s.s + i, s.n - i) ||
			      (s.s[i] && strchr("-({[<", s.s[i]));

		if (border) {
			word = tmpl_recase(t, tmpl_str(s.s + from, i - from), TMPL_CAPITAL);
			tmpl_add(t, &out, word.s, word.n);
		}
		if (i == s.n)
			break;
		if (border) {
			tmpl_add(t, &out, s.s + i, tmpl_char(s.s + i));
			from = i + tmpl_char(s.s + i);
		}
		i += tmpl_char(s.s + i);
	}
	return tmpl_text_value(&out);
}

FILTER(f_string)
{
	(void)c;
	return tmpl_to_str(t, self);
}

FILTER(f_replace)
{
	return tmpl_replace(t, tmpl_to_str(t, self), tmpl_to_str(t, *c->arg[0]),
			    tmpl_to_str(t, *c->arg[1]), tmpl_arg_int(t, c->arg[2], -1));
}

FILTER(f_safe)
{
	(void)c;
	self = tmpl_to_str(t, self);
	self.markup = true;
	return self;
}

FILTER(f_escape)
{
	(void)c;
	return tmpl_escape(t, tmpl_to_str(t, self));
}

FILTER(f_indent)
{
	struct tmpl_value by = tmpl_str(" ", 1), lines, s = tmpl_to_str(t, self);
	bool first = tmpl_arg_bool(c->arg[1], false), blank = tmpl_arg_bool(c->arg[2], false);
	struct tmpl_text with_end = { 0 }, out = { 0 };

	if (c->arg[0] && c->arg[0]->kind == TMPL_STR)
		by = *c->arg[0];
	else
		by = tmpl_repeat(t, by, tmpl_arg_int(t, c->arg[0], 4));
	tmpl_add(t, &with_end, s.s, s.n);
	tmpl_add(t, &with_end, "\n", 1);
	lines = tmpl_splitlines(t, tmpl_text_value(&with_end), false);
	for (uint32_t i = 0; !t->rc && i < lines.list->n; i++) {
		struct tmpl_value line = lines.list->v[i];

		tmpl_add(t, &out, "\n", i > 0);
		if (i ? line.n || blank : first)
			tmpl_add(t, &out, by.s, by.n);
		tmpl_add(t, &out, line.s, line.n);
	}
	return tmpl_text_value(&out);
}

FILTER(f_format)
{
	struct tmpl_value tuple = tmpl_new_list(t, TMPL_IS_TUPLE, c->all->n);

	for (uint32_t i = 0; i < c->all->n; i++)
		tmpl_push(t, tuple, c->all->v[i]);
	return tmpl_percent(t, tmpl_to_str(t, self), tuple);
}

FILTER(f_center)
{
	struct tmpl_value s = tmpl_to_str(t, self);
	int64_t width = MAX(tmpl_arg_int(t, c->arg[0], 80), 0);
	int64_t fill = width - (int64_t)tmpl_chars(s);
	/* Python's: what is odd goes left where the width is, too */
	int64_t left = fill / 2 + (fill & width & 1);
	struct tmpl_value space = tmpl_str(" ", 1), pad;
	struct tmpl_text out = { 0 };

	if (!tmpl_work(t, s.n) || fill <= 0)
		return s;
	pad = tmpl_repeat(t, space, left);
	tmpl_add(t, &out, pad.s, pad.n);
	tmpl_add(t, &out, s.s, s.n);
	pad = tmpl_repeat(t, space, fill - left);
	tmpl_add(t, &out, pad.s, pad.n);
	return tmpl_text_value(&out);
}

static bool is_word(char c)
{
	return isalnum((uint8_t)c) || c == '_' || (uint8_t)c >= 0x80;
}

FILTER(f_wordcount)
{
	struct tmpl_value s = tmpl_to_str(t, self);
	int64_t n = 0;

	(void)c;
	if (!tmpl_work(t, s.n))
		return s;
	for (uint32_t i = 0; i < s.n; i++)
		n += is_word(s.s[i]) && (!i || !is_word(s.s[i - 1]));
	return tmpl_int(n);
}

/* --------------------------------------------------------------- numbers */

/* int() and float() of a string; false: it is none. */
static bool parse_number(struct tmpl *t, struct tmpl_value v, int base, bool whole,
			 struct tmpl_value *out)
{
	struct tmpl_value s = tmpl_strip(t, v, NULL, TMPL_LEFT | TMPL_RIGHT);
	char buf[64], *end;

	if (!s.n || s.n >= sizeof(buf))
		return false;
	memcpy(buf, s.s, s.n);
	buf[s.n] = '\0';
	/* C's floats may be hexadecimal, Python's are not */
	if (!whole && strpbrk(buf, "xXpP("))
		return false;
	errno = 0;
	if (whole)
		*out = tmpl_int(strtoll(buf, &end, base));
	else
		*out = tmpl_float(strtod(buf, &end));
	return !*end && !errno;
}

FILTER(f_int)
{
	struct tmpl_value missing = c->arg[0] ? *c->arg[0] : tmpl_int(0), v;
	int base = (int)tmpl_arg_int(t, c->arg[1], 10);

	if (self.kind == TMPL_INT)
		return self;
	if (self.kind == TMPL_BOOL)
		return tmpl_int(self.b);
	if (self.kind == TMPL_STR &&
	    (base < 2 || base > 36 || parse_number(t, self, base, true, &v)))
		return base < 2 || base > 36 ? missing : v;
	if (self.kind == TMPL_STR && !parse_number(t, self, 10, false, &v))
		return missing;
	if (self.kind != TMPL_STR && self.kind != TMPL_FLOAT)
		return missing;
	if (self.kind == TMPL_FLOAT)
		v = self;
	return fabs(v.f) < 0x1p63 ? tmpl_int((int64_t)v.f) : missing;
}

FILTER(f_float)
{
	struct tmpl_value missing = c->arg[0] ? *c->arg[0] : tmpl_float(0), v;

	if (tmpl_is_number(self))
		return tmpl_float(tmpl_number(self));
	return self.kind == TMPL_STR && parse_number(t, self, 10, false, &v) ? v : missing;
}

static struct tmpl_value want_number(struct tmpl *t, struct tmpl_value v)
{
	return tmpl_is_number(v) ? v : tmpl_fail(t, "a %s is no number", tmpl_type_name(v));
}

FILTER(f_abs)
{
	(void)c;
	self = want_number(t, self);
	if (t->rc)
		return self;
	if (self.kind == TMPL_FLOAT)
		return tmpl_float(fabs(self.f));
	return tmpl_number(self) < 0 ? tmpl_arith(t, N_MUL, self, tmpl_int(-1)) : self;
}

/* To even, as Python rounds halves. */
FILTER(f_round)
{
	int64_t precision = tmpl_arg_int(t, c->arg[0], 0);
	struct tmpl_value how = c->arg[1] ? *c->arg[1] : tmpl_str("common", 6);
	double scale, f;

	self = want_number(t, self);
	if (t->rc)
		return self;
	if (precision < -300 || precision > 300 || how.kind != TMPL_STR)
		return tmpl_fail(t, "round() to %lld digits makes no sense", (long long)precision);
	scale = pow(10, (double)precision);
	f = tmpl_number(self) * scale;
	f = tmpl_str_is(how, "ceil")  ? ceil(f) :
	    tmpl_str_is(how, "floor") ? floor(f) :
					nearbyint(f);
	if (self.kind != TMPL_FLOAT && tmpl_str_is(how, "common") && precision >= 0)
		return self.kind == TMPL_INT ? self : tmpl_int(self.b);
	return tmpl_float(f / scale);
}

/* ------------------------------------------------------------------ others */

FILTER(f_default)
{
	bool none_too = tmpl_arg_bool(c->arg[1], false);

	(void)t;
	if (self.kind != TMPL_UNDEFINED && !(none_too && !tmpl_truth(self)))
		return self;
	return c->arg[0] ? *c->arg[0] : tmpl_str("", 0);
}

FILTER(f_tojson)
{
	static const int separators = 2, sort_keys = 3;
	int64_t indent = tmpl_arg_int(t, c->arg[1], -1);
	struct tmpl_json j = { .indent = (int)MAX(MIN(indent, 100), -1),
			       .sort = tmpl_arg_bool(c->arg[sort_keys], false),
			       .ascii = tmpl_arg_bool(c->arg[0], false),
			       .item_sep = tmpl_str(", ", indent < 0 ? 2 : 1),
			       .key_sep = tmpl_str(": ", 2) };
	const struct tmpl_value *seps = c->arg[separators];
	struct tmpl_text out = { 0 };

	if (seps && seps->kind == TMPL_LIST && seps->list->n == 2 &&
	    seps->list->v[0].kind == TMPL_STR && seps->list->v[1].kind == TMPL_STR) {
		j.item_sep = seps->list->v[0];
		j.key_sep = seps->list->v[1];
	} else if (seps && seps->kind != TMPL_NONE) {
		return tmpl_fail(t, "tojson(separators=...) wants two strings");
	}
	tmpl_add_json(t, &out, self, &j, 0);
	return tmpl_text_value(&out);
}

FILTER(f_attr)
{
	struct tmpl_value v;

	if (c->arg[0]->kind != TMPL_STR)
		return tmpl_fail(t, "attr() wants a name");
	/* attributes only: what a dict holds are items */
	v = self.kind == TMPL_DICT ? tmpl_method(t, self, c->arg[0]->s, c->arg[0]->n) :
				     tmpl_attr(t, self, *c->arg[0]);
	return v;
}

const struct tmpl_fn tmpl_filters[] = {
	{ "trim", f_trim, "chars", 0 },
	{ "upper", f_upper, "", 0 },
	{ "lower", f_lower, "", 0 },
	{ "capitalize", f_capitalize, "", 0 },
	{ "title", f_title, "", 0 },
	{ "string", f_string, "", 0 },
	{ "replace", f_replace, "old,new,count", 2 },
	{ "safe", f_safe, "", 0 },
	{ "escape", f_escape, "", 0 },
	{ "e", f_escape, "", 0 },
	{ "forceescape", f_escape, "", 0 },
	{ "indent", f_indent, "width,first,blank", 0 },
	{ "format", f_format, "*", 0 },
	{ "center", f_center, "width", 0 },
	{ "wordcount", f_wordcount, "", 0 },
	{ "int", f_int, "default,base", 0 },
	{ "float", f_float, "default", 0 },
	{ "abs", f_abs, "", 0 },
	{ "round", f_round, "precision,method", 0 },
	{ "default", f_default, "default_value,boolean", 0 },
	{ "d", f_default, "default_value,boolean", 0 },
	{ "tojson", f_tojson, "ensure_ascii,indent,separators,sort_keys", 0 },
	{ "attr", f_attr, "name", 1 },
	{ 0 },
};
