/* SPDX-License-Identifier: MIT */
/*
 * ref_profile: the bit profile, a name for "computes with these bits". A compiler that contracts,
 * a libm whose fma is not one, or a changed rule gives another name, and a session that was begun
 * under one name is not silently continued under another.
 */
#include "infer/ref/ref.h"
#include "num.h"

#define CONTRACT "sherd arithmetic 1"
#define N	 200 /* no multiple of 32: the padding takes part */

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

static void add_quantized(struct sherd_sha256 *s, const float *x)
{
	int8_t q[ROUND_UP(N, SHERD_ACT_GROUP)];
	struct sherd_act_group g[ARRAY_SIZE(q) / SHERD_ACT_GROUP];
	struct sherd_act_half h[ARRAY_SIZE(g)];

	sherd_ref_quantize(x, N, q, g, h);
	sherd_sha256_add(s, q, sizeof(q));
	sherd_sha256_add(s, g, sizeof(g));
	sherd_sha256_add(s, h, sizeof(h));
}

static void add_attention(struct sherd_sha256 *s, const float *x)
{
	struct sherd_kv_shape shape = { 1, 1, 32, SHERD_KV_F16 };
	static const int32_t pages[] = { 0 };
	uint8_t page[2 * 32 * SHERD_PAGE * sizeof(uint16_t)] __attribute__((aligned(16)));
	float out[32];
	int pos;

	for (pos = 0; pos < 40; pos++)
		sherd_ref_kv_store(&shape, page, 0, 0, pos, x + pos, x + N - 32 - pos);
	sherd_ref_attend(&shape, page, pages, 0, 0, pos - 1, x, out);
	sherd_sha256_add(s, out, sizeof(out));
}

void sherd_ref_bit_profile(char hex[SHERD_SHA256_HEX])
{
	struct sherd_sha256 *s = sherd_sha256_new();
	float x[N], w[N], y[N];
	int act, wire;

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
	add_quantized(s, x);
	add_attention(s, y);
	for (wire = SHERD_WIRE_INT8; wire <= SHERD_WIRE_F32; wire++) {
		memcpy(y, x, sizeof(y));
		sherd_ref_cut(wire, y, N);
		sherd_sha256_add(s, y, sizeof(y));
	}
	sherd_sha256_end(s, hex);
}
