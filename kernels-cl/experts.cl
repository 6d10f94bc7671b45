/* SPDX-License-Identifier: MIT */
/*
 * experts.cl: what a mixture of experts has between its matmuls. A row and one of the k experts that it chose
 * are a pair, number row * k + rank. Pairs that share an expert stand side by side, each in a slot: then an
 * expert's rows are multiplied as any matmul's, and its weights are read once for all of them. matmul.cl and
 * matmul_float.cl, compiled with -DEXPERTS, take a run of slots at a time.
 *
 * Whose slot is where changes no bit: a slot is one row's business, and combine adds a row's own in the order of
 * its choice.
 */
#include "group.h"

#define MAX_EXPERTS 512 /* SHERD_MAX_EXPERTS */

/* What a route leaves: see struct sherd_cl_routes. */
#define ROUTE_ARGS                                                                              \
	__global int *choice, __global float *weight, __global int4 *runs, __global int *order, \
		__global int *place

/*
 * One row alone: its pairs are runs of one slot each, in the order of its choice, and need no grouping.
 */
INLINED void put_alone(int j, int expert, __global int4 *runs, __global int *order,
		       __global int *place)
{
	runs[j] = (int4)(j, j + 1, expert, 0);
	order[j] = place[j] = j;
}

#if LANES == 16
#define SHARED
#define LOCAL_BARRIER()
#else
#define SHARED __local
#define LOCAL_BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#endif

/* Scores to @s; what is no number counts as 0, so that there is a choice. 1: there was such a score. */
INLINED int load_scores(SHARED float *s, __global const float *scores, int n_experts)
{
	int bad = 0;

	for (int i = get_local_id(0); i < n_experts; i += get_local_size(0)) {
		float x = scores[i];

		bad |= not_finite(x);
		s[i] = not_finite(x) ? 0.0f : x;
	}
	return bad;
}

/*
 * The k largest of s, in falling order, the lower index first among equals: their indices to @choice, themselves
 * to @top. A work-item (wide) takes them off one by one, which loses s; in the SIMT shape each counts how many
 * are before its own.
 */
INLINED void choose(SHARED float *s, SHARED float *top, int n_experts, int k, __global int *choice)
{
#if LANES == 16
	for (int j = 0; j < k; j++) {
		int best = 0;

		for (int i = 1; i < n_experts; i++)
			best = s[i] > s[best] ? i : best;
		choice[j] = best;
		top[j] = s[best];
		s[best] = -INFINITY;
	}
#else
	for (int i = get_local_id(0); i < n_experts; i += get_local_size(0)) {
		int rank = 0;

		for (int f = 0; f < n_experts; f++)
			rank += s[f] > s[i] || (s[f] == s[i] && f < i);
		if (rank < k) {
			choice[rank] = i;
			top[rank] = s[i];
		}
	}
#endif
}

/* The sum of exp(score - most), by the lane rule; in the SIMT shape everybody calls it. */
INLINED float sum_of_exps(__global const float *scores, int n, float most, SHARED float *lanes)
{
#if LANES == 16
	for (int l = 0; l < 16; l++)
		lanes[l] = 0.0f;
	for (int i = 0; i < n; i++)
		lanes[i % 16] = lanes[i % 16] + num_exp_1(scores[i] - most);
#else
	const int l = get_local_id(0);
	float s = 0.0f;

	if (l < 16) {
		for (int i = l; i < n; i += 16)
			s = s + num_exp_1(scores[i] - most);
		lanes[l] = s;
	}
	LOCAL_BARRIER();
#endif
	for (int step = 8; step; step /= 2) {
		for (int i = get_local_id(0); i < step; i += get_local_size(0))
			lanes[i] = lanes[i] + lanes[i + step];
		LOCAL_BARRIER();
	}
	return lanes[0];
}

/*
 * Chooses each row's k experts by its scores, and what they count: exp(score - largest) over the sum of all (or,
 * @renormalize, of the chosen ones, in their order). A work-group a row: global (local size, rows).
 */
__kernel void route(__global const float *scores, int stride, int n_experts, int k, int renormalize,
		    ROUTE_ARGS, int step, __global int *failed)
{
	SHARED float s[MAX_EXPERTS], top[MAX_EXPERTS], lanes[16];
	const int row = get_global_id(1);
	float total = 0.0f, r;

	scores += (size_t)row * stride;
	choice += (size_t)row * k;
	weight += (size_t)row * k;
	if (load_scores(s, scores, n_experts))
		fail_row(failed, step, row);
	LOCAL_BARRIER();
	choose(s, top, n_experts, k, choice);
	LOCAL_BARRIER();
	if (!renormalize)
		total = sum_of_exps(scores, n_experts, top[0], lanes);
	else
		for (int j = 0; j < k; j++)
			total = total + num_exp_1(top[j] - top[0]);
	r = num_recip_1(total);
	for (int j = get_local_id(0); j < k; j += get_local_size(0)) {
		weight[j] = num_exp_1(top[j] - top[0]) * r;
		if (get_global_size(1) == 1)
			put_alone(j, choice[j], runs, order, place);
	}
}

/* Counts the pairs of each expert. */
INLINED void count_pairs(SHARED int *count, int n_experts, __global const int *choice, int n_pairs)
{
	const int first = get_local_id(0), step = get_local_size(0);

	for (int e = first; e < n_experts; e += step)
		count[e] = 0;
#if LANES == 16
	for (int p = 0; p < n_pairs; p++)
		count[choice[p]]++;
#else
	for (int e = first; e < n_experts; e += step)
		for (int p = 0; p < n_pairs; p++)
			count[e] += choice[p] == e;
#endif
}

/* Counts become first slots; each expert that has any gets a run, and the runs that are left are empty. */
INLINED void make_runs(SHARED int *at, int n_experts, __global int4 *runs, int n_runs)
{
	int slot = 0, r = 0;

	for (int e = 0; e < n_experts; e++) {
		const int n = at[e];

		if (n && r < n_runs)
			runs[r++] = (int4)(slot, slot + n, e, 0);
		at[e] = slot;
		slot += n;
	}
	while (r < n_runs)
		runs[r++] = (int4)(0);
}

INLINED void put_pair(int p, int slot, __global int *order, __global int *place)
{
	order[slot] = p;
	place[p] = slot;
}

/*
 * Pairs by expert, and within one by number: order [slot] is a pair, place [pair] its slot; runs: {first slot,
 * slot behind the last, expert}. Once a step has failed everything stays, so that the host can still tell whose
 * slot that was. One work-group.
 */
__kernel void group_pairs(int n_experts, int n_pairs, int n_runs, ROUTE_ARGS, __global const int *failed)
{
	SHARED int at[MAX_EXPERTS];

	if (failed[0])
		return;
	count_pairs(at, n_experts, choice, n_pairs);
	LOCAL_BARRIER();
	if (get_local_id(0) == 0)
		make_runs(at, n_experts, runs, n_runs);
	LOCAL_BARRIER();
#if LANES == 16
	for (int p = 0; p < n_pairs; p++)
		put_pair(p, at[choice[p]]++, order, place);
#else
	for (int e = get_local_id(0); e < n_experts; e += get_local_size(0)) {
		int slot = at[e];

		for (int p = 0; p < n_pairs; p++)
			if (choice[p] == e)
				put_pair(p, slot++, order, place);
	}
#endif
}

/* Each slot gets its row's A, in the forms that @want names. Global: (groups or fewer, slots). */
__kernel void spread(__global const float *a, int stride, __global const char *q,
		     __global const struct act_group *groups, __global const struct act_half *halves,
		     int width, int k, __global const int *order, QUANT_ARGS)
{
	const int slot = get_global_id(1), row = order[slot] / k, n_groups = (width + 31) / 32;

	for (int g = get_global_id(0); g < n_groups; g += get_global_size(0)) {
		const size_t from = (size_t)row * n_groups + g, to = (size_t)slot * n_groups + g;

		if (want & QUANT_F32)
			store_group(load_group(a + (size_t)row * stride, g, width),
				    to_a + (size_t)slot * to_stride, g, width);
		if (want & QUANT_Q8) {
			vstore16(vload16(2 * from, q), 2 * to, to_q);
			vstore16(vload16(2 * from + 1, q), 2 * to + 1, to_q);
			to_groups[to] = groups[from];
		}
		if (want & QUANT_HALVES)
			to_halves[to] = halves[from];
	}
}

/*
 * X += what the row's experts gave, times what each counts, in the order of the choice; and last what all rows
 * share, times the sigmoid of the score behind the experts' (@shared_stride 0: there is nothing shared). Global:
 * (groups or fewer, rows).
 */
__kernel void combine(__global float *x, int stride, int width, __global const float *out,
		      int out_stride, int k, __global const float *weight, __global const int *place,
		      __global const float *shared, int shared_stride, __global const float *scores,
		      int scores_stride, int n_experts)
{
	const int row = get_global_id(1);

	for (int g = get_global_id(0); g < (width + 31) / 32; g += get_global_size(0)) {
		struct group sum = { { (float16)(0.0f), (float16)(0.0f) } }, to;

		for (int j = 0; j < k; j++) {
			const int slot = place[row * k + j];
			const float16 w = (float16)(weight[row * k + j]);
			struct group y = load_group(out + (size_t)slot * out_stride, g, width);

			sum.v[0] = fma(w, y.v[0], sum.v[0]);
			sum.v[1] = fma(w, y.v[1], sum.v[1]);
		}
		if (shared_stride) {
			const float16 w =
				(float16)(num_sigmoid_1(scores[(size_t)row * scores_stride + n_experts]));
			struct group y = load_group(shared + (size_t)row * shared_stride, g, width);

			sum.v[0] = fma(w, y.v[0], sum.v[0]);
			sum.v[1] = fma(w, y.v[1], sum.v[1]);
		}
		to = load_group(x + (size_t)row * stride, g, width);
		to.v[0] = to.v[0] + sum.v[0];
		to.v[1] = to.v[1] + sum.v[1];
		store_group(to, x + (size_t)row * stride, g, width);
	}
}
