/* SPDX-License-Identifier: MIT */
/*
 * cl_pick: which program is launched. A tune file may have one variant for a token, another for a few
 * and a third for a prompt; each that differs is a program of its own, and a launch takes the one for
 * its number of rows. The bits are the same, so that a variant that there is no room for costs speed
 * alone.
 */
#include <stdio.h>
#include "infer/cl/cl.h"

static int add_variant(struct sherd_cl *c, const char *spec, const struct sherd_variant *v,
		       struct sherd_error *err)
{
	char text[SHERD_VARIANT_TEXT], both[SHERD_CL_SPEC + SHERD_VARIANT_TEXT];

	if (sherd_variant_is_default(v))
		return sherd_cl_add(c, spec, err);
	sherd_variant_print(v, text);
	snprintf(both, sizeof(both), "%s:%s", spec, text);
	return sherd_cl_add(c, both, err);
}

/* What of @v such a program can have, where a file's line is for several kinds. */
static struct sherd_variant fitting(const struct sherd_cl_pick *of, struct sherd_variant v)
{
	if (of->experts && !sherd_cl_can_vary(of->kind, true, &v))
		v.local[0] = v.local[1] = 0; /* shares of the tokens: a run has no room for them */
	if (sherd_cl_can_vary(of->kind, of->experts, &v))
		return v;
	return (struct sherd_variant){ 0 };
}

static bool is_about(const struct sherd_cl_pick *a, const struct sherd_cl_pick *b)
{
	return a->kind == b->kind && a->experts == b->experts &&
	       sherd_format_same(&a->fmt, &b->fmt);
}

/* Layers have the same matrices. */
static bool has_pick(const struct sherd_cl *c, const struct sherd_cl_pick *pick)
{
	int i;

	for (i = 0; i < c->n_picks; i++)
		if (c->picks[i].class == pick->class && is_about(&c->picks[i], pick))
			return true;
	return false;
}

/*
 * Adds @spec in each class as the nearest line says of @measured at this size, and remembers in
 * which it varies.
 */
static int add_classes(struct sherd_cl *c, const char *spec, const char *measured, int rows,
		       int cols, struct sherd_cl_pick pick, struct sherd_error *err)
{
	int class, rc = 0;

	for (class = 0; class < SHERD_TUNE_CLASSES && !rc; class ++) {
		const struct sherd_tune_use *use =
			sherd_tune_find(&c->tune, measured, class, rows, cols);

		pick.class = class;
		if (has_pick(c, &pick))
			continue;
		pick.variant = fitting(&pick, use ? use->variant : (struct sherd_variant){ 0 });
		if (!sherd_variant_is_default(&pick.variant)) {
			if (c->n_picks == SHERD_CL_MAX_PICKS)
				memset(&pick.variant, 0, sizeof(pick.variant));
			else
				c->picks[c->n_picks++] = pick;
		}
		rc = add_variant(c, spec, &pick.variant, err);
	}
	return rc;
}

int sherd_cl_add_rows(struct sherd_cl *c, int hidden, int ffn, struct sherd_error *err)
{
	return add_classes(c, "rows", "rows", hidden, ffn,
			   (struct sherd_cl_pick){ .kind = SHERD_CL_ROWS }, err);
}

int sherd_cl_add_attention(struct sherd_cl *c, const struct sherd_kv_shape *kv, int n_heads,
			   struct sherd_error *err)
{
	char spec[SHERD_CL_SPEC];

	sherd_cl_attention_spec(c, kv, n_heads, spec, sizeof(spec));
	return add_classes(c, spec, spec, n_heads, kv->n_kv_heads,
			   (struct sherd_cl_pick){ .kind = SHERD_CL_ATTENTION }, err);
}

int sherd_cl_add_matrix(struct sherd_cl *c, const struct sherd_format *f, int expert_rows,
			struct sherd_error *err)
{
	char spec[SHERD_CL_SPEC], measured[SHERD_CL_SPEC];
	struct sherd_cl_pick pick = { .fmt = *f, .experts = expert_rows > 0 };
	int args[SHERD_CL_MATMUL_ARGS];

	pick.kind = sherd_cl_args_of(f, args);
	sherd_cl_spec_of(f, pick.experts, spec, sizeof(spec));
	sherd_cl_spec_of(f, false, measured, sizeof(measured));
	return add_classes(c, spec, measured, pick.experts ? expert_rows : (int)f->rows, f->cols,
			   pick, err);
}

int sherd_cl_add_walk(struct sherd_cl *c, const struct sherd_format *f,
		      const struct sherd_kv_shape *kv, int n_heads, struct sherd_error *err)
{
	const struct sherd_cl_pick of = { .kind = SHERD_CL_ATTENTION };
	char spec[SHERD_CL_SPEC], measured[SHERD_CL_SPEC];
	const struct sherd_tune_use *use;
	struct sherd_variant v = { 0 };

	if (!sherd_cl_walk_spec(c, f, kv, n_heads, spec, sizeof(spec)))
		return 0;
	sherd_cl_spec_of(f, false, measured, sizeof(measured));
	use = sherd_tune_find(&c->tune, measured, SHERD_TUNE_DECODE, 0, 0);
	v.ahead = use ? use->variant.ahead : 0;
	sherd_cl_attention_spec(c, kv, n_heads, measured, sizeof(measured));
	use = sherd_tune_find(&c->tune, measured, SHERD_TUNE_DECODE, n_heads, kv->n_kv_heads);
	if (use)
		memcpy(v.tile, fitting(&of, use->variant).tile, sizeof(v.tile));
	return add_variant(c, spec, &v, err);
}

/* ------------------------------------------------------------------ finding */

static bool is(const struct sherd_cl_program *p, enum sherd_cl_kind kind, const int *arg,
	       int n_args)
{
	return p->kind == kind && (!n_args || !memcmp(p->arg, arg, n_args * sizeof(*arg)));
}

/* Asked for at every launch: numbers, not names, are compared. */
static struct sherd_cl_program *find(struct sherd_cl *c, enum sherd_cl_kind kind, const int *arg,
				     int n_args)
{
	int i;

	if (c->tested && is(c->tested, kind, arg, n_args))
		return c->tested;
	for (i = 0; i < c->n_programs; i++)
		if (is(&c->programs[i], kind, arg, n_args))
			return &c->programs[i];
	return NULL;
}

/* @first, or the one that has what was picked for @n rows in its place. */
static struct sherd_cl_program *picked(struct sherd_cl *c, struct sherd_cl_program *first,
				       const struct sherd_cl_pick *of, int n)
{
	enum sherd_tune_class class = sherd_tune_class_of(n);
	struct sherd_variant v = { 0 };
	int i;

	if (!c->n_picks || !first || first == c->tested)
		return first;
	for (i = 0; i < c->n_picks; i++)
		if (c->picks[i].class == class && is_about(&c->picks[i], of))
			v = c->picks[i].variant;
	for (i = 0; i < c->n_programs; i++)
		if (is(&c->programs[i], first->kind, first->arg, ARRAY_SIZE(first->arg)) &&
		    !memcmp(&c->programs[i].variant, &v, sizeof(v)))
			return &c->programs[i];
	return first; /* the bits are the same */
}

struct sherd_cl_program *sherd_cl_rows_program(struct sherd_cl *c, int n)
{
	static const struct sherd_cl_pick of = { .kind = SHERD_CL_ROWS };

	return picked(c, find(c, SHERD_CL_ROWS, NULL, 0), &of, n);
}

struct sherd_cl_program *sherd_cl_attention_program(struct sherd_cl *c,
						    const struct sherd_kv_shape *kv, int n)
{
	static const struct sherd_cl_pick of = { .kind = SHERD_CL_ATTENTION };
	const int arg[2] = { kv->type, kv->head_dim };

	return picked(c, find(c, SHERD_CL_ATTENTION, arg, 2), &of, n);
}

struct sherd_cl_program *sherd_cl_matmul_program(struct sherd_cl *c, const struct sherd_format *f,
						 bool experts, int n)
{
	int arg[SHERD_CL_MATMUL_ARGS];
	struct sherd_cl_pick of = { .fmt = *f, .experts = experts };

	of.kind = sherd_cl_args_of(f, arg);
	arg[SHERD_CL_MATMUL_ARGS - 1] = experts;
	return picked(c, find(c, of.kind, arg, SHERD_CL_MATMUL_ARGS), &of, n);
}

struct sherd_cl_program *sherd_cl_walk_program(struct sherd_cl *c, const struct sherd_format *f,
					       const struct sherd_kv_shape *kv)
{
	int arg[6];

	if (sherd_cl_args_of(f, arg) != SHERD_CL_INT)
		return NULL;
	arg[4] = kv->type;
	arg[5] = kv->head_dim;
	return find(c, SHERD_CL_WALK, arg, 6);
}

struct sherd_cl_program *sherd_cl_any_walk(struct sherd_cl *c)
{
	return find(c, SHERD_CL_WALK, NULL, 0);
}

struct sherd_cl_program *sherd_cl_experts_program(struct sherd_cl *c)
{
	return find(c, SHERD_CL_EXPERTS, NULL, 0);
}
