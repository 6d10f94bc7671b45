/* SPDX-License-Identifier: MIT */
/*
 * tmpl_global: the functions that every template has.
 */
#include "chat/tmpl.h"

#define GLOBAL(name) TMPL_FN(name, self)

/* range(end), range(from, end), range(from, end, step) */
GLOBAL(g_range)
{
	int64_t from = tmpl_arg_int(t, c->arg[0], 0), end = tmpl_arg_int(t, c->arg[1], 0);
	int64_t step = tmpl_arg_int(t, c->arg[2], 1), n;
	struct tmpl_value out = tmpl_new_list(t, TMPL_IS_LIST, 0);

	(void)self;
	if (!c->arg[1]) {
		end = from;
		from = 0;
	}
	if (!step)
		return tmpl_fail(t, "range() cannot go in steps of 0");
	for (n = 0; !t->rc && (step > 0 ? from < end : from > end); n++) {
		if (n == TMPL_RANGE)
			return tmpl_fail(t, "range() gives more than %d numbers", TMPL_RANGE);
		tmpl_push(t, out, tmpl_int(from));
		if (__builtin_add_overflow(from, step, &from))
			break;
	}
	return out;
}

static void put_all(struct tmpl *t, struct tmpl_value to, const struct tmpl_dict *from)
{
	for (uint32_t i = 0; from && i < from->n && !t->rc; i++)
		tmpl_put(t, to.dict, from->keys[i], from->values[i]);
}

/* dict(a=1), dict({"a": 1}), dict([("a", 1)]) */
static struct tmpl_value make_dict(struct tmpl *t, const struct tmpl_args *args,
				   enum tmpl_kind kind)
{
	struct tmpl_value out = tmpl_new_dict(t, kind), pairs;

	if (args->n > 1)
		return tmpl_fail(t, "a dict is made of one value and of named ones, not of %u",
				 args->n);
	if (args->n && (args->v[0].kind == TMPL_DICT || args->v[0].kind == TMPL_NAMESPACE)) {
		put_all(t, out, args->v[0].dict);
	} else if (args->n) {
		pairs = tmpl_items(t, args->v[0]);
		for (uint32_t i = 0; !t->rc && i < pairs.list->n; i++) {
			struct tmpl_value pair = tmpl_items(t, pairs.list->v[i]);

			if (!t->rc && pair.list->n == 2)
				tmpl_put(t, out.dict, pair.list->v[0], pair.list->v[1]);
			else
				tmpl_fail(t, "a dict is made of pairs");
		}
	}
	put_all(t, out, args->named);
	return out;
}

GLOBAL(g_dict)
{
	(void)self;
	return make_dict(t, c->all, TMPL_DICT);
}

GLOBAL(g_namespace)
{
	(void)self;
	return make_dict(t, c->all, TMPL_NAMESPACE);
}

/* The template's own words, for the person who gave it messages that it cannot take. */
GLOBAL(g_raise)
{
	struct tmpl_value s = tmpl_to_str(t, *c->arg[0]);

	(void)self;
	return tmpl_fail(t, "%.*s", (int)MIN(s.n, 300u), s.s);
}

GLOBAL(g_strftime)
{
	struct tmpl_value format = tmpl_to_str(t, *c->arg[0]);
	char buf[512], copy[128];
	struct tm tm;
	struct tmpl_text out = { 0 };

	(void)self;
	if (format.n >= sizeof(copy) || !localtime_r(&t->now, &tm))
		return tmpl_fail(t, "strftime_now() with a format of %u bytes", format.n);
	memcpy(copy, format.s, format.n);
	copy[format.n] = '\0';
	tmpl_add(t, &out, buf, strftime(buf, sizeof(buf), copy, &tm));
	return tmpl_text_value(&out);
}

const struct tmpl_fn tmpl_globals[] = {
	{ "range", g_range, "start,stop,step", 1 },  { "dict", g_dict, "*", 0 },
	{ "namespace", g_namespace, "*", 0 },	     { "raise_exception", g_raise, "message", 1 },
	{ "strftime_now", g_strftime, "format", 1 }, { 0 },
};
