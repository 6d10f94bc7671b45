/* SPDX-License-Identifier: MIT */
/*
 * tmpl_test: what stands behind "is".
 */
#include "chat/tmpl.h"

#define TEST(name) TMPL_FN(name, v)

/* Those that look at nothing but the kind. */
#define KIND_TEST(name, condition)           \
	TEST(name)                           \
	{                                    \
		(void)t;                     \
		(void)c;                     \
		return tmpl_bool(condition); \
	}

KIND_TEST(is_defined, v.kind != TMPL_UNDEFINED)
KIND_TEST(is_undefined, v.kind == TMPL_UNDEFINED)
KIND_TEST(is_none, v.kind == TMPL_NONE)
KIND_TEST(is_string, v.kind == TMPL_STR)
KIND_TEST(is_mapping, v.kind == TMPL_DICT)
KIND_TEST(is_number, tmpl_is_number(v))
KIND_TEST(is_integer, v.kind == TMPL_INT)
KIND_TEST(is_float, v.kind == TMPL_FLOAT)
KIND_TEST(is_boolean, v.kind == TMPL_BOOL)
KIND_TEST(is_true, v.kind == TMPL_BOOL && v.b)
KIND_TEST(is_false, v.kind == TMPL_BOOL && !v.b)
KIND_TEST(is_callable, v.kind == TMPL_FUNC || v.kind == TMPL_MACRO)
/* what is undefined can be gone through: it has nothing */
KIND_TEST(is_iterable, v.kind == TMPL_STR || v.kind == TMPL_LIST || v.kind == TMPL_DICT ||
			       v.kind == TMPL_UNDEFINED)
KIND_TEST(is_sequence, v.kind == TMPL_STR || v.kind == TMPL_DICT || v.kind == TMPL_UNDEFINED ||
			       (v.kind == TMPL_LIST && v.list_kind != TMPL_IS_GENERATOR))

static bool multiple(struct tmpl *t, struct tmpl_value v, int64_t of)
{
	struct tmpl_value r = tmpl_arith(t, N_MOD, v, tmpl_int(of));

	return !t->rc && tmpl_is_number(r) && tmpl_number(r) == 0;
}

TEST(is_even)
{
	(void)c;
	return tmpl_bool(multiple(t, v, 2));
}

TEST(is_odd)
{
	(void)c;
	return tmpl_bool(!multiple(t, v, 2) && !t->rc);
}

TEST(is_divisible)
{
	return tmpl_bool(multiple(t, v, tmpl_arg_int(t, c->arg[0], 1)));
}

TEST(is_equal)
{
	return tmpl_bool(tmpl_equal(t, v, *c->arg[0]));
}

TEST(is_unequal)
{
	return tmpl_bool(!tmpl_equal(t, v, *c->arg[0]));
}

TEST(is_less)
{
	return tmpl_bool(tmpl_order(t, v, *c->arg[0], false) < 0);
}

TEST(is_at_most)
{
	return tmpl_bool(tmpl_order(t, v, *c->arg[0], false) <= 0);
}

TEST(is_greater)
{
	return tmpl_bool(tmpl_order(t, v, *c->arg[0], false) > 0);
}

TEST(is_at_least)
{
	return tmpl_bool(tmpl_order(t, v, *c->arg[0], false) >= 0);
}

TEST(is_in)
{
	return tmpl_bool(tmpl_contains(t, *c->arg[0], v));
}

TEST(is_same)
{
	return tmpl_bool(v.kind == c->arg[0]->kind && tmpl_equal(t, v, *c->arg[0]));
}

static bool is_case(struct tmpl *t, struct tmpl_value v, enum tmpl_case to, enum tmpl_case from)
{
	v = tmpl_to_str(t, v);
	return tmpl_equal(t, v, tmpl_recase(t, v, to)) &&
	       !tmpl_equal(t, v, tmpl_recase(t, v, from));
}

TEST(is_lower)
{
	(void)c;
	return tmpl_bool(is_case(t, v, TMPL_LOWER, TMPL_UPPER));
}

TEST(is_upper)
{
	(void)c;
	return tmpl_bool(is_case(t, v, TMPL_UPPER, TMPL_LOWER));
}

const struct tmpl_fn tmpl_tests[] = {
	{ "defined", is_defined, "", 0 },
	{ "undefined", is_undefined, "", 0 },
	{ "none", is_none, "", 0 },
	{ "string", is_string, "", 0 },
	{ "mapping", is_mapping, "", 0 },
	{ "iterable", is_iterable, "", 0 },
	{ "sequence", is_sequence, "", 0 },
	{ "number", is_number, "", 0 },
	{ "integer", is_integer, "", 0 },
	{ "float", is_float, "", 0 },
	{ "boolean", is_boolean, "", 0 },
	{ "true", is_true, "", 0 },
	{ "false", is_false, "", 0 },
	{ "callable", is_callable, "", 0 },
	{ "even", is_even, "", 0 },
	{ "odd", is_odd, "", 0 },
	{ "divisibleby", is_divisible, "num", 1 },
	{ "equalto", is_equal, "other", 1 },
	{ "eq", is_equal, "other", 1 },
	{ "==", is_equal, "other", 1 },
	{ "ne", is_unequal, "other", 1 },
	{ "!=", is_unequal, "other", 1 },
	{ "lt", is_less, "other", 1 },
	{ "lessthan", is_less, "other", 1 },
	{ "<", is_less, "other", 1 },
	{ "le", is_at_most, "other", 1 },
	{ "<=", is_at_most, "other", 1 },
	{ "gt", is_greater, "other", 1 },
	{ "greaterthan", is_greater, "other", 1 },
	{ ">", is_greater, "other", 1 },
	{ "ge", is_at_least, "other", 1 },
	{ ">=", is_at_least, "other", 1 },
	{ "in", is_in, "seq", 1 },
	{ "sameas", is_same, "other", 1 },
	{ "lower", is_lower, "", 0 },
	{ "upper", is_upper, "", 0 },
	{ 0 },
};
