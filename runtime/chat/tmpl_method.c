/* SPDX-License-Identifier: MIT */
/*
 * tmpl_method: what dicts, lists and loops can be asked; strings are in tmpl_method_str.c. Nothing here changes
 * what it is asked of: as with transformers, a template must not.
 */
#include "chat/tmpl.h"

#define METHOD(name) TMPL_FN(name, s)

METHOD(m_refused)
{
	(void)c;
	return tmpl_fail(t, "a template must not change a %s", tmpl_type_name(s));
}

/* ------------------------------------------------------------------ dicts */

METHOD(d_get)
{
	const struct tmpl_value *v = tmpl_dict_get(t, s.dict, *c->arg[0]);

	return v ? *v : c->arg[1] ? *c->arg[1] : tmpl_none();
}

METHOD(d_keys)
{
	struct tmpl_value out = tmpl_new_list(t, TMPL_IS_LIST, s.dict->n);

	(void)c;
	for (uint32_t i = 0; i < s.dict->n; i++)
		tmpl_push(t, out, s.dict->keys[i]);
	return out;
}

METHOD(d_values)
{
	struct tmpl_value out = tmpl_new_list(t, TMPL_IS_LIST, s.dict->n);

	(void)c;
	for (uint32_t i = 0; i < s.dict->n; i++)
		tmpl_push(t, out, s.dict->values[i]);
	return out;
}

METHOD(d_items)
{
	static const struct tmpl_args none;

	(void)c;
	return tmpl_call_fn(t, tmpl_find_filter("items", 5), s, &none);
}

METHOD(d_copy)
{
	struct tmpl_value out = tmpl_new_dict(t, TMPL_DICT);

	(void)c;
	for (uint32_t i = 0; i < s.dict->n && !t->rc; i++)
		tmpl_put(t, out.dict, s.dict->keys[i], s.dict->values[i]);
	return out;
}

const struct tmpl_fn tmpl_dict_methods[] = {
	{ "get", d_get, "key,default", 1 },
	{ "keys", d_keys, "", 0 },
	{ "values", d_values, "", 0 },
	{ "items", d_items, "", 0 },
	{ "copy", d_copy, "", 0 },
	{ "clear", m_refused, "*", 0 },
	{ "pop", m_refused, "*", 0 },
	{ "popitem", m_refused, "*", 0 },
	{ "setdefault", m_refused, "*", 0 },
	{ "update", m_refused, "*", 0 },
	{ 0 },
};

/* ------------------------------------------------------------------ lists */

METHOD(l_index)
{
	for (uint32_t i = 0; i < s.list->n; i++)
		if (tmpl_equal(t, s.list->v[i], *c->arg[0]))
			return tmpl_int(i);
	return tmpl_fail(t, "index() does not find what it looks for");
}

METHOD(l_count)
{
	int64_t n = 0;

	for (uint32_t i = 0; i < s.list->n; i++)
		n += tmpl_equal(t, s.list->v[i], *c->arg[0]);
	return tmpl_int(n);
}

const struct tmpl_fn tmpl_list_methods[] = {
	{ "index", l_index, "value", 1 },
	{ "count", l_count, "value", 1 },
	{ "append", m_refused, "*", 0 },
	{ "clear", m_refused, "*", 0 },
	{ "extend", m_refused, "*", 0 },
	{ "insert", m_refused, "*", 0 },
	{ "pop", m_refused, "*", 0 },
	{ "remove", m_refused, "*", 0 },
	{ "reverse", m_refused, "*", 0 },
	{ "sort", m_refused, "*", 0 },
	{ 0 },
};

/* -------------------------------------------------------------------- loops */

METHOD(o_cycle)
{
	if (!c->all->n)
		return tmpl_fail(t, "loop.cycle() has nothing to choose from");
	return c->all->v[s.loop->at % c->all->n];
}

/* Is it another value than the last time? */
METHOD(o_changed)
{
	struct tmpl_value now = tmpl_new_list(t, TMPL_IS_TUPLE, c->all->n);
	bool changed;

	for (uint32_t i = 0; i < c->all->n; i++)
		tmpl_push(t, now, c->all->v[i]);
	changed = !s.loop->any_changed || !tmpl_equal(t, now, s.loop->changed);
	s.loop->changed = now;
	s.loop->any_changed = true;
	return tmpl_bool(changed);
}

const struct tmpl_fn tmpl_loop_methods[] = {
	{ "cycle", o_cycle, "*", 0 },
	{ "changed", o_changed, "*", 0 },
	{ 0 },
};
