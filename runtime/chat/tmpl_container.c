/* SPDX-License-Identifier: MIT */
/*
 * tmpl_container: lists and dicts, and values from JSON. Both only grow, in the arena: what they grew out
 * of stays there. A dict is looked through from its beginning, for those of a template have few keys.
 */
#include "chat/tmpl.h"

struct tmpl_value tmpl_new_list(struct tmpl *t, enum tmpl_list_kind kind, uint32_t room)
{
	struct tmpl_list *l = tmpl_get(t, 1, sizeof(*l));

	if (!l)
		return tmpl_undefined("", 0);
	if (room)
		l->v = tmpl_get(t, room, sizeof(*l->v));
	l->room = l->v ? room : 0;
	return (struct tmpl_value){ .kind = TMPL_LIST, .list_kind = kind, .list = l };
}

struct tmpl_value tmpl_new_dict(struct tmpl *t, enum tmpl_kind kind)
{
	struct tmpl_dict *d = tmpl_get(t, 1, sizeof(*d));

	if (!d)
		return tmpl_undefined("", 0);
	return (struct tmpl_value){ .kind = kind, .dict = d };
}

/* @v [n] with room for one more: what was there moves to twice the room. */
static struct tmpl_value *grow(struct tmpl *t, struct tmpl_value *v, uint32_t n, uint32_t room)
{
	struct tmpl_value *more = tmpl_get(t, room, sizeof(*more));

	if (more && n)
		memcpy(more, v, n * sizeof(*v));
	return more;
}

void tmpl_push(struct tmpl *t, struct tmpl_value list, struct tmpl_value v)
{
	struct tmpl_list *l = list.list;

	if (list.kind != TMPL_LIST || !tmpl_work(t, sizeof(v)))
		return;
	if (l->n == l->room) {
		uint32_t room = l->room ? l->room * 2 : 4;
		struct tmpl_value *more = grow(t, l->v, l->n, room);

		if (!more)
			return;
		l->v = more;
		l->room = room;
	}
	l->v[l->n++] = v;
}

static bool can_be_key(struct tmpl *t, struct tmpl_value key)
{
	if (key.kind <= TMPL_STR || (key.kind == TMPL_LIST && key.list_kind == TMPL_IS_TUPLE))
		return true;
	tmpl_fail(t, "a %s cannot be a key", tmpl_type_name(key));
	return false;
}

static struct tmpl_value *find_key(struct tmpl *t, const struct tmpl_dict *d, struct tmpl_value key)
{
	if (!tmpl_work(t, d->n * 8))
		return NULL;
	for (uint32_t i = 0; i < d->n; i++)
		if (tmpl_equal(t, d->keys[i], key))
			return &d->values[i];
	return NULL;
}

const struct tmpl_value *tmpl_dict_get(struct tmpl *t, const struct tmpl_dict *d,
				       struct tmpl_value key)
{
	return find_key(t, d, key);
}

void tmpl_put(struct tmpl *t, struct tmpl_dict *d, struct tmpl_value key, struct tmpl_value v)
{
	struct tmpl_value *old;

	if (t->rc || !can_be_key(t, key))
		return;
	old = find_key(t, d, key);
	if (old) {
		*old = v;
		return;
	}
	if (d->n == d->room) {
		uint32_t room = d->room ? d->room * 2 : 8;
		struct tmpl_value *keys = grow(t, d->keys, d->n, room);
		struct tmpl_value *values = grow(t, d->values, d->n, room);

		if (!keys || !values)
			return;
		d->keys = keys;
		d->values = values;
		d->room = room;
	}
	d->keys[d->n] = key;
	d->values[d->n++] = v;
}

/* ------------------------------------------------------------- from JSON */

static struct tmpl_value copy_str(struct tmpl *t, const char *s, size_t n)
{
	char *p = tmpl_get(t, n, 1);

	if (p)
		memcpy(p, s, n);
	return tmpl_str(p ? p : "", p ? n : 0);
}

static struct tmpl_value copy_array(struct tmpl *t, const json_t *j)
{
	struct tmpl_value v = tmpl_new_list(t, TMPL_IS_LIST, (uint32_t)json_array_size(j));

	for (size_t i = 0; i < json_array_size(j) && !t->rc; i++)
		tmpl_push(t, v, tmpl_from_json(t, json_array_get(j, i)));
	return v;
}

static struct tmpl_value copy_object(struct tmpl *t, const json_t *j)
{
	struct tmpl_value v = tmpl_new_dict(t, TMPL_DICT);
	const char *key;
	json_t *x;

	json_object_foreach((json_t *)j, key, x) {
		if (t->rc)
			break;
		tmpl_put(t, v.dict, copy_str(t, key, strlen(key)), tmpl_from_json(t, x));
	}
	return v;
}

struct tmpl_value tmpl_from_json(struct tmpl *t, const json_t *j)
{
	struct tmpl_value v = tmpl_none();

	if (!tmpl_enter(t, TMPL_DEPTH)) {
		tmpl_leave(t);
		return v;
	}
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		v = copy_object(t, j);
		break;
	case JSON_ARRAY:
		v = copy_array(t, j);
		break;
	case JSON_STRING:
		v = copy_str(t, json_string_value(j), json_string_length(j));
		break;
	case JSON_INTEGER:
		v = tmpl_int(json_integer_value(j));
		break;
	case JSON_REAL:
		v = tmpl_float(json_real_value(j));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		v = tmpl_bool(json_is_true(j));
		break;
	case JSON_NULL:
		break;
	}
	tmpl_leave(t);
	return v;
}
