/* SPDX-License-Identifier: MIT */
/*
 * Put before every source of llama.cpp by peer.sh. gcc 12's _tile_loadconfig() tells the compiler
 * that it reads 8 of the configuration's 64 bytes; the stores of the others are dropped, and the
 * first AMX instruction is illegal. The barrier makes the compiler keep them. Not a change of
 * speed.
 *
 * clang 14 defines __AMXINT8__ where llama.cpp, and newer compilers, say __AMX_INT8__: without
 * these lines its build would silently be one without AMX.
 */
#ifdef __AMXINT8__
#define __AMX_TILE__ 1
#define __AMX_INT8__ 1
#endif
#ifdef __AMXBF16__
#define __AMX_BF16__ 1
#endif

#if defined(__AMX_TILE__) && !defined(__clang__)
#include <immintrin.h>
#define _tile_loadconfig(p)                                          \
	do {                                                         \
		const void *config_ = (p);                           \
		__asm__ volatile("" : : "r"(config_) : "memory");    \
		(_tile_loadconfig)(config_);                         \
	} while (0)
#endif
