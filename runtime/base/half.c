/* SPDX-License-Identifier: MIT */
/*
 * half: IEEE half <-> float by integer operations: the same bits on every compiler, and no denormal
 * goes through the FPU, where a flush-to-zero mode could eat it.
 */
#include "base/base.h"

static float bits_to_float(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

float sherd_f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t exp = h >> 10 & 31, man = h & 0x3ff;
	int shift;

	if (exp == 31)
		return bits_to_float(sign | 0x7f800000 | man << 13);
	if (exp)
		return bits_to_float(sign | (exp + 112) << 23 | man << 13);
	if (!man)
		return bits_to_float(sign);
	/* A denormal half is a normal float: bring its leading one to bit 10. */
	shift = __builtin_clz(man) - 21;
	return bits_to_float(sign | (uint32_t)(113 - shift) << 23 | (man << shift & 0x3ff) << 13);
}

uint16_t sherd_f32_to_f16(float f)
{
	uint32_t u, sign, man, half, rest, tie;
	int exp, shift;

	memcpy(&u, &f, sizeof(u));
	sign = u >> 16 & 0x8000;
	u &= 0x7fffffff;
	if (u > 0x7f800000) /* NaN: quiet, as much of the payload as fits */
		return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x3ff));
	if (u >= 0x47800000) /* 2^16 and up; what rounds up to it overflows below by carrying */
		return (uint16_t)(sign | 0x7c00);
	exp = (int)(u >> 23) - 112;
	if (exp < -10) /* below half of the smallest denormal */
		return (uint16_t)sign;
	man = (u & 0x7fffff) | (u >> 23 ? 0x800000 : 0);
	shift = exp > 0 ? 13 : 14 - exp;
	half = (exp > 0 ? (uint32_t)(exp - 1) << 10 : 0) + (man >> shift);
	rest = man & ((1u << shift) - 1);
	tie = 1u << (shift - 1);
	/* a tie to the even one, without a branch that is a toss */
	half += rest + (half & 1) > tie;
	return (uint16_t)(sign | half);
}
