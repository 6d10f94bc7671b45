/* SPDX-License-Identifier: MIT */
/*
 * layer.h: what layer.cl and the host agree on. Compiled as OpenCL C and as C: there is one text for
 * both, and both compilers check its sizes.
 */
#ifndef SHERD_LAYER_H
#define SHERD_LAYER_H

/* What is the same for all workers. */
struct sherd_layer_shape {
	int hidden, q_width, ffn, qkv_stride; /* floats; qkv_stride: q, k, v side by side */
	int n_heads, n_kv_heads, rope_dim, rope_halves;
	int norm_layer, norm_bias; /* layer norm; both norms have a bias */
	int act, gated, want; /* want: QUANT_... */
	int out_flags, qkv_flags, up_flags, down_flags; /* RESIDUAL, BIAS */
	int n_tiles, n_parts, slot, workers; /* slot: whose counters */
	int step_norm_1, step_rope, step_att, step_norm_2, step_act; /* for what fails */
	float eps, inv_hidden, q_scale;
};

/* A phase's counters, in cache lines of their own; zero when the layer begins. */
struct sherd_layer_counters {
	int next, unused_next[15];
	int done, unused_done[15];
};

#define LAYER_COUNTERS 16 /* phases that a layer has room for */

/* OpenCL C 1.2 has no _Static_assert. */
#define LAYER_CHECK(what, holds) typedef char layer_check_##what[(holds) ? 1 : -1]

LAYER_CHECK(shape_is_29_words, sizeof(struct sherd_layer_shape) == 29 * 4);
LAYER_CHECK(counters_are_two_lines, sizeof(struct sherd_layer_counters) == 2 * 64);

#endif
