/* SPDX-License-Identifier: MIT */
/*
 * tmpl_fn: functions, filters, tests and methods are rows of tables, and this finds a row, and
 * its parameters among the arguments.
 */
#include "chat/tmpl.h"

const struct tmpl_fn *tmpl_find_fn(const struct tmpl_fn *table, const char *s, size_t n)
{
	for (; table->name; table++)
		if (strlen(table->name) == n && !memcmp(table->name, s, n))
			return table;
	return NULL;
}

const struct tmpl_fn *tmpl_find_filter(const char *s, size_t n)
{
	const struct tmpl_fn *fn = tmpl_find_fn(tmpl_filters, s, n);

	return fn ? fn : tmpl_find_fn(tmpl_list_filters, s, n);
}

/* The @i-th name of "old,new,count"; its length, 0: there are fewer. */
static size_t param(const char *params, int i, const char **name)
{
	while (i-- && params)
		params = strchr(params, ',') ? strchr(params, ',') + 1 : NULL;
	*name = params ? params : "";
	return strcspn(*name, ",");
}

static void take_named(struct tmpl *t, const struct tmpl_fn *fn, const struct tmpl_dict *named,
		       struct tmpl_call *c)
{
	for (uint32_t k = 0; named && k < named->n; k++) {
		struct tmpl_value key = named->keys[k];
		const char *name;
		size_t n = 1;
		int i;

		for (i = 0; i < TMPL_PARAMS && (n = param(fn->params, i, &name)); i++)
			if (key.n == n && !memcmp(key.s, name, n))
				break;
		if (i == TMPL_PARAMS || !n)
			tmpl_fail(t, "%s() takes no '%.*s'", fn->name, (int)MIN(key.n, 60u), key.s);
		else if (c->arg[i])
			tmpl_fail(t, "%s() was given '%.*s' twice", fn->name, (int)n, name);
		else
			c->arg[i] = &named->values[k];
	}
}

struct tmpl_value tmpl_call_fn(struct tmpl *t, const struct tmpl_fn *fn, struct tmpl_value self,
			       const struct tmpl_args *args)
{
	struct tmpl_call c = { .all = args };
	const char *name;

	if (t->rc || !tmpl_work(t, 0))
		return tmpl_undefined("", 0);
	if (*fn->params != '*') {
		for (uint32_t i = 0; i < args->n; i++) {
			if (i == TMPL_PARAMS || !param(fn->params, (int)i, &name))
				return tmpl_fail(t, "%s() takes fewer than %u arguments", fn->name,
						 args->n);
			c.arg[i] = &args->v[i];
		}
		take_named(t, fn, args->named, &c);
	}
	for (int i = 0; i < fn->required; i++) {
		size_t n = param(fn->params, i, &name);

		if (!c.arg[i] && !t->rc && *fn->params != '*')
			return tmpl_fail(t, "%s() needs its '%.*s'", fn->name, (int)n, name);
	}
	return t->rc ? tmpl_undefined("", 0) : fn->call(t, self, &c);
}

struct tmpl_value tmpl_method(struct tmpl *t, struct tmpl_value self, const char *name, size_t n)
{
	const struct tmpl_fn *fn = NULL;
	struct tmpl_func *f;

	if (self.kind == TMPL_STR)
		fn = tmpl_find_fn(tmpl_str_methods, name, n);
	else if (self.kind == TMPL_DICT)
		fn = tmpl_find_fn(tmpl_dict_methods, name, n);
	else if (self.kind == TMPL_LIST)
		fn = tmpl_find_fn(tmpl_list_methods, name, n);
	else if (self.kind == TMPL_LOOP)
		fn = tmpl_find_fn(tmpl_loop_methods, name, n);
	if (!fn)
		return tmpl_undefined(name, n);
	f = tmpl_get(t, 1, sizeof(*f));
	if (!f)
		return tmpl_undefined(name, n);
	f->fn = fn;
	f->self = self;
	return (struct tmpl_value){ .kind = TMPL_FUNC, .func = f };
}

struct tmpl_value tmpl_call_value(struct tmpl *t, struct tmpl_value callee,
				  const struct tmpl_args *args)
{
	if (callee.kind == TMPL_FUNC)
		return tmpl_call_fn(t, callee.func->fn, callee.func->self, args);
	if (callee.kind == TMPL_MACRO)
		return tmpl_call_macro(t, callee.macro, args);
	if (callee.kind == TMPL_LOOP)
		return tmpl_call_loop(t, callee.loop, args);
	if (callee.kind == TMPL_UNDEFINED)
		return tmpl_fail(t, "there is no '%.*s' to be called", (int)MIN(callee.n, 60u),
				 callee.s);
	return tmpl_fail(t, "a %s cannot be called", tmpl_type_name(callee));
}
