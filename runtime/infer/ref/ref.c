/* SPDX-License-Identifier: MIT */
/*
 * ref: the steps between the matmuls, one row at a time: embedding, norm, quantizer, rotation,
 * activation, cut. See ref.h; the contract in words is Documentation/arithmetic.rst.
 */
#include "infer/ref/ref.h"
#include "num.h"

#define LANES 16

static float lanes_add(float s[LANES])
{
	int step, l;

	for (step = LANES / 2; step; step /= 2)
		for (l = 0; l < step; l++)
			s[l] = s[l] + s[l + step];
	return s[0];
}

/*
 * The half's bits at a float's place have an exponent that is 112 too small, which a multiplication
 * puts right, for denormals too; Inf and NaN get the float's largest exponent.
 */
static inline float half_to_float(uint16_t h)
{
	int32_t u = (h & 0x7fff) << 13;
	int32_t v = num_as_int_1(num_as_float_1(u) * 0x1p112f);

	v |= u >= 0x0f800000 ? 0x7f800000 : 0;
	return num_as_float_1(v | (int32_t)((uint32_t)(h & 0x8000) << 16));
}

SHERD_REF_HOT void sherd_ref_halves(const uint16_t *restrict h, int n, float *restrict out)
{
	int i, l;

	for (i = 0; i + LANES <= n; i += LANES)
		for (l = 0; l < LANES; l++)
			out[i + l] = half_to_float(h[i + l]);
	for (; i < n; i++)
		out[i] = half_to_float(h[i]);
}

float sherd_ref_lane_sum(const float *x, int n)
{
	float s[LANES] = { 0 };
	int i;

	for (i = 0; i < n; i++)
		s[i % LANES] = s[i % LANES] + x[i];
	return lanes_add(s);
}

/* The lane rule for sum((x - mean)^2), each step one fma. */
static SHERD_REF_HOT float lane_sum_squares(const float *x, float mean, int n)
{
	float s[LANES] = { 0 };
	int i, l;

	for (i = 0; i < n; i += LANES) {
		for (l = 0; l < MIN(LANES, n - i); l++) {
			float c = x[i + l] - mean;

			s[l] = fmaf(c, c, s[l]);
		}
	}
	return lanes_add(s);
}

/*
 * amax by the bits: for magnitudes integers order like floats, with Inf and NaN above all. In
 * lanes, so that compilers vectorize it.
 */
static inline float amax_of(const float *x, int n)
{
	int32_t m[LANES] = { 0 }, most = 0;
	int i, l;

	for (i = 0; i + LANES <= n; i += LANES)
		for (l = 0; l < LANES; l++)
			m[l] = MAX(m[l], num_as_int_1(x[i + l]) & 0x7fffffff);
	for (; i < n; i++)
		most = MAX(most, num_as_int_1(x[i]) & 0x7fffffff);
	for (l = 0; l < LANES; l++)
		most = MAX(most, m[l]);
	return num_as_float_1(most);
}

static bool is_finite(float x)
{
	return (num_as_int_1(x) & 0x7f800000) != 0x7f800000;
}

static int finite_or_error(const float *x, int n)
{
	return is_finite(amax_of(x, n)) ? 0 : -EDOM;
}

void sherd_ref_embed(const struct sherd_tensor *table, const struct sherd_tensor *positions,
		     int32_t token, int32_t pos, float scale, const float *bias, float *x)
{
	uint32_t c;

	for (c = 0; c < table->fmt.cols; c++) {
		x[c] = sherd_tensor_get(table, token, c) * scale;
		if (bias)
			x[c] = x[c] + bias[c];
		if (positions)
			x[c] = x[c] + sherd_tensor_get(positions, pos, c);
	}
}

static int norm_rms(const float *x, const float *w, int n, float eps, float *y)
{
	float inv_n = 1.0f / (float)n;
	float v = lane_sum_squares(x, 0.0f, n) * inv_n + eps;
	float r;
	int i;

	if (!(v < NUM_NORM_MAX))
		return -EDOM;
	r = num_rsqrt_1(v);
	for (i = 0; i < n; i++)
		y[i] = x[i] * r * w[i];
	return finite_or_error(y, n);
}

static int norm_layer(const float *x, const float *w, const float *b, int n, float eps, float *y)
{
	float inv_n = 1.0f / (float)n;
	float mean = sherd_ref_lane_sum(x, n) * inv_n;
	float v = lane_sum_squares(x, mean, n) * inv_n + eps;
	float r;
	int i;

	if (!(v < NUM_NORM_MAX))
		return -EDOM;
	r = num_rsqrt_1(v);
	for (i = 0; i < n; i++)
		y[i] = b ? fmaf((x[i] - mean) * r, w[i], b[i]) : (x[i] - mean) * r * w[i];
	return finite_or_error(y, n);
}

int sherd_ref_norm(enum sherd_norm norm, const float *x, const float *weight, const float *bias,
		   int n, float eps, float *y)
{
	switch (norm) {
	case SHERD_NORM_RMS:
		return norm_rms(x, weight, n, eps, y);
	case SHERD_NORM_LAYER:
		return norm_layer(x, weight, bias, n, eps, y);
	case SHERD_NORM_NONE:
		if (y != x)
			memcpy(y, x, n * sizeof(*y));
		return finite_or_error(x, n);
	}
	return -EINVAL;
}

int sherd_ref_norm_to(enum sherd_norm norm, const float *src, const float *weight,
		      const float *bias, int n, float eps, float scale, bool add, float *y,
		      float *dst)
{
	int rc = sherd_ref_norm(norm, src, weight, bias, n, eps, y), i;

	for (i = 0; i < n; i++)
		dst[i] = add ? dst[i] + y[i] * scale : y[i] * scale;
	return rc;
}

void sherd_ref_cap(float *x, int n, float scale, float cap)
{
	float inv = cap != 0 ? 1.0f / cap : 0;
	int i;

	for (i = 0; i < n; i++)
		x[i] = cap != 0 ? num_cap_1(x[i] * scale, cap, inv) : x[i] * scale;
}

/*
 * rint(x * r), clamped to +-127, where |x * r| < 2^22, as amax has it. A float of 1.5 * 2^23 has no
 * room for a fraction: adding it is rint(), and its low bits are the integer. Compilers vectorize
 * that.
 */
static inline int32_t quantize_one(float x, float r)
{
	int32_t q = num_as_int_1(x * r + 12582912.0f) - 0x4B400000;

	return MIN(MAX(q, -127), 127);
}

/* @n integers of a group, n <= 32; the rest of the 32 are 0. */
static inline void quantize_group(const float *restrict x, int n, float r, int8_t *restrict q)
{
	int32_t v[LANES];
	int i, l;

	for (i = 0; i + LANES <= n; i += LANES) {
		for (l = 0; l < LANES; l++)
			v[l] = quantize_one(x[i + l], r);
		for (l = 0; l < LANES; l++)
			q[i + l] = (int8_t)v[l];
	}
	for (; i < n; i++)
		q[i] = (int8_t)quantize_one(x[i], r);
	memset(q + n, 0, SHERD_ACT_GROUP - n);
}

static int sum_of(const int8_t *q, int n)
{
	int sum = 0, i;

	for (i = 0; i < n; i++)
		sum += q[i];
	return sum;
}

int sherd_ref_quantize(const float *x, int n, int8_t *q, struct sherd_act_group *groups,
		       struct sherd_act_half *halves)
{
	int g, h, i;

	for (g = 0, i = 0; i < n; g++, i += SHERD_ACT_GROUP) {
		int len = MIN(SHERD_ACT_GROUP, n - i);
		float amax = amax_of(x + i, len), r;
		float d = num_quant_scale(amax, &r);
		int sum;

		if (!is_finite(amax))
			return -EDOM;
		quantize_group(x + i, len, r, q + i);
		sum = sum_of(q + i, SHERD_ACT_GROUP);
		groups[g] = (struct sherd_act_group){ d, d * (float)sum, -8 * sum, -128 * sum };
		for (h = 0; halves && h < 2; h++) {
			sum = sum_of(q + i + 16 * h, 16);
			halves[g].ds[h] = d * (float)sum;
			halves[g].n8[h] = -128 * sum;
		}
	}
	return 0;
}

void sherd_ref_rope(enum sherd_position position, const float *table, int rope_dim, float *x)
{
	bool pairs = position == SHERD_POS_ROPE_PAIRS;
	int step = pairs ? 1 : rope_dim / 2;
	int i;

	for (i = 0; i < rope_dim / 2; i++) {
		float *p = x + (pairs ? 2 * i : i);
		float c = table[2 * i], s = table[2 * i + 1];
		float x0 = p[0], x1 = p[step];

		p[0] = fmaf(x0, c, -(x1 * s));
		p[step] = fmaf(x0, s, x1 * c);
	}
}

void sherd_ref_act(enum sherd_act act, const float *gate, const float *up, int n, float *h)
{
	const float *x = gate ? gate : up;
	int i;

	for (i = 0; i < n; i++) {
		float a = act == SHERD_ACT_SILU	     ? num_silu_1(x[i]) :
			  act == SHERD_ACT_GELU_TANH ? num_gelu_tanh_1(x[i]) :
			  act == SHERD_ACT_GELU_ERF  ? num_gelu_erf_1(x[i]) :
						       num_relu_1(x[i]);

		h[i] = gate ? a * up[i] : a;
	}
}

/* A group's scale as it travels, and the reciprocal of what arrives: the half is what divides. */
static inline uint16_t wire_scale(float amax, float *r)
{
	uint16_t h = amax < NUM_TINY ? 0 : sherd_f32_to_f16(amax * NUM_INV_127);
	float d = sherd_f16_to_f32(h);

	*r = d > 0.0f ? num_recip_1(d) : 0.0f;
	return h;
}

SHERD_REF_HOT int sherd_ref_wire_quantize(const float *restrict x, int n, int8_t *restrict q,
					  uint16_t *restrict scales)
{
	int g, i;

	for (g = 0, i = 0; i < n; g++, i += SHERD_ACT_GROUP) {
		int len = MIN(SHERD_ACT_GROUP, n - i);
		float r;

		scales[g] = wire_scale(amax_of(x + i, len), &r);
		if (scales[g] >= 0x7c00)
			return -EDOM;
		quantize_group(x + i, len, r, q + i);
	}
	return 0;
}

SHERD_REF_HOT void sherd_ref_wire_restore(const int8_t *restrict q, const uint16_t *restrict scales,
					  int n, float *restrict x)
{
	int g, i, l;

	for (g = 0, i = 0; i + SHERD_ACT_GROUP <= n; g++, i += SHERD_ACT_GROUP) {
		float d = sherd_f16_to_f32(scales[g]);

		for (l = 0; l < SHERD_ACT_GROUP; l++)
			x[i + l] = (float)q[i + l] * d;
	}
	for (; i < n; i++)
		x[i] = (float)q[i] * sherd_f16_to_f32(scales[g]);
}

/* Block by block over the int8 wire and back. */
static int cut_int8(float *x, int n)
{
	int8_t q[8 * SHERD_ACT_GROUP];
	uint16_t scales[8];
	int i, rc = 0;

	for (i = 0; i < n && !rc; i += sizeof(q)) {
		int len = MIN((int)sizeof(q), n - i);

		rc = sherd_ref_wire_quantize(x + i, len, q, scales);
		if (!rc)
			sherd_ref_wire_restore(q, scales, len, x + i);
	}
	return rc;
}

int sherd_ref_cut(enum sherd_wire wire, float *x, int n)
{
	int i;

	if (wire == SHERD_WIRE_INT8)
		return cut_int8(x, n);
	if (wire == SHERD_WIRE_F16)
		for (i = 0; i < n; i++)
			x[i] = sherd_f16_to_f32(sherd_f32_to_f16(x[i]));
	return finite_or_error(x, n);
}
