/* SPDX-License-Identifier: MIT */
/*
 * ref_profile: the bit profile, a name for "computes with these bits". A compiler that contracts,
 * a libm whose fma is not one, or a changed rule gives another name, and a session that was begun
 * under one name is not silently continued under another.
 */
#include "infer/ref/ref.h"
#include "num.h"

#define CONTRACT "sherd arithmetic 2"
#define N	 300 /* columns: more than a chunk, no multiple of 32: the padding takes part */
#define N_ROWS	 20 /* two row blocks */
#define DIM	 32 /* of a head */
#define N_POS	 40

/* Numbers of many magnitudes, from integers alone. */
static void fill(float *x, int n, uint32_t seed)
{
	int i;

	for (i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		x[i] = num_as_float_1((int32_t)((seed & 0x807fffff) |
						((110 + (seed >> 8) % 20) << 23)));
	}
}

/* A row, quantized. */
struct row {
	int8_t q[ROUND_UP(N, SHERD_ACT_GROUP)];
	struct sherd_act_group g[ROUND_UP(N, SHERD_ACT_GROUP) / SHERD_ACT_GROUP];
	struct sherd_act_half h[ROUND_UP(N, SHERD_ACT_GROUP) / SHERD_ACT_GROUP];
};

static void add_quantized(struct sherd_sha256 *s, const float *x, struct row *r)
{
	sherd_ref_quantize(x, N, r->q, r->g, r->h);
	sherd_sha256_add(s, r->q, sizeof(r->q));
	sherd_sha256_add(s, r->g, sizeof(r->g));
	sherd_sha256_add(s, r->h, sizeof(r->h));
}

/* A matrix of @elem with scales of @scale, and minima of the same if @mins, times the row. */
static void add_matmul(struct sherd_sha256 *s, enum sherd_elem elem, enum sherd_elem scale,
		       bool mins, const float *x, const struct row *r)
{
	struct sherd_format f = { elem, 32, scale, mins ? scale : SHERD_ELEM_NONE, N_ROWS, N };
	uint8_t values[ROUND_UP(N_ROWS, 16) * sizeof(r->q)] __attribute__((aligned(64))) = { 0 };
	float scales[ROUND_UP(N_ROWS, 16) * ARRAY_SIZE(r->g)] = { 0 },
					    minima[ARRAY_SIZE(scales)] = { 0 };
	struct sherd_tensor w = { f, values, scales, mins ? minima : NULL, 0, 0, 0 };
	struct sherd_ref_act a = { x, N, r->q, sizeof(r->q), r->g, r->h };
	uint32_t row, i, mask = (1u << sherd_elem_bits(elem)) - 1;
	float d[ARRAY_SIZE(r->g)], m[ARRAY_SIZE(r->g)], y[N_ROWS];
	uint8_t q[N];

	for (row = 0; row < N_ROWS; row++) {
		fill(d, ARRAY_SIZE(d), 3 + row);
		fill(m, ARRAY_SIZE(m), 100 + row);
		for (i = 0; i < N; i++)
			q[i] = (row * 2654435761u + i * i * 40503u) >> 11 & mask;
		sherd_pack_int_row(&f, row, q, d, mins ? m : NULL, values, scales, minima);
	}
	sherd_ref_matmul(&w, &a, 1, NULL, false, y, N_ROWS);
	sherd_sha256_add(s, y, sizeof(y));
}

static void add_matmuls(struct sherd_sha256 *s, const float *x, const struct row *r)
{
	enum sherd_elem e;

	for (e = SHERD_ELEM_U4; e <= SHERD_ELEM_U8; e++) {
		add_matmul(s, e, SHERD_ELEM_F16, false, x, r);
		add_matmul(s, e, SHERD_ELEM_F32, true, x, r);
	}
}

/*
 * Positions of a head of 32, turned by angles that this machine's C library makes; the last looks
 * back.
 */
static void add_attention(struct sherd_sha256 *s, enum sherd_kv_type type, const float *x)
{
	const struct sherd_rope rope = { .theta = 10000, .factor = 1, .scale = 1 };
	struct sherd_kv_shape shape = { 1, 1, DIM, type };
	static const int32_t pages[] = { 0 };
	uint8_t page[2 * DIM * SHERD_PAGE * sizeof(float)] __attribute__((aligned(16)));
	float table[N_POS][DIM], q[DIM], k[DIM], out[DIM];
	int pos;

	sherd_rope_table(&rope, DIM, N_POS, table[0]);
	sherd_sha256_add(s, table, sizeof(table));
	memcpy(q, x, sizeof(q));
	sherd_ref_rope(SHERD_POS_ROPE_PAIRS, table[N_POS - 1], DIM, q);
	for (pos = 0; pos < N_POS; pos++) {
		memcpy(k, x + pos, sizeof(k));
		sherd_ref_rope(SHERD_POS_ROPE_HALVES, table[pos], DIM, k);
		sherd_ref_kv_store(&shape, page, 0, 0, pos, k, x + N - DIM - pos);
	}
	sherd_ref_query(&shape, q, 1, 1.0f);
	sherd_ref_attend(&shape, page, pages, 0, 0, 0, N_POS - 1, 0, q, out);
	sherd_sha256_add(s, out, sizeof(out));
}

/* A row's choice, and that many rows of the vector as what it chose. */
static void add_experts(struct sherd_sha256 *s, const float *x)
{
	float y[N / 10], w[3];
	int32_t choice[3];
	int renormalize;

	for (renormalize = 0; renormalize < 2; renormalize++) {
		sherd_ref_route(x, N, 3, renormalize, choice, w);
		memcpy(y, x, sizeof(y));
		sherd_ref_combine(x, N / 10, 3, w, x + N / 2, x + 1, N / 10, y);
		sherd_sha256_add(s, w, sizeof(w));
		sherd_sha256_add(s, y, sizeof(y));
	}
}

void sherd_ref_bit_profile(char hex[SHERD_SHA256_HEX])
{
	struct sherd_sha256 *s = sherd_sha256_new();
	float x[N], w[N], y[N];
	struct row row;
	int act, wire, kv;

	sherd_sha256_add(s, CONTRACT, strlen(CONTRACT));
	fill(x, N, 1);
	fill(w, N, 2);
	sherd_ref_norm(SHERD_NORM_RMS, x, w, NULL, N, 1e-5f, y);
	sherd_sha256_add(s, y, sizeof(y));
	sherd_ref_norm(SHERD_NORM_LAYER, x, w, x, N, 1e-5f, y);
	sherd_sha256_add(s, y, sizeof(y));
	for (act = SHERD_ACT_SILU; act <= SHERD_ACT_GELU_ERF; act++) {
		sherd_ref_act(act, x, w, N, y);
		sherd_sha256_add(s, y, sizeof(y));
	}
	add_quantized(s, x, &row);
	add_matmuls(s, x, &row);
	add_experts(s, x);
	for (kv = SHERD_KV_F16; kv <= SHERD_KV_F32; kv++)
		add_attention(s, kv, y);
	for (wire = SHERD_WIRE_INT8; wire <= SHERD_WIRE_F32; wire++) {
		memcpy(y, x, sizeof(y));
		sherd_ref_cut(wire, y, N);
		sherd_sha256_add(s, y, sizeof(y));
	}
	sherd_sha256_end(s, hex);
}
