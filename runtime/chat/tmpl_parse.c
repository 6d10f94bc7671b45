/* SPDX-License-Identifier: MIT */
/*
 * tmpl_parse: statements. A template is one list of them; those that have a body end where their
 * own end stands.
 */
#include "chat/tmpl.h"

/* @ends: the names at which a body ends, and NULL; @line: where what has the body begins. */
static struct tmpl_node *parse_body(struct tmpl *t, const char *const *ends, int line);

/* "{%" and then one of the names? */
static bool at_end(const struct tmpl *t, const char *const *ends)
{
	const struct tmpl_token *k = tmpl_peek(t);

	if (k->type != T_BLOCK || k[1].type != T_NAME)
		return false;
	for (; *ends; ends++)
		if (tmpl_str_is(k[1].value, *ends))
			return true;
	return false;
}

static bool end_of_tag(struct tmpl *t)
{
	return tmpl_want(t, T_BLOCK_END, "'%}'");
}

/* The rest of a tag, its body, and "{% @end %}", all taken. */
static struct tmpl_node *tag_body(struct tmpl *t, const char *end)
{
	const char *const ends[] = { end, NULL };
	struct tmpl_node *body;
	int line = t->line;

	if (!end_of_tag(t))
		return NULL;
	body = parse_body(t, ends, line);
	if (t->rc)
		return NULL;
	tmpl_take(t, T_BLOCK);
	tmpl_take_name(t, end);
	/* {% endmacro name %}, as Jinja allows for blocks */
	tmpl_take(t, T_NAME);
	end_of_tag(t);
	return body;
}

static struct tmpl_node *parse_if(struct tmpl *t)
{
	static const char *const ends[] = { "elif", "else", "endif", NULL };
	struct tmpl_node *n = tmpl_node(t, N_IF), *branch;
	struct tmpl_chain branches;
	bool last = false;

	tmpl_chain_init(&branches);
	while (n && !t->rc) {
		branch = tmpl_node(t, N_BRANCH);
		if (!branch)
			break;
		if (!last)
			branch->a = tmpl_parse_tuple(t, false);
		if (!end_of_tag(t))
			break;
		branch->list = parse_body(t, ends, branch->line);
		tmpl_chain_add(&branches, branch);
		tmpl_take(t, T_BLOCK);
		if (tmpl_take_name(t, "endif")) {
			end_of_tag(t);
			break;
		}
		if (last && !t->rc)
			tmpl_fail(t, "nothing but endif may follow an else");
		last = tmpl_take_name(t, "else");
		if (!last)
			tmpl_take_name(t, "elif");
	}
	if (n)
		n->list = branches.first;
	return n;
}

static struct tmpl_node *parse_for(struct tmpl *t)
{
	static const char *const ends[] = { "else", "endfor", NULL };
	struct tmpl_node *n = tmpl_node(t, N_FOR);

	if (!n)
		return NULL;
	n->a = tmpl_parse_target(t, false);
	if (!tmpl_take_name(t, "in"))
		return tmpl_fail(t, "a loop without 'in'"), NULL;
	n->b = tmpl_parse_tuple(t, false);
	if (tmpl_take_name(t, "if"))
		n->c = tmpl_parse_expr(t);
	n->recursive = tmpl_take_name(t, "recursive");
	if (!end_of_tag(t))
		return NULL;
	t->n_loops++;
	n->list = parse_body(t, ends, n->line);
	t->n_loops--;
	tmpl_take(t, T_BLOCK);
	if (tmpl_take_name(t, "else")) {
		n->other = tag_body(t, "endfor");
		return n;
	}
	tmpl_take_name(t, "endfor");
	end_of_tag(t);
	return n;
}

static struct tmpl_node *parse_set(struct tmpl *t)
{
	struct tmpl_node *n = tmpl_node(t, N_SET);

	if (!n)
		return NULL;
	n->a = tmpl_parse_target(t, true);
	if (tmpl_take(t, '=')) {
		n->b = tmpl_parse_tuple(t, true);
		end_of_tag(t);
		return n;
	}
	if (tmpl_is(t, '|'))
		n->other = tmpl_parse_filters(t, tmpl_node(t, N_BLOCK_TEXT));
	n->list = tag_body(t, "endset");
	return n;
}

/* Behind "(": names with or without defaults */
static struct tmpl_node *parse_params(struct tmpl *t)
{
	struct tmpl_chain params;

	tmpl_chain_init(&params);
	while (!t->rc && !tmpl_take(t, ')')) {
		struct tmpl_node *p = tmpl_node(t, N_PARAM);

		if (!p)
			break;
		p->value = tmpl_peek(t)->value;
		tmpl_want(t, T_NAME, "a parameter's name");
		if (tmpl_take(t, '='))
			p->a = tmpl_parse_expr(t);
		tmpl_chain_add(&params, p);
		if (!tmpl_is(t, ')'))
			tmpl_want(t, ',', "a comma");
	}
	return params.first;
}

/* The body of a macro is in no loop, wherever it stands. */
static void macro_body(struct tmpl *t, struct tmpl_node *n, const char *end)
{
	int n_loops = t->n_loops, seen = t->seen;

	t->n_loops = 0;
	t->seen = 0;
	n->list = tag_body(t, end);
	n->op = t->seen;
	t->n_loops = n_loops;
	t->seen = seen;
}

static struct tmpl_node *parse_macro(struct tmpl *t)
{
	struct tmpl_node *n = tmpl_node(t, N_MACRO);

	if (!n)
		return NULL;
	n->value = tmpl_peek(t)->value;
	tmpl_want(t, T_NAME, "a macro's name");
	if (tmpl_want(t, '(', "'('"))
		n->other = parse_params(t);
	macro_body(t, n, "endmacro");
	return n;
}

static struct tmpl_node *parse_call_block(struct tmpl *t)
{
	struct tmpl_node *n = tmpl_node(t, N_CALL_BLOCK);

	if (!n)
		return NULL;
	if (tmpl_take(t, '('))
		n->other = parse_params(t);
	n->a = tmpl_parse_expr(t);
	if (!t->rc && n->a->type != N_CALL)
		tmpl_fail(t, "a call block that calls nothing");
	macro_body(t, n, "endcall");
	return n;
}

static struct tmpl_node *parse_filter_block(struct tmpl *t)
{
	struct tmpl_node *n = tmpl_node(t, N_FILTER_BLOCK);

	if (!n)
		return NULL;
	/* as if "|" stood before the first name */
	t->at--;
	t->tokens[t->at].type = '|';
	n->a = tmpl_parse_filters(t, tmpl_node(t, N_BLOCK_TEXT));
	n->list = tag_body(t, "endfilter");
	return n;
}

static struct tmpl_node *parse_with(struct tmpl *t)
{
	struct tmpl_node *n = tmpl_node(t, N_WITH), *set;
	struct tmpl_chain sets;

	tmpl_chain_init(&sets);
	while (n && !t->rc && !tmpl_is(t, T_BLOCK_END)) {
		set = tmpl_node(t, N_SET);
		if (!set)
			break;
		set->a = tmpl_parse_target(t, false);
		if (tmpl_want(t, '=', "'='"))
			set->b = tmpl_parse_expr(t);
		tmpl_chain_add(&sets, set);
		if (!tmpl_is(t, T_BLOCK_END))
			tmpl_want(t, ',', "a comma");
	}
	if (!n)
		return NULL;
	n->other = sets.first;
	n->list = tag_body(t, "endwith");
	return n;
}

/* What marks a text and does nothing to it: transformers' generation. */
static struct tmpl_node *parse_generation(struct tmpl *t)
{
	struct tmpl_node *n = tmpl_node(t, N_GROUP);

	if (n)
		n->list = tag_body(t, "endgeneration");
	return n;
}

static struct tmpl_node *parse_jump(struct tmpl *t, enum tmpl_node_type type)
{
	struct tmpl_node *n = tmpl_node(t, type);

	if (!t->n_loops)
		tmpl_fail(t, "%s stands in no loop", type == N_BREAK ? "break" : "continue");
	end_of_tag(t);
	return n;
}

static struct tmpl_node *parse_break(struct tmpl *t)
{
	return parse_jump(t, N_BREAK);
}

static struct tmpl_node *parse_continue(struct tmpl *t)
{
	return parse_jump(t, N_CONTINUE);
}

static struct tmpl_node *parse_tag(struct tmpl *t)
{
	static const struct {
		const char *name;
		struct tmpl_node *(*parse)(struct tmpl *t);
	} tags[] = {
		{ "if", parse_if },	      { "for", parse_for },
		{ "set", parse_set },	      { "macro", parse_macro },
		{ "call", parse_call_block }, { "filter", parse_filter_block },
		{ "with", parse_with },	      { "generation", parse_generation },
		{ "break", parse_break },     { "continue", parse_continue },
	};
	char buf[64];

	for (size_t i = 0; i < ARRAY_SIZE(tags); i++)
		if (tmpl_take_name(t, tags[i].name))
			return tags[i].parse(t);
	if (tmpl_is_name(t, "else") || tmpl_is_name(t, "elif") ||
	    (tmpl_is(t, T_NAME) && !strncmp(tmpl_peek(t)->value.s, "end", 3)))
		tmpl_fail(t, "%s ends nothing that is open", tmpl_token_text(tmpl_peek(t), buf));
	else
		tmpl_fail_unknown(
			t,
			"there is no statement %s here (there are if, for, set, macro, call, "
			"filter, with, generation, raw, break and continue)",
			tmpl_token_text(tmpl_peek(t), buf));
	return NULL;
}

static struct tmpl_node *parse_statement(struct tmpl *t)
{
	struct tmpl_node *n;

	if (tmpl_is(t, T_TEXT)) {
		n = tmpl_node(t, N_TEXT);
		if (n)
			n->value = tmpl_peek(t)->value;
		tmpl_take(t, T_TEXT);
		return n;
	}
	if (tmpl_take(t, T_BLOCK))
		return parse_tag(t);
	n = tmpl_node(t, N_PRINT);
	tmpl_take(t, T_PRINT);
	if (n)
		n->a = tmpl_parse_tuple(t, true);
	tmpl_want(t, T_PRINT_END, "'}}'");
	return n;
}

static struct tmpl_node *parse_body(struct tmpl *t, const char *const *ends, int line)
{
	struct tmpl_chain body;

	tmpl_chain_init(&body);
	if (tmpl_enter(t, TMPL_DEPTH)) {
		while (!t->rc && !tmpl_is(t, T_END) && !at_end(t, ends))
			tmpl_chain_add(&body, parse_statement(t));
		if (!t->rc && tmpl_is(t, T_END) && *ends) {
			while (ends[1])
				ends++;
			t->line = line;
			tmpl_fail(t, "what begins here has no %s", *ends);
		}
	}
	tmpl_leave(t);
	return body.first;
}

int tmpl_parse(struct tmpl *t, struct tmpl_node **body)
{
	static const char *const none[] = { NULL };

	t->line = tmpl_peek(t)->line;
	*body = parse_body(t, none, t->line);
	return t->rc;
}
