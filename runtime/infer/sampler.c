/* SPDX-License-Identifier: MIT */
/*
 * sampler: repeat penalty, top-k, top-p, min-p, temperature, draw - in this order, which is the
 * order of llama.cpp's default chain: the cuts look at the model's own distribution, and the
 * temperature only spreads what is left.
 *
 * Nothing here depends on the C library's exp or on the order in which qsort meets equal elements:
 * candidates have a total order (logit down, id up), so that equal logits give equal draws
 * everywhere. The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers:
 * as easy as 1, 2, 3", SC 2011) with the seed as key and the position as counter: a session that
 * is replayed, moved or batched differently draws the same numbers.
 */
#include <float.h>
#include <stdlib.h>
#include "infer/sampler.h"
#include "num.h"

void sherd_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t c[4], k0 = key[0], k1 = key[1];
	int round;

	memcpy(c, counter, sizeof(c));
	for (round = 0; round < 10; round++) {
		uint64_t a = (uint64_t)0xD2511F53 * c[0];
		uint64_t b = (uint64_t)0xCD9E8D57 * c[2];
		uint32_t n[4] = { (uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b,
				  (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a };

		memcpy(c, n, sizeof(c));
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
	memcpy(out, c, sizeof(c));
}

/* Uniform in [0, 1), 53 bits. */
static double uniform(uint64_t seed, uint64_t pos)
{
	uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
	uint32_t counter[4] = { (uint32_t)pos, (uint32_t)(pos >> 32), 0, 0 };
	uint32_t r[4];

	sherd_philox(counter, key, r);
	return (double)(((uint64_t)r[0] << 32 | r[1]) >> 11) * 0x1p-53;
}

static bool before(const struct sherd_candidate *a, const struct sherd_candidate *b)
{
	return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static int compare(const void *a, const void *b)
{
	return before(a, b) ? -1 : 1; /* ids differ: no two are equal */
}

static bool in_history(const int32_t *history, int n, int32_t id)
{
	int i;

	for (i = 0; i < n; i++)
		if (history[i] == id)
			return true;
	return false;
}

/* Each token of the window is penalized once, however often it stands there. */
static void penalize(const struct sherd_sampler_params *p, const int32_t *history, int n,
		     struct sherd_candidate *c, int n_vocab)
{
	int i;

	for (i = 0; i < n; i++) {
		int32_t id = history[i];

		if (id < 0 || id >= n_vocab || in_history(history, i, id))
			continue;
		if (c[id].logit > 0.0f)
			c[id].logit /= p->repeat_penalty;
		else
			c[id].logit *= p->repeat_penalty;
	}
}

/* Drops what is no number or ruled out (-Inf); +Inf becomes the largest number. */
static int keep_numbers(struct sherd_candidate *c, int n)
{
	int kept = 0, i;

	for (i = 0; i < n; i++) {
		if (!(c[i].logit >= -FLT_MAX))
			continue;
		c[kept].id = c[i].id;
		c[kept++].logit = MIN(c[i].logit, FLT_MAX);
	}
	return kept;
}

static int32_t greedy(const struct sherd_candidate *c, int n)
{
	int best = 0, i;

	for (i = 1; i < n; i++)
		if (before(&c[i], &c[best]))
			best = i;
	return c[best].id;
}

/* Restores the heap c [n], whose root is the last in order, below @i. */
static void sift_down(struct sherd_candidate *c, int n, int i)
{
	for (;;) {
		int last = i, child = 2 * i + 1;
		struct sherd_candidate t;

		if (child < n && before(&c[last], &c[child]))
			last = child;
		if (child + 1 < n && before(&c[last], &c[child + 1]))
			last = child + 1;
		if (last == i)
			return;
		t = c[i];
		c[i] = c[last];
		c[last] = t;
		i = last;
	}
}

/* The first @k in order move to the front, sorted: a heap of k, for k is small and n is not. */
static int top_k(struct sherd_candidate *c, int n, int k)
{
	int i;

	if (k > 0 && k < n) {
		for (i = k / 2 - 1; i >= 0; i--)
			sift_down(c, k, i);
		for (i = k; i < n; i++) {
			if (before(&c[i], &c[0])) {
				c[0] = c[i];
				sift_down(c, k, 0);
			}
		}
		n = k;
	}
	qsort(c, n, sizeof(*c), compare);
	return n;
}

/* Weight of a sorted candidate relative to the first one. */
static double weight(const struct sherd_candidate *c, int i, float inv_temp)
{
	return num_exp_1((c[i].logit - c[0].logit) * inv_temp);
}

/* The shortest run from the front that holds @p of the probability, at least one. */
static int top_p(const struct sherd_candidate *c, int n, float p)
{
	double sum = 0, part = 0;
	int i;

	if (p >= 1.0f)
		return n;
	for (i = 0; i < n; i++)
		sum += weight(c, i, 1.0f);
	for (i = 0; i < n; i++) {
		part += weight(c, i, 1.0f);
		if (part >= p * sum)
			return i + 1;
	}
	return n;
}

static int min_p(const struct sherd_candidate *c, int n, float p)
{
	while (n > 1 && weight(c, n - 1, 1.0f) < p)
		n--;
	return n;
}

int32_t sherd_sampler_draw(const struct sherd_sampler_params *p, uint64_t pos, const float *logits,
			   int n_vocab, const int32_t *history, int n_history,
			   struct sherd_candidate *c)
{
	double sum = 0, target;
	float inv_temp;
	int n, i;

	for (i = 0; i < n_vocab; i++)
		c[i] = (struct sherd_candidate){ logits[i], i };
	if (p->repeat_penalty > 0.0f && p->repeat_penalty != 1.0f) {
		int window = MIN(n_history, MAX(p->repeat_last_n, 0));

		penalize(p, history + n_history - window, window, c, n_vocab);
	}
	n = keep_numbers(c, n_vocab);
	if (!n)
		return -1;
	if (!(p->temp > 0.0f))
		return greedy(c, n);
	n = top_k(c, n, p->top_k);
	n = top_p(c, n, p->top_p);
	n = min_p(c, n, p->min_p);
	inv_temp = MIN(1.0f / p->temp, FLT_MAX);
	for (i = 0; i < n; i++)
		sum += weight(c, i, inv_temp);
	target = uniform(p->seed, pos) * sum;
	for (i = 0, sum = 0; i < n - 1; i++) {
		sum += weight(c, i, inv_temp);
		if (sum > target)
			break;
	}
	return c[i].id;
}
