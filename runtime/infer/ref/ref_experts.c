/* SPDX-License-Identifier: MIT */
/*
 * ref_experts: a mixture of experts - whom a row chooses, and what it makes of their outputs. The
 * matmuls between are sherd_ref_matmul() with an expert's rows (sherd_stack_expert()). Everything is
 * one row's business, so a row's company changes no bit.
 */
#include "infer/ref/ref.h"
#include "num.h"

/* The one of @n scores that is largest and not in choice [@k]; the lower index among equals. */
static int next_best(const float *scores, int n, const int32_t *choice, int k)
{
	int best = -1, i, j;

	for (i = 0; i < n; i++) {
		for (j = 0; j < k && choice[j] != i; j++)
			;
		if (j == k && (best < 0 || scores[i] > scores[best]))
			best = i;
	}
	return best;
}

int sherd_ref_route(const float *scores, int n, int k, bool renormalize, int32_t *choice,
		    float *weight)
{
	float e[SHERD_MAX_EXPERTS], total = 0.0f, r;
	int i, j;

	if (!sherd_ref_below(scores, n, INFINITY))
		return -EDOM;
	for (j = 0; j < k; j++)
		choice[j] = next_best(scores, n, choice, j);
	for (i = 0; i < n; i++)
		e[i] = num_exp_1(scores[i] - scores[choice[0]]);
	if (!renormalize)
		total = sherd_ref_lane_sum(e, n);
	else
		for (j = 0; j < k; j++)
			total = total + e[choice[j]];
	r = num_recip_1(total);
	for (j = 0; j < k; j++)
		weight[j] = e[choice[j]] * r;
	return 0;
}

void sherd_ref_combine(const float *out, size_t stride, int k, const float *weight,
		       const float *shared, const float *gate, int n, float *x)
{
	float g = shared ? num_sigmoid_1(*gate) : 0.0f;
	int i, j;

	for (i = 0; i < n; i++) {
		float sum = 0.0f;

		for (j = 0; j < k; j++)
			sum = fmaf(weight[j], out[j * stride + i], sum);
		if (shared)
			sum = fmaf(g, shared[i], sum);
		x[i] = x[i] + sum;
	}
}
