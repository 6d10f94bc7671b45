/* SPDX-License-Identifier: MIT */
/* random: a small generator for tests, of which a seed says everything. A header alone. */
#ifndef SHERD_TEST_RANDOM_H
#define SHERD_TEST_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint32_t tiny_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9E3779B97F4A7C15ull);

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
	z = (z ^ z >> 27) * 0x94D049BB133111EBull;
	return (uint32_t)(z >> 32);
}

static inline int tiny_below(uint64_t *state, int n)
{
	return (int)(tiny_random(state) % (uint32_t)n);
}

/* From SHERD_SEED or the clock; printed, so that a failure can be repeated. */
static inline uint64_t tiny_seed(void)
{
	const char *env = getenv("SHERD_SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL);

	printf("seed: SHERD_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

#endif
