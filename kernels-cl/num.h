/* SPDX-License-Identifier: MIT */
/*
 * num.h: the arithmetic contract in code (Documentation/arithmetic.rst). exp, reciprocal, rsqrt, tanh
 * and erf from + * fma and integer operations alone, so that every compiler, device and vector width
 * gives the same bits. Compiled as OpenCL C for the kernels and as C for the reference.
 *
 * SHERD_NUM_DEFINE(suffix, F, I) makes one set for a float type F and the int type I of its width:
 * num_exp_1(float), num_exp_16(float16), ...
 *
 * No denormal may matter: every function flushes or clamps before it could reach one.
 */
#ifndef SHERD_NUM_H
#define SHERD_NUM_H

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#pragma OPENCL FP_CONTRACT OFF
#define NUM_FN			static inline
#define NUM_FMA(a, b, c)	fma(a, b, c)
#define NUM_RINT(x)		rint(x)
#define NUM_MAX(a, b)		fmax(a, b)
#define NUM_MIN(a, b)		fmin(a, b)
#define NUM_ABS(x)		fabs(x)
#define num_as_int_1(x)		as_int(x)
#define num_as_float_1(x)	as_float(x)
#define num_as_int_4(x)		as_int4(x)
#define num_as_float_4(x)	as_float4(x)
#define num_as_int_16(x)	as_int16(x)
#define num_as_float_16(x)	as_float16(x)
#else
#include <math.h>
#include <stdint.h>
#include <string.h>
#define NUM_FN			static inline
#define NUM_FMA(a, b, c)	fmaf(a, b, c)
#define NUM_RINT(x)		rintf(x)
#define NUM_MAX(a, b)		fmaxf(a, b)
#define NUM_MIN(a, b)		fminf(a, b)
#define NUM_ABS(x)		fabsf(x)
static inline int32_t num_as_int_1(float f)
{
	int32_t i;

	memcpy(&i, &f, sizeof(i));
	return i;
}
static inline float num_as_float_1(int32_t i)
{
	float f;

	memcpy(&f, &i, sizeof(f));
	return f;
}
#endif

/* Below this an amax is taken for zero: its reciprocal would not be a normal number. */
#define NUM_TINY 7.8886091e-31f /* 2^-100 */
#define NUM_INV_127 0.007874015748031496f
/* A norm's mean square must be below: num_rsqrt() takes no more. NaN fails the comparison too. */
#define NUM_NORM_MAX 1.3292280e36f /* 2^120 */
/*
 * Queries, keys and values must be below: then no score overflows, and none is NaN, which fmax() and
 * num_exp() would pass over in silence. A value that is stored as a half must be below the other.
 */
#define NUM_QKV_MAX  2.8823038e17f /* 2^58 */
#define NUM_HALF_MAX 65520.0f /* rounds to infinity */

/*
 * exp: x = n ln2 + r with |r| <= ln2 / 2, a polynomial of degree 6 (Taylor, error < 3e-7 relative),
 * then n is added to the exponent. Clamped to [-87, 88]; below -87 the result is 0.
 *
 * recip, rsqrt: an integer guess, then Newton's iterations by fma: within 1 ulp of the true value;
 * for normal x in [2^-120, 2^120].
 */
#define SHERD_NUM_DEFINE(S, F, I)                                                                 \
	NUM_FN F num_exp_##S(F x)                                                                 \
	{                                                                                         \
		F c = NUM_MIN(NUM_MAX(x, (F)(-87.0f)), (F)(88.0f));                               \
		F t = NUM_FMA(c, (F)(1.44269504f), (F)(12582912.0f));                             \
		I n = num_as_int_##S(t) - 0x4B400000;                                             \
		F f = t - 12582912.0f;                                                            \
		F r = NUM_FMA(f, (F)(-0.693145752f), c);                                          \
		F p = (F)(1.38888889e-3f);                                                        \
                                                                                                  \
		r = NUM_FMA(f, (F)(-1.42860677e-6f), r);                                          \
		p = NUM_FMA(p, r, (F)(8.33333333e-3f));                                           \
		p = NUM_FMA(p, r, (F)(4.16666667e-2f));                                           \
		p = NUM_FMA(p, r, (F)(1.66666667e-1f));                                           \
		p = NUM_FMA(p, r, (F)(0.5f));                                                     \
		p = NUM_FMA(p, r, (F)(1.0f));                                                     \
		p = NUM_FMA(p, r, (F)(1.0f));                                                     \
		p = num_as_float_##S(num_as_int_##S(p) + n * 0x800000);                           \
		return NUM_SELECT_LT_##S(x, -87.0f, (F)(0.0f), p);                                \
	}                                                                                         \
	NUM_FN F num_recip_##S(F x)                                                               \
	{                                                                                         \
		F r = num_as_float_##S(0x7EF311C3 - num_as_int_##S(x));                           \
                                                                                                  \
		r = NUM_FMA(r, NUM_FMA(-x, r, (F)(1.0f)), r);                                     \
		r = NUM_FMA(r, NUM_FMA(-x, r, (F)(1.0f)), r);                                     \
		r = NUM_FMA(r, NUM_FMA(-x, r, (F)(1.0f)), r);                                     \
		return NUM_FMA(r, NUM_FMA(-x, r, (F)(1.0f)), r);                                  \
	}                                                                                         \
	NUM_FN F num_rsqrt_##S(F x)                                                               \
	{                                                                                         \
		F h = x * 0.5f;                                                                   \
		F r = num_as_float_##S(0x5F375A86 - (num_as_int_##S(x) >> 1));                    \
                                                                                                  \
		r = NUM_FMA(r, NUM_FMA(-h * r, r, (F)(0.5f)), r);                                 \
		r = NUM_FMA(r, NUM_FMA(-h * r, r, (F)(0.5f)), r);                                 \
		r = NUM_FMA(r, NUM_FMA(-h * r, r, (F)(0.5f)), r);                                 \
		return NUM_FMA(r, NUM_FMA(-h * r, r, (F)(0.5f)), r);                              \
	}                                                                                         \
	/* tanh(|x|) = (1 - e) / (1 + e), e = exp(-2|x|), with x's sign: absolute error < 3e-7 */ \
	NUM_FN F num_tanh_##S(F x)                                                                \
	{                                                                                         \
		F e = num_exp_##S(NUM_ABS(x) * -2.0f);                                            \
		F t = ((F)(1.0f) - e) * num_recip_##S(e + 1.0f);                                  \
                                                                                                  \
		return num_as_float_##S(num_as_int_##S(t) |                                       \
					(num_as_int_##S(x) & (int)0x80000000));                   \
	}                                                                                         \
	/* erf by Abramowitz and Stegun 7.1.26: absolute error < 6e-7 */                          \
	NUM_FN F num_erf_##S(F x)                                                                 \
	{                                                                                         \
		F a = NUM_ABS(x);                                                                 \
		F t = num_recip_##S(NUM_FMA(a, (F)(0.3275911f), (F)(1.0f)));                      \
		F p = (F)(1.061405429f);                                                          \
                                                                                                  \
		p = NUM_FMA(p, t, (F)(-1.453152027f));                                            \
		p = NUM_FMA(p, t, (F)(1.421413741f));                                             \
		p = NUM_FMA(p, t, (F)(-0.284496736f));                                            \
		p = NUM_FMA(p, t, (F)(0.254829592f));                                             \
		p = NUM_FMA(-(p * t), num_exp_##S(-(a * a)), (F)(1.0f));                          \
		return num_as_float_##S(num_as_int_##S(p) ^                                       \
					(num_as_int_##S(x) & (int)0x80000000));                   \
	}                                                                                         \
	NUM_FN F num_sigmoid_##S(F x)                                                             \
	{                                                                                         \
		return num_recip_##S(num_exp_##S(NUM_MIN(-x, (F)(80.0f))) + 1.0f);                \
	}                                                                                         \
	NUM_FN F num_silu_##S(F x)                                                                \
	{                                                                                         \
		return x * num_sigmoid_##S(x);                                                    \
	}                                                                                         \
	NUM_FN F num_gelu_tanh_##S(F x)                                                           \
	{                                                                                         \
		F u = NUM_FMA(x * x * x, (F)(0.044715f), x) * 0.797884561f;                       \
                                                                                                  \
		return x * 0.5f * (num_tanh_##S(u) + 1.0f);                                       \
	}                                                                                         \
	NUM_FN F num_gelu_erf_##S(F x)                                                            \
	{                                                                                         \
		return x * 0.5f * (num_erf_##S(x * 0.707106781f) + 1.0f);                         \
	}                                                                                         \
	NUM_FN F num_relu_##S(F x) /* NaN stays NaN */                                            \
	{                                                                                         \
		return NUM_SELECT_LT_##S(x, 0.0f, (F)(0.0f), x);                                  \
	}                                                                                         \
	NUM_FN F num_cap_##S(F x, float cap, float inv_cap) /* within -cap .. cap */              \
	{                                                                                         \
		return num_tanh_##S(x * inv_cap) * cap;                                           \
	}

/* a < b ? y : n, lane by lane */
#define NUM_SELECT_LT_1(a, b, y, n)  ((a) < (b) ? (y) : (n))
#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#define NUM_SELECT_LT_4(a, b, y, n)  select(n, y, (int4)((a) < (float4)(b)))
#define NUM_SELECT_LT_16(a, b, y, n) select(n, y, (int16)((a) < (float16)(b)))
SHERD_NUM_DEFINE(16, float16, int16)
#endif
SHERD_NUM_DEFINE(1, float, int)

/*
 * The quantizer of activations: d = amax / 127, r its reciprocal, q = rint(x * r) clamped.
 * @d comes back 0 for a group of zeros (or next to nothing), whose q are all 0.
 */
NUM_FN float num_quant_scale(float amax, float *r)
{
	float d = amax * NUM_INV_127;

	if (amax < NUM_TINY) {
		*r = 0.0f;
		return 0.0f;
	}
	*r = num_recip_1(d);
	return d;
}

/* The largest power of two that divides @n: how many dimensions of a head num_mix() mixes. */
#define NUM_MIX_OF(n) ((n) & -(n))

/*
 * Each run of NUM_MIX_OF(n) elements of x [n] times the Hadamard matrix of that size, unscaled: sums and
 * differences of pairs 1 apart, then 2, 4, ... What stood out in one dimension is spread over all, and a
 * scalar product of two that are both mixed is NUM_MIX_OF(n) times what it was. (QuaRot,
 * arXiv:2404.00456.)
 */
NUM_FN void num_mix(float *x, int n)
{
	for (int h = 1; h < NUM_MIX_OF(n); h *= 2)
		for (int i = 0; i < n; i += 2 * h)
			for (int j = i; j < i + h; j++) {
				float a = x[j], b = x[j + h];

				x[j] = a + b;
				x[j + h] = a - b;
			}
}

#endif
