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

/* Cuts "/@word" off @name's end, if it is there. */
static bool cut_suffix(char *name, const char *word)
{
	size_t len = strlen(name), n = strlen(word);

	if (len <= n || strcmp(name + len - n, word) || name[len - n - 1] != '/')
		return false;
	name[len - n - 1] = 0;
	return true;
}

/* "cpu/plain/simt": the device's name (which may have slashes of its own), then what is forced. */
static void split_device(const char *device, char *name, size_t size, const char **dot,
			 const char **shape)
{
	static const char *const shapes[] = { "wide", "simt" };
	int i;

	*dot = *shape = NULL;
	snprintf(name, size, "%s", device ? device : "auto");
	for (i = 0; i < 2 && !*shape; i++)
		if (cut_suffix(name, shapes[i]))
			*shape = shapes[i];
	for (i = 0; sherd_dot_name(i) && !*dot; i++)
		if (cut_suffix(name, sherd_dot_name(i)))
			*dot = sherd_dot_name(i);
}

void sherd_cl_plain_device(const char *device, char *plain, size_t size)
{
	char name[128];
	const char *dot, *shape;

	split_device(device, name, sizeof(name), &dot, &shape);
	snprintf(plain, size, "%s/plain%s%s", name, shape ? "/" : "", shape ? shape : "");
}

/* c->device: what a child is to open; @dot: the path of dot4.h, unless it is the device's. */
static void set_name(struct sherd_cl *c, const char *dot)
{
	snprintf(c->device, sizeof(c->device), "%s%s%s%s", c->name, dot ? "/" : "", dot ? dot : "",
		 !c->forced_shape			? "" :
		 c->dev->shape == SHERD_SHAPE_WIDE ? "/wide" :
						     "/simt");
}

int sherd_cl_tune(struct sherd_cl *c, const char *which, sherd_note_fn note, void *ctx,
		  struct sherd_error *err)
{
	const char *dot;
	int rc = sherd_tune_search(&c->tune, which, c->dev, note, ctx, err);

	if (rc)
		return rc;
	dot = c->tune.dot[0] && !c->forced ? sherd_dot_choose(&c->dev->info, c->tune.dot, NULL) :
					     NULL;
	if (!dot || !strcmp(dot, c->dev->dot))
		return 0;
	c->dev->dot = dot;
	c->tuned_dot = true;
	set_name(c, dot);
	return 0;
}

int sherd_cl_open(struct sherd_cl *c, const char *device, int n_threads, struct sherd_error *err)
{
	const char *dot, *shape;
	char name[sizeof(c->name)];
	cl_int rc;
	int ret;

	memset(c, 0, sizeof(*c));
	if (device && !*device)
		return sherd_fail(
			err, -EINVAL,
			"a device without a name: auto, cpu, gpu, reference, a number or part of a "
			"name");
	snprintf(c->device, sizeof(c->device), "%s", device ? device : "auto");
	split_device(device, name, sizeof(name), &dot, &shape);
	strcpy(c->name, name);
	ret = sherd_device_open(&c->dev, name, n_threads, dot, err);
	if (ret)
		return ret;
	c->few_threads = n_threads > 0 && n_threads < sherd_device_host_cpus();
	c->forced = dot != NULL;
	c->forced_shape = shape != NULL;
	if (shape)
		c->dev->shape = strcmp(shape, "simt") ? SHERD_SHAPE_WIDE : SHERD_SHAPE_SIMT;
	c->none = clCreateBuffer(c->dev->context, CL_MEM_READ_WRITE, 64, NULL, &rc);
	if (!rc)
		c->failed = clCreateBuffer(c->dev->context, CL_MEM_READ_WRITE, 64, NULL, &rc);
	if (!rc)
		return 0;
	ret = sherd_fail_cl(err, rc, "%s: no memory for 64 bytes", c->dev->info.name);
	sherd_cl_close(c);
	return ret;
}

static void release_program(struct sherd_cl_program *p)
{
	int k;

	for (k = 0; k < SHERD_N_KERNELS; k++)
		if (p->kernel[k])
			clReleaseKernel(p->kernel[k]);
	if (p->program)
		clReleaseProgram(p->program);
}

void sherd_cl_close(struct sherd_cl *c)
{
	int i;

	for (i = 0; i < c->n_programs; i++)
		release_program(&c->programs[i]);
	for (i = 0; i < c->n_events; i++)
		if (c->events[i])
			clReleaseEvent(c->events[i]);
	free(c->events);
	free(c->times);
	if (c->none)
		clReleaseMemObject(c->none);
	if (c->failed)
		clReleaseMemObject(c->failed);
	if (c->dev)
		sherd_device_close(c->dev);
	sherd_tune_free(&c->tune);
	memset(c, 0, sizeof(*c));
}

#define MATMUL_ARGS 5

/* The kind of program for a format, and its arguments; the last says that they are experts. */
static enum sherd_cl_kind args_of(const struct sherd_format *f, int arg[MATMUL_ARGS])
{
	memset(arg, 0, MATMUL_ARGS * sizeof(*arg));
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
	int a[MATMUL_ARGS];

	if (args_of(f, a) == SHERD_CL_INT)
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
	int a[MATMUL_ARGS];

	if (!c->dev->info.is_cpu || c->dev->shape != SHERD_SHAPE_WIDE ||
	    args_of(f, a) != SHERD_CL_INT || kv->head_dim % 32 ||
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
 * What may vary in a program of @kind: the rest has no meaning there. Work-items that share a row
 * in local memory are at least the sixteen lanes.
 */
static bool variant_ok(enum sherd_cl_kind kind, const struct sherd_variant *v)
{
	struct sherd_variant rest = *v;

	switch (kind) {
	case SHERD_CL_INT:
		rest.local[1] = rest.ahead = rest.blocks = rest.tile[0] = rest.tile[1] = 0;
		/* fallthrough */
	case SHERD_CL_FLOAT:
		rest.local[0] = rest.kernel = 0;
		return sherd_variant_is_default(&rest) &&
		       (kind == SHERD_CL_INT || v->kernel != SHERD_VARIANT_TILE);
	case SHERD_CL_ROWS:
		rest.local[0] = rest.pieces = 0;
		break;
	case SHERD_CL_ATTENTION:
		rest.local[0] = rest.parts = 0;
		break;
	case SHERD_CL_WALK:
		rest.ahead = 0;
		break;
	case SHERD_CL_EXPERTS:
		break;
	}
	return sherd_variant_is_default(&rest) && (!v->local[0] || v->local[0] >= 16);
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
	return (p->kind == SHERD_CL_INT || p->kind == SHERD_CL_FLOAT) && p->arg[MATMUL_ARGS - 1];
}

/* "rows:pieces=8"; stacks of experts are as they are: their launches have no room for more. */
static bool parse_spec(struct sherd_cl_program *p, const char *spec)
{
	const char *colon = strchr(spec, ':');
	char base[sizeof(p->spec)];

	snprintf(base, sizeof(base), "%.*s", (int)strcspn(spec, ":"), spec);
	return parse_base(p, base) &&
	       (!colon || (!has_experts(p) && sherd_variant_parse(&p->variant, colon + 1) &&
			   variant_ok(p->kind, &p->variant)));
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

/* What of @v a program of @kind can have, where a file's line is for several kinds. */
static struct sherd_variant fitting(enum sherd_cl_kind kind, struct sherd_variant v)
{
	if (variant_ok(kind, &v))
		return v;
	if (kind == SHERD_CL_WALK)
		return (struct sherd_variant){ .ahead = v.ahead };
	return (struct sherd_variant){ 0 };
}

int sherd_cl_add_tuned(struct sherd_cl *c, const char *spec, const char *measured,
		       enum sherd_tune_class class, struct sherd_error *err)
{
	const struct sherd_tune_use *use = sherd_tune_find(&c->tune, measured, class, 0, 0);
	struct sherd_cl_program p;
	struct sherd_variant v = { 0 };

	if (use && parse_base(&p, spec))
		v = fitting(p.kind, use->variant);
	return add_variant(c, spec, &v, err);
}

int sherd_cl_add_matrix(struct sherd_cl *c, const struct sherd_format *f, struct sherd_error *err)
{
	char spec[SHERD_CL_SPEC];
	int class, rc = 0;

	sherd_cl_spec_of(f, false, spec, sizeof(spec));
	for (class = 0; class < SHERD_TUNE_CLASSES && !rc; class++) {
		const struct sherd_tune_use *use =
			sherd_tune_find(&c->tune, spec, class, f->rows, f->cols);
		struct sherd_cl_pick pick = { .fmt = *f, .class = class };

		if (use)
			pick.variant = fitting(sherd_elem_is_int(f->elem) ? SHERD_CL_INT :
									    SHERD_CL_FLOAT,
					       use->variant);
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

bool sherd_cl_is_tuned(const struct sherd_cl *c)
{
	int i;

	for (i = 0; i < c->n_programs; i++)
		if (!sherd_variant_is_default(&c->programs[i].variant))
			return true;
	return c->tuned_dot;
}

/* What of a variant is compiled in; the rest is the launch's. */
static void variant_options(const struct sherd_variant *v, char *options, size_t size)
{
	size_t len = 0;

	if (v->ahead)
		len += snprintf(options + len, size - len, " -DAHEAD=%d", v->ahead / 4);
	if (v->blocks)
		len += snprintf(options + len, size - len, " -DTILE_RB=%d", v->blocks);
	if (v->tile[0])
		snprintf(options + len, size - len, " -DTILE_PAIR=%d -DTILE_TOKENS=%d", v->tile[0],
			 v->tile[1]);
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
	variant_options(&p->variant, options + len, size - len);
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

/* Asked for at every launch: numbers, not names, are compared. */
static struct sherd_cl_program *find(struct sherd_cl *c, enum sherd_cl_kind kind, const int *arg,
				     int n_args)
{
	int i;

	for (i = 0; i < c->n_programs; i++)
		if (c->programs[i].kind == kind &&
		    (!n_args || !memcmp(c->programs[i].arg, arg, n_args * sizeof(*arg))))
			return &c->programs[i];
	return NULL;
}

struct sherd_cl_program *sherd_cl_program_for(struct sherd_cl *c, const struct sherd_format *f)
{
	int arg[MATMUL_ARGS];
	enum sherd_cl_kind kind = args_of(f, arg);

	return find(c, kind, arg, MATMUL_ARGS);
}

struct sherd_cl_program *sherd_cl_experts_for(struct sherd_cl *c, const struct sherd_format *f)
{
	int arg[MATMUL_ARGS];
	enum sherd_cl_kind kind = args_of(f, arg);

	arg[MATMUL_ARGS - 1] = true;
	return find(c, kind, arg, MATMUL_ARGS);
}

struct sherd_cl_program *sherd_cl_experts_program(struct sherd_cl *c)
{
	return find(c, SHERD_CL_EXPERTS, NULL, 0);
}

struct sherd_cl_program *sherd_cl_matmul_program(struct sherd_cl *c, const struct sherd_format *f,
						 int n)
{
	enum sherd_tune_class class = sherd_tune_class_of(n);
	struct sherd_variant v = { 0 };
	struct sherd_cl_program *first;
	int i;

	if (!c->n_picks)
		return sherd_cl_program_for(c, f);
	for (i = 0; i < c->n_picks; i++)
		if (c->picks[i].class == class && sherd_format_same(&c->picks[i].fmt, f))
			v = c->picks[i].variant;
	first = sherd_cl_program_for(c, f);
	for (i = 0; i < c->n_programs; i++)
		if (c->programs[i].kind == first->kind &&
		    !memcmp(c->programs[i].arg, first->arg, sizeof(first->arg)) &&
		    !memcmp(&c->programs[i].variant, &v, sizeof(v)))
			return &c->programs[i];
	return first; /* the bits are the same */
}

struct sherd_cl_program *sherd_cl_walk_program(struct sherd_cl *c, const struct sherd_format *f,
					       const struct sherd_kv_shape *kv)
{
	int arg[6];

	if (args_of(f, arg) != SHERD_CL_INT)
		return NULL;
	arg[4] = kv->type;
	arg[5] = kv->head_dim;
	return find(c, SHERD_CL_WALK, arg, 6);
}

struct sherd_cl_program *sherd_cl_any_walk(struct sherd_cl *c)
{
	return find(c, SHERD_CL_WALK, NULL, 0);
}

struct sherd_cl_program *sherd_cl_attention_program(struct sherd_cl *c,
						    const struct sherd_kv_shape *kv)
{
	const int arg[2] = { kv->type, kv->head_dim };

	return find(c, SHERD_CL_ATTENTION, arg, 2);
}

struct sherd_cl_program *sherd_cl_rows_program(struct sherd_cl *c)
{
	return find(c, SHERD_CL_ROWS, NULL, 0);
}
