/* SPDX-License-Identifier: MIT */
/*
 * tmpl_print: values as text, as Python's str(), repr() and json.dumps() have them.
 */
#include <math.h>
#include <stdlib.h>
#include <utf8proc.h>
#include "chat/tmpl.h"

/* The shortest digits that are this number again; an exponent from 1e16 on, and below 1e-4. */
void tmpl_add_float(struct tmpl *t, struct tmpl_text *out, double f)
{
	char digits[40], text[80], *e;
	int precision = 1, exponent, n;

	if (isnan(f) || isinf(f)) {
		tmpl_addf(t, out, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
		return;
	}
	do
		snprintf(digits, sizeof(digits), "%.*e", precision - 1, f);
	while (strtod(digits, NULL) != f && ++precision <= 17);
	e = strchr(digits, 'e');
	exponent = atoi(e + 1);
	if (exponent < -4 || exponent >= 16) {
		n = snprintf(text, sizeof(text), "%.*s%se%c%02d", (int)(e - digits), digits, "",
			     exponent < 0 ? '-' : '+', abs(exponent));
		tmpl_add(t, out, text, (size_t)n);
		return;
	}
	n = precision - 1 - exponent;
	tmpl_addf(t, out, "%.*f", n < 1 ? 1 : n, f);
}

/* A number, or what else has one name; false: it has more to it. */
static bool add_simple(struct tmpl *t, struct tmpl_text *out, struct tmpl_value v)
{
	switch ((enum tmpl_kind)v.kind) {
	case TMPL_NONE:
		tmpl_add(t, out, "None", 4);
		return true;
	case TMPL_BOOL:
		tmpl_addf(t, out, "%s", v.b ? "True" : "False");
		return true;
	case TMPL_INT:
		tmpl_addf(t, out, "%lld", (long long)v.i);
		return true;
	case TMPL_FLOAT:
		tmpl_add_float(t, out, v.f);
		return true;
	case TMPL_LOOP:
	case TMPL_MACRO:
	case TMPL_FUNC:
		tmpl_addf(t, out, "<%s>", tmpl_type_name(v));
		return true;
	default:
		return false;
	}
}

static void add_repr_str(struct tmpl *t, struct tmpl_text *out, struct tmpl_value v)
{
	bool doubled = memchr(v.s, '\'', v.n) && !memchr(v.s, '"', v.n);
	char quote = doubled ? '"' : '\'';
	static const char from[] = "\n\r\t\\", to[] = "nrt\\";
	utf8proc_int32_t c;

	tmpl_add(t, out, &quote, 1);
	for (size_t i = 0, n; i < v.n && !t->rc; i += n) {
		const char *hit = v.s[i] ? strchr(from, v.s[i]) : NULL;

		n = tmpl_char(v.s + i);
		utf8proc_iterate((const uint8_t *)v.s + i, (utf8proc_ssize_t)n, &c);
		if (hit)
			tmpl_addf(t, out, "\\%c", to[hit - from]);
		else if (c == quote)
			tmpl_addf(t, out, "\\%c", quote);
		else if (c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad)
			tmpl_addf(t, out, "\\x%02x", (unsigned)c);
		else
			tmpl_add(t, out, v.s + i, n);
	}
	tmpl_add(t, out, &quote, 1);
}

static void add_repr_list(struct tmpl *t, struct tmpl_text *out, struct tmpl_value v)
{
	bool tuple = v.list_kind == TMPL_IS_TUPLE;

	tmpl_add(t, out, tuple ? "(" : "[", 1);
	for (uint32_t i = 0; i < v.list->n && !t->rc; i++) {
		tmpl_add(t, out, ", ", i ? 2 : 0);
		tmpl_add_repr(t, out, v.list->v[i]);
	}
	tmpl_add(t, out, ",", tuple && v.list->n == 1);
	tmpl_add(t, out, tuple ? ")" : "]", 1);
}

static void add_repr_dict(struct tmpl *t, struct tmpl_text *out, struct tmpl_value v)
{
	bool namespace = v.kind == TMPL_NAMESPACE;

	tmpl_addf(t, out, "%s{", namespace ? "<Namespace " : "");
	for (uint32_t i = 0; i < v.dict->n && !t->rc; i++) {
		tmpl_add(t, out, ", ", i ? 2 : 0);
		tmpl_add_repr(t, out, v.dict->keys[i]);
		tmpl_add(t, out, ": ", 2);
		tmpl_add_repr(t, out, v.dict->values[i]);
	}
	tmpl_addf(t, out, "}%s", namespace ? ">" : "");
}

void tmpl_add_repr(struct tmpl *t, struct tmpl_text *out, struct tmpl_value v)
{
	if (!tmpl_enter(t, TMPL_RUN_DEPTH) || add_simple(t, out, v))
		goto out;
	switch ((enum tmpl_kind)v.kind) {
	case TMPL_STR:
		add_repr_str(t, out, v);
		break;
	case TMPL_LIST:
		add_repr_list(t, out, v);
		break;
	case TMPL_DICT:
	case TMPL_NAMESPACE:
		add_repr_dict(t, out, v);
		break;
	default:
		tmpl_add(t, out, "Undefined", 9);
	}
out:
	tmpl_leave(t);
}

void tmpl_add_str(struct tmpl *t, struct tmpl_text *out, struct tmpl_value v)
{
	if (v.kind == TMPL_STR)
		tmpl_add(t, out, v.s, v.n);
	else if (v.kind != TMPL_UNDEFINED)
		tmpl_add_repr(t, out, v);
}

struct tmpl_value tmpl_to_str(struct tmpl *t, struct tmpl_value v)
{
	struct tmpl_text out = { 0 };

	if (v.kind == TMPL_STR)
		return v;
	tmpl_add_str(t, &out, v);
	return tmpl_text_value(&out);
}

/* ------------------------------------------------------------------ JSON */

static void add_json_str(struct tmpl *t, struct tmpl_text *out, struct tmpl_value v, bool ascii)
{
	static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
	utf8proc_int32_t c;

	tmpl_add(t, out, "\"", 1);
	for (size_t i = 0, n; i < v.n && !t->rc; i += n) {
		const char *hit = v.s[i] ? strchr(from, v.s[i]) : NULL;

		n = tmpl_char(v.s + i);
		utf8proc_iterate((const uint8_t *)v.s + i, (utf8proc_ssize_t)n, &c);
		if (hit)
			tmpl_addf(t, out, "\\%c", to[hit - from]);
		else if (c < 0x20 || (ascii && c >= 0x7f && c < 0x10000 && c != 0x7f))
			tmpl_addf(t, out, "\\u%04x", (unsigned)c);
		else if (ascii && c >= 0x10000)
			tmpl_addf(t, out, "\\u%04x\\u%04x", 0xd7c0 + ((unsigned)c >> 10),
				  0xdc00 + ((unsigned)c & 0x3ff));
		else
			tmpl_add(t, out, v.s + i, n);
	}
	tmpl_add(t, out, "\"", 1);
}

static void add_line(struct tmpl *t, struct tmpl_text *out, const struct tmpl_json *j, int level)
{
	if (j->indent < 0)
		return;
	tmpl_add(t, out, "\n", 1);
	for (int i = 0; i < level && !t->rc; i++)
		for (int k = 0; k < j->indent; k++)
			tmpl_add(t, out, " ", 1);
}

static void add_json_list(struct tmpl *t, struct tmpl_text *out, const struct tmpl_list *l,
			  const struct tmpl_json *j, int level)
{
	tmpl_add(t, out, "[", 1);
	for (uint32_t i = 0; i < l->n && !t->rc; i++) {
		if (i)
			tmpl_add(t, out, j->item_sep.s, j->item_sep.n);
		add_line(t, out, j, level + 1);
		tmpl_add_json(t, out, l->v[i], j, level + 1);
	}
	if (l->n)
		add_line(t, out, j, level);
	tmpl_add(t, out, "]", 1);
}

static void add_json_key(struct tmpl *t, struct tmpl_text *out, struct tmpl_value key,
			 const struct tmpl_json *j, int level)
{
	struct tmpl_text text = { 0 };

	if (key.kind == TMPL_STR) {
		add_json_str(t, out, key, j->ascii);
		return;
	}
	/* keys are strings: "1", "true", "null" */
	if (key.kind < TMPL_NONE || key.kind > TMPL_FLOAT)
		tmpl_fail(t, "a %s cannot be a key in JSON", tmpl_type_name(key));
	tmpl_add_json(t, &text, key, j, level);
	add_json_str(t, out, tmpl_text_value(&text), j->ascii);
}

/* The keys' order: as they are, or sorted. */
static uint32_t *key_order(struct tmpl *t, const struct tmpl_dict *d, bool sort)
{
	uint32_t *at = tmpl_get(t, (size_t)d->n + 1, sizeof(*at));

	for (uint32_t i = 0; at && i < d->n && !t->rc; i++) {
		uint32_t k = i;

		for (; sort && k && tmpl_order(t, d->keys[at[k - 1]], d->keys[i], false) > 0; k--)
			at[k] = at[k - 1];
		at[k] = i;
	}
	return at;
}

static void add_json_dict(struct tmpl *t, struct tmpl_text *out, const struct tmpl_dict *d,
			  const struct tmpl_json *j, int level)
{
	uint32_t *at = key_order(t, d, j->sort);

	tmpl_add(t, out, "{", 1);
	for (uint32_t i = 0; at && i < d->n && !t->rc; i++) {
		if (i)
			tmpl_add(t, out, j->item_sep.s, j->item_sep.n);
		add_line(t, out, j, level + 1);
		add_json_key(t, out, d->keys[at[i]], j, level + 1);
		tmpl_add(t, out, j->key_sep.s, j->key_sep.n);
		tmpl_add_json(t, out, d->values[at[i]], j, level + 1);
	}
	if (d->n)
		add_line(t, out, j, level);
	tmpl_add(t, out, "}", 1);
}

void tmpl_add_json(struct tmpl *t, struct tmpl_text *out, struct tmpl_value v,
		   const struct tmpl_json *j, int level)
{
	if (!tmpl_enter(t, TMPL_RUN_DEPTH))
		goto out;
	switch ((enum tmpl_kind)v.kind) {
	case TMPL_NONE:
		tmpl_add(t, out, "null", 4);
		break;
	case TMPL_BOOL:
		tmpl_addf(t, out, "%s", v.b ? "true" : "false");
		break;
	case TMPL_INT:
		tmpl_addf(t, out, "%lld", (long long)v.i);
		break;
	case TMPL_FLOAT:
		if (isfinite(v.f))
			tmpl_add_float(t, out, v.f);
		else
			tmpl_addf(t, out, "%s",
				  isnan(v.f) ? "NaN" :
				  v.f < 0    ? "-Infinity" :
					       "Infinity");
		break;
	case TMPL_STR:
		add_json_str(t, out, v, j->ascii);
		break;
	case TMPL_LIST:
		if (v.list_kind == TMPL_IS_GENERATOR)
			tmpl_fail(t, "a generator is nothing that JSON has");
		else
			add_json_list(t, out, v.list, j, level);
		break;
	case TMPL_DICT:
		add_json_dict(t, out, v.dict, j, level);
		break;
	default:
		tmpl_fail(t, "a %s is nothing that JSON has", tmpl_type_name(v));
	}
out:
	tmpl_leave(t);
}
