/* SPDX-License-Identifier: MIT */
/*
 * cl_program: which programs there are, how they are compiled and what kernels are in them.
 */
#include <stdio.h>
#include <stdlib.h>
#include "infer/cl/cl.h"

#define EXPERTS ".experts"

static const char *const kernel_names[SHERD_N_KERNELS] = {
	[SHERD_K_EMBED] = "embed",
	[SHERD_K_NORM] = "norm",
	[SHERD_K_NORM_TO] = "norm_to",
	[SHERD_K_CAP] = "cap",
	[SHERD_K_QUANTIZE] = "quantize",
	[SHERD_K_ACTIVATE] = "activate",
	[SHERD_K_CUT] = "cut",
	[SHERD_K_WIRE] = "wire",
	[SHERD_K_GATHER] = "gather",
	[SHERD_K_ROPE] = "rope",
	[SHERD_K_ATTEND] = "attend",
	[SHERD_K_ATTEND_MERGE] = "attend_merge",
	[SHERD_K_MATMUL_1] = "matmul_1",
	[SHERD_K_MATMUL_4] = "matmul_4",
	[SHERD_K_MATMUL_8] = "matmul_8",
	[SHERD_K_MATMUL_TILE] = "matmul_tile",
	[SHERD_K_MATMUL_GATED] = "matmul_gated",
	[SHERD_K_WALK] = "walk",
	[SHERD_K_ADDRESS] = "address",
	[SHERD_K_ROUTE] = "route",
	[SHERD_K_GROUP_PAIRS] = "group_pairs",
	[SHERD_K_SPREAD] = "spread",
	[SHERD_K_COMBINE] = "combine",
};

/* Of each kind: its first and last kernel. */
static const enum sherd_cl_kernel kernels_of[][2] = {
	[SHERD_CL_ROWS] = { SHERD_K_EMBED, SHERD_K_GATHER },
	[SHERD_CL_ATTENTION] = { SHERD_K_ROPE, SHERD_K_ATTEND_MERGE },
	[SHERD_CL_INT] = { SHERD_K_MATMUL_1, SHERD_K_MATMUL_GATED },
	[SHERD_CL_FLOAT] = { SHERD_K_MATMUL_1, SHERD_K_MATMUL_8 },
	[SHERD_CL_WALK] = { SHERD_K_WALK, SHERD_K_ADDRESS },
	[SHERD_CL_EXPERTS] = { SHERD_K_ROUTE, SHERD_K_COMBINE },
};

enum sherd_cl_kind sherd_cl_args_of(const struct sherd_format *f, int arg[SHERD_CL_MATMUL_ARGS])
{
	memset(arg, 0, SHERD_CL_MATMUL_ARGS * sizeof(*arg));
	if (!sherd_elem_is_int(f->elem)) {
		arg[0] = f->elem;
		return SHERD_CL_FLOAT;
	}
	arg[0] = sherd_elem_bits(f->elem);
	arg[1] = f->group;
	arg[2] = f->scale == SHERD_ELEM_F32;
	arg[3] = f->min == SHERD_ELEM_NONE ? 0 : f->min == SHERD_ELEM_F16 ? 1 : 2;
	return SHERD_CL_INT;
}

void sherd_cl_spec_of(const struct sherd_format *f, bool experts, char *spec, size_t size)
{
	const char *suffix = experts ? EXPERTS : "";
	int a[SHERD_CL_MATMUL_ARGS];

	if (sherd_cl_args_of(f, a) == SHERD_CL_INT)
		snprintf(spec, size, "int.%d.%d.%d.%d%s", a[0], a[1], a[2], a[3], suffix);
	else
		snprintf(spec, size, "float.%d%s", a[0], suffix);
}

/* ".4": a token's queries of a KV head, as a power of two; "" where that is all that a tile has. */
static const char *token_queries(const struct sherd_cl *c, const struct sherd_kv_shape *kv,
				 int n_heads)
{
	int group = n_heads / MAX(kv->n_kv_heads, 1);

	if (c->dev->shape != SHERD_SHAPE_WIDE || group > SHERD_CL_TILE_QUERIES / 2)
		return "";
	return group > 2 ? ".4" : group > 1 ? ".2" : ".1";
}

void sherd_cl_attention_spec(const struct sherd_cl *c, const struct sherd_kv_shape *kv, int n_heads,
			     char *spec, size_t size)
{
	snprintf(spec, size, "attention.%d.%d%s", kv->type, kv->head_dim,
		 token_queries(c, kv, n_heads));
}

bool sherd_cl_walk_spec(const struct sherd_cl *c, const struct sherd_format *f,
			const struct sherd_kv_shape *kv, int n_heads, char *spec, size_t size)
{
	int a[SHERD_CL_MATMUL_ARGS];

	if (!c->dev->info.is_cpu || c->dev->shape != SHERD_SHAPE_WIDE ||
	    sherd_cl_args_of(f, a) != SHERD_CL_INT || kv->head_dim % 32 ||
	    (int)c->dev->info.compute_units > sherd_device_host_cpus())
		return false;
	snprintf(spec, size, "walk.%d.%d.%d.%d.%d.%d%s", a[0], a[1], a[2], a[3], kv->type,
		 kv->head_dim, token_queries(c, kv, n_heads));
	return true;
}

static bool attention_args_ok(const int *a)
{
	return a[0] >= SHERD_KV_F16 && a[0] <= SHERD_KV_F32 && a[1] > 0 && a[1] <= 1024;
}

/* The end of a spec with attention: nothing, or how many queries a token has. */
static bool parse_queries(const char *at, int *queries)
{
	int end = 0;

	*queries = SHERD_CL_TILE_QUERIES;
	if (!*at)
		return true;
	return sscanf(at, ".%d%n", queries, &end) == 1 && !at[end] &&
	       (*queries == 1 || *queries == 2 || *queries == 4);
}

static bool int_args_ok(const int *a)
{
	return (a[0] == 4 || a[0] == 8) && (a[1] == 16 || a[1] == 32) && (a[2] & ~1) == 0 &&
	       a[3] >= 0 && a[3] <= 2;
}

/* The end of a matmul's spec: nothing, or that W is a stack of experts. */
static bool parse_end(const char *end, int *experts)
{
	*experts = !strcmp(end, EXPERTS);
	return *experts || !*end;
}

/*
 * Work-items that share a row in local memory are at least the sixteen lanes; a tile of attention's
 * is cut into passes.
 */
static bool shares_ok(const struct sherd_variant *v)
{
	return (!v->local[0] || v->local[0] >= 16) && v->tile[1] <= SHERD_CL_TILE_QUERIES &&
	       !(v->tile[1] & (v->tile[1] - 1));
}

bool sherd_cl_can_vary(enum sherd_cl_kind kind, bool experts, const struct sherd_variant *v)
{
	struct sherd_variant rest = *v;

	switch (kind) {
	case SHERD_CL_INT:
		if (!experts)
			rest.local[1] = 0;
		rest.ahead = rest.blocks = rest.tile[0] = rest.tile[1] = 0;
		/* fallthrough */
	case SHERD_CL_FLOAT:
		rest.local[0] = rest.kernel = 0;
		return sherd_variant_is_default(&rest) &&
		       (kind == SHERD_CL_INT || v->kernel != SHERD_VARIANT_TILE);
	case SHERD_CL_ROWS:
		rest.local[0] = rest.pieces = 0;
		break;
	case SHERD_CL_ATTENTION:
		rest.local[0] = rest.parts = rest.tile[0] = rest.tile[1] = 0;
		break;
	case SHERD_CL_WALK:
		rest.ahead = rest.tile[0] = rest.tile[1] = 0;
		break;
	case SHERD_CL_EXPERTS:
		break;
	}
	return sherd_variant_is_default(&rest) && shares_ok(v);
}

static bool parse_base(struct sherd_cl_program *p, const char *spec)
{
	int *a = p->arg, end = 0;

	if (!strcmp(spec, "rows") || !strcmp(spec, "experts")) {
		p->kind = *spec == 'r' ? SHERD_CL_ROWS : SHERD_CL_EXPERTS;
		return true;
	}
	if (sscanf(spec, "attention.%d.%d%n", &a[0], &a[1], &end) == 2) {
		p->kind = SHERD_CL_ATTENTION;
		return attention_args_ok(a) && parse_queries(spec + end, &a[2]);
	}
	if (sscanf(spec, "walk.%d.%d.%d.%d.%d.%d%n", &a[0], &a[1], &a[2], &a[3], &a[4], &a[5],
		   &end) == 6) {
		p->kind = SHERD_CL_WALK;
		return int_args_ok(a) && attention_args_ok(a + 4) && a[5] % 32 == 0 &&
		       parse_queries(spec + end, &a[6]);
	}
	if (sscanf(spec, "int.%d.%d.%d.%d%n", &a[0], &a[1], &a[2], &a[3], &end) == 4 &&
	    parse_end(spec + end, &a[4])) {
		p->kind = SHERD_CL_INT;
		return int_args_ok(a);
	}
	if (sscanf(spec, "float.%d%n", &a[0], &end) == 1 && parse_end(spec + end, &a[4])) {
		p->kind = SHERD_CL_FLOAT;
		a[1] = a[2] = a[3] = 0;
		return a[0] >= SHERD_ELEM_F16 && a[0] <= SHERD_ELEM_F32;
	}
	return false;
}

static bool has_experts(const struct sherd_cl_program *p)
{
	return (p->kind == SHERD_CL_INT || p->kind == SHERD_CL_FLOAT) &&
	       p->arg[SHERD_CL_MATMUL_ARGS - 1];
}

/* "rows:pieces=8" */
static bool parse_spec(struct sherd_cl_program *p, const char *spec)
{
	const char *colon = strchr(spec, ':');
	char base[sizeof(p->spec)];

	snprintf(base, sizeof(base), "%.*s", (int)strcspn(spec, ":"), spec);
	return parse_base(p, base) &&
	       (!colon || (sherd_variant_parse(&p->variant, colon + 1) &&
			sherd_cl_can_vary(p->kind, has_experts(p), &p->variant)));
}

int sherd_cl_add(struct sherd_cl *c, const char *spec, struct sherd_error *err)
{
	struct sherd_cl_program *p = &c->programs[c->n_programs];
	int i;

	for (i = 0; i < c->n_programs; i++)
		if (!strcmp(c->programs[i].spec, spec))
			return 0;
	if (c->n_programs == SHERD_CL_MAX_PROGRAMS)
		return sherd_fail(err, -E2BIG, "more than %d kernel programs",
				  SHERD_CL_MAX_PROGRAMS);
	memset(p, 0, sizeof(*p));
	if (strlen(spec) >= sizeof(p->spec) || !parse_spec(p, spec))
		return sherd_fail(err, -EINVAL, "there is no program '%s'", spec);
	strcpy(p->spec, spec);
	c->n_programs++;
	return 0;
}

/* What of a variant is compiled in; the rest is the launch's. */
static void variant_options(enum sherd_cl_kind kind, const struct sherd_variant *v, char *options,
			    size_t size)
{
	bool attends = kind == SHERD_CL_ATTENTION || kind == SHERD_CL_WALK;
	size_t len = 0;

	if (v->ahead)
		len += snprintf(options + len, size - len, " -DAHEAD=%d", v->ahead / 4);
	if (v->blocks)
		len += snprintf(options + len, size - len, " -DTILE_RB=%d", v->blocks);
	if (v->tile[0])
		snprintf(options + len, size - len,
			 attends ? " -DATTEND_VECS=%d -DATTEND_QUERIES=%d" :
				   " -DTILE_PAIR=%d -DTILE_TOKENS=%d",
			 v->tile[0], v->tile[1]);
}

void sherd_cl_build_args(const struct sherd_cl_program *p, char *options, size_t size,
			 const char **source, int *n_sources)
{
	const int *a = p->arg;
	size_t len;

	*n_sources = 1;
	options[0] = 0;
	switch (p->kind) {
	case SHERD_CL_ROWS:
		source[0] = "rows.cl";
		break;
	case SHERD_CL_ATTENTION:
		source[0] = "rope.cl";
		source[1] = "attention.cl";
		*n_sources = 2;
		snprintf(options, size, "-DKV=%d -DHEAD_DIM=%d -DTOKEN_QUERIES=%d", a[0], a[1],
			 a[2]);
		break;
	case SHERD_CL_INT:
		source[0] = "matmul.cl";
		snprintf(options, size, "-DBITS=%d -DGROUP=%d -DSCALE_F32=%d -DMIN=%d%s", a[0],
			 a[1], a[2], a[3], a[4] ? " -DEXPERTS" : "");
		break;
	case SHERD_CL_WALK:
		source[0] = "walk.cl";
		snprintf(
			options, size,
			"-DSHERD_WALK -DBITS=%d -DGROUP=%d -DSCALE_F32=%d -DMIN=%d -DKV=%d -DHEAD_DIM=%d "
			"-DTOKEN_QUERIES=%d",
			a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
		break;
	case SHERD_CL_FLOAT:
		source[0] = "matmul_float.cl";
		snprintf(options, size, "-DELEM=%d%s", a[0], a[4] ? " -DEXPERTS" : "");
		break;
	case SHERD_CL_EXPERTS:
		source[0] = "experts.cl";
		break;
	}
	len = strlen(options);
	variant_options(p->kind, &p->variant, options + len, size - len);
}

/*
 * "norm;quantize;...": is @name among them? Asking for one that is not there is an error to some
 * tools.
 */
static bool has_kernel(cl_program program, const char *name)
{
	char names[1024] = "", *save = NULL, *s;

	if (clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, sizeof(names), names, NULL))
		return true; /* then creating it will tell */
	for (s = strtok_r(names, ";", &save); s; s = strtok_r(NULL, ";", &save))
		if (!strcmp(s, name))
			return true;
	return false;
}

int sherd_cl_build_program(struct sherd_cl *c, struct sherd_cl_program *p, struct sherd_error *err)
{
	const char *sources[2];
	char options[SHERD_CL_OPTIONS];
	int n, k, rc;
	cl_int code;

	if (p->program)
		return 0;
	sherd_cl_build_args(p, options, sizeof(options), sources, &n);
	rc = sherd_device_build(c->dev, options, sources, n, &p->program, err);
	if (rc)
		return rc;
	for (k = kernels_of[p->kind][0]; k <= (int)kernels_of[p->kind][1]; k++) {
		if (p->kind == SHERD_CL_INT && k >= SHERD_K_MATMUL_TILE &&
		    !has_kernel(p->program, kernel_names[k]))
			continue; /* only the wide shape has it */
		p->kernel[k] = clCreateKernel(p->program, kernel_names[k], &code);
		if (!code)
			continue;
		p->kernel[k] = NULL;
		return sherd_fail_cl(err, code, "%s: kernel %s", p->spec, kernel_names[k]);
	}
	return 0;
}

int sherd_cl_build(struct sherd_cl *c, struct sherd_error *err)
{
	int i, rc = 0;

	for (i = 0; i < c->n_programs && !rc; i++)
		rc = sherd_cl_build_program(c, &c->programs[i], err);
	return rc;
}

const char *sherd_cl_kernel_name(enum sherd_cl_kernel k)
{
	return kernel_names[k];
}

