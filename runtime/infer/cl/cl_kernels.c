/* SPDX-License-Identifier: MIT */
/*
 * cl_kernels: a function a kernel: arguments in the kernel's order, global and local sizes by the
 * device's shape. All launch and return at once; the first failure sticks in c->rc, and the caller
 * looks at it when the work is enqueued.
 */
#include "infer/cl/cl_launch.h"

#define TILE_MIN  9	    /* rows from which matmul_tile always pays */
#define PARTS	  4	    /* work of a compute unit from which chunks are not spread */
#define MAX_PARTS (8u << 20) /* bytes of attention's parts: beyond, chunks are walked in turn */

static void launch_groups(struct sherd_cl *c, enum sherd_cl_kernel k, int width, int n, int n_args,
			  const struct arg *args)
{
	launch_row_groups(c, sherd_cl_rows_program(c, n), k, width, n, n_args, args);
}

static cl_int4 format_of(const struct sherd_cl_matrix *m)
{
	return (cl_int4){ { m->fmt.elem, m->fmt.group ? m->fmt.group : 32, m->fmt.scale,
			    m->fmt.min } };
}

void sherd_cl_embed(struct sherd_cl *c, const struct sherd_cl_matrix *table,
		    const struct sherd_cl_matrix *positions, cl_mem tokens, cl_mem pos, int n,
		    float scale, cl_mem bias, struct sherd_cl_rows dst)
{
	const struct sherd_cl_matrix *p = positions ? positions : table;
	cl_int width = table->fmt.cols, has_positions = positions != NULL, has_bias = bias != NULL;
	cl_mem b = or_none(c, bias);
	cl_int4 format = format_of(table), pos_format = format_of(p);
	cl_mem scales = or_none(c, table->scales), mins = or_none(c, table->mins);
	cl_mem pos_scales = or_none(c, p->scales), pos_mins = or_none(c, p->mins);
	const struct arg args[] = { ARG(dst.mem), ARG(dst.stride), ARG(width), ARG(tokens),
				    ARG(format), ARG(table->values), ARG(scales), ARG(mins),
				    ARG(pos), ARG(pos_format), ARG(p->values), ARG(pos_scales),
				    ARG(pos_mins), ARG(has_positions), ARG(scale), ARG(b),
				    ARG(has_bias) };

	sherd_cl_note_rows(c, "embed", 4.0 + sherd_elem_bits(table->fmt.elem) / 8.0, n, width);
	launch_groups(c, SHERD_K_EMBED, width, n, ARRAY_SIZE(args), args);
}

void sherd_cl_norm(struct sherd_cl *c, enum sherd_norm norm, struct sherd_cl_rows src, int n,
		   int width, cl_mem weight, cl_mem bias, float eps, const struct sherd_cl_act *a)
{
	struct sherd_cl_program *p = sherd_cl_rows_program(c, n);
	size_t local[2] = { wide(c) ? 1 : or_else(p->variant.local[0], SIMT_LOCAL), 1 };
	size_t global[2] = { local[0], n };
	struct sherd_cl_act to = all_of(c, a);
	cl_mem b = or_none(c, bias);
	cl_int layer = norm == SHERD_NORM_LAYER, has_bias = bias != NULL;
	cl_float inv_n = 1.0f / (float)width;
	const struct arg args[] = { ARG(src.mem), ARG(src.stride), ARG(width), ACT_ARGS(to),
				    ARG(c->step), ARG(c->failed), ARG(weight), ARG(b),
				    ARG(layer), ARG(has_bias), ARG(eps), ARG(inv_n) };

	if (norm == SHERD_NORM_NONE) {
		sherd_cl_note_rows(c, "quantize", 4, n, width);
		launch_groups(c, SHERD_K_QUANTIZE, width, n, 11, args);
		return;
	}
	sherd_cl_note_rows(c, "norm", 4, n, width);
	LAUNCH(c, p, SHERD_K_NORM, 2, global, local, args);
}

void sherd_cl_norm_to(struct sherd_cl *c, struct sherd_cl_rows src, struct sherd_cl_rows dst, int n,
		      const struct sherd_cl_norm_to *to)
{
	struct sherd_cl_program *p = sherd_cl_rows_program(c, n);
	size_t local[3] = { wide(c) ? 1 : or_else(p->variant.local[0], SIMT_LOCAL), 1, 1 };
	size_t global[3] = { local[0], to->n_parts, n };
	cl_mem w = or_none(c, to->weight), b = or_none(c, to->bias);
	cl_int kind = to->norm, has_bias = to->bias != NULL, add = to->add;
	cl_float inv_n = 1.0f / (float)to->width;
	const struct arg args[] = { ARG(src.mem),    ARG(src.stride), ARG(dst.mem),
				    ARG(dst.stride), ARG(to->col),    ARG(to->weight_step),
				    ARG(c->step),    ARG(c->failed),  ARG(to->width),
				    ARG(kind),	     ARG(add),	      ARG(to->scale),
				    ARG(w),	     ARG(b),	      ARG(has_bias),
				    ARG(to->eps),    ARG(inv_n) };

	sherd_cl_note_rows(c, "norm_to", add ? 12 : 8, n, to->width * to->n_parts);
	LAUNCH(c, p, SHERD_K_NORM_TO, 3, global, local, args);
}

void sherd_cl_cap(struct sherd_cl *c, struct sherd_cl_rows x, int n, int width, float scale,
		  float cap)
{
	cl_float inv_cap = cap != 0 ? 1.0f / cap : 0;
	const struct arg args[] = { ARG(x.mem), ARG(x.stride), ARG(width),
				    ARG(scale), ARG(cap),      ARG(inv_cap) };

	sherd_cl_note_rows(c, "cap", 8, n, width);
	launch_groups(c, SHERD_K_CAP, width, n, ARRAY_SIZE(args), args);
}

void sherd_cl_activate(struct sherd_cl *c, enum sherd_act act, bool gated, struct sherd_cl_rows src,
		       int n, int width, const struct sherd_cl_act *a)
{
	struct sherd_cl_act to = all_of(c, a);
	cl_int which = act, is_gated = gated;
	const struct arg args[] = { ARG(src.mem), ARG(src.stride), ARG(width), ACT_ARGS(to),
				    ARG(c->step), ARG(c->failed), ARG(which), ARG(is_gated) };

	sherd_cl_note_rows(c, "activate", gated ? 8 : 4, n, width);
	launch_groups(c, SHERD_K_ACTIVATE, width, n, ARRAY_SIZE(args), args);
}

void sherd_cl_cut(struct sherd_cl *c, struct sherd_cl_rows x, int n, int width, cl_mem wire)
{
	const struct arg args[] = { ARG(x.mem), ARG(x.stride), ARG(width), ARG(wire),
				    ARG(c->step), ARG(c->failed) };

	sherd_cl_note_rows(c, "cut", 8, n, width);
	launch_groups(c, SHERD_K_CUT, width, n, ARRAY_SIZE(args), args);
}

void sherd_cl_wire(struct sherd_cl *c, struct sherd_cl_rows x, int first, int n, int width,
		   enum sherd_wire format, cl_mem out, size_t at)
{
	cl_int how = format, from = first, row_bytes = (cl_int)sherd_wire_bytes(format, 1, width);
	cl_uint where = (cl_uint)at;
	const struct arg args[] = { ARG(x.mem), ARG(x.stride), ARG(width), ARG(from),
				    ARG(how),   ARG(out),      ARG(where), ARG(row_bytes),
				    ARG(c->step), ARG(c->failed) };

	sherd_cl_note_rows(c, "wire", 4.0 + (double)row_bytes / width, n, width);
	launch_groups(c, SHERD_K_WIRE, width, n, ARRAY_SIZE(args), args);
}

void sherd_cl_gather(struct sherd_cl *c, struct sherd_cl_rows x, int width, cl_mem wanted, int n)
{
	size_t global = DIV_ROUND_UP(width, 32), one = 1;
	const struct arg args[] = { ARG(x.mem), ARG(x.stride), ARG(width), ARG(wanted), ARG(n) };

	sherd_cl_note_rows(c, "gather", 8, n, width);
	LAUNCH(c, sherd_cl_rows_program(c, n), SHERD_K_GATHER, 1, &global, wide(c) ? &one : NULL,
	       args);
}

/*
 * A tile takes the time of six rows, or of a matrix unit's sixteen, however few there are; but it has
 * the next weights brought from memory meanwhile. Measured on Zen 4; with AMX on Sapphire Rapids.
 */
static bool tile_pays(const struct sherd_cl *c, const struct sherd_cl_program *p, int n)
{
	bool is_8_bit = p->kind == SHERD_CL_INT && p->arg[0] == 8;

	if (n < 3) /* decoding comes by here all the time */
		return false;
	if (n >= TILE_MIN || !strcmp(c->dev->dot, "amx"))
		return n >= TILE_MIN;
	if (!strcmp(c->dev->dot, "plain"))
		return n == 5 || n == 6;
	return n >= (is_8_bit ? 3 : 5);
}

/* What the program has, and what pays for n rows; or what was measured to. */
enum sherd_cl_kernel sherd_cl_matmul_variant(const struct sherd_cl *c,
					     const struct sherd_cl_program *p, int n)
{
	switch (p->variant.kernel) {
	case 1:
		return SHERD_K_MATMUL_1;
	case 4:
		return SHERD_K_MATMUL_4;
	case 8:
		return SHERD_K_MATMUL_8;
	case SHERD_VARIANT_TILE:
		if (p->kernel[SHERD_K_MATMUL_TILE])
			return SHERD_K_MATMUL_TILE;
	}
	if (p->kernel[SHERD_K_MATMUL_TILE] && tile_pays(c, p, n))
		return SHERD_K_MATMUL_TILE;
	if (n == 1)
		return SHERD_K_MATMUL_1;
	return n <= 4 ? SHERD_K_MATMUL_4 : SHERD_K_MATMUL_8;
}

static int tokens_of(enum sherd_cl_kernel k)
{
	return k == SHERD_K_MATMUL_1 ? 1 : k == SHERD_K_MATMUL_4 ? 4 : 8;
}

int sherd_cl_matmul_grid(const struct sherd_cl *c, const struct sherd_cl_program *p,
			 enum sherd_cl_kernel k, int rows, int n, size_t global[2], size_t local[2])
{
	size_t blocks = DIV_ROUND_UP(rows, SHERD_TILE_ROWS);
	const struct sherd_variant *v = &p->variant;

	global[1] = local[1] = 1;
	if (wide(c)) {
		local[0] = 1;
		global[0] = DIV_ROUND_UP(
			blocks, k == SHERD_K_MATMUL_TILE ? or_else(v->blocks, TILE_RB) : 1);
		return 1;
	}
	local[0] = or_else(v->local[0], SIMT_LOCAL);
	global[0] = ROUND_UP(blocks * SHERD_TILE_ROWS, local[0]);
	if (!v->local[1])
		return 1;
	local[1] = v->local[1];
	global[1] = ROUND_UP(DIV_ROUND_UP(n, tokens_of(k)), local[1]);
	return 2;
}

void sherd_cl_matmul(struct sherd_cl *c, struct sherd_cl_program *p, enum sherd_cl_kernel k,
		     const struct sherd_cl_matrix *w, const struct sherd_cl_act *a, int n,
		     cl_mem bias, bool residual, struct sherd_cl_rows dst, int dst_col)
{
	size_t global[2], local[2];
	int dims;
	cl_int rows = w->fmt.rows, cols = w->fmt.cols;
	cl_int flags = (residual ? SHERD_CL_RESIDUAL : 0) | (bias ? SHERD_CL_BIAS : 0);
	cl_int n_groups = DIV_ROUND_UP(cols, 32);
	cl_mem mins = or_none(c, w->mins), halves = or_none(c, a->halves), b = or_none(c, bias);
	const struct arg int_args[] = { ARG(w->values), ARG(w->scales), ARG(mins), ARG(a->q),
					ARG(a->groups), ARG(halves), ARG(rows), ARG(n_groups),
					ARG(n), ARG(b), ARG(dst.mem), ARG(dst.stride),
					ARG(dst_col), ARG(flags) };
	const struct arg float_args[] = { ARG(w->values), ARG(a->a), ARG(b), ARG(dst.mem),
					  ARG(rows), ARG(cols), ARG(n), ARG(a->a_stride),
					  ARG(dst.stride), ARG(dst_col), ARG(flags) };

	if (!k)
		k = sherd_cl_matmul_variant(c, p, n);
	dims = sherd_cl_matmul_grid(c, p, k, rows, n, global, local);
	sherd_cl_note_matmul(c, k, &w->fmt, n);
	if (p->kind == SHERD_CL_INT)
		launch(c, p, k, dims, global, local, ARRAY_SIZE(int_args), int_args);
	else
		launch(c, p, k, dims, global, local, ARRAY_SIZE(float_args), float_args);
}

bool sherd_cl_can_gate(struct sherd_cl *c, const struct sherd_cl_program *p,
		       const struct sherd_format *w, int n)
{
	return p->kernel[SHERD_K_MATMUL_GATED] && w->rows % 64 == 0 &&
	       sherd_cl_matmul_variant(c, p, n) == SHERD_K_MATMUL_TILE;
}

void sherd_cl_matmul_gated(struct sherd_cl *c, struct sherd_cl_program *p,
			   const struct sherd_cl_matrix *w, const struct sherd_cl_act *a, int n,
			   enum sherd_act act, const struct sherd_cl_act *dst)
{
	struct sherd_cl_act to = all_of(c, dst);
	size_t global = w->fmt.rows / 64, local = 1;
	cl_int rows = w->fmt.rows, n_groups = DIV_ROUND_UP(w->fmt.cols, 32), which = act;
	cl_mem mins = or_none(c, w->mins), halves = or_none(c, a->halves);
	const struct arg args[] = { ARG(w->values), ARG(w->scales), ARG(mins), ARG(a->q),
				    ARG(a->groups), ARG(halves), ARG(rows), ARG(n_groups), ARG(n),
				    ARG(which), ACT_ARGS(to), ARG(c->step), ARG(c->failed) };

	sherd_cl_note_matmul(c, SHERD_K_MATMUL_GATED, &w->fmt, n);
	launch(c, p, SHERD_K_MATMUL_GATED, 1, &global, &local, ARRAY_SIZE(args), args);
}

/* The cache's arguments, in CACHE_ARGS' order (kv.h of kernels-cl). */
struct cache_args {
	cl_ulong page_bytes, offset;
	cl_uint side_bytes;
};
static struct cache_args cache_args(const struct sherd_kv_shape *s, int layer)
{
	return (struct cache_args){ sherd_kv_shape_page_bytes(s), sherd_kv_offset(s, layer, 0),
				    sherd_kv_side_bytes(s) };
}
#define CACHE_ARGS(k, x, pos)                                                              \
	ARG((k)->pool), ARG((k)->pages), ARG((k)->pages_stride), ARG((k)->item), ARG(pos), \
		ARG((x).page_bytes), ARG((x).offset), ARG((x).side_bytes)

void sherd_cl_rope(struct sherd_cl *c, struct sherd_cl_rows qkv, int n, int n_heads, cl_mem table,
		   int rope_dim, bool halves, float q_scale, const struct sherd_cl_cache *cache,
		   int layer)
{
	struct cache_args x = cache_args(&cache->shape, layer);
	cl_int n_kv = cache->shape.n_kv_heads, dim = table ? rope_dim : 0, half = halves;
	size_t global[2] = { n_heads + 2 * n_kv, n }, one[2] = { 1, 1 };
	struct sherd_cl_program *program = sherd_cl_attention_program(c, &cache->shape, n);
	cl_mem t = or_none(c, table);
	cl_float scale = q_scale / (float)sherd_kv_mix(&cache->shape);
	const struct arg args[] = { ARG(qkv.mem), ARG(qkv.stride), ARG(n_heads), ARG(n_kv), ARG(t),
				    ARG(dim), ARG(half), ARG(scale),
				    CACHE_ARGS(cache, x, cache->pos),
				    ARG(c->step), ARG(c->failed) };

	sherd_cl_note_rows(c, "rope", 4, n, qkv.stride);
	LAUNCH(c, program, SHERD_K_ROPE, 2, global, wide(c) ? one : NULL, args);
}

bool sherd_cl_attend_quantizes(const struct sherd_cl *c, int head_dim)
{
	return wide(c) && head_dim % 32 == 0;
}

int sherd_cl_part_floats(const struct sherd_cl *c, int head_dim)
{
	return (wide(c) ? ROUND_UP(head_dim, 16) : head_dim) + 2;
}

size_t sherd_cl_parts_bytes(const struct sherd_cl *c, int n, int n_heads, int n_chunks,
			    int head_dim)
{
	return 4 * (size_t)n * n_heads * n_chunks * sherd_cl_part_floats(c, head_dim);
}

/*
 * Few rows and a long past: chunks are computed side by side and merged after; else there are
 * enough queries to keep the device busy, and each walks its chunks. The bits are the same.
 */
int sherd_cl_parts(struct sherd_cl *c, const struct sherd_kv_shape *kv, int n, int n_heads,
		   int n_tiles, int n_chunks)
{
	const struct sherd_cl_program *p = sherd_cl_attention_program(c, kv, n);
	int enough = c->dev->info.compute_units * (int)or_else(p->variant.parts, PARTS);
	int work = wide(c) ? n_tiles * kv->n_kv_heads : n * n_heads / 4;

	if (n_chunks < 2 || work >= enough ||
	    sherd_cl_parts_bytes(c, n, n_heads, n_chunks, kv->head_dim) > MAX_PARTS)
		return 0;
	return n_chunks;
}

int sherd_cl_make_tiles(const int32_t *item_row, int n_items, int group,
			struct sherd_cl_tile *tiles)
{
	int i, q, n = 0;

	for (i = 0; i < n_items; i++) {
		int queries = (item_row[i + 1] - item_row[i]) * group;

		for (q = 0; q < queries; q += SHERD_CL_TILE_QUERIES, n++)
			if (tiles)
				tiles[n] = (struct sherd_cl_tile){
					item_row[i], q, MIN(queries - q, SHERD_CL_TILE_QUERIES), i
				};
	}
	return n;
}

void sherd_cl_attend(struct sherd_cl *c, struct sherd_cl_rows qkv, int n, int n_heads, cl_mem tiles,
		     int n_tiles, cl_mem parts, int n_parts, struct sherd_cl_sight sight,
		     const struct sherd_cl_cache *cache, int layer, struct sherd_cl_rows att,
		     const struct sherd_cl_act *dst)
{
	struct sherd_cl_program *program = sherd_cl_attention_program(c, &cache->shape, n);
	struct cache_args x = cache_args(&cache->shape, layer);
	cl_int n_kv = cache->shape.n_kv_heads, group = n_heads / n_kv;
	size_t spread = n_parts ? n_parts : 1;
	size_t local[3] = { wide(c) ? 1 : or_else(program->variant.local[0], SIMT_LOCAL), 1, 1 };
	size_t global[3] = { wide(c) ? (size_t)n_tiles : local[0], wide(c) ? n_kv : n_heads,
			     wide(c) ? spread : n * spread };
	size_t merge_global[2] = { n_heads, n }, one[2] = { 1, 1 };
	cl_mem p = or_none(c, parts);
	struct sherd_cl_act to = all_of(c, dst);
	cl_float inv_cap = sight.cap != 0 ? 1.0f / sight.cap : 0;
	const struct arg args[] = { ARG(qkv.mem),     ARG(qkv.stride), ARG(att.mem),
				    ARG(att.stride),  ARG(p),	       ARG(n_parts),
				    ARG(n_heads),     ARG(group),      ARG(tiles),
				    ARG(sight.window), ARG(sight.cap), ARG(inv_cap),
				    CACHE_ARGS(cache, x, cache->last), ACT_ARGS(to),
				    ARG(c->step),     ARG(c->failed) };
	const struct arg merge[] = { ARG(p), ARG(n_parts), ARG(att.mem), ARG(att.stride),
				     ARG(n_heads), ARG(sight.window), ARG(cache->last),
				     ACT_ARGS(to), ARG(c->step), ARG(c->failed) };

	sherd_cl_note_attend(c, n, n_heads, &cache->shape);
	LAUNCH(c, program, SHERD_K_ATTEND, 3, global, local, args);
	if (!n_parts)
		return;
	sherd_cl_note_merge(c, n, n_heads, n_parts, cache->shape.head_dim);
	LAUNCH(c, program, SHERD_K_ATTEND_MERGE, 2, merge_global, wide(c) ? one : NULL, merge);
}

void sherd_cl_walk(struct sherd_cl *c, const struct sherd_cl_walk *w,
		   const struct sherd_cl_cache *cache, const struct sherd_cl_act *a)
{
	struct cache_args x = cache_args(&cache->shape, 0);
	size_t global = 2 * w->run.workers, local = 1;
	cl_mem parts = or_none(c, w->parts),
	       logits = or_none(c, w->logits), out = or_none(c, w->out);
	struct sherd_cl_act to = all_of(c, a);
	struct sherd_walk run = w->run;
	const struct arg args[] = {
		ARG(run),	     ARG(w->steps),	ARG(w->counters),  ARG(w->x),
		ARG(w->qkv),	     ARG(w->ffn),	ARG(logits),	   ARG(out),
		ARG(parts),	     ARG(w->tiles),	ARG(cache->pool),  ARG(cache->pages),
		ARG(cache->pages_stride), ARG(cache->item), ARG(cache->pos), ARG(x.page_bytes),
		ARG(x.side_bytes),   ARG(to.a),		ARG(to.a_stride),  ARG(to.q),
		ARG(to.groups),	     ARG(to.halves),	ARG(c->failed)
	};

	run.q_scale /= (float)sherd_kv_mix(&cache->shape);
	sherd_cl_note_walk(c, w->run.end - w->run.first);
	launch(c, w->program, SHERD_K_WALK, 1, &global, &local, ARRAY_SIZE(args), args);
}

void sherd_cl_addresses(struct sherd_cl *c, const cl_mem *mem, int n, cl_ulong *at)
{
	struct sherd_cl_program *p = sherd_cl_any_walk(c);
	const size_t one = 1, size = n * sizeof(*at);
	cl_mem to = NULL;
	cl_int i;

	memset(at, 0, size);
	if (!c->rc)
		to = clCreateBuffer(c->dev->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, size,
				    at, &c->rc);
	for (i = 0; i < n && !c->rc; i++) {
		const struct arg args[] = { ARG(mem[i]), ARG(to), ARG(i) };

		if (mem[i])
			launch(c, p, SHERD_K_ADDRESS, 1, &one, &one, ARRAY_SIZE(args), args);
	}
	if (!c->rc)
		c->rc = clEnqueueReadBuffer(c->dev->queue, to, CL_TRUE, 0, size, at, 0, NULL, NULL);
	if (c->rc)
		memset(at, 0, size);
	if (to)
		clReleaseMemObject(to);
}
