/* SPDX-License-Identifier: MIT */
/*
 * tmpl_format: "%s %03d" % values, and "{} {name:>8}".format(values): of Python's two ways those
 * parts that texts for people need.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include "chat/tmpl.h"

#define WIDTH_MAX 1000

/* How one value is to be shown. */
struct spec {
	struct tmpl_value fill;
	char align;	      /* < > ^ =, 0: as its type has it */
	char sign;	      /* + or space, 0: only what is below zero has one */
	char type;	      /* s d f e g x X o b c r %, 0: as str() has it */
	bool group;	      /* thousands have commas */
	int width, precision; /* -1: none */
};

static bool is_one_of(char c, const char *chars)
{
	return c && strchr(chars, c);
}

static int number_at(const char **s, const char *end)
{
	int v = 0;

	while (*s < end && isdigit((uint8_t) * *s) && v <= WIDTH_MAX)
		v = v * 10 + *(*s)++ - '0';
	return v;
}

/* ------------------------------------------------------------- one value */

static void add_grouped(struct tmpl *t, struct tmpl_text *out, const char *s)
{
	size_t n = strspn(s, "0123456789");

	for (size_t i = 0; i < n; i++) {
		tmpl_add(t, out, ",", i && (n - i) % 3 == 0);
		tmpl_add(t, out, s + i, 1);
	}
	tmpl_add(t, out, s + n, strlen(s + n));
}

static void add_binary(struct tmpl *t, struct tmpl_text *out, uint64_t v)
{
	char bits[64];
	int n = 0;

	do
		bits[n++] = (char)('0' + (v & 1));
	while (v >>= 1);
	while (n--)
		tmpl_add(t, out, &bits[n], 1);
}

/* A number's digits, without its sign. */
static void add_digits(struct tmpl *t, struct tmpl_text *out, const struct spec *s,
		       struct tmpl_value v)
{
	uint64_t u = v.kind != TMPL_INT ? 0 : v.i < 0 ? -(uint64_t)v.i : (uint64_t)v.i;
	double f = fabs(tmpl_number(v));
	int precision = s->precision < 0 ? 6 : s->precision;
	char buf[512] = "";

	switch (s->type) {
	case 'x':
		snprintf(buf, sizeof(buf), "%llx", (unsigned long long)u);
		break;
	case 'X':
		snprintf(buf, sizeof(buf), "%llX", (unsigned long long)u);
		break;
	case 'o':
		snprintf(buf, sizeof(buf), "%llo", (unsigned long long)u);
		break;
	case 'b':
		add_binary(t, out, u);
		break;
	case 'e':
		snprintf(buf, sizeof(buf), "%.*e", precision, f);
		break;
	case 'g':
		snprintf(buf, sizeof(buf), "%.*g", precision, f);
		break;
	case 'f':
	case 'F':
		snprintf(buf, sizeof(buf), "%.*f", MIN(precision, 100), f);
		break;
	case '%':
		snprintf(buf, sizeof(buf), "%.*f%%", MIN(precision, 100), f * 100);
		break;
	default:
		if (v.kind == TMPL_FLOAT && s->precision >= 0)
			snprintf(buf, sizeof(buf), "%.*g", MIN(precision, 100), f);
		else if (v.kind == TMPL_FLOAT)
			tmpl_add_float(t, out, f);
		else
			snprintf(buf, sizeof(buf), "%llu", (unsigned long long)u);
	}
	if (s->group)
		add_grouped(t, out, buf);
	else
		tmpl_add(t, out, buf, strlen(buf));
}

static void add_fill(struct tmpl *t, struct tmpl_text *out, const struct spec *s, size_t n)
{
	while (n-- && !t->rc)
		tmpl_add(t, out, s->fill.s, s->fill.n);
}

static void add_aligned(struct tmpl *t, struct tmpl_text *out, const struct spec *s,
			const char *sign, struct tmpl_value body, char align)
{
	size_t have = strlen(sign) + tmpl_chars(body);
	size_t fill = have < (size_t)s->width ? (size_t)s->width - have : 0;
	size_t left = align == '>' ? fill : align == '^' ? fill / 2 : 0;

	add_fill(t, out, s, left);
	tmpl_add(t, out, sign, strlen(sign));
	add_fill(t, out, s, align == '=' ? fill : 0);
	tmpl_add(t, out, body.s, body.n);
	add_fill(t, out, s, align == '<' || align == '^' ? fill - left : 0);
}

static bool is_text_type(char type)
{
	return !type || type == 's' || type == 'r';
}

static void add_value(struct tmpl *t, struct tmpl_text *out, const struct spec *s,
		      struct tmpl_value v, bool percent)
{
	struct tmpl_text body = { 0 };
	const char *sign = "";

	if (tmpl_is_number(v) && v.kind != TMPL_BOOL && !(percent && is_text_type(s->type))) {
		if (tmpl_number(v) < 0 || (v.kind == TMPL_FLOAT && signbit(v.f)))
			sign = "-";
		else if (s->sign)
			sign = s->sign == '+' ? "+" : " ";
		add_digits(t, &body, s, v);
		add_aligned(t, out, s, sign, tmpl_text_value(&body), s->align ? s->align : '>');
		return;
	}
	if (!is_text_type(s->type) && v.kind != TMPL_BOOL) {
		tmpl_fail(t, "a %s cannot be formatted as '%c'", tmpl_type_name(v), s->type);
		return;
	}
	if (!is_text_type(s->type)) {
		add_digits(t, &body, s, tmpl_int(v.b));
	} else if (s->type == 'r') {
		tmpl_add_repr(t, &body, v);
	} else {
		tmpl_add_str(t, &body, v);
	}
	v = tmpl_text_value(&body);
	if (s->precision >= 0 && is_text_type(s->type)) {
		struct tmpl_value to = tmpl_int(s->precision);

		v = tmpl_slice(t, v, NULL, &to, NULL);
	}
	add_aligned(t, out, s, "", v, s->align ? s->align : percent ? '>' : '<');
}

static void check_spec(struct tmpl *t, const struct spec *s)
{
	if (s->width > WIDTH_MAX || s->precision > WIDTH_MAX)
		tmpl_fail(t, "a format is wider than %d characters", WIDTH_MAX);
	if (s->type && !strchr("sdifFegxXobrc%u", s->type))
		tmpl_fail(t, "there is no format '%c'", s->type);
}

/* ------------------------------------------------------------ "%s" % value */

static struct spec percent_spec(struct tmpl *t, const char **s, const char *end)
{
	struct spec p = { .fill = tmpl_str(" ", 1), .precision = -1 };

	for (; *s < end && is_one_of(**s, "-+ 0#"); (*s)++) {
		if (**s == '-')
			p.align = '<';
		else if (**s == '+' || **s == ' ')
			p.sign = **s;
		else if (**s == '0' && !p.align) {
			p.fill = tmpl_str("0", 1);
			p.align = '=';
		}
	}
	p.width = number_at(s, end);
	if (*s < end && **s == '.') {
		(*s)++;
		p.precision = number_at(s, end);
	}
	p.type = *s < end ? *(*s)++ : '?';
	if (p.type == 'i' || p.type == 'u')
		p.type = 'd';
	check_spec(t, &p);
	return p;
}

struct tmpl_value tmpl_percent(struct tmpl *t, struct tmpl_value format, struct tmpl_value v)
{
	bool many = v.kind == TMPL_LIST && v.list_kind == TMPL_IS_TUPLE;
	uint32_t n = many ? v.list->n : 1, used = 0;
	const char *s = format.s, *end = s + format.n;
	struct tmpl_text out = { 0 };

	while (s < end && !t->rc) {
		const char *p = memchr(s, '%', (size_t)(end - s));

		tmpl_add(t, &out, s, (size_t)((p ? p : end) - s));
		if (!p)
			break;
		s = p + 1;
		if (s < end && *s == '%') {
			tmpl_add(t, &out, s++, 1);
		} else {
			struct spec spec = percent_spec(t, &s, end);

			if (used == n)
				return tmpl_fail(t, "a format wants more than %u values", n);
			add_value(t, &out, &spec, many ? v.list->v[used] : v, true);
			used++;
		}
	}
	if (used < n && v.kind != TMPL_DICT)
		return tmpl_fail(t, "a format takes %u of %u values", used, n);
	return tmpl_text_value(&out);
}

/* ------------------------------------------------------- "{}".format(value) */

static struct spec brace_spec(struct tmpl *t, const char *s, const char *end)
{
	struct spec p = { .fill = tmpl_str(" ", 1), .precision = -1 };
	size_t first = s < end ? tmpl_char(s) : 0;

	if (first && s + first < end && is_one_of(s[first], "<>^=")) {
		p.fill = tmpl_str(s, first);
		p.align = s[first];
		s += first + 1;
	} else if (s < end && is_one_of(*s, "<>^=")) {
		p.align = *s++;
	}
	if (s < end && is_one_of(*s, "+- ")) {
		p.sign = *s == '-' ? 0 : *s;
		s++;
	}
	if (s < end && *s == '0' && !p.align) {
		p.fill = tmpl_str("0", 1);
		p.align = '=';
	}
	p.width = number_at(&s, end);
	if (s < end && *s == ',') {
		p.group = true;
		s++;
	}
	if (s < end && *s == '.') {
		s++;
		p.precision = number_at(&s, end);
	}
	if (s < end)
		p.type = *s++;
	if (s < end)
		tmpl_fail(t, "a format goes on behind its type");
	check_spec(t, &p);
	return p;
}

/* "", "0" or "name", and then .attributes and [items] */
static struct tmpl_value field(struct tmpl *t, const char *s, const char *end,
			       const struct tmpl_args *args, uint32_t *next)
{
	const char *p = s;
	const struct tmpl_value *hit = NULL;
	struct tmpl_value v;
	uint32_t i;

	while (p < end && *p != '.' && *p != '[')
		p++;
	if (p == s || isdigit((uint8_t)*s)) {
		i = p == s ? (*next)++ : (uint32_t)number_at(&s, p);
		hit = i < args->n ? &args->v[i] : NULL;
	} else if (args->named) {
		hit = tmpl_dict_get(t, args->named, tmpl_str(s, (size_t)(p - s)));
	}
	if (!hit)
		return tmpl_fail(t, "a format has no value for '{%.*s}'", (int)(p - s), s);
	v = *hit;
	while (p < end && !t->rc) {
		char close = *p == '[' ? ']' : 0;

		s = ++p;
		while (p < end && (close ? *p != close : *p != '.' && *p != '['))
			p++;
		v = close ? tmpl_index(t, v, tmpl_str(s, (size_t)(p - s))) :
			    tmpl_attr(t, v, tmpl_str(s, (size_t)(p - s)));
		p += close && p < end;
	}
	return v;
}

/* Behind "{": to behind its "}". */
static const char *add_field(struct tmpl *t, struct tmpl_text *out, const char *s, const char *end,
			     const struct tmpl_args *args, uint32_t *next)
{
	const char *close = memchr(s, '}', (size_t)(end - s)), *name_end, *p;
	struct tmpl_value v;
	struct spec spec;

	if (!close)
		return tmpl_fail(t, "a format has a '{' without its '}'"), end;
	for (name_end = s; name_end < close && *name_end != ':' && *name_end != '!';)
		name_end++;
	v = field(t, s, name_end, args, next);
	p = name_end;
	if (p < close && *p == '!') {
		struct tmpl_text text = { 0 };

		if (p + 1 < close && p[1] == 'r')
			tmpl_add_repr(t, &text, v);
		else
			tmpl_add_str(t, &text, v);
		v = tmpl_text_value(&text);
		p = p + 2 < close ? p + 2 : close;
	}
	spec = brace_spec(t, p < close ? p + 1 : close, close);
	add_value(t, out, &spec, v, false);
	return close + 1;
}

struct tmpl_value tmpl_format(struct tmpl *t, struct tmpl_value format,
			      const struct tmpl_args *args)
{
	const char *s = format.s, *end = s + format.n;
	struct tmpl_text out = { 0 };
	uint32_t next = 0;

	while (s < end && !t->rc) {
		if ((*s == '{' || *s == '}') && s + 1 < end && s[1] == *s) {
			tmpl_add(t, &out, s, 1);
			s += 2;
		} else if (*s == '{') {
			s = add_field(t, &out, s + 1, end, args, &next);
		} else if (*s == '}') {
			return tmpl_fail(t, "a format has a '}' without its '{'");
		} else {
			size_t n = tmpl_char(s);

			tmpl_add(t, &out, s, n);
			s += n;
		}
	}
	return tmpl_text_value(&out);
}
