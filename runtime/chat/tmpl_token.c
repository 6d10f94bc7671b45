/* SPDX-License-Identifier: MIT */
/*
 * tmpl_token: where the parser stands among the tokens: what is next, taking it, and what is missing
 * if it is something else.
 */
#include "chat/tmpl.h"

struct tmpl_node *tmpl_node(struct tmpl *t, enum tmpl_node_type type)
{
	struct tmpl_node *n = tmpl_get(t, 1, sizeof(*n));

	if (!n)
		return NULL;
	n->type = type;
	n->line = tmpl_peek(t)->line;
	return n;
}

const struct tmpl_token *tmpl_peek(const struct tmpl *t)
{
	return &t->tokens[t->at];
}

bool tmpl_is(const struct tmpl *t, int type)
{
	return tmpl_peek(t)->type == type;
}

bool tmpl_is_name(const struct tmpl *t, const char *name)
{
	return tmpl_is(t, T_NAME) && tmpl_str_is(tmpl_peek(t)->value, name);
}

void tmpl_next(struct tmpl *t)
{
	if (t->at + 1 < t->n_tokens)
		t->at++;
	t->line = tmpl_peek(t)->line;
}

bool tmpl_take(struct tmpl *t, int type)
{
	if (t->rc || !tmpl_is(t, type))
		return false;
	tmpl_next(t);
	return true;
}

bool tmpl_take_name(struct tmpl *t, const char *name)
{
	if (t->rc || !tmpl_is_name(t, name))
		return false;
	tmpl_next(t);
	return true;
}

const char *tmpl_token_text(const struct tmpl_token *k, char buf[64])
{
	static const char *const names[] = {
		"text", "{{", "}}", "{%", "%}", NULL, "a string", "a number",	       "==",
		"!=",	"<=", ">=", "//", "**", "in", "not in",	  "the template's end"
	};

	if (k->type == T_NAME)
		snprintf(buf, 64, "'%.*s'", (int)MIN(k->value.n, 40u), k->value.s);
	else if (k->type < 256)
		snprintf(buf, 64, "'%c'", k->type);
	else
		snprintf(buf, 64, "%s", names[k->type - 256]);
	return buf;
}

bool tmpl_want(struct tmpl *t, int type, const char *what)
{
	char buf[64];

	if (tmpl_take(t, type))
		return true;
	tmpl_fail(t, "%s is missing before %s", what, tmpl_token_text(tmpl_peek(t), buf));
	return false;
}
