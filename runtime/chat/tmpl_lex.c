/* SPDX-License-Identifier: MIT */
/*
 * tmpl_lex: text to tokens. Jinja's rules of white space, with trim_blocks and lstrip_blocks: a
 * line's blanks before a block or a comment go, and one line end behind it; "-" takes all white
 * space, "+" leaves it. One line end at the very end of a template goes too.
 */
#include <ctype.h>
#include <stdlib.h>
#include <utf8proc.h>
#include "chat/tmpl.h"

struct lex {
	struct tmpl *t;
	const char *s;
	size_t n, at;
	bool line_start;	   /* what was read last ended a line, or nothing was */
	char brackets[TMPL_DEPTH]; /* those that are open */
	int n_brackets;
};

static void put(struct lex *l, int type, struct tmpl_value v)
{
	struct tmpl *t = l->t;

	if (t->n_tokens == t->room_tokens) {
		size_t room = t->room_tokens ? t->room_tokens * 2 : 256;
		struct tmpl_token *more = realloc(t->tokens, room * sizeof(*more));

		if (!more) {
			tmpl_fail_oom(t);
			return;
		}
		t->tokens = more;
		t->room_tokens = room;
	}
	t->tokens[t->n_tokens++] = (struct tmpl_token){ type, t->line, v };
}

static void advance(struct lex *l, size_t n)
{
	for (size_t i = 0; i < n; i++)
		l->t->line += l->s[l->at + i] == '\n';
	if (n)
		l->line_start = l->s[l->at + n - 1] == '\n';
	l->at += n;
}

static bool starts(const struct lex *l, const char *what)
{
	size_t n = strlen(what);

	return l->n - l->at >= n && !memcmp(l->s + l->at, what, n);
}

static void skip_space(struct lex *l)
{
	size_t n;

	while ((n = tmpl_space(l->s + l->at, l->n - l->at)))
		advance(l, n);
}

/* Behind "%}" or "#}": a line end. */
static void skip_line_end(struct lex *l)
{
	if (l->at < l->n && l->s[l->at] == '\n')
		advance(l, 1);
}

/* ---------------------------------------------------------- between tags */

static const char *next_tag(const struct lex *l, size_t from)
{
	for (size_t i = from; i + 1 < l->n; i++)
		if (l->s[i] == '{' &&
		    (l->s[i + 1] == '{' || l->s[i + 1] == '%' || l->s[i + 1] == '#'))
			return l->s + i;
	return l->s + l->n;
}

/* How much of the @n bytes at hand stays, when the tag behind them has been seen. */
static size_t text_before(const struct lex *l, size_t n, bool print, char sign)
{
	const char *s = l->s + l->at;
	size_t line = n, space;

	if (sign == '-') {
		while ((space = tmpl_space_back(s, n)))
			n -= space;
		return n;
	}
	if (sign == '+' || print)
		return n;
	while (line && s[line - 1] != '\n')
		line--;
	if (!line && !l->line_start)
		return n;
	for (size_t i = line; i < n; i += space) {
		space = tmpl_space(s + i, n - i);
		if (!space)
			return n;
	}
	return line;
}

static void put_text(struct lex *l, size_t n, size_t keep)
{
	if (keep)
		put(l, T_TEXT, tmpl_str(l->s + l->at, keep));
	advance(l, n);
}

/* Behind "{#", to behind its "#}". */
static void skip_comment(struct lex *l)
{
	const char *end = memmem(l->s + l->at, l->n - l->at, "#}", 2);
	size_t n;

	if (!end) {
		tmpl_fail(l->t, "a comment that begins here does not end");
		return;
	}
	n = (size_t)(end - (l->s + l->at));
	advance(l, n + 2);
	if (n && end[-1] == '-')
		skip_space(l);
	else if (!n || end[-1] != '+')
		skip_line_end(l);
}

/* "{% raw %}" at hand, its length; 0: it is not. */
static size_t raw_tag(const struct lex *l, size_t at, const char *name, char *sign)
{
	size_t i = at + 2, n = strlen(name);

	if (at + 2 > l->n || l->s[at] != '{' || l->s[at + 1] != '%')
		return 0;
	if (i < l->n && (l->s[i] == '-' || l->s[i] == '+'))
		i++;
	while (i < l->n && isspace((uint8_t)l->s[i]))
		i++;
	if (l->n - i < n || memcmp(l->s + i, name, n))
		return 0;
	i += n;
	while (i < l->n && isspace((uint8_t)l->s[i]))
		i++;
	*sign = i < l->n ? l->s[i] : 0;
	if (*sign == '-' || *sign == '+')
		i++;
	return l->n - i >= 2 && !memcmp(l->s + i, "%}", 2) ? i + 2 - at : 0;
}

static void after_block(struct lex *l, char sign)
{
	if (sign == '-')
		skip_space(l);
	else if (sign != '+')
		skip_line_end(l);
}

/* What lies between raw and endraw is text, whatever it is. */
static bool lex_raw(struct lex *l)
{
	char sign = 0;
	size_t n = raw_tag(l, l->at, "raw", &sign), at;
	int line = l->t->line;

	if (!n)
		return false;
	advance(l, n);
	after_block(l, sign);
	for (at = l->at; at < l->n; at++) {
		size_t tag = raw_tag(l, at, "endraw", &sign);

		if (!tag)
			continue;
		put_text(l, at - l->at, text_before(l, at - l->at, false, l->s[at + 2]));
		advance(l, tag);
		after_block(l, sign);
		return true;
	}
	l->t->line = line;
	tmpl_fail(l->t, "a raw block that begins here does not end");
	return true;
}

/* ------------------------------------------------------------ within tags */

static void add_char(char *out, size_t *n, uint32_t c)
{
	bool sound = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);

	*n += (size_t)utf8proc_encode_char(sound ? (utf8proc_int32_t)c : 0xfffd,
					   (uint8_t *)out + *n);
}

/* Python's escapes; @s is behind the backslash. How many bytes they are. */
static size_t escape(const char *s, size_t n, char *out, size_t *to)
{
	static const char from[] = "abfnrtv\\'\"", into[] = "\a\b\f\n\r\t\v\\'\"";
	size_t digits = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0, i;
	const char *hit = *s ? strchr(from, *s) : NULL;
	uint32_t c = 0;

	if (hit) {
		out[(*to)++] = into[hit - from];
		return 1;
	}
	if (*s == '\n')
		return 1;
	if (*s >= '0' && *s <= '7') {
		for (i = 0; i < 3 && i < n && s[i] >= '0' && s[i] <= '7'; i++)
			c = c * 8 + (uint32_t)(s[i] - '0');
		add_char(out, to, c);
		return i;
	}
	for (i = 0; i < digits && i + 1 < n && isxdigit((uint8_t)s[i + 1]); i++)
		c = c * 16 + (uint32_t)(isdigit((uint8_t)s[i + 1]) ? s[i + 1] - '0' :
								     (s[i + 1] | 32) - 'a' + 10);
	if (digits && i == digits) {
		add_char(out, to, c);
		return 1 + digits;
	}
	out[(*to)++] = '\\'; /* what is no escape stays */
	return 0;
}

static void lex_string(struct lex *l)
{
	const char *s = l->s + l->at + 1;
	char quote = s[-1];
	size_t n = 0, to = 0, max = l->n - l->at - 1;
	char *out;

	while (n < max && s[n] != quote)
		n += s[n] == '\\' && n + 1 < max ? 2 : 1;
	if (n >= max) {
		tmpl_fail(l->t, "a string that begins here does not end");
		return;
	}
	/* an escape's text is never longer than the escape: \x80 gives two bytes, \0 one */
	out = tmpl_get(l->t, n + 4, 1);
	if (!out)
		return;
	for (size_t i = 0; i < n;) {
		if (s[i] == '\\' && i + 1 < n) {
			i++;
			i += escape(s + i, n - i, out, &to);
		} else {
			out[to++] = s[i++];
		}
	}
	put(l, T_STRING, tmpl_str(out, to));
	advance(l, n + 2);
}

/* How many bytes from @n on are digits of @base, or underscores. */
static size_t digits(const char *s, size_t n, bool hex)
{
	size_t from = n;

	while (s[n] == '_' || (hex ? isalnum((uint8_t)s[n]) : isdigit((uint8_t)s[n])))
		n++;
	return n - from;
}

/* The text has a NUL behind it, so that looking ahead is safe. */
static void lex_number(struct lex *l)
{
	const char *s = l->s + l->at;
	size_t n = digits(s, 0, false), used = 0;
	int base = n != 1 || s[0] != '0' ? 10 :
		   (s[1] | 32) == 'x'	 ? 16 :
		   (s[1] | 32) == 'o'	 ? 8 :
		   (s[1] | 32) == 'b'	 ? 2 :
					   10;
	bool real = false;
	char text[64], *end;

	if (base != 10)
		n = 2 + digits(s, 2, true);
	if (base == 10 && s[n] == '.' && isdigit((uint8_t)s[n + 1])) {
		real = true;
		n += 1 + digits(s, n + 1, false);
	}
	if (base == 10 && (s[n] | 32) == 'e' &&
	    isdigit((uint8_t)s[n + 1 + (s[n + 1] == '-' || s[n + 1] == '+')])) {
		real = true;
		n += 2 + digits(s, n + 2, false);
	}
	for (size_t i = base == 10 ? 0 : 2; i < n && used < sizeof(text) - 1; i++)
		if (s[i] != '_')
			text[used++] = s[i];
	text[used] = '\0';
	errno = 0;
	put(l, T_NUMBER,
	    real ? tmpl_float(strtod(text, &end)) : tmpl_int(strtoll(text, &end, base)));
	if (*end || errno || !used)
		tmpl_fail(l->t, "'%s' is no number, or too large a one", text);
	advance(l, n);
}

static void lex_name(struct lex *l)
{
	const char *s = l->s + l->at;
	size_t n = 0, max = l->n - l->at;

	while (n < max && (isalnum((uint8_t)s[n]) || s[n] == '_' || (uint8_t)s[n] >= 0x80))
		n++;
	put(l, T_NAME, tmpl_str(tmpl_intern(l->t, s, n), n));
	advance(l, n);
}

/* Brackets come in pairs, and a tag does not end within one. */
static bool lex_bracket(struct lex *l, char c)
{
	static const char open[] = "([{", close[] = ")]}";
	const char *hit = strchr(open, c);

	if (hit && l->n_brackets == TMPL_DEPTH)
		return tmpl_fail(l->t, "brackets are nested too deeply"), false;
	if (hit)
		l->brackets[l->n_brackets++] = close[hit - open];
	else if (strchr(close, c) && (!l->n_brackets || l->brackets[--l->n_brackets] != c))
		return tmpl_fail(l->t, "'%c' closes nothing", c), false;
	return true;
}

static void lex_operator(struct lex *l)
{
	static const struct {
		char text[3];
		int type;
	} two[] = { { "==", T_EQ }, { "!=", T_NE },	  { "<=", T_LE },
		    { ">=", T_GE }, { "//", T_FLOORDIV }, { "**", T_POW } };
	char c = l->s[l->at];

	for (size_t i = 0; i < ARRAY_SIZE(two); i++) {
		if (starts(l, two[i].text)) {
			put(l, two[i].type, tmpl_none());
			advance(l, 2);
			return;
		}
	}
	if (!c || !strchr("+-/*%~[](){}<>=.:|,", c)) {
		tmpl_fail(l->t, "'%.*s' has no meaning here",
			  (int)MIN(tmpl_char(l->s + l->at), l->n - l->at), l->s + l->at);
		return;
	}
	if (!lex_bracket(l, c))
		return;
	put(l, c, tmpl_none());
	advance(l, 1);
}

/* The tag's end at hand: it is taken, with the white space that belongs to it. */
static bool lex_end(struct lex *l, bool print)
{
	const char *end = print ? "}}" : "%}";
	char c = l->s[l->at];
	bool sign = c == '-' || (!print && c == '+');

	if (l->n_brackets)
		return false;
	if (sign)
		l->at++;
	if (!starts(l, end)) {
		l->at -= sign;
		return false;
	}
	put(l, print ? T_PRINT_END : T_BLOCK_END, tmpl_none());
	advance(l, 2);
	if (sign && c == '-')
		skip_space(l);
	else if (!print && !sign)
		skip_line_end(l);
	return true;
}

static void lex_tag(struct lex *l, bool print)
{
	int line = l->t->line;

	l->n_brackets = 0;
	put(l, print ? T_PRINT : T_BLOCK, tmpl_none());
	while (!l->t->rc) {
		char c;

		skip_space(l);
		if (l->at >= l->n) {
			l->t->line = line;
			tmpl_fail(l->t, "a tag that begins here does not end");
			return;
		}
		if (lex_end(l, print))
			return;
		c = l->s[l->at];
		if (c == '"' || c == '\'')
			lex_string(l);
		else if (isdigit((uint8_t)c))
			lex_number(l);
		else if (isalpha((uint8_t)c) || c == '_' || (uint8_t)c >= 0x80)
			lex_name(l);
		else
			lex_operator(l);
	}
}

static void lex_all(struct lex *l)
{
	while (l->at < l->n && !l->t->rc) {
		const char *tag = next_tag(l, l->at);
		size_t n = (size_t)(tag - (l->s + l->at));
		char kind, sign;

		if (l->at + n == l->n) {
			put_text(l, n, n);
			return;
		}
		kind = tag[1];
		sign = l->at + n + 2 < l->n ? tag[2] : 0;
		put_text(l, n, text_before(l, n, kind == '{', sign));
		if (kind == '%' && lex_raw(l))
			continue;
		advance(l, 2 + (sign == '-' || (sign == '+' && kind != '{')));
		if (kind == '#')
			skip_comment(l);
		else
			lex_tag(l, kind == '{');
	}
}

/* Line ends are newlines, and the last one is no part of the template. */
static char *normalize(struct tmpl *t, const char *text, size_t *len)
{
	char *out = tmpl_get(t, *len + 1, 1);
	utf8proc_int32_t c;
	size_t n = 0;

	if (!out)
		return NULL;
	for (size_t i = 0; i < *len;) {
		utf8proc_ssize_t step = utf8proc_iterate((const uint8_t *)text + i,
							 (utf8proc_ssize_t)(*len - i), &c);

		if (step < 1) {
			tmpl_fail(t, "a byte is no UTF-8");
			return NULL;
		}
		if (text[i] == '\r') {
			out[n++] = '\n';
			step = i + 1 < *len && text[i + 1] == '\n' ? 2 : 1;
		} else {
			memcpy(out + n, text + i, (size_t)step);
			n += (size_t)step;
		}
		t->line += out[n - 1] == '\n';
		i += (size_t)step;
	}
	*len = n && out[n - 1] == '\n' ? n - 1 : n;
	t->line = 1;
	return out;
}

int tmpl_lex(struct tmpl *t, const char *text, size_t len)
{
	struct lex l = { .t = t, .line_start = true };

	l.s = normalize(t, text, &len);
	l.n = len;
	if (l.s)
		lex_all(&l);
	put(&l, T_END, tmpl_none());
	return t->rc;
}
