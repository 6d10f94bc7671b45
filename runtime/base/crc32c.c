/* SPDX-License-Identifier: MIT */
/*
 * crc32c: eight bytes at a time, by the processor's instruction (x86: SSE 4.2, Arm: CRC) or,
 * without it, by eight tables (Kounavis and Berry, "A Systematic Approach to Building High
 * Performance Software-Based CRC Generators", 2005).
 */
#include <pthread.h>
#include <string.h>
#include "base/crc32c.h"
#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#define POLYNOMIAL 0x82f63b78u /* bits reversed */

static uint32_t table[8][256]; /* [k][b]: byte b, and k zero bytes after it */

static void make_table(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int i = 0; i < 8; i++)
			crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
		table[0][b] = crc;
	}
	for (int k = 1; k < 8; k++)
		for (int b = 0; b < 256; b++)
			table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xff];
}

uint32_t sherd_crc32c_plain(uint32_t crc, const void *data, size_t size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const uint8_t *p = data;

	pthread_once(&once, make_table);
	crc = ~crc;
	for (; size >= 8; size -= 8, p += 8) {
		crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
		       (uint32_t)p[3] << 24;
		crc = table[7][crc & 0xff] ^ table[6][crc >> 8 & 0xff] ^
		      table[5][crc >> 16 & 0xff] ^ table[4][crc >> 24] ^ table[3][p[4]] ^
		      table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
	}
	for (; size; size--, p++)
		crc = (crc >> 8) ^ table[0][(crc ^ *p) & 0xff];
	return ~crc;
}

#if defined(__x86_64__)
#define HAVE_INSTRUCTION __builtin_cpu_supports("sse4.2")
#define WITH_INSTRUCTION __attribute__((target("sse4.2")))
#define crc_8_bytes(crc, v) ((uint32_t)_mm_crc32_u64(crc, v))
#define crc_1_byte(crc, v)  _mm_crc32_u8(crc, v)
#elif defined(__aarch64__) && defined(__linux__)
#define HAVE_INSTRUCTION (getauxval(AT_HWCAP) & 1 << 7) /* HWCAP_CRC32 */
#define WITH_INSTRUCTION
/* clang declares the intrinsics only where the whole program is compiled for such processors. */
static inline uint32_t crc_8_bytes(uint32_t crc, uint64_t v)
{
	asm(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(v));
	return crc;
}

static inline uint32_t crc_1_byte(uint32_t crc, uint32_t v)
{
	asm(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"(v));
	return crc;
}
#endif

#ifdef HAVE_INSTRUCTION
WITH_INSTRUCTION static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t size)
{
	uint64_t v;

	crc = ~crc;
	for (; size >= 8; size -= 8, p += 8) {
		memcpy(&v, p, 8);
		crc = crc_8_bytes(crc, v);
	}
	for (; size; size--, p++)
		crc = crc_1_byte(crc, *p);
	return ~crc;
}
#endif

uint32_t sherd_crc32c(uint32_t crc, const void *data, size_t size)
{
#ifdef HAVE_INSTRUCTION
	if (HAVE_INSTRUCTION)
		return by_instruction(crc, data, size);
#endif
	return sherd_crc32c_plain(crc, data, size);
}
