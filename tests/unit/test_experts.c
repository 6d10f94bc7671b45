/* SPDX-License-Identifier: MIT */
/*
 * Mixtures of experts: whom a row chooses and what it makes of them, against the contract's words
 * and against double arithmetic; and what of the weights is read, by a fence around them.
 */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "infer/infer.h"
#include "infer/ref/ref.h"
#include "num.h"
#include "tiny_model.h"

static uint64_t rng;

/* Few values, so that many are equal. */
static void make_scores(float *s, int n)
{
	int i;

	for (i = 0; i < n; i++)
		s[i] = tiny_below(&rng, 2) ? (float)tiny_below(&rng, 4) : 3.0f * tiny_normal(&rng);
}

static const float *sorting;

static int before(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	if (sorting[x] != sorting[y])
		return sorting[x] > sorting[y] ? -1 : 1;
	return x - y;
}

/* The first @k of a stable sort. */
static void assert_choice(const float *scores, int n, int k, const int32_t *choice)
{
	int all[SHERD_MAX_EXPERTS], i;

	for (i = 0; i < n; i++)
		all[i] = i;
	sorting = scores;
	qsort(all, (size_t)n, sizeof(*all), before);
	for (i = 0; i < k; i++)
		assert_int_equal(choice[i], all[i]);
}

static void assert_softmax(const float *scores, int n, int k, bool renormalize,
			   const int32_t *choice, const float *weight)
{
	double all = 0, chosen = 0, want;
	int i;

	for (i = 0; i < n; i++)
		all += exp((double)scores[i] - scores[choice[0]]);
	for (i = 0; i < k; i++)
		chosen += exp((double)scores[choice[i]] - scores[choice[0]]);
	for (i = 0; i < k; i++) {
		want = exp((double)scores[choice[i]] - scores[choice[0]]) /
		       (renormalize ? chosen : all);
		if (!(fabs(weight[i] - want) <= 2e-6 * want + 1e-37))
			fail_msg("rank %d of %d counts %.9g, not %.9g", i, n, (double)weight[i],
				 want);
	}
}

static void a_row_chooses_the_largest_scores_the_lower_index_first_among_equals(void **state)
{
	float s[SHERD_MAX_EXPERTS], w[SHERD_MAX_EXPERTS];
	int32_t choice[SHERD_MAX_EXPERTS];
	int round;

	(void)state;
	for (round = 0; round < 200; round++) {
		int n = round ? 1 + tiny_below(&rng, 130) : SHERD_MAX_EXPERTS;
		int k = 1 + tiny_below(&rng, MIN(n, 20));
		bool renormalize = tiny_below(&rng, 2);

		make_scores(s, n);
		assert_int_equal(sherd_ref_route(s, n, k, renormalize, choice, w), 0);
		assert_choice(s, n, k, choice);
		assert_softmax(s, n, k, renormalize, choice, w);
	}
}

static void what_a_choice_counts_is_the_contracts_bits(void **state)
{
	float s[100], e[100], lanes[16] = { 0 }, w[5], t = 0;
	int32_t choice[5];
	int i, step;

	(void)state;
	make_scores(s, 100);
	sherd_ref_route(s, 100, 5, false, choice, w);
	for (i = 0; i < 100; i++) {
		e[i] = num_exp_1(s[i] - s[choice[0]]);
		lanes[i % 16] += e[i];
	}
	for (step = 8; step; step /= 2)
		for (i = 0; i < step; i++)
			lanes[i] += lanes[i + step];
	for (i = 0; i < 5; i++)
		assert_true(w[i] == e[choice[i]] * num_recip_1(lanes[0]));
	sherd_ref_route(s, 100, 5, true, choice, w);
	for (i = 0; i < 5; i++)
		t += e[choice[i]];
	for (i = 0; i < 5; i++)
		assert_true(w[i] == e[choice[i]] * num_recip_1(t));
}

static void a_score_that_is_no_number_is_refused(void **state)
{
	static const float extremes[] = { NAN, INFINITY, -INFINITY };
	int32_t choice[3];
	float s[20], w[3];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(extremes); i++) {
		make_scores(s, 20);
		s[tiny_below(&rng, 20)] = extremes[i];
		assert_int_equal(sherd_ref_route(s, 20, 3, true, choice, w), -EDOM);
	}
	make_scores(s, 20);
	s[7] = 3e38f;
	s[8] = -3e38f;
	assert_int_equal(sherd_ref_route(s, 20, 3, true, choice, w), 0);
	assert_int_equal(choice[0], 7);
	assert_true(w[0] == 1.0f && w[1] == 0.0f);
}

static void experts_are_added_in_the_order_of_the_choice_and_the_shared_one_last(void **state)
{
	enum { N = 37, K = 4, STRIDE = 40 };
	float out[K * STRIDE], w[K], shared[N], x[N], before_[N], gate = tiny_normal(&rng), g;
	int i, j, with;

	(void)state;
	for (i = 0; i < K * STRIDE; i++)
		out[i] = tiny_normal(&rng);
	for (i = 0; i < K; i++)
		w[i] = tiny_normal(&rng);
	for (i = 0; i < N; i++)
		shared[i] = tiny_normal(&rng);
	g = num_recip_1(num_exp_1(fminf(-gate, 80.0f)) + 1.0f);
	assert_true(fabs(g - 1 / (1 + exp(-(double)gate))) < 1e-6);
	for (with = 0; with < 2; with++) {
		for (i = 0; i < N; i++)
			x[i] = before_[i] = tiny_normal(&rng);
		sherd_ref_combine(out, STRIDE, K, w, with ? shared : NULL, &gate, N, x);
		for (i = 0; i < N; i++) {
			float sum = 0.0f;

			for (j = 0; j < K; j++)
				sum = fmaf(w[j], out[j * STRIDE + i], sum);
			if (with)
				sum = fmaf(g, shared[i], sum);
			assert_true(x[i] == before_[i] + sum);
		}
	}
}

/* --- what is read --- */

/* Each matrix of an expert is whole pages, so that a fence stands between any two. */
static const struct tiny_model paged = {
	.arch = "llama",
	.n_layers = 2,
	.hidden = 128,
	.n_heads = 2,
	.n_kv_heads = 1,
	.head_dim = 64,
	.ffn = 128,
	.n_vocab = 40,
	.n_ctx = 256,
	.type = GGML_Q8_0,
	.embd_type = GGML_Q8_0,
	.seed = 5,
	.more = "expert_count=9,expert_used_count=2",
};

#define EXPERTS 9
#define USED	2
#define PAGE	4096

/* The stack that is fenced, and the pages that were read. */
static struct {
	uint8_t *base;
	size_t pages;
	volatile sig_atomic_t read[1024];
} fence;

static void on_read(int sig, siginfo_t *info, void *context)
{
	size_t page = (size_t)((uint8_t *)info->si_addr - fence.base) / PAGE;

	(void)context;
	if ((uint8_t *)info->si_addr < fence.base || page >= fence.pages) {
		signal(sig, SIG_DFL);
		return;
	}
	fence.read[page] = 1;
	mprotect(fence.base + page * PAGE, PAGE, PROT_READ);
}

static void fence_close(const struct sherd_tensor *t)
{
	fence.base = (uint8_t *)(uintptr_t)t->values;
	fence.pages = t->values_size / PAGE;
	assert_true(fence.pages <= ARRAY_SIZE(fence.read) && !((uintptr_t)fence.base % PAGE));
	memset((void *)fence.read, 0, sizeof(fence.read));
	assert_int_equal(mprotect(fence.base, fence.pages * PAGE, PROT_NONE), 0);
}

/* Experts of which anything was read. */
static int fence_open(int n_experts)
{
	size_t each = fence.pages / (size_t)n_experts, e, i;
	int n = 0;

	mprotect(fence.base, fence.pages * PAGE, PROT_READ);
	for (e = 0; e < (size_t)n_experts; e++) {
		size_t some = 0;

		for (i = 0; i < each; i++)
			some += (size_t)fence.read[e * each + i];
		/* all of an expert, or nothing */
		assert_true(some == 0 || some == each);
		n += some > 0;
	}
	return n;
}

static struct sherd_model *open_paged(const char *device)
{
	struct sherd_model_params p = { .device = device, .region = "plain" };
	struct sherd_error err = { "" };
	struct sherd_model *m;
	int rc = tiny_model_open(&m, &paged, &p, &err);

	if (rc == -ENODEV || rc == -ENOSYS) {
		print_message("skipped: %s\n", err.msg);
		skip();
	}
	if (rc)
		fail_msg("%s", err.msg);
	return m;
}

/* @n tokens in one step; how many experts of the stack were read. */
static int experts_read(struct sherd_model *m, const struct sherd_tensor *stack, int n)
{
	struct sherd_session *s;
	struct sherd_error err = { "" };
	const float *logits;
	int32_t tokens[64];
	int i, read;

	for (i = 0; i < n; i++)
		tokens[i] = tiny_below(&rng, paged.n_vocab);
	assert_int_equal(sherd_session_new(&s, m, NULL, &err), 0);
	fence_close(stack);
	if (sherd_prefill(s, tokens, n, &logits, &err))
		fail_msg("%s", err.msg);
	read = fence_open(EXPERTS);
	sherd_session_free(s);
	return read;
}

static void a_token_reads_its_own_experts_and_a_prompt_no_more_than_there_are(void **state)
{
	static const enum sherd_slot stacks[] = { SHERD_EXPERTS_GATE_UP, SHERD_EXPERTS_DOWN };
	struct sigaction act = { .sa_sigaction = on_read, .sa_flags = SA_SIGINFO }, before;
	struct sherd_model *m = open_paged(*state);
	const struct sherd_tensor *t;
	size_t i;
	int layer, n;

	sigaction(SIGSEGV, &act, &before);
	for (layer = 0; layer < paged.n_layers; layer++)
		for (i = 0; i < ARRAY_SIZE(stacks); i++) {
			t = sherd_shard_matrix(m->shard, stacks[i], layer);
			assert_non_null(t);
			assert_int_equal(experts_read(m, t, 1), USED);
			n = experts_read(m, t, 3);
			assert_true(n >= USED && n <= 3 * USED);
		}
	sigaction(SIGSEGV, &before, NULL);
	sherd_model_close(m);
}

/* What info and bench call a token's bytes: 2 of 9 experts, and all of the rest but the embedding. */
static void a_tokens_bytes_are_those_of_the_experts_that_it_uses(void **state)
{
	struct sherd_model *m = open_paged("reference");
	const struct sherd_model_info *info = sherd_model_info(m);
	uint64_t stacks = 0, table;
	int layer, slot;

	(void)state;
	for (layer = 0; layer < paged.n_layers; layer++)
		for (slot = SHERD_EXPERTS_GATE_UP; slot <= SHERD_EXPERTS_DOWN; slot++) {
			const struct sherd_tensor *t =
				sherd_shard_matrix(m->shard, (enum sherd_slot)slot, layer);

			stacks += t ? t->values_size + t->scales_size + t->mins_size : 0;
		}
	table = (uint64_t)48 * 128 * 34 / 32; /* 40 rows, padded, as the embedding has them */
	assert_true(stacks > info->weight_bytes / 2);
	assert_int_equal(info->token_bytes, info->weight_bytes - table - stacks / 9 * 7);
	sherd_model_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_row_chooses_the_largest_scores_the_lower_index_first_among_equals),
		cmocka_unit_test(what_a_choice_counts_is_the_contracts_bits),
		cmocka_unit_test(a_score_that_is_no_number_is_refused),
		cmocka_unit_test(
			experts_are_added_in_the_order_of_the_choice_and_the_shared_one_last),
		{ "a_token_reads_its_own_experts_and_a_prompt_no_more_than_there_are (reference)",
		  a_token_reads_its_own_experts_and_a_prompt_no_more_than_there_are, NULL, NULL,
		  (char *)"reference" },
		{ "a_token_reads_its_own_experts_and_a_prompt_no_more_than_there_are (auto)",
		  a_token_reads_its_own_experts_and_a_prompt_no_more_than_there_are, NULL, NULL,
		  (char *)"auto" },
		cmocka_unit_test(a_tokens_bytes_are_those_of_the_experts_that_it_uses),
	};

	rng = tiny_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
