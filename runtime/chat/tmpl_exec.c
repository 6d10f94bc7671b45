/* SPDX-License-Identifier: MIT */
/*
 * tmpl_exec: what statements do. A loop's body, a macro and a block have scopes of their own: what
 * they set is forgotten behind them, which is what templates have namespaces for.
 */
#include "chat/tmpl.h"

/* ---------------------------------------------------------------- scopes */

/* A new scope within @parent, which is the current one now; the one that was. */
static struct tmpl_scope *push_scope(struct tmpl *t, struct tmpl_scope *parent)
{
	struct tmpl_scope *was = t->scope, *s = tmpl_get(t, 1, sizeof(*s));

	if (s) {
		s->parent = parent;
		t->scope = s;
	}
	return was;
}

/* The text that a body gives, in a scope of its own. */
static struct tmpl_value body_text(struct tmpl *t, const struct tmpl_node *list)
{
	struct tmpl_text text = { 0 }, *out = t->out;
	struct tmpl_scope *was = push_scope(t, t->scope);

	t->out = &text;
	tmpl_exec(t, list);
	t->out = out;
	t->scope = was;
	return tmpl_text_value(&text);
}

/* @filters on @text */
static struct tmpl_value filtered(struct tmpl *t, const struct tmpl_node *filters,
				  struct tmpl_value text)
{
	struct tmpl_value was = t->block_text, v;

	t->block_text = text;
	v = tmpl_eval(t, filters);
	t->block_text = was;
	return v;
}

/* ------------------------------------------------------------- assignments */

static void assign_many(struct tmpl *t, const struct tmpl_node *target, struct tmpl_value v)
{
	struct tmpl_value items = tmpl_items(t, v);
	uint32_t n = 0;

	if (t->rc)
		return;
	for (const struct tmpl_node *i = target->list; i; i = i->next)
		n++;
	if (items.list->n != n) {
		tmpl_fail(t, "%u values for %u names", items.list->n, n);
		return;
	}
	n = 0;
	for (const struct tmpl_node *i = target->list; i; i = i->next)
		tmpl_assign(t, i, items.list->v[n++]);
}

void tmpl_assign(struct tmpl *t, const struct tmpl_node *target, struct tmpl_value v)
{
	struct tmpl_value on;

	t->line = target->line;
	if (t->rc)
		return;
	if (target->type == N_NAME) {
		tmpl_bind(t, t->scope, target->value.s, v);
		return;
	}
	if (target->type == N_TUPLE) {
		assign_many(t, target, v);
		return;
	}
	on = tmpl_eval(t, target->a);
	if (on.kind == TMPL_NAMESPACE)
		tmpl_put(t, on.dict, target->value, v);
	else
		tmpl_fail(t, "only a namespace's attributes can be set, not a %s's",
			  tmpl_type_name(on));
}

static void exec_set(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_value v;

	if (n->b) {
		v = tmpl_eval(t, n->b);
	} else {
		v = body_text(t, n->list);
		if (n->other)
			v = filtered(t, n->other, v);
	}
	tmpl_assign(t, n->a, v);
}

/* ------------------------------------------------------------------ loops */

/* Those items for which the condition holds. */
static struct tmpl_value choose(struct tmpl *t, const struct tmpl_node *n, struct tmpl_value items)
{
	struct tmpl_value chosen = tmpl_new_list(t, TMPL_IS_LIST, 0);
	struct tmpl_scope *was = push_scope(t, t->scope);

	for (uint32_t i = 0; !t->rc && i < items.list->n; i++) {
		tmpl_assign(t, n->a, items.list->v[i]);
		if (tmpl_truth(tmpl_eval(t, n->c)))
			tmpl_push(t, chosen, items.list->v[i]);
	}
	t->scope = was;
	return chosen;
}

static void run_loop(struct tmpl *t, const struct tmpl_node *n, struct tmpl_value over, int depth)
{
	struct tmpl_value items = tmpl_items(t, over);
	struct tmpl_loop *loop = tmpl_get(t, 1, sizeof(*loop));
	struct tmpl_scope *was = t->scope;

	if (!t->rc && n->c)
		items = choose(t, n, items);
	if (t->rc)
		return;
	*loop = (struct tmpl_loop){ .items = items.list, .depth = depth, .node = n, .scope = was };
	for (loop->at = 0; loop->at < items.list->n && !t->rc; loop->at++) {
		push_scope(t, was);
		tmpl_bind(t, t->scope, t->template->loop,
			  (struct tmpl_value){ .kind = TMPL_LOOP, .loop = loop });
		tmpl_assign(t, n->a, items.list->v[loop->at]);
		tmpl_exec(t, n->list);
		t->scope = was;
		if (t->flow == FLOW_BREAK)
			break;
		t->flow = FLOW_ON;
	}
	t->flow = FLOW_ON;
	if (!items.list->n) {
		push_scope(t, was);
		tmpl_exec(t, n->other);
		t->scope = was;
	}
}

struct tmpl_value tmpl_call_loop(struct tmpl *t, struct tmpl_loop *l, const struct tmpl_args *args)
{
	struct tmpl_text text = { 0 }, *out = t->out;
	struct tmpl_scope *was = t->scope;

	if (!l->node->recursive || args->n != 1)
		return tmpl_fail(t, "a loop is called with one list, and is declared recursive");
	if (tmpl_enter(t, TMPL_RUN_DEPTH)) {
		t->out = &text;
		t->scope = l->scope;
		run_loop(t, l->node, args->v[0], l->depth + 1);
		t->scope = was;
		t->out = out;
	}
	tmpl_leave(t);
	return tmpl_text_value(&text);
}

/* ----------------------------------------------------------------- macros */

static struct tmpl_value make_macro(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_macro *m = tmpl_get(t, 1, sizeof(*m));

	if (!m)
		return tmpl_undefined("", 0);
	m->node = n;
	m->scope = t->scope;
	return (struct tmpl_value){ .kind = TMPL_MACRO, .macro = m };
}

/* In the macro's scope: a parameter's default may name those before it. */
static uint32_t bind_params(struct tmpl *t, const struct tmpl_macro *m,
			    const struct tmpl_args *args)
{
	const struct tmpl_value *named;
	struct tmpl_value v;
	uint32_t n = 0;

	for (const struct tmpl_node *p = m->node->other; p && !t->rc; p = p->next, n++) {
		named = args->named ? tmpl_dict_get(t, args->named, p->value) : NULL;
		if (n < args->n)
			v = args->v[n];
		else if (named)
			v = *named;
		else
			v = p->a ? tmpl_eval(t, p->a) : tmpl_undefined(p->value.s, p->value.n);
		tmpl_bind(t, t->scope, p->value.s, v);
	}
	return n;
}

/* Of the parameters behind the first @n, which have their values by their place? */
static bool is_param(const struct tmpl_macro *m, uint32_t n, struct tmpl_value name)
{
	uint32_t i = 0;

	for (const struct tmpl_node *p = m->node->other; p; p = p->next, i++)
		if (i >= n && p->value.n == name.n && !memcmp(p->value.s, name.s, name.n))
			return true;
	return false;
}

/* What was given beyond the parameters, to those macros that ask for it. */
static void bind_rest(struct tmpl *t, const struct tmpl_macro *m, const struct tmpl_args *args,
		      uint32_t n_params)
{
	struct tmpl_value rest = tmpl_new_list(t, TMPL_IS_TUPLE, 0);
	struct tmpl_value named = tmpl_new_dict(t, TMPL_DICT);
	struct tmpl_value caller = tmpl_undefined("caller", 6);
	struct tmpl_value name = m->node->type == N_MACRO ? m->node->value : caller;
	int sees = m->node->op;

	for (uint32_t i = n_params; i < args->n && !t->rc; i++)
		tmpl_push(t, rest, args->v[i]);
	for (uint32_t i = 0; args->named && i < args->named->n && !t->rc; i++) {
		struct tmpl_value key = args->named->keys[i], v = args->named->values[i];

		if (tmpl_str_is(key, "caller") && (sees & TMPL_SEES_CALLER))
			caller = v;
		else if (!is_param(m, args->n, key))
			tmpl_put(t, named.dict, key, v);
	}
	if (t->rc)
		return;
	if (rest.list->n && !(sees & TMPL_SEES_VARARGS))
		tmpl_fail(t, "the macro '%.*s' takes at most %u arguments, not %u",
			  (int)MIN(name.n, 60u), name.s, n_params, args->n);
	if (named.dict->n && !(sees & TMPL_SEES_KWARGS))
		tmpl_fail(t, "the macro '%.*s' takes no '%.*s'", (int)MIN(name.n, 60u), name.s,
			  (int)MIN(named.dict->keys[0].n, 60u), named.dict->keys[0].s);
	if (sees & TMPL_SEES_VARARGS)
		tmpl_bind(t, t->scope, t->template->varargs, rest);
	if (sees & TMPL_SEES_KWARGS)
		tmpl_bind(t, t->scope, t->template->kwargs, named);
	if (sees & TMPL_SEES_CALLER)
		tmpl_bind(t, t->scope, t->template->caller, caller);
}

struct tmpl_value tmpl_call_macro(struct tmpl *t, struct tmpl_macro *m,
				  const struct tmpl_args *args)
{
	struct tmpl_text text = { 0 }, *out = t->out;
	struct tmpl_scope *was = t->scope;
	int line = t->line;

	if (tmpl_enter(t, TMPL_RUN_DEPTH)) {
		push_scope(t, m->scope);
		bind_rest(t, m, args, bind_params(t, m, args));
		t->out = &text;
		tmpl_exec(t, m->node->list);
		t->out = out;
		t->scope = was;
	}
	tmpl_leave(t);
	if (!t->rc)
		t->line = line;
	return tmpl_text_value(&text);
}

/* The call's text, the block being its caller(). */
static void exec_call_block(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_node name = { .type = N_CONST, .line = n->line }, caller, call;
	struct tmpl_value v = make_macro(t, n);

	/* the call as if caller=... stood behind its arguments */
	name.value = v;
	caller = (struct tmpl_node){ .type = N_KEYWORD, .line = n->line, .a = &name };
	caller.value = tmpl_str("caller", 6);
	call = *n->a;
	caller.next = call.list;
	call.list = &caller;
	tmpl_add_str(t, t->out, tmpl_eval(t, &call));
}

/* -------------------------------------------------------------- statements */

static void exec_if(struct tmpl *t, const struct tmpl_node *n)
{
	for (const struct tmpl_node *b = n->list; b && !t->rc; b = b->next) {
		if (!b->a || tmpl_truth(tmpl_eval(t, b->a))) {
			tmpl_exec(t, b->list);
			return;
		}
	}
}

static void exec_with(struct tmpl *t, const struct tmpl_node *n)
{
	struct tmpl_scope *was = push_scope(t, t->scope);

	for (const struct tmpl_node *s = n->other; s && !t->rc; s = s->next)
		exec_set(t, s);
	tmpl_exec(t, n->list);
	t->scope = was;
}

static void exec_one(struct tmpl *t, const struct tmpl_node *n)
{
	t->line = n->line;
	switch (n->type) {
	case N_TEXT:
		tmpl_add(t, t->out, n->value.s, n->value.n);
		break;
	case N_PRINT:
		tmpl_add_str(t, t->out, tmpl_eval(t, n->a));
		break;
	case N_IF:
		exec_if(t, n);
		break;
	case N_FOR:
		run_loop(t, n, tmpl_eval(t, n->b), 1);
		break;
	case N_SET:
		exec_set(t, n);
		break;
	case N_MACRO:
		tmpl_bind(t, t->scope, n->value.s, make_macro(t, n));
		break;
	case N_CALL_BLOCK:
		exec_call_block(t, n);
		break;
	case N_FILTER_BLOCK:
		tmpl_add_str(t, t->out, filtered(t, n->a, body_text(t, n->list)));
		break;
	case N_WITH:
	case N_GROUP:
		exec_with(t, n);
		break;
	case N_BREAK:
		t->flow = FLOW_BREAK;
		break;
	case N_CONTINUE:
		t->flow = FLOW_CONTINUE;
		break;
	default:
		tmpl_fail(t, "this is no statement");
	}
}

void tmpl_exec(struct tmpl *t, const struct tmpl_node *list)
{
	if (tmpl_enter(t, TMPL_RUN_DEPTH))
		for (const struct tmpl_node *n = list; n && !t->rc && t->flow == FLOW_ON;
		     n = n->next)
			if (tmpl_work(t, 0))
				exec_one(t, n);
	tmpl_leave(t);
}
