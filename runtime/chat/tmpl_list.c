/* SPDX-License-Identifier: MIT */
/*
 * tmpl_list: filters of what has items.
 */
#include "chat/tmpl.h"

#define FILTER(name) TMPL_FN(name, self)

static struct tmpl_value none_such(const char *name)
{
	return tmpl_undefined(name, strlen(name));
}

FILTER(f_length)
{
	(void)c;
	switch ((enum tmpl_kind)self.kind) {
	case TMPL_UNDEFINED:
		return tmpl_int(0);
	case TMPL_STR:
		return tmpl_work(t, self.n) ? tmpl_int((int64_t)tmpl_chars(self)) : self;
	case TMPL_DICT:
		return tmpl_int(self.dict->n);
	case TMPL_LIST:
		if (self.list_kind != TMPL_IS_GENERATOR)
			return tmpl_int(self.list->n);
		/* fall through */
	default:
		return tmpl_fail(t, "a %s has no length", tmpl_type_name(self));
	}
}

FILTER(f_list)
{
	struct tmpl_value items = tmpl_items(t, self), out;

	(void)c;
	if (t->rc)
		return items;
	out = tmpl_new_list(t, TMPL_IS_LIST, items.list->n);
	for (uint32_t i = 0; i < items.list->n && !t->rc; i++)
		tmpl_push(t, out, items.list->v[i]);
	return out;
}

FILTER(f_first)
{
	struct tmpl_value items = tmpl_items(t, self);

	(void)c;
	return !t->rc && items.list->n ? items.list->v[0] : none_such("first item");
}

FILTER(f_last)
{
	struct tmpl_value items = tmpl_items(t, self);

	(void)c;
	return !t->rc && items.list->n ? items.list->v[items.list->n - 1] : none_such("last item");
}

FILTER(f_reverse)
{
	struct tmpl_value items = tmpl_items(t, self), out;
	struct tmpl_text text = { 0 };

	(void)c;
	if (t->rc)
		return items;
	out = tmpl_new_list(t, TMPL_IS_GENERATOR, items.list->n);
	for (uint32_t i = items.list->n; i-- && !t->rc;) {
		if (self.kind == TMPL_STR)
			tmpl_add(t, &text, items.list->v[i].s, items.list->v[i].n);
		else
			tmpl_push(t, out, items.list->v[i]);
	}
	return self.kind == TMPL_STR ? tmpl_text_value(&text) : out;
}

/* "a.b.0", as attribute= takes it */
static struct tmpl_value dig(struct tmpl *t, struct tmpl_value v, struct tmpl_value path)
{
	const char *s = path.s, *end = s + path.n;

	if (path.kind == TMPL_INT)
		return tmpl_index(t, v, path);
	if (path.kind != TMPL_STR)
		return tmpl_fail(t, "an attribute's name is a %s", tmpl_type_name(path));
	while (!t->rc) {
		const char *dot = memchr(s, '.', (size_t)(end - s));
		size_t n = (size_t)((dot ? dot : end) - s), digits = 0;
		int64_t number = 0;

		while (digits < n && s[digits] >= '0' && s[digits] <= '9' && digits < 9)
			number = number * 10 + s[digits++] - '0';
		v = tmpl_index(t, v, n && digits == n ? tmpl_int(number) : tmpl_str(s, n));
		if (!dot)
			break;
		s = dot + 1;
	}
	return v;
}

/* The key by which an item is sorted, joined, added. */
static struct tmpl_value key_of(struct tmpl *t, struct tmpl_value item,
				const struct tmpl_value *attribute)
{
	return attribute && attribute->kind != TMPL_NONE ? dig(t, item, *attribute) : item;
}

FILTER(f_join)
{
	struct tmpl_value items = tmpl_items(t, self), d = tmpl_str("", 0);
	struct tmpl_text out = { 0 };

	if (c->arg[0])
		d = tmpl_to_str(t, *c->arg[0]);
	for (uint32_t i = 0; !t->rc && i < items.list->n; i++) {
		tmpl_add(t, &out, d.s, i ? d.n : 0);
		tmpl_add_str(t, &out, key_of(t, items.list->v[i], c->arg[1]));
	}
	return tmpl_text_value(&out);
}

FILTER(f_sum)
{
	struct tmpl_value items = tmpl_items(t, self), sum = c->arg[1] ? *c->arg[1] : tmpl_int(0);

	for (uint32_t i = 0; !t->rc && i < items.list->n; i++)
		sum = tmpl_arith(t, N_ADD, sum, key_of(t, items.list->v[i], c->arg[0]));
	return sum;
}

/* ------------------------------------------------------------------ order */

/* Merges keys[from..mid) and [mid..to) with their items; equal ones stay in order. */
static void merge(struct tmpl *t, struct tmpl_value *key[2], struct tmpl_value *item[2],
		  uint32_t from, uint32_t mid, uint32_t to, int way, bool fold)
{
	uint32_t a = from, b = mid;

	for (uint32_t i = from; i < to && !t->rc; i++) {
		bool left = b == to ||
			    (a < mid && way * tmpl_order(t, key[0][a], key[0][b], fold) <= 0);
		uint32_t k = left ? a++ : b++;

		key[1][i] = key[0][k];
		item[1][i] = item[0][k];
	}
}

static struct tmpl_value sorted(struct tmpl *t, struct tmpl_value items, struct tmpl_value keys,
				bool reverse, bool fold)
{
	uint32_t n = items.list->n;
	struct tmpl_value *key[2] = { keys.list->v, tmpl_get(t, n + 1, sizeof(**key)) };
	struct tmpl_value *item[2] = { tmpl_get(t, n + 1, sizeof(**item)),
				       tmpl_get(t, n + 1, sizeof(**item)) };
	struct tmpl_value out = tmpl_new_list(t, TMPL_IS_LIST, 0);

	if (t->rc || !n)
		return out;
	memcpy(item[0], items.list->v, n * sizeof(**item));
	for (uint64_t width = 1; width < n && !t->rc; width *= 2) {
		for (uint64_t i = 0; i < n; i += 2 * width)
			merge(t, key, item, (uint32_t)i, (uint32_t)MIN(i + width, n),
			      (uint32_t)MIN(i + 2 * width, n), reverse ? -1 : 1, fold);
		for (int k = 0; k < 2; k++) {
			struct tmpl_value **pair = k ? item : key, *p = pair[0];

			pair[0] = pair[1];
			pair[1] = p;
		}
	}
	for (uint32_t i = 0; i < n; i++)
		tmpl_push(t, out, item[0][i]);
	return out;
}

static struct tmpl_value keys_of(struct tmpl *t, struct tmpl_value items,
				 const struct tmpl_value *attribute)
{
	struct tmpl_value keys = tmpl_new_list(t, TMPL_IS_LIST, items.list->n);

	for (uint32_t i = 0; i < items.list->n && !t->rc; i++)
		tmpl_push(t, keys, key_of(t, items.list->v[i], attribute));
	return keys;
}

FILTER(f_sort)
{
	struct tmpl_value items = tmpl_items(t, self), keys;

	if (t->rc)
		return items;
	keys = keys_of(t, items, c->arg[2]);
	return t->rc ? items :
		       sorted(t, items, keys, tmpl_arg_bool(c->arg[0], false),
			      !tmpl_arg_bool(c->arg[1], false));
}

static struct tmpl_value pairs(struct tmpl *t, const struct tmpl_dict *d)
{
	struct tmpl_value out = tmpl_new_list(t, TMPL_IS_LIST, d->n);

	for (uint32_t i = 0; i < d->n && !t->rc; i++) {
		struct tmpl_value pair = tmpl_new_list(t, TMPL_IS_TUPLE, 2);

		tmpl_push(t, pair, d->keys[i]);
		tmpl_push(t, pair, d->values[i]);
		tmpl_push(t, out, pair);
	}
	return out;
}

FILTER(f_items)
{
	(void)c;
	if (self.kind == TMPL_UNDEFINED)
		return tmpl_new_list(t, TMPL_IS_GENERATOR, 0);
	if (self.kind != TMPL_DICT)
		return tmpl_fail(t, "items() of a %s: only a dict has some", tmpl_type_name(self));
	return pairs(t, self.dict);
}

FILTER(f_dictsort)
{
	bool by_value =
		c->arg[1] && c->arg[1]->kind == TMPL_STR && tmpl_str_is(*c->arg[1], "value");
	struct tmpl_value keys;

	if (self.kind != TMPL_DICT)
		return tmpl_fail(t, "dictsort() of a %s: only dicts can be sorted by their keys",
				 tmpl_type_name(self));
	keys = tmpl_new_list(t, TMPL_IS_LIST, self.dict->n);
	for (uint32_t i = 0; i < self.dict->n && !t->rc; i++)
		tmpl_push(t, keys, by_value ? self.dict->values[i] : self.dict->keys[i]);
	self = pairs(t, self.dict);
	return t->rc ? self :
		       sorted(t, self, keys, tmpl_arg_bool(c->arg[2], false),
			      !tmpl_arg_bool(c->arg[0], false));
}

static struct tmpl_value fold_key(struct tmpl *t, struct tmpl_value v, bool fold)
{
	return fold && v.kind == TMPL_STR ? tmpl_recase(t, v, TMPL_LOWER) : v;
}

FILTER(f_unique)
{
	struct tmpl_value items = tmpl_items(t, self), out = tmpl_new_list(t, TMPL_IS_GENERATOR, 0);
	struct tmpl_value seen = tmpl_new_list(t, TMPL_IS_LIST, 0);
	bool fold = !tmpl_arg_bool(c->arg[0], false);

	for (uint32_t i = 0; !t->rc && i < items.list->n; i++) {
		struct tmpl_value key = fold_key(t, key_of(t, items.list->v[i], c->arg[1]), fold);

		if (tmpl_contains(t, seen, key))
			continue;
		tmpl_push(t, seen, key);
		tmpl_push(t, out, items.list->v[i]);
	}
	return out;
}

static struct tmpl_value extreme(struct tmpl *t, struct tmpl_value self, const struct tmpl_call *c,
				 int way)
{
	struct tmpl_value items = tmpl_items(t, self), best = none_such("largest or smallest item");
	struct tmpl_value best_key = best;
	bool fold = !tmpl_arg_bool(c->arg[0], false);

	for (uint32_t i = 0; !t->rc && i < items.list->n; i++) {
		struct tmpl_value key = key_of(t, items.list->v[i], c->arg[1]);

		if (i && way * tmpl_order(t, key, best_key, fold) <= 0)
			continue;
		best = items.list->v[i];
		best_key = key;
	}
	return best;
}

FILTER(f_min)
{
	return extreme(t, self, c, -1);
}

FILTER(f_max)
{
	return extreme(t, self, c, 1);
}

/* -------------------------------------------------------------- choosing */

/* Arguments without the first @n. */
static struct tmpl_args behind(const struct tmpl_args *args, uint32_t n)
{
	return (struct tmpl_args){ args->v + n, args->n - n, args->named };
}

/* What is nothing has no items to choose from, and none to fail at: undefined, none, 0. */
static struct tmpl_value items_if_any(struct tmpl *t, struct tmpl_value v)
{
	return tmpl_truth(v) ? tmpl_items(t, v) : tmpl_new_list(t, TMPL_IS_LIST, 0);
}

/* map(attribute="x", default=...), or map("filter", arguments) */
FILTER(f_map)
{
	struct tmpl_value items = items_if_any(t, self),
			  out = tmpl_new_list(t, TMPL_IS_GENERATOR, 0);
	const struct tmpl_value *attribute = NULL, *missing = NULL;
	const struct tmpl_fn *fn = NULL;
	struct tmpl_args rest = { 0 };

	if (c->all->n && c->all->v[0].kind == TMPL_STR) {
		fn = tmpl_find_filter(c->all->v[0].s, c->all->v[0].n);
		if (!fn)
			return tmpl_fail(t, "there is no filter '%.*s'",
					 (int)MIN(c->all->v[0].n, 60u), c->all->v[0].s);
		rest = behind(c->all, 1);
	} else if (c->all->named) {
		attribute = tmpl_dict_get(t, c->all->named, tmpl_str("attribute", 9));
		missing = tmpl_dict_get(t, c->all->named, tmpl_str("default", 7));
	}
	if (!fn && !attribute)
		return tmpl_fail(t, "map() wants a filter's name, or attribute=");
	for (uint32_t i = 0; !t->rc && i < items.list->n; i++) {
		struct tmpl_value v = items.list->v[i];

		v = fn ? tmpl_call_fn(t, fn, v, &rest) : dig(t, v, *attribute);
		tmpl_push(t, out, v.kind == TMPL_UNDEFINED && missing ? *missing : v);
	}
	return out;
}

/* select("test", arguments), selectattr("name", "test", arguments); without a test: what is true */
static struct tmpl_value chosen(struct tmpl *t, struct tmpl_value self, const struct tmpl_call *c,
				bool attr, bool want)
{
	struct tmpl_value items = items_if_any(t, self),
			  out = tmpl_new_list(t, TMPL_IS_GENERATOR, 0);
	const struct tmpl_fn *fn = NULL;
	struct tmpl_args rest = { 0 };
	uint32_t n = attr;

	if (c->all->n < n)
		return tmpl_fail(t, "selectattr() and rejectattr() want an attribute's name");
	if (c->all->n > n) {
		struct tmpl_value name = tmpl_to_str(t, c->all->v[n]);

		fn = tmpl_find_fn(tmpl_tests, name.s, name.n);
		if (!fn)
			return tmpl_fail(t, "there is no test '%.*s'", (int)MIN(name.n, 60u),
					 name.s);
		rest = behind(c->all, n + 1);
	}
	for (uint32_t i = 0; !t->rc && i < items.list->n; i++) {
		struct tmpl_value v =
			attr ? dig(t, items.list->v[i], c->all->v[0]) : items.list->v[i];

		if (tmpl_truth(fn ? tmpl_call_fn(t, fn, v, &rest) : v) == want)
			tmpl_push(t, out, items.list->v[i]);
	}
	return out;
}

FILTER(f_select)
{
	return chosen(t, self, c, false, true);
}

FILTER(f_reject)
{
	return chosen(t, self, c, false, false);
}

FILTER(f_selectattr)
{
	return chosen(t, self, c, true, true);
}

FILTER(f_rejectattr)
{
	return chosen(t, self, c, true, false);
}

const struct tmpl_fn tmpl_list_filters[] = {
	{ "length", f_length, "", 0 },
	{ "count", f_length, "", 0 },
	{ "list", f_list, "", 0 },
	{ "first", f_first, "", 0 },
	{ "last", f_last, "", 0 },
	{ "reverse", f_reverse, "", 0 },
	{ "join", f_join, "d,attribute", 0 },
	{ "sum", f_sum, "attribute,start", 0 },
	{ "sort", f_sort, "reverse,case_sensitive,attribute", 0 },
	{ "items", f_items, "", 0 },
	{ "dictsort", f_dictsort, "case_sensitive,by,reverse", 0 },
	{ "unique", f_unique, "case_sensitive,attribute", 0 },
	{ "min", f_min, "case_sensitive,attribute", 0 },
	{ "max", f_max, "case_sensitive,attribute", 0 },
	{ "map", f_map, "*", 0 },
	{ "select", f_select, "*", 0 },
	{ "reject", f_reject, "*", 0 },
	{ "selectattr", f_selectattr, "*", 0 },
	{ "rejectattr", f_rejectattr, "*", 0 },
	{ 0 },
};
