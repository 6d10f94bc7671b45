/* SPDX-License-Identifier: MIT */
/*
 * tmpl_text: strings. They are UTF-8 and valid, for templates and what they are given were checked;
 * what counts or cuts does so by characters. White space and letters' cases are Unicode's.
 */
#include <utf8proc.h>
#include "chat/tmpl.h"

void tmpl_add(struct tmpl *t, struct tmpl_text *out, const char *s, size_t n)
{
	if (!n || !tmpl_work(t, n))
		return;
	if (out->n + n > out->room) {
		size_t room = MAX(out->n + n, out->room * 2);
		char *more = tmpl_get(t, MAX(room, (size_t)64), 1);

		if (!more)
			return;
		if (out->n)
			memcpy(more, out->s, out->n);
		out->s = more;
		out->room = MAX(room, (size_t)64);
	}
	memcpy(out->s + out->n, s, n);
	out->n += n;
}

void tmpl_addf(struct tmpl *t, struct tmpl_text *out, const char *fmt, ...)
{
	char buf[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	tmpl_add(t, out, buf, (size_t)(n < 0 ? 0 : MIN(n, (int)sizeof(buf) - 1)));
}

size_t tmpl_chars(struct tmpl_value s)
{
	size_t n = 0;

	for (uint32_t i = 0; i < s.n; i++)
		n += ((uint8_t)s.s[i] & 0xc0) != 0x80;
	return n;
}

static utf8proc_int32_t point(const char *s)
{
	utf8proc_int32_t c = 0;

	utf8proc_iterate((const uint8_t *)s, (utf8proc_ssize_t)tmpl_char(s), &c);
	return c;
}

/* str.isspace(): Unicode's separators, and the control characters that its classes call so. */
static bool is_space(utf8proc_int32_t c)
{
	if (c < 0x80)
		return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
	return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
	       c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

size_t tmpl_space(const char *s, size_t n)
{
	return n && is_space(point(s)) ? tmpl_char(s) : 0;
}

/* Bytes of the last character. */
static size_t char_back(const char *s, size_t n)
{
	size_t k = 1;

	while (k < n && ((uint8_t)s[n - k] & 0xc0) == 0x80)
		k++;
	return k;
}

size_t tmpl_space_back(const char *s, size_t n)
{
	size_t k = n ? char_back(s, n) : 0;

	return k && is_space(point(s + n - k)) ? k : 0;
}

static bool is_among(const char *c, size_t n, struct tmpl_value chars)
{
	for (size_t i = 0; i < chars.n; i += tmpl_char(chars.s + i))
		if (tmpl_char(chars.s + i) == n && !memcmp(chars.s + i, c, n))
			return true;
	return false;
}

struct tmpl_value tmpl_strip(struct tmpl *t, struct tmpl_value s, const struct tmpl_value *chars,
			     int sides)
{
	bool any = !chars || chars->kind == TMPL_NONE;
	size_t n;

	if (!any && chars->kind != TMPL_STR)
		return tmpl_fail(t, "strip() takes a string, not a %s", tmpl_type_name(*chars));
	while ((sides & TMPL_LEFT) && s.n && tmpl_work(t, any ? 0 : chars->n)) {
		n = tmpl_char(s.s);
		if (!(any ? is_space(point(s.s)) : is_among(s.s, n, *chars)))
			break;
		s.s += n;
		s.n -= (uint32_t)n;
	}
	while ((sides & TMPL_RIGHT) && s.n && tmpl_work(t, any ? 0 : chars->n)) {
		n = char_back(s.s, s.n);
		if (!(any ? is_space(point(s.s + s.n - n)) : is_among(s.s + s.n - n, n, *chars)))
			break;
		s.n -= (uint32_t)n;
	}
	return s;
}

static bool is_letter(utf8proc_int32_t c)
{
	utf8proc_category_t k = utf8proc_category(c);

	return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

struct tmpl_value tmpl_recase(struct tmpl *t, struct tmpl_value s, enum tmpl_case to)
{
	struct tmpl_text out = { 0 };
	bool first = true;
	uint8_t buf[4];

	for (size_t i = 0; i < s.n && !t->rc; i += tmpl_char(s.s + i)) {
		utf8proc_int32_t c = point(s.s + i);
		bool upper = to == TMPL_UPPER || (first && to != TMPL_LOWER);

		if (upper && c == 0xdf) { /* the one small letter in use whose capital is two */
			tmpl_add(t, &out, to == TMPL_UPPER ? "SS" : "Ss", 2);
		} else {
			utf8proc_int32_t d = upper ? utf8proc_toupper(c) : utf8proc_tolower(c);

			tmpl_add(t, &out, (char *)buf, (size_t)utf8proc_encode_char(d, buf));
		}
		first = to == TMPL_TITLE && !is_letter(c);
	}
	return tmpl_text_value(&out);
}

size_t tmpl_find(struct tmpl *t, struct tmpl_value s, struct tmpl_value what, size_t from)
{
	const char *hit;

	if (from > s.n || !what.n)
		return from > s.n ? SIZE_MAX : from;
	hit = memmem(s.s + from, s.n - from, what.s, what.n);
	if (!tmpl_work(t, hit ? (size_t)(hit - s.s) - from : s.n - from))
		return SIZE_MAX;
	return hit ? (size_t)(hit - s.s) : SIZE_MAX;
}

/* Python puts @by around every character, where @old is empty. */
static struct tmpl_value interleave(struct tmpl *t, struct tmpl_value s, struct tmpl_value by,
				    int64_t count)
{
	struct tmpl_text out = { 0 };

	for (size_t i = 0; i < s.n && !t->rc; i += tmpl_char(s.s + i)) {
		if (count < 0 || count-- > 0)
			tmpl_add(t, &out, by.s, by.n);
		tmpl_add(t, &out, s.s + i, tmpl_char(s.s + i));
	}
	if (count)
		tmpl_add(t, &out, by.s, by.n);
	return tmpl_text_value(&out);
}

struct tmpl_value tmpl_replace(struct tmpl *t, struct tmpl_value s, struct tmpl_value old,
			       struct tmpl_value by, int64_t count)
{
	struct tmpl_text out = { 0 };
	size_t at = 0, hit;

	if (!old.n)
		return interleave(t, s, by, count);
	while (!t->rc && (count < 0 || count-- > 0)) {
		hit = tmpl_find(t, s, old, at);
		if (hit == SIZE_MAX)
			break;
		tmpl_add(t, &out, s.s + at, hit - at);
		tmpl_add(t, &out, by.s, by.n);
		at = hit + old.n;
	}
	if (!at)
		return s;
	tmpl_add(t, &out, s.s + at, s.n - at);
	return tmpl_text_value(&out);
}

/* The line end at @s: its bytes, or 0. */
static size_t line_end(const char *s, size_t n)
{
	utf8proc_int32_t c = point(s);

	if (c == '\r' && n > 1 && s[1] == '\n')
		return 2;
	return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
			       c == 0x2029 ?
		       tmpl_char(s) :
		       0;
}

struct tmpl_value tmpl_splitlines(struct tmpl *t, struct tmpl_value s, bool keep)
{
	struct tmpl_value out = tmpl_new_list(t, TMPL_IS_LIST, 0);
	size_t from = 0, i = 0;

	while (i < s.n && tmpl_work(t, 0)) {
		size_t end = line_end(s.s + i, s.n - i);

		if (!end) {
			i += tmpl_char(s.s + i);
			continue;
		}
		tmpl_push(t, out, tmpl_str(s.s + from, i - from + (keep ? end : 0)));
		i += end;
		from = i;
	}
	if (from < s.n)
		tmpl_push(t, out, tmpl_str(s.s + from, s.n - from));
	return out;
}

struct tmpl_value tmpl_repeat(struct tmpl *t, struct tmpl_value s, int64_t times)
{
	struct tmpl_text out = { 0 };

	for (int64_t i = 0; i < times && s.n && !t->rc; i++)
		tmpl_add(t, &out, s.s, s.n);
	return tmpl_text_value(&out);
}

struct tmpl_value tmpl_escape(struct tmpl *t, struct tmpl_value s)
{
	static const char from[] = "&<>'\"";
	static const char *const to[] = { "&amp;", "&lt;", "&gt;", "&#39;", "&#34;" };
	struct tmpl_text out = { 0 };

	if (s.markup)
		return s;
	for (size_t i = 0; i < s.n && !t->rc; i++) {
		const char *hit = s.s[i] ? strchr(from, s.s[i]) : NULL;

		if (hit)
			tmpl_add(t, &out, to[hit - from], strlen(to[hit - from]));
		else
			tmpl_add(t, &out, s.s + i, 1);
	}
	s = tmpl_text_value(&out);
	s.markup = true;
	return s;
}
