/* SPDX-License-Identifier: MIT */
/*
 * dot4.h: the only file that knows an instruction set. It gives the kernels
 *
 *	VI dot4(VI acc, VU w, int x)    acc + sum of 4 (weight byte * activation byte), lane by lane
 *	void prefetch_far(p)            a hint that a weight line will be read soon
 *	void prefetch_next(p)           the same for one that is read a little later: it leaves the first cache alone
 *	VF load_half(p)                 halves to floats
 *	ushort half_bits(float)         a float rounded to the nearest half, ties to even
 *	fence_release() fence_acquire() order memory between work-groups (CPUs, walk.cl)
 *	cpu_relax()                     between two looks at what another CPU will write
 *	clock_now()                     ticks of a steady clock, the same on all CPUs; 0: there is none
 *
 * where a lane is a row: 16 side by side in the wide shape (CPUs), 1 in the SIMT shape (GPUs). x holds
 * 4 signed activations, the same for all lanes. Weights are unsigned bytes; where an instruction wants
 * signed ones DOT4_SIGNED is 1, and the caller flips the top bit of 8-bit weights first.
 *
 * The host picks a path by what the device says and measures (runtime/device/), and passes it as
 * -DSHERD_DOT_<PATH>; every path gives the same integers. To add a device, add a paragraph.
 */
#ifndef SHERD_DOT4_H
#define SHERD_DOT4_H

#if defined(SHERD_SHAPE_WIDE)
#define LANES	 16
typedef int16 VI;
typedef uint16 VU;
typedef float16 VF;
#define AS_VI	 as_int16
#define AS_VU	 as_uint16
#define AS_VF	 as_float16
#define VF_OF_VI convert_float16
#else
#define LANES	 1
typedef int VI;
typedef uint VU;
typedef float VF;
#define AS_VI	 as_int
#define AS_VU	 as_uint
#define AS_VF	 as_float
#define VF_OF_VI convert_float
#endif

/* x86 with AVX512-VNNI, wide shape. PoCL may hide VNNI behind an older target; the assembler knows it. */
#if defined(SHERD_DOT_VNNI512) || defined(SHERD_DOT_AMX)
#define DOT4_SIGNED 0
static inline VI dot4(VI acc, VU w, int x)
{
	VI xx = (VI)x;

	__asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(xx));
	return acc;
}

/* Arm CPUs with the dot product extension (Armv8.2), wide shape: four registers of four rows. */
#elif defined(SHERD_DOT_SDOT)
#define DOT4_SIGNED 1
static inline int4 sdot_4(int4 acc, uint4 w, int4 x)
{
	__asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(w), "w"(x));
	return acc;
}
static inline VI dot4(VI acc, VU w, int x)
{
	int4 xx = (int4)x;

	return (VI)(sdot_4(acc.s0123, w.s0123, xx), sdot_4(acc.s4567, w.s4567, xx),
		    sdot_4(acc.s89ab, w.s89ab, xx), sdot_4(acc.scdef, w.scdef, xx));
}

/* Mali: cl_arm_integer_dot_product_accumulate_int8 */
#elif defined(SHERD_DOT_ARM)
#pragma OPENCL EXTENSION cl_arm_integer_dot_product_accumulate_int8 : enable
#define DOT4_SIGNED 1
static inline VI dot4(VI acc, VU w, int x)
{
	return arm_dot_acc(as_char4(w), as_char4(x), acc);
}

/* cl_khr_integer_dot_product, packed form */
#elif defined(SHERD_DOT_KHR)
#pragma OPENCL EXTENSION cl_khr_integer_dot_product : enable
#define DOT4_SIGNED 0
static inline VI dot4(VI acc, VU w, int x)
{
	return acc + dot_4x8packed_us_int(w, as_uint(x));
}

/* NVIDIA since sm_61 */
#elif defined(SHERD_DOT_PTX)
#define DOT4_SIGNED 0
static inline VI dot4(VI acc, VU w, int x)
{
	__asm__("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(acc) : "r"(w), "r"(x));
	return acc;
}

/* Everybody else, and the tests' yardstick. */
#else
#define DOT4_SIGNED 0
static inline VI dot4(VI acc, VU w, int x)
{
	acc += AS_VI(w & 0xffu) * ((x << 24) >> 24);
	acc += AS_VI((w >> 8) & 0xffu) * ((x << 16) >> 24);
	acc += AS_VI((w >> 16) & 0xffu) * ((x << 8) >> 24);
	return acc + AS_VI(w >> 24) * (x >> 24);
}
#endif

#if defined(SHERD_SHAPE_WIDE) && defined(__x86_64__) && !defined(SHERD_DOT_PLAIN)
#define prefetch_far(p)  __asm__ volatile("prefetcht0 %0" : : "m"(*(p)))
#define prefetch_next(p) __asm__ volatile("prefetcht1 %0" : : "m"(*(p)))
static inline VF load_half(__global const ushort *p)
{
	VF r;

	__asm__("vcvtph2ps %1, %0" : "=v"(r) : "m"(*(__global const ushort16 *)p));
	return r;
}
static inline ushort half_bits(float x)
{
	float4 in = (float4)(x, 0.0f, 0.0f, 0.0f);
	uint4 out;

	__asm__("vcvtps2ph $0, %1, %0" : "=v"(out) : "v"(in));
	return (ushort)out.x;
}
#else
#define prefetch_far(p)	 ((void)(p))
#define prefetch_next(p) ((void)(p))
static inline ushort half_bits(float x)
{
	ushort h;

	vstore_half_rte(x, 0, (__private half *)&h);
	return h;
}
#if LANES == 16
#define load_half(p) vload_half16(0, (__global const half *)(p))
#else
#define load_half(p) vload_half(0, (__global const half *)(p))
#endif
#endif

/* Whoever compiles for a CPU is clang. Oclgrind interprets, in order, and stops at a fence. */
#if defined(SHERD_WALK)
#if defined(SHERD_NO_FENCE)
#define fence_release()
#define fence_acquire()
#else
#define fence_release() __atomic_thread_fence(__ATOMIC_RELEASE)
#define fence_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#endif
#if defined(__x86_64__)
#define cpu_relax() __asm__ volatile("pause" : : : "memory")
static inline ulong clock_now(void)
{
	uint lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (ulong)hi << 32 | lo;
}
#elif defined(__aarch64__)
#define cpu_relax() __asm__ volatile("yield" : : : "memory")
static inline ulong clock_now(void)
{
	ulong t;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
	return t;
}
#else
#define cpu_relax()
#define clock_now() 0
#endif
#endif

/*
 * x86 with AMX: a tile of 16 tokens times a row block, one group of columns. tile_begin() configures
 * tile registers: 0 results [16 tokens][16 rows] int32, 1 activations [16 tokens][GROUP bytes], 2 weights
 * [GROUP / 4][16 rows x 4 bytes]. TILE_DOT gives c[t][r] = sum over the group of w * x. The process must
 * have asked the kernel for tiles before it started the threads that run this.
 */
#if defined(SHERD_DOT_AMX) && defined(SHERD_SHAPE_WIDE) && defined(GROUP)
#define DOT_TILE 1
static inline void tile_begin(void)
{
	/* palette 1; bytes a row of each tile from byte 16 on, rows from byte 48 on */
	uint config[16] __attribute__((aligned(64))) = {
		[0] = 1,
		[4] = 64 | GROUP << 16,
		[5] = 64,
		[12] = 16 | 16 << 8 | GROUP / 4 << 16,
	};

	__asm__ volatile("ldtilecfg (%0)" : : "r"(config) : "memory");
}

static inline void tile_end(void)
{
	__asm__ volatile("tilerelease" : : : "memory");
}

/*
 * c: [16][16] int32; x: 16 tokens, @stride bytes apart; w: [GROUP / 4][64 bytes], signed, or unsigned
 * where the format has minima (MIN).
 */
#if MIN
#define TILE_DOT_OP "tdpbsud"
#else
#define TILE_DOT_OP "tdpbssd"
#endif
#define TILE_DOT(c, x, stride, w)                                                  \
	__asm__ volatile("tilezero %%tmm0\n\t"                                     \
			 "tileloadd (%1,%2,1), %%tmm1\n\t"                         \
			 "tileloadd (%3,%4,1), %%tmm2\n\t"                         \
			 TILE_DOT_OP " %%tmm2, %%tmm1, %%tmm0\n\t"                 \
			 "tilestored %%tmm0, (%0,%4,1)"                            \
			 : : "r"(c), "r"(x), "r"((long)(stride)), "r"(w), "r"(64L) \
			 : "memory")
#endif

#endif
