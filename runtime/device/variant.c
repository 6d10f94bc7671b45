/* SPDX-License-Identifier: MIT */
/* variant: the table of what may be varied, and how it is written. */
#include <stdio.h>
#include <stdlib.h>
#include "device/variant.h"

/* A parameter's numbers are powers of two, unless they are listed. */
static const struct parameter {
	const char *name;
	size_t offset;
	int n; /* numbers, with an x between them; the second may be left out of "local" */
	int lo, hi;
	bool any; /* any number of the range, not powers of two alone */
} parameters[] = {
#define P(name, field, n, lo, hi, any)                                      \
	{                                                                   \
		name, offsetof(struct sherd_variant, field), n, lo, hi, any \
	}
	P("local", local, 2, 1, 1024, false),	  P("kernel", kernel, 1, 1, 16, false),
	P("ahead", ahead, 1, 64, 1 << 16, false), P("blocks", blocks, 1, 1, 16, false),
	P("tile", tile, 2, 1, 16, true),	  P("parts", parts, 1, 1, 64, true),
	P("pieces", pieces, 1, 1, 256, false),
#undef P
};

static int *numbers_of(struct sherd_variant *v, const struct parameter *p)
{
	return (int *)((char *)v + p->offset);
}

/* One number of @p's at *text, which moves behind it. */
static bool parse_number(const struct parameter *p, const char **text, int *v)
{
	char *end;
	long n;

	if (**text < '1' || **text > '9')
		return false;
	n = strtol(*text, &end, 10);
	if (n < p->lo || n > p->hi || (!p->any && (n & (n - 1))))
		return false;
	*v = (int)n;
	*text = end;
	return true;
}

static bool parse_one(struct sherd_variant *v, const char **text)
{
	size_t i, len;

	for (i = 0; i < ARRAY_SIZE(parameters); i++) {
		const struct parameter *p = &parameters[i];
		int *to = numbers_of(v, p);

		len = strlen(p->name);
		if (strncmp(*text, p->name, len) || (*text)[len] != '=')
			continue;
		*text += len + 1;
		if (to[0] || !parse_number(p, text, &to[0]))
			return false;
		if (p->n == 1 || **text != 'x')
			return p->n == 1 || p->offset == offsetof(struct sherd_variant, local);
		++*text;
		return parse_number(p, text, &to[1]);
	}
	return false;
}

/* What the kernels' arrays, and the least device, have room for. */
static bool go_together(const struct sherd_variant *v)
{
	int blocks = v->blocks ? v->blocks : 4, pair = v->tile[0] ? v->tile[0] : 2;

	return v->kernel != 2 && pair <= 4 && !(pair & (pair - 1)) && blocks % pair == 0 &&
	       v->local[0] * MAX(v->local[1], 1) <= 1024;
}

bool sherd_variant_parse(struct sherd_variant *v, const char *text)
{
	memset(v, 0, sizeof(*v));
	if (strlen(text) >= SHERD_VARIANT_TEXT)
		return false;
	if (!strcmp(text, "default"))
		return true;
	for (;;) {
		if (!parse_one(v, &text))
			return false;
		if (!*text)
			return go_together(v);
		if (*text++ != '+')
			return false;
	}
}

bool sherd_variant_is_default(const struct sherd_variant *v)
{
	static const struct sherd_variant none;

	return !memcmp(v, &none, sizeof(none));
}

void sherd_variant_print(const struct sherd_variant *v, char text[SHERD_VARIANT_TEXT])
{
	struct sherd_variant copy = *v;
	size_t i, len = 0;

	for (i = 0; i < ARRAY_SIZE(parameters) && len < SHERD_VARIANT_TEXT; i++) {
		const int *n = numbers_of(&copy, &parameters[i]);

		if (!n[0])
			continue;
		len += snprintf(text + len, SHERD_VARIANT_TEXT - len, "%s%s=%d", len ? "+" : "",
				parameters[i].name, n[0]);
		if (parameters[i].n == 2 && n[1] && len < SHERD_VARIANT_TEXT)
			len += snprintf(text + len, SHERD_VARIANT_TEXT - len, "x%d", n[1]);
	}
	if (!len)
		strcpy(text, "default");
}
