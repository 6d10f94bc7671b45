/* SPDX-License-Identifier: MIT */
/*
 * ref_attend: the KV cache's pages, and attention over them. A chunk is 256 absolute positions,
 * whoever asks and however the prompt came: each chunk has its own maximum, sum and weighted V,
 * computed from scratch, and chunks merge in position order.
 */
#include "infer/ref/ref.h"
#include "num.h"


/* A head's K and V of one page. */
struct side {
	const void *k, *v;
	const float *k_scale, *v_scale; /* NULL but for int8 */
};

static struct side page_side(const struct sherd_kv_shape *s, const uint8_t *page, int layer,
			     int head)
{
	size_t bytes = sherd_kv_side_bytes(s);
	size_t n = (size_t)s->head_dim * SHERD_PAGE;
	const uint8_t *k = page + sherd_kv_offset(s, layer, head);
	bool int8 = s->type == SHERD_KV_INT8;

	return (struct side){ .k = k,
			      .v = k + bytes,
			      .k_scale = int8 ? (const float *)(k + n) : NULL,
			      .v_scale = int8 ? (const float *)(k + bytes + n) : NULL };
}

static void put(enum sherd_kv_type type, void *plane, size_t i, float x, float r)
{
	if (type == SHERD_KV_F32)
		((float *)plane)[i] = x;
	else if (type == SHERD_KV_F16)
		((uint16_t *)plane)[i] = sherd_f32_to_f16(x);
	else
		((int8_t *)plane)[i] =
			(int8_t)NUM_MIN(NUM_MAX(NUM_RINT(x * r), -127.0f), 127.0f);
}

/* Largest |x| by the bits: NaN is above all, and no comparison passes over it. */
static int32_t amax_bits(const float *x, int n)
{
	int32_t m = 0;
	int i;

	for (i = 0; i < n; i++)
		m = MAX(m, num_as_int_1(x[i]) & 0x7fffffff);
	return m;
}

bool sherd_ref_below(const float *x, int n, float limit)
{
	return amax_bits(x, n) < num_as_int_1(limit);
}

int sherd_ref_query(const struct sherd_kv_shape *s, float *q, int n_heads, float scale)
{
	int n = n_heads * s->head_dim, h, i;

	for (h = 0; h < n_heads && s->type == SHERD_KV_INT8; h++)
		num_mix(q + h * s->head_dim, s->head_dim);
	if (!sherd_ref_below(q, n, NUM_QKV_MAX))
		return -EDOM;
	scale = scale / (float)sherd_kv_mix(s);
	for (i = 0; i < n; i++)
		q[i] = q[i] * scale;
	return 0;
}

int sherd_ref_kv_store(const struct sherd_kv_shape *s, uint8_t *page, int layer, int kv_head,
		       int slot, const float *k, const float *v)
{
	struct side side = page_side(s, page, layer, kv_head);
	float limit = s->type == SHERD_KV_F16 ? NUM_HALF_MAX : NUM_QKV_MAX;
	float kr = 0, vr = 0, mixed[SHERD_REF_MAX_HEAD_DIM];
	int d, n = s->head_dim;

	if (s->type == SHERD_KV_INT8) {
		memcpy(mixed, k, n * sizeof(*k));
		num_mix(mixed, n);
		k = mixed;
	}
	if (!sherd_ref_below(k, n, limit) || !sherd_ref_below(v, n, limit))
		return -EDOM;
	if (s->type == SHERD_KV_INT8) {
		((float *)side.k_scale)[slot] =
			num_quant_scale(num_as_float_1(amax_bits(k, n)), &kr);
		((float *)side.v_scale)[slot] =
			num_quant_scale(num_as_float_1(amax_bits(v, n)), &vr);
	}
	for (d = 0; d < s->head_dim; d++) {
		put(s->type, (void *)side.k, (size_t)d * SHERD_PAGE + slot, k[d], kr);
		put(s->type, (void *)side.v, (size_t)slot * s->head_dim + d, v[d], vr);
	}
	return 0;
}

static void load(enum sherd_kv_type type, const void *plane, size_t first, int n, float *out)
{
	const int8_t *q = (const int8_t *)plane + first;
	int i;

	if (type == SHERD_KV_F32)
		memcpy(out, (const float *)plane + first, n * sizeof(*out));
	else if (type == SHERD_KV_F16)
		sherd_ref_halves((const uint16_t *)plane + first, n, out);
	else
		for (i = 0; i < n; i++)
			out[i] = (float)q[i];
}

/* out[i] = fma(a, x[i], out[i]); in blocks whose length compilers know. */
static SHERD_REF_HOT void add_scaled(float a, const float *restrict x, int n, float *restrict out)
{
	int i, l;

	for (i = 0; i + 16 <= n; i += 16)
		for (l = 0; l < 16; l++)
			out[i + l] = fmaf(a, x[i + l], out[i + l]);
	for (; i < n; i++)
		out[i] = fmaf(a, x[i], out[i]);
}

/* Scores of a page's first @n positions: a chain of fma over head_dim each. */
static void page_scores(const struct sherd_kv_shape *s, const struct side *p, const float *q,
			int n, float *scores)
{
	float k[SHERD_PAGE];
	int d, j;

	memset(scores, 0, n * sizeof(*scores));
	for (d = 0; d < s->head_dim; d++) {
		load(s->type, p->k, (size_t)d * SHERD_PAGE, n, k);
		add_scaled(q[d], k, n, scores);
	}
	for (j = 0; p->k_scale && j < n; j++)
		scores[j] = scores[j] * p->k_scale[j];
}

/* out += weights times rows [from, n) of a page's V, in position order. */
static void page_values(const struct sherd_kv_shape *s, const struct side *p, const float *e,
			int from, int n, float *out)
{
	float v[SHERD_REF_MAX_HEAD_DIM];
	int j;

	for (j = MAX(from, 0); j < n; j++) {
		load(s->type, p->v, (size_t)j * s->head_dim, s->head_dim, v);
		add_scaled(p->v_scale ? e[j] * p->v_scale[j] : e[j], v, s->head_dim, out);
	}
}

/* A chunk's result, or several chunks' merged. */
struct part {
	float max, sum;
	float out[SHERD_REF_MAX_HEAD_DIM];
};

/* Positions [from, n) of a chunk; those before weigh nothing. */
static void attend_chunk(const struct sherd_kv_shape *s, const struct side *pages, int from, int n,
			 float cap, const float *q, struct part *part)
{
	float e[SHERD_CHUNK] = { 0 };
	int j;

	for (j = 0; j < n; j += SHERD_PAGE)
		page_scores(s, &pages[j / SHERD_PAGE], q, MIN(SHERD_PAGE, n - j), e + j);
	if (cap != 0)
		sherd_ref_cap(e, n, 1, cap);
	part->max = e[from];
	for (j = from + 1; j < n; j++)
		part->max = NUM_MAX(part->max, e[j]);
	for (j = 0; j < n; j++)
		e[j] = j < from ? 0 : num_exp_1(e[j] - part->max);
	part->sum = sherd_ref_lane_sum(e, n);
	memset(part->out, 0, s->head_dim * sizeof(float));
	for (j = 0; j < n; j += SHERD_PAGE)
		page_values(s, &pages[j / SHERD_PAGE], e + j, from - j, MIN(SHERD_PAGE, n - j),
			    part->out);
}

static void merge(struct part *to, const struct part *from, int head_dim)
{
	float max = NUM_MAX(to->max, from->max);
	float a = num_exp_1(to->max - max), b = num_exp_1(from->max - max);
	int d;

	to->sum = fmaf(to->sum, a, from->sum * b);
	for (d = 0; d < head_dim; d++)
		to->out[d] = fmaf(to->out[d], a, from->out[d] * b);
	to->max = max;
}

void sherd_ref_attend(const struct sherd_kv_shape *s, const uint8_t *pool, const int32_t *pages,
		      int layer, int kv_head, int first, int last, float cap, const float *q,
		      float *out)
{
	size_t page_bytes = sherd_kv_shape_page_bytes(s);
	struct side sides[SHERD_CHUNK / SHERD_PAGE];
	int c, i, d, first_chunk = first / SHERD_CHUNK;
	struct part all, one;
	float r;

	for (c = first_chunk; c <= last / SHERD_CHUNK; c++) {
		int n = MIN(SHERD_CHUNK, last + 1 - c * SHERD_CHUNK);
		int from = MAX(0, first - c * SHERD_CHUNK);
		const int32_t *chunk_pages = pages + c * (SHERD_CHUNK / SHERD_PAGE);

		for (i = 0; i * SHERD_PAGE < n; i++)
			sides[i] = page_side(s, pool + chunk_pages[i] * page_bytes, layer, kv_head);
		attend_chunk(s, sides, from, n, cap, q, c > first_chunk ? &one : &all);
		if (c > first_chunk)
			merge(&all, &one, s->head_dim);
	}
	r = num_recip_1(all.sum);
	for (d = 0; d < s->head_dim; d++)
		out[d] = all.out[d] * r;
}
